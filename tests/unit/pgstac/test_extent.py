"""Extents of collections: the arithmetic of longitudes and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.pgstac.extent import bbox_stretches, extent, rfc3339, spatial_extent

longitudes = st.floats(-180, 180, allow_nan=False)
stretches = st.tuples(longitudes, longitudes).map(lambda pair: (min(pair), max(pair)))


def covers(box: list[float], longitude: float) -> bool:
    return box[0] <= longitude <= box[2]


@given(st.lists(stretches, min_size=1, max_size=20))
def test_the_first_box_holds_every_item(items: list[tuple[float, float]]) -> None:
    boxes = spatial_extent(items, -10, 10)
    assert all(covers(boxes[0], end) for item in items for end in item)


@given(st.lists(stretches, min_size=1, max_size=20))
def test_the_further_boxes_hold_every_item_between_them(items: list[tuple[float, float]]) -> None:
    boxes = spatial_extent(items, -10, 10)
    precise = boxes[1:] or boxes
    for west, east in items:
        assert any(box[0] <= west and east <= box[2] for box in precise)


@given(st.lists(stretches, min_size=1, max_size=20))
def test_boxes_are_inside_the_world_and_run_eastwards(items: list[tuple[float, float]]) -> None:
    for west, south, east, north in spatial_extent(items, -91, 95):
        assert -180 <= west <= east <= 180
        assert (south, north) == (-90, 90)


@given(st.lists(stretches, min_size=1, max_size=10), st.randoms())
def test_the_order_of_items_changes_nothing(items: list[tuple[float, float]], random: object) -> None:
    shuffled = list(items)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert spatial_extent(items, 0, 1) == spatial_extent(shuffled, 0, 1)


def test_items_around_the_antimeridian_are_told_in_two_more_boxes() -> None:
    parts, south, north = bbox_stretches([178.5, -20, -179, -15])
    boxes = spatial_extent([*parts, (170, 171)], south, north)
    assert boxes == [[-180, -20, 180, -15], [170, -20, 180, -15], [-180, -20, -179, -15]]


def test_items_on_one_side_of_the_antimeridian_are_one_box() -> None:
    assert spatial_extent([(170, 180), (150, 160)], 0, 1) == [[150, 0, 180, 1]]


def test_an_item_around_the_globe_is_one_box() -> None:
    assert spatial_extent([(-180, 180), (-180, -170), (170, 180)], -90, 90) == [[-180, -90, 180, 90]]


def test_heights_in_a_bbox_are_left_out() -> None:
    assert bbox_stretches([1, 2, 100, 3, 4, 200]) == ([(1, 3)], 2, 4)


def test_an_extent_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        spatial_extent([], 0, 1)


def test_times_are_written_in_utc() -> None:
    start = datetime(2024, 6, 1, 5, tzinfo=timezone(timedelta(hours=5)))
    end = datetime(2024, 6, 1, 0, 0, 0, 500000, tzinfo=UTC)
    assert extent([(0, 1)], 0, 1, start, end)["temporal"] == {
        "interval": [["2024-06-01T00:00:00Z", "2024-06-01T00:00:00.500000Z"]]
    }
    assert rfc3339(start) == "2024-06-01T00:00:00Z"
