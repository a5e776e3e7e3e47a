"""What the page of one collection tells: its words, whose it is, where and when its items lie, how to look at them.

Here belongs the page's view of a collection. Not here: the collection's document (`pgstac`), whose it is (`ledger`),
maps (`chart`) and the HTML. A document may have been written by anybody who may edit it: what is not of the form that
STAC gives it is not told, and nothing of it is taken for anything but text.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict

from maap_stac_orchestration.api.pages.chart import Chart, Mosaic, Placed, addresses, chart, time_text
from maap_stac_orchestration.api.pages.pictures import place_words
from maap_stac_orchestration.api.pages.rendering import ROOT, address
from maap_stac_orchestration.api.pages.tiles import Rendering, Tiler, rendering
from maap_stac_orchestration.pgstac.footprints import Footprint, Interval
from maap_stac_orchestration.settings import Settings

#: Footprints on the map: the newest; items in the table beside it; of these, previews that the tiler is asked for.
MOST_FOOTPRINTS = 1_000
MOST_ROWS = 50
MOST_PREVIEWS = 12

#: Where counting items ends.
MOST_COUNTED = 100_000

#: Months to choose from, the newest.
MOST_MONTHS = 240

#: Characters of a description, and how many keywords and providers, the page shows.
_LONGEST = 5_000
_MOST = 50


def _month(value: str) -> str:
    if not re.fullmatch(r"(?!0000)[0-9]{4}-(0[1-9]|1[0-2])", value):
        raise ValueError("write a month with its year, for example 2024-06")
    return value


class CollectionQuery(BaseModel):
    """Which of a collection's items."""

    model_config = ConfigDict(extra="forbid")

    #: A month of UTC, as in 2024-06.
    month: Annotated[str, AfterValidator(_month)] | None = None

    @property
    def during(self) -> Interval | None:
        """The month as an interval; None where there is none."""
        if self.month is None:
            return None
        year, month = map(int, self.month.split("-"))
        return (
            datetime(year, month, 1, tzinfo=UTC),
            datetime(year, month, monthrange(year, month)[1], 23, 59, 59, 999_999, tzinfo=UTC),
        )


@dataclass(frozen=True, slots=True)
class Found:
    """What the database tells of a collection."""

    #: The STAC Collection as it is stored.
    document: Mapping[str, Any]
    owner: str | None
    #: No further than `MOST_COUNTED`.
    items: int
    #: Items of the month that is asked for, or all; no further than `MOST_COUNTED`.
    chosen: int
    #: First moments of months in which something begins, newest first.
    months: Sequence[datetime]
    #: The newest of the items that are asked for.
    footprints: Sequence[Footprint]


@dataclass(frozen=True, slots=True)
class Provider:
    """Somebody who has to do with the data."""

    name: str
    roles: str
    url: str | None


@dataclass(frozen=True, slots=True)
class CollectionItem:
    """A row of the table."""

    id: str
    #: As the map calls it.
    key: str
    time: str
    api: str
    browser: str | None
    preview: str | None


@dataclass(frozen=True, slots=True)
class CollectionView:
    """All that the page tells."""

    id: str
    title: str
    description: str
    owner: str | None
    owner_page: str | None
    items: int
    #: Whether there are more than were counted.
    uncounted: bool
    chosen: int
    where: str | None
    when: str | None
    license: str | None
    keywords: tuple[str, ...]
    providers: tuple[Provider, ...]
    here: str
    api: str
    browser: str | None
    jobs_page: str
    #: The page of jobs of the group whose default collection it is.
    group_page: str | None
    group: str | None
    #: Values and names of months, newest first.
    months: tuple[tuple[str, str], ...]
    month: str | None
    map: Chart | None
    mosaic: Mosaic | None
    rows: tuple[CollectionItem, ...]


def collection_page(base: str, collection: str, *, month: str | None = None) -> str:
    """The path of a collection's page."""
    return address(f"{base}{ROOT}/collections/{quote(collection, safe='')}", {"month": month})


def collection_view(id: str, found: Found, query: CollectionQuery, settings: Settings, base: str) -> CollectionView:
    """The view of a collection.

    Args:
        id: the collection's.
        found: what the database tells of it.
        query: which items are asked for.
        settings: where other parts of the system are.
        base: the path under which the application is served.
    """
    document = found.document
    shown = rendering(document)
    path = f"/collections/{quote(id, safe='')}"
    mosaic = _mosaic(id, shown, found, query, settings)
    group = _group(document)
    return CollectionView(
        id=id,
        title=_text(document.get("title")) or id,
        description=_text(document.get("description")),
        owner=found.owner,
        owner_page=address(base + ROOT, {"username": found.owner}) if found.owner else None,
        items=found.items,
        uncounted=found.items == MOST_COUNTED,
        chosen=found.chosen,
        where=_where(document),
        when=_when(document),
        license=_text(document.get("license")) or None,
        keywords=tuple(text for one in _listed(document.get("keywords")) if (text := _text(one))),
        providers=tuple(
            Provider(
                name,
                ", ".join(text for role in _listed(one.get("roles")) if (text := _text(role))),
                _web(one.get("url")),
            )
            for one in _listed(document.get("providers"))
            if isinstance(one, Mapping) and (name := _text(one.get("name")))
        ),
        here=collection_page(base, id),
        api=base + path,
        browser=settings.browser_url.rstrip("/") + path if settings.browser_url else None,
        jobs_page=address(f"{base}{ROOT}/jobs", {"collection": id}),
        group_page=address(f"{base}{ROOT}/jobs", group) if group else None,
        group=" ".join(group.values()) if group else None,
        months=_months(found.months, query.month),
        month=query.month,
        map=chart(
            placed(id, found.footprints),
            address(f"{base}{ROOT}/footprints", {"collection": id, "month": query.month}),
            [mosaic] if mosaic else [],
        ),
        mosaic=mosaic,
        rows=tuple(
            _row(id, one, shown if position < MOST_PREVIEWS else None, settings, base)
            for position, one in enumerate(found.footprints[:MOST_ROWS])
        ),
    )


def placed(collection: str, footprints: Sequence[Footprint]) -> list[Placed]:
    """A collection's items on its map."""
    return [Placed(one, collection) for one in footprints]


def _row(collection: str, one: Footprint, shown: Rendering | None, settings: Settings, base: str) -> CollectionItem:
    found = addresses(collection, one.id, shown, settings, base)
    return CollectionItem(
        one.id,
        f"{collection}/{one.id}",
        time_text(one.start, one.end),
        str(found["api"]),
        found["browser"],
        found["preview"],
    )


def _mosaic(
    id: str, shown: Rendering | None, found: Found, query: CollectionQuery, settings: Settings
) -> Mosaic | None:
    if not (settings.tiler_url and shown and found.footprints):
        return None
    tiler = Tiler(settings.tiler_url)
    return Mosaic(
        shown.title,
        tiler.tiles(id, shown, during=query.during),
        tiler.tilejson(id, shown, during=query.during),
        only_footprints=found.chosen <= len(found.footprints),
    )


def _group(document: Mapping[str, Any]) -> dict[str, str] | None:
    """The names of the group of jobs whose default collection it is."""
    fields = {
        "username": "maap:username",
        "algorithm": "maap:algorithm",
        "version": "maap:algorithm_version",
        "tag": "maap:tag",
    }
    names = {name: text for name, field in fields.items() if (text := _text(document.get(field)))}
    return names if {"username", "algorithm"} <= names.keys() else None


def _months(starts: Sequence[datetime], chosen: str | None) -> tuple[tuple[str, str], ...]:
    months = {f"{one:%Y-%m}".zfill(7): f"{one:%B} {one.year}" for one in starts}
    if chosen and chosen not in months:
        # One in which nothing begins was asked for by its address; the form must not say otherwise.
        months[chosen] = f"{datetime(int(chosen[:4]), int(chosen[5:]), 1, tzinfo=UTC):%B} {int(chosen[:4])}"
    return tuple(sorted(months.items(), reverse=True))


def _where(document: Mapping[str, Any]) -> str | None:
    """The spatial extent in words."""
    match document.get("extent"):
        case {"spatial": {"bbox": [[*numbers], *_]}} if len(numbers) in (4, 6) and all(map(_is_degrees, numbers)):
            half = len(numbers) // 2
            return place_words(numbers[0], numbers[1], numbers[half], numbers[half + 1])
    return None


def _when(document: Mapping[str, Any]) -> str | None:
    """The temporal extent in words."""
    match document.get("extent"):
        case {"temporal": {"interval": [[start, end], *_]}}:
            first, last = (_text(one)[:10] or None for one in (start, end))
            if first and last:
                return first if first == last else f"{first} to {last}"
            return f"from {first} on" if first else f"until {last}" if last else None
    return None


def _is_degrees(value: object) -> bool:
    return isinstance(value, int | float) and -360 <= value <= 360


def _text(value: object) -> str:
    if not isinstance(value, str):
        return ""
    text = value.strip()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def _listed(value: object) -> list[Any]:
    return value[:_MOST] if isinstance(value, list) else []


def _web(value: object) -> str | None:
    """An address that a browser may be sent to: no other scheme than the web's."""
    if not isinstance(value, str):
        return None
    try:
        parts = urlsplit(value)
    except ValueError:
        return None
    return value if parts.scheme in ("http", "https") and parts.netloc else None
