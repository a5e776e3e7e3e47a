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
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

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
    """The ids of the collections that there are."""

    exact: frozenset[str]
    #: Id in lower case -> one id as it is written.
    by_lower: dict[str, str]

    @classmethod
    def of(cls, ids: Iterable[str]) -> ExistingCollections:
        """Takes the ids in."""
        exact = frozenset(ids)
        return cls(exact, {fold(one): one for one in sorted(exact)})

    def __contains__(self, collection: object) -> bool:
        return collection in self.exact

    def clash(self, collection: str) -> str | None:
        """The existing id that differs from this one in upper and lower case only; None where the id itself exists."""
        return None if collection in self.exact else self.by_lower.get(fold(collection))


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

    user = request.username
    found = registry.find(wanted, user)
    exact_grant = next((bucket for rank, bucket in found if rank == EXACT and bucket.grants), None)
    exists = wanted in existing.exact
    reserved = _reserved_by(wanted, registry)
    denial: tuple[DecisionCode, str, str] | None = None

    # The rules of naming bind creation: an existing collection that an exact grant names may be called anything.
    if not (exists and exact_grant):
        if not is_valid_name(wanted):
            denial = DecisionCode.INVALID_NAME, "names are 3 to 64 of a-z 0-9 - _", ""
        elif wanted in RESERVED_NAMES or (reserved and not exact_grant):
            denial = DecisionCode.RESERVED_NAME, reserved or "", ""
        elif "__" in wanted:
            denial = DecisionCode.RESERVED_PATTERN, "ids with __ belong to default collections", ""
    if denial is None and not exists and (other := existing.clash(wanted)) is not None:
        shown = _shown(other)
        denial = DecisionCode.NAME_CONFLICT, f"the collection {shown} exists", f"The existing one is {shown}."
    if denial is not None:
        return _denied(request, registry, on_denied, found, *denial)

    names = registry.names_of(user)
    for _, bucket in found:
        for entry in _naming(bucket.denials, names):
            if entry.approves(request.algorithm, request.version):
                detail = f"An administrator has excluded {_shown(user)} from it."
                return _denied(
                    request, registry, on_denied, found, DecisionCode.USER_NOT_AUTHORIZED, entry.label, detail
                )

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
        return _denied(request, registry, on_denied, found, DecisionCode.USER_NOT_AUTHORIZED, rule, detail)

    approving = [entry for entry in naming if entry.approves(request.algorithm, request.version)]
    if not approving:
        approved = ", ".join(islice(dict.fromkeys(one.text for entry in naming for one in entry.algorithms), 5))
        return _denied(
            request,
            registry,
            on_denied,
            found,
            DecisionCode.ALGORITHM_NOT_APPROVED,
            naming[0].label,
            f"The job ran {_shown(request.algorithm)}@{_shown(request.version)}; approved: {_shown(approved, 300)}.",
        )
    if exists:
        return _granted(request, registry, approving[0], None)
    creating = [entry for entry in approving if entry.create]
    if not creating:
        return _denied(request, registry, on_denied, found, DecisionCode.COLLECTION_NOT_FOUND, approving[0].label, "")
    return _granted(request, registry, creating[0], dict(_template(creating)))


def problem_of(decision: Decision, about: str | None = None) -> Problem | None:
    """The problem that a denial is, None where nothing was denied.

    Args:
        decision: any decision.
        about: what the problem is about; the requested collection where this is None.
    """
    if decision.code in _NOT_DENIED:
        return None
    return Problem(Code(decision.code.value), about or decision.requested or "", f"Rule: {decision.rule}.")


_NOT_DENIED = frozenset({DecisionCode.DEFAULT_ASSIGNED, DecisionCode.GRANTED})


def _reserved_by(collection: str, registry: Registry) -> str | None:
    if collection in RESERVED_NAMES:
        return "the API's own names"
    entry = registry.reserves(collection)
    return entry.label if entry else None


def _protected(collection: str, username: str, reserved: str | None) -> str | None:
    """Why no prefix covers the id for this user, None where a prefix may."""
    if reserved is not None:
        return f"it is reserved ({reserved})"
    if "__" in collection:
        return "ids with __ belong to default collections"
    owner = namespace_owner(collection)
    if owner is not None and owner != username:
        return f"ids that begin with {_shown(owner)}-- belong to the user of that name"
    return None


def _naming(entries: dict[str, list[Entry]], names: tuple[str, ...]) -> list[Entry]:
    """The entries of one pattern that name the user in one way or another, each once."""
    if not entries:
        return []
    lists = [entries[name] for name in names if name in entries]
    if len(lists) == 1:
        return lists[0]
    return list({id(entry): entry for some in lists for entry in some}.values())


def _template(creating: list[Entry]) -> dict[str, object]:
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
            return f"{label} does not name {_shown(username)}", f"Its grants do not name {_shown(username)}."
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


def _denied(
    request: Request,
    registry: Registry,
    setting: OnDenied,
    found: list[tuple[int, Bucket]],
    code: DecisionCode,
    rule: str,
    detail: str,
) -> Decision:
    wording = WORDINGS[Code(code.value)]
    assert request.collection is not None
    fallback = _on_denied(registry, setting, found) is OnDenied.FALLBACK
    if fallback:
        end = f"The items go to the default collection {request.default_collection} instead."
    else:
        end = "The items are not loaded."
    sentences = (wording.sentence.format(object=_shown(request.collection)), detail, wording.fix, end)
    return Decision(
        code=code,
        outcome=Outcome.FALLBACK if fallback else Outcome.REJECT,
        collection=request.default_collection if fallback else None,
        requested=request.collection,
        rule=rule,
        message=" ".join(one for one in sentences if one),
        registry_version=registry.version,
    )


def _granted(request: Request, registry: Registry, entry: Entry, creation: dict[str, object] | None) -> Decision:
    created = "" if creation is None else ", which is created with them"
    return Decision(
        code=DecisionCode.GRANTED,
        outcome=Outcome.ACCEPT,
        collection=request.collection,
        requested=request.collection,
        rule=entry.label,
        message=f"The items go to the collection {request.collection}{created}.",
        registry_version=registry.version,
        creation=creation,
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
    named, owner = _shown(request.metadata_username or ""), _shown(request.username)
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


def _shown(text: str, limit: int = 128) -> str:
    """A name as a sentence shows it: on one line and not longer than it helps."""
    cut = text if len(text) <= limit else text[:limit] + "…"
    return cut if cut.isprintable() and cut else ascii(cut)
