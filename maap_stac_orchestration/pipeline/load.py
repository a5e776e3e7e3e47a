"""The third stage: items into their collections, and how each job ended into the ledger.

Here belongs which of a batch's items are written, in what order things are committed, and what a job's end is called.
Not here: how items are written (`pgstac`), where they may go (`decide`), what a job says about its collections
(`describe`), and the ledger's tables (`ledger`).

What is committed together. Jobs that write to the same collections are one group, and everything about a group, its
items in pgstac, copies of them that go from other collections, their rows in the ledger and how its jobs ended, is one
transaction. A process that dies leaves a group either done or untouched, and whoever takes its jobs next does the same
work again. Only what costs readers their locks comes before it, in short transactions of its own: creating collections
and their partitions. Left behind by a process that died, those are what the next one would create.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from maap_stac_orchestration import log_events
from maap_stac_orchestration.catalog.provenance import content_hash, with_provenance
from maap_stac_orchestration.dps.job import Job
from maap_stac_orchestration.dps.output_prefix import parse_output_prefix
from maap_stac_orchestration.governance.decide import owned_by_other, problem_of
from maap_stac_orchestration.governance.decision import Decision, DecisionCode, Outcome
from maap_stac_orchestration.governance.default_collection import default_collection_id
from maap_stac_orchestration.ledger import collections as known_collections
from maap_stac_orchestration.ledger import id_moves, outcomes
from maap_stac_orchestration.ledger import items as known_items
from maap_stac_orchestration.ledger.connection import Connection, connect
from maap_stac_orchestration.ledger.id_moves import RawNames
from maap_stac_orchestration.ledger.metrics import seconds_since_claim
from maap_stac_orchestration.ledger.old_copies import Place
from maap_stac_orchestration.ledger.records import FinishedJob, ItemResult, JobItem, JobNames, KnownItem, State
from maap_stac_orchestration.ledger.texts import LONGEST_NAME, storable, storable_or_none
from maap_stac_orchestration.pgstac.collections import create_missing, existing_ids, extent_of
from maap_stac_orchestration.pgstac.description import NewCollection
from maap_stac_orchestration.pgstac.items import (
    CollectionMissing,
    load,
    lock_writers,
    prepare_partition,
    present,
)
from maap_stac_orchestration.pipeline.batch import Batch, DecidedJob, ItemCounts, JobOutcome, ReadItem
from maap_stac_orchestration.pipeline.decide import names_of, requested
from maap_stac_orchestration.pipeline.describe import (
    DescribedAnew,
    Description,
    describe_anew,
    note_creation,
    tell_described,
)
from maap_stac_orchestration.pipeline.lease import Lease, held
from maap_stac_orchestration.pipeline.metrics import Stage, tell_ended, told
from maap_stac_orchestration.pipeline.moved import Placement, copies_elsewhere, remove
from maap_stac_orchestration.pipeline.patience import persistently
from maap_stac_orchestration.problems import Code, Problem, Severity
from maap_stac_orchestration.settings import Settings

_log = logging.getLogger(__name__)

#: Collections that a log event names.
_TOLD_COLLECTIONS = 50

#: How often it is planned anew because collections were deleted or moved meanwhile. Each time it is other ones.
PLANS = 5

#: Problems that say of one item that it was refused when it was read.
_ITEM_REFUSED = frozenset(
    {
        Code.ITEM_UNREADABLE,
        Code.ITEM_INVALID,
        Code.ITEM_ID_UNSAFE,
        Code.GEOMETRY_INVALID,
        Code.DATETIME_INVALID,
    }
)


class CollectionNameTaken(Exception):
    """Between decision and loading somebody made a collection whose id differs in upper and lower case only."""


class _CollectionGone(Exception):
    """A collection was deleted, or items were moved, since the last look; what is to be done is planned anew."""


def load_jobs(
    decided: Sequence[DecidedJob],
    batch: Batch,
    conn: Connection,
    settings: Settings,
    now: datetime,
    lease: Lease | None = None,
) -> list[JobOutcome]:
    """Writes a batch's items and ends its jobs; commits group by group.

    New wins over old, by the job's time, then by when its catalog was modified; what is there already is not written
    again. Only jobs of `batch` that it still holds are touched. Items for a collection that is deleted by now are
    refused; where its items were moved, these follow. An item that its job wrote to another collection before is
    removed there. What was committed is told as log events.

    Args:
        decided: the batch's jobs with their decisions.
        batch: who holds them.
        conn: a connection whose work so far may be committed.
        settings: `lease` and the template of default collections.
        now: the run's time, UTC; only told in logs, since the ledger's times are the database's.
        lease: what keeps the lease; None lets this function keep it.

    Returns:
        How each job ended, in the order of `decided`, without those that another run holds by now.

    Raises:
        LeaseLost: the lease ran out meanwhile; groups that were committed before stay.
        CollectionNameTaken: a collection was created by somebody meanwhile that differs in case only.
        CollectionMissing: collections went away each time that they were about to be loaded.
        psycopg.Error: the database failed.
    """
    _log.info("Loading %d jobs of batch %s at %s", len(decided), batch.batch_id, now.isoformat())
    ended: dict[int, JobOutcome] = {}
    with ExitStack() as stack:
        if lease is None:
            conninfo = make_conninfo(conn.info.dsn, password=conn.info.password)
            lease = stack.enter_context(held(batch, settings, lambda: connect(conninfo)))
        claimed = seconds_since_claim(conn, batch.batch_id) or 0.0
        began = time.monotonic()
        conn.commit()
        stack.enter_context(log_events.bound(run_id=batch.run_id))

        def tell() -> None:
            # Also of what ended before it broke off.
            outcomes = [ended[index] for index in sorted(ended)]
            tell_ended(conn, batch, outcomes, settings, claimed + time.monotonic() - began)

        stack.callback(tell)
        stack.enter_context(told(Stage.LOAD, batch))
        waiting = dict(enumerate(decided))
        for number in range(1, PLANS + 1):
            for plan, outcome in _load_planned(waiting, batch, conn, settings, lease, last=number == PLANS):
                ended[plan.index] = outcome
            if not waiting:
                break
        else:
            raise CollectionMissing(
                f"Each of {PLANS} times that {len(waiting)} jobs were about to be loaded, collections of theirs were "
                "deleted or moved. They are tried again."
            )
        lease.finished()
    return [ended[index] for index in sorted(ended)]


def _load_planned(
    waiting: dict[int, DecidedJob], batch: Batch, conn: Connection, settings: Settings, lease: Lease, *, last: bool
) -> Iterator[tuple[_Plan, JobOutcome]]:
    """Loads what is waiting and takes it out, group by group. What is left is to be planned anew: each time because
    there is a tombstone that was not there before, or one that contradicts what is in pgstac, which the last plan
    believes; or because a migration took copies elsewhere."""
    plans = _standing(waiting, batch.run_id, conn, last=last)
    try:
        _refuse(plans, _create_collections(plans, conn, settings, lease))
    except _CollectionGone:
        return
    for group in _groups(plans):
        try:
            loaded = _load_group(group, batch, conn, settings, lease)
        except _CollectionGone:
            continue
        for plan in group:
            del waiting[plan.index]
        tell_described(loaded.described)
        for plan, finished in loaded.finished:
            _tell_decisions(plan, finished)
            again = finished.claim.job_id in loaded.again
            if not again:
                _tell_end(plan, finished)
            yield plan, _outcome(finished, again=again)


@dataclass(slots=True)
class _Candidate:
    """An item on its way into a collection."""

    plan: _Plan
    item: ReadItem
    collection: str
    fallback: bool

    @property
    def order(self) -> tuple[datetime, datetime, str]:
        """What makes it newer than another of the same id."""
        job = self.plan.job
        assert job is not None
        return (job.time, self.plan.decided.read.claim.catalog_modified, self.item.source.key)

    @property
    def username(self) -> str:
        assert self.plan.job is not None
        return self.plan.job.username

    @property
    def place(self) -> Place:
        job_id = self.plan.decided.read.claim.job_id
        assert job_id is not None
        return Place(job_id, self.collection, self.item.id)

    @property
    def placement(self) -> Placement:
        job = self.plan.job
        assert job is not None
        names = RawNames(job.username, job.algorithm, job.version, job.tag)
        return Placement(self.place, names, _decision(self).outcome is not Outcome.ACCEPT)

    def document(self) -> dict[str, Any]:
        """As it is written."""
        assert self.plan.job is not None
        return with_provenance(
            self.item.document,
            collection=self.collection,
            job=self.plan.job,
            source_key=self.item.source.key,
            run_id=self.plan.run_id,
            repairs=self.item.repairs,
        )


@dataclass(slots=True)
class _Plan:
    """What is to be done for one job: pure, from its decisions."""

    index: int
    decided: DecidedJob
    run_id: str
    candidates: list[_Candidate] = field(default_factory=list)
    #: Items that go nowhere by decision.
    denied: list[ReadItem] = field(default_factory=list)
    #: Denials, as problems of the job.
    denials: list[Problem] = field(default_factory=list)

    @property
    def job(self) -> Job | None:
        return self.decided.read.job

    @property
    def identity_mismatch(self) -> bool:
        return any(one.code is DecisionCode.IDENTITY_MISMATCH for one in self.decided.decisions.values())


def _plan(index: int, decided: DecidedJob, run_id: str) -> _Plan:
    plan = _Plan(index, decided, run_id)
    for item in decided.read.items:
        decision = decided.decisions[requested(item.requested_collection)]
        if decision.collection is None:
            plan.denied.append(item)
        else:
            plan.candidates.append(_Candidate(plan, item, decision.collection, decision.outcome is Outcome.FALLBACK))
    prefix = decided.read.claim.prefix
    for decision in decided.decisions.values():
        about = prefix if decision.code is DecisionCode.IDENTITY_MISMATCH else None
        problem = problem_of(decision, about)
        # Every decision says the same of an identity.
        if problem is not None and problem not in plan.denials:
            plan.denials.append(problem)
    return plan


def _standing(waiting: Mapping[int, DecidedJob], run_id: str, conn: Connection, *, last: bool) -> list[_Plan]:
    """Plans for collections that are not deleted. Items for others are refused, or follow those that were moved."""
    targets = {one.collection for job in waiting.values() for one in job.decisions.values() if one.collection}
    moved = known_collections.moved(conn, targets)
    plans = [_plan(index, _following(job, moved), run_id) for index, job in waiting.items()]
    deleted = known_collections.tombstones(conn, _by_collection(plans))
    # A default collection that was taken apart is made again for jobs that still come to it.
    apart = frozenset() if last else id_moves.moved(conn, deleted)
    conn.commit()
    gone = {id: stone for id, stone in deleted.items() if id not in apart}
    _refuse(plans, {id: Problem(Code.COLLECTION_NOT_FOUND, id, stone.sentence) for id, stone in gone.items()})
    return plans


def _following(decided: DecidedJob, moved: Mapping[str, str]) -> DecidedJob:
    """The job with its items on their way to where the collections were moved that it was decided for."""
    if not any(decision.collection in moved for decision in decided.decisions.values()):
        return decided
    decisions = {}
    for wanted, decision in decided.decisions.items():
        if (target := moved.get(decision.collection or "")) is not None:
            message = f"{decision.message} {decision.collection} was moved meanwhile, so they go to {target}."
            decision = replace(decision, collection=target, message=message)
        decisions[wanted] = decision
    return replace(decided, decisions=decisions)


def _groups(plans: Sequence[_Plan]) -> Iterator[list[_Plan]]:
    """Jobs that write to the same collections, directly or through others, together; those that write nothing are one
    group as well."""
    leader: dict[str, str] = {}

    def lead(collection: str) -> str:
        while leader[collection] != collection:
            leader[collection] = leader[leader[collection]]
            collection = leader[collection]
        return collection

    for plan in plans:
        targets = [candidate.collection for candidate in plan.candidates]
        for collection in targets:
            leader.setdefault(collection, collection)
            leader[lead(collection)] = lead(targets[0])
    groups: dict[str | None, list[_Plan]] = defaultdict(list)
    for plan in plans:
        groups[lead(plan.candidates[0].collection) if plan.candidates else None].append(plan)
    yield from groups.values()


def _create_collections(
    plans: Sequence[_Plan], conn: Connection, settings: Settings, lease: Lease
) -> dict[str, Problem]:
    """Creates the collections that are missing, and brings all partitions to the times of what is about to come.

    Returns:
        Id -> why there cannot be such a collection.

    Raises:
        _CollectionGone: one was deleted a moment ago.
    """
    by_collection = _by_collection(plans)
    if not by_collection:
        return {}
    lease.check()
    there = {id.lower(): id for id in existing_ids(conn, by_collection)}
    conn.commit()
    missing = {id: by_collection[id] for id in sorted(by_collection) if there.get(id.lower()) != id}
    taken: dict[str, Problem] = {}
    for id in missing:
        if other := there.get(id.lower()):
            # No decision checks default collections for that, since nobody chose their ids.
            if any(_decision(candidate).outcome is Outcome.ACCEPT for candidate in missing[id]):
                raise CollectionNameTaken(_made_meanwhile(id, other))
            taken[id] = Problem(Code.NAME_CONFLICT, id, f"The existing one is {other}.")
    if missing:
        with conn.transaction():
            for id in [id for id in missing if id not in taken]:
                first = _first(missing[id])
                try:
                    with conn.transaction():
                        known_collections.register(
                            conn, id, owner=first.username, job_id=first.plan.decided.read.claim.job_id
                        )
                except known_collections.CollectionDeleted as error:
                    raise _CollectionGone(str(error)) from error
                except known_collections.CollectionIdTaken as error:
                    taken[id] = Problem(Code.NAME_CONFLICT, id, str(error))
            creation = create_missing(
                conn, [_new_collection(id, missing[id], settings) for id in missing if id not in taken]
            )
            for new in creation.created:
                note_creation(conn, new, _first(missing[new.id]).order[0])
            for id, other in creation.taken.items():
                raise CollectionNameTaken(_made_meanwhile(id, other))
    for collection, candidates in sorted(by_collection.items()):
        if collection in taken:
            continue
        lease.check()

        def prepare(collection: str = collection, candidates: list[_Candidate] = candidates) -> None:
            with conn.transaction():
                _lock_standing(conn, [collection])
                prepare_partition(conn, collection, [candidate.item.document for candidate in candidates])

        persistently(prepare, f"preparing the collection {collection}")
    return taken


def _lock_standing(conn: Connection, collections: Iterable[str], others: Iterable[str] = ()) -> None:
    """Makes this transaction the one writer of collections, which whoever deletes or moves one is too, and of others,
    which need not be there any more.

    Raises:
        _CollectionGone: one is not there any more.
    """
    wanted = sorted(collections)
    lock_writers(conn, [*wanted, *others])
    for stone in known_collections.tombstones(conn, wanted).values():
        raise _CollectionGone(stone.sentence)


def _made_meanwhile(collection: str, other: str) -> str:
    return (
        f"The collection {collection} cannot be created, because there is {other} since a moment ago. "
        "The jobs are decided anew when they are tried again."
    )


def _refuse(plans: Sequence[_Plan], impossible: Mapping[str, Problem]) -> None:
    """Items whose collection there cannot be go nowhere: somebody has to look at it, and the job says so."""
    for plan in plans:
        kept = [candidate for candidate in plan.candidates if candidate.collection not in impossible]
        if len(kept) == len(plan.candidates):
            continue
        plan.denied += [candidate.item for candidate in plan.candidates if candidate.collection in impossible]
        names = sorted({candidate.collection for candidate in plan.candidates if candidate.collection in impossible})
        plan.denials += [impossible[name] for name in names]
        plan.candidates = kept


def _by_collection(plans: Sequence[_Plan]) -> dict[str, list[_Candidate]]:
    found: dict[str, list[_Candidate]] = defaultdict(list)
    for plan in plans:
        for candidate in plan.candidates:
            found[candidate.collection].append(candidate)
    return found


def _first(candidates: Sequence[_Candidate]) -> _Candidate:
    return min(candidates, key=lambda one: one.order)


def _new_collection(id: str, candidates: Sequence[_Candidate], settings: Settings) -> NewCollection:
    """What a new collection is like: by the job that comes first, whose user is its owner."""
    return _as_made_by(_first(candidates), extent_of([candidate.item.document for candidate in candidates]), settings)


def _as_made_by(candidate: _Candidate, extent: Mapping[str, Any], settings: Settings) -> NewCollection:
    """The candidate's collection as its job would have it made."""
    decision = _decision(candidate)
    job, read = candidate.plan.job, candidate.plan.decided.read
    assert job is not None
    default = decision.outcome is not Outcome.ACCEPT
    # The names that the template of default ids uses; jobs that differ in the others share the collection.
    owner = default_collection_id(names_of(job), settings.default_collection_template).owner
    return NewCollection(
        id=candidate.collection,
        username=job.username,
        algorithm=owner.algorithm_name if default else job.algorithm,
        version=owner.algorithm_version if default else job.version,
        tag=owner.tag if default else job.tag,
        default=default,
        extent=extent,
        creation=decision.creation or {},
        # While a job waits, a second document may still come, and then neither counts.
        own=() if read.awaiting else read.collections,
    )


def _decision(candidate: _Candidate) -> Decision:
    return candidate.plan.decided.decisions[requested(candidate.item.requested_collection)]


@dataclass(frozen=True, slots=True)
class _LoadedGroup:
    """What was committed of a group."""

    finished: Sequence[tuple[_Plan, FinishedJob]] = ()
    #: Jobs of which a catalog changed meanwhile, by the ledger's numbers: their end is still to come.
    again: frozenset[int] = frozenset()
    described: Sequence[DescribedAnew] = ()
    #: The ledger's number of a job -> what of its items moved here from other collections.
    moved: Mapping[int, str] = field(default_factory=dict)


def _load_group(group: list[_Plan], batch: Batch, conn: Connection, settings: Settings, lease: Lease) -> _LoadedGroup:
    """One transaction; jobs that turn out to be another run's are left out and the rest is done again.

    Raises:
        _CollectionGone: nothing was committed.
    """
    while group:

        def attempt(group: list[_Plan] = group) -> tuple[_LoadedGroup, frozenset[int]]:
            lease.check()
            lost: frozenset[int] = frozenset()
            with conn.transaction() as transaction:
                loaded = _write_group(group, batch, conn, settings)
                ended = outcomes.finish(conn, batch, [finished for _, finished in loaded.finished], loaded.moved)
                lost = ended.lost
                # The last moment to notice: what is not committed, nobody has seen.
                lease.check()
                if lost:
                    raise psycopg.Rollback(transaction)
            return replace(loaded, again=ended.again), lost

        loaded, lost = persistently(attempt, f"loading {len(group)} jobs of batch {batch.batch_id}")
        if not lost:
            return loaded
        _log.warning("%d jobs of batch %s are another run's by now and were left to it", len(lost), batch.batch_id)
        group = [plan for plan in group if plan.decided.read.claim.job_id not in lost]
    return _LoadedGroup()


def _write_group(group: list[_Plan], batch: Batch, conn: Connection, settings: Settings) -> _LoadedGroup:
    """Writes the items of a group and says how its jobs ended; nothing is committed."""
    by_collection = _by_collection(group)
    elsewhere = _lock_with_copies(conn, by_collection)
    settled = _Settled()
    for collection in sorted(by_collection):
        _write_collection(collection, by_collection[collection], conn, settled)
    removed = remove(conn, _without_refused(elsewhere, by_collection, settled))
    if changed := settled.written | removed.collections:
        known_collections.changed(conn, sorted(changed))
    described = describe_anew(
        conn, {id: _descriptions(candidates, settled, settings) for id, candidates in by_collection.items()}
    )
    finished = [(plan, _finished(plan, settled)) for plan in group]
    return _LoadedGroup(finished, described=described, moved=removed.told)


def _lock_with_copies(conn: Connection, by_collection: Mapping[str, Sequence[_Candidate]]) -> dict[Place, str]:
    """Makes this transaction the one writer of collections, and of those with copies of the items from before; gives
    these.

    Raises:
        _CollectionGone: a collection is not there any more, or copies were moved since the look before the locks.
    """
    candidates = [one for some in by_collection.values() for one in some]
    jobs = sorted({one.place.job_id for one in candidates})
    copies = copies_elsewhere(conn, jobs, (one.placement for one in candidates))
    locked = {place.collection for place in copies}
    _lock_standing(conn, by_collection, locked)
    if copies:
        copies = copies_elsewhere(conn, jobs, (one.placement for one in candidates))
        if not locked.union(by_collection).issuperset(place.collection for place in copies):
            raise _CollectionGone("Items that are about to be written elsewhere were moved a moment ago.")
    return copies


def _without_refused(
    copies: Mapping[Place, str], by_collection: Mapping[str, Sequence[_Candidate]], settled: _Settled
) -> dict[Place, str]:
    """The copies of items that found their place; the others are all that there is of theirs."""
    if not copies:
        return {}
    kept = {
        one.place
        for candidates in by_collection.values()
        for one in candidates
        if settled.results[id(one)] is not ItemResult.REFUSED
    }
    return {old: target for old, target in copies.items() if Place(old.job_id, target, old.item_id) in kept}


def _descriptions(candidates: Sequence[_Candidate], settled: _Settled, settings: Settings) -> list[Description]:
    """What the jobs that have items in a collection say about it, each once."""
    found: dict[int, Description] = {}
    for candidate in candidates:
        plan = candidate.plan
        if plan.index in found or not plan.decided.read.collections:
            continue
        if settled.results[id(candidate)] is ItemResult.REFUSED:
            continue
        new = _as_made_by(candidate, extent_of([candidate.item.document]), settings)
        found[plan.index] = Description(new, candidate.order, plan.decided.read.claim.prefix)
    return list(found.values())


@dataclass(slots=True)
class _Settled:
    """What became of candidates, by the identity of the item's record."""

    results: dict[int, ItemResult] = field(default_factory=dict)
    problems: dict[int, Problem] = field(default_factory=dict)
    #: Collections with changed items.
    written: set[str] = field(default_factory=set)

    def settle(self, candidate: _Candidate, result: ItemResult, problem: Problem | None = None) -> None:
        self.results[id(candidate)] = result
        if problem is not None:
            self.problems[id(candidate)] = problem


def _write_collection(collection: str, candidates: Sequence[_Candidate], conn: Connection, settled: _Settled) -> None:
    """Settles every candidate for one collection, of which this transaction is the one writer."""
    waiting: dict[str, list[_Candidate]] = defaultdict(list)
    for candidate in candidates:
        waiting[candidate.item.id].append(candidate)
    known = known_items.known(conn, collection, list(waiting))
    there = present(conn, collection, list(known))
    for id, some in waiting.items():
        waiting[id] = _owned(some, known.get(id), settled)
    rows: list[KnownItem] = []
    # Each round writes the newest candidate of each id; where the database refuses it, the next one has its turn, as
    # it would have had if it had come alone.
    while waiting := {id: some for id, some in waiting.items() if some}:
        documents: dict[str, dict[str, Any]] = {}
        writing: dict[str, tuple[_Candidate, KnownItem]] = {}
        for id, some in waiting.items():
            candidate = some.pop()
            before = known.get(id) if id in there else None
            if before is not None and not _supersedes(candidate, before):
                for one in (candidate, *some):
                    settled.settle(one, ItemResult.OLDER)
                some.clear()
                continue
            document = candidate.document()
            row = _row(candidate, content_hash(document))
            if before is not None and row.content_hash == before.content_hash:
                settled.settle(candidate, ItemResult.UNCHANGED)
                if _moved_on(before, row):
                    rows.append(row)
                _settle_older(some, settled)
            else:
                documents[id] = document
                writing[id] = candidate, row
        loaded = load(conn, collection, list(documents.values()))
        refusals = {one.id: one.reason for one in loaded.refused}
        for id, (candidate, row) in writing.items():
            if id in refusals:
                settled.settle(candidate, ItemResult.REFUSED, Problem(Code.LOAD_REJECTED, id, refusals[id]))
            else:
                settled.settle(candidate, ItemResult.LOADED)
                settled.written.add(collection)
                rows.append(row)
                _settle_older(waiting[id], settled)
    known_items.write(conn, rows)


def _owned(candidates: list[_Candidate], known: KnownItem | None, settled: _Settled) -> list[_Candidate]:
    """The candidates of the user whose item it is, oldest first: whose job wrote it before, or who comes first now."""
    ordered = sorted(candidates, key=lambda one: one.order)
    owner = known.username if known is not None else ordered[0].username
    for candidate in ordered:
        if candidate.username != owner:
            problem = Problem(Code.ITEM_OWNED_BY_OTHER, candidate.item.id, f"The collection is {candidate.collection}.")
            settled.settle(candidate, ItemResult.REFUSED, problem)
    return [candidate for candidate in ordered if candidate.username == owner]


def _supersedes(candidate: _Candidate, known: KnownItem) -> bool:
    """Whether a candidate is as new as what is there, or newer. Where two jobs ran at the same microsecond, the one
    whose key comes later wins, whichever is loaded first."""
    job_time, modified, key = candidate.order
    if (job_time, modified) != (known.job_time, known.catalog_modified):
        return (job_time, modified) > (known.job_time, known.catalog_modified)
    return known.source_key.startswith(candidate.plan.decided.read.claim.prefix) or key > known.source_key


def _moved_on(before: KnownItem, row: KnownItem) -> bool:
    """Whether an unchanged item comes from another version of its catalog or document than the ledger says."""
    return replace(before, run_id=row.run_id, job_id=row.job_id) != row


def _settle_older(candidates: list[_Candidate], settled: _Settled) -> None:
    for candidate in candidates:
        settled.settle(candidate, ItemResult.OLDER)
    candidates.clear()


def _row(candidate: _Candidate, hashed: str) -> KnownItem:
    job_time, modified, key = candidate.order
    source = candidate.item.source
    return KnownItem(
        collection=candidate.collection,
        id=candidate.item.id,
        job_id=candidate.plan.decided.read.claim.job_id,
        username=candidate.username,
        job_time=job_time,
        catalog_modified=modified,
        content_hash=hashed,
        source_key=key,
        source_etag=source.etag,
        source_sha256=source.sha256,
        run_id=candidate.plan.run_id or None,
    )


def _finished(plan: _Plan, settled: _Settled) -> FinishedJob:
    """How a job ended."""
    read = plan.decided.read
    results = [(candidate, settled.results[id(candidate)]) for candidate in plan.candidates]
    problems = [
        *read.problems,
        *plan.denials,
        *(settled.problems[id(one)] for one in plan.candidates if id(one) in settled.problems),
    ]
    kept = [candidate for candidate, result in results if result is not ItemResult.REFUSED]
    items = [
        JobItem(one.item.id, result, one.item.source.key, one.collection, requested(one.item.requested_collection))
        for one, result in results
    ]
    items += [
        JobItem(item.id, ItemResult.REFUSED, item.source.key, None, requested(item.requested_collection))
        for item in plan.denied
    ]
    return FinishedJob(
        claim=read.claim,
        state=_state(plan, problems, kept=bool(kept)),
        loaded=sum(result is ItemResult.LOADED for _, result in results),
        # An item of which a newer version is there did not have to be written either.
        unchanged=sum(result in (ItemResult.UNCHANGED, ItemResult.OLDER) for _, result in results),
        fallback=sum(candidate.fallback for candidate in kept),
        refused=_refused_reading(read.problems)
        + len(plan.denied)
        + sum(result is ItemResult.REFUSED for _, result in results),
        problems=tuple(problems),
        decisions=(*plan.decided.decisions.values(), *_owned_by_others(plan, settled)),
        collections=tuple(sorted({candidate.collection for candidate in kept})),
        items=tuple(items),
        pins=read.pins,
        names=None if read.job is None else JobNames(read.job.algorithm, read.job.version, read.job.tag),
        awaiting_until=read.awaiting_until,
    )


def _owned_by_others(plan: _Plan, settled: _Settled) -> list[Decision]:
    """For the audit trail: one decision for each collection in which items of the job belong to other users."""
    refused: dict[str, list[str]] = defaultdict(list)
    for one in plan.candidates:
        problem = settled.problems.get(id(one))
        if problem is not None and problem.code is Code.ITEM_OWNED_BY_OTHER:
            refused[one.collection].append(one.item.id)
    return [
        owned_by_other(collection, ids, next(iter(plan.decided.decisions.values())).registry_version)
        for collection, ids in sorted(refused.items())
    ]


def _state(plan: _Plan, problems: Sequence[Problem], *, kept: bool) -> State:
    """What a job's end is called. A denial whose items found their place in the default collection is on record, and
    costs nothing."""
    if plan.identity_mismatch:
        return State.REJECTED
    if plan.decided.read.awaiting:
        return State.WAITING
    harmless = {
        problem_of(decision) for decision in plan.decided.decisions.values() if decision.outcome is Outcome.FALLBACK
    }
    refused = any(problem.severity is Severity.ERROR and problem not in harmless for problem in problems)
    if not refused:
        return State.LOADED
    return State.PARTIAL if kept else State.REJECTED


def _refused_reading(problems: Sequence[Problem]) -> int:
    """How many items were refused before anything was decided: an item with three faults is one item, an id that
    stands three times is two items too many."""
    faulty = {problem.object for problem in problems if problem.code in _ITEM_REFUSED}
    return len(faulty) + sum(problem.code is Code.ITEM_DUPLICATE for problem in problems)


def _outcome(finished: FinishedJob, *, again: bool) -> JobOutcome:
    return JobOutcome(
        claim=finished.claim,
        state=finished.state,
        counts=ItemCounts(finished.loaded, finished.unchanged, finished.fallback, finished.refused),
        problems=finished.problems,
        collections=finished.collections,
        again=again,
        denials=sum(one.outcome in (Outcome.FALLBACK, Outcome.REJECT) for one in finished.decisions),
    )


def _tell_end(plan: _Plan, finished: FinishedJob) -> None:
    """Writes a log event for a job that ended or waits, in the spelling that stands in the ledger."""
    claim, names = finished.claim, finished.names
    prefix = parse_output_prefix(claim.prefix)
    common: dict[str, Any] = {
        "job": claim.prefix,
        "username": prefix.username,
        "algorithm": storable(names.algorithm if names else prefix.algorithm, LONGEST_NAME),
        "version": storable(names.version if names else prefix.version, LONGEST_NAME),
        "tag": storable_or_none(names.tag if names else prefix.tag, LONGEST_NAME),
        "items_loaded": finished.loaded,
        "items_unchanged": finished.unchanged,
        "items_fallback": finished.fallback,
        "items_refused": finished.refused,
        "problems": sorted({str(problem.code) for problem in finished.problems}),
        "attempt": claim.attempt,
    }
    if finished.state is State.WAITING:
        log_events.emit(log_events.Event.JOB_WAITING, **common)
        return
    lag = (datetime.now(UTC) - claim.catalog_modified).total_seconds()
    log_events.emit(
        log_events.Event.JOB_ENDED,
        **common,
        state=str(finished.state),
        collections=[storable(one) for one in finished.collections[:_TOLD_COLLECTIONS]],
        lag_seconds=round(max(lag, 0.0), 3),
    )


def _tell_decisions(plan: _Plan, finished: FinishedJob) -> None:
    """Writes a log event for each decision about a job, in the spelling that stands in the audit trail."""
    job = plan.job
    if job is None:
        return
    for decision in finished.decisions:
        log_events.emit(
            log_events.Event.DECISION,
            job=finished.claim.prefix,
            username=job.username,
            algorithm=storable(job.algorithm, LONGEST_NAME),
            version=storable(job.version, LONGEST_NAME),
            tag=storable_or_none(job.tag, LONGEST_NAME),
            requested=storable_or_none(decision.requested),
            decision=str(decision.code),
            outcome=str(decision.outcome),
            collection=storable_or_none(decision.collection),
            rule=storable(decision.rule),
            registry_version=decision.registry_version,
        )
