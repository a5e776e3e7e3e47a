"""Metadata of materialisations: counts, bounded tables, links.

Here belongs how a stage's result is shown in the Dagster UI. Not here: the result itself. Tables in metadata are stored
twice and slow the UI above some dozens of rows, so they are cut; a link leads to all of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import dagster as dg

from maap_stac_orchestration.governance.decision import Decision
from maap_stac_orchestration.pipeline.batch import DecidedJob, JobOutcome, ReadJob
from maap_stac_orchestration.problems import Problem
from maap_stac_orchestration.settings import Settings

#: Rows of a table; beyond some dozens the UI becomes slow.
MOST_ROWS = 50
#: Characters of a cell; a message may quote what a job wrote.
_MOST_CHARACTERS = 300

Metadata = dict[str, Any]


def table(columns: Sequence[str], rows: Iterable[Mapping[str, str | int]]) -> dg.TableMetadataValue:
    """The first rows as a table, with the columns also where there is no row."""
    records = [
        dg.TableRecord({name: _clipped(row[name]) for name in columns})
        for row, _ in zip(rows, range(MOST_ROWS), strict=False)
    ]
    return dg.MetadataValue.table(records, dg.TableSchema([dg.TableColumn(name) for name in columns]))


def _clipped(value: str | int) -> str | int:
    if isinstance(value, str) and len(value) > _MOST_CHARACTERS:
        return value[: _MOST_CHARACTERS - 1] + "…"
    return value


def status_link(settings: Settings, run_id: str) -> Metadata:
    """A link to the jobs of a run in the status API; nothing where its address is not known."""
    if not settings.public_url:
        return {}
    return {
        "jobs_of_this_run": dg.MetadataValue.url(
            f"{settings.public_url.rstrip('/')}/jobs?{urlencode({'run_id': run_id})}"
        )
    }


def read_metadata(jobs: Sequence[ReadJob], seconds: float) -> Metadata:
    """What reading a batch came to."""
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


def decision_metadata(jobs: Sequence[DecidedJob], registry_version: str) -> Metadata:
    """What was decided for a batch."""
    decided = [(job, decision) for job in jobs for decision in job.decisions.values()]
    counts = Counter(str(decision.outcome) for _, decision in decided)
    # Denials first: they are what somebody may look for.
    decided.sort(key=lambda pair: _ORDER[str(pair[1].outcome)])
    return {
        "jobs": len(jobs),
        "decisions": len(decided),
        **{outcome: counts.get(outcome, 0) for outcome in _ORDER},
        "decisions_table": table(
            ("job", "requested", "decision", "collection", "rule"),
            (_decision_row(job, decision) for job, decision in decided),
        ),
        "registry_version": registry_version,
    }


#: Outcomes as they are shown, those that somebody may mind first.
_ORDER = {"reject": 0, "fallback": 1, "accept": 2, "default": 3}


def _decision_row(job: DecidedJob, decision: Decision) -> Mapping[str, str]:
    return {
        "job": job.read.claim.prefix,
        "requested": decision.requested or "",
        "decision": str(decision.code),
        "collection": decision.collection or "",
        "rule": decision.rule,
    }


def load_metadata(outcomes: Sequence[JobOutcome], seconds: float) -> Metadata:
    """What loading a batch came to."""
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
        **{f"jobs_{state}": states.get(state, 0) for state in ("loaded", "partial", "rejected", "waiting")},
        "collections": len(collections),
        "collections_table": table(("collection",), ({"collection": name} for name in collections)),
        **problems_metadata([(one.claim.prefix, problem) for one in outcomes for problem in one.problems]),
        **throughput(loaded + unchanged, seconds),
    }


def problems_metadata(problems: Sequence[tuple[str, Problem]]) -> Metadata:
    """How many problems, and the first of them."""
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
