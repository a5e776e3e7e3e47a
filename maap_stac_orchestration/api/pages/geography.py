"""Where on Earth footprints lie: their boxes, where a map of them is cut open, and what it has to show.

Here belongs the arithmetic of longitudes, which go round. Not here: reading footprints (`pgstac.footprints`) and
drawing them (`pictures`, `static/map.js`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

#: West, south, east and north in degrees.
Box = tuple[float, float, float, float]

#: Degrees of latitude at which a map in Web Mercator ends on either side.
MERCATOR_ENDS = 85.05

#: Degrees by which what was cut at the antimeridian may miss it.
_NEAR = 1e-6


@dataclass(frozen=True, slots=True)
class Area:
    """What lies between four lines, with longitudes that run on beyond 180 where it crosses the antimeridian."""

    #: Longitudes less than this one lie a turn further east: where the map is cut open.
    cut: float
    west: float
    south: float
    east: float
    north: float

    def turned(self, box: Box) -> Box:
        """A box where it lies on a map that is cut here."""
        west, south, east, north = box
        return (west + 360, south, east + 360, north) if west < self.cut - _NEAR else box


def part_boxes(geometry: Mapping[str, Any]) -> list[Box]:
    """The boxes of the parts of a GeoJSON geometry, each with its west not east of its east."""
    return [_box(part) for part in _parts(geometry)]


def area(boxes: Sequence[Box]) -> Area | None:
    """The smallest area that holds all of these boxes; None where there are none.

    The map is cut open in the widest gap between them, so that what lies on both sides of the antimeridian stands
    together. It stays cut there, as maps are, where that makes it no smaller.
    """
    if not boxes:
        return None
    south, north = min(box[1] for box in boxes), max(box[3] for box in boxes)
    west, east = min(box[0] for box in boxes), max(box[2] for box in boxes)
    stretches = _joined(boxes)
    gaps = [(following[0] - before[1], before[1], following[0]) for before, following in pairwise(stretches)]
    widest, end, beginning = max(gaps, default=(0.0, 0.0, 0.0))
    if widest > 360 - (east - west) + _NEAR:
        return Area(beginning, beginning, south, end + 360, north)
    return Area(-180.0, west, south, east, north)


def around(boxes: Sequence[Box]) -> Box:
    """The box around some boxes, of which there is at least one."""
    wests, souths, easts, norths = zip(*boxes, strict=True)
    return min(wests), min(souths), max(easts), max(norths)


def _joined(boxes: Iterable[Box]) -> list[tuple[float, float]]:
    """Stretches of longitude in which there is something, from west to east, joined where they overlap."""
    stretches: list[tuple[float, float]] = []
    for west, east in sorted((box[0], box[2]) for box in boxes):
        if stretches and west <= stretches[-1][1]:
            stretches[-1] = (stretches[-1][0], max(stretches[-1][1], east))
        else:
            stretches.append((west, east))
    return stretches


def _parts(geometry: Mapping[str, Any]) -> Iterator[Any]:
    """The coordinates of each part that hangs together."""
    kind = geometry["type"]
    if kind == "GeometryCollection":
        for one in geometry["geometries"]:
            yield from _parts(one)
    elif kind.startswith("Multi"):
        yield from geometry["coordinates"]
    else:
        yield geometry["coordinates"]


def _positions(coordinates: Any) -> Iterator[Sequence[float]]:
    if coordinates and isinstance(coordinates[0], int | float):
        yield coordinates
        return
    for one in coordinates:
        yield from _positions(one)


def _box(coordinates: Any) -> Box:
    longitudes, latitudes = zip(*((one[0], one[1]) for one in _positions(coordinates)), strict=True)
    return min(longitudes), min(latitudes), max(longitudes), max(latitudes)
