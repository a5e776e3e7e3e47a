"""The demo's grid, months, ids and prefixes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from maap_stac_orchestration.demo.jobs import (
    BOX_SIZE,
    USERNAME,
    Box,
    DemoJob,
    Layout,
    default_collection,
    demo_jobs,
    grid,
)
from maap_stac_orchestration.dps.metadata import is_metadata_name
from maap_stac_orchestration.dps.output_prefix import parse_output_prefix
from maap_stac_orchestration.settings import Settings

TIME = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)


def test_the_grid_is_twelve_boxes_aligned_to_the_origin_of_the_coordinate_system():
    assert BOX_SIZE == 245_760
    assert [(box.column, box.row) for box in grid()] == [
        (column, row) for column in range(-1, 3) for row in range(9, 12)
    ]


def test_the_grid_covers_the_area_with_no_box_outside_it():
    area = (-105_000, 2_264_000, 566_000, 2_937_000)
    boxes = [box.bounds for box in grid(area)]
    assert min(box[0] for box in boxes) <= area[0] < min(box[2] for box in boxes)
    assert min(box[1] for box in boxes) <= area[1] < min(box[3] for box in boxes)
    assert max(box[0] for box in boxes) < area[2] <= max(box[2] for box in boxes)
    assert max(box[1] for box in boxes) < area[3] <= max(box[3] for box in boxes)


def test_an_area_that_ends_on_the_grid_takes_no_further_box():
    assert grid((0, 0, BOX_SIZE, 2 * BOX_SIZE)) == (Box(0, 0), Box(0, 1))


def test_there_are_sixty_jobs_each_with_an_item_of_its_own():
    jobs = demo_jobs()
    assert len(jobs) == 60
    assert len({job.item_id for job in jobs}) == 60
    assert {(job.year, job.month) for job in jobs} == {(2024, month) for month in range(6, 11)}


def test_half_of_the_jobs_have_each_layout_in_every_month():
    for month in range(6, 11):
        layouts = [job.layout for job in demo_jobs() if job.month == month]
        assert layouts.count(Layout.OLDER) == layouts.count(Layout.TODAY) == 6


def test_the_first_twelve_jobs_cover_one_month():
    assert {job.month for job in demo_jobs()[:12]} == {6}


def test_an_item_is_named_by_bounds_start_and_end_as_the_algorithm_does():
    assert DemoJob(Box(-1, 9), 2024, 6, Layout.OLDER).item_id == "-245760_2211840_0_2457600-20240601-20240630"
    assert DemoJob(Box(2, 11), 2024, 10, Layout.TODAY).item_id == "491520_2703360_737280_2949120-20241001-20241031"


@pytest.mark.parametrize(
    ("layout", "prefix", "metadata"),
    [
        (
            Layout.OLDER,
            "henrydevseed/dps_output/HLSCloudFreeTemporalMosaic/v0.1.1/demo/2026/03/04/05/06/07/000089/",
            "output-2026-03-04T05:06:07.000089.met.json",
        ),
        (
            Layout.TODAY,
            "henrydevseed/dps_output/HLSCloudFreeTemporalMosaic_17/v0.1.1/2026/03/04/05/06/07/000089/",
            "outputs_result-20260304T050607000089.met.json",
        ),
    ],
)
def test_prefix_and_metadata_are_named_by_layout(layout, prefix, metadata):
    job = DemoJob(Box(0, 9), 2024, 6, layout)
    assert job.prefix(TIME) == prefix
    assert job.metadata_name(TIME) == metadata
    assert is_metadata_name(metadata)
    parsed = parse_output_prefix(prefix)
    assert (parsed.username, parsed.version, parsed.time) == (USERNAME, "v0.1.1", TIME)


def test_all_jobs_share_the_default_collection_of_the_contract():
    template = Settings.model_fields["default_collection_template"].default
    assert default_collection(template) == "henrydevseed__HLSCloudFreeTemporalMosaic__v0.1.1__demo"
