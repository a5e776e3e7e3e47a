"""Collections as people make and change them: create, replace, patch, delete, give to another owner.

Here belongs what happens to a collection in the database by a person's doing, in one transaction each, and that it is
on record. Not here: the rules of who may (`governance.curation`), what a good document is (`catalog.curated`), who
somebody is (`api.authentication`), and what jobs do to collections (`load`, `describe`).

Locks are taken in the order in which loading takes them: writers of items, the ledger's row, pgstac's row, the trail.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from psycopg import errors

from maap_stac_orchestration import log_events
from maap_stac_orchestration.catalog.curated import NotUsable, curated_collection
from maap_stac_orchestration.catalog.document import printable, unwritable
from maap_stac_orchestration.catalog.patches import (
    PatchConflict,
    Patched,
    PatchTooLarge,
    PatchUnusable,
    json_patched,
    merge_patched,
)
from maap_stac_orchestration.governance.curation import Person, may_change, may_create
from maap_stac_orchestration.governance.decision import DecisionCode, Outcome
from maap_stac_orchestration.governance.registry import Registry
from maap_stac_orchestration.ledger import changes, collection_changes
from maap_stac_orchestration.ledger import collections as known_collections
from maap_stac_orchestration.ledger.changes import Action, Author
from maap_stac_orchestration.ledger.collections import CollectionIdTaken, Described
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.texts import LONGEST_NAME
from maap_stac_orchestration.pgstac.collections import (
    count_items,
    database_time,
    delete_with_items,
    has_items,
    insert_document,
    lock_deletion,
    locked_document,
    read_document,
    write_document,
)
from maap_stac_orchestration.pgstac.description import DERIVED, derived_untouched
from maap_stac_orchestration.pgstac.items import lock_writers
from maap_stac_orchestration.pipeline.decide import existing_collections
from maap_stac_orchestration.pipeline.patience import persistently
from maap_stac_orchestration.pipeline.registry import current_registry
from maap_stac_orchestration.settings import Settings

#: What the registry may say of a collection that it lets be created.
_TEMPLATE = ("title", "description", "license", "keywords", "providers")
#: Fields of ours, which no body changes; so are those that begin with the prefix.
_OURS: Final = frozenset({"created", "updated"})
_OUR_PREFIX: Final = "maap:"
#: Fields that are nobody's words.
_FRAME: Final = frozenset({"type", "stac_version", "id", "extent"}) | _OURS

#: How often a change is tried when others are in its way, and the longest pause between two tries, seconds.
_PASSING: Final = (errors.DeadlockDetected, errors.SerializationFailure)

# While a deletion waits for a lock on the table of all items, every search waits behind it.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '15s'"


class CurationError(Exception):
    """What a person wants done to a collection is not done, and nothing was changed; the message says why."""


class NotAllowed(CurationError):
    """Somebody may not do that; `code` and `rule` say by which rule of governance."""

    def __init__(self, code: DecisionCode, message: str, rule: str) -> None:
        super().__init__(message)
        self.code = code
        self.rule = rule


class IdTaken(CurationError):
    """There is, or was, a collection of that id but for upper and lower case."""


class NoSuchCollection(CurationError):
    """There is no collection of that id; the message says what became of it, where it was deleted."""


class DocumentRefused(CurationError):
    """The document, or the patch, cannot be used; the message has a sentence for each thing that is wrong."""


class DocumentTooLarge(CurationError):
    """The document is, or would become, larger than is allowed."""


class StateConflict(CurationError):
    """What is wanted does not fit to how the collection is now; the message says what stands in its way."""


class ChangedMeanwhile(CurationError):
    """Somebody changed the collection since it was read for this change."""


class CollectionBusy(CurationError):
    """Others work on the collection, or search, for so long that waiting was given up; it can be tried again."""


@dataclass(frozen=True, slots=True)
class Curated:
    """What was done."""

    collection: str
    #: As it is stored, without the links that the API makes; for a deletion as it was.
    document: Mapping[str, Any]
    #: The number of the change in the audit trail.
    change: int


def create_collection(
    conn: Connection, settings: Settings, person: Person, document: Mapping[str, Any], author: Author
) -> Curated:
    """Creates a collection that belongs to a person; commits.

    What the document leaves out is filled from the registry, where the entry that allows creating it says it.

    Args:
        conn: a connection with nothing pending.
        settings: `registry` and `max_document_bytes`.
        person: who asks.
        document: a STAC Collection.
        author: who, through which door, why; for the trail.

    Raises:
        CurationError: see its kinds.
        RegistryUnavailable: nobody can tell who may what.
    """
    _check_size(document, settings)
    fault = unwritable(document)
    if fault is not None:
        raise DocumentRefused(printable(fault))
    collection = document.get("id")
    if not isinstance(collection, str) or not collection:
        raise DocumentRefused("Its id is missing, or is not a text.")
    registry = current_registry(settings, conn)

    def create() -> Curated:
        with conn.transaction():
            creation = _creation(conn, person, collection, registry)
            wanted = {field: creation[field] for field in _TEMPLATE if field in creation} | _theirs(document)
            curated = _checked(wanted, settings)
            _register(conn, person, collection)
            now = database_time(conn)
            curated |= {"created": now, "updated": now, f"{_OUR_PREFIX}username": person.username}
            other = insert_document(conn, curated)
            if other is not None:
                raise IdTaken(f"The collection {collection} cannot be made, because {other} is there since a moment.")
            known_collections.describe(conn, collection, {}, None)
            detail = {"before": None, "after": curated}
            change = changes.record(conn, Action.COLLECTION_CREATED, collection, author, detail)
        return Curated(collection, curated, change)

    return _done(conn, create, Action.COLLECTION_CREATED, author)


def replace_collection(
    conn: Connection,
    settings: Settings,
    person: Person,
    collection: str,
    document: Mapping[str, Any],
    author: Author,
    *,
    before: Mapping[str, Any] | None = None,
) -> Curated:
    """Puts a document in place of a collection's; commits. From then on every word of it is a curator's.

    `created` and what begins with `maap:` stay; so does the extent of a collection that has items, which is theirs.
    With `before`, only where the stored document is that one.

    Raises:
        CurationError: see its kinds.
        RegistryUnavailable: nobody can tell who may what.
    """
    _check_size(document, settings)
    fault = unwritable(document)
    if fault is not None:
        raise DocumentRefused(printable(fault))

    def replaced(present: Mapping[str, Any]) -> Patched:
        if "id" not in document:
            raise DocumentRefused("Its id is missing.")
        return Patched(dict(document), frozenset(document.keys() | present.keys()))

    return _rewrite(conn, settings, person, collection, replaced, author, before)


def patch_collection(
    conn: Connection,
    settings: Settings,
    person: Person,
    collection: str,
    patch: Mapping[str, Any] | Sequence[Any],
    author: Author,
    *,
    before: Mapping[str, Any] | None = None,
) -> Curated:
    """Changes parts of a collection's document; commits. The fields that the patch speaks of are a curator's then.

    Args:
        conn: a connection with nothing pending.
        settings: `registry` and `max_document_bytes`.
        person: who asks.
        collection: the collection id.
        patch: a JSON Merge Patch (an object) or a JSON Patch (an array of operations).
        author: who, through which door, why; for the trail.
        before: as it was stored when it was read for this change; None where it may have become another one.

    Raises:
        CurationError: see its kinds.
        RegistryUnavailable: nobody can tell who may what.
    """
    fault = unwritable({"patch": patch})
    if fault is not None:
        raise DocumentRefused(printable(fault))

    def patched(present: Mapping[str, Any]) -> Patched:
        try:
            if isinstance(patch, Mapping):
                return merge_patched(present, patch)
            return json_patched(present, patch, settings.max_document_bytes)
        except PatchUnusable as error:
            raise DocumentRefused(str(error)) from error
        except PatchConflict as error:
            raise StateConflict(str(error)) from error
        except PatchTooLarge as error:
            raise DocumentTooLarge(str(error)) from error

    return _rewrite(conn, settings, person, collection, patched, author, before)


def delete_collection(
    conn: Connection,
    settings: Settings,
    person: Person,
    collection: str,
    author: Author,
    *,
    before: Mapping[str, Any] | None = None,
) -> Curated:
    """Deletes a collection with its items; commits. Its id stays taken.

    Its owner may where all its items are of their own jobs, an administrator always. With `before`, only where the
    stored document is that one.

    Raises:
        CurationError: see its kinds.
        RegistryUnavailable: nobody can tell who may what.
    """
    registry = current_registry(settings, conn)

    def delete() -> Curated:
        with conn.transaction():
            # Before anybody is kept waiting.
            owner = known_collections.owner_of(conn, collection) if read_document(conn, collection) else None
            _check_change(conn, person, collection, owner, registry)
            conn.execute(_LOCK_TIMEOUT)
            lock_deletion(conn)
            lock_writers(conn, [collection])
            known, present = _locked(conn, collection)
            _check_change(conn, person, collection, known.owner, registry)
            _check_unchanged(collection, present, before)
            items = count_items(conn, collection)
            if not person.admin:
                _check_items(conn, person, collection, items)
            noted = _noted(conn, collection)
            if not delete_with_items(conn, collection):
                raise _no_such(conn, collection)
            collection_changes.forget_items(conn, collection)
            if noted:
                known_collections.delete(conn, collection, by=author.by)
            detail = {"before": present, "after": None, "owner": known.owner, "items": items}
            change = changes.record(conn, Action.COLLECTION_DELETED, collection, author, detail)
        return Curated(collection, present, change)

    return _done(conn, delete, Action.COLLECTION_DELETED, author)


def transfer_collection(conn: Connection, person: Person, collection: str, owner: str, author: Author) -> Curated:
    """Makes another user the owner of a collection; commits. From then on they may change it, and their jobs fill it.

    Args:
        conn: a connection with nothing pending.
        person: who asks; only administrators may.
        collection: the collection id.
        owner: the username of who is to own it.
        author: who, through which door, why; for the trail.

    Raises:
        CurationError: see its kinds.
    """
    if not person.admin:
        raise NotAllowed(
            DecisionCode.USER_NOT_AUTHORIZED,
            f"Only administrators may give the collection {printable(collection)} to another owner. Ask one of them.",
            "administrators transfer collections",
        )
    if not owner.strip() or len(owner) > LONGEST_NAME or not owner.isprintable() or owner[0] in "@*" or "/" in owner:
        raise DocumentRefused(f"{owner[:100]!a} cannot be the name of a user; write it as their storage folder has it.")

    def transfer() -> Curated:
        with conn.transaction():
            known, present = _locked(conn, collection)
            if known.owner == owner:
                raise StateConflict(f"The collection {collection} belongs to {owner} already.")
            if not _noted(conn, collection):
                raise StateConflict(
                    f"The collection {collection} can have no owner, because the ledger knows a collection whose id "
                    "differs in upper and lower case only. Rename or delete one of them."
                )
            known_collections.transfer(conn, collection, owner)
            document = {**present, f"{_OUR_PREFIX}username": owner, "updated": database_time(conn)}
            write_document(conn, document)
            detail = {"before": {"owner": known.owner}, "after": {"owner": owner}}
            change = changes.record(conn, Action.COLLECTION_TRANSFERRED, collection, author, detail)
        return Curated(collection, document, change)

    return _done(conn, transfer, Action.COLLECTION_TRANSFERRED, author)


def _rewrite(
    conn: Connection,
    settings: Settings,
    person: Person,
    collection: str,
    rewritten: Callable[[Mapping[str, Any]], Patched],
    author: Author,
    before: Mapping[str, Any] | None,
) -> Curated:
    """Writes what `rewritten` makes of a collection's document, where the person may and it is a good one."""
    registry = current_registry(settings, conn)

    def rewrite() -> Curated:
        with conn.transaction():
            known, present = _locked(conn, collection)
            _check_change(conn, person, collection, known.owner, registry)
            _check_unchanged(collection, present, before)
            patched = rewritten(present)
            if patched.document.get("id") != collection:
                raise DocumentRefused(
                    f"The id of the collection {collection} cannot be changed: ids stay. Leave it as it is, or create "
                    "another collection."
                )
            _check_size(patched.document, settings)
            document = _checked(_theirs(patched.document), settings)
            if has_items(conn, collection):
                document["extent"] = present["extent"]
            document |= {field: value for field, value in present.items() if _is_ours(field)}
            document["updated"] = database_time(conn)
            write_document(conn, document)
            if _noted(conn, collection):
                words = _untouched(known.fields, present, document, patched.touched)
                known_collections.describe(conn, collection, words, known.by)
            detail = {"before": present, "after": document}
            change = changes.record(conn, Action.COLLECTION_CHANGED, collection, author, detail)
        return Curated(collection, document, change)

    return _done(conn, rewrite, Action.COLLECTION_CHANGED, author)


def _creation(conn: Connection, person: Person, collection: str, registry: Registry) -> Mapping[str, object]:
    """How the registry wants the collection created.

    Raises:
        NotAllowed, IdTaken: see there.
    """
    existing = existing_collections(conn, [collection])
    decision = may_create(person, collection, registry, existing)
    if decision.code is DecisionCode.NAME_CONFLICT:
        raise IdTaken(decision.message)
    if decision.outcome is not Outcome.ACCEPT:
        raise NotAllowed(decision.code, decision.message, decision.rule)
    return decision.creation or {}


def _register(conn: Connection, person: Person, collection: str) -> None:
    """Makes the person the owner of a collection that is about to be created.

    Raises:
        IdTaken: somebody was faster, or it belongs to somebody although it is not in pgstac.
    """
    try:
        if known_collections.register(conn, collection, owner=person.username, job_id=None):
            return
    except CollectionIdTaken as error:
        raise IdTaken(str(error)) from error
    # Known, and a moment ago it was not there: made by somebody meanwhile, or taken out of pgstac behind our back.
    owner = known_collections.owner_of(conn, collection)
    if owner not in (None, person.username) and not person.admin:
        raise IdTaken(f"The collection {collection} cannot be made, because its id belongs to {owner}.")
    if read_document(conn, collection) is None:
        known_collections.transfer(conn, collection, person.username)


def _locked(conn: Connection, collection: str) -> tuple[Described, dict[str, Any]]:
    """What the ledger and pgstac have of a collection that nobody else changes meanwhile.

    Raises:
        NoSuchCollection: see there.
    """
    # A text that the database cannot hold is no id of anything in it.
    if read_document(conn, collection) is None:
        raise _no_such(conn, collection)
    known = known_collections.lock(conn, collection) or Described(None, {}, None)
    present = locked_document(conn, collection)
    if present is None:
        raise _no_such(conn, collection)
    return known, present


def _no_such(conn: Connection, collection: str) -> NoSuchCollection:
    called = printable(collection[:200])
    stone = known_collections.tombstones(conn, [collection]).get(collection)
    if stone is None:
        return NoSuchCollection(f"There is no collection {called}.")
    return NoSuchCollection(f"There is no collection {called}: {stone.sentence}")


def _check_change(conn: Connection, person: Person, collection: str, owner: str | None, registry: Registry) -> None:
    if read_document(conn, collection) is None:
        raise _no_such(conn, collection)
    refusal = may_change(person, collection, owner, registry)
    if refusal is not None:
        raise NotAllowed(refusal.code, refusal.message, refusal.rule)


def _check_unchanged(collection: str, present: Mapping[str, Any], before: Mapping[str, Any] | None) -> None:
    """Refuses to change what is not as it was when somebody read it; nobody can change it after this.

    Raises:
        ChangedMeanwhile: see there.
    """
    if before is not None and present != before:
        raise ChangedMeanwhile(
            f"The collection {collection} was changed since you read it. Read it again, and make your change to what "
            "it is now."
        )


def _check_items(conn: Connection, person: Person, collection: str, items: int) -> None:
    """Refuses to delete what others wrote, or what nobody knows who wrote.

    Raises:
        StateConflict: see there.
    """
    held = collection_changes.held_items(conn, collection, person.username)
    unknown = max(items - held.items, 0)
    if not held.foreign and not unknown:
        return
    whose = []
    if held.foreign:
        whose.append(f"{held.foreign} of jobs of other users ({', '.join(printable(one) for one in held.others)})")
    if unknown:
        whose.append(f"{unknown} that no job wrote")
    raise StateConflict(
        f"The collection {collection} holds items that are not yours: {' and '.join(whose)}. "
        "Ask an administrator to delete it."
    )


def _noted(conn: Connection, collection: str) -> bool:
    """Whether the ledger has a row for a collection, which it gets here where it was there before this system.

    It cannot have one where the ledger knows a collection whose id differs in case only; such a collection has no
    owner, so administrators alone look after it.
    """
    try:
        known_collections.register(conn, collection, owner=None, job_id=None)
    except CollectionIdTaken:
        return False
    return True


def _theirs(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document without what nobody but this system says."""
    return {field: value for field, value in document.items() if not _is_ours(field)}


def _is_ours(field: str) -> bool:
    return field in _OURS or field.startswith(_OUR_PREFIX)


def _checked(document: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The document as it is written, but for our own fields."""
    try:
        curated = curated_collection(document)
    except NotUsable as error:
        raise DocumentRefused(f"The document cannot be used. {error}") from error
    _check_size(curated, settings)
    return curated


def _check_size(document: Mapping[str, Any], settings: Settings) -> None:
    """What cannot be written at all is left to the check that tells why."""
    try:
        size = len(orjson.dumps(document))
    except TypeError:
        return
    if size > settings.max_document_bytes:
        raise DocumentTooLarge(
            f"The document has {size:,} bytes, and {settings.max_document_bytes:,} are allowed; put data into assets."
        )


def _untouched(
    fields: Mapping[str, Any], present: Mapping[str, Any], document: Mapping[str, Any], touched: Collection[str]
) -> dict[str, Any]:
    """What still counts as written without a person's doing.

    A field that a person took out stays among them: its value is not what the document says, so that no job puts it
    back.
    """
    kept = {
        field: value
        for field, value in fields.items()
        if field != DERIVED and (field not in document or field not in touched)
    }
    removed = present.keys() - document.keys() - kept.keys() - _FRAME
    kept |= derived_untouched(fields, document, touched)
    return kept | {field: present[field] for field in removed if not _is_ours(field)}


def _done(conn: Connection, change: Callable[[], Curated], action: Action, author: Author) -> Curated:
    """Makes a change in a transaction of its own, again where others were in the way, and tells of it."""
    # The registry was read, and perhaps written down, on the same connection.
    conn.commit()
    try:
        # A lock that is waited for in vain is no reason to wait again: somebody sits at the other end.
        done = persistently(change, "a change of a collection", _PASSING)
    except errors.LockNotAvailable as error:
        raise CollectionBusy(
            "Others are working on the collection, or searching, for too long to be waited for. Try again in a while."
        ) from error
    log_events.emit(
        log_events.Event.COLLECTION_CHANGED,
        change=done.change,
        action=str(action),
        collection=done.collection,
        by=author.by,
        via=str(author.via),
    )
    return done
