"""The schedule `reconcile_recent`: the last days are looked at again by the clock.

Here belongs when days are listed that events should have told of. Not here: how they are listed (`assets.ingest`), and
old days (`backfill_history`).
"""

from datetime import UTC, datetime, timedelta

import dagster as dg

from sensors.choice import LOW_LANE, SOURCE_TAG

#: Days that are listed again each night, yesterday first. Events come within seconds; what is missing after a day was
#: lost on the way, or came while no queue was connected.
DAYS_BACK = 3


@dg.schedule(
    job_name="ingest",
    cron_schedule="30 2 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=(
        f"Each night at 02:30 UTC: lists the last {DAYS_BACK} days again and ingests what events had missed, of which"
        " the check events_complete then tells."
    ),
)
def reconcile_recent(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
    """One run for each of the last days. The key holds the night too, or Dagster would run a day only once, ever."""
    today = (context.scheduled_execution_time or datetime.now(UTC)).astimezone(UTC).date()
    return [
        dg.RunRequest(
            run_key=f"{day} in the night of {today}",
            partition_key=day.isoformat(),
            run_config={"ops": {"dps_catalogs": {"config": {"list_first": True}}}},
            tags={SOURCE_TAG: "reconcile", "dagster/priority": "-5", **LOW_LANE},
        )
        for day in (today - timedelta(days=back) for back in range(1, DAYS_BACK + 1))
    ]
