"""The sensor `ingest_failed`: what a failed run held is given back, and the run says what became of its jobs.

A run failure sensor in Dagster's sense: it sees runs that failed in whatever way, also those whose process was killed
and that could give nothing back themselves. Here belongs what follows from a failed run. Not here: failed jobs, which
are no failures of a run (`assets.checks`).

No `from __future__ import annotations` in this module: Dagster reads the annotations of a sensor's arguments.
"""

from datetime import date, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import dagster as dg

from sensors.events import events_of
from sensors.resources import Connect, LoadSettings

if TYPE_CHECKING:
    from maap_stac_orchestration.settings import Settings

#: The tag of a run with how many jobs it took on; `assets.ingest` sets it too, in runs that come so far.
JOBS_TAG = "maap/jobs"
_PARTITION_TAG = "dagster/partition"


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
    context.log.error(f"The run {run.run_id} failed, {given_back} of its jobs are due again: {reason}")
    if _takes_jobs(run):
        # In the run itself, where somebody who looks at a failure looks first.
        context.instance.report_engine_event(
            _told(taken),
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
