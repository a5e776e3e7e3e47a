"""Steps down the folders of a bucket, to the groups (username, algorithm, version, tag) that have jobs in it.

Here belongs how few requests find them: one for each folder above the timestamps, whatever lies below. Not here: tags
that begin like timestamps (`dated_tags`), and the jobs of a group (`spans`).

A folder costs one request a thousand names. What lies below a year costs none here, so neither the other days of a
group nor what its jobs wrote is felt. Folders far down are seldom tags: somebody keeps files there that are no outputs
of jobs. There the keys are asked for first, a thousand at once, and one request often says all about many folders.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile

from maap_stac_orchestration.discovery.dated_tags import all_years
from maap_stac_orchestration.discovery.pages import BEHIND, Page, Pages
from maap_stac_orchestration.discovery.steps import Departure, Seen, Step, Year
from maap_stac_orchestration.dps.output_prefix import (
    OUTPUT_FOLDER,
    SHARED_FOLDER,
    timestamp_pieces,
)

#: Tags have two or three folders; below so many, keys are asked for before folders are.
_USUAL_TAG_FOLDERS = 4
#: No job ran in others: four digits that say something else are a tag, like `0042`.
_PLAUSIBLE_YEARS = range(2010, 2100)
#: No output prefix holds such a folder.
_NO_NAMES = frozenset({"", ".", ".."})


@dataclass(frozen=True, slots=True)
class Root:
    """The root of a bucket, whose folders are users'."""

    token: str | None = None

    def take(self, pages: Pages) -> Seen:
        """A step for each user, and one for what users share."""
        page = pages.folders("", token=self.token)
        users = [Algorithms(f"{name}/{OUTPUT_FOLDER}/") for name in page.folders if name not in _NO_NAMES]
        shared = [Shared()] if SHARED_FOLDER in page.folders else []
        return Seen(steps=(*_further(page, Root(page.token)), *users, *shared))


@dataclass(frozen=True, slots=True)
class Shared:
    """The folder whose folders are users' too. What a user who is called shared has lies elsewhere."""

    token: str | None = None

    def take(self, pages: Pages) -> Seen:
        """A step for each user."""
        page = pages.folders(f"{SHARED_FOLDER}/", token=self.token)
        names = [name for name in page.folders if name not in _NO_NAMES and name != OUTPUT_FOLDER]
        users = [Algorithms(f"{SHARED_FOLDER}/{name}/{OUTPUT_FOLDER}/") for name in names]
        return Seen(steps=(*_further(page, Shared(page.token)), *users))


@dataclass(frozen=True, slots=True)
class Algorithms:
    """The folder of a user's outputs, whether there is one or not; whatever else they have is not looked at."""

    prefix: str
    token: str | None = None

    def take(self, pages: Pages) -> Seen:
        """A step for each algorithm."""
        page = pages.folders(self.prefix, token=self.token)
        algorithms = [Versions(f"{self.prefix}{name}/") for name in page.folders if name not in _NO_NAMES]
        return Seen(steps=(*_further(page, Algorithms(self.prefix, page.token)), *algorithms))


@dataclass(frozen=True, slots=True)
class Versions:
    """The folder of an algorithm."""

    prefix: str
    token: str | None = None

    def take(self, pages: Pages) -> Seen:
        """A step for each version."""
        page = pages.folders(self.prefix, token=self.token)
        versions = [Tags(f"{self.prefix}{name}/") for name in page.folders if name not in _NO_NAMES]
        return Seen(steps=(*_further(page, Versions(self.prefix, page.token)), *versions))


@dataclass(frozen=True, slots=True)
class Tags:
    """The folder of a version or, below it, of a tag: in it lie further folders of tags, and years."""

    prefix: str
    #: Folders of a tag down to it.
    depth: int = 0
    #: What its path ends with that spells the beginning of a timestamp; that of this group lies in it too.
    pieces: tuple[str, ...] = ()
    token: str | None = None

    def take(self, pages: Pages) -> Seen:
        """A step for each folder that is a part of a tag, and the years."""
        page = pages.folders(self.prefix, token=self.token)
        years: list[Year] = []
        departures: list[Departure] = []
        steps: list[Step] = _further(page, Tags(self.prefix, self.depth, self.pieces, page.token))
        for name in page.folders:
            if name in {".", ".."} or (self.pieces and timestamp_pieces((*self.pieces, name)) > len(self.pieces)):
                continue
            if timestamp_pieces((name,)):
                years.append(Year(self.prefix, int(name)))
                if int(name) not in _PLAUSIBLE_YEARS:
                    departures.append(Departure(f"{self.prefix}{name}/"))
            else:
                steps.append(tags(f"{self.prefix}{name}/", self.depth + 1))
        return Seen(steps=tuple(steps), years=tuple(years), departures=tuple(departures))


@dataclass(frozen=True, slots=True)
class DeepTags:
    """A folder far below a version."""

    prefix: str
    depth: int

    def take(self, pages: Pages) -> Seen:
        """The years of all groups in it where there are few keys; else a step to where folders part."""
        page = pages.objects(self.prefix)
        if not page.more:
            return all_years(self.prefix, page)
        below = self._common_folder(page)
        if below != self.prefix and not pages.objects(self.prefix, after=below + BEHIND, most=1).objects:
            return Seen(steps=(Tags(below, self.depth + below.count("/") - self.prefix.count("/")),))
        return Seen(steps=(Tags(self.prefix, self.depth),))

    def _common_folder(self, page: Page) -> str:
        """The folder that holds the whole page and is no part of a timestamp, however far down it is."""
        first, last = page.objects[0].key, page.objects[-1].key
        alike = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))))
        names = first[len(self.prefix) : alike].split("/")[:-1]
        common = takewhile(lambda name: not timestamp_pieces((name,)), names)
        return self.prefix + "".join(f"{name}/" for name in common)


def tags(prefix: str, depth: int) -> Step:
    """The step into a folder that is a part of a tag."""
    return Tags(prefix, depth) if depth <= _USUAL_TAG_FOLDERS else DeepTags(prefix, depth)


def departed(folder: str) -> Step:
    """The step into a folder in which a tag departs from what it had begun to spell, a timestamp."""
    names = folder.split("/")[:-1]
    # Of pieces that fit one behind the other, only the first has four digits.
    year = max(at for at, name in enumerate(names) if timestamp_pieces((name,)))
    return Tags(folder, pieces=tuple(names[year:]))


def _further(page: Page, step: Step) -> list[Step]:
    """The step to the next page where there is one."""
    return [step] if page.token else []
