"""Which jobs the demo submits: a regular grid of boxes times a number of months, and the output prefix of each.

Here belongs the plan, as plain values. Not here: what the jobs write (`outputs`, `landscape`), sending it (`submit`).
The case is the one that MAAP shows its users: monthly cloud-free mosaics of HLS imagery around the upper Mississippi.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from maap_stac_orchestration.governance.default_collection import default_collection_id

USERNAME = "henrydevseed"
ALGORITHM = "HLSCloudFreeTemporalMosaic"
VERSION = "v0.1.1"
TAG = "demo"

#: The projected coordinate system of the grid: CONUS Albers, metres.
EPSG = 5070
#: Side of a box: 8192 pixels of 30 m, in metres.
BOX_SIZE = 8192 * 30
#: What is to be covered, in metres of EPSG:5070: xmin, ymin, xmax, ymax.
AREA = (-105_000, 2_264_000, 566_000, 2_937_000)
#: Year and month of each mosaic.
MONTHS = tuple((2024, month) for month in range(6, 11))

#: The number that today's DPS appends to the algorithm's folder.
_DEPLOYMENT = 17


class Layout(StrEnum):
    """How the DPS names a job's output folder and its metadata."""

    #: `{algorithm}/{version}/{tag}/…` and `output-….met.json`.
    OLDER = "older"
    #: `{algorithm}_{N}/{version}/…` without a tag folder, and `outputs_result-….met.json`.
    TODAY = "today"


@dataclass(frozen=True, slots=True, order=True)
class Box:
    """One square of the grid, which is aligned to the origin of the coordinate system."""

    column: int
    row: int

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """xmin, ymin, xmax, ymax in metres of EPSG:5070."""
        left, bottom = self.column * BOX_SIZE, self.row * BOX_SIZE
        return left, bottom, left + BOX_SIZE, bottom + BOX_SIZE


@dataclass(frozen=True, slots=True)
class DemoJob:
    """One mosaic: a box in a month."""

    box: Box
    year: int
    month: int
    layout: Layout
    tag: str = TAG

    @property
    def start(self) -> datetime:
        """The first second of the month, UTC."""
        return datetime(self.year, self.month, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """The last second of the month, UTC."""
        last = calendar.monthrange(self.year, self.month)[1]
        return datetime(self.year, self.month, last, 23, 59, 59, tzinfo=UTC)

    @property
    def item_id(self) -> str:
        """The id of the one item that the job writes: bounds, start and end, as the algorithm names it."""
        bounds = "_".join(str(edge) for edge in self.box.bounds)
        return f"{bounds}-{self.start:%Y%m%d}-{self.end:%Y%m%d}"

    def prefix(self, time: datetime) -> str:
        """The output prefix of a run of this job at `time` (UTC), ending in `/`."""
        return f"{folder(self.layout, self.tag)}{time:%Y/%m/%d/%H/%M/%S/%f}/"

    def metadata_name(self, time: datetime) -> str:
        """The name of the job metadata of a run at `time` (UTC)."""
        if self.layout is Layout.OLDER:
            return f"output-{time:%Y-%m-%dT%H:%M:%S.%f}.met.json"
        return f"outputs_result-{time:%Y%m%dT%H%M%S%f}.met.json"


def folder(layout: Layout, tag: str = TAG) -> str:
    """The folder that holds all runs of the algorithm with a tag in a layout, ending in `/`.

    In today's layout it holds the runs with other tags too.
    """
    if layout is Layout.OLDER:
        return f"{USERNAME}/dps_output/{ALGORITHM}/{VERSION}/{tag}/"
    return f"{USERNAME}/dps_output/{ALGORITHM}_{_DEPLOYMENT}/{VERSION}/"


def grid(area: tuple[int, int, int, int] = AREA) -> tuple[Box, ...]:
    """The boxes that cover an area (xmin, ymin, xmax, ymax in metres), column by column from the south-west."""
    left, bottom, right, top = area
    return tuple(
        Box(column, row)
        for column in range(left // BOX_SIZE, -(-right // BOX_SIZE))
        for row in range(bottom // BOX_SIZE, -(-top // BOX_SIZE))
    )


def demo_jobs() -> tuple[DemoJob, ...]:
    """All jobs of the demo, month by month, so that the first few already cover a month; the layouts take turns."""
    return tuple(_jobs())


def _jobs() -> Iterator[DemoJob]:
    # Twelve boxes a month is an even number: the turn is shifted each month so that every box is seen in both layouts.
    for turn, (year, month) in enumerate(MONTHS):
        for place, box in enumerate(grid()):
            yield DemoJob(box, year, month, Layout.OLDER if (turn + place) % 2 == 0 else Layout.TODAY)


def default_collection(template: str) -> str:
    """The id of the one collection that all jobs of the demo end up in, by the template that the settings give."""
    return default_collection_id((USERNAME, ALGORITHM, VERSION, TAG), template).preferred
