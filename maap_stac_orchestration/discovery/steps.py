"""What a walk through a bucket is made of: a step asks for one or two pages and says where to go on.

Here belongs what all kinds of steps have in common. Not here: the steps (`groups`, `dated_tags`, `spans`) and who takes
them, several at once (`listing`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from maap_stac_orchestration.discovery.found import FoundCatalog
from maap_stac_orchestration.discovery.pages import Pages


class Step(Protocol):
    """Something still to be asked."""

    def take(self, pages: Pages) -> Seen:
        """Asks.

        Raises:
            SourceUnavailable: a request failed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Year:
    """A folder of a group (username, algorithm, version, tag) that is spelled like a year."""

    #: What the output prefixes of the group begin with, up to and with the slash before the timestamp.
    group: str
    year: int
    #: Whether tags that begin like dates were seen already, if there are any in it.
    searched: bool = False

    @property
    def folder(self) -> str:
        """The folder itself, ending in a slash."""
        return f"{self.group}{self.year:04}/"


@dataclass(frozen=True, slots=True)
class Departure:
    """A folder in which tags depart from what they had begun to spell, a timestamp; gone into once."""

    folder: str
    #: Of every group in it, where all are known; None where it has to be walked.
    years: tuple[Year, ...] | None = None


@dataclass(frozen=True, slots=True)
class Months:
    """The months of a year of a group that there are."""

    group: str
    year: int
    months: frozenset[int]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a step came to."""

    #: Where to go on, the next one last: a walk that goes down before it goes on has little to remember.
    steps: tuple[Step, ...] = ()
    years: tuple[Year, ...] = ()
    months: tuple[Months, ...] = ()
    catalogs: tuple[FoundCatalog, ...] = ()
    departures: tuple[Departure, ...] = ()
