"""What the ledger's functions take and give: frozen records and the states of a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import TypedDict

from maap_stac_orchestration.governance.decision import Decision, DecisionCode, Outcome
from maap_stac_orchestration.problems import Problem, ProblemDocument


class State(StrEnum):
    """Where a job stands."""

    #: A catalog is known and due.
    DISCOVERED = "discovered"
    #: A run holds it under a lease.
    INGESTING = "ingesting"
    #: Something is not there yet; what was there is loaded, and it is tried again at a set time.
    WAITING = "waiting"
    #: Ended: every item is in its collection.
    LOADED = "loaded"
    #: Ended: some items are in their collection, others were refused.
    PARTIAL = "partial"
    #: Ended: nothing could be loaded because of what the job wrote.
    REJECTED = "rejected"
    #: Ended: the infrastructure failed too often.
    FAILED = "failed"


#: States in which nothing more happens by itself.
TERMINAL = frozenset({State.LOADED, State.PARTIAL, State.REJECTED, State.FAILED})

#: States in which a job stays until somebody does something about it, those first that say least about its outputs.
BROKEN = (State.FAILED, State.REJECTED, State.PARTIAL)


#: How the names of runs begin that were none of Dagster's.
WITHOUT_DAGSTER = "ingest-"


@dataclass(frozen=True, slots=True)
class SeenCatalog:
    """A catalog object as an event or a listing reports it."""

    bucket: str
    key: str
    #: Without quotes.
    etag: str
    size: int | None
    #: UTC.
    last_modified: datetime
    version_id: str | None
    #: Where it was seen: `event`, `listing`, `inventory` or `request`.
    source: str
    #: 0 for live work; backfills give a lower priority, a larger number.
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Recorded:
    """What recording a number of seen catalogs changed."""

    #: Catalog versions that the ledger had not known.
    new: int
    #: Catalog versions that were known already.
    known: int
    #: Keys that lie in no output prefix; nothing was recorded for them.
    ignored: int


@dataclass(frozen=True, slots=True)
class DueDay:
    """A UTC day of output prefixes that has work to be claimed now."""

    day: date
    jobs: int
    #: The smallest priority number among them.
    priority: int
    #: Since when the longest waiting of them is due, UTC.
    since: datetime


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job that a run holds under a lease."""

    #: The ledger's row, None outside the ledger (`maap-stac check`).
    job_id: int | None
    bucket: str
    #: The output prefix, ending in `/`.
    prefix: str
    #: The catalogs of the job that the ledger knows: key -> etag.
    catalogs: Mapping[str, str]
    #: When the newest of those catalogs was last modified, UTC; "new wins over old" falls back on it.
    catalog_modified: datetime
    #: 1 for the first try of this version of the job.
    attempt: int = 1
    #: Rises with every new version of a catalog; a result for an older generation does not end the job.
    generation: int = 1
    #: Until when what is missing may still arrive, UTC.
    wait_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A job that is `failed` from now on: too many runs broke off while they had it."""

    prefix: str
    username: str
    algorithm: str
    version: str
    tag: str | None
    attempts: int
    #: The run that had it last.
    run_id: str | None


@dataclass(frozen=True, slots=True)
class Batch:
    """The jobs that one run took on, with the fencing token of their lease."""

    batch_id: str
    run_id: str
    jobs: tuple[ClaimedJob, ...]
    #: Jobs of the day that were not taken on again, but given up.
    given_up: tuple[GivenUp, ...] = ()


@dataclass(frozen=True, slots=True)
class Pin:
    """Which bytes were read: proof, and the means to read them again."""

    key: str
    etag: str
    version_id: str | None
    sha256: str
    size: int
    #: UTC; None where the store did not say.
    last_modified: datetime | None = None


class ItemResult(StrEnum):
    """What became of an item of a job."""

    #: Written to its collection.
    LOADED = "loaded"
    #: In its collection already, with the same content.
    UNCHANGED = "unchanged"
    #: Not written, because a newer job (or a newer catalog of this one) wrote the item before.
    OLDER = "older"
    #: Not written; a problem says why.
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class JobItem:
    """What became of one item of a job."""

    id: str
    result: ItemResult
    #: Key of the document that it was read from.
    source_key: str
    #: Where it is, or was to go; None where that was not decided.
    collection: str | None = None
    #: What the item asked for itself.
    requested_collection: str | None = None


@dataclass(frozen=True, slots=True)
class JobNames:
    """Algorithm, version and tag as the job metadata gives them."""

    algorithm: str
    version: str
    tag: str | None


@dataclass(frozen=True, slots=True)
class FinishedJob:
    """How a job ended in a run, as `outcomes.finish` writes it down."""

    claim: ClaimedJob
    #: loaded, partial, rejected or waiting.
    state: State
    #: Counts of items; `fallback` counts those of loaded and unchanged that were denied what they asked for.
    loaded: int = 0
    unchanged: int = 0
    fallback: int = 0
    refused: int = 0
    #: All problems, in the order they are to be told.
    problems: tuple[Problem, ...] = ()
    decisions: tuple[Decision, ...] = ()
    #: Collections that hold items of this job.
    collections: tuple[str, ...] = ()
    items: tuple[JobItem, ...] = ()
    #: Every document that was read; a nested catalog.json among them is recorded as a catalog of this job.
    pins: tuple[Pin, ...] = ()
    #: The names in the job metadata, which win over those in the output prefix; None where it was not read.
    names: JobNames | None = None
    #: For a waiting job: when it is tried again at the latest, UTC; None leaves that to the job's own deadline.
    awaiting_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """What became of the outcomes that a run handed in. The sets hold the ledger's numbers of jobs."""

    #: Written down.
    accepted: frozenset[int]
    #: Of those, the ones that are due again at once, because a catalog changed after it was read.
    again: frozenset[int]
    #: Not written down: another run holds the job by now. What this run wrote for them must not be committed.
    lost: frozenset[int]


@dataclass(frozen=True, slots=True)
class KnownItem:
    """Who wrote an item of a collection last, from what."""

    collection: str
    id: str
    #: None where the job is no longer known.
    job_id: int | None
    username: str
    #: The timestamp of the job's output prefix, UTC.
    job_time: datetime
    #: When the job's newest catalog was last modified, UTC.
    catalog_modified: datetime
    #: `catalog.provenance.content_hash` of what was written.
    content_hash: str
    source_key: str
    source_etag: str
    source_sha256: str
    #: None outside Dagster.
    run_id: str | None


@dataclass(frozen=True, slots=True)
class KnownCollection:
    """A collection that this system made or took over."""

    id: str
    #: The user whose job made it; None for those that were there before.
    owner: str | None
    #: The output prefix of the job that made it.
    job_prefix: str | None
    created_at: datetime
    #: When items were last written to it, None for never.
    changed_at: datetime | None
    #: When its extent and summaries were last brought up to date.
    refreshed_at: datetime | None


@dataclass(frozen=True, slots=True)
class RunBatch:
    """A claim of the past: which run took how much."""

    batch_id: str
    run_id: str
    day: date
    claimed_at: datetime
    jobs: int


@dataclass(frozen=True, slots=True)
class RegistryLoad:
    """One try to put a registry in force."""

    #: Content hash.
    version: str
    #: Path or address.
    source: str
    loaded_at: datetime
    ok: bool
    #: Why it was refused, None where it was not.
    error: str | None
    content: str


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to list. What is None is not asked about; everything that is given must hold."""

    username: str | None = None
    algorithm: str | None = None
    version: str | None = None
    tag: str | None = None
    state: State | None = None
    #: Jobs with items in this collection.
    collection: str | None = None
    #: Jobs that this run took on, whoever ended them.
    run_id: str | None = None
    #: Jobs that ran at this time (UTC, by their output prefix) or later.
    since: datetime | None = None
    #: Jobs that ran before this time, so that a day ends where the next one begins.
    until: datetime | None = None
    #: Jobs with a problem of this code.
    code: str | None = None


class ItemCountsDocument(TypedDict):
    """Counts of items in the contract's form."""

    loaded: int
    unchanged: int
    fallback: int
    refused: int


class JobDocument(TypedDict):
    """A job in the contract's form, as `/jobs` and `jobs --json` list it."""

    prefix: str
    username: str
    algorithm: str
    version: str
    tag: str | None
    time: str
    state: str
    items: ItemCountsDocument
    problems: list[str]
    updated: str


@dataclass(frozen=True, slots=True)
class JobSummary:
    """A job as lists show it."""

    job_id: int
    bucket: str
    prefix: str
    username: str
    algorithm: str
    version: str
    tag: str | None
    #: UTC.
    time: datetime
    state: State
    loaded: int
    unchanged: int
    fallback: int
    refused: int
    #: Codes of its problems, each once, in order of the alphabet.
    problem_codes: tuple[str, ...]
    collections: tuple[str, ...]
    #: The run that took it on last.
    run_id: str | None
    discovered: datetime
    updated: datetime
    #: When it is tried again, None for ended jobs.
    due: datetime | None

    def to_document(self) -> JobDocument:
        """The contract's form."""
        return {
            "prefix": self.prefix,
            "username": self.username,
            "algorithm": self.algorithm,
            "version": self.version,
            "tag": self.tag,
            "time": timestamp(self.time),
            "state": str(self.state),
            "items": {
                "loaded": self.loaded,
                "unchanged": self.unchanged,
                "fallback": self.fallback,
                "refused": self.refused,
            },
            "problems": list(self.problem_codes),
            "updated": timestamp(self.updated),
        }


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page of jobs, newest first."""

    jobs: tuple[JobSummary, ...]
    #: What gets the next page, None on the last one.
    next_token: str | None


@dataclass(frozen=True, slots=True)
class Transition:
    """A job came into a state."""

    state: State
    at: datetime
    run_id: str | None
    attempt: int
    #: Why, where that is not plain; one sentence.
    reason: str | None


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """A decision as it stands in the audit trail."""

    decision: Decision
    username: str
    algorithm: str
    version: str
    tag: str | None
    job_prefix: str
    at: datetime
    run_id: str | None


@dataclass(frozen=True, slots=True)
class RecordedCatalog:
    """A version of a catalog that the ledger knows."""

    key: str
    etag: str
    version_id: str | None
    size: int | None
    last_modified: datetime
    #: `event`, `listing`, `inventory`, `request`, or `read` for nested ones that were met while reading the job.
    source: str
    seen_at: datetime
    #: Whether it is the newest version of its key.
    current: bool


@dataclass(frozen=True, slots=True)
class JobDetail:
    """Everything that the ledger knows of a job."""

    summary: JobSummary
    transitions: tuple[Transition, ...]
    #: All that were ever taken for this job, oldest first.
    decisions: tuple[RecordedDecision, ...]
    problems: tuple[ProblemDocument, ...]
    items: tuple[JobItem, ...]
    catalogs: tuple[RecordedCatalog, ...]
    documents: tuple[Pin, ...]
    attempt: int
    generation: int
    #: Until when what is missing may still arrive.
    wait_until: datetime | None

    def told_decisions(self) -> tuple[tuple[RecordedDecision, ...], tuple[RecordedDecision, ...]]:
        """The decisions in force, the last about each collection that the items ask for now, and those before, newest
        first.

        Where no item could be read, the default collection that one would have had is of no interest, and in neither. A
        decision that is taken again with the same answer is not written down again, so neither runs nor times tell.
        """
        asked = {one.requested_collection for one in self.items}
        told = [one for one in self.decisions if asked or one.decision.outcome is not Outcome.DEFAULT]
        last: dict[tuple[str | None, bool], RecordedDecision] = {}
        for one in told:
            if not asked or one.decision.requested in asked:
                last[one.decision.requested, one.decision.code is DecisionCode.ITEM_OWNED_BY_OTHER] = one
        # By identity: a job may ask for as many collections as it has items, and comparing each with each took minutes.
        kept = {id(one) for one in last.values()}
        return tuple(last.values()), tuple(one for one in reversed(told) if id(one) not in kept)


@dataclass(frozen=True, slots=True)
class GroupSummary:
    """How a group of jobs is doing."""

    #: Name of the field -> its value, for example `{"username": "ana", "tag": "demo"}`.
    group: Mapping[str, str | None]
    #: State -> number of jobs; states that no job is in are left out.
    states: Mapping[str, int]
    jobs: int
    loaded: int
    unchanged: int
    fallback: int
    refused: int
    #: When any of them changed last, UTC.
    updated: datetime


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, with microseconds where there are any."""
    text = moment.astimezone(UTC).isoformat()
    return text.replace("+00:00", "Z")
