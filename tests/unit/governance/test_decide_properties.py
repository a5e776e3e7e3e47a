"""What holds of decisions for every registry and every request, not only for those that somebody thought of.

The generated names are few and alike, so that patterns, users and ids meet often.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from maap_stac_orchestration.governance.decide import RESERVED_NAMES, ExistingCollections, decide
from maap_stac_orchestration.governance.decision import Decision, DecisionCode, OnDenied, Outcome, Request
from maap_stac_orchestration.governance.default_collection import default_collection_id
from maap_stac_orchestration.governance.registry import Registry, load_registry
from maap_stac_orchestration.problems import Code

Document = dict[str, Any]

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
def documents(draw: st.DrawFn) -> Document:
    document: Document = {
        "version": 1,
        "teams": TEAMS,
        "grants": draw(st.lists(entries(), max_size=6)),
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
        username = draw(st.sampled_from([*grant["users"], "ana"]).filter(lambda name: name[0] not in "@*"))
        collection = grant["collection"].replace("{username}", username)
        if collection.endswith("*"):
            collection = collection[:-1] + draw(st.sampled_from(["x", "-x", "flood", "bob--x", "x__y"]))
        metadata_username = None if request.metadata_username is None else username
        request = replace(request, username=username, collection=collection, metadata_username=metadata_username)
    return request


existing_ids = st.lists(ids, max_size=4)
settings_values = st.sampled_from(OnDenied)


@st.composite
def questions(draw: st.DrawFn) -> tuple[Document, Request, list[str]]:
    document = draw(documents())
    request = draw(grantable(document))
    existing = draw(existing_ids)
    if request.collection and draw(st.booleans()):
        existing.append(draw(st.sampled_from([request.collection, request.collection.upper()])))
    return document, request, existing


def loaded(document: Document) -> Registry:
    return load_registry(json.dumps(document), "registry.json")


def answer(
    document: Document, request: Request, existing: list[str], setting: OnDenied = OnDenied.FALLBACK
) -> Decision:
    decision = decide(request, loaded(document), ExistingCollections.of(existing), setting)
    event(decision.code.value)
    return decision


# The table once more, as plainly as it can be written: no index, no order of entries, no sentences.


def means(pattern: str, collection: str, username: str) -> bool:
    """Whether a pattern means an id; `{username}` exactly, everything else by lower case."""
    before, found, after = pattern.partition("{username}")
    if not found:
        return fnmatchcase(collection.lower(), before.lower())
    if not collection.lower().startswith(before.lower()) or collection[len(before) :][: len(username)] != username:
        return False
    return fnmatchcase(collection[len(before) + len(username) :].lower(), after.lower())


def names_user(entry: Document, username: str) -> bool:
    if username in ("*", "@team"):
        return "*" in entry["users"]
    teams = [f"@{team}" for team, members in TEAMS.items() if username in members]
    return any(name in entry["users"] for name in ("*", username, *teams))


def names_algorithm(entry: Document, request: Request) -> bool:
    if "algorithms" not in entry:
        return True
    pairs = [text.rsplit("@", 1) for text in entry["algorithms"]]
    return any(
        fnmatchcase(request.algorithm, name) and fnmatchcase(request.version, version) for name, version in pairs
    )


def table(document: Document, request: Request, existing: list[str]) -> str:
    wanted, user = request.collection, request.username
    if request.metadata_username not in (None, user):
        return "identity_mismatch"
    if not wanted or wanted.lower() == request.default_collection.lower():
        return "default_assigned"
    matching = [grant for grant in document["grants"] if means(grant["collection"], wanted, user)]
    exact = [grant for grant in matching if not grant["collection"].endswith("*")]
    reserved = any(means(pattern, wanted, user) for pattern in document["reserved"])
    if not (exact and wanted in existing):
        if not re.fullmatch("[a-z0-9]([a-z0-9_-]{1,62})[a-z0-9]", wanted):
            return "invalid_name"
        if wanted in RESERVED_NAMES or (reserved and not exact):
            return "reserved_name"
        if "__" in wanted:
            return "reserved_pattern"
    if wanted not in existing and wanted.lower() in [one.lower() for one in existing]:
        return "name_conflict"
    for denial in document["deny"]:
        if means(denial["collection"], wanted, user) and names_user(denial, user) and names_algorithm(denial, request):
            return "user_not_authorized"
    others = "--" in wanted and wanted.split("--")[0] != user
    out_of_reach = reserved or wanted in RESERVED_NAMES or "__" in wanted or others
    granting = [
        grant
        for grant in matching
        if names_user(grant, user)
        and (grant in exact or (not out_of_reach and len(grant["collection"].replace("{username}", user)) > 3))
    ]
    if not granting:
        return "user_not_authorized"
    approving = [grant for grant in granting if names_algorithm(grant, request)]
    if not approving:
        return "algorithm_not_approved"
    if wanted not in existing and not any(grant["create"] for grant in approving):
        return "collection_not_found"
    return "granted"


@settings(max_examples=1000)
@given(question=questions())
def test_the_decision_is_that_of_the_table(question: tuple[Document, Request, list[str]]) -> None:
    assert answer(*question).code.value == table(*question)


@given(question=questions(), setting=settings_values)
def test_a_decision_is_whole(question: tuple[Document, Request, list[str]], setting: OnDenied) -> None:
    document, request, existing = question
    decision = answer(document, request, existing, setting)
    assert decision == answer(document, request, existing, setting)
    assert decision.rule
    assert decision.message
    assert decision.requested == (request.collection or None)
    if decision.code is DecisionCode.GRANTED:
        assert (decision.outcome, decision.collection) == (Outcome.ACCEPT, request.collection)
        assert (decision.creation is None) == (request.collection in existing)
    elif decision.code is DecisionCode.DEFAULT_ASSIGNED:
        assert (decision.outcome, decision.collection) == (Outcome.DEFAULT, request.default_collection)
    else:
        assert Code(decision.code.value)
        assert decision.outcome in (Outcome.FALLBACK, Outcome.REJECT)
        expected = request.default_collection if decision.outcome is Outcome.FALLBACK else None
        assert decision.collection == expected


any_text = st.text() | st.text(st.characters(codec=None), max_size=20)


@given(
    document=documents(),
    names=st.tuples(any_text, any_text, any_text, st.none() | any_text),
    collection=st.none() | any_text,
    default=any_text,
    metadata_username=st.none() | st.none() | st.none() | any_text,
    existing=st.lists(any_text, max_size=3),
)
def test_no_input_is_without_a_decision(
    document: Document,
    names: tuple[str, str, str, str | None],
    collection: str | None,
    default: str,
    metadata_username: str | None,
    existing: list[str],
) -> None:
    decision = answer(document, Request(*names, collection, default, metadata_username), existing)
    assert "\n" not in decision.rule


@settings(max_examples=300)
@given(question=questions())
def test_nobody_is_accepted_without_a_grant_that_names_them_and_the_id(
    question: tuple[Document, Request, list[str]],
) -> None:
    document, request, existing = question
    if answer(document, request, existing).outcome is not Outcome.ACCEPT:
        return
    assert request.collection is not None
    assert any(
        means(grant["collection"], request.collection, request.username)
        and names_user(grant, request.username)
        and names_algorithm(grant, request)
        for grant in document["grants"]
    )


@given(question=questions())
def test_deny_wins(question: tuple[Document, Request, list[str]]) -> None:
    document, request, existing = question
    assume(request.collection)
    pattern = {"collection": request.collection, "users": ["*"]}
    assert answer({**document, "deny": [pattern]}, request, existing).outcome is not Outcome.ACCEPT


@settings(max_examples=300)
@given(question=questions(), grant=entries())
def test_adding_a_grant_never_takes_access_away(question: tuple[Document, Request, list[str]], grant: Document) -> None:
    document, request, existing = question
    if answer(document, request, existing).outcome is Outcome.ACCEPT:
        more = {**document, "grants": [*document["grants"], grant]}
        assert answer(more, request, existing).outcome is Outcome.ACCEPT


@settings(max_examples=300)
@given(question=questions(), denial=entries())
def test_adding_a_deny_never_gives_access(question: tuple[Document, Request, list[str]], denial: Document) -> None:
    document, request, existing = question
    more = {**document, "deny": [*document["deny"], denial]}
    if answer(more, request, existing).outcome is Outcome.ACCEPT:
        assert answer(document, request, existing).outcome is Outcome.ACCEPT


@given(question=questions(), order=st.randoms(use_true_random=False), setting=settings_values)
def test_neither_order_nor_case_of_entries_matters(
    question: tuple[Document, Request, list[str]], order: Any, setting: OnDenied
) -> None:
    document, request, existing = question
    other = {**document}
    for key in ("grants", "deny", "reserved"):
        other[key] = order.sample(document[key], len(document[key]))
    for key in ("grants", "deny"):
        other[key] = [{**entry, "collection": other_case(entry["collection"])} for entry in other[key]]
    other["reserved"] = [other_case(pattern) for pattern in other["reserved"]]
    one, same = answer(document, request, existing, setting), answer(other, request, existing, setting)
    assert (one.code, one.outcome, one.collection, one.creation) == (
        same.code,
        same.outcome,
        same.collection,
        same.creation,
    )


def other_case(pattern: str) -> str:
    return pattern.swapcase().replace("{USERNAME}", "{username}")


@given(document=documents(), asking=requests(), owner=requests(), existing=existing_ids)
def test_the_fallback_of_one_user_is_not_written_to_by_another(
    document: Document, asking: Request, owner: Request, existing: list[str]
) -> None:
    """Unless an administrator grants exactly that id: a prefix, whoever it names, never does it."""
    assume(asking.username.lower() != owner.username.lower())
    document["grants"] = [
        *(grant for grant in document["grants"] if grant["collection"].endswith("*")),
        {"collection": owner.default_collection[:3] + "*", "users": ["*"], "create": True},
        {"collection": owner.default_collection[:-1] + "*", "users": [asking.username], "create": True},
    ]
    existing = [*existing, owner.default_collection]
    for spelling in (owner.default_collection, owner.default_collection.lower()):
        decision = answer(document, replace(asking, collection=spelling), existing)
        assert decision.collection != owner.default_collection


@given(question=questions())
def test_no_prefix_gives_what_belongs_to_others(question: tuple[Document, Request, list[str]]) -> None:
    document, request, existing = question
    prefixes = [grant for grant in document["grants"] if grant["collection"].endswith("*")]
    if answer({**document, "grants": prefixes}, request, existing).outcome is not Outcome.ACCEPT:
        return
    assert request.collection is not None
    assert "__" not in request.collection
    assert request.collection not in RESERVED_NAMES
    assert request.collection.split("--")[0] == request.username or "--" not in request.collection


@given(one=documents(), other=documents(), request=requests(), existing=existing_ids)
def test_registries_that_are_merged_decide_like_one_with_all_their_entries(
    one: Document, other: Document, request: Request, existing: list[str]
) -> None:
    together = {**one, **{key: [*one[key], *other[key]] for key in ("grants", "deny", "reserved")}}
    on_denied = one.get("on_denied") or other.get("on_denied")
    if on_denied:
        together["on_denied"] = on_denied
    merged = loaded(one).merged(loaded(other), Registry.empty())
    decision = decide(request, merged, ExistingCollections.of(existing), OnDenied.FALLBACK)
    expected = answer(together, request, existing)
    assert (decision.code, decision.outcome, decision.collection) == (
        expected.code,
        expected.outcome,
        expected.collection,
    )
    assert decision.registry_version == merged.version != loaded(one).version
