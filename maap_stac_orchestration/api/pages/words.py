"""What states and counts are called on pages, in sentences.

Here belongs how a state is told to a person who never read the documentation. Not here: the words of problems
(`problems`) and of decisions (`governance`), which come with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from maap_stac_orchestration.api.pages.rendering import plural
from maap_stac_orchestration.ledger.records import TERMINAL, JobSummary, State


@dataclass(frozen=True, slots=True)
class StateWords:
    """How a state is told."""

    label: str
    #: One sentence: what it means.
    meaning: str


STATES: Mapping[State, StateWords] = {
    State.DISCOVERED: StateWords("Discovered", "Its catalog came to notice; a run will take it on."),
    State.INGESTING: StateWords("Ingesting", "A run is reading, checking and loading it."),
    State.WAITING: StateWords("Waiting", "Something is not there yet; what was there is loaded, more may come."),
    State.LOADED: StateWords("Loaded", "Every item is in its collection."),
    State.PARTIAL: StateWords("Partial", "Some items are in their collection, others were refused."),
    State.REJECTED: StateWords("Rejected", "Nothing could be loaded because of what the job wrote."),
    State.FAILED: StateWords("Failed", "The infrastructure failed too often; the job itself may be fine."),
}

#: In the order of progress bars: what is done first, what is still to come last.
ORDER = (
    State.LOADED,
    State.PARTIAL,
    State.REJECTED,
    State.FAILED,
    State.WAITING,
    State.INGESTING,
    State.DISCOVERED,
)


class ItemCounts(Protocol):
    """What has counts of items, as `JobSummary` has."""

    @property
    def loaded(self) -> int: ...
    @property
    def unchanged(self) -> int: ...
    @property
    def fallback(self) -> int: ...
    @property
    def refused(self) -> int: ...


def item_notes(counts: ItemCounts) -> list[str]:
    """What is to be said of items beside how many are in their collection."""
    notes = []
    if counts.refused:
        notes.append(f"{counts.refused:,} refused")
    if counts.fallback:
        notes.append(f"{counts.fallback:,} in the default collection")
    return notes


def progress(states: Mapping[State, int]) -> str:
    """`3 of 4 jobs have ended` in words."""
    jobs = sum(states.values())
    ended = sum(count for state, count in states.items() if state in TERMINAL)
    if ended == jobs:
        return f"{plural(jobs, 'job')}, all ended" if jobs != 1 else "1 job, ended"
    return f"{ended:,} of {plural(jobs, 'job')} ended"


def job_sentence(job: JobSummary, *, older: int = 0) -> str:
    """What became of a job, in a sentence or two.

    Args:
        job: the job.
        older: items that were left alone because a newer job wrote them.
    """
    there = job.loaded + job.unchanged
    items = there + job.refused + older
    told = _ended(job, there, items)
    if job.state in (State.LOADED, State.PARTIAL, State.WAITING):
        if older:
            them = "it" if older == 1 else "them"
            told += f" {plural(older, 'item')} {_were(older)} left alone, because a newer job had written {them}."
        if job.unchanged and job.unchanged == there:
            told += " Nothing had changed since it was loaded before."
        if job.fallback:
            which = "All" if job.fallback == there and there > 1 else f"{job.fallback:,} of them" if there > 1 else "It"
            told += f" {which} went to the default collection, because the one asked for was denied."
    return told


def _ended(job: JobSummary, there: int, items: int) -> str:
    match job.state:
        case State.DISCOVERED:
            return "Its catalog came to notice. The next free run takes it on."
        case State.INGESTING:
            return "A run is reading, checking and loading it now."
        case State.WAITING:
            loaded = f" {plural(there, 'item')} {_were(there)} loaded so far." if there else ""
            return f"Something that the job names is not there yet.{loaded}"
        case State.LOADED if items == 0:
            return "There was nothing to load: its catalog holds no items."
        case State.LOADED if items == there == 1:
            return "Loaded its one item."
        case State.LOADED if items == there:
            return f"Loaded all {items:,} items."
        case State.LOADED:
            return f"Loaded {there:,} of {plural(items, 'item')}."
        case State.PARTIAL:
            refused = "one was" if job.refused == 1 else f"{job.refused:,} were"
            return f"Loaded {there:,} of {plural(items, 'item')}; {refused} refused."
        case State.REJECTED if job.refused == 1:
            return "Nothing was loaded: its one item was refused."
        case State.REJECTED if job.refused:
            return f"Nothing was loaded: all {job.refused:,} items were refused."
        case State.REJECTED:
            return "Nothing was loaded: the job was refused as a whole."
        case State.FAILED:
            return "It could not be ingested: runs that took it on broke. Your files may be fine; try it again."


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
