"""A DPS job as its output prefix and its metadata describe it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class OutputPrefix:
    """Everything of a key up to and with the timestamp: what identifies a job inside its bucket."""

    #: The prefix itself, ending in `/`.
    key: str
    #: The first segment, below `shared/` the second: storage permissions bind a user to it, so it is who the job
    #: belongs to.
    username: str
    #: The folder of the algorithm; jobs of today's layout append `_{N}` to the algorithm's name.
    algorithm: str
    version: str
    #: What stands between version and timestamp, slashes kept; None where nothing does.
    tag: str | None
    #: When the job ran, UTC, to the microsecond.
    time: datetime

    @property
    def day(self) -> date:
        """The UTC day, which is the job's partition."""
        return self.time.date()

    @property
    def group(self) -> str:
        """What comes before the timestamp, which the jobs of one user, algorithm, version and tag have in common."""
        return self.key[: -len("YYYY/MM/DD/HH/mm/ss/ffffff/")]


@dataclass(frozen=True, slots=True)
class JobMetadata:
    """The `.met.json` sidecar."""

    username: str
    algorithm_name: str
    algorithm_version: str
    #: None where the job has none (null, absent or empty).
    tag: str | None
    #: The other keys, as they were.
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """Who ran what, when: the output prefix and the metadata brought together, the metadata's names winning."""

    bucket: str
    prefix: OutputPrefix
    algorithm: str
    version: str
    tag: str | None

    @property
    def username(self) -> str:
        """Who the job belongs to, by the key."""
        return self.prefix.username

    @property
    def time(self) -> datetime:
        """When the job ran, UTC."""
        return self.prefix.time
