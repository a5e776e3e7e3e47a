"""Moving a deployment from one template of default collection ids to another, inside pgstac and the ledger.

Here belongs which item goes to which id, which ones stay and why, and in what order things are committed. Not here: how
an id is made of names (`governance.default_collection`), whose an id is (`ledger.default_ids`), and all SQL.

What is committed together: a batch of items of one collection, with everything in the ledger that says where they are
now. A reader finds an item in the old collection or in the new one, never in both or neither. What follows when a
collection is through (where its jobs' items are, its end, the audit trail) is done once more by whoever starts again
after a process that died, until it is noted as finished; the state that this ends in is always the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any

from maap_stac_orchestration import log_events
from maap_stac_orchestration.catalog.schema import core_errors
from maap_stac_orchestration.governance.default_collection import check_template, default_collection_id
from maap_stac_orchestration.governance.patterns import fold
from maap_stac_orchestration.governance.registry import Registry
from maap_stac_orchestration.ledger import changes, default_ids, id_moves
from maap_stac_orchestration.ledger import collections as known_collections
from maap_stac_orchestration.ledger.changes import Author
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.id_moves import DefaultCollection, RawNames
from maap_stac_orchestration.pgstac.collections import (
    create_missing,
    database_time,
    delete_empty,
    existing_ids,
    locked_document,
    write_document,
)
from maap_stac_orchestration.pgstac.description import NewCollection, automatic_fields, written_automatically
from maap_stac_orchestration.pgstac.items import (
    ItemsLost,
    delete,
    ids_after,
    load,
    lock_writers,
    prepare_partition_like,
    present,
    whole,
)
from maap_stac_orchestration.pgstac.queryables import extend_queryables
from maap_stac_orchestration.pipeline.patience import persistently
from maap_stac_orchestration.pipeline.upkeep import refresh_collections

#: Items that are looked at, and moved, at a time.
BATCH = 1_000

#: Jobs that are brought up to date at a time.
JOBS = 200

#: Seconds to wait for another process that moves items to end.
PATIENCE = 10.0

#: Ids of items that are named where some stay.
EXAMPLES = 10

_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '15s'"

#: Members of a collection's document that hold for the one collection alone.
_OWN = frozenset({"id", "type", "stac_version", "extent", "created", "updated"})
_PROVENANCE = "maap:"


class MigrationUnderWay(Exception):
    """Another process is moving items between default collections at this moment."""


class Reason(StrEnum):
    """Why an item stays where it is."""

    NOT_WRITTEN_HERE = "not_written_here"
    OTHER_NAMES = "other_names"
    NAME_TOO_LONG = "name_too_long"
    NO_COLLECTION = "no_collection"
    ID_TAKEN = "id_taken"
    REFUSED = "refused"
    CAME_MEANWHILE = "came_meanwhile"

    @property
    def sentence(self) -> str:
        """What it means, for a person."""
        return _SENTENCES[self]


_SENTENCES = {
    Reason.NOT_WRITTEN_HERE: "The ledger does not know which job wrote it, so it has no other id.",
    Reason.OTHER_NAMES: "A job wrote it for which the old id does not stand; a grant that names that id let it in.",
    Reason.NAME_TOO_LONG: "A name of its job is too long to be known in full; ingest the job again.",
    Reason.NO_COLLECTION: "There cannot be a collection of the new id.",
    Reason.ID_TAKEN: "The new collection has another item of this id, or gets a newer one from another collection.",
    Reason.REFUSED: "The database does not take it.",
    Reason.CAME_MEANWHILE: "It was written while others were moved; move again.",
}


@dataclass(frozen=True, slots=True)
class Move:
    """Items that go from one collection to another."""

    source: str
    target: str
    items: int
    #: Of those, the ones that the target had already, in the same words of the same job; only the old one goes away.
    already: int = 0


@dataclass(frozen=True, slots=True)
class Stay:
    """Items that stay where they are."""

    collection: str
    #: Where they would have gone; None where that is not known.
    target: str | None
    reason: Reason
    message: str
    items: int
    #: Ids of the first of them.
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Migration:
    """What is to be done, or was done."""

    template: str
    #: Whether it was done.
    applied: bool
    moves: tuple[Move, ...]
    stays: tuple[Stay, ...]
    #: Collections that have no items afterwards and go away.
    emptied: tuple[str, ...]
    #: What somebody should know or do besides, a sentence each.
    notes: tuple[str, ...] = ()


def plan_migration(conn: Connection, template: str, registry: Registry | None = None) -> Migration:
    """What moving to the template would do. Nothing is written.

    Args:
        conn: the database; its work so far is committed.
        template: of default collection ids.
        registry: the one in force, to tell which entries name ids that go away.

    Raises:
        TemplateError: the template cannot be used.
        psycopg.Error: the database failed.
    """
    check_template(template)
    conn.commit()
    try:
        # Whose an id would become is found out by taking it.
        work = _work(conn, template)
    finally:
        conn.rollback()
    found = [_survey(conn, work, source) for source in work.sources]
    return _migration(template, found, applied=False, notes=_notes(found, registry))


def migrate(conn: Connection, template: str, author: Author, registry: Registry | None = None) -> Migration:
    """Moves all items of default collections to where the template would have put them; commits batch by batch.

    A process that dies in the midst of it, or is told to stop, loses nothing: started again, it goes on where it was.
    Done a second time it finds nothing to do. Jobs may be ingested meanwhile.

    Args:
        conn: the database; its work so far is committed.
        template: of default collection ids.
        author: who wants it and why.
        registry: see `plan_migration`.

    Returns:
        What this call did.

    Raises:
        MigrationUnderWay: see there.
        TemplateError: the template cannot be used.
        psycopg.Error: the database failed.
    """
    check_template(template)
    conn.commit()
    with _alone(conn):
        with conn.transaction():
            work = _work(conn, template)
        done = [_move(conn, work, source, author) for source in work.sources]
        refresh_collections(conn, id_moves.waiting_for_upkeep(conn))
        return _migration(template, done, applied=True, notes=_notes(done, registry))


@contextmanager
def _alone(conn: Connection) -> Iterator[None]:
    if not id_moves.alone(conn, PATIENCE):
        raise MigrationUnderWay(
            "Another process is moving items of default collections at this moment. Wait for it to end, then look "
            "whether anything is left to do."
        )
    try:
        yield
    finally:
        # A session that is broken has let go by itself.
        if not conn.broken:
            conn.rollback()
            id_moves.not_alone(conn)
            conn.commit()


@dataclass(slots=True)
class _Work:
    """Which items go where, as far as names tell."""

    template: str
    #: By id.
    collections: dict[str, DefaultCollection]
    #: Where the items of jobs of these names go, by the collection that they are in; it may be the same one.
    targets: dict[tuple[str, RawNames], str] = field(default_factory=dict)
    #: The same for those that can go nowhere: why.
    nowhere: dict[tuple[str, RawNames], str] = field(default_factory=dict)
    #: Targets that there cannot be: why.
    impossible: dict[str, str] = field(default_factory=dict)
    #: Collections that are to be gone through, by id.
    sources: tuple[str, ...] = ()
    _newest: dict[str, dict[str, str]] = field(default_factory=dict)

    def newest(self, conn: Connection, target: str) -> Mapping[str, str]:
        """Ids that come into the target from several collections -> the one with the newest item."""
        if target not in self._newest:
            coming = sorted(
                ((source, names) for (source, names), to in self.targets.items() if to == target != source),
                key=lambda one: (one[0], _sortable(one[1])),
            )
            several = len({source for source, _ in coming}) > 1
            self._newest[target] = id_moves.contested(conn, coming) if several else {}
        return self._newest[target]


def _sortable(names: RawNames) -> tuple[str, str, str, str]:
    return (*names[:3], names.tag or "")


def _work(conn: Connection, template: str) -> _Work:
    """Finds out where everything goes, and takes the ids that are new, in the caller's transaction."""
    unfinished = id_moves.under_way(conn)
    work = _Work(template, {one.id: one for one in id_moves.default_collections(conn)})
    found = id_moves.names_by_collection(conn)
    for source in unfinished:
        # Their items may all be gone already.
        found.setdefault(source, set()).update(id_moves.names_of_jobs(conn, source))
    held = [
        (source, names)
        for source in found
        for names in found[source]
        if source in work.collections and work.collections[source].holds(names) and names.complete
    ]
    # In the order in which decisions take ids, so that none waits for the other.
    for source, names in sorted(held, key=lambda one: (_sortable(one[1]), one[0])):
        try:
            work.targets[source, names] = default_ids.own(conn, names, default_collection_id(names, template))
        except default_ids.NoDefaultId as error:
            work.nowhere[source, names] = str(error)
    work.collections = {one.id: one for one in id_moves.default_collections(conn)}
    _find_impossible(conn, work)
    there = set(existing_ids(conn, work.collections))
    leaving = {source for (source, _), target in work.targets.items() if target != source}
    leaving |= {source for source, _ in work.nowhere}
    # Nothing is known of their items, so they stay, and whoever looks at the plan learns that.
    unknown = {
        id
        for id, one in work.collections.items()
        if id not in found and id not in default_collection_id(one.owner, template).candidates()
    }
    work.sources = tuple(sorted(((leaving | unknown) & there) | unfinished.keys()))
    return work


def _find_impossible(conn: Connection, work: _Work) -> None:
    targets = {target for (source, _), target in work.targets.items() if target != source}
    there = {id.lower(): id for id in existing_ids(conn, targets)}
    for target in targets:
        if there.get(target.lower(), target) != target:
            work.impossible[target] = f"{there[target.lower()]} is there, which differs from {target} in case only."
    gone = known_collections.tombstones(conn, targets)
    for target in gone.keys() - id_moves.moved(conn, targets):
        work.impossible[target] = gone[target].sentence


_Why = tuple[str | None, Reason, str]


@dataclass(slots=True)
class _Through:
    """What was found, or done, in one collection."""

    source: str
    #: By target.
    moved: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    already: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    #: By target, reason, and what else there is to say.
    stays: dict[_Why, int] = field(default_factory=lambda: defaultdict(int))
    examples: dict[_Why, list[str]] = field(default_factory=lambda: defaultdict(list))
    #: Items that are in the right place.
    rest: int = 0
    #: Whether the collection went away.
    emptied: bool = False
    #: Whether a process that died had begun with it.
    begun_before: bool = False

    def add(self, sorted_items: _Sorted) -> None:
        for target, ids in sorted_items.moves.items():
            self.moved[target] += len(ids)
        for target, ids in sorted_items.already.items():
            self.already[target] += len(ids)
        for why, ids in sorted_items.stays.items():
            self.stays[why] += len(ids)
            self.examples[why] = sorted([*self.examples[why], *ids])[:EXAMPLES]
        self.rest += sorted_items.rest

    @property
    def left(self) -> bool:
        """Whether items go from it, or went from it before."""
        return bool(self.moved or self.already or self.begun_before)

    @property
    def stayed(self) -> int:
        return sum(self.stays.values())


@dataclass(slots=True)
class _Sorted:
    """What becomes of some items of a collection."""

    moves: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    already: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    stays: dict[_Why, list[str]] = field(default_factory=lambda: defaultdict(list))
    rest: int = 0

    @property
    def going(self) -> set[str]:
        return self.moves.keys() | self.already.keys()

    def stay(self, id: str, reason: Reason, target: str | None = None, why: str = "") -> None:
        self.stays[target, reason, why].append(id)


def _sort(conn: Connection, work: _Work, source: str, ids: Sequence[str]) -> _Sorted:
    """Says of each of these items, which are in the collection, where it goes."""
    found = _Sorted()
    collection = work.collections[source]
    written = id_moves.written(conn, source, ids)
    coming: dict[str, list[id_moves.WrittenItem]] = defaultdict(list)
    for id in ids:
        item = written.get(id)
        if item is None or item.names is None:
            found.stay(id, Reason.NOT_WRITTEN_HERE)
        elif not collection.holds(item.names):
            found.stay(id, Reason.OTHER_NAMES)
        elif not item.names.complete:
            found.stay(id, Reason.NAME_TOO_LONG)
        elif (why := work.nowhere.get((source, item.names))) is not None:
            found.stay(id, Reason.NO_COLLECTION, None, why)
        elif (target := work.targets.get((source, item.names))) is None:
            found.stay(id, Reason.CAME_MEANWHILE)
        elif target == source:
            found.rest += 1
        elif target in work.impossible:
            found.stay(id, Reason.NO_COLLECTION, target, work.impossible[target])
        else:
            coming[target].append(item)
    for target, items in coming.items():
        there = present(conn, target, [item.id for item in items])
        theirs = id_moves.written(conn, target, sorted(there))
        newest = work.newest(conn, target)
        for item in items:
            other = theirs.get(item.id)
            if item.id in there:
                # Ingested again with the new template already: the same bytes of the same job.
                if other and (other.content_hash, other.source_key) == (item.content_hash, item.source_key):
                    found.already[target].append(item.id)
                else:
                    found.stay(item.id, Reason.ID_TAKEN, target)
            elif newest.get(item.id, source) != source:
                found.stay(item.id, Reason.ID_TAKEN, target)
            else:
                found.moves[target].append(item.id)
    return found


def _survey(conn: Connection, work: _Work, source: str) -> _Through:
    """What moving the items of a collection would do."""
    through = _Through(source, begun_before=source in id_moves.under_way(conn))
    for ids in _pages(conn, source):
        through.add(_sort(conn, work, source, ids))
        # Locks on partitions are kept until the end of a transaction, and there are thousands of collections.
        conn.rollback()
    through.emptied = through.left and not through.stayed and not through.rest
    return through


def _pages(conn: Connection, collection: str) -> Iterator[list[str]]:
    after = ""
    while True:
        ids = ids_after(conn, collection, after, BATCH)
        conn.rollback()
        if ids:
            yield ids
        if len(ids) < BATCH:
            return
        after = ids[-1]


def _move(conn: Connection, work: _Work, source: str, author: Author) -> _Through:
    """Moves what can be moved out of a collection, and ends it when nothing is left."""
    through = _Through(source)
    prepared: set[str] = set()
    for ids in _pages(conn, source):
        found = _sort(conn, work, source, ids)
        conn.rollback()
        for target in sorted(found.going - prepared):
            persistently(partial(_prepare, conn, work, source, target), f"preparing {target}")
            prepared.add(target)
        if found.going:
            moving = partial(_move_batch, conn, work, source, ids, frozenset(found.going))
            found = persistently(moving, f"moving items of {source}")
        through.add(found)
    through.begun_before = source in id_moves.under_way(conn)
    conn.rollback()
    if through.begun_before:
        _follow(conn, work, source)
        persistently(partial(_finish, conn, work, through, author), f"finishing {source}")
    return through


def _prepare(conn: Connection, work: _Work, source: str, target: str) -> None:
    """Makes the target where there is none, in the words of the source, and room for the source's items in it."""
    try:
        with conn.transaction():
            _create(conn, work, source, target)
    except known_collections.CollectionIdTaken as error:
        # Somebody was faster than this; the items stay and the next run looks again.
        work.impossible[target] = str(error)
        return
    with conn.transaction():
        lock_writers(conn, [target])
        prepare_partition_like(conn, target, source)


def _create(conn: Connection, work: _Work, source: str, target: str) -> None:
    old = _described(work, source)
    if not existing_ids(conn, [target]):
        before = id_moves.origin(conn, source)
        known_collections.register(
            conn, target, owner=before.owner or work.collections[target].owner.username, job_id=before.job_id
        )
        document = locked_document(conn, source) or {}
        words = _words_of_job(old, before, document)
        new = _described(work, target, document.get("extent"), words)
        creation = create_missing(conn, [new])
        for other in creation.taken.values():
            raise known_collections.CollectionIdTaken(f"{other} is there, which differs from {target} in case only.")
        if creation.created:
            known_collections.describe(conn, target, automatic_fields(new), before.described_by if words else None)
    _carry_over(conn, old, target)
    extend_queryables(conn, source, target)


def _described(
    work: _Work, collection: str, extent: Mapping[str, Any] | None = None, words: Mapping[str, Any] | None = None
) -> NewCollection:
    """A default collection as the first of its jobs would have it made."""
    owner = work.collections[collection].owner
    return NewCollection(
        id=collection,
        username=owner.username,
        algorithm=owner.algorithm,
        version=owner.version,
        tag=owner.tag,
        default=True,
        extent=extent
        or {"spatial": {"bbox": [[-180.0, -90.0, 180.0, 90.0]]}, "temporal": {"interval": [[None, None]]}},
        creation={},
        own=(words,) if words else (),
    )


def _words_of_job(old: NewCollection, before: id_moves.Origin, document: Mapping[str, Any]) -> dict[str, Any]:
    """What of a collection's words its owner's job wrote: everything that is not a person's, and not ours."""
    if before.described_by is None:
        return {}
    ours = automatic_fields(old)
    words = {
        name: value
        for name, value in before.described.items()
        if value != ours.get(name) and value == document.get(name)
    }
    for name in ("keywords", "providers"):
        if name in words and isinstance(words[name], list):
            words[name] = [one for one in words[name] if one not in ours[name]]
    return words


def _carry_over(conn: Connection, old: NewCollection, target: str) -> None:
    """What a person wrote about the old collection stands in the new one too, where nobody wrote anything else."""
    known = known_collections.lock(conn, target)
    before = id_moves.origin(conn, old.id)
    theirs, document = locked_document(conn, old.id), locked_document(conn, target)
    if known is None or theirs is None or document is None:
        return
    ours = written_automatically(before.described) or automatic_fields(old)
    untouched = written_automatically(known.fields)
    curated = {
        name: value
        for name, value in theirs.items()
        if name not in _OWN and not name.startswith(_PROVENANCE) and value != ours.get(name)
    }
    carried = {
        name: value
        for name, value in curated.items()
        if document.get(name) == untouched.get(name) and document.get(name) != value
    }
    changed = {**document, **carried, "updated": database_time(conn)}
    if carried and not core_errors(changed):
        write_document(conn, changed)


def _move_batch(conn: Connection, work: _Work, source: str, ids: Sequence[str], prepared: frozenset[str]) -> _Sorted:
    """Moves what can be moved of these items to collections that are prepared; one transaction."""
    with conn.transaction():
        targets = sorted(prepared - work.impossible.keys())
        lock_writers(conn, [source, *targets])
        there = present(conn, source, ids)
        found = _sort(conn, work, source, [id for id in ids if id in there])
        for target in found.going - set(targets):
            for id in found.moves.pop(target, []) + found.already.pop(target, []):
                found.stay(id, Reason.CAME_MEANWHILE, target)
        for target in sorted(found.going):
            _move_to(conn, source, target, found)
        if found.going:
            known_collections.changed(conn, [source, *found.going])
    return found


def _move_to(conn: Connection, source: str, target: str, found: _Sorted) -> None:
    documents = [{**item, "collection": target} for item in whole(conn, source, found.moves[target])]
    loaded = load(conn, target, documents)
    for refused in loaded.refused:
        found.stay(refused.id, Reason.REFUSED, target, refused.reason)
    moved, already = list(loaded.ids), found.already[target]
    deleted = delete(conn, source, moved + already)
    if len(moved) + len(loaded.refused) != len(found.moves[target]) or deleted != len(moved) + len(already):
        raise ItemsLost(f"Items of {source} were changed by somebody while they were moved to {target}.")
    found.moves[target] = moved
    id_moves.move(conn, source, target, moved)
    id_moves.forget(conn, source, already)
    id_moves.count(conn, source, target, deleted)


def _follow(conn: Connection, work: _Work, source: str) -> None:
    """Lets the jobs with items in a collection say where these are now, some jobs at a time."""
    every = sorted(id_moves.under_way(conn)[source])
    after = 0
    while True:
        jobs = id_moves.jobs_of(conn, source, after, JOBS)
        conn.rollback()
        if not jobs:
            return

        def follow(jobs: Sequence[int] = jobs) -> None:
            with conn.transaction():
                names = id_moves.lock_jobs(conn, jobs)
                targets = {
                    number: target
                    for number in jobs
                    if (target := work.targets.get((source, names[number]))) is not None and target != source
                }
                id_moves.follow(conn, source, targets, jobs, every)

        persistently(follow, f"telling jobs where items of {source} are")
        after = jobs[-1]


def _finish(conn: Connection, work: _Work, through: _Through, author: Author) -> None:
    """Ends a collection where nothing is left in it, and writes the move into the audit trail."""
    source = through.source
    with conn.transaction():
        lock_writers(conn, [source])
        # Whoever waits to drop a table keeps every reader waiting as well.
        conn.execute(_LOCK_TIMEOUT)
        counts = id_moves.under_way(conn).get(source)
        if counts is None:
            return
        known_collections.lock(conn, source)
        document = locked_document(conn, source)
        through.emptied = delete_empty(conn, source)
        if through.emptied:
            id_moves.forget_all(conn, source)
            known_collections.delete(conn, source, by=author.by, moved_to=_heir(work, source, counts))
        id_moves.finished(conn, source)
        change = changes.record(
            conn,
            changes.Action.ITEMS_MOVED,
            source,
            author,
            {
                "template": work.template,
                "moved_to": counts,
                "items": sum(counts.values()),
                "stayed": through.stayed,
                "deleted": through.emptied,
                # All that was ever written about it, since not every word of it can stand in the new one.
                "document": document,
            },
        )
    for target, items in counts.items():
        log_events.emit(log_events.Event.IDS_MOVED, change=change, collection=source, moved_to=target, items=items)


def _heir(work: _Work, source: str, targets: Mapping[str, int]) -> str | None:
    """Where jobs go that still come to the old id: the one new collection, if it is also that of all their likes."""
    if len(targets) != 1:
        return None
    (target,) = targets
    heir = work.collections.get(target)
    return target if heir is not None and heir.holds(work.collections[source].owner) else None


def _migration(template: str, found: Sequence[_Through], *, applied: bool, notes: tuple[str, ...]) -> Migration:
    return Migration(
        template=template,
        applied=applied,
        moves=tuple(
            Move(one.source, target, one.moved.get(target, 0) + one.already.get(target, 0), one.already.get(target, 0))
            for one in found
            for target in sorted(one.moved.keys() | one.already.keys())
        ),
        stays=tuple(
            Stay(
                one.source,
                why[0],
                why[1],
                f"{why[1].sentence} {why[2]}".strip(),
                one.stays[why],
                tuple(one.examples[why]),
            )
            for one in found
            for why in sorted(one.stays, key=str)
        ),
        emptied=tuple(one.source for one in found if one.emptied),
        notes=notes,
    )


def _notes(found: Sequence[_Through], registry: Registry | None) -> tuple[str, ...]:
    """Entries of the registry that name an id which items leave."""
    if registry is None:
        return ()
    leaving = {fold(one.source): one for one in found if one.left}
    notes = []
    for entry in registry.entries:
        pattern = entry.pattern
        if pattern.is_prefix or pattern.after is not None or pattern.before not in leaving:
            continue
        one = leaving[pattern.before]
        targets = " or ".join(sorted(one.moved.keys() | one.already.keys())) or "the new id"
        notes.append(
            f"The entry {entry.label or pattern.text} of the registry names {one.source}, which items leave. Where it "
            f"is to go on speaking of them, write one for {targets}."
        )
    return tuple(notes)
