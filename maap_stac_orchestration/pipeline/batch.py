"""What passes from stage to stage. Everything here is frozen and can be pickled, since an IO manager carries it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from maap_stac_orchestration.catalog.datetimes import INDEXED
from maap_stac_orchestration.dps.job import Job
from maap_stac_orchestration.governance.decision import Decision
from maap_stac_orchestration.ledger.records import Batch, ClaimedJob, Pin, State
from maap_stac_orchestration.problems import Problem

__all__ = [
    "Batch",
    "ClaimedJob",
    "DecidedJob",
    "ItemCounts",
    "JobOutcome",
    "Pin",
    "ReadItem",
    "ReadJob",
]


@dataclass(frozen=True, slots=True)
class ReadItem:
    """An item that passed every check, as it will be written but for collection and provenance."""

    id: str
    requested_collection: str | None
    #: The document as JSON. A batch holds ten thousand of them at once, and as dictionaries they take five times the
    #: memory, which Python's garbage collector besides goes through again and again.
    packed: bytes
    source: Pin
    #: Warnings about this item (the errors of refused items stand under the job's problems).
    problems: tuple[Problem, ...] = ()
    #: What was mended in it, a sentence each; written into the item.
    repairs: tuple[str, ...] = ()

    @property
    def document(self) -> dict[str, Any]:
        """STAC Item document with absolute hrefs and without self/root/parent/collection links; a new one each time."""
        document: dict[str, Any] = orjson.loads(self.packed)
        return document

    @property
    def outline(self) -> dict[str, Any]:
        """Of the document no more than where and when: its `bbox`, and its `properties` with nothing but times."""
        document = self.document
        times = {name: value for name, value in document["properties"].items() if name in INDEXED}
        return {"bbox": document.get("bbox"), "properties": times}


@dataclass(frozen=True, slots=True)
class ReadJob:
    """What reading a job gave."""

    claim: ClaimedJob
    #: None where whose job it is could not be told; then there are no items.
    job: Job | None
    #: The username in the job metadata, for the identity check; None where there was no metadata to read.
    metadata_username: str | None
    items: tuple[ReadItem, ...]
    #: The job's own STAC Collection documents, in link order.
    collections: tuple[Mapping[str, Any], ...]
    #: Every document that was read.
    pins: tuple[Pin, ...]
    #: All problems of the job, those of its items included, in the order they were met.
    problems: tuple[Problem, ...]
    #: True where something missing may still arrive before the deadline: what is there is loaded, the job waits.
    awaiting: bool = False
    #: Until when it may, UTC: for assets that is sooner than for the rest. None where nothing is awaited.
    awaiting_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class DecidedJob:
    """A read job with one decision for each collection that its items request."""

    read: ReadJob
    #: Requested collection (None: nothing requested) -> decision.
    decisions: Mapping[str | None, Decision]


@dataclass(frozen=True, slots=True)
class ItemCounts:
    """How many items of a job went which way. `fallback` counts those of `loaded` and `unchanged` that were denied."""

    loaded: int = 0
    unchanged: int = 0
    fallback: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """How a job ended in this run, as it is committed to the ledger."""

    claim: ClaimedJob
    #: loaded, partial, rejected or waiting.
    state: State
    counts: ItemCounts
    problems: tuple[Problem, ...]
    #: Collections that this job wrote to.
    collections: tuple[str, ...] = ()
    #: A catalog changed while it was read, so the job is due again at once, and its end is still to come.
    again: bool = False
    #: Decisions about it that denied.
    denials: int = 0
