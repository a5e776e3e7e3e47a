"""All three stages over one batch, for whoever has no Dagster between them.

Here belongs the order of the stages and what becomes of the lease when one of them fails. Not here: the stages
(`read`, `decide`, `load`) and where batches come from (`ledger.claims`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
from psycopg.conninfo import make_conninfo

from maap_stac_orchestration import log_events
from maap_stac_orchestration.governance.registry import Registry
from maap_stac_orchestration.ledger import claims
from maap_stac_orchestration.ledger.connection import Connection, connect
from maap_stac_orchestration.pipeline.ahead import Ahead, read_ahead
from maap_stac_orchestration.pipeline.batch import Batch, DecidedJob, JobOutcome
from maap_stac_orchestration.pipeline.decide import decide_jobs
from maap_stac_orchestration.pipeline.lease import Lease, held
from maap_stac_orchestration.pipeline.load import load_parts
from maap_stac_orchestration.pipeline.metrics import Stage, tell_stage
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.store.objects import ObjectStore

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of a batch."""

    #: How each job ended, in the order of the batch, without those that another run holds by now.
    outcomes: tuple[JobOutcome, ...]

    @property
    def collections(self) -> tuple[str, ...]:
        """Collections that hold items of these jobs."""
        return tuple(sorted({collection for one in self.outcomes for collection in one.collections}))


def ingest_batch(
    conn: Connection,
    store: ObjectStore,
    batch: Batch,
    settings: Settings,
    registry: Registry,
    now: datetime | None = None,
) -> Ingested:
    """Reads, decides and loads the jobs of a batch, keeping its lease meanwhile.

    While some jobs are decided and loaded, others are read; more than two parts of a batch are never in memory.

    Args:
        conn: the database; its work so far is committed, and each stage commits its own.
        store: where the jobs' objects are.
        batch: claimed jobs.
        settings: limits, deadlines and the lease.
        registry: the grants in force.
        now: the time against which deadlines are held, UTC; None takes the clock.

    Raises:
        StoreUnavailable, psycopg.Error, LeaseLost: the infrastructure failed. What the batch still holds was given
            back and is due again.
    """
    conn.commit()
    moment = now or datetime.now(UTC)
    conninfo = make_conninfo(conn.info.dsn, password=conn.info.password)
    try:
        with (
            held(batch, settings, lambda: connect(conninfo)) as lease,
            log_events.bound(run_id=batch.run_id),
            read_ahead(batch.jobs, store, settings, moment) as ahead,
        ):
            outcomes = load_parts(
                _decided(ahead, registry, settings, conn, batch, lease), batch, conn, settings, moment, lease
            )
    except Exception as error:
        _give_back(conn, batch, error)
        raise
    places = {(job.bucket, job.prefix): place for place, job in enumerate(batch.jobs)}
    return Ingested(tuple(sorted(outcomes, key=lambda one: places[one.claim.bucket, one.claim.prefix])))


def _decided(
    ahead: Ahead,
    registry: Registry,
    settings: Settings,
    conn: Connection,
    batch: Batch,
    lease: Lease,
) -> Iterator[list[DecidedJob]]:
    """Decides each part when it is asked for."""
    deciding = 0.0
    for part in ahead.parts():
        lease.check()
        part_began = time.monotonic()
        decided = decide_jobs(part, registry, settings, conn)
        deciding += time.monotonic() - part_began
        if ahead.through:
            tell_stage(Stage.READ, batch, ahead.seconds)
            tell_stage(Stage.DECIDE, batch, deciding)
        yield decided


def _give_back(conn: Connection, batch: Batch, error: Exception) -> None:
    try:
        conn.rollback()
        told = f"{type(error).__name__}: {' '.join(str(error).split()).removesuffix('.')}"
        claims.release(conn, batch_id=batch.batch_id, reason=f"The run broke before it was done ({told[:450]}).")
        conn.commit()
    except psycopg.Error as second:
        # The lease runs out by itself; the error that is raised is the one that tells.
        _log.warning("The jobs of batch %s could not be given back: %s", batch.batch_id, second)
