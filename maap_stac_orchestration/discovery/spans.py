"""Steps through the jobs of a group on some days.

Here belongs how few requests see every catalog there. Not here: which groups there are (`groups`).

Below `…/YYYY/MM/DD/` keys come a thousand a request. What is left of a job whose root catalog was met is jumped over,
and where a page ends in a job before its root catalog, one key is asked for. A job that wrote a hundred thousand files
costs about as much as one that wrote ten, unless it has no root catalog: then each file may be a catalog.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from maap_stac_orchestration.discovery.dated_tags import departure
from maap_stac_orchestration.discovery.found import CATALOG_NAME, FoundCatalog, is_storable
from maap_stac_orchestration.discovery.pages import BEHIND, ListedObject, Pages
from maap_stac_orchestration.discovery.steps import Departure, Months, Seen
from maap_stac_orchestration.dps.output_prefix import find_output_prefix, timestamp_pieces


@dataclass(frozen=True, slots=True)
class AskMonths:
    """Which months a year of a group has, asked for before many are listed that there are not."""

    group: str
    year: int

    def take(self, pages: Pages) -> Seen:
        """The months, and whether tags depart from timestamps beside them."""
        folder = f"{self.group}{self.year:04}/"
        months: set[int] = set()
        departs = False
        token: str | None = None
        while True:
            page = pages.folders(folder, token=token)
            for name in page.folders:
                if timestamp_pieces((f"{self.year:04}", name)) == 2:
                    months.add(int(name))
                else:
                    departs = True
            if page.token is None:
                break
            token = page.token
        return Seen(
            months=(Months(self.group, self.year, frozenset(months)),),
            departures=(Departure(folder),) if departs else (),
        )


@dataclass(frozen=True, slots=True)
class Span:
    """Days of one month, one after the other, of a group."""

    group: str
    first: date
    last: date
    after: str = ""
    #: The job that the page before ended in, of which it is known that it has no catalog at its root.
    rootless: str | None = None

    def take(self, pages: Pages) -> Seen:
        """The catalogs of a page: of a job with one at its root that alone, else each in it."""
        begin, end = _folder(self.group, self.first), _folder(self.group, self.last) + BEHIND
        prefix = begin if self.first == self.last else begin[: -len("DD/")]
        page = pages.objects(prefix, after=self.after or begin)
        catalogs: list[FoundCatalog] = []
        #: Those of the job that the page is in: of one that has a root catalog nothing else is given.
        inside: list[FoundCatalog] = []
        departures: dict[str, None] = {}
        job, has_root = self.rootless, False
        for listed in page.objects:
            if listed.key > end:
                return Seen(catalogs=(*catalogs, *inside), departures=tuple(map(Departure, departures)))
            if job is None or not listed.key.startswith(job):
                catalogs += inside
                inside, has_root, job = [], False, None
                output = find_output_prefix(listed.key)
                if output is None or output.group != self.group:
                    # A tag that begins with this day: it may belong to any other.
                    if output is not None and (folder := departure(self.group, listed.key)) is not None:
                        departures[folder] = None
                    continue
                job = output.key
            if has_root or not listed.key.endswith(f"/{CATALOG_NAME}") or not is_storable(listed.key):
                continue
            has_root = listed.key == job + CATALOG_NAME
            found = _found(pages.bucket, listed)
            inside = [found] if has_root else [*inside, found]
        if not page.more:
            return Seen(catalogs=(*catalogs, *inside), departures=tuple(map(Departure, departures)))
        after = page.objects[-1].key
        rootless: str | None = None
        if job is not None:
            root = job + CATALOG_NAME
            if not has_root and job != self.rootless and after < root:
                probe = pages.objects(root, most=1).objects
                if probe and probe[0].key == root:
                    has_root, inside = True, [_found(pages.bucket, probe[0])]
            if has_root:
                after = job + BEHIND
            else:
                rootless = job
        elif (departing := departure(self.group, after)) is not None:
            # It is walked as a folder of its own; what is left of it here would be a thousand keys a request.
            after = departing + after[len(departing) :].split("/", 1)[0] + "/" + BEHIND
        further = Span(self.group, self.first, self.last, after, rootless)
        return Seen(steps=(further,), catalogs=(*catalogs, *inside), departures=tuple(map(Departure, departures)))


def spans(group: str, days: Collection[date]) -> Iterator[Span]:
    """The steps for some days of a group: one for those of a month that follow each other."""
    first = last = None
    for day in sorted(days):
        if first is not None and last is not None:
            if day == last + timedelta(days=1) and day.month == last.month:
                last = day
                continue
            yield Span(group, first, last)
        first = last = day
    if first is not None and last is not None:
        yield Span(group, first, last)


def _folder(group: str, day: date) -> str:
    return f"{group}{day.year:04}/{day:%m/%d}/"


def _found(bucket: str, listed: ListedObject) -> FoundCatalog:
    return FoundCatalog(bucket, listed.key, listed.etag, listed.size, listed.last_modified)
