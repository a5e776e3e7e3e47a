"""The invented landscape: seamless, different by place and month, always the same."""

from __future__ import annotations

import numpy as np
import pytest

from maap_stac_orchestration.demo.jobs import Box, grid
from maap_stac_orchestration.demo.landscape import NODATA, look

SIZE = 64


@pytest.mark.parametrize("month", [6, 7, 8, 9, 10])
def test_reflectance_is_int16_with_nothing_missing(month):
    seen = look(Box(0, 10).bounds, SIZE, month)
    for band in (seen.red, seen.green, seen.blue):
        assert band.dtype == np.int16
        assert band.shape == (SIZE, SIZE)
        assert band.min() > 0
        assert band.max() <= 10_000
        assert NODATA not in band


def test_the_same_place_and_month_always_look_the_same():
    first, second = look(Box(1, 9).bounds, SIZE, 7), look(Box(1, 9).bounds, SIZE, 7)
    assert np.array_equal(first.red, second.red)


def test_boxes_fit_together_without_a_seam():
    left, bottom, middle, top = Box(0, 10).bounds
    right = Box(1, 10).bounds[2]
    whole = look((left, bottom, right, top + (middle - left)), 2 * SIZE, 8)
    for band in ("red", "green", "blue"):
        south_west = getattr(look(Box(0, 10).bounds, SIZE, 8), band)
        north_east = getattr(look(Box(1, 11).bounds, SIZE, 8), band)
        assert np.abs(getattr(whole, band)[SIZE:, :SIZE].astype(int) - south_west).max() <= 10
        assert np.abs(getattr(whole, band)[:SIZE, SIZE:].astype(int) - north_east).max() <= 10


def test_every_place_and_every_month_looks_different():
    places = [look(box.bounds, SIZE, 6).green.tobytes() for box in grid()]
    months = [look(Box(0, 9).bounds, SIZE, month).green.tobytes() for month in range(6, 11)]
    assert len(set(places)) == 12
    assert len(set(months)) == 5


def test_summer_is_greener_than_autumn():
    summer, autumn = (look(Box(0, 9).bounds, SIZE, month) for month in (7, 10))
    greenness = [float(np.mean(seen.green.astype(float) / seen.red)) for seen in (summer, autumn)]
    assert greenness[0] > 1.2 * greenness[1]
