"""What is told of batches: log events, and metrics for CloudWatch where `MAAP_STAC_METRICS_NAMESPACE` is set.

Here belongs what is told when catalogs became known, when a batch was claimed, when a stage is through and when the
batch came to its end. Not here: what happens to single jobs (`load`), and metrics of the whole ledger (`api.metrics`).

CloudWatch makes metrics of log lines in its embedded metric format: wherever stderr of runs ends up in CloudWatch Logs,
nothing else has to be installed or called. There are no dimensions: each value of a dimension is a metric of its own to
be paid for, and algorithms are as many as users think of. The events `job.ended` have all of that for Logs Insights.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import psycopg

from maap_stac_orchestration import log_events
from maap_stac_orchestration.ledger import metrics
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import Batch, Recorded, State
from maap_stac_orchestration.log_events import Event
from maap_stac_orchestration.pipeline.batch import JobOutcome
from maap_stac_orchestration.settings import Settings

_log = logging.getLogger(__name__)

#: CloudWatch takes as many values of one metric in a line.
MOST_VALUES = 100

Values = Mapping["Metric", float | Sequence[float]]


class Metric(StrEnum):
    """Every metric, by its name in CloudWatch."""

    JOBS_LOADED = "JobsLoaded"
    JOBS_PARTIAL = "JobsPartial"
    JOBS_REJECTED = "JobsRejected"
    JOBS_WAITING = "JobsWaiting"
    JOBS_FAILED = "JobsFailed"
    ITEMS_LOADED = "ItemsLoaded"
    ITEMS_UNCHANGED = "ItemsUnchanged"
    ITEMS_REFUSED = "ItemsRefused"
    DENIALS = "Denials"
    LAG = "Lag"
    BATCH_SECONDS = "BatchSeconds"


#: Metric -> its unit in CloudWatch's words, and what it tells.
METRICS: dict[Metric, tuple[str, str]] = {
    Metric.JOBS_LOADED: ("Count", "jobs that ended with every item in its collection"),
    Metric.JOBS_PARTIAL: ("Count", "jobs that ended with some items refused"),
    Metric.JOBS_REJECTED: ("Count", "jobs that ended with nothing loaded, because of what they wrote"),
    Metric.JOBS_WAITING: ("Count", "times that a job was found to lack something that may still arrive"),
    Metric.JOBS_FAILED: ("Count", "jobs that were given up, because too many runs broke off while they had them"),
    Metric.ITEMS_LOADED: ("Count", "items that were written"),
    Metric.ITEMS_UNCHANGED: ("Count", "items that were there already, as they are or newer"),
    Metric.ITEMS_REFUSED: ("Count", "items that were not loaded"),
    Metric.DENIALS: ("Count", "decisions that denied a collection, whether the items went elsewhere or nowhere"),
    Metric.LAG: (
        "Seconds",
        "from the writing of a catalog to the end of its job, for live jobs that ended at their first go; of more than"
        " 100 in a batch, 100 that are spread evenly from the shortest to the longest",
    ),
    Metric.BATCH_SECONDS: ("Seconds", "from the claim of a batch to its end"),
}


class Stage(StrEnum):
    """The stages of a batch."""

    READ = "read"
    DECIDE = "decide"
    LOAD = "load"


def tell_recorded(source: str, *recorded: Recorded) -> None:
    """Tells that catalogs became known, where any did; call it once that is committed."""
    if new := sum(one.new for one in recorded):
        log_events.emit(
            Event.JOBS_DISCOVERED,
            source=source,
            new=new,
            known=sum(one.known for one in recorded),
            ignored=sum(one.ignored for one in recorded),
        )


def tell_claimed(batch: Batch, settings: Settings) -> None:
    """Tells that a batch was claimed and which jobs were given up; call it once that is committed."""
    if batch.jobs or batch.given_up:
        log_events.emit(
            Event.BATCH_CLAIMED, batch=batch.batch_id, jobs=len(batch.jobs), jobs_failed=len(batch.given_up)
        )
    for job in batch.given_up:
        log_events.emit(
            Event.JOB_FAILED,
            job=job.prefix,
            username=job.username,
            algorithm=job.algorithm,
            version=job.version,
            tag=job.tag,
            attempts=job.attempts,
            last_run_id=job.run_id,
        )
    if batch.given_up:
        _write(batch, settings, {Metric.JOBS_FAILED: len(batch.given_up)})


@contextmanager
def told(stage: Stage, batch: Batch) -> Iterator[None]:
    """Tells how long a stage took, unless it fails or there was nothing to do."""
    began = time.monotonic()
    yield
    tell_stage(stage, batch, time.monotonic() - began)


def tell_stage(stage: Stage, batch: Batch, seconds: float) -> None:
    """Tells that a stage is through with a batch, and how long it was at work on it, unless there was nothing to do."""
    if batch.jobs:
        log_events.emit(
            Event.STAGE_ENDED, batch=batch.batch_id, stage=str(stage), jobs=len(batch.jobs), seconds=round(seconds, 3)
        )


def tell_ended(
    conn: Connection, batch: Batch, outcomes: Sequence[JobOutcome], settings: Settings, seconds: float
) -> None:
    """Tells what became of a batch; call it once that is committed.

    Args:
        conn: the ledger, to ask for the lag of the jobs; its work so far may be committed.
        batch: who held the jobs.
        outcomes: of those that ended or wait; those that are due again at once are not counted.
        settings: `metrics_namespace`.
        seconds: from the claim to now.
    """
    counted = [one for one in outcomes if not one.again]
    if not counted:
        return
    states = Counter(one.state for one in counted)
    items = {
        name: sum(getattr(one.counts, name) for one in counted)
        for name in ("loaded", "unchanged", "fallback", "refused")
    }
    log_events.emit(
        Event.BATCH_ENDED,
        batch=batch.batch_id,
        jobs=len(counted),
        jobs_loaded=states[State.LOADED],
        jobs_partial=states[State.PARTIAL],
        jobs_rejected=states[State.REJECTED],
        jobs_waiting=states[State.WAITING],
        items_loaded=items["loaded"],
        items_unchanged=items["unchanged"],
        items_fallback=items["fallback"],
        items_refused=items["refused"],
        seconds=round(seconds, 3),
    )
    if settings.metrics_namespace is None:
        return
    values: dict[Metric, float | Sequence[float]] = {
        Metric.JOBS_LOADED: states[State.LOADED],
        Metric.JOBS_PARTIAL: states[State.PARTIAL],
        Metric.JOBS_REJECTED: states[State.REJECTED],
        Metric.JOBS_WAITING: states[State.WAITING],
        Metric.ITEMS_LOADED: items["loaded"],
        Metric.ITEMS_UNCHANGED: items["unchanged"],
        Metric.ITEMS_REFUSED: items["refused"],
        Metric.DENIALS: sum(one.denials for one in counted),
        Metric.BATCH_SECONDS: round(seconds, 3),
    }
    try:
        lags = metrics.lags(conn, [one.claim.job_id for one in counted if one.claim.job_id is not None], batch.run_id)
        conn.commit()
    except psycopg.Error as error:
        # The batch is through, and what it counted is worth telling without this.
        _log.warning("The lag of batch %s is not told, because the database failed: %s", batch.batch_id, error)
        lags = []
    _write(batch, settings, {**values, Metric.LAG: [round(one, 3) for one in lags]})


def embedded(namespace: str, values: Values, at: datetime, **properties: str) -> dict[str, Any]:
    """A document in CloudWatch's embedded metric format.

    Args:
        namespace: where the metrics go.
        values: a number, or several of which at most `MOST_VALUES` are kept, spread evenly over their order; a metric
            without any is left out.
        at: the time of the values.
        properties: what else stands in the line; they make no metrics of their own.
    """
    kept = {metric: spread(value) if isinstance(value, Sequence) else value for metric, value in values.items()}
    kept = {metric: value for metric, value in kept.items() if value != []}
    directive = {
        "Namespace": namespace,
        "Dimensions": [[]],
        "Metrics": [{"Name": str(metric), "Unit": METRICS[metric][0]} for metric in kept],
    }
    return {
        "_aws": {"Timestamp": int(at.timestamp() * 1000), "CloudWatchMetrics": [directive]},
        **{str(metric): value for metric, value in kept.items()},
        **properties,
    }


def spread(values: Sequence[float], most: int = MOST_VALUES) -> list[float]:
    """At most so many of the values, smallest first, with the smallest and the largest among them."""
    ordered = sorted(values)
    if len(ordered) <= most:
        return ordered
    return [ordered[round(number * (len(ordered) - 1) / (most - 1))] for number in range(most)]


def _write(batch: Batch, settings: Settings, values: Values) -> None:
    if settings.metrics_namespace is not None:
        document = embedded(
            settings.metrics_namespace, values, datetime.now(UTC), run_id=batch.run_id, batch=batch.batch_id
        )
        log_events.write_line(document)
