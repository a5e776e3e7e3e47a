"""Geometries and bounding boxes that pgstac can index, search and describe.

Here belongs what a geometry must be like. Not here: how extents are made of many of them (`pgstac.extent`).

What is refused is what was seen to break or poison pgstac 0.10.0: an unclosed ring or a nested collection is taken and
then fails every search that meets it, an empty one is never found, coordinates outside the world end up in the
published extent, points of different dimensions cannot be written at all. A ring that crosses itself is found where it
is not. Collections of geometries pass, as GeoJSON has them, though the core schema of STAC knows none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

#: How far beyond the edge of the world a coordinate may lie, degrees. Grids whose resolution was rounded do that
#: (CHELSA's begins at -180.00014); it hurts nobody, and an extent is cut at the edge.
EDGE: Final = 0.001
_LONGITUDE, _LATITUDE = 180 + EDGE, 90 + EDGE

#: Geometry type -> how deeply its positions are nested.
_DEPTHS = {
    "Point": 0,
    "MultiPoint": 1,
    "LineString": 1,
    "MultiLineString": 2,
    "Polygon": 2,
    "MultiPolygon": 3,
}
#: The fewest positions of a line or ring.
_LEAST = {"LineString": 2, "MultiLineString": 2, "Polygon": 4, "MultiPolygon": 4}
_NUMBERS = frozenset({float, int})
#: Relative error of a turn that is worked out in floating point; twice of what Shewchuk's orientation test allows for.
_ROUNDING = 8e-16
#: What products lose where they are too small for the format.
_TINY = 1e-300
#: Where a geometry crosses the antimeridian without being cut there, it looks wider than half the world.
_WIDE = 180.0


def geometry_faults(geometry: Any, bbox: Any) -> list[str]:
    """What is wrong with an item's geometry and bbox, as clauses; empty where nothing is.

    A bbox that only disagrees with the geometry is let through, as those of published items do: pgstac does not look
    at it. One that crosses the antimeridian where the geometry does not is refused: extents are made of it.
    """
    sound = _is_sound(geometry)
    fault = None if sound else _geometry_fault(geometry)
    box_fault = bbox_fault(bbox)
    crossing = box_fault is None and bbox[0] > bbox[len(bbox) // 2]
    if fault is None and not (sound and not crossing and _is_plain(geometry)):
        fault = _validity_fault(geometry, bbox if box_fault is None else None)
    return [one for one in (fault, box_fault) if one is not None]


def _is_sound(geometry: Any) -> bool:
    """Whether structure, numbers and rings are right: the rules of the functions below in one pass that only says yes.

    Footprints of some hundred positions are common, and explaining takes several times as long. It says no where it
    cannot tell, as of a GeometryCollection.
    """
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    depth = _DEPTHS.get(kind) if isinstance(kind, str) else None
    if kind is None or depth is None:
        return False
    lines: list[Any] = [geometry.get("coordinates")]
    for _ in range(depth - 1):
        if not all(type(parts) is list and parts for parts in lines):
            return False
        lines = [part for parts in lines for part in parts]
    if depth == 0:
        lines = [lines]
    least, closed = _LEAST.get(kind, 1), "Polygon" in kind
    dimensions = 0
    for line in lines:
        if type(line) is not list or len(line) < least or (closed and line[0] != line[-1]):
            return False
        for position in line:
            if type(position) is not list:
                return False
            dimensions = dimensions or len(position)
            if len(position) != dimensions or not 2 <= dimensions <= 3:
                return False
            x, y = position[0], position[1]
            if type(x) not in _NUMBERS or type(y) not in _NUMBERS:
                return False
            if not (-_LONGITUDE <= x <= _LONGITUDE and -_LATITUDE <= y <= _LATITUDE):
                return False
            if dimensions == 3 and (type(position[2]) not in _NUMBERS or not math.isfinite(position[2])):
                return False
    return True


def _is_plain(geometry: Mapping[str, Any]) -> bool:
    """Whether a sound geometry is valid by its looks: a point, or one ring of three or four corners that turns the same
    way at each of them, as the footprints of most images do.

    So few corners cannot go around twice, hence such a ring does not cross itself. It says no where rounding may
    decide, so that whoever is asked then, GEOS, never says otherwise of what passes here.
    """
    coordinates = geometry["coordinates"]
    if geometry["type"] == "Point":
        return True
    if geometry["type"] != "Polygon" or len(coordinates) != 1 or not 4 <= len(coordinates[0]) <= 5:
        return False
    ring = coordinates[0]
    turns = 0
    # The ring's last position is its first.
    for at in range(len(ring) - 1):
        before, here, after = ring[at - 1 if at else -2], ring[at], ring[at + 1]
        left = (here[0] - before[0]) * (after[1] - here[1])
        right = (here[1] - before[1]) * (after[0] - here[0])
        turn = left - right
        if abs(turn) <= _ROUNDING * (abs(left) + abs(right)) + _TINY:
            return False
        turns += 1 if turn > 0 else -1
    return abs(turns) == len(ring) - 1


def _geometry_fault(geometry: Any) -> str | None:
    """What is wrong with the structure and the numbers."""
    if geometry is None:
        return "the geometry is missing or null, and pgstac keeps no item without one"
    if not isinstance(geometry, Mapping):
        return "the geometry is not an object"
    kind = geometry.get("type")
    if kind == "GeometryCollection":
        members = geometry.get("geometries")
        if not isinstance(members, Sequence) or isinstance(members, str) or not members:
            return "the GeometryCollection has no geometries"
        if any(isinstance(member, Mapping) and member.get("type") == kind for member in members):
            return "a GeometryCollection stands inside a GeometryCollection, which PostGIS cannot give back"
        dimensions: set[int] = set()
        for member in members:
            fault = _simple_fault(member, dimensions)
            if fault is not None:
                return fault
        return None
    return _simple_fault(geometry, set())


def _simple_fault(geometry: Any, dimensions: set[int]) -> str | None:
    if not isinstance(geometry, Mapping):
        return "a geometry is not an object"
    kind = geometry.get("type")
    depth = _DEPTHS.get(kind) if isinstance(kind, str) else None
    if depth is None:
        return f"{kind!r} is no type of geometry"
    if "coordinates" not in geometry:
        return f"the {kind} has no coordinates"
    fault = _coordinates_fault(geometry["coordinates"], depth, dimensions)
    if fault is not None:
        return f"the {kind} {fault}"
    coordinates = geometry["coordinates"]
    if kind == "LineString":
        return _line_fault(coordinates)
    if kind == "MultiLineString":
        return next((fault for line in coordinates if (fault := _line_fault(line))), None)
    if kind == "Polygon":
        return _rings_fault(coordinates)
    if kind == "MultiPolygon":
        return next((fault for rings in coordinates if (fault := _rings_fault(rings))), None)
    return None


def _coordinates_fault(coordinates: Any, depth: int, dimensions: set[int]) -> str | None:
    if not isinstance(coordinates, list | tuple):
        return "has coordinates that are not an array"
    if not coordinates:
        return "is empty, or a part of it is"
    if depth:
        for part in coordinates:
            fault = _coordinates_fault(part, depth - 1, dimensions)
            if fault is not None:
                return fault
        return None
    dimensions.add(len(coordinates))
    if not 2 <= len(coordinates) <= 3:
        return f"has a position of {len(coordinates)} numbers; two or three are allowed"
    if len(dimensions) > 1:
        return "has positions with height and others without"
    for number in coordinates:
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            return f"has {_shown(number)} where a number is wanted"
    longitude, latitude = coordinates[0], coordinates[1]
    if not -_LONGITUDE <= longitude <= _LONGITUDE:
        return f"has the longitude {_shown(longitude)}, which is outside -180 to 180"
    if not -_LATITUDE <= latitude <= _LATITUDE:
        return f"has the latitude {_shown(latitude)}, which is outside -90 to 90"
    return None


def _line_fault(line: Sequence[Any]) -> str | None:
    return "a line has fewer than two positions" if len(line) < 2 else None


def _rings_fault(rings: Sequence[Sequence[Any]]) -> str | None:
    for ring in rings:
        if ring[0] != ring[-1]:
            return "a ring is not closed: its last position is not its first"
        if len(ring) < 4:
            return "a ring has fewer than four positions"
    return None


def _validity_fault(geometry: Mapping[str, Any], bbox: Sequence[float] | None) -> str | None:
    """What GEOS has against it, and against a sound bbox beside it."""
    # With numpy, which it brings, a third of a second and 17 MB; most footprints are sound without it.
    import shapely
    from shapely.errors import GEOSException  # type: ignore[attr-defined]  # where its own documentation has it

    try:
        drawn = shapely.from_geojson(orjson.dumps(geometry))
    except (GEOSException, TypeError) as error:
        return f"the geometry cannot be drawn: {error}"
    if not shapely.is_valid(drawn):
        reason = shapely.is_valid_reason(drawn).replace("[", " at ").rstrip("]").lower()
        return f"the geometry is not valid: {reason}"
    if bbox is None or bbox[0] <= bbox[len(bbox) // 2]:
        return None
    gap_west, gap_east = bbox[len(bbox) // 2], bbox[0]
    for part in shapely.get_parts(drawn):
        west, _, east, _ = part.bounds
        if east - west > _WIDE:
            return (
                "the bbox crosses the antimeridian and the geometry is not cut there, so it spans the rest of the world"
            )
        if gap_west <= west and east <= gap_east and (west < east or gap_west < west < gap_east):
            return "the west of the bbox is greater than its east, yet the geometry does not cross the antimeridian"
    return None


def bbox_fault(bbox: Any) -> str | None:
    """What is wrong with the bbox of an item or an extent, as a clause; None where nothing is."""
    if bbox is None:
        return "the bbox is missing"
    if not isinstance(bbox, list | tuple) or len(bbox) not in (4, 6):
        return "the bbox is not an array of four or six numbers"
    for number in bbox:
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            return f"the bbox has {_shown(number)} where a number is wanted"
    half = len(bbox) // 2
    west, south, east, north = bbox[0], bbox[1], bbox[half], bbox[half + 1]
    if max(abs(west), abs(east)) > _LONGITUDE or max(abs(south), abs(north)) > _LATITUDE:
        return f"the bbox {_shown(list(bbox))} leaves the world"
    if south > north:
        return f"the bbox {_shown(list(bbox))} has its south above its north"
    if half == 3 and bbox[2] > bbox[5]:
        return f"the bbox {_shown(list(bbox))} has its bottom above its top"
    return None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "…"
