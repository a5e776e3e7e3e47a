"""What a collection's extent is, from the boxes and times of its items.

Here belongs the arithmetic: longitudes on a circle, the STAC form of an extent. Not here: where the numbers come from
(`collections`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

#: West and east of a stretch of longitudes that does not cross the antimeridian, degrees.
Stretch = tuple[float, float]


def spatial_extent(stretches: Iterable[Stretch], south: float, north: float) -> list[list[float]]:
    """The boxes of a STAC spatial extent, the one over all first.

    Where the items lie on both sides of the antimeridian, the first box goes around the globe, and two more, which
    meet at the antimeridian, say where the items are. A first box with west > east would be the shorter way to write
    it, but pgstac draws its rectangle over everything that is *not* in it, and a search for collections then finds
    this one everywhere but where its items are.
    """
    south, north = max(south, -90.0), min(north, 90.0)
    merged = _merged((max(west, -180.0), min(east, 180.0)) for west, east in stretches)
    if not merged:
        raise ValueError("An extent needs at least one stretch of longitudes.")
    west, east = merged[0][0], merged[-1][1]
    if len(merged) == 1 or west > -180 or east < 180:
        return [[west, south, east, north]]
    # Items touch both sides of the antimeridian: the widest empty stretch between them is what the boxes leave out.
    gap_west, gap_east = max(((left[1], right[0]) for left, right in pairwise(merged)), key=lambda gap: gap[1] - gap[0])
    return [[-180.0, south, 180.0, north], [gap_east, south, 180.0, north], [-180.0, south, gap_west, north]]


def bbox_stretches(bbox: Sequence[float]) -> tuple[list[Stretch], float, float]:
    """The stretches of an item's bbox (two of them where it crosses the antimeridian), its south and north."""
    west, south, east, north = (bbox[0], bbox[1], bbox[3], bbox[4]) if len(bbox) == 6 else bbox
    return ([(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]), south, north


def extent(stretches: Iterable[Stretch], south: float, north: float, start: datetime, end: datetime) -> dict[str, Any]:
    """A STAC extent. Times are aware."""
    return {
        "spatial": {"bbox": spatial_extent(stretches, south, north)},
        "temporal": {"interval": [[rfc3339(start), rfc3339(end)]]},
    }


def rfc3339(moment: datetime) -> str:
    """A time in UTC as STAC writes it, with fractions of a second only where there are some."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _merged(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Overlapping and touching stretches joined, from west to east."""
    merged: list[Stretch] = []
    for west, east in sorted(stretches):
        if merged and west <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], east))
        else:
            merged.append((west, east))
    return merged
