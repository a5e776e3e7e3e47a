"""The standing check `nothing_broken`: everything that is still broken, whichever day it is of.

Here belongs what the check tells and its evaluation by hand. Not here: when it is evaluated by itself (the sensor
`still_broken`), and how the ledger is asked (`maap_stac_orchestration.ledger.still_broken`).

No `from __future__ import annotations` in this module: Dagster reads the annotations of a check's arguments.
"""

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from assets.how_to_retry import LOCATION, Picked, location_of, retry_table
from assets.ingest import pgstac_items
from assets.reporting import Metadata, jobs_table, page_link, table
from assets.resources import Connect, LoadSettings
from maap_stac_orchestration.ledger.records import BROKEN, State

if TYPE_CHECKING:
    from maap_stac_orchestration.ledger.still_broken import StillBroken, Stuck
    from maap_stac_orchestration.settings import Settings

CHECK = "nothing_broken"
#: Rows of the tables of jobs and of days; there is a link to all of them.
_MOST_JOBS, _MOST_DAYS = 20, 30
#: Codes that have a number, and a link, of their own.
_MOST_CODES = 8


@dg.asset_check(
    name=CHECK,
    asset=pgstac_items,
    description=(
        "No job of any day is failed, rejected or partial, and none waits for a run that does not come. Red until the"
        " last of them is loaded; brought up to date every quarter of a minute by the sensor still_broken."
    ),
)
def nothing_broken(
    context: dg.AssetCheckExecutionContext,
    settings: dg.ResourceParam[LoadSettings],
    ledger: dg.ResourceParam[Connect],
) -> dg.AssetCheckResult:
    """Evaluates it at once, for those who press *Execute* after a retry."""
    from maap_stac_orchestration.ledger.still_broken import still_broken

    with ledger() as conn:
        found = still_broken(conn, _MOST_JOBS)
    one = evaluation(found, settings(), location_of(context.run))
    return dg.AssetCheckResult(
        passed=one.passed, severity=one.severity, description=one.description, metadata=one.metadata
    )


def evaluation(found: "StillBroken", settings: "Settings", location: str = LOCATION) -> dg.AssetCheckEvaluation:
    """What the check says of what the ledger found."""
    standing = found.standing
    metadata: Metadata = {"broken_jobs": standing.jobs, "stuck_jobs": standing.stuck.jobs}
    if standing.jobs:
        metadata |= _broken(found, settings, location)
    if standing.stuck.jobs:
        metadata |= _stuck(standing.stuck, settings)
    # Numbers are plotted over time, without gaps.
    metadata |= {f"broken_jobs/{state}": standing.states.get(state, 0) for state in BROKEN}
    return dg.AssetCheckEvaluation(
        asset_key=pgstac_items.key,
        check_name=CHECK,
        passed=not standing.jobs and not standing.stuck.jobs,
        severity=dg.AssetCheckSeverity.ERROR,
        description=_summary(found),
        metadata=metadata,
    )


def _broken(found: "StillBroken", settings: "Settings", location: str) -> Metadata:
    """What is broken, why, how it is tried again, and of which days, under names in this order: the UI sorts them."""
    states = found.standing.states
    codes = {code: number for code, number in found.codes.items() if code}
    oldest = min(found.days)
    metadata: Metadata = {
        "how_to_retry": retry_table(_groups(codes, states)),
        "broken_jobs_table": jobs_table(found.newest, settings),
        "broken_jobs_not_shown": found.standing.jobs - len(found.newest),
    }
    for state in states:
        metadata |= Picked(state=str(state)).metadata(settings, location)
    for code in list(codes)[:_MOST_CODES]:
        metadata |= Picked(code=code).metadata(settings, location)
    shown = list(found.days.items())[:_MOST_DAYS]
    return metadata | {
        "on_days_since": oldest.isoformat(),
        "on_days": table(("day", "jobs", "page"), (_day(day, number, settings) for day, number in shown)),
        "on_days_not_shown": len(found.days) - len(shown),
        "retry_run_config": dg.MetadataValue.json(Picked(state=str(next(iter(states)))).run_config()),
    }


def _groups(codes: Mapping[str, int], states: Mapping[State, int]) -> list[tuple[Picked, int]]:
    """What can be tried again together: jobs of each code, and those that failed, which need have none."""
    groups = [(Picked(code=code), number) for code, number in codes.items()]
    if failed := states.get(State.FAILED):
        groups.insert(0, (Picked(state=str(State.FAILED)), failed))
    return groups


def _day(day: date, number: int, settings: "Settings") -> dict[str, str | int]:
    (link,) = page_link("day", settings, "status/jobs", **Picked(day=day).span).values() or (None,)
    return {"day": day.isoformat(), "jobs": number, "page": "" if link is None else link.url}


def _stuck(stuck: "Stuck", settings: "Settings") -> Metadata:
    """Who waits for a run that does not come, and what to look at."""
    return {
        "stuck_jobs_since": "" if stuck.since is None else f"{stuck.since:%Y-%m-%dT%H:%M:%SZ}",
        "stuck_jobs_of_days": table(("day",), ({"day": day.isoformat()} for day in stuck.days)),
        "stuck_jobs_and_what_to_do": (
            "Nobody has taken on these jobs, or a run holds them and does not end. Look whether the Dagster daemon"
            " runs (Deployment > Daemons), whether the sensor new_catalogs ticks without errors (Automation), and"
            " whether runs wait in the queue (Runs > Queued)."
        ),
        **page_link("jobs/discovered", settings, "status/jobs", state=str(State.DISCOVERED)),
        **page_link("jobs/ingesting", settings, "status/jobs", state=str(State.INGESTING)),
    }


def _summary(found: "StillBroken") -> str:
    """What the list of checks shows beside the name; empty where all is well."""
    standing = found.standing
    parts = []
    if standing.jobs:
        days = f"{len(found.days)} {'day' if len(found.days) == 1 else 'days'}"
        states = ", ".join(f"{number} {state}" for state, number in standing.states.items())
        parts.append(f"{_jobs(standing.jobs)} of {days} still broken: {states}.")
    if standing.stuck.jobs and standing.stuck.since is not None:
        parts.append(f"{_jobs(standing.stuck.jobs)} stuck since {standing.stuck.since:%Y-%m-%d %H:%M} UTC.")
    return " ".join(parts)


def _jobs(number: int) -> str:
    return f"{number:,} {'job' if number == 1 else 'jobs'}"
