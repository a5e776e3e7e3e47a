"""The three stages of a day as assets: `dps_catalogs`, `governance_decisions`, `pgstac_items`, and their job `ingest`.

Here belongs which stage works on what and what is reported. Not here: the stages (`maap_stac_orchestration.pipeline`),
when they run (`sensors`), and the checks (`checks`). The library is imported when a stage runs: a code server that only
lists assets, and each sensor tick, does without.

No `from __future__ import annotations` in this module: Dagster reads the annotations of an asset's arguments.
"""

import itertools
import time
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from assets.events import events_of_this_run
from assets.handover import BatchStore, DayListing, DecidedBatch, ReadBatch
from assets.lease import given_back_on_failure, of_this_run
from assets.partitions import DAYS
from assets.reporting import (
    Metadata,
    day_metadata,
    decision_metadata,
    listing_metadata,
    load_metadata,
    read_metadata,
    run_links,
)
from assets.resources import Connect, LoadRegistry, LoadSettings, OpenListing, OpenQueue, OpenStore
from maap_stac_orchestration.pipeline.batch import JobOutcome, ReadJob

if TYPE_CHECKING:
    from maap_stac_orchestration.ledger.connection import Connection
    from maap_stac_orchestration.ledger.records import Batch
    from maap_stac_orchestration.pipeline.discover import Queue
    from maap_stac_orchestration.settings import Settings

#: The tag that Dagster puts on every run of a backfill.
BACKFILL_TAG = "dagster/backfill"
#: The tag of a run with the version of the registry that decided in it.
REGISTRY_TAG = "maap/registry_version"
#: The tag of a run with how many jobs it took on, by which runs that found nothing can be told in the list of runs.
JOBS_TAG = "maap/jobs"
#: The tag of a run with who asked for it, and what stands there for runs of the schedules that list days.
SOURCE_TAG = "maap/source"
RECONCILE, HISTORY = "reconcile", "history"
#: Seconds that a run spends on the queue before it claims; the sensor drains what is left.
_DRAIN_SECONDS = 5.0
#: The same before a day is compared with what the queue told, which makes no sense while messages wait there.
_EMPTYING_SECONDS = 60.0


#: The check over all days; `assets.still_broken` defines it.
STANDING = dg.AssetCheckKey(dg.AssetKey("pgstac_items"), "nothing_broken")


class DayConfig(dg.Config):
    """How a day is begun."""

    list_first: bool = Field(
        default=False, description="List the day in the buckets before claiming; runs of a backfill always do."
    )


@dg.asset(
    partitions_def=DAYS,
    io_manager_key="batches",
    group_name="ingest",
    kinds={"s3", "stac"},
    description=(
        "The catalogs of DPS jobs, read and checked. A run claims due jobs of its day (UTC, by the output prefix) from"
        " the ledger under a lease; run again, it goes on with what is due by then. A run of a backfill lists its day"
        " in the buckets first."
    ),
)
def dps_catalogs(
    context: dg.AssetExecutionContext,
    config: DayConfig,
    settings: dg.ResourceParam[LoadSettings],
    ledger: dg.ResourceParam[Connect],
    objects: dg.ResourceParam[OpenStore],
    queue: dg.ResourceParam[OpenQueue],
    listing: dg.ResourceParam[OpenListing],
) -> dg.MaterializeResult[ReadBatch]:
    """Claims due jobs of the day and reads them."""
    from maap_stac_orchestration.pipeline.lease import held
    from maap_stac_orchestration.pipeline.metrics import Stage, tell_claimed, told
    from maap_stac_orchestration.pipeline.read import read_jobs

    current = settings()
    day = date.fromisoformat(context.partition_key)
    listing_came_to: DayListing | None = None
    metadata: Metadata = {}
    with events_of_this_run(context), given_back_on_failure(context, ledger):
        with ledger() as conn:
            if config.list_first or BACKFILL_TAG in context.run.tags:
                listing_came_to = _list(context, conn, day, current, queue(current), listing())
                metadata |= listing_metadata(listing_came_to)
            elif source := queue(current):
                # What arrived since the sensor's tick, which was seconds ago: a start of Python lies in between.
                _drain(context, conn, source, current, _DRAIN_SECONDS)
            batch = _claim(conn, day, context.run.run_id, current)
            conn.commit()
        tell_claimed(batch, current)
        began = time.monotonic()
        jobs: tuple[ReadJob, ...] = ()
        if batch.jobs:
            with held(batch, current, ledger) as lease, told(Stage.READ, batch):
                jobs = tuple(read_jobs(batch.jobs, objects(), current, datetime.now(UTC)))
                lease.check()
    metadata = run_links(current, context.run.run_id) | metadata | read_metadata(jobs, time.monotonic() - began)
    return dg.MaterializeResult(value=ReadBatch(batch, jobs, listing_came_to), metadata=metadata)


def _list(
    context: dg.AssetExecutionContext,
    conn: "Connection",
    day: date,
    current: "Settings",
    queue: "Queue | None",
    client: Any,
) -> DayListing:
    """Lists the run's day in all buckets, into the ledger. A bucket that cannot be listed makes the run red.

    A run of `reconcile_recent` then says what the queue had missed, unless messages wait there still.
    """
    from maap_stac_orchestration.ledger import listings_of_day
    from maap_stac_orchestration.ledger.listed_days import Source
    from maap_stac_orchestration.pipeline.discover import BACKFILL, LIVE, list_days

    tags = context.run.tags
    reconciles = BACKFILL_TAG not in tags and tags.get(SOURCE_TAG) == RECONCILE
    emptied = (
        reconciles and queue is not None and _drain(context, conn, queue, current, _EMPTYING_SECONDS, wait_seconds=1)
    )
    began = listings_of_day.clock(conn)
    conn.commit()
    listed = list_days(
        conn,
        client,
        current.buckets,
        [day],
        priority=BACKFILL if BACKFILL_TAG in tags or tags.get(SOURCE_TAG) == HISTORY else LIVE,
        source=Source.RECONCILE if reconciles else Source.BACKFILL,
    )
    missed = listings_of_day.compare(conn, current.buckets, day, began) if emptied else None
    return DayListing(listed.catalogs, listed.new, missed)


def _drain(
    context: dg.AssetExecutionContext,
    conn: "Connection",
    queue: "Queue",
    current: "Settings",
    seconds: float,
    *,
    wait_seconds: int = 0,
) -> bool:
    """Takes the queue's events into the ledger; False where some may be left, or it could not be read."""
    from maap_stac_orchestration.discovery.found import SourceUnavailable
    from maap_stac_orchestration.pipeline.discover import drain_queue

    try:
        drained = drain_queue(
            conn, queue, current.buckets, deadline=time.monotonic() + seconds, wait_seconds=wait_seconds
        )
    except SourceUnavailable as error:
        # The sensor's next tick fails on it; this run has work all the same.
        context.log.warning(str(error))
        return False
    return drained.empty and not drained.unanswered


def _claim(conn: "Connection", partition: date, run_id: str, current: "Settings") -> "Batch":
    """Claims due jobs of a partition's day; where it has none, of a day without a partition that is nearest to it."""
    from maap_stac_orchestration.discovery.days import first_day, partition_of
    from maap_stac_orchestration.ledger import claims
    from maap_stac_orchestration.ledger.records import GivenUp

    first, today = first_day(current), datetime.now(UTC).date()
    others = (
        one.day
        for one in claims.due_days(conn)
        if one.day != partition and partition_of(one.day, first, today) == partition
    )
    given_up: tuple[GivenUp, ...] = ()
    for day in itertools.chain([partition], others if partition in (first, today) else ()):
        batch = claims.claim(
            conn,
            day=day,
            run_id=run_id,
            lease=current.lease,
            max_jobs=current.max_batch_jobs,
            max_items=current.max_batch_items,
            wait_deadline=current.wait_deadline,
            max_attempts=current.max_attempts,
        )
        given_up += batch.given_up
        if batch.jobs:
            break
    return replace(batch, given_up=given_up)


@dg.asset(
    partitions_def=DAYS,
    io_manager_key="batches",
    group_name="ingest",
    kinds={"stac"},
    description=(
        "Which collection each item may go to: one decision for each collection that a job asks for, by the registry in"
        " force. Every decision stays in the ledger's audit trail."
    ),
    # Dagster would take the annotation below for "hands over nothing", and nothing would be handed over.
    dagster_type=dg.Any,
    check_specs=[
        # Without partitions: it is about the registry at present, so that the next evaluation makes it green again,
        # whichever day that is about.
        dg.AssetCheckSpec(
            "registry_loads",
            asset="governance_decisions",
            description=(
                "The registry that MAAP_STAC_REGISTRY names is the one that decides. While the file does not load, the"
                " last good one stands in for it, and what was changed in the file has no effect."
            ),
        )
    ],
)
def governance_decisions(
    context: dg.AssetExecutionContext,
    dps_catalogs: ReadBatch,
    settings: dg.ResourceParam[LoadSettings],
    ledger: dg.ResourceParam[Connect],
    registry: dg.ResourceParam[LoadRegistry],
) -> dg.MaterializeResult:  # type: ignore[type-arg]  # with checks, Dagster knows it without parameter only
    """Decides for each job of the batch."""
    from maap_stac_orchestration.pipeline.decide import decide_jobs
    from maap_stac_orchestration.pipeline.lease import held
    from maap_stac_orchestration.pipeline.metrics import Stage, told
    from maap_stac_orchestration.pipeline.registry_health import registry_health

    current = settings()
    with events_of_this_run(context), given_back_on_failure(context, ledger), ledger() as conn:
        batch = of_this_run(context, conn, dps_catalogs.batch, current)
        still = {claim.prefix: claim for claim in batch.jobs}
        reads = [job for job in dps_catalogs.jobs if job.claim.prefix in still]
        in_force = registry(current, conn)
        # Before anything is decided: a run that dies while it decides tells as well by which registry it did.
        context.instance.add_run_tags(
            context.run.run_id, {REGISTRY_TAG: in_force.registry.version, JOBS_TAG: str(len(batch.jobs))}
        )
        with held(batch, current, ledger), told(Stage.DECIDE, batch):
            decided = tuple(decide_jobs(reads, in_force.registry, current, conn)) if reads else ()
    health = registry_health(current, in_force)
    metadata = decision_metadata(decided, health.version, current, context.run.run_id)
    return dg.MaterializeResult(
        value=DecidedBatch(batch, decided, dps_catalogs.listing),
        metadata=run_links(current, context.run.run_id) | metadata,
        check_results=[
            dg.AssetCheckResult(
                check_name="registry_loads",
                passed=health.loads,
                severity=dg.AssetCheckSeverity.ERROR,
                description=health.message,
                metadata={"registry_version": health.version, "file": health.file, "message": health.message},
            )
        ],
    )


@dg.asset(
    partitions_def=DAYS,
    group_name="ingest",
    kinds={"postgres", "stac"},
    description=(
        "The items in pgstac, counted back, and how each job ended in the ledger. Unchanged items are not written"
        " again, and an older job never overwrites what a newer one wrote."
    ),
)
def pgstac_items(
    context: dg.AssetExecutionContext,
    governance_decisions: DecidedBatch,
    settings: dg.ResourceParam[LoadSettings],
    ledger: dg.ResourceParam[Connect],
    batches: dg.ResourceParam[BatchStore],
) -> dg.MaterializeResult[None]:
    """Loads the items of the batch and ends its jobs."""
    from maap_stac_orchestration.ledger import days
    from maap_stac_orchestration.ledger.listings_of_day import listings_of_day
    from maap_stac_orchestration.pipeline.lease import held
    from maap_stac_orchestration.pipeline.load import load_jobs

    current = settings()
    day = date.fromisoformat(context.partition_key)
    began = time.monotonic()
    with events_of_this_run(context), given_back_on_failure(context, ledger), ledger() as conn:
        batch = of_this_run(context, conn, governance_decisions.batch, current)
        still = {claim.prefix for claim in batch.jobs}
        decided = [job for job in governance_decisions.jobs if job.read.claim.prefix in still]
        outcomes: list[JobOutcome] = []
        if decided:
            with held(batch, current, ledger) as lease:
                outcomes = load_jobs(decided, batch, conn, current, datetime.now(UTC), lease)
        seconds = time.monotonic() - began
        conn.commit()
        standing = days.standing_of_day(conn, day)
        listings = listings_of_day(conn, current.buckets, day)
    batches.forget(context.run)
    return dg.MaterializeResult(
        metadata=run_links(current, context.run.run_id)
        | listing_metadata(governance_decisions.listing)
        | load_metadata(outcomes, seconds)
        | day_metadata(day, standing, listings, current)
    )


#: The live path and what a person starts for a day. One process runs all steps: a process for each would import
#: everything again, which takes longer than the steps do.
ingest = dg.define_asset_job(
    "ingest",
    # The standing check is no part of it: it would say "under way" as long as there is any run, and its sensor follows
    # each run within a quarter of a minute.
    selection=dg.AssetSelection.assets(dps_catalogs, governance_decisions, pgstac_items)
    - dg.AssetSelection.checks(STANDING),
    executor_def=dg.in_process_executor,
    description="Takes on the due jobs of one day: reads, decides, loads, and checks the day.",
)
