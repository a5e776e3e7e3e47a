"""The sensor `ingest_failed`: what a failed run held is given back, and the failure becomes one event in the log.

A run failure sensor in Dagster's sense: it sees runs that failed in whatever way, also those whose process was killed
and that could give nothing back themselves. Here belongs what follows from a failed run. Not here: failed jobs, which
are no failures of a run (`assets.checks`).

No `from __future__ import annotations` in this module: Dagster reads the annotations of a sensor's arguments.
"""

import dagster as dg

from sensors.resources import Connect


@dg.run_failure_sensor(
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=15,
    description="Gives back what a failed run held, so that the next run takes it on, and logs the failure.",
)
def ingest_failed(context: dg.RunFailureSensorContext, ledger: dg.ResourceParam[Connect]) -> None:
    """Reacts to one failed run."""
    from maap_stac_orchestration import log_events
    from maap_stac_orchestration.ledger.claims import release

    run = context.dagster_run
    reason = " ".join(context.failure_event.message.split()) if context.failure_event.message else "unknown"
    with ledger() as conn:
        given_back = release(conn, run_id=run.run_id, reason=f"The run failed: {reason}"[:500])
        conn.commit()
    context.log.error(f"The run {run.run_id} failed, {given_back} of its jobs are due again: {reason}")
    log_events.to_stderr()
    with log_events.bound(run_id=run.run_id):
        log_events.emit(
            log_events.Event.RUN_FAILED,
            job=run.job_name,
            partition=run.tags.get("dagster/partition"),
            reason=reason,
            jobs_given_back=given_back,
        )
