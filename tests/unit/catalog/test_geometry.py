"""Geometries and bounding boxes that pgstac can index, search and describe."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.catalog.geometry import _geometry_fault, _is_plain, _is_sound, geometry_faults
from maap_stac_orchestration.catalog.schema import core_errors
from tests.unit.catalog.items import SQUARE, an_item, json_values

BOX = [0, 0, 1, 1]
#: Two halves of a footprint around the antimeridian, cut there.
HALVES = [
    [[[179, 0], [180, 0], [180, 1], [179, 1], [179, 0]]],
    [[[-180, 0], [-179, 0], [-179, 1], [-180, 1], [-180, 0]]],
]


def polygon(*positions: tuple[float, ...]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [[list(position) for position in positions]]}


GOOD: dict[str, dict[str, Any]] = {
    "square": SQUARE,
    "clockwise": polygon((0, 0), (0, 1), (1, 1), (1, 0), (0, 0)),
    "with height": polygon((0, 0, 5), (1, 0, 5), (1, 1, 5), (0, 0, 5)),
    "a position twice": polygon((0, 0), (0, 0), (1, 0), (1, 1), (0, 0)),
    "with a hole": {
        "type": "Polygon",
        "coordinates": [SQUARE["coordinates"][0], [[0.2, 0.2], [0.2, 0.4], [0.4, 0.4], [0.2, 0.2]]],
    },
    "the world": polygon((-180, -90), (180, -90), (180, 90), (-180, 90), (-180, -90)),
    "a rounded grid": polygon((-180.00014, -90), (179.99986, -90), (179.99986, 90), (-180.00014, -90)),
    "point": {"type": "Point", "coordinates": [0.5, 0.5]},
    "point with height": {"type": "Point", "coordinates": [0.5, 0.5, 100]},
    "points": {"type": "MultiPoint", "coordinates": [[0.5, 0.5], [0.6, 0.6]]},
    "line": {"type": "LineString", "coordinates": [[0, 0], [1, 1]]},
    "lines": {"type": "MultiLineString", "coordinates": [[[0, 0], [1, 1]], [[0, 1], [1, 0]]]},
    "polygons": {"type": "MultiPolygon", "coordinates": HALVES},
    "collection": {"type": "GeometryCollection", "geometries": [SQUARE, {"type": "Point", "coordinates": [0.5, 0.5]}]},
    "with other members": {**SQUARE, "bbox": [0, 0, 1, 1], "crs": None},
}  # fmt: skip

BAD: dict[str, tuple[Any, str]] = {
    "null": (None, "missing or null"),
    "text": ("POINT(0 0)", "not an object"),
    "no type": ({"coordinates": [0, 0]}, "None is no type of geometry"),
    "unknown type": ({"type": "Circle", "coordinates": [0, 0]}, "'Circle' is no type of geometry"),
    "type of another kind": ({"type": ["Point"], "coordinates": [0, 0]}, "is no type of geometry"),
    "no coordinates": ({"type": "Point"}, "the Point has no coordinates"),
    "coordinates no array": ({"type": "Point", "coordinates": "0,0"}, "not an array"),
    "unclosed": (polygon((0, 0), (1, 0), (1, 1), (0, 1)), "a ring is not closed"),
    "three positions": (polygon((0, 0), (1, 0), (0, 0)), "fewer than four positions"),
    "bow tie": (polygon((0, 0), (1, 1), (1, 0), (0, 1), (0, 0)), "not valid: self-intersection at 0.5 0.5"),
    "spike": (polygon((0, 0), (2, 0), (1, 0), (1, 1), (0, 1), (0, 0)), "not valid"),
    "no area": (polygon((0, 0), (1, 0), (1, 0), (0, 0)), "not valid: too few points"),
    "hole outside": (
        {"type": "Polygon", "coordinates": [SQUARE["coordinates"][0], [[5, 5], [6, 5], [6, 6], [5, 5]]]},
        "hole lies outside shell",
    ),
    "overlapping": ({"type": "MultiPolygon", "coordinates": [SQUARE["coordinates"]] * 2}, "not valid"),
    "longitude 400": (polygon((400, 0), (401, 0), (401, 1), (400, 0)), "longitude 400, which is outside -180 to 180"),
    "longitude 181": ({"type": "Point", "coordinates": [181, 0]}, "the longitude 181"),
    "latitude 95": ({"type": "Point", "coordinates": [0, 95]}, "the latitude 95, which is outside -90 to 90"),
    "metres": (polygon((5e5, 4e6), (6e5, 4e6), (6e5, 5e6), (5e5, 4e6)), "outside -180 to 180"),
    "NaN": (polygon((0, 0), (float("nan"), 0), (1, 1), (0, 0)), "has nan where a number is wanted"),
    "null in it": (polygon((0, 0), (None, 0), (1, 1), (0, 0)), "has None where a number is wanted"),  # type: ignore[arg-type]
    "infinite": ({"type": "Point", "coordinates": [float("inf"), 0]}, "has inf where a number is wanted"),
    "truth": ({"type": "Point", "coordinates": [True, False]}, "has True where a number is wanted"),
    "texts": ({"type": "Point", "coordinates": ["0", "0"]}, "has '0' where a number is wanted"),
    "one number": ({"type": "Point", "coordinates": [0]}, "a position of 1 numbers"),
    "four numbers": ({"type": "Point", "coordinates": [0, 0, 0, 0]}, "a position of 4 numbers"),
    "mixed heights": (polygon((0, 0), (1, 0, 5), (1, 1), (0, 0)), "positions with height and others without"),
    "empty point": ({"type": "Point", "coordinates": []}, "is empty"),
    "empty polygon": ({"type": "Polygon", "coordinates": []}, "is empty"),
    "empty ring": ({"type": "Polygon", "coordinates": [[]]}, "is empty"),
    "empty polygons": ({"type": "MultiPolygon", "coordinates": []}, "is empty"),
    "line of one": ({"type": "LineString", "coordinates": [[0, 0]]}, "fewer than two positions"),
    "line of no length": ({"type": "LineString", "coordinates": [[0, 0], [0, 0]]}, "not valid"),
    "empty collection": ({"type": "GeometryCollection", "geometries": []}, "has no geometries"),
    "collection in a collection": (
        {"type": "GeometryCollection", "geometries": [{"type": "GeometryCollection", "geometries": [SQUARE]}]},
        "stands inside a GeometryCollection",
    ),
    "unclosed in a collection": (
        {"type": "GeometryCollection", "geometries": [polygon((0, 0), (1, 0), (1, 1), (0, 1))]},
        "a ring is not closed",
    ),
    "mixed heights in a collection": (
        {
            "type": "GeometryCollection",
            "geometries": [{"type": "Point", "coordinates": [0, 0, 1]}, {"type": "Point", "coordinates": [0, 0]}],
        },
        "positions with height and others without",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_geometries_that_pass(name: str) -> None:
    assert geometry_faults(GOOD[name], BOX) == []
    if name != "collection":
        assert core_errors(an_item(geometry=GOOD[name])) == []


@pytest.mark.parametrize("name", BAD)
def test_geometries_that_are_refused_with_a_reason(name: str) -> None:
    geometry, reason = BAD[name]
    (fault,) = geometry_faults(geometry, BOX)
    assert reason in fault


@pytest.mark.parametrize(
    ("bbox", "reason"),
    [
        (None, "the bbox is missing"),
        ("0,0,1,1", "not an array of four or six numbers"),
        ([], "not an array of four or six numbers"),
        ([0, 0, 1], "not an array of four or six numbers"),
        ([0, 0, 1, 1, 2], "not an array of four or six numbers"),
        ([0, 0, 1, None], "has None where a number is wanted"),
        ([0, 0, 1, float("nan")], "has nan where a number is wanted"),
        ([0, 0, 1, "1"], "has '1' where a number is wanted"),
        ([0, 0, 1, True], "has True where a number is wanted"),
        ([0, 0, 400, 1], "leaves the world"),
        ([0, -91, 1, 1], "leaves the world"),
        ([0, 1, 1, 0], "south above its north"),
        ([0, 0, 10, 1, 1, 5], "bottom above its top"),
        ([1, 0, 0, 1], "the geometry does not cross the antimeridian"),
    ],
)
def test_boxes_that_are_refused_with_a_reason(bbox: Any, reason: str) -> None:
    (fault,) = geometry_faults(SQUARE, bbox)
    assert reason in fault


@pytest.mark.parametrize("bbox", [[0, 0, 1, 1], [0, 0, -5, 1, 1, 5], [0, 0, 1, 0], [5, 5, 6, 6], [-180, -90, 180, 90]])
def test_boxes_that_pass(bbox: list[float]) -> None:
    assert geometry_faults(SQUARE, bbox) == []


@pytest.mark.parametrize(
    "geometry",
    [
        {"type": "MultiPolygon", "coordinates": HALVES},
        {"type": "MultiPoint", "coordinates": [[179, 0], [-179, 0]]},
        {"type": "MultiLineString", "coordinates": [[[179, 0], [180, 0]], [[-180, 0], [-179, 0]]]},
    ],
)
def test_what_is_cut_at_the_antimeridian_has_a_box_across_it(geometry: dict[str, Any]) -> None:
    assert geometry_faults(geometry, [179, 0, -179, 1]) == []


def test_what_crosses_the_antimeridian_uncut_is_refused() -> None:
    uncut = polygon((179, 0), (-179, 0), (-179, 1), (179, 1), (179, 0))
    (fault,) = geometry_faults(uncut, [179, 0, -179, 1])
    assert "not cut there" in fault


def test_both_faults_are_told() -> None:
    assert len(geometry_faults(None, [0, 0, 1])) == 2


positions = st.lists(st.floats(-200, 200) | st.integers(-400, 400), min_size=1, max_size=4)
shapes = st.recursive(positions, lambda inner: st.lists(inner, max_size=5), max_leaves=12)
geometries = st.fixed_dictionaries(
    {"type": st.sampled_from(["Point", "MultiPoint", "LineString", "Polygon", "MultiPolygon", "GeometryCollection"])},
    optional={"coordinates": shapes | json_values, "geometries": json_values},
)


@given(geometries | json_values, json_values | st.lists(st.floats(), min_size=4, max_size=6))
def test_nothing_breaks_the_check(geometry: Any, bbox: Any) -> None:
    assert all(isinstance(fault, str) for fault in geometry_faults(geometry, bbox))


@given(geometries | json_values)
def test_the_fast_answer_is_that_of_the_rules_that_explain(geometry: Any) -> None:
    fault = _geometry_fault(geometry)
    if not (isinstance(geometry, dict) and geometry.get("type") == "GeometryCollection"):
        assert _is_sound(geometry) == (fault is None)


@given(
    st.floats(-179, 178, allow_subnormal=False),
    st.floats(-89, 88, allow_subnormal=False),
    st.floats(0.001, 1),
    st.floats(0.001, 1),
)
def test_every_rectangle_in_the_world_passes(west: float, south: float, width: float, height: float) -> None:
    east, north = west + width, south + height
    rectangle = polygon((west, south), (east, south), (east, north), (west, north), (west, south))
    assert geometry_faults(rectangle, [west, south, east, north]) == []


corners = st.lists(st.tuples(*[st.floats(-1, 1) | st.integers(-3, 3)] * 2), min_size=3, max_size=4)


@given(corners)
def test_a_ring_that_passes_by_its_looks_is_valid_to_geos_too(positions: list[tuple[float, float]]) -> None:
    ring = polygon(*positions, positions[0])
    assert not _is_plain(ring) or shapely.from_geojson(orjson.dumps(ring)).is_valid


@pytest.mark.parametrize("name", ["square", "clockwise", "with height", "the world", "point"])
def test_the_commonest_footprints_pass_by_their_looks(name: str) -> None:
    assert _is_plain(GOOD[name])
