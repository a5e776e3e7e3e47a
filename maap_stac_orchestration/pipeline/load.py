"""The third stage: items into their collections, and how each job ended into the ledger.

Here belongs what is done in what order and committed together. Not here: what goes where (`plan`), making collections
(`new_collections`), which of several items is written (`write`), what a job's end is called (`endings`), what a job
says about its collections (`describe`), how items are written (`pgstac`), and the ledger's tables (`ledger`).

What is committed together. Jobs that write to the same collections are one group, and everything about a group, its
items in pgstac, copies of them that go from other collections, their rows in the ledger and how its jobs ended, is one
transaction, which small groups share as long as nobody is in their way. A process that dies leaves a group either done
or untouched, and whoever takes its jobs next does the same work again. Only what costs readers their locks comes before
it, in short transactions of its own: creating collections and their partitions. Left behind by a process that died,
those are what the next one would create.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime

import psycopg
from psycopg import errors
from psycopg.conninfo import make_conninfo

from maap_stac_orchestration import log_events
from maap_stac_orchestration.ledger import collections as known_collections
from maap_stac_orchestration.ledger import id_moves, outcomes
from maap_stac_orchestration.ledger.connection import Connection, connect
from maap_stac_orchestration.ledger.metrics import seconds_since_claim
from maap_stac_orchestration.ledger.old_copies import Place
from maap_stac_orchestration.ledger.records import FinishedJob, ItemResult
from maap_stac_orchestration.pgstac.collections import extent_of
from maap_stac_orchestration.pgstac.items import CollectionMissing
from maap_stac_orchestration.pipeline.batch import Batch, DecidedJob, JobOutcome
from maap_stac_orchestration.pipeline.describe import (
    DescribedAnew,
    Description,
    describe_anew,
    tell_described,
)
from maap_stac_orchestration.pipeline.endings import finished_job, outcome_of, tell_decisions, tell_end
from maap_stac_orchestration.pipeline.lease import Lease, held
from maap_stac_orchestration.pipeline.metrics import Stage, tell_ended, tell_stage
from maap_stac_orchestration.pipeline.moved import copies_elsewhere, remove
from maap_stac_orchestration.pipeline.new_collections import (
    CollectionGone,
    WritersBusy,
    as_made_by,
    create_collections,
    lock_standing,
)
from maap_stac_orchestration.pipeline.patience import PASSING, persistently
from maap_stac_orchestration.pipeline.plan import (
    Candidate,
    Plan,
    candidates_by_collection,
    following,
    groups_of,
    plan_of,
    refuse,
    together,
)
from maap_stac_orchestration.pipeline.write import Settled, write_collections
from maap_stac_orchestration.problems import Code, Problem
from maap_stac_orchestration.settings import Settings

_log = logging.getLogger(__name__)

#: How often it is planned anew because collections were deleted or moved meanwhile. Each time it is other ones.
PLANS = 5

#: What several groups that are loaded together have at most: with each group that is more, a statement less is taken by
#: itself, and more is done again where one of them does not go through. The partition of a collection and its indexes
#: take six locks, of which a server has thousands.
_TOGETHER_COLLECTIONS = 25
_TOGETHER_ITEMS = 1000


def load_jobs(
    decided: Sequence[DecidedJob],
    batch: Batch,
    conn: Connection,
    settings: Settings,
    now: datetime,
    lease: Lease | None = None,
) -> list[JobOutcome]:
    """Writes a batch's items and ends its jobs, as `load_parts` does, all of them together."""
    return load_parts([decided], batch, conn, settings, now, lease)


def load_parts(
    parts: Iterable[Sequence[DecidedJob]],
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
        parts: the batch's jobs with their decisions; each part is loaded before the next one is asked for.
        batch: who holds them.
        conn: a connection whose work so far may be committed.
        settings: `lease` and the template of default collections.
        now: the run's time, UTC; only told in logs, since the ledger's times are the database's.
        lease: what keeps the lease; None lets this function keep it.

    Returns:
        How each job ended, in the order of the parts, without those that another run holds by now.

    Raises:
        LeaseLost: the lease ran out meanwhile; groups that were committed before stay.
        CollectionNameTaken: a collection was created by somebody meanwhile that differs in case only.
        CollectionMissing: collections went away each time that they were about to be loaded.
        psycopg.Error: the database failed.
    """
    _log.info("Loading %d jobs of batch %s at %s", len(batch.jobs), batch.batch_id, now.isoformat())
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
        given, seconds = 0, 0.0
        for decided in parts:
            part_began = time.monotonic()
            _load_part(dict(enumerate(decided, start=given)), ended, batch, conn, settings, lease)
            given += len(decided)
            seconds += time.monotonic() - part_began
        tell_stage(Stage.LOAD, batch, seconds)
        lease.finished()
    return [ended[index] for index in sorted(ended)]


def _load_part(
    waiting: dict[int, DecidedJob],
    ended: dict[int, JobOutcome],
    batch: Batch,
    conn: Connection,
    settings: Settings,
    lease: Lease,
) -> None:
    """Loads jobs, by their numbers, and notes how each ended as soon as that is committed."""
    for number in range(1, PLANS + 1):
        for plan, outcome in _load_planned(waiting, batch, conn, settings, lease, last=number == PLANS):
            ended[plan.index] = outcome
        if not waiting:
            return
    raise CollectionMissing(
        f"Each of {PLANS} times that {len(waiting)} jobs were about to be loaded, collections of theirs were "
        "deleted or moved. They are tried again."
    )


def _load_planned(
    waiting: dict[int, DecidedJob], batch: Batch, conn: Connection, settings: Settings, lease: Lease, *, last: bool
) -> Iterator[tuple[Plan, JobOutcome]]:
    """Loads what is waiting and takes it out, group by group. What is left is to be planned anew: each time because
    there is a tombstone that was not there before, or one that contradicts what is in pgstac, which the last plan
    believes; or because a migration took copies elsewhere."""
    plans = _standing(waiting, batch.run_id, conn, last=last)
    try:
        refuse(plans, create_collections(plans, conn, settings, lease))
    except CollectionGone:
        return
    for groups in together(groups_of(plans), collections=_TOGETHER_COLLECTIONS, items=_TOGETHER_ITEMS):
        for group, loaded in _load_groups(groups, batch, conn, settings, lease):
            for plan in group:
                del waiting[plan.index]
            tell_described(loaded.described)
            for plan, finished in loaded.finished:
                tell_decisions(plan, finished)
                again = finished.claim.job_id in loaded.again
                if not again:
                    tell_end(plan, finished)
                yield plan, outcome_of(finished, again=again)


def _load_groups(
    groups: Sequence[list[Plan]], batch: Batch, conn: Connection, settings: Settings, lease: Lease
) -> Iterator[tuple[list[Plan], _LoadedGroup]]:
    """Loads groups in one transaction or, where that does not go through at once, each in one of its own; those of
    which a collection went away are left out."""
    if len(groups) > 1:
        whole = [plan for group in groups for plan in group]
        try:
            loaded = _load_group(whole, batch, conn, settings, lease, patient=False)
        except (CollectionGone, WritersBusy, errors.OutOfMemory, *PASSING) as error:
            # So that one group in somebody's way, or somebody in its way, holds up no other one.
            _log.info("%d groups of jobs are loaded one by one after all: %r", len(groups), error)
        else:
            yield whole, loaded
            return
    for group in groups:
        try:
            loaded = _load_group(group, batch, conn, settings, lease)
        except CollectionGone:
            continue
        yield group, loaded


def _standing(waiting: Mapping[int, DecidedJob], run_id: str, conn: Connection, *, last: bool) -> list[Plan]:
    """Plans for collections that are not deleted. Items for others are refused, or follow those that were moved."""
    targets = {one.collection for job in waiting.values() for one in job.decisions.values() if one.collection}
    moved = known_collections.moved(conn, targets)
    plans = [plan_of(index, following(job, moved), run_id) for index, job in waiting.items()]
    deleted = known_collections.tombstones(conn, candidates_by_collection(plans))
    # A default collection that was taken apart is made again for jobs that still come to it.
    apart = frozenset() if last else id_moves.moved(conn, deleted)
    conn.commit()
    gone = {id: stone for id, stone in deleted.items() if id not in apart}
    refuse(plans, {id: Problem(Code.COLLECTION_NOT_FOUND, id, stone.sentence) for id, stone in gone.items()})
    return plans


@dataclass(frozen=True, slots=True)
class _LoadedGroup:
    """What was committed of a group."""

    finished: Sequence[tuple[Plan, FinishedJob]] = ()
    #: Jobs of which a catalog changed meanwhile, by the ledger's numbers: their end is still to come.
    again: frozenset[int] = frozenset()
    described: Sequence[DescribedAnew] = ()
    #: The ledger's number of a job -> what of its items moved here from other collections.
    moved: Mapping[int, str] = field(default_factory=dict)


def _load_group(
    group: list[Plan], batch: Batch, conn: Connection, settings: Settings, lease: Lease, *, patient: bool = True
) -> _LoadedGroup:
    """One transaction; jobs that turn out to be another run's are left out and the rest is done again.

    Where others are in its way, they are waited for and it is tried again, unless `patient` is False.

    Raises:
        CollectionGone: nothing was committed.
        WritersBusy: nothing was committed; only where it is not patient.
    """
    while group:

        def attempt(group: list[Plan] = group) -> tuple[_LoadedGroup, frozenset[int]]:
            lease.check()
            lost: frozenset[int] = frozenset()
            with conn.transaction() as transaction:
                loaded = _write_group(group, conn, settings, patient=patient)
                ended = outcomes.finish(conn, batch, [finished for _, finished in loaded.finished], loaded.moved)
                lost = ended.lost
                # The last moment to notice: what is not committed, nobody has seen.
                lease.check()
                if lost:
                    raise psycopg.Rollback(transaction)
            return replace(loaded, again=ended.again), lost

        if patient:
            loaded, lost = persistently(attempt, f"loading {len(group)} jobs of batch {batch.batch_id}")
        else:
            loaded, lost = attempt()
        if not lost:
            return loaded
        _log.warning("%d jobs of batch %s are another run's by now and were left to it", len(lost), batch.batch_id)
        group = [plan for plan in group if plan.decided.read.claim.job_id not in lost]
    return _LoadedGroup()


def _write_group(group: list[Plan], conn: Connection, settings: Settings, *, patient: bool) -> _LoadedGroup:
    """Writes the items of a group and says how its jobs ended; nothing is committed."""
    by_collection = candidates_by_collection(group)
    elsewhere = _lock_with_copies(conn, by_collection, wait=patient)
    settled = Settled()
    write_collections(by_collection, conn, settled)
    removed = remove(conn, _without_refused(elsewhere, by_collection, settled))
    if changed := settled.written | removed.collections:
        known_collections.changed(conn, sorted(changed))
    described = describe_anew(
        conn, {id: _descriptions(candidates, settled, settings) for id, candidates in by_collection.items()}
    )
    finished = [(plan, finished_job(plan, settled)) for plan in group]
    return _LoadedGroup(finished, described=described, moved=removed.told)


def _lock_with_copies(
    conn: Connection, by_collection: Mapping[str, Sequence[Candidate]], *, wait: bool
) -> dict[Place, str]:
    """Makes this transaction the one writer of collections, and of those with copies of the items from before; gives
    these.

    Raises:
        CollectionGone: a collection is not there any more, or copies were moved since the look before the locks.
        WritersBusy: another one writes to one of them, and it is not waited for.
    """
    candidates = [one for some in by_collection.values() for one in some]
    jobs = sorted({one.place.job_id for one in candidates})
    copies = copies_elsewhere(conn, jobs, (one.placement for one in candidates))
    locked = {place.collection for place in copies}
    lock_standing(conn, by_collection, locked, wait=wait)
    if copies:
        copies = copies_elsewhere(conn, jobs, (one.placement for one in candidates))
        if not locked.union(by_collection).issuperset(place.collection for place in copies):
            raise CollectionGone("Items that are about to be written elsewhere were moved a moment ago.")
    return copies


def _without_refused(
    copies: Mapping[Place, str], by_collection: Mapping[str, Sequence[Candidate]], settled: Settled
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


def _descriptions(candidates: Sequence[Candidate], settled: Settled, settings: Settings) -> list[Description]:
    """What the jobs that have items in a collection say about it, each once."""
    found: dict[int, Description] = {}
    for candidate in candidates:
        plan = candidate.plan
        if plan.index in found or not plan.decided.read.collections:
            continue
        if settled.results[id(candidate)] is ItemResult.REFUSED:
            continue
        new = as_made_by(candidate, extent_of([candidate.item.outline]), settings)
        found[plan.index] = Description(new, candidate.order, plan.decided.read.claim.prefix)
    return list(found.values())
