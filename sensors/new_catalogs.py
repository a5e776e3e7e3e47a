"""The sensor `new_catalogs`: takes news of catalogs into the ledger and asks for runs of days that have due work.

A sensor in Dagster's sense: evaluated by the daemon every few seconds in the code server's process. Here belongs one
tick. Not here: how the queue is drained and buckets are listed (`maap_stac_orchestration.pipeline.discover`) and which
days get a run (`choice`).

No `from __future__ import annotations` in this module: Dagster reads the annotations of a sensor's arguments.
"""

import json
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from sensors.choice import ASKED_FOR_AGAIN, LOW_LANE, SOURCE_TAG, DueWork, PendingRun, days_to_ask_for
from sensors.events import events_of
from sensors.resources import Connect, LoadSettings, OpenListing, OpenQueue

if TYPE_CHECKING:
    from maap_stac_orchestration.ledger.connection import Connection
    from maap_stac_orchestration.settings import Settings

JOB = "ingest"
#: Seconds between ticks. The daemon looks at sensors every five seconds; were this five as well, a tick that began a
#: moment late would make the next one miss its turn, and lose five seconds.
_INTERVAL = 4
#: Dagster gives a tick 60 seconds. What is not done by then is done at the next.
_TICK_SECONDS = 40.0
#: Of those, what the queue may take: days that are due are asked for in the same tick.
_DRAIN_SECONDS = 25.0
#: Runs that one tick asks for. On Postgres each costs the daemon nearly half a second.
_MOST_RUNS = 10
#: Days that are looked at; with more than this due, the most urgent of them keep every run busy.
_MOST_DAYS = 50
#: Seconds between listings where there is no queue: a listing costs requests for each group, not for each new catalog.
_LISTING_SECONDS = 60.0
#: How far back ended runs are looked for, to give back what they held.
_ENDED_SINCE = timedelta(minutes=10)

_ON_THE_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
_BROKEN_OFF = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_PARTITION_TAG = "dagster/partition"
_PRIORITY_TAG = "dagster/priority"
_BACKFILL_TAG = "dagster/backfill"
#: Days' runs that nobody waits for come after all others.
_LOW_PRIORITY = "-10"


@dg.sensor(
    job_name=JOB,
    minimum_interval_seconds=_INTERVAL,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Takes events of the buckets from the queue into the ledger (where no queue is configured, lists the last days"
        " instead) and asks for a run of each day that has due work and no run on its way."
    ),
)
def new_catalogs(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[LoadSettings],
    ledger: dg.ResourceParam[Connect],
    queue: dg.ResourceParam[OpenQueue],
    listing: dg.ResourceParam[OpenListing],
) -> dg.SensorResult:
    """One tick."""
    from maap_stac_orchestration.discovery.days import first_day, partition_of
    from maap_stac_orchestration.ledger import metrics
    from maap_stac_orchestration.ledger.claims import batches_of, due_days
    from maap_stac_orchestration.ledger.submissions import compact

    began = time.monotonic()
    current = settings()
    cursor = _Cursor.parse(context.cursor)
    # The database comes first: a message that is received while it is away counts as a try.
    with events_of("new_catalogs"), ledger() as conn:
        news = _take_news(conn, current, queue, listing, cursor, began)
        _give_back_what_ended_runs_held(context, conn)
        first, today = first_day(current), datetime.now(UTC).date()
        by_partition: dict[date, int] = {}
        for one in due_days(conn)[:_MOST_DAYS]:
            partition = partition_of(one.day, first, today)
            by_partition[partition] = min(one.priority, by_partition.get(partition, one.priority))
        due = [DueWork(day, priority) for day, priority in by_partition.items()]
        pending = _pending_runs(context.instance, [work.day for work in due])
        claimed = batches_of(conn, [run.run_id for run in pending])
        compact(conn)
        metrics.compact(conn)
        conn.commit()
    left = _TICK_SECONDS - (time.monotonic() - began)
    chosen = days_to_ask_for(due, pending, claimed, now=datetime.now(UTC), at_most=_MOST_RUNS if left > 0 else 0)
    requests = [_request(work) for work in chosen]
    reason = None if requests else f"{news}; {len(due)} days with due work, all have a run on its way."
    return dg.SensorResult(run_requests=requests, skip_reason=reason, cursor=cursor.to_text())


class _Cursor:
    """What a tick remembers for the next: when the buckets were last listed (seconds since 1970)."""

    def __init__(self, listed_at: float = 0.0) -> None:
        self.listed_at = listed_at

    @classmethod
    def parse(cls, text: str | None) -> "_Cursor":
        return cls(float(json.loads(text)["listed_at"])) if text else cls()

    def to_text(self) -> str | None:
        return json.dumps({"listed_at": self.listed_at}) if self.listed_at else None


def _take_news(
    conn: "Connection",
    current: "Settings",
    queue: Any,
    listing: Any,
    cursor: _Cursor,
    began: float,
) -> str:
    """Drains the queue, or lists the last days; gives a sentence about it. A source that cannot be read raises."""
    from maap_stac_orchestration.ledger.listed_days import Source
    from maap_stac_orchestration.pipeline.discover import drain_queue, list_days

    source = queue(current)
    if source is not None:
        drained = drain_queue(conn, source, current.buckets, deadline=began + _DRAIN_SECONDS)
        left = f", {drained.junk} not understood" if drained.junk else ""
        return f"{drained.received} messages of {drained.catalogs} catalogs{left}"
    if not current.buckets:
        return "MAAP_STAC_BUCKETS names no bucket, so there is nothing to look at"
    moment = time.time()
    if moment - cursor.listed_at < _LISTING_SECONDS:
        return "The next listing is not due yet"
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=back) for back in range(current.listing_days)]
    listed = list_days(conn, listing(), current.buckets, days, source=Source.SENSOR)
    cursor.listed_at = moment
    return f"{listed.catalogs} catalogs listed, {listed.new} of them new"


def _give_back_what_ended_runs_held(context: dg.SensorEvaluationContext, conn: "Connection") -> None:
    """A run that was killed or cancelled gives nothing back itself; here its jobs need not wait for the lease's end."""
    from maap_stac_orchestration.ledger.claims import release

    ended = context.instance.get_runs(
        dg.RunsFilter(statuses=_BROKEN_OFF, updated_after=datetime.now(UTC) - _ENDED_SINCE), limit=100
    )
    for run in ended:
        given_back = release(conn, run_id=run.run_id, reason=f"The run ended as {run.status.value.lower()}.")
        conn.commit()
        if given_back:
            context.log.info(f"{given_back} jobs of run {run.run_id}, which has ended, are due again.")


def _pending_runs(instance: dg.DagsterInstance, days: Sequence[date]) -> list[PendingRun]:
    """Runs of these days that have not ended and will claim, or have claimed."""
    if not days:
        return []
    records = instance.get_run_records(
        dg.RunsFilter(statuses=_ON_THE_WAY, tags={_PARTITION_TAG: [day.isoformat() for day in days]})
    )
    runs = []
    for record in records:
        run = record.dagster_run
        selection = run.asset_selection
        if run.job_name != JOB and (selection is None or dg.AssetKey("dps_catalogs") not in selection):
            continue
        queued = run.status is dg.DagsterRunStatus.QUEUED
        runs.append(
            PendingRun(
                run_id=run.run_id,
                day=run.tags[_PARTITION_TAG],
                queued=queued,
                started=None if queued else record.update_timestamp.astimezone(UTC),
                low_priority=_BACKFILL_TAG in run.tags or int(run.tags.get(_PRIORITY_TAG, "0")) < 0,
            )
        )
    return runs


def _request(work: DueWork) -> dg.RunRequest:
    """No run key: Dagster would remember it for ever, also for a run that failed (#15982)."""
    lane = (
        {SOURCE_TAG: "live", _PRIORITY_TAG: "0"}
        if work.priority == 0
        else {SOURCE_TAG: "backlog", _PRIORITY_TAG: _LOW_PRIORITY, **LOW_LANE}
    )
    return dg.RunRequest(partition_key=work.day.isoformat(), tags={**lane, **ASKED_FOR_AGAIN})
