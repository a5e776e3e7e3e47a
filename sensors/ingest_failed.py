"""The sensor `ingest_failed`: what a failed run held is given back, and the run says what became of its jobs.

A run failure sensor in Dagster's sense: it sees runs that failed in whatever way, also those whose process was killed
and that could give nothing back themselves. Here belongs what follows from a failed run. Not here: failed jobs, which
are no failures of a run (`assets.checks`).

No `from __future__ import annotations` in this module: Dagster reads the annotations of a sensor's arguments.
"""

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import dagster as dg

from sensors.choice import SOURCE_TAG
from sensors.events import events_of
from sensors.resources import Connect, LoadSettings

if TYPE_CHECKING:
    from maap_stac_orchestration.ledger.connection import Connection
    from maap_stac_orchestration.settings import Settings

#: The tag of a run with how many jobs it took on; `assets.ingest` sets it too, in runs that come so far.
JOBS_TAG = "maap/jobs"
_PARTITION_TAG = "dagster/partition"
_BACKFILL_TAG = "dagster/backfill"


@dg.run_failure_sensor(
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=15,
    description=(
        "Gives back what a failed run held, so that the next run takes it on; tells in the run's own events and tags"
        " which jobs those were, with a link to them; and logs the failure as the event run.failed."
    ),
)
def ingest_failed(
    context: dg.RunFailureSensorContext,
    settings: dg.ResourceParam[LoadSettings],
    ledger: dg.ResourceParam[Connect],
) -> None:
    """Reacts to one failed run."""
    from dagster._core.events import EngineEventData

    from maap_stac_orchestration import log_events
    from maap_stac_orchestration.ledger.claims import batches_of, release

    run = context.dagster_run
    reason = " ".join(context.failure_event.message.split()) if context.failure_event.message else "unknown"
    with ledger() as conn:
        given_back = release(conn, run_id=run.run_id, reason=f"The run failed: {reason}"[:500])
        conn.commit()
        taken = sum(batch.jobs for batch in batches_of(conn, [run.run_id]).get(run.run_id, ()))
        not_listed = _should_have_listed(run) and not _has_listed(context.instance, conn, settings(), run)
    context.log.error(f"The run {run.run_id} failed, {given_back} of its jobs are due again: {reason}")
    if _takes_jobs(run):
        # In the run itself, where somebody who looks at a failure looks first.
        context.instance.report_engine_event(
            f"{_told(taken)} {_who_lists(run)}" if not_listed else _told(taken),
            run,
            EngineEventData(metadata=_links(settings(), run, taken)),
            run_id=run.run_id,
        )
        context.instance.add_run_tags(run.run_id, {JOBS_TAG: str(taken)})
    with events_of("ingest_failed"), log_events.bound(run_id=run.run_id):
        log_events.emit(
            log_events.Event.RUN_FAILED,
            job=run.job_name,
            partition=run.tags.get(_PARTITION_TAG),
            reason=reason,
            jobs_given_back=given_back,
        )


def _takes_jobs(run: dg.DagsterRun) -> bool:
    """Whether it is a run that claims jobs: other runs have none that could be lost."""
    selection = run.asset_selection
    return run.job_name == "ingest" or (selection is not None and dg.AssetKey("dps_catalogs") in selection)


def _should_have_listed(run: dg.DagsterRun) -> bool:
    return _BACKFILL_TAG in run.tags or run.tags.get(SOURCE_TAG) in ("history", "reconcile")


def _has_listed(instance: dg.DagsterInstance, conn: "Connection", settings: "Settings", run: dg.DagsterRun) -> bool:
    """Whether the run's day was listed whole since the run began, by whomever."""
    from maap_stac_orchestration.ledger.listed_days import since

    record = instance.get_run_record_by_id(run.run_id)
    partition = run.tags.get(_PARTITION_TAG)
    if record is None or record.start_time is None or partition is None:
        return False
    began = datetime.fromtimestamp(record.start_time, UTC)
    return bool(since(conn, settings.buckets, [date.fromisoformat(partition)], began))


def _who_lists(run: dg.DagsterRun) -> str:
    """Who lists the day that this run was to list: jobs that nobody has found yet are due nowhere."""
    day = f"The day {run.tags.get(_PARTITION_TAG)} was not listed whole"
    if run.tags.get("dagster/will_retry") == "true":
        return f"{day}: its process died, so Dagster runs it once more by itself."
    if run.tags.get(SOURCE_TAG) == "history":
        return f"{day}: backfill_history asks for it again in a quarter of an hour."
    if run.tags.get(SOURCE_TAG) == "reconcile":
        return f"{day}: a day is listed again for three nights. To have it sooner, start a backfill of the day."
    return f"{day}: when the cause is gone, start the backfill again for the partitions that failed."


def _told(taken: int) -> str:
    again = "the sensor new_catalogs asks for another run of the day by itself; start none by hand."
    if not taken:
        return (
            f"The run failed before it took on a job, so none was touched. As long as work of its day is due, {again}"
        )
    jobs = "1 job" if taken == 1 else f"{taken:,} jobs"
    return f"The run had taken on {jobs}. Those that it did not end are due again: {again}"


def _links(settings: "Settings", run: dg.DagsterRun, taken: int) -> dict[str, dg.MetadataValue]:
    """The jobs that the run had, or where it had none those of its day, on the status pages."""
    if not settings.public_url:
        return {}
    if taken:
        name, query = "status_of_this_run", {"run_id": run.run_id}
    elif partition := run.tags.get(_PARTITION_TAG):
        day = date.fromisoformat(partition)
        name = "status_of_this_day"
        query = {"since": day.isoformat(), "until": (day + timedelta(days=1)).isoformat()}
    else:
        return {}
    return {name: dg.MetadataValue.url(f"{settings.public_url.rstrip('/')}/status/jobs?{urlencode(query)}")}
