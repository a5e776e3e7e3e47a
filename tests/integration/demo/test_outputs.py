"""What a demo job writes: Cloud-Optimised GeoTIFFs and STAC documents that others' readers accept."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pystac
import pytest
import rasterio
from rio_cogeo import cog_info, cog_validate

from maap_stac_orchestration.catalog.derived import derived
from maap_stac_orchestration.catalog.schema import ExtensionSchemas
from maap_stac_orchestration.demo.jobs import DemoJob, Layout, demo_jobs
from maap_stac_orchestration.demo.outputs import OutputFile, output_files
from tests.shared import published_schemas

TIME = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)


@pytest.fixture(scope="module")
def job() -> DemoJob:
    return demo_jobs()[0]


@pytest.fixture(scope="module")
def files(job: DemoJob) -> tuple[OutputFile, ...]:
    return output_files(job, TIME)


@pytest.fixture(scope="module")
def folder(files: tuple[OutputFile, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("job")
    for file in files:
        path = root / file.name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(file.data)
    return root


def document(files: tuple[OutputFile, ...], name: str) -> dict:
    return json.loads(next(file.data for file in files if file.name == name))


@pytest.mark.parametrize("band", ["red", "green", "blue"])
def test_each_band_is_a_valid_cog_of_the_whole_box(folder, job, band):
    valid, errors, warnings = cog_validate(folder / f"{band}.tif", quiet=True)
    assert (valid, errors, warnings) == (True, [], [])
    assert len(cog_info(folder / f"{band}.tif").IFD) > 1, "it has overviews"
    with rasterio.open(folder / f"{band}.tif") as image:
        assert image.crs.to_epsg() == 5070
        assert tuple(image.bounds) == job.box.bounds
        assert (image.dtypes, image.nodata) == (("int16",), -9999)
        assert image.profile["compress"] == "deflate"


def test_the_catalog_leads_to_the_item_and_the_item_to_its_images(folder, job):
    catalog = pystac.Catalog.from_file(folder / "catalog.json")
    assert catalog.id == "DPS"
    (item,) = catalog.get_items()
    assert item.id == job.item_id
    assert Path(item.self_href) == folder / job.item_id / f"{job.item_id}.json"
    assert sorted(item.assets) == ["blue", "green", "red"]
    for name, asset in item.assets.items():
        assert Path(asset.get_absolute_href()) == folder / f"{name}.tif"


def test_the_item_spans_its_month_and_ends_with_it(files, job):
    properties = document(files, f"{job.item_id}/{job.item_id}.json")["properties"]
    assert properties["start_datetime"] == "2024-06-01T00:00:00Z"
    assert properties["end_datetime"] == properties["datetime"] == "2024-06-30T23:59:59Z"


def test_the_projection_of_the_item_is_that_of_its_images(files, folder, job):
    properties = document(files, f"{job.item_id}/{job.item_id}.json")["properties"]
    with rasterio.open(folder / "red.tif") as image:
        assert properties["proj:epsg"] == image.crs.to_epsg()
        assert properties["proj:shape"] == list(image.shape)
        assert properties["proj:transform"] == list(image.transform)
        assert properties["proj:bbox"] == list(image.bounds)


def test_nothing_in_the_documents_is_absolute(files, job):
    for name in ("catalog.json", f"{job.item_id}/{job.item_id}.json"):
        found = document(files, name)
        hrefs = [link["href"] for link in found["links"]] + [
            asset["href"] for asset in found.get("assets", {}).values()
        ]
        assert hrefs
        assert all(href.startswith(("./", "../")) for href in hrefs)


def test_the_metadata_carries_the_tag_also_where_no_folder_does(files, job):
    assert job.layout is Layout.OLDER
    today = demo_jobs()[1]
    for one, written in ((job, files), (today, output_files(today, TIME))):
        metadata = document(written, one.metadata_name(TIME))
        assert metadata["username"] == "henrydevseed"
        assert metadata["algorithm_name"] == "HLSCloudFreeTemporalMosaic"
        assert (metadata["algorithm_version"], metadata["tag"]) == ("v0.1.1", "demo")


def test_the_catalog_is_uploaded_before_what_it_leads_to(files, job):
    names = [file.name for file in files]
    assert names.index("catalog.json") < names.index(job.metadata_name(TIME))
    assert names.index("catalog.json") < names.index(f"{job.item_id}/{job.item_id}.json")


@pytest.mark.parametrize("band", ["red", "green", "blue"])
def test_the_item_tells_the_statistics_of_its_images(files, folder, job, band):
    (told,) = document(files, f"{job.item_id}/{job.item_id}.json")["assets"][band]["raster:bands"]
    with rasterio.open(folder / f"{band}.tif") as image:
        values = image.read(1)
    assert (told["data_type"], told["nodata"]) == (str(values.dtype), -9999)
    # From a smaller version of the image.
    assert told["statistics"]["mean"] == pytest.approx(values.mean(), rel=0.02)
    assert told["statistics"]["stddev"] == pytest.approx(values.std(), rel=0.02)
    assert sum(told["histogram"]["buckets"]) == 128 * 128


def test_items_of_the_demo_are_valid_and_let_their_collection_be_shown_in_true_colour(files, job):
    item = document(files, f"{job.item_id}/{job.item_id}.json")
    assert derived([item])["renders"]["true-color"]["rescale"] == [[0, 2500]] * 3
    assert ExtensionSchemas(published_schemas()).check(item) == []
