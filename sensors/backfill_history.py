"""The schedule `backfill_history`: works back through the days that nobody has listed, a few at a time.

A schedule in Dagster's sense. Here belongs when it asks for days, and for which. Not here: what a run does with a day
(`assets.ingest`), which days were listed (`maap_stac_orchestration.ledger.listed_days`), and backfills that a person
starts, which are Dagster's own.

No `from __future__ import annotations` in this module: Dagster reads the annotations of a schedule's arguments.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from sensors.choice import LOW_LANE, SOURCE_TAG, days_without_run
from sensors.resources import Connect, LoadSettings

if TYPE_CHECKING:
    from maap_stac_orchestration.settings import Settings

JOB = "ingest"
SOURCE = "history"
#: After everything else, as the backlog.
_PRIORITY = "-10"
#: After a failed run nothing is asked for that long: what fails a listing (rights, the bucket) rarely goes in a minute.
_PAUSE = timedelta(minutes=15)
#: Days that are looked at for some without a run: a person's backfill may have runs of very many in the queue.
_MOST_DAYS = 2_000
#: Partitions that Dagster's storage is asked about at once.
_AT_ONCE = 200

_ON_THE_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
_PARTITION_TAG = "dagster/partition"


@dg.schedule(
    job_name=JOB,
    cron_schedule="* * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=(
        "Works back through the days that were never listed, newest first, MAAP_STAC_BACKFILL_DAYS at a time, and ends"
        " at MAAP_STAC_FIRST_DAY; without a first day it does nothing. Asks for more when the former days are done."
    ),
)
def backfill_history(
    context: dg.ScheduleEvaluationContext,
    settings: dg.ResourceParam[LoadSettings],
    ledger: dg.ResourceParam[Connect],
) -> Sequence[dg.RunRequest] | dg.SkipReason:
    """One tick: a run for each of the next days, or why there is none."""
    from maap_stac_orchestration.ledger.listed_days import never_listed

    current = settings()
    now = (context.scheduled_execution_time or datetime.now(UTC)).astimezone(UTC)
    if reason := _switched_off(current):
        return dg.SkipReason(reason)
    if reason := _waits(context.instance, now):
        return dg.SkipReason(reason)
    first = current.first_day
    assert first is not None
    with ledger() as conn:
        # Today is not over: tomorrow's listing sees all of it.
        days = never_listed(conn, current.buckets, first, now.date() - timedelta(days=1), limit=_MOST_DAYS)
    if not days:
        return dg.SkipReason(f"Every day since {first} was listed.")
    chosen = _without_run(context.instance, days, current.backfill_days)
    if not chosen:
        return dg.SkipReason("All days that were never listed have a run on its way.")
    return [_request(day, now) for day in chosen]


def _switched_off(current: "Settings") -> str:
    """Why days are never asked for with these settings, a sentence; empty where they are."""
    if not current.backfill_days:
        return "MAAP_STAC_BACKFILL_DAYS is 0, which switches it off."
    if not current.buckets:
        return "MAAP_STAC_BUCKETS names no bucket, so there is nothing to list."
    if current.first_day is None:
        return (
            "MAAP_STAC_FIRST_DAY is not set. Set it to the day of the oldest outputs, for example 2024-01-01, and old"
            " outputs are ingested back to that day."
        )
    return ""


def _waits(instance: dg.DagsterInstance, now: datetime) -> str:
    """Why nothing is asked for at this moment, a sentence; empty where something may be."""
    of_mine = {SOURCE_TAG: SOURCE}
    if under_way := instance.get_runs_count(dg.RunsFilter(statuses=_ON_THE_WAY, tags=of_mine)):
        return f"{under_way} of the days that were asked for last are not done."
    failed = instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], tags=of_mine, updated_after=now - _PAUSE), limit=1
    )
    if failed:
        (record,) = failed
        day, at = record.dagster_run.tags.get(_PARTITION_TAG), record.update_timestamp.astimezone(UTC)
        return (
            f"The run {record.dagster_run.run_id} of {day} failed at {at:%H:%M} UTC, see there for what broke. It goes"
            f" on at {at + _PAUSE:%H:%M} UTC."
        )
    return ""


def _without_run(instance: dg.DagsterInstance, days: Sequence[date], at_most: int) -> list[date]:
    """The first of these days that no run of any kind is on its way for: a person's backfill may be at them."""
    chosen: list[date] = []
    for start in range(0, len(days), _AT_ONCE):
        some = days[start : start + _AT_ONCE]
        runs = instance.get_runs(
            dg.RunsFilter(statuses=_ON_THE_WAY, tags={_PARTITION_TAG: [day.isoformat() for day in some]})
        )
        under_way = {run.tags[_PARTITION_TAG] for run in runs}
        chosen += days_without_run(some, under_way, at_most=at_most - len(chosen))
        if len(chosen) == at_most:
            break
    return chosen


def _request(day: date, now: datetime) -> dg.RunRequest:
    """The key holds the tick too: Dagster remembers it for ever, also of a run that failed (#15982)."""
    return dg.RunRequest(
        run_key=f"{day} at {now:%Y-%m-%dT%H:%MZ}",
        partition_key=day.isoformat(),
        run_config={"ops": {"dps_catalogs": {"config": {"list_first": True}}}},
        tags={SOURCE_TAG: SOURCE, "dagster/priority": _PRIORITY, **LOW_LANE},
    )
