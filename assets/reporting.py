"""Metadata of materialisations: counts, bounded tables, links.

Here belongs how a stage's result is shown in the Dagster UI. Not here: the result itself. Tables in metadata are stored
twice and slow the UI above some dozens of rows, so they are cut; a link leads to all of it.

Metadata of a check stand in the order of their names, those of a materialisation in the order in which they are given.

The UI shows the latest materialisation of a day, which each night is that of a run which looked once more and found
nothing. So what a run did is left out where it did nothing, and what stands for the day (`day/…`, from the ledger) is
in each of them: these numbers are the same whichever run came last, and are the ones to be plotted over the days.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import dagster as dg

from maap_stac_orchestration.governance.decision import DecisionCode
from maap_stac_orchestration.ledger.records import State
from maap_stac_orchestration.pipeline.batch import DecidedJob, JobOutcome, ReadJob
from maap_stac_orchestration.problems import Code, Problem
from maap_stac_orchestration.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from assets.handover import DayListing
    from maap_stac_orchestration.ledger.days import DayStanding, TroubledJob
    from maap_stac_orchestration.ledger.listings_of_day import ListingsOfDay

#: Rows of a table; beyond some dozens the UI becomes slow.
MOST_ROWS = 50
#: Collections of a batch that have a number, and so a plot, of their own.
MOST_COLLECTIONS = 20
#: Columns that hold sentences, and the width in characters that these keep.
_SENTENCES = frozenset({"message", "rule", "fix"})
_WIDTH = 60
#: Characters of a cell; a message may quote what a job wrote.
_MOST_CHARACTERS = 300

Metadata = dict[str, Any]


def table(columns: Sequence[str], rows: Iterable[Mapping[str, str | int]]) -> dg.TableMetadataValue:
    """The first rows as a table, with the columns also where there is no row.

    The UI does not break long words and shows the columns from the left as far as there is room: what is long, such as
    output prefixes, comes last.
    """
    records = [
        dg.TableRecord({name: _shown(name, row[name]) for name in columns})
        for row, _ in zip(rows, range(MOST_ROWS), strict=False)
    ]
    return dg.MetadataValue.table(records, dg.TableSchema([dg.TableColumn(name) for name in columns]))


def _shown(column: str, value: str | int) -> str | int:
    if not isinstance(value, str):
        return value
    text = value[: _MOST_CHARACTERS - 1] + "…" if len(value) > _MOST_CHARACTERS else value
    if column not in _SENTENCES:
        return text
    # Beside a long id the UI squeezes a sentence to a word a line; with these spaces it breaks once in a while.
    lines = textwrap.wrap(text, _WIDTH, expand_tabs=False, break_long_words=False, break_on_hyphens=False)
    return " ".join(line.replace(" ", "\N{NO-BREAK SPACE}") for line in lines)


def run_links(settings: Settings, run_id: str) -> Metadata:
    """Links to the jobs of a run, as a page for people and as JSON; nothing where the address is not known."""
    return {
        **page_link("status_of_this_run", settings, "status/jobs", run_id=run_id),
        **page_link("jobs_of_this_run", settings, "jobs", run_id=run_id),
    }


def page_link(name: str, settings: Settings, path: str, **query: str) -> Metadata:
    """A link to the status pages or into the API, under this name; nothing where their address is not known."""
    if not settings.public_url:
        return {}
    return {name: dg.MetadataValue.url(f"{settings.public_url.rstrip('/')}/{path}?{urlencode(query)}")}


def jobs_table(jobs: Iterable[TroubledJob], settings: Settings) -> dg.TableMetadataValue:
    """Jobs that are not as they should be, each with what is wrong and its status page."""
    return table(
        ("state", "code", "message", "job", "page"),
        (
            {
                "state": str(job.state),
                "code": job.code,
                # Most messages name a file of the job by its whole key; the prefix has a column of its own.
                "message": re.sub(rf"{re.escape(job.prefix)}(?=[^\s.,;:])", "", job.message),
                "job": job.prefix,
                "page": job_page(settings, job.prefix),
            }
            for job in jobs
        ),
    )


def job_page(settings: Settings, prefix: str) -> str:
    """The address of a job's status page; empty where it is not known."""
    return f"{settings.public_url.rstrip('/')}/status/{quote(prefix, safe='')}" if settings.public_url else ""


def day_metadata(day: date, standing: DayStanding, listings: ListingsOfDay | None, settings: Settings) -> Metadata:
    """How all jobs of the day stand, whichever run took them on: a number for each state, also where it is zero, or
    plots would have gaps. And what the last whole listing saw; nothing of it where the day was never listed whole."""
    return {
        **page_link(
            "status_of_this_day",
            settings,
            "status/jobs",
            since=day.isoformat(),
            until=(day + timedelta(days=1)).isoformat(),
        ),
        "day/jobs": sum(standing.states.values()),
        **{f"day/{state}": standing.states.get(state, 0) for state in State},
        "day/items": standing.items,
        "day/items_refused": standing.refused,
        **(
            {}
            if listings is None
            else {
                "day/found_in_buckets": listings.catalogs,
                "day/listed_at": dg.MetadataValue.timestamp(listings.listed_at),
            }
        ),
    }


def listing_metadata(listing: DayListing | None) -> Metadata:
    """What a run found in the buckets; of one that did not list its day, nothing.

    In catalogs: one that is unchanged is of a version that was known before, and is not read again, whatever became of
    it then.
    """
    if listing is None:
        return {}
    return {
        "found": listing.found,
        "found_new": listing.new,
        "found_unchanged": listing.found - listing.new,
        **({} if listing.missed is None else {"missed_by_events": listing.missed}),
    }


def read_metadata(jobs: Sequence[ReadJob], seconds: float) -> Metadata:
    """What reading a batch came to; of an empty one, that it was empty."""
    if not jobs:
        return {"jobs": 0}
    problems = [(job.claim.prefix, problem) for job in jobs for problem in job.problems]
    items = sum(len(job.items) for job in jobs)
    return {
        "jobs": len(jobs),
        "items": items,
        "documents": sum(len(job.pins) for job in jobs),
        "waiting": sum(job.awaiting for job in jobs),
        **problems_metadata(problems),
        **throughput(items, seconds),
    }


def decision_metadata(jobs: Sequence[DecidedJob], registry_version: str, settings: Settings, run_id: str) -> Metadata:
    """What was decided for a batch: each decision, and how many jobs and items went where for which reason.

    Numbers become plots over the days. So every code has one also where no decision had it, or its plot would have
    gaps; collections have one for the largest of them alone, since there may be thousands. A run without jobs decided
    nothing and says so by leaving all of them out: a day of many denials is no day of none because a run of the night
    found nothing to do. Denials without gaps are what the check `no_denials` plots.
    """
    if not jobs:
        return {"jobs": 0, "registry_version": registry_version}
    frame = decisions_frame(jobs)
    outcomes, codes = frame["outcome"].value_counts(), frame["decision"].value_counts()
    groups = (
        frame.groupby(["outcome", "decision", "collection"], observed=True, sort=True)
        .agg(jobs=("job", "nunique"), items=("items", "sum"))
        .reset_index()
    )
    taken = frame[frame["collection"] != ""]
    # Of the same size, those first that come first by name: the choice does not change from run to run.
    items = taken.groupby("collection")["items"].sum().sort_index().sort_values(ascending=False, kind="stable")
    plotted, others = items.head(MOST_COLLECTIONS), items.iloc[MOST_COLLECTIONS:]
    return {
        "jobs": len(jobs),
        "decisions": len(frame),
        **{outcome: int(outcomes.get(outcome, 0)) for outcome in _OUTCOMES},
        "registry_version": registry_version,
        **page_link("decisions_of_this_run", settings, "decisions", run_id=run_id),
        "decisions_table": frame_table(
            frame, ("decision", "outcome", "requested", "collection", "items", "rule", "job")
        ),
        "decisions_not_shown": max(0, len(frame) - MOST_ROWS),
        "decisions_by_collection": frame_table(groups, ("decision", "outcome", "jobs", "items", "collection")),
        "decisions_by_collection_not_shown": max(0, len(groups) - MOST_ROWS),
        **{f"decisions/{code}": int(codes.get(code, 0)) for code in DecisionCode},
        **{f"items/{collection}": int(count) for collection, count in plotted.items()},
        "other_collections": len(others),
        "items_in_other_collections": int(others.sum()),
    }


#: The columns of the table of decisions.
_COLUMNS = ("decision", "outcome", "requested", "collection", "items", "rule", "job")
#: Outcomes as they are shown, those that somebody may mind first.
_OUTCOMES = ("reject", "fallback", "accept", "default")


def decisions_frame(jobs: Sequence[DecidedJob]) -> pd.DataFrame:
    """One row a decision, those that somebody may mind first, with the number of items that it is about."""
    # A third of a second to import, which a code server that only lists assets does without.
    import pandas as pd

    rows = []
    for job in jobs:
        items = Counter(item.requested_collection or None for item in job.read.items)
        for requested, decision in job.decisions.items():
            rows.append(
                {
                    "decision": str(decision.code),
                    "outcome": str(decision.outcome),
                    "requested": decision.requested or "",
                    "collection": decision.collection or "",
                    "items": items[requested],
                    "rule": decision.rule,
                    "job": job.read.claim.prefix,
                }
            )
    frame = pd.DataFrame(rows, columns=list(_COLUMNS)).astype({"items": "int64"})
    frame["outcome"] = pd.Categorical(frame["outcome"], categories=_OUTCOMES, ordered=True)
    return frame.sort_values("outcome", kind="stable", ignore_index=True)


def frame_table(frame: pd.DataFrame, columns: Sequence[str]) -> dg.TableMetadataValue:
    """The first rows of a frame as a table."""
    records = frame[list(columns)].head(MOST_ROWS).to_dict("records")
    return table(columns, ({name: _plain(record[name]) for name in columns} for record in records))


def _plain(value: Any) -> str | int:
    return value if isinstance(value, int) else str(value)


def load_metadata(outcomes: Sequence[JobOutcome], seconds: float) -> Metadata:
    """What loading a batch came to; of an empty one, that it was empty."""
    if not outcomes:
        return {"jobs": 0}
    loaded = sum(one.counts.loaded for one in outcomes)
    unchanged = sum(one.counts.unchanged for one in outcomes)
    states = Counter(str(one.state) for one in outcomes)
    collections = sorted({collection for one in outcomes for collection in one.collections})
    return {
        "jobs": len(outcomes),
        "loaded": loaded,
        "unchanged": unchanged,
        "fallback": sum(one.counts.fallback for one in outcomes),
        "refused": sum(one.counts.refused for one in outcomes),
        # The one decision that is taken about an item, when it is loaded.
        "items_owned_by_other": sum(
            problem.code is Code.ITEM_OWNED_BY_OTHER for one in outcomes for problem in one.problems
        ),
        **{f"jobs_{state}": states.get(state, 0) for state in ("loaded", "partial", "rejected", "waiting")},
        "collections": len(collections),
        "collections_table": table(("collection",), ({"collection": name} for name in collections)),
        **problems_metadata([(one.claim.prefix, problem) for one in outcomes for problem in one.problems]),
        **throughput(loaded + unchanged, seconds),
    }


def problems_metadata(problems: Sequence[tuple[str, Problem]]) -> Metadata:
    """How many problems, and the first of them; without one, the number alone."""
    if not problems:
        return {"problems": 0}
    return {
        "problems": len(problems),
        "problems_table": table(
            ("job", "severity", "code", "message"),
            (
                {"job": job, "severity": str(one.severity), "code": str(one.code), "message": one.message}
                for job, one in problems
            ),
        ),
    }


def throughput(items: int, seconds: float) -> Metadata:
    """How long it took and how fast that was."""
    return {"seconds": round(seconds, 3), "items_per_second": round(items / seconds, 1) if seconds > 0 else 0.0}
