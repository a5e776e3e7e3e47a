"""Generated registries and requests, for what holds of all of them.

Here belong strategies and nothing that is tested. The generated names are few and alike, so that patterns, users and
ids meet often.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, NamedTuple

from hypothesis import strategies as st

from maap_stac_orchestration.governance.decide import RESERVED_NAMES, ExistingCollections
from maap_stac_orchestration.governance.decision import OnDenied, Request
from maap_stac_orchestration.governance.default_collection import default_collection_id
from maap_stac_orchestration.governance.registry import Registry, load_registry

Document = dict[str, Any]


class Collections(NamedTuple):
    """Ids of the collections that there are, and of those that there were."""

    existing: tuple[str, ...]
    deleted: tuple[str, ...] = ()

    def known(self) -> ExistingCollections:
        return ExistingCollections.of(self.existing, self.deleted)


USERS = ["ana", "bob", "ANA", "ana--b", "an", "@team", "*"]
TEAMS = {"team": ["ana", "bob"], "others": ["ana--b"], "empty": []}
PIECES = ["ana", "bob", "map", "esa-", "--", "-", "__", "x", "flood", ".", "Map", "search"]

odd_ids = st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join) | st.sampled_from(
    sorted(RESERVED_NAMES)
)
good_ids = st.sampled_from(
    ["map-x", "map-flood", "ana--x", "ana--b--x", "bob--map", "flood", "esa-x", "ana-x", "an--x"]
)
ids = good_ids | odd_ids
bodies = st.lists(st.sampled_from([*PIECES, "{username}"]), min_size=1, max_size=3).map("".join)
odd_patterns = bodies.filter(lambda body: body.count("{username}") < 2).flatmap(
    lambda body: st.sampled_from([body, f"{body}*"] if len(body) >= 3 else [body])
)
good_patterns = st.sampled_from(
    ["map-*", "map-f*", "{username}--*", "{username}--x", "ana--*", "esa-*", "fl{username}*"]
)
patterns = good_ids | good_patterns | good_patterns | odd_ids | odd_patterns
entry_users = st.lists(
    st.sampled_from(["ana", "bob", "ANA", "ana--b", "an", "*", "@team", "@others", "@empty"]), min_size=1, max_size=2
)
algorithms = st.lists(st.sampled_from(["flood@v1", "flood@*", "f*@v*.0", "*@v2"]), min_size=1, max_size=2)

templates = st.fixed_dictionaries(
    {},
    optional={
        "title": st.sampled_from(["Floods", "Fires"]),
        "keywords": st.lists(st.sampled_from(["water", "fire"]), max_size=2),
        "providers": st.just([{"name": "MAAP", "roles": ["host"]}]),
    },
)


@st.composite
def entries(draw: st.DrawFn) -> Document:
    entry: Document = {"collection": draw(patterns), "users": draw(entry_users)}
    if draw(st.sampled_from([False, False, True])):
        entry["algorithms"] = draw(algorithms)
    entry["create"] = draw(st.booleans())
    if draw(st.booleans()):
        entry["on_denied"] = draw(st.sampled_from(["fallback", "reject"]))
    return entry


@st.composite
def grants(draw: st.DrawFn) -> Document:
    grant = draw(entries())
    if draw(st.booleans()):
        grant["template"] = draw(templates)
    return grant


@st.composite
def documents(draw: st.DrawFn) -> Document:
    document: Document = {
        "version": 1,
        "teams": TEAMS,
        "grants": draw(st.lists(grants(), max_size=6)),
        "deny": draw(st.lists(entries(), max_size=2)),
        "reserved": draw(st.lists(st.sampled_from(["esa-*", "map-*", "map-x", "ana--*"]), max_size=2)),
    }
    on_denied = draw(st.sampled_from([None, "fallback", "reject"]))
    return document if on_denied is None else {**document, "on_denied": on_denied}


@st.composite
def requests(draw: st.DrawFn) -> Request:
    username = draw(st.sampled_from(USERS))
    names = (username, draw(st.sampled_from(["flood", "fire"])), draw(st.sampled_from(["v1", "v2", "v2.0"])), None)
    default = default_collection_id(names).preferred
    metadata_username = draw(st.sampled_from([None, None, None, username, username, "bob"]))
    return Request(*names, draw(st.none() | ids), default, metadata_username)


@st.composite
def grantable(draw: st.DrawFn, document: Document) -> Request:
    """A request for an id that a grant of the document means, so that being granted is not a rare accident."""
    request = draw(requests())
    if document["grants"] and draw(st.sampled_from([True, True, True, False])):
        grant = draw(st.sampled_from(document["grants"]))
        username = draw(st.sampled_from(["ana", *(name for name in grant["users"] if name[0] not in "@*")]))
        collection = grant["collection"].replace("{username}", username)
        if collection.endswith("*"):
            collection = collection[:-1] + draw(st.sampled_from(["x", "-x", "flood", "bob--x", "x__y"]))
        metadata_username = None if request.metadata_username is None else username
        request = replace(request, username=username, collection=collection, metadata_username=metadata_username)
    return request


existing_ids = st.lists(ids, max_size=4)
settings_values = st.sampled_from(OnDenied)


@st.composite
def questions(draw: st.DrawFn) -> tuple[Document, Request, Collections]:
    """Often about a collection that exists or was deleted, spelled so or otherwise."""
    document = draw(documents())
    request = draw(grantable(document))
    existing, deleted = draw(existing_ids), draw(existing_ids)
    if request.collection:
        for some, often in ((existing, [True, False]), (deleted, [True, False, False, False])):
            if draw(st.sampled_from(often)):
                some.append(draw(st.sampled_from([request.collection, request.collection.upper()])))
    return document, request, Collections(tuple(existing), tuple(deleted))


@st.composite
def questions_of_creators(draw: st.DrawFn) -> tuple[Document, Request, Collections]:
    """Always about a collection, and mostly about one whose id is free."""
    document = draw(documents())
    request = draw(grantable(document))
    wanted = request.collection or draw(ids)
    taken = draw(st.sampled_from([None, None, None, None, None, None, wanted, wanted.upper()]))
    lists: list[tuple[str, ...]] = [("flood", "Map-X"), () if taken is None else (taken,)]
    existing, deleted = draw(st.permutations(lists))
    return document, replace(request, collection=wanted), Collections(existing, deleted)


def loaded(document: Document) -> Registry:
    return load_registry(json.dumps(document), "registry.json")
