"""Asset checks of a day: red for bad data while the run is green.

Here belongs which problems make which check red. All are evaluated together, after the day's jobs have ended, from
what the ledger knows of the whole day: a second run of a day that finds nothing to do changes nothing about them, and
they cost the way to a searchable item no time. Five are about the day's jobs; the sixth, `events_complete`, is about
how they came to notice.

No `from __future__ import annotations` in this module: Dagster reads the annotations of a check's arguments.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from assets.denials import DENIALS
from assets.how_to_retry import Picked, location_of, retry_table
from assets.ingest import dps_catalogs, governance_decisions, pgstac_items
from assets.partitions import DAYS
from assets.reporting import MOST_ROWS, Metadata, job_page, jobs_table, page_link, table
from assets.resources import Connect, LoadSettings
from maap_stac_orchestration.ledger.records import BROKEN, TERMINAL, State
from maap_stac_orchestration.problems import Code

if TYPE_CHECKING:
    from maap_stac_orchestration.ledger.connection import Connection
    from maap_stac_orchestration.ledger.days import Troubled
    from maap_stac_orchestration.settings import Settings


#: Codes that have links of their own; of more, the pages tell.
MOST_GROUPS = 8


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

#: The check of how jobs came to notice.
EVENTS_COMPLETE = "events_complete"

with warnings.catch_warnings():
    # Partitions of checks are a preview in Dagster 1.13; what they give here is tested.
    warnings.simplefilter("ignore", dg.PreviewWarning)
    _SPECS = [
        dg.AssetCheckSpec(one.name, asset=one.asset, description=one.description, partitions_def=DAYS)
        for one in _CHECKS
    ] + [
        dg.AssetCheckSpec(
            EVENTS_COMPLETE,
            asset=dps_catalogs,
            description=(
                "Events told of every catalog of the day, as far as listing it once more can tell: the schedule"
                " reconcile_recent does so in the night. What had been missed is ingested by the same run."
            ),
            partitions_def=DAYS,
        )
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
    """Evaluates the checks of the run's day.

    Two runs of one day do so one after the other: what was read first would otherwise now and then be recorded last,
    and stand as the day's result until its next run.
    """
    from maap_stac_orchestration.ledger import days

    current = settings()
    day = date.fromisoformat(context.partition_key)
    selected = {key.name for key in context.selected_asset_check_keys}
    with ledger() as conn:
        days.look_alone(conn, day)
        # Dagster records each result before it asks for the next.
        yield from _results(context, conn, current, day, selected)
        if EVENTS_COMPLETE in selected:
            yield _events_complete(conn, current, day)


def _results(
    context: dg.AssetCheckExecutionContext, conn: "Connection", current: "Settings", day: date, selected: set[str]
) -> Iterator[dg.AssetCheckResult]:
    from maap_stac_orchestration.ledger import days

    states = days.states_of_day(conn, day)
    found = {
        one.name: days.troubled_by_state(conn, day, BROKEN, MOST_ROWS)
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
    location = location_of(context.run)
    for one in _CHECKS:
        if one.name not in selected:
            continue
        troubled = found[one.name]
        groups = (
            [(Picked(code=str(code), day=day), number) for code, number in counts.get(one.name, {}).items()]
            if one.codes is not None
            else [(Picked(state=str(state), day=day), states[state]) for state in BROKEN if states.get(state)]
        )
        yield dg.AssetCheckResult(
            asset_key=one.asset.key,
            check_name=one.name,
            passed=troubled.jobs == 0,
            severity=one.severity,
            description=_summary(troubled.jobs, groups, day),
            metadata={
                "failing_jobs": troubled.jobs,
                **(_what_to_do(troubled, groups, current, location) if troubled.jobs else {}),
                # Numbers of a check are plotted over the days: denials and states without gaps, the many codes of
                # documents as they come.
                **_numbers(one, groups),
                "jobs": sum(states.values()),
                "not_ended": sum(states.get(state, 0) for state in State if state not in TERMINAL),
            },
        )


def _events_complete(conn: "Connection", settings: "Settings", day: date) -> dg.AssetCheckResult:
    """Yellow where the last listing of the day was compared with what the queue had told, and had found more.

    A later listing of the day, by the next night or by a backfill, makes it green: then nothing is missing any more.
    """
    from maap_stac_orchestration.ledger.listings_of_day import ON_ITS_WAY, listings_of_day, missed_catalogs

    listings = listings_of_day(conn, settings.buckets, day) if settings.queue_url else None
    missed = listings.missed_now if listings is not None else 0
    metadata: Metadata = {"missed": missed}
    description = ""
    if listings is not None and listings.compared_at is not None:
        metadata |= {
            "compared_at": dg.MetadataValue.timestamp(listings.compared_at),
            "missed_since_ever": listings.missed,
        }
    if missed:
        sample = missed_catalogs(conn, settings.buckets, day, MOST_ROWS)
        first = f" The first of them was written at {sample[0].written_at:%Y-%m-%d %H:%M} UTC." if sample else ""
        description = (
            f"Events had missed {missed} {'catalog' if missed == 1 else 'catalogs'} of {day}; a listing found"
            f" {'it' if missed == 1 else 'them'}.{first}"
        )
        metadata |= {
            "missed_table": table(
                ("written", "found", "page", "job"),
                (
                    {
                        "written": f"{one.written_at:%Y-%m-%d %H:%M:%S}",
                        "found": f"{one.found_at:%Y-%m-%d %H:%M:%S}",
                        "page": job_page(settings, one.prefix),
                        "job": one.prefix,
                    }
                    for one in sample
                ),
            ),
            "missed_not_shown": missed - len(sample),
            **({"missed_written_since": dg.MetadataValue.timestamp(sample[0].written_at)} if sample else {}),
            "what_to_do": (
                "Nothing for these jobs: the listing put them into the ledger. For those to come: look whether the"
                " bucket's notifications still lead to the queue (maap-stac doctor), whether messages were given up"
                " (maap-stac dead-letters list), and whether the sensor new_catalogs has stood still. A catalog counts"
                f" that lay in the bucket for {ON_ITS_WAY.seconds // 60} minutes before a listing found it. Green again"
                " when the day is listed once more, by the next night or a backfill."
            ),
        }
    return dg.AssetCheckResult(
        asset_key=dps_catalogs.key,
        check_name=EVENTS_COMPLETE,
        passed=not missed,
        severity=_WARN,
        description=description,
        metadata=metadata,
    )


def _what_to_do(
    troubled: "Troubled", groups: Sequence[tuple[Picked, int]], settings: "Settings", location: str
) -> Metadata:
    """What failed, why, and how it is tried again, under names in this order: the UI sorts them."""
    metadata: Metadata = {
        "how_to_retry": retry_table(groups),
        "failing_jobs_table": jobs_table(troubled.sample, settings),
        "failing_jobs_not_shown": troubled.jobs - len(troubled.sample),
    }
    for picked, _ in groups[:MOST_GROUPS]:
        metadata |= picked.metadata(settings, location)
        if picked.code in DENIALS:
            span = {f"job_{name}": value for name, value in picked.span.items()}
            metadata |= page_link(f"decisions/{picked.name}", settings, "decisions", decision=picked.name, **span)
    return metadata | {"retry_run_config": dg.MetadataValue.json(groups[0][0].run_config())}


def _numbers(check: _DayCheck, groups: Sequence[tuple[Picked, int]]) -> Metadata:
    """A number for each code or state."""
    always: Iterable[str] = ()
    if check.codes is None:
        always = [str(state) for state in BROKEN]
    elif check.codes == DENIALS:
        always = sorted(str(code) for code in DENIALS)
    return {f"failing_jobs/{name}": 0 for name in always} | {
        f"failing_jobs/{picked.name}": number for picked, number in groups
    }


def _summary(jobs: int, groups: Sequence[tuple[Picked, int]], day: date) -> str:
    """What the list of checks shows beside the name; empty where all is well."""
    if not jobs:
        return ""
    return f"{jobs} {'job' if jobs == 1 else 'jobs'} of {day}: " + ", ".join(
        f"{picked.name} {number}" for picked, number in groups
    )
