"""What the ledger's functions take and give: frozen records and the states of a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum


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
class Batch:
    """The jobs that one run took on, with the fencing token of their lease."""

    batch_id: str
    run_id: str
    jobs: tuple[ClaimedJob, ...]


@dataclass(frozen=True, slots=True)
class Pin:
    """Which bytes were read: proof, and the means to read them again."""

    key: str
    etag: str
    version_id: str | None
    sha256: str
    size: int
