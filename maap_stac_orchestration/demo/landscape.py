"""The land that the demo's jobs look at: reflectance in red, green and blue as a function of place and month.

Here belongs how the invented landscape looks. Not here: files (`outputs`). Everything is computed from absolute
coordinates, so neighbouring boxes fit together without a seam, whatever the resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]

#: What a band holds where there is nothing, as in HLS.
NODATA = -9999

#: How each month looks: greenness of the fields, share of them that is bare, autumn colour of the forests.
_SEASONS: dict[int, tuple[float, float, float]] = {
    1: (0.05, 1.00, 0.00),
    2: (0.05, 1.00, 0.00),
    3: (0.10, 1.00, 0.00),
    4: (0.25, 0.95, 0.00),
    5: (0.45, 0.70, 0.00),
    6: (0.70, 0.25, 0.00),
    7: (1.00, 0.05, 0.00),
    8: (0.90, 0.15, 0.03),
    9: (0.55, 0.45, 0.35),
    10: (0.25, 0.85, 1.00),
    11: (0.10, 1.00, 0.40),
    12: (0.05, 1.00, 0.10),
}

#: Wide basins that hold large lakes: x, y, half widths in metres, and depth.
_BASINS = (
    (560e3, 2_760e3, 190e3, 70e3, 1.1),
    (690e3, 2_690e3, 130e3, 60e3, 0.9),
    (30e3, 2_600e3, 26e3, 20e3, 0.75),
    (-20e3, 2_840e3, 45e3, 26e3, 0.75),
    (640e3, 2_330e3, 40e3, 120e3, 0.9),
)


@dataclass(frozen=True, slots=True)
class Reflectance:
    """Surface reflectance times 10,000, as int16, north up."""

    red: NDArray[np.int16]
    green: NDArray[np.int16]
    blue: NDArray[np.int16]


def look(bounds: tuple[float, float, float, float], size: int, month: int) -> Reflectance:
    """What a cloud-free mosaic of a month shows.

    Args:
        bounds: xmin, ymin, xmax, ymax in metres of the grid's coordinate system.
        size: pixels along each side.
        month: 1 to 12.
    """
    left, bottom, right, top = bounds
    half = (right - left) / size / 2
    x = np.linspace(left + half, right - half, size)
    y = np.linspace(top - half, bottom + half, size)
    return _shade(x, y, month)


def _shade(x: NDArray[np.float64], y: NDArray[np.float64], month: int) -> Reflectance:
    green_up, harvest, autumn = _SEASONS[month]
    height = _height(x, y)
    water = _step(height, 0.315, 0.295)
    # Light from the north-west: the slope along the diagonal, which shows relief at any resolution.
    relief = np.clip((height - _height(x + 2500, y - 2500)) * 4.0, -0.35, 0.35)

    north = _step(y, 2_380e3, 2_640e3)[:, np.newaxis]
    forest = _step(_noise(x, y, 34e3, 3, seed=11) + 0.55 * (north - 0.45), 0.46, 0.62)
    conifer = _step(_noise(x, y, 15e3, 3, seed=23) + 0.30 * north, 0.52, 0.72)

    # Fields: squares of about 3 km, each with a crop of its own.
    crop = _cells(x, y, 3_200.0, seed=5)
    ripe = _step(crop, harvest + 0.08, harvest - 0.08)
    lush = green_up * (0.55 + 0.45 * _cells(x, y, 3_200.0, seed=6))

    soil = np.array([1500.0, 1180.0, 820.0], dtype=np.float32)
    stubble = np.array([1850.0, 1520.0, 960.0], dtype=np.float32)
    leaf = np.array([420.0, 860.0, 380.0], dtype=np.float32)
    broadleaf = np.array([330.0, 640.0, 270.0], dtype=np.float32)
    orange = np.array([1350.0, 760.0, 330.0], dtype=np.float32)
    needle = np.array([230.0, 400.0, 230.0], dtype=np.float32)
    shallow = np.array([300.0, 420.0, 430.0], dtype=np.float32)
    deep = np.array([140.0, 230.0, 360.0], dtype=np.float32)

    # Autumn comes from the north, and not everywhere on the same day.
    turned = np.clip(autumn * (0.75 + 0.5 * north) + autumn * (_noise(x, y, 9e3, 2, seed=31) - 0.5), 0.0, 1.0)
    depth = _step(height, 0.30, 0.10)
    texture = 0.86 + 0.28 * _noise(x, y, 2_400.0, 2, seed=47)

    bands = []
    for band in range(3):
        field = _mix(soil[band], leaf[band], lush)
        field = _mix(field, stubble[band], ripe * 0.9)
        trees = _mix(_mix(broadleaf[band], orange[band], turned), needle[band], conifer)
        land = _mix(field, trees, forest) * (1.0 + relief) * texture
        lake = _mix(shallow[band], deep[band], depth)
        # Algae tint shallow water in high summer.
        bloom = 140.0 * green_up * (1.0 - depth) if band == 1 else 0.0
        seen = _mix(land, lake + bloom, water)
        # Steps of 0.001 are more than an eye can tell, and halve the size of the compressed files.
        bands.append((np.clip(np.rint(seen / 10), 1, 1000) * 10).astype(np.int16))
    return Reflectance(*bands)


def _height(x: NDArray[np.float64], y: NDArray[np.float64]) -> Values:
    """Terrain from 0 to about 1; what lies below 0.3 is water."""
    height = 0.16 + 0.74 * _noise(x, y, 70e3, 6, seed=1)
    for centre_x, centre_y, wide, high, depth in _BASINS:
        along = np.exp(-(((x - centre_x) / wide) ** 2))
        across = np.exp(-(((y - centre_y) / high) ** 2))
        height = height - np.float32(depth * 0.5) * np.outer(across, along).astype(np.float32)
    return np.asarray(height, dtype=np.float32)


def _noise(x: NDArray[np.float64], y: NDArray[np.float64], scale: float, octaves: int, *, seed: int) -> Values:
    """Value noise from 0 to 1 over the outer product of `y` and `x`; `scale` is the widest feature in metres."""
    total = np.zeros((y.size, x.size), dtype=np.float32)
    weight_sum = 0.0
    for octave in range(octaves):
        weight = 0.5**octave
        total += np.float32(weight) * _lattice(x * (2**octave / scale), y * (2**octave / scale), seed + 101 * octave)
        weight_sum += weight
    # Sums of octaves crowd around a half; stretched, so that thresholds keep their meaning.
    return np.asarray(np.clip((total / weight_sum - 0.5) * 1.5 + 0.5, 0.0, 1.0), dtype=np.float32)


def _lattice(x: NDArray[np.float64], y: NDArray[np.float64], seed: int) -> Values:
    """Random values at whole numbers, smoothly joined."""
    column, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    columns = np.arange(column.min(), column.max() + 2)
    rows = np.arange(row.min(), row.max() + 2)
    corners = _random(columns[np.newaxis, :], rows[:, np.newaxis], seed)
    at_x, at_y = column - columns[0], row - rows[0]
    blend_x = _smooth((x - column).astype(np.float32))[np.newaxis, :]
    blend_y = _smooth((y - row).astype(np.float32))[:, np.newaxis]
    # Along x first, for the few lattice rows only, then along y for every pixel.
    by_row = corners[:, at_x] * (1 - blend_x) + corners[:, at_x + 1] * blend_x
    return np.asarray(by_row[at_y] * (1 - blend_y) + by_row[at_y + 1] * blend_y, dtype=np.float32)


def _cells(x: NDArray[np.float64], y: NDArray[np.float64], size: float, *, seed: int) -> Values:
    """One random value from 0 to 1 for each square of `size` metres."""
    column, row = np.floor(x / size).astype(np.int64), np.floor(y / size).astype(np.int64)
    return _random(column[np.newaxis, :], row[:, np.newaxis], seed)


def _random(column: NDArray[np.int64], row: NDArray[np.int64], seed: int) -> Values:
    """A value from 0 to 1 for each pair of whole numbers: the same everywhere and always."""
    mixed = (
        column.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        ^ row.astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F)
        ^ np.uint64(seed * 0x165667B19E3779F9 % 2**64)
    )
    for shift, factor in ((33, 0xFF51AFD7ED558CCD), (29, 0xC4CEB9FE1A85EC53)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray((mixed >> np.uint64(40)).astype(np.float32) / np.float32(2**24), dtype=np.float32)


def _smooth(part: Values) -> Values:
    return part * part * (3 - 2 * part)


def _step(values: NDArray[np.floating], low: float, high: float) -> Values:
    """0 up to `low`, 1 from `high` on, smooth between; `low` may be the larger one."""
    return _smooth(np.clip((values - low) / (high - low), 0.0, 1.0).astype(np.float32))


def _mix(first: Values | float, second: Values | float, share: Values) -> Values:
    return np.asarray(first + (second - first) * share, dtype=np.float32)
