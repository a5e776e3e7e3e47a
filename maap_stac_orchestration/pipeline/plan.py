"""What of a batch goes where, as its decisions have it: pure, nothing is looked up here and nothing written.

Here belong a job's items on their way into collections, what makes one newer than another, and which jobs have to be
loaded together. Not here: the decisions (`decide`), what becomes of the items (`write`), and their order in time
(`load`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from maap_stac_orchestration.catalog.provenance import with_provenance
from maap_stac_orchestration.dps.job import Job
from maap_stac_orchestration.governance.decide import problem_of
from maap_stac_orchestration.governance.decision import Decision, DecisionCode, Outcome
from maap_stac_orchestration.ledger.id_moves import RawNames
from maap_stac_orchestration.ledger.old_copies import Place
from maap_stac_orchestration.pipeline.batch import DecidedJob, ReadItem
from maap_stac_orchestration.pipeline.decide import requested
from maap_stac_orchestration.pipeline.moved import Placement
from maap_stac_orchestration.problems import Problem


@dataclass(slots=True)
class Candidate:
    """An item on its way into a collection."""

    plan: Plan
    item: ReadItem
    collection: str
    fallback: bool

    @property
    def order(self) -> tuple[datetime, datetime, str]:
        """What makes it newer than another of the same id."""
        job = self.plan.job
        assert job is not None
        return (job.time, self.plan.decided.read.claim.catalog_modified, self.item.source.key)

    @property
    def username(self) -> str:
        """Whose job it comes from."""
        assert self.plan.job is not None
        return self.plan.job.username

    @property
    def place(self) -> Place:
        """Where the ledger has it as an item of its job."""
        job_id = self.plan.decided.read.claim.job_id
        assert job_id is not None
        return Place(job_id, self.collection, self.item.id)

    @property
    def placement(self) -> Placement:
        """The same with what tells whether an older copy of it goes."""
        job = self.plan.job
        assert job is not None
        names = RawNames(job.username, job.algorithm, job.version, job.tag)
        return Placement(self.place, names, decision_of(self).outcome is not Outcome.ACCEPT)

    def document(self) -> dict[str, Any]:
        """As it is written."""
        assert self.plan.job is not None
        return with_provenance(
            self.item.document,
            collection=self.collection,
            job=self.plan.job,
            source_key=self.item.source.key,
            run_id=self.plan.run_id,
            repairs=self.item.repairs,
        )


@dataclass(slots=True)
class Plan:
    """What is to be done for one job: pure, from its decisions."""

    index: int
    decided: DecidedJob
    run_id: str
    candidates: list[Candidate] = field(default_factory=list)
    #: Items that go nowhere by decision.
    denied: list[ReadItem] = field(default_factory=list)
    #: Denials, as problems of the job.
    denials: list[Problem] = field(default_factory=list)

    @property
    def job(self) -> Job | None:
        """None where whose job it is could not be told."""
        return self.decided.read.job

    @property
    def identity_mismatch(self) -> bool:
        """Whether the job says it is another user's than its key."""
        return any(one.code is DecisionCode.IDENTITY_MISMATCH for one in self.decided.decisions.values())


def plan_of(index: int, decided: DecidedJob, run_id: str) -> Plan:
    """What the decisions of one job, the `index`th of its batch, ask for."""
    plan = Plan(index, decided, run_id)
    for item in decided.read.items:
        decision = decided.decisions[requested(item.requested_collection)]
        if decision.collection is None:
            plan.denied.append(item)
        else:
            plan.candidates.append(Candidate(plan, item, decision.collection, decision.outcome is Outcome.FALLBACK))
    prefix = decided.read.claim.prefix
    for decision in decided.decisions.values():
        about = prefix if decision.code is DecisionCode.IDENTITY_MISMATCH else None
        problem = problem_of(decision, about)
        # Every decision says the same of an identity.
        if problem is not None and problem not in plan.denials:
            plan.denials.append(problem)
    return plan


def following(decided: DecidedJob, moved: Mapping[str, str]) -> DecidedJob:
    """The job with its items on their way to where the collections were moved that it was decided for."""
    if not any(decision.collection in moved for decision in decided.decisions.values()):
        return decided
    decisions = {}
    for wanted, decision in decided.decisions.items():
        if (target := moved.get(decision.collection or "")) is not None:
            message = f"{decision.message} {decision.collection} was moved meanwhile, so they go to {target}."
            decision = replace(decision, collection=target, message=message)
        decisions[wanted] = decision
    return replace(decided, decisions=decisions)


def groups_of(plans: Sequence[Plan]) -> Iterator[list[Plan]]:
    """Jobs that write to the same collections, directly or through others, together; those that write nothing are one
    group as well."""
    leader: dict[str, str] = {}

    def lead(collection: str) -> str:
        while leader[collection] != collection:
            leader[collection] = leader[leader[collection]]
            collection = leader[collection]
        return collection

    for plan in plans:
        targets = [candidate.collection for candidate in plan.candidates]
        for collection in targets:
            leader.setdefault(collection, collection)
            leader[lead(collection)] = lead(targets[0])
    groups: dict[str | None, list[Plan]] = defaultdict(list)
    for plan in plans:
        groups[lead(plan.candidates[0].collection) if plan.candidates else None].append(plan)
    yield from groups.values()


def together(groups: Iterable[list[Plan]], *, collections: int, items: int) -> Iterator[list[list[Plan]]]:
    """The groups in their order, in portions of at most so many collections and items; one group may be more."""
    portion: list[list[Plan]] = []
    touched, taken = 0, 0
    for group in groups:
        here = len({candidate.collection for plan in group for candidate in plan.candidates})
        number = sum(len(plan.candidates) for plan in group)
        if portion and (touched + here > collections or taken + number > items):
            yield portion
            portion, touched, taken = [], 0, 0
        portion.append(group)
        touched += here
        taken += number
    if portion:
        yield portion


def refuse(plans: Sequence[Plan], impossible: Mapping[str, Problem]) -> None:
    """Items whose collection there cannot be go nowhere: somebody has to look at it, and the job says so."""
    for plan in plans:
        kept = [candidate for candidate in plan.candidates if candidate.collection not in impossible]
        if len(kept) == len(plan.candidates):
            continue
        plan.denied += [candidate.item for candidate in plan.candidates if candidate.collection in impossible]
        names = sorted({candidate.collection for candidate in plan.candidates if candidate.collection in impossible})
        plan.denials += [impossible[name] for name in names]
        plan.candidates = kept


def candidates_by_collection(plans: Sequence[Plan]) -> dict[str, list[Candidate]]:
    """Collection id -> what is on its way there, in the order of the plans."""
    found: dict[str, list[Candidate]] = defaultdict(list)
    for plan in plans:
        for candidate in plan.candidates:
            found[candidate.collection].append(candidate)
    return found


def oldest_of(candidates: Sequence[Candidate]) -> Candidate:
    """The one that comes first."""
    return min(candidates, key=lambda one: one.order)


def decision_of(candidate: Candidate) -> Decision:
    """The decision that sends it where it goes."""
    return candidate.plan.decided.decisions[requested(candidate.item.requested_collection)]
