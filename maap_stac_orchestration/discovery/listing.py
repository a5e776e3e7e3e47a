"""Listing the catalogs of given days, where no queue tells of them, or to see whether a queue has told of all.

Here belongs in which order a bucket is walked, several steps at once, and when a day was seen whole. Not here: the
steps (`groups`, `dated_tags`, `spans`) and what becomes of the catalogs (`pipeline.discover`).

A bucket lists keys in the order of their bytes, and a day lies below each group (username, algorithm, version, tag). So
the groups are walked folder by folder, which costs one request each, and one more each for the days of a month that are
asked for. A listing of many months walks the groups once, keeps them in a file, and takes the months one by one, newest
first: whoever is interrupted can go on with the months that are left.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING

from maap_stac_orchestration.discovery.dated_tags import Look, Search
from maap_stac_orchestration.discovery.found import FoundCatalog
from maap_stac_orchestration.discovery.groups import Root, departed
from maap_stac_orchestration.discovery.pages import Pages
from maap_stac_orchestration.discovery.spans import AskMonths, spans
from maap_stac_orchestration.discovery.steps import Departure, Seen, Step, Year
from maap_stac_orchestration.dps.output_prefix import dated_folders

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: Bytes of groups that are kept in memory, some ten thousand of them; more go to a file.
_GROUPS_IN_MEMORY = 1_000_000
#: Of so many months of a year and more it is asked first which there are.
_MANY_MONTHS = 3


@dataclass(frozen=True, slots=True)
class Whole:
    """Days of which every catalog has been given."""

    days: frozenset[date]


#: Catalogs of one step, or the days that are through.
News = tuple[FoundCatalog, ...] | Whole


def list_catalogs(
    client: S3Client,
    bucket: str,
    days: Collection[date],
    *,
    concurrency: int = 16,
    search: Search = Search.AMONG,
    known_groups: Iterable[str] = (),
) -> Generator[News, None, None]:
    """The catalogs of the jobs of `days` (UTC), as they are met, and which days are through, newest first.

    Of a job with a catalog.json at its root only that one is given, otherwise every catalog.json in it. What takes as
    much memory as there are groups lies in a temporary file.

    Args:
        client: reads the bucket, from as many threads at once as `concurrency` says.
        bucket: the bucket.
        days: the days of the output prefixes.
        concurrency: requests that are under way at once.
        search: how thoroughly to look for tags that begin like timestamps.
        known_groups: what output prefixes with such tags begin with, where it is known already; walked in any case.

    Raises:
        SourceUnavailable: a request failed; what has not been given by then is unknown.
    """
    with closing(_Walk(Pages(client, bucket), days, search, concurrency)) as walk:
        yield from walk.run(known_groups)


class _Walk:
    """A walk on its way."""

    def __init__(self, pages: Pages, days: Collection[date], search: Search, concurrency: int) -> None:
        self._pages = pages
        self._search = search
        self._concurrency = concurrency
        #: Year -> the days wanted of it.
        self._days = {year: frozenset(some) for year, some in groupby(sorted(days), key=lambda day: day.year)}
        newest_first = sorted(set(days), reverse=True)
        #: By month.
        self._parts = [frozenset(some) for _, some in groupby(newest_first, key=lambda day: (day.year, day.month))]
        #: What is next stands last: a walk that goes down before it goes on has little to remember.
        self._steps: list[Step] = []
        self._departed: set[str] = set()
        #: A line for each group and year: the group, the year, its months or null for all. None while the days of
        #: groups are listed as soon as they are known.
        self._groups: IO[str] | None = None
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="listing")

    def close(self) -> None:
        """Waits for the requests that are under way."""
        self._pool.shutdown(cancel_futures=True)

    def run(self, known_groups: Iterable[str]) -> Iterator[News]:
        """Walks."""
        self._steps.append(Root())
        for group in known_groups:
            self._depart(map(Departure, dated_folders(group)))
        if len(self._parts) == 1:
            yield from self._take_all(iter(()))
            yield Whole(self._parts[0])
            return
        with SpooledTemporaryFile(_GROUPS_IN_MEMORY, "w+", encoding="utf-8", newline="\n") as groups:
            self._groups = groups
            # No catalog is met on the way but in folders of tags that begin like timestamps.
            yield from self._take_all(iter(()))
            self._groups = None
            for part in self._parts:
                groups.seek(0)
                yield from self._take_all(_spans_of(groups, part))
                yield Whole(part)

    def _take_all(self, further: Iterator[Step]) -> Iterator[tuple[FoundCatalog, ...]]:
        """Takes the steps there are, those that they lead to, and further ones as there is time; gives catalogs."""
        taken: set[Future[Seen]] = set()
        while True:
            while len(taken) < self._concurrency:
                step = self._steps.pop() if self._steps else next(further, None)
                if step is None:
                    break
                taken.add(self._pool.submit(step.take, self._pages))
            if not taken:
                return
            done, taken = wait(taken, return_when=FIRST_COMPLETED)
            for future in done:
                seen = future.result()
                self._steps += seen.steps
                self._depart(seen.departures)
                for year in seen.years:
                    self._go_into(year)
                for months in seen.months:
                    self._go_on(months.group, months.year, months.months)
                if seen.catalogs:
                    yield seen.catalogs

    def _depart(self, departures: Iterable[Departure]) -> None:
        """Goes into folders in which tags depart from timestamps, each once."""
        for departure in departures:
            if departure.folder in self._departed:
                continue
            self._departed.add(departure.folder)
            if departure.years is None:
                self._steps.append(departed(departure.folder))
                continue
            for year in departure.years:
                # What else of it is spelled like a timestamp is known with it.
                self._departed.update(dated_folders(year.group))
                self._go_into(year)

    def _go_into(self, year: Year) -> None:
        if self._search is not Search.KNOWN and not year.searched:
            self._steps.append(Look(year, self._search))
        wanted = {day.month for day in self._days.get(year.year, ())}
        if self._groups is not None and len(wanted) >= _MANY_MONTHS:
            self._steps.append(AskMonths(year.group, year.year))
        elif wanted:
            self._go_on(year.group, year.year, wanted)

    def _go_on(self, group: str, year: int, months: Collection[int]) -> None:
        """Lists the days of a group, now or when their month is due."""
        if self._groups is None:
            self._steps += spans(group, [day for day in self._days[year] if day.month in months])
        else:
            self._groups.write(json.dumps([group, year, sorted(months)]) + "\n")


def _spans_of(groups: IO[str], days: frozenset[date]) -> Iterator[Step]:
    """The steps for days of one month of all the groups that were written down."""
    of = min(days)
    for line in groups:
        group, year, months = json.loads(line)
        if year == of.year and of.month in months:
            yield from spans(group, days)
