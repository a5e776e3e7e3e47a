"""Asset checks of a day: red for bad data while the run is green.

Here belongs which problems make which check red. All five are evaluated together, after the day's jobs have ended, from
what the ledger knows of the whole day: a second run of a day that finds nothing to do changes nothing about them, and
they cost the way to a searchable item no time.

No `from __future__ import annotations` in this module: Dagster reads the annotations of a check's arguments.
"""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from assets.ingest import dps_catalogs, governance_decisions, pgstac_items
from assets.partitions import DAYS
from assets.reporting import MOST_ROWS, Metadata, api_link, table
from assets.resources import Connect, LoadSettings
from maap_stac_orchestration.problems import Code

if TYPE_CHECKING:
    from maap_stac_orchestration.settings import Settings


@dataclass(frozen=True)
class _DayCheck:
    """A check and what makes it red."""

    name: str
    asset: dg.AssetsDefinition
    #: None: every job that did not end with all its items loaded.
    codes: frozenset[Code] | None
    severity: dg.AssetCheckSeverity
    description: str


_ERROR, _WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN

#: Problems that are decisions: each has the name of its `DecisionCode`.
DENIALS = frozenset(
    {
        Code.IDENTITY_MISMATCH,
        Code.INVALID_NAME,
        Code.RESERVED_NAME,
        Code.RESERVED_PATTERN,
        Code.NAME_CONFLICT,
        Code.USER_NOT_AUTHORIZED,
        Code.ALGORITHM_NOT_APPROVED,
        Code.COLLECTION_NOT_FOUND,
        Code.ITEM_OWNED_BY_OTHER,
    }
)

_CHECKS = (
    _DayCheck(
        "catalogs_readable",
        dps_catalogs,
        frozenset(
            {
                Code.CATALOG_MISSING,
                Code.CATALOG_UNREADABLE,
                Code.CATALOG_INVALID,
                Code.NOT_A_CATALOG,
                Code.METADATA_MISSING,
                Code.METADATA_INVALID,
                Code.METADATA_AMBIGUOUS,
                Code.LINK_MISSING,
                Code.LINK_OUTSIDE_JOB,
                Code.LINK_CYCLE,
                Code.TOO_DEEP,
                Code.TOO_LARGE,
                Code.TOO_MANY_ITEMS,
            }
        ),
        _ERROR,
        "Every job's catalog, job metadata and links could be read.",
    ),
    _DayCheck(
        "items_valid",
        dps_catalogs,
        frozenset(
            {
                Code.ITEM_UNREADABLE,
                Code.ITEM_INVALID,
                Code.ITEM_ID_UNSAFE,
                Code.ITEM_DUPLICATE,
                Code.GEOMETRY_INVALID,
                Code.DATETIME_INVALID,
                Code.SCHEMA_INVALID,
            }
        ),
        _ERROR,
        "Every item follows STAC and has an id of its own.",
    ),
    _DayCheck(
        "assets_present",
        dps_catalogs,
        frozenset({Code.ASSET_MISSING, Code.ASSET_LOCAL_PATH, Code.ASSET_OUTSIDE}),
        _WARN,
        "Every asset is among the files of its job. Items load without it.",
    ),
    _DayCheck(
        "no_denials",
        governance_decisions,
        DENIALS,
        # Nothing may be lost by it, but a warning is yellow, and somebody was refused what they asked for.
        _ERROR,
        "Every job may write to the collections that it asks for. Denied items may have gone to a default collection.",
    ),
    _DayCheck(
        "all_loaded",
        pgstac_items,
        None,
        _ERROR,
        "Every job that has ended has all its items in pgstac.",
    ),
)

with warnings.catch_warnings():
    # Partitions of checks are a preview in Dagster 1.13; what they give here is tested.
    warnings.simplefilter("ignore", dg.PreviewWarning)
    _SPECS = [
        dg.AssetCheckSpec(one.name, asset=one.asset, description=one.description, partitions_def=DAYS)
        for one in _CHECKS
    ]


@dg.multi_asset_check(
    name="day_checks",
    specs=_SPECS,
    can_subset=True,
    description="How the day's jobs ended, by what the ledger knows of all of them.",
)
def day_checks(
    context: dg.AssetCheckExecutionContext,
    settings: dg.ResourceParam[LoadSettings],
    ledger: dg.ResourceParam[Connect],
) -> Iterator[dg.AssetCheckResult]:
    """Evaluates the checks of the run's day."""
    from maap_stac_orchestration.ledger import days
    from maap_stac_orchestration.ledger.records import State

    current = settings()
    day = date.fromisoformat(context.partition_key)
    selected = {key.name for key in context.selected_asset_check_keys}
    with ledger() as conn:
        states = days.states_of_day(conn, day)
        found = {
            one.name: days.troubled_by_state(conn, day, (State.PARTIAL, State.REJECTED, State.FAILED), MOST_ROWS)
            if one.codes is None
            else days.troubled_by_code(conn, day, one.codes, MOST_ROWS)
            for one in _CHECKS
            if one.name in selected
        }
        counts = {
            one.name: days.jobs_by_code(conn, day, one.codes)
            for one in _CHECKS
            if one.codes is not None and one.name in found and found[one.name].jobs
        }
    waiting = sum(states.get(state, 0) for state in (State.DISCOVERED, State.INGESTING, State.WAITING))
    for one in _CHECKS:
        if one.name not in selected:
            continue
        troubled = found[one.name]
        by_code = counts.get(one.name, {})
        # Numbers of a check are plotted over the days: denials without gaps, the many codes of documents as they come.
        numbers = {code: by_code.get(code, 0) for code in sorted(DENIALS)} if one.codes == DENIALS else by_code
        metadata: Metadata = {
            "failing_jobs": troubled.jobs,
            "jobs": sum(states.values()),
            "not_ended": waiting,
            **{f"failing_jobs/{code}": number for code, number in numbers.items()},
            "failing_jobs_table": table(
                ("state", "code", "message", "job"),
                (
                    {"state": str(job.state), "code": job.code, "message": job.message, "job": job.prefix}
                    for job in troubled.sample
                ),
            ),
            "failing_jobs_not_shown": troubled.jobs - len(troubled.sample),
            **_links(one, by_code, day, current),
        }
        yield dg.AssetCheckResult(
            asset_key=one.asset.key,
            check_name=one.name,
            passed=troubled.jobs == 0,
            severity=one.severity,
            description=_summary(troubled.jobs, by_code, day),
            metadata=metadata,
        )


def _summary(jobs: int, by_code: Mapping[Code, int], day: date) -> str:
    """What the list of checks shows beside the name; empty where all is well."""
    if not jobs:
        return ""
    codes = ", ".join(f"{code} {number}" for code, number in by_code.items())
    named = f"{jobs} {'job' if jobs == 1 else 'jobs'} of {day}"
    return f"{named}: {codes}" if codes else named


def _links(check: _DayCheck, by_code: Mapping[Code, int], day: date, settings: "Settings") -> Metadata:
    """For each code that was found, its jobs and, for codes of decisions, the trail.

    The API asks for a time of beginning, so later days stand in the lists as well, before this one. No job is decided
    about before it ran.
    """
    begin = f"{day}T00:00:00Z"
    links: Metadata = {}
    for code in by_code:
        if code in DENIALS:
            links |= api_link(f"decisions/{code}", settings, "decisions", decision=code, since=begin)
        links |= api_link(f"jobs/{code}", settings, "jobs", code=code, since=begin)
    return links
