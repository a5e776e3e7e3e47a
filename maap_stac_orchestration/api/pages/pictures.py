"""Pictures that pages draw themselves, as numbers for SVG: progress bars, footprints.

Here belongs where a line begins and ends. Not here: colours and sizes (`static/status.css`). A Content-Security-Policy
without inline styles forbids bars as boxes with a width; attributes of SVG are no styles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, cos, floor, log10, radians

from maap_stac_orchestration.api.pages.geography import Area, Box
from maap_stac_orchestration.api.pages.words import ORDER, STATES
from maap_stac_orchestration.ledger.records import State

#: Hundredths of the bar that even a single job among thousands gets, so that a failure is seen.
_LEAST = 1.5


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a progress bar, in hundredths of its length."""

    state: State
    label: str
    jobs: int
    x: float
    width: float


def bar(states: Mapping[State, int]) -> tuple[Segment, ...]:
    """The segments of a progress bar that is 100 long; none where there are no jobs."""
    present = [(state, states[state]) for state in ORDER if states.get(state, 0) > 0]
    total = sum(jobs for _, jobs in present)
    # Each gets the least, and the rest goes by number: small parts stay visible, and the order of sizes stays true.
    shared = 100 - _LEAST * len(present)
    segments, x = [], 0.0
    for state, jobs in present:
        width = _LEAST + shared * jobs / total
        segments.append(Segment(state, STATES[state].label, jobs, round(x, 3), round(width, 3)))
        x += width
    return tuple(segments)


@dataclass(frozen=True, slots=True)
class GridLine:
    """A meridian or a parallel: where it is drawn, and its name."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Footprints:
    """Where items lie, on a grid of longitudes and latitudes."""

    width: float
    height: float
    #: x, y, width and height of each.
    boxes: tuple[tuple[float, float, float, float], ...]
    meridians: tuple[GridLine, ...]
    parallels: tuple[GridLine, ...]
    #: The same in words.
    words: str


def footprints(boxes: Sequence[Box], area: Area, *, width: float = 480, height: float = 200) -> Footprints:
    """The picture of these boxes, of which there is at least one.

    The grid is as wide and as high as the picture: degrees of longitude are drawn shorter towards the poles, so
    that shapes are near to what they are on the ground.

    Args:
        boxes: as they lie on Earth, each with its west not east of its east.
        area: what holds all of them.
        width: of the picture, in points.
        height: of the picture, in points.
    """
    west, south, east, north = area.west, area.south, area.east, area.north
    middle_x, middle_y = (west + east) / 2, (south + north) / 2
    squeeze = max(cos(radians(middle_y)), 0.1)
    # Points of the picture for a degree of latitude: what is shown fills three quarters of it, and a single point
    # still has something around it.
    scale = 0.75 * min(width / (max(east - west, 0.02) * squeeze), height / max(north - south, 0.02))

    def x(longitude: float) -> float:
        return round(width / 2 + (longitude - middle_x) * squeeze * scale, 2)

    def y(latitude: float) -> float:
        return round(height / 2 - (latitude - middle_y) * scale, 2)

    half_x, half_y = width / 2 / squeeze / scale, height / 2 / scale
    return Footprints(
        width,
        height,
        # At least as large as can be seen.
        tuple(
            (x(w), y(n), max(round(x(e) - x(w), 2), 3), max(round(y(s) - y(n), 2), 3))
            for w, s, e, n in map(area.turned, boxes)
        ),
        tuple(
            GridLine(x(degrees), _longitude(degrees))
            for degrees in _marks(max(middle_x - half_x, area.cut), min(middle_x + half_x, area.cut + 360), 5)
        ),
        tuple(
            GridLine(y(degrees), _compass(degrees, "N", "S"))
            for degrees in _marks(max(middle_y - half_y, -90), min(middle_y + half_y, 90), 4)
        ),
        f"Items lie between {_longitude(west)} and {_longitude(east)}, "
        f"{_compass(south, 'N', 'S')} and {_compass(north, 'N', 'S')}.",
    )


def place_words(west: float, south: float, east: float, north: float) -> str:
    """`10° E to 13° E, 0° to 1° N`: what lies between four lines, in degrees."""
    return f"{_longitude(west)} to {_longitude(east)}, {_compass(south, 'N', 'S')} to {_compass(north, 'N', 'S')}"


def _marks(low: float, high: float, most: int) -> list[float]:
    """Round numbers between two others, at most so many."""
    least = (high - low) / most
    power = 10 ** floor(log10(least))
    step = next(step * power for step in (1, 2, 5, 10) if step * power >= least)
    return [round(number * step, 6) for number in range(ceil(low / step), floor(high / step) + 1)]


def _longitude(degrees: float) -> str:
    """Of a longitude that may have run on beyond the antimeridian."""
    return _compass(degrees - 360 if degrees > 180 else degrees, "E", "W")


def _compass(degrees: float, positive: str, negative: str) -> str:
    text = f"{abs(degrees):.2f}".rstrip("0").rstrip(".")
    return f"{text}°" if text == "0" else f"{text}° {positive if degrees > 0 else negative}"
