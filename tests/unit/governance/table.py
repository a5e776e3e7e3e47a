"""The table of decisions once more, as plainly as it can be written: no index, no order of entries, no sentences.

Here belongs what the decisions of generated requests are compared with. It takes the registry as the document that it
was loaded from.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from maap_stac_orchestration.governance.decide import RESERVED_NAMES
from maap_stac_orchestration.governance.decision import Request
from tests.unit.governance.generated import TEAMS, Collections, Document


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


def names_algorithm(entry: Document, request: Request, *, by_hand: bool = False) -> bool:
    if "algorithms" not in entry:
        return True
    if by_hand:
        return False
    pairs = [text.rsplit("@", 1) for text in entry["algorithms"]]
    return any(
        fnmatchcase(request.algorithm, name) and fnmatchcase(request.version, version) for name, version in pairs
    )


def table(document: Document, request: Request, collections: Collections) -> str:
    """The code of the decision about a job's request."""
    wanted, user = request.collection, request.username
    if request.metadata_username not in (None, user):
        return "identity_mismatch"
    if not wanted or wanted.lower() == request.default_collection.lower():
        return "default_assigned"
    return code_for(document, request, collections)


def code_for(document: Document, request: Request, collections: Collections, *, by_hand: bool = False) -> str:
    """The code for an id that is asked for: by a job, or by a person without one."""
    wanted, user = request.collection, request.username
    assert wanted is not None
    existing, deleted = collections
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
    if wanted not in existing:
        if wanted.lower() in [one.lower() for one in existing]:
            return "name_conflict"
        if wanted not in deleted and wanted.lower() in [one.lower() for one in deleted]:
            return "name_conflict"
    if denied(document, request, by_hand=by_hand):
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
    approving = [grant for grant in granting if names_algorithm(grant, request, by_hand=by_hand)]
    if not approving:
        return "algorithm_not_approved"
    if wanted not in existing and (wanted in deleted or not any(grant["create"] for grant in approving)):
        return "collection_not_found"
    return "granted"


def denied(document: Document, request: Request, *, by_hand: bool = False) -> bool:
    """Whether an entry of `deny` speaks of the request."""
    assert request.collection is not None
    return any(
        means(denial["collection"], request.collection, request.username)
        and names_user(denial, request.username)
        and names_algorithm(denial, request, by_hand=by_hand)
        for denial in document["deny"]
    )
