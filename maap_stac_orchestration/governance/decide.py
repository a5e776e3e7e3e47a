"""The decision: may this job write to the collection that its item asks for?

Here stands the whole table, in the order in which it is checked, and nothing else decides. Not here: what entries are
(`entries`), how names are told in problems (`problems`), and carrying a decision out (`pipeline`). Pure and total:
every request gets exactly one decision, and the same request, registry and collections always the same one.

What a prefix covers. Ids with `--` belong to the user whose name stands before the first `--`; that gives every id at
most one owner, also where one user is called `ana` and another `ana--b`. A prefix covers such an id for that user
alone, however the prefix is written: `maap-*` does not reach `maap-bob--x`, nor does `bob--*` granted to somebody
else, since whoever writes a prefix cannot have looked at ids that do not exist yet. An administrator who means to open
a collection in a user's namespace grants its whole id.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from maap_stac_orchestration.governance.decision import Decision, DecisionCode, OnDenied, Outcome, Request
from maap_stac_orchestration.governance.entries import Bucket, Entry
from maap_stac_orchestration.governance.patterns import EXACT, MIN_PREFIX, fold
from maap_stac_orchestration.governance.registry import Registry
from maap_stac_orchestration.problems import WORDINGS, Code, Problem

#: Ids that would stand in the way of the API's own paths.
RESERVED_NAMES = frozenset(
    (
        *("api", "admin", "system", "search", "conformance", "queryables", "collections"),
        *("items", "catalogs", "aggregate", "docs", "status", "jobs"),
    )
)

OWN_NAMES = "the API's own names"
DEFAULTS_ONLY = "ids with __ belong to default collections"

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{1,62}[a-z0-9]")


def is_valid_name(collection: str) -> bool:
    """Whether a new collection may be called that: 3 to 64 of `a-z 0-9 - _`, neither `-` nor `_` at an end."""
    return _NAME.fullmatch(collection) is not None


def namespace_owner(collection: str) -> str | None:
    """The user to whom ids of this spelling belong: what stands before the first `--`; None without one."""
    owner, dashes, _ = collection.partition("--")
    return owner if dashes else None


@dataclass(frozen=True, slots=True)
class ExistingCollections:
    """The ids of the collections that there are, and of those that there were: ids of deleted ones stay taken."""

    exact: frozenset[str]
    #: Id in lower case -> one id as it is written; an existing one rather than a deleted one.
    by_lower: dict[str, str]
    #: The ids of deleted collections, without those that exist.
    deleted: frozenset[str] = frozenset()

    @classmethod
    def of(cls, ids: Iterable[str], deleted: Iterable[str] = ()) -> ExistingCollections:
        """Takes the ids in: of existing collections and of deleted ones."""
        exact = frozenset(ids)
        gone = frozenset(deleted) - exact
        return cls(exact, {fold(one): one for one in (*sorted(gone), *sorted(exact))}, gone)

    def __contains__(self, collection: object) -> bool:
        return collection in self.exact

    def clash(self, collection: str) -> str | None:
        """The id that differs from this one in upper and lower case only and is taken; None where there is none, or
        where the id itself exists or was deleted."""
        if collection in self.exact:
            return None
        other = self.by_lower.get(fold(collection))
        return None if collection in self.deleted and other not in self.exact else other


def decide(
    request: Request, registry: Registry, existing: ExistingCollections, on_denied: OnDenied = OnDenied.FALLBACK
) -> Decision:
    """The decision, with the rule and a sentence for the researcher.

    Args:
        request: who asks for what.
        registry: the entries in force.
        existing: the collections that there are.
        on_denied: what becomes of denied items where the registry does not say.
    """
    if request.metadata_username is not None and request.metadata_username != request.username:
        return _identity_mismatch(request, registry)
    wanted = request.collection
    if not wanted:
        return _default(request, registry, "no collection requested", "The item asks for no collection")
    default = request.default_collection
    if len(wanted) == len(default) and fold(wanted) == fold(default):
        rule = "the job's own default collection"
        return _default(request, registry, rule, "The item asks for the job's own default collection")

    algorithm = request.algorithm, request.version
    ruling = rule_on(wanted, request.username, algorithm, registry, existing)
    if ruling.code is not DecisionCode.GRANTED:
        return _denied(request, registry, on_denied, ruling)
    return _granted(request, registry, ruling)


class Ruling(NamedTuple):
    """What the table says of a collection id, a user and what they do, before it is told to anybody."""

    code: DecisionCode
    #: The entry or the rule of naming that decided, on one line.
    rule: str
    #: A sentence that the wording of the code is completed by; may be empty.
    detail: str
    #: The entries whose pattern the id matches, most specific first.
    found: list[tuple[int, Bucket]]
    #: Where a collection that does not exist is granted: the entries that allow creating it.
    creating: tuple[Entry, ...] = ()


def rule_on(
    wanted: str,
    user: str,
    algorithm: tuple[str, str] | None,
    registry: Registry,
    existing: ExistingCollections,
) -> Ruling:
    """The rules about a collection that is asked for by its id.

    Args:
        wanted: the id.
        user: who asks.
        algorithm: name and version of what the user's job ran; None where it is no job that asks. Entries that name
            algorithms do not speak of that.
        registry: the entries in force.
        existing: the collections that there are and were.
    """
    found = registry.find(wanted, user)
    exact_grant = next((bucket for rank, bucket in found if rank == EXACT and bucket.grants), None)
    exists = wanted in existing.exact
    reserved = _reserved_by(wanted, registry)

    # The rules of naming bind creation: an existing collection that an exact grant names may be called anything.
    if not (exists and exact_grant):
        if not is_valid_name(wanted):
            return Ruling(DecisionCode.INVALID_NAME, "names are 3 to 64 of a-z 0-9 - _", "", found)
        if wanted in RESERVED_NAMES or (reserved and not exact_grant):
            return Ruling(DecisionCode.RESERVED_NAME, reserved or "", "", found)
        if "__" in wanted:
            return Ruling(DecisionCode.RESERVED_PATTERN, DEFAULTS_ONLY, "", found)
    if not exists and (other := existing.clash(wanted)) is not None:
        return Ruling(DecisionCode.NAME_CONFLICT, *taken_by(other, existing), found)

    names = registry.names_of(user)
    excluding = exclusion(found, names, algorithm)
    if excluding is not None:
        detail = f"An administrator has excluded {shown(user)} from it."
        return Ruling(DecisionCode.USER_NOT_AUTHORIZED, excluding.label, detail, found)

    protected = _protected(wanted, user, reserved)
    naming: list[Entry] = []
    held_back: Entry | None = None
    for rank, bucket in found:
        if not bucket.grants:
            continue
        entries = _naming(bucket.grants, names)
        if rank == EXACT or (protected is None and rank >= MIN_PREFIX):
            naming += entries
        elif entries and held_back is None:
            held_back = entries[0]
    if not naming:
        if held_back is not None:
            why = protected or f"it leaves fewer than {MIN_PREFIX} characters"
            rule, detail = f"{held_back.label} does not cover this id: {why}", f"A prefix does not cover it: {why}."
        else:
            rule, detail = _no_grant(found, user)
        return Ruling(DecisionCode.USER_NOT_AUTHORIZED, rule, detail, found)

    approving = [entry for entry in naming if _speaks_of(entry, algorithm)]
    if not approving:
        detail = _approved_instead(naming, algorithm)
        return Ruling(DecisionCode.ALGORITHM_NOT_APPROVED, naming[0].label, detail, found)
    if exists:
        return Ruling(DecisionCode.GRANTED, approving[0].label, "", found)
    if wanted in existing.deleted:
        return Ruling(DecisionCode.COLLECTION_NOT_FOUND, *_deleted(wanted), found)
    creating = tuple(entry for entry in approving if entry.create)
    if not creating:
        return Ruling(DecisionCode.COLLECTION_NOT_FOUND, approving[0].label, "", found)
    return Ruling(DecisionCode.GRANTED, creating[0].label, "", found, creating)


def exclusion(
    found: list[tuple[int, Bucket]], names: tuple[str, ...], algorithm: tuple[str, str] | None
) -> Entry | None:
    """The most specific of the entries found that denies a user of these names, as `rule_on` takes the algorithm."""
    for _, bucket in found:
        for entry in _naming(bucket.denials, names):
            if _speaks_of(entry, algorithm):
                return entry
    return None


def _speaks_of(entry: Entry, algorithm: tuple[str, str] | None) -> bool:
    return not entry.algorithms if algorithm is None else entry.approves(*algorithm)


def _approved_instead(naming: list[Entry], algorithm: tuple[str, str] | None) -> str:
    names = ", ".join(islice(dict.fromkeys(one.text for entry in naming for one in entry.algorithms), 5))
    approved = shown(names, 300)
    if algorithm is None:
        return f"Its grants are for jobs of approved algorithms only: {approved}."
    name, version = algorithm
    return f"The job ran {shown(name)}@{shown(version)}; approved: {approved}."


def taken_by(other: str, existing: ExistingCollections) -> tuple[str, str]:
    """Rule and detail for an id that nobody gets any more, since that of an existing or deleted collection is the same
    or differs from it only in case."""
    if other in existing.exact:
        return f"the collection {shown(other)} exists", f"The existing one is {shown(other)}."
    return _deleted(other)


def _deleted(collection: str) -> tuple[str, str]:
    """Rule and detail for an id that nobody gets any more."""
    return (
        f"the collection {shown(collection)} was deleted, and its id stays taken",
        f"The collection {shown(collection)} was deleted, and the id of a deleted collection stays taken.",
    )


def owned_by_other(collection: str, item_ids: Sequence[str], registry_version: str) -> Decision:
    """The decision on items that a job may not write although their collection is granted to it, because jobs of other
    users wrote items of these ids there before.

    Args:
        collection: where the items were to go.
        item_ids: the ids of these items, at least one.
        registry_version: of the registry under which the collection was granted.
    """
    count = len(item_ids)
    listed = ", ".join(shown(one) for one in item_ids[:MAX_LISTED])
    more = f" and {count - MAX_LISTED} more" if count > MAX_LISTED else ""
    items, belong = ("1 item", "It belongs") if count == 1 else (f"{count} items", "They belong")
    wording = WORDINGS[Code.ITEM_OWNED_BY_OTHER]
    return Decision(
        code=DecisionCode.ITEM_OWNED_BY_OTHER,
        outcome=Outcome.REJECT,
        collection=None,
        requested=collection,
        rule="an item id belongs to the user whose job wrote it first",
        message=(
            f"{items} of the collection {shown(collection)} cannot be replaced by this job: {listed}{more}. "
            f"{belong} to another user, whose job wrote the id first. {wording.fix}"
        ),
        registry_version=registry_version,
    )


#: So many item ids are named in one message; the others are counted.
MAX_LISTED = 10


def problem_of(decision: Decision, about: str | None = None) -> Problem | None:
    """The problem that a denial is, None where nothing was denied.

    Args:
        decision: any decision.
        about: what the problem is about; the requested collection where this is None.
    """
    if decision.code in _NOT_DENIED:
        return None
    named = shown(about or decision.requested or "", _LONGEST_OBJECT)
    return Problem(Code(decision.code.value), named, f"Rule: {decision.rule}.")


#: As much of an id or an output prefix as a problem names.
_LONGEST_OBJECT = 1_000
_NOT_DENIED = frozenset({DecisionCode.DEFAULT_ASSIGNED, DecisionCode.GRANTED})


def _reserved_by(collection: str, registry: Registry) -> str | None:
    if collection in RESERVED_NAMES:
        return OWN_NAMES
    entry = registry.reserves(collection)
    return entry.label if entry else None


def _protected(collection: str, username: str, reserved: str | None) -> str | None:
    """Why no prefix covers the id for this user, None where a prefix may."""
    if reserved is not None:
        return f"it is reserved ({reserved})"
    if "__" in collection:
        return DEFAULTS_ONLY
    owner = namespace_owner(collection)
    if owner is not None and owner != username:
        return f"ids that begin with {shown(owner)}-- belong to the user of that name"
    return None


def _naming(entries: dict[str, list[Entry]], names: tuple[str, ...]) -> list[Entry]:
    """The entries of one pattern that name the user in one way or another, each once."""
    if not entries:
        return []
    lists = [entries[name] for name in names if name in entries]
    if len(lists) == 1:
        return lists[0]
    return list({id(entry): entry for some in lists for entry in some}.values())


def template_of(creating: Sequence[Entry]) -> dict[str, Any]:
    """How the collection is described: by the most specific entry that does; of several of one pattern, by the one
    whose description comes first in alphabetical order, so that the order of entries makes no difference."""
    described = [entry for entry in creating if entry.template]
    if not described:
        return {}
    first = described[0].pattern.key
    same = {repr(sorted(one.template.items())): one.template for one in described if one.pattern.key == first}
    return dict(same[min(same)])


def _no_grant(found: list[tuple[int, Bucket]], username: str) -> tuple[str, str]:
    for _, bucket in found:
        if bucket.grants:
            label = next(iter(bucket.grants.values()))[0].label
            return f"{label} does not name {shown(username)}", f"Its grants do not name {shown(username)}."
    return "no grant is for this id", "No grant is for this id."


def _on_denied(registry: Registry, setting: OnDenied, found: list[tuple[int, Bucket]]) -> OnDenied:
    """By the most specific pattern of which an entry says it. A pattern whose entries do not say changes nothing."""
    said: OnDenied | None = None
    said_at = 0
    for rank, bucket in found:
        if bucket.on_denied is None or (said is not None and rank < said_at):
            continue
        said_at = rank
        if said is not OnDenied.REJECT:
            said = bucket.on_denied
    return said or registry.on_denied or setting


def _denied(request: Request, registry: Registry, setting: OnDenied, ruling: Ruling) -> Decision:
    wording = WORDINGS[Code(ruling.code.value)]
    assert request.collection is not None
    fallback = _on_denied(registry, setting, ruling.found) is OnDenied.FALLBACK
    if fallback:
        end = f"The items go to the default collection {request.default_collection} instead."
    else:
        end = "The items are not loaded."
    sentences = (wording.sentence.format(object=shown(request.collection)), ruling.detail, wording.fix, end)
    return Decision(
        code=ruling.code,
        outcome=Outcome.FALLBACK if fallback else Outcome.REJECT,
        collection=request.default_collection if fallback else None,
        requested=request.collection,
        rule=ruling.rule,
        message=" ".join(one for one in sentences if one),
        registry_version=registry.version,
    )


def _granted(request: Request, registry: Registry, ruling: Ruling) -> Decision:
    created = ", which is created with them" if ruling.creating else ""
    return Decision(
        code=DecisionCode.GRANTED,
        outcome=Outcome.ACCEPT,
        collection=request.collection,
        requested=request.collection,
        rule=ruling.rule,
        message=f"The items go to the collection {request.collection}{created}.",
        registry_version=registry.version,
        creation=template_of(ruling.creating) if ruling.creating else None,
    )


def _default(request: Request, registry: Registry, rule: str, why: str) -> Decision:
    return Decision(
        code=DecisionCode.DEFAULT_ASSIGNED,
        outcome=Outcome.DEFAULT,
        collection=request.default_collection,
        requested=request.collection or None,
        rule=rule,
        message=f"{why}, so it goes to {request.default_collection}.",
        registry_version=registry.version,
    )


def _identity_mismatch(request: Request, registry: Registry) -> Decision:
    named, owner = shown(request.metadata_username or ""), shown(request.username)
    wording = WORDINGS[Code.IDENTITY_MISMATCH]
    return Decision(
        code=DecisionCode.IDENTITY_MISMATCH,
        outcome=Outcome.REJECT,
        collection=None,
        requested=request.collection or None,
        rule="outputs belong to the user whose folder they lie in",
        message=(
            f"The job metadata names the user {named}, but the folder of the outputs is that of {owner}. "
            f"{wording.fix} Nothing of the job is loaded."
        ),
        registry_version=registry.version,
    )


def shown(text: str, limit: int = 128) -> str:
    """A name as a sentence shows it: on one line and not longer than it helps."""
    cut = text if len(text) <= limit else text[:limit] + "…"
    return cut if cut.isprintable() and cut else ascii(cut)
