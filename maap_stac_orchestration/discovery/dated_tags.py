"""Steps that look for tags which begin like timestamps: `2024/07/run`.

Here belongs how much is asked to find them. Not here: other tags (`groups`).

Such a tag shares its first folders with the timestamps of jobs without it, so that one may lie hidden in every month
and on every day of a group. To look everywhere would make a listing depend on how many days a group has. So what is
known from elsewhere is always walked, a listing of a day sees what lies on that day, and this looks for the rest as
thoroughly as it is told to.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from maap_stac_orchestration.discovery.pages import BEHIND, Page, Pages
from maap_stac_orchestration.discovery.steps import Departure, Seen, Year
from maap_stac_orchestration.dps.output_prefix import dated_folders, find_output_prefix, timestamp_pieces

#: Keys that are asked for at once: a folder of so few is known from them alone, and more cost more time than a request.
_KEYS = 100


class Search(Enum):
    """How thoroughly tags that begin like timestamps are looked for."""

    #: Not at all: those that are known are walked.
    KNOWN = "known"
    #: Where they are apart from jobs without such a tag: at most two requests for a year of a group find them in a
    #: folder that begins with them, that holds a hundred objects at most, or that they part from in the year itself.
    APART = "apart"
    #: Among jobs without such a tag too: a request more for a month of a group finds all that part from timestamps in a
    #: year or a month.
    AMONG = "among"


@dataclass(frozen=True, slots=True)
class Look:
    """A look into a year of a group."""

    year: Year
    search: Search
    after: str = ""
    #: Whether nothing is to be asked behind it.
    last: bool = False

    def take(self, pages: Pages) -> Seen:
        """The folders in which tags depart from timestamps."""
        page = pages.objects(self.year.folder, after=self.after, most=_KEYS)
        if not self.after and not page.more:
            # Its own days are listed where they are wanted.
            return Seen(departures=all_years(self.year.folder, page).departures)
        departures = dict.fromkeys(
            folder for one in page.objects if (folder := departure(self.year.group, one.key)) is not None
        )
        further: tuple[Look, ...] = ()
        if page.more and not self.last:
            after, last = self._next(page.objects[-1].key)
            further = (Look(self.year, self.search, after, last),) if after else ()
        return Seen(steps=further, departures=tuple(map(Departure, departures)))

    def _next(self, key: str) -> tuple[str, bool]:
        """Where to ask on behind a key, and whether that ends it; nowhere where there can be nothing more.

        A folder in which a tag departs will be walked, and with it all that departs in the same folder.
        """
        folder = self.year.folder
        names = key[len(self.year.group) :].split("/")
        pieces = timestamp_pieces(names[:-1])
        departs = departure(self.year.group, key) is not None
        if departs and pieces == 1:
            months = (f"{folder}{month:02}" for month in range(1, 13))
            following = next((month for month in months if f"{month}/" > key), None)
            if following is None:
                return "", True
            after = following
        elif departs and pieces == 2:
            after = f"{folder}{names[1]}/{BEHIND}"
        elif pieces >= 2:
            after = f"{folder}{names[1]}/31/{BEHIND}"
        else:
            after = key
        if self.search is Search.APART:
            return max(f"{folder}12/31/{BEHIND}", key), True
        return max(after, key), False


def all_years(folder: str, page: Page) -> Seen:
    """The years of the groups in a folder of which a page holds every key."""
    years: dict[Year, None] = {}
    departures: dict[str, dict[Year, None]] = {}
    for listed in page.objects:
        output = find_output_prefix(listed.key)
        if output is None or not output.group.startswith(folder):
            continue
        year = Year(output.group, output.time.year, searched=True)
        dated = next((one for one in dated_folders(output.group) if one.startswith(folder)), None)
        (years if dated is None else departures.setdefault(dated, {}))[year] = None
    return Seen(
        years=tuple(years),
        departures=tuple(Departure(dated, tuple(some)) for dated, some in departures.items()),
    )


def departure(group: str, key: str) -> str | None:
    """The folder below a group in which a key departs from what it had begun to spell, a timestamp.

    None for a key that spells a whole timestamp there, or is a file before it does.
    """
    names = key[len(group) :].split("/")
    pieces = timestamp_pieces(names[:-1])
    if pieces == 7 or pieces == len(names) - 1:
        return None
    return group + "".join(f"{name}/" for name in names[:pieces])
