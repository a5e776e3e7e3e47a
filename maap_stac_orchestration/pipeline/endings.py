"""How jobs ended: what their end is called, what goes into the ledger, and what is told in the log.

Pure but for the log. Not here: what became of each item (`write`), and writing it down (`ledger.outcomes`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from maap_stac_orchestration import log_events
from maap_stac_orchestration.dps.output_prefix import parse_output_prefix
from maap_stac_orchestration.governance.decide import owned_by_other, problem_of
from maap_stac_orchestration.governance.decision import Decision, Outcome
from maap_stac_orchestration.ledger.records import FinishedJob, ItemResult, JobItem, JobNames, State
from maap_stac_orchestration.ledger.texts import LONGEST_NAME, storable, storable_or_none
from maap_stac_orchestration.pipeline.batch import ItemCounts, JobOutcome
from maap_stac_orchestration.pipeline.decide import requested
from maap_stac_orchestration.pipeline.plan import Plan
from maap_stac_orchestration.pipeline.write import Settled
from maap_stac_orchestration.problems import Code, Problem, Severity

#: Collections that a log event names.
_TOLD_COLLECTIONS = 50

#: Problems that say of one item that it was refused when it was read.
_ITEM_REFUSED = frozenset(
    {
        Code.ITEM_UNREADABLE,
        Code.ITEM_INVALID,
        Code.ITEM_ID_UNSAFE,
        Code.GEOMETRY_INVALID,
        Code.DATETIME_INVALID,
    }
)


def finished_job(plan: Plan, settled: Settled) -> FinishedJob:
    """How a job ended."""
    read = plan.decided.read
    results = [(candidate, settled.results[id(candidate)]) for candidate in plan.candidates]
    problems = [
        *read.problems,
        *plan.denials,
        *(settled.problems[id(one)] for one in plan.candidates if id(one) in settled.problems),
    ]
    kept = [candidate for candidate, result in results if result is not ItemResult.REFUSED]
    items = [
        JobItem(one.item.id, result, one.item.source.key, one.collection, requested(one.item.requested_collection))
        for one, result in results
    ]
    items += [
        JobItem(item.id, ItemResult.REFUSED, item.source.key, None, requested(item.requested_collection))
        for item in plan.denied
    ]
    return FinishedJob(
        claim=read.claim,
        state=state_of(plan, problems, kept=bool(kept)),
        loaded=sum(result is ItemResult.LOADED for _, result in results),
        # An item of which a newer version is there did not have to be written either.
        unchanged=sum(result in (ItemResult.UNCHANGED, ItemResult.OLDER) for _, result in results),
        fallback=sum(candidate.fallback for candidate in kept),
        refused=refused_reading(read.problems)
        + len(plan.denied)
        + sum(result is ItemResult.REFUSED for _, result in results),
        problems=tuple(problems),
        decisions=(*plan.decided.decisions.values(), *_owned_by_others(plan, settled)),
        collections=tuple(sorted({candidate.collection for candidate in kept})),
        items=tuple(items),
        pins=read.pins,
        names=None if read.job is None else JobNames(read.job.algorithm, read.job.version, read.job.tag),
        awaiting_until=read.awaiting_until,
    )


def _owned_by_others(plan: Plan, settled: Settled) -> list[Decision]:
    """For the audit trail: one decision for each collection in which items of the job belong to other users."""
    refused: dict[str, list[str]] = defaultdict(list)
    for one in plan.candidates:
        problem = settled.problems.get(id(one))
        if problem is not None and problem.code is Code.ITEM_OWNED_BY_OTHER:
            refused[one.collection].append(one.item.id)
    return [
        owned_by_other(collection, ids, next(iter(plan.decided.decisions.values())).registry_version)
        for collection, ids in sorted(refused.items())
    ]


def state_of(plan: Plan, problems: Sequence[Problem], *, kept: bool) -> State:
    """What a job's end is called. A denial whose items found their place in the default collection is on record, and
    costs nothing."""
    if plan.identity_mismatch:
        return State.REJECTED
    if plan.decided.read.awaiting:
        return State.WAITING
    harmless = {
        problem_of(decision) for decision in plan.decided.decisions.values() if decision.outcome is Outcome.FALLBACK
    }
    refused = any(problem.severity is Severity.ERROR and problem not in harmless for problem in problems)
    if not refused:
        return State.LOADED
    return State.PARTIAL if kept else State.REJECTED


def refused_reading(problems: Sequence[Problem]) -> int:
    """How many items were refused before anything was decided: an item with three faults is one item, an id that
    stands three times is two items too many."""
    faulty = {problem.object for problem in problems if problem.code in _ITEM_REFUSED}
    return len(faulty) + sum(problem.code is Code.ITEM_DUPLICATE for problem in problems)


def outcome_of(finished: FinishedJob, *, again: bool) -> JobOutcome:
    """The same for who runs the stages; `again` where a catalog changed meanwhile."""
    return JobOutcome(
        claim=finished.claim,
        state=finished.state,
        counts=ItemCounts(finished.loaded, finished.unchanged, finished.fallback, finished.refused),
        problems=finished.problems,
        collections=finished.collections,
        again=again,
        denials=sum(one.outcome in (Outcome.FALLBACK, Outcome.REJECT) for one in finished.decisions),
    )


def tell_end(plan: Plan, finished: FinishedJob) -> None:
    """Writes a log event for a job that ended or waits, in the spelling that stands in the ledger."""
    claim, names = finished.claim, finished.names
    prefix = parse_output_prefix(claim.prefix)
    common: dict[str, Any] = {
        "job": claim.prefix,
        "username": prefix.username,
        "algorithm": storable(names.algorithm if names else prefix.algorithm, LONGEST_NAME),
        "version": storable(names.version if names else prefix.version, LONGEST_NAME),
        "tag": storable_or_none(names.tag if names else prefix.tag, LONGEST_NAME),
        "items_loaded": finished.loaded,
        "items_unchanged": finished.unchanged,
        "items_fallback": finished.fallback,
        "items_refused": finished.refused,
        "problems": sorted({str(problem.code) for problem in finished.problems}),
        "attempt": claim.attempt,
    }
    if finished.state is State.WAITING:
        log_events.emit(log_events.Event.JOB_WAITING, **common)
        return
    lag = (datetime.now(UTC) - claim.catalog_modified).total_seconds()
    log_events.emit(
        log_events.Event.JOB_ENDED,
        **common,
        state=str(finished.state),
        collections=[storable(one) for one in finished.collections[:_TOLD_COLLECTIONS]],
        lag_seconds=round(max(lag, 0.0), 3),
    )


def tell_decisions(plan: Plan, finished: FinishedJob) -> None:
    """Writes a log event for each decision about a job, in the spelling that stands in the audit trail."""
    job = plan.job
    if job is None:
        return
    for decision in finished.decisions:
        log_events.emit(
            log_events.Event.DECISION,
            job=finished.claim.prefix,
            username=job.username,
            algorithm=storable(job.algorithm, LONGEST_NAME),
            version=storable(job.version, LONGEST_NAME),
            tag=storable_or_none(job.tag, LONGEST_NAME),
            requested=storable_or_none(decision.requested),
            decision=str(decision.code),
            outcome=str(decision.outcome),
            collection=storable_or_none(decision.collection),
            rule=storable(decision.rule),
            registry_version=decision.registry_version,
        )
