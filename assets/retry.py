"""The job `retry`: tries DPS jobs again, with a form in the launchpad.

Here belongs what somebody fills in and what a run reports. Not here: which jobs are meant and what is done to them
(`maap_stac_orchestration.pipeline.retry`), and links that open the launchpad filled in (`how_to_retry`). The run only
makes jobs due; the sensor `new_catalogs` then asks for runs that take them on.

No `from __future__ import annotations` in this module: Dagster reads the annotations of an op's arguments.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from assets.events import events_of_this_run
from assets.reporting import MOST_ROWS, Metadata, job_page, page_link, table
from assets.resources import Connect, LoadSettings

if TYPE_CHECKING:
    from maap_stac_orchestration.ledger.records import JobFilter
    from maap_stac_orchestration.pipeline.retry import RetryRequest, RetryResult
    from maap_stac_orchestration.settings import Settings


class RetryConfig(dg.Config):
    """Which jobs are tried again: name some, or pick all for which everything holds that is given."""

    prefixes: list[str] = Field(default=[], description="Output prefixes of jobs, or their s3:// addresses.")
    username: str | None = Field(default=None, description="Jobs of this user.")
    algorithm: str | None = Field(default=None, description="Jobs of this algorithm.")
    version: str | None = Field(default=None, description="Jobs of this version of the algorithm.")
    tag: str | None = Field(default=None, description="Jobs with this tag.")
    state: str | None = Field(
        default=None,
        description="Jobs in this state: discovered, ingesting, waiting, loaded, partial, rejected or failed. Without "
        "one, all but loaded.",
    )
    collection: str | None = Field(default=None, description="Jobs with items in this collection.")
    code: str | None = Field(default=None, description="Jobs with a problem of this code, for example link_missing.")
    since: str | None = Field(
        default=None, description="Jobs that ran at this time (UTC) or later: 2026-03-01, or 2d for two days back."
    )
    until: str | None = Field(default=None, description="Jobs that ran before this time (UTC).")
    run_id: str | None = Field(default=None, description="Jobs that this Dagster run took on.")
    force: bool = Field(
        default=False,
        description="Also jobs that are loaded, and jobs that a run holds at this moment: from the run they are taken.",
    )
    dry_run: bool = Field(default=False, description="Tell what would be done, and do nothing.")
    limit: int = Field(default=10_000, ge=1, description="Do nothing where more jobs match than this.")
    reason: str = Field(default="", description="Why; it stands in the history of each job.")
    by: str | None = Field(default=None, description="Who asks; it stands in the history beside this run.")


@dg.op(
    # The job's graph is called `retry` already; in the job this is called so too, which is what is filled in.
    name="make_due",
    out=dg.Out(dg.Nothing),
    tags={"dagster/kind": "postgres"},
    description="Makes DPS jobs due at once, those that are named or all that match.",
)
def try_again(
    context: dg.OpExecutionContext,
    config: RetryConfig,
    settings: dg.ResourceParam[LoadSettings],
    ledger: dg.ResourceParam[Connect],
) -> None:
    """Asks for the retry, and reports as metadata what became of it."""
    from maap_stac_orchestration.pipeline.moments import NoMoment
    from maap_stac_orchestration.pipeline.retry import RetryRefused, retry

    run_id = context.run.run_id
    run = f"Dagster run {run_id}"
    try:
        asked = _asked(config)
        with events_of_this_run(context), ledger() as conn:
            result = retry(
                conn,
                asked,
                by=f"{config.by} ({run})" if config.by else run,
                dry_run=config.dry_run,
                reason=config.reason,
                run_id=run_id,
            )
    except (RetryRefused, NoMoment) as error:
        # What is configured wrongly is wrong the next time too.
        raise dg.Failure(str(error), allow_retries=False) from error
    for name in result.unknown:
        context.log.warning(f"{name}: no job with this output prefix has come to notice.")
    done = "would be tried again" if result.dry_run else "tried again"
    context.log.info(f"{len(result.jobs)} of {result.matched} jobs {done}.")
    context.add_output_metadata(retry_metadata(result, settings(), run_id))


def _asked(config: RetryConfig) -> "RetryRequest":
    from maap_stac_orchestration.pipeline.retry import RetryRequest

    return RetryRequest(prefixes=tuple(config.prefixes), filter=_filter(config), force=config.force, limit=config.limit)


def _filter(config: RetryConfig) -> "JobFilter":
    from maap_stac_orchestration.ledger.records import JobFilter, State
    from maap_stac_orchestration.pipeline.moments import parse_moment
    from maap_stac_orchestration.pipeline.retry import RetryRefused
    from maap_stac_orchestration.problems import Code

    for name, value, known in (("state", config.state, State), ("code", config.code, Code)):
        if value and value not in set(known):
            raise RetryRefused(f"There is no {name} {value}; the {name} is one of {', '.join(known)}.")
    now = datetime.now(UTC)
    return JobFilter(
        username=config.username,
        algorithm=config.algorithm,
        version=config.version,
        tag=config.tag,
        state=State(config.state) if config.state else None,
        collection=config.collection,
        code=config.code or None,
        since=parse_moment(config.since, now) if config.since else None,
        until=parse_moment(config.until, now) if config.until else None,
        run_id=config.run_id,
    )


def retry_metadata(result: "RetryResult", settings: "Settings", run_id: str) -> Metadata:
    """How many jobs are tried again and which, why others are not, and where they are listed as they go on."""
    until = result.leased_until
    return {
        "jobs": len(result.jobs),
        "matched": result.matched,
        "dry_run": result.dry_run,
        **{f"left_{why}": jobs for why, jobs in result.skipped.items()},
        **({} if until is None else {"leased_until": dg.MetadataValue.timestamp(until)}),
        **{f"in_state_{state}": jobs for state, jobs in result.in_other_states.items()},
        **({"unknown": dg.MetadataValue.text(", ".join(result.unknown[:MOST_ROWS]))} if result.unknown else {}),
        **({} if result.dry_run else _links(settings, run_id)),
        "jobs_table": table(
            ("before", "job", "page"),
            (
                {"before": str(one.before), "job": one.prefix, "page": job_page(settings, one.prefix)}
                for one in result.jobs
            ),
        ),
        "jobs_not_shown": max(0, len(result.jobs) - MOST_ROWS),
    }


def _links(settings: "Settings", run_id: str) -> Metadata:
    return {
        **page_link("status_of_this_run", settings, "status/jobs", run_id=run_id),
        **page_link("jobs_of_this_run", settings, "jobs", run_id=run_id),
    }


@dg.job(
    name="retry",
    executor_def=dg.in_process_executor,
    # Whoever started it sees that it was killed, and starts it again or does not.
    tags={"maap/source": "retry", "dagster/max_retries": "0"},
    # What the launchpad shows to begin with: it names the usual conditions, and does nothing.
    config={"ops": {"retry": {"config": {"state": "failed", "since": "2d", "dry_run": True, "reason": ""}}}},
    description=(
        "Tries DPS jobs again: all that match what is filled in, or those whose output prefixes are named. With"
        " `dry_run: true` it only tells which; set it to false to have it done. Jobs that are loaded, or that a run"
        " is at work on, are left as they are without `force: true`. Further keys: prefixes, username, algorithm,"
        " version, tag, collection, code, until, run_id, limit, by. A job whose catalog.json was replaced is tried"
        " again by itself."
    ),
)
def retry_job() -> None:
    """One op; the job exists so that it can be launched."""
    try_again.alias("retry")()
