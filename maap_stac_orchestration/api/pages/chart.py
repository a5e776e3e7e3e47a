"""A map of items: what of it stands in a page, and the GeoJSON document that the page's script draws it from.

Here belongs what a map shows and where it takes it from. Not here: reading footprints (`pgstac.footprints`), where on
Earth they are (`geography`), the picture that stands in for the map (`pictures`), and drawing it (`static/map.js`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from maap_stac_orchestration.api.pages.geography import MERCATOR_ENDS, Box, area, around, part_boxes
from maap_stac_orchestration.api.pages.pictures import Footprints, footprints
from maap_stac_orchestration.api.pages.tiles import Rendering, Tiler
from maap_stac_orchestration.pgstac.footprints import Footprint
from maap_stac_orchestration.settings import Settings

#: Footprints that the picture shows, which stands in the page itself; the map, which does not, shows all that are read.
MOST_DRAWN = 250


@dataclass(frozen=True, slots=True)
class Mosaic:
    """Items as one picture, in tiles."""

    title: str
    #: With {z}, {x} and {y} in it.
    tiles: str
    tilejson: str
    #: Whether tiles in which no footprint of the map lies have nothing to show, and need not be asked for.
    only_footprints: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """The map of a page."""

    #: What stands there without a script.
    picture: Footprints
    #: Where the script finds the footprints.
    document: str
    #: Footprints on the map.
    shown: int
    #: Items whose footprints lie so near to a pole that the map, which ends before, has no place for them.
    beyond: int
    mosaics: tuple[Mosaic, ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """An item on a map."""

    footprint: Footprint
    collection: str
    #: How it is coloured: what became of it, or nothing.
    result: str | None = None


def chart(placed: Sequence[Placed], document: str, mosaics: Iterable[Mosaic]) -> Chart | None:
    """The map of these items; None where there is no footprint of any of them.

    Args:
        placed: the items.
        document: where `footprint_document` of the same items is.
        mosaics: of them.
    """
    boxes = [part_boxes(one.footprint.geometry) for one in placed]
    whole = area([box for parts in boxes for box in parts])
    if whole is None:
        return None
    drawn = [around([whole.turned(box) for box in parts]) for parts in boxes[:MOST_DRAWN]]
    return Chart(
        footprints(drawn, whole), document, len(placed), sum(_beyond(around(parts)) for parts in boxes), tuple(mosaics)
    )


def footprint_document(
    placed: Sequence[Placed], renderings: Mapping[str, Rendering], settings: Settings, base: str
) -> dict[str, Any]:
    """A GeoJSON FeatureCollection of these items, with addresses of what there is about each of them.

    `cut` is the longitude where the map is cut open: lesser ones lie a turn further east on it. `view` is what the map
    has to show, as south, west, north and east, with longitudes that have run on; it is null where there is nothing.

    Args:
        placed: the items.
        renderings: collection -> how its items are shown.
        settings: where other parts of the system are.
        base: the path under which the application is served.
    """
    whole = area([box for one in placed for box in part_boxes(one.footprint.geometry)])
    return {
        "type": "FeatureCollection",
        "cut": -180.0 if whole is None else whole.cut,
        "view": None if whole is None else [whole.south, whole.west, whole.north, whole.east],
        "features": [
            {
                "type": "Feature",
                "id": f"{one.collection}/{one.footprint.id}",
                "geometry": one.footprint.geometry,
                "properties": {
                    "title": one.footprint.id,
                    "time": time_text(one.footprint.start, one.footprint.end),
                    "result": one.result,
                    **addresses(one.collection, one.footprint.id, renderings.get(one.collection), settings, base),
                },
            }
            for one in placed
        ],
    }


def addresses(
    collection: str, item: str, shown: Rendering | None, settings: Settings, base: str
) -> dict[str, str | None]:
    """Where an item is found: `api`, `browser` and `preview`, the latter two None where there is no such thing."""
    path = f"/collections/{quote(collection, safe='')}/items/{quote(item, safe='')}"
    return {
        "api": base + path,
        "browser": settings.browser_url.rstrip("/") + path if settings.browser_url else None,
        "preview": Tiler(settings.tiler_url).preview(collection, item, shown) if settings.tiler_url and shown else None,
    }


def time_text(start: datetime, end: datetime) -> str:
    """A day, or the first and the last of several (UTC)."""
    first, last = (f"{one.astimezone(UTC):%Y-%m-%d}" for one in (start, end))
    return first if first == last else f"{first} to {last}"


def _beyond(box: Box) -> bool:
    return box[1] > MERCATOR_ENDS or box[3] < -MERCATOR_ENDS
