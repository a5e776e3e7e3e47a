"""What people see: the demo's landscape, in its colours and its place, month by month."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from rasterio.warp import transform

from maap_stac_orchestration.demo import jobs, landscape
from tests.integration.tiler.conftest import COLLECTION, Tiler, eventually, job

JULY = "2024-07-01T00:00:00Z/2024-07-31T23:59:59Z"
OCTOBER = "2024-10-01T00:00:00Z/2024-10-31T23:59:59Z"
SIZE = 512
ZOOM = 9
#: Steps of a color that reading the nearest pixel of another grid may be off, beside its neighbours' own differences.
TOLERANCE = 3

pytestmark = pytest.mark.usefixtures("demo")


def lon_lat(x: float, y: float) -> tuple[float, float]:
    """From the grid's coordinate system."""
    longitudes, latitudes = transform(f"EPSG:{jobs.EPSG}", "EPSG:4326", [x], [y])
    return longitudes[0], latitudes[0]


def tile_of(lon: float, lat: float, zoom: int = ZOOM) -> tuple[int, int, float, float]:
    """Column and row of the tile of a place, and where in it the place is, from 0 to 1."""
    across = (lon + 180) / 360 * 2**zoom
    down = (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * 2**zoom
    return int(across), int(down), across % 1, down % 1


def places(column: int, row: int) -> Iterator[tuple[int, int]]:
    """Some pixels of a box, its centre first."""
    yield SIZE // 2, SIZE // 2
    for part_x, part_y in ((0.2, 0.2), (0.8, 0.2), (0.2, 0.8), (0.8, 0.8), (0.5, 0.3)):
        yield int(SIZE * part_x), int(SIZE * part_y)


def ground(column: int, row: int, pixel: tuple[int, int]) -> tuple[float, float]:
    """Where the centre of a pixel lies, in the grid's coordinate system."""
    left, bottom, right, top = jobs.Box(column, row).bounds
    across, down = (part + 0.5 for part in pixel)
    return left + (right - left) * across / SIZE, top - (top - bottom) * down / SIZE


def expected(column: int, row: int, month: int) -> Any:
    """What the landscape looks like there as colours from 0 to 255: bands, rows, columns."""
    seen = landscape.look(jobs.Box(column, row).bounds, SIZE, month)
    return np.clip(np.stack([seen.red, seen.green, seen.blue]) / 3000 * 255, 0, 255)


def shown(tiler: Tiler, place: tuple[float, float], **parameters: Any) -> Any:
    """The four bands of the pixel of a place in the collection's mosaic."""
    x, y, across, down = tile_of(*lon_lat(*place))
    image = tiler.image(f"/collections/{COLLECTION}/tiles/WebMercatorQuad/{ZOOM}/{x}/{y}.png", **parameters)
    size = image.shape[1]
    return image[:, int(down * size), int(across * size)]


def assert_like(color: Any, picture: Any, pixel: tuple[int, int]) -> None:
    """A color is between those of a pixel and its neighbours."""
    x, y = pixel
    around = picture[:, y - 1 : y + 2, x - 1 : x + 2]
    assert color[3] == 255
    for band in range(3):
        assert around[band].min() - TOLERANCE <= color[band] <= around[band].max() + TOLERANCE


@pytest.mark.parametrize(("month", "interval"), [(7, JULY), (10, OCTOBER)])
def test_a_mosaic_of_a_month_has_the_colours_of_the_landscape_in_its_place(tiler, month, interval):
    picture = expected(1, 10, month)
    for pixel in places(1, 10):
        assert_like(shown(tiler, ground(1, 10, pixel), datetime=interval), picture, pixel)


def test_two_months_look_different(tiler):
    x, y, _, _ = tile_of(*lon_lat(*ground(1, 10, (SIZE // 2, SIZE // 2))))
    path = f"/collections/{COLLECTION}/tiles/WebMercatorQuad/{ZOOM}/{x}/{y}.png"
    july, october = (tiler.image(path, datetime=interval).astype(int) for interval in (JULY, OCTOBER))
    assert np.abs(july[:3] - october[:3]).mean() > 5


def test_items_side_by_side_make_one_picture(tiler):
    for column in (1, 2):
        assert_like(
            shown(tiler, ground(column, 10, (SIZE // 2, SIZE // 2)), datetime=JULY),
            expected(column, 10, 7),
            (SIZE // 2, SIZE // 2),
        )


def test_it_is_transparent_outside(tiler):
    inside, outside = ground(1, 10, (SIZE // 2, 6)), ground(1, 10, (SIZE // 2, -6))
    assert shown(tiler, inside, datetime=JULY)[3] == 255
    assert shown(tiler, outside, datetime=JULY)[3] == 0


def test_a_tile_without_items_is_empty_and_no_error(tiler):
    answer = tiler.get(f"/collections/{COLLECTION}/tiles/WebMercatorQuad/{ZOOM}/0/0.png", assets="red")
    assert (answer.status_code, answer.content) == (204, b"")


def test_a_tile_beyond_an_item_is_empty_and_no_error(tiler, demo):
    path = f"/collections/{COLLECTION}/items/{demo[1, 10, 7]['id']}/tiles/WebMercatorQuad/{ZOOM}/0/0.png"
    answer = tiler.get(path, assets="red")
    assert (answer.status_code, answer.content) == (204, b"")


def test_tilejson_leads_to_tiles(tiler):
    answer = tiler.get(
        f"/collections/{COLLECTION}/WebMercatorQuad/tilejson.json",
        assets=["red", "green", "blue"],
        datetime=JULY,
        rescale="0,3000",
    ).json()
    left, bottom, right, top = answer["bounds"]
    lon, lat = lon_lat(*ground(1, 10, (SIZE // 2, SIZE // 2)))
    assert left <= lon <= right
    assert bottom <= lat <= top
    x, y, _, _ = tile_of(lon, lat)
    template = answer["tiles"][0]
    assert template.startswith(tiler.url)
    address = template.replace("{z}", str(ZOOM)).replace("{x}", str(x)).replace("{y}", str(y))
    picture = tiler.get(address.removeprefix(tiler.url))
    assert picture.headers["Content-Type"].startswith("image/")


def test_the_bounds_of_a_mosaic_are_those_of_the_collection(tiler):
    bounds = tiler.get(f"/collections/{COLLECTION}/WebMercatorQuad/tilejson.json", assets="red").json()["bounds"]
    assert bounds == [-180, -90, 180, 90]


def test_a_preview_is_the_whole_item(tiler, demo):
    item = demo[1, 10, 7]
    image = tiler.image(f"/collections/{COLLECTION}/items/{item['id']}/preview.png")
    picture = expected(1, 10, 7)
    assert image.shape == (4, SIZE, SIZE)
    assert (image[3] == 255).all()
    assert np.abs(image[:3].astype(float) - picture).max() <= 1


def test_a_preview_is_as_small_as_asked_for(tiler, demo):
    path = f"/collections/{COLLECTION}/items/{demo[1, 10, 7]['id']}/preview.png"
    assert tiler.image(path, max_size=64).shape == (4, 64, 64)


def test_values_of_a_point_are_those_of_the_landscape(tiler):
    pixel = SIZE // 2, SIZE // 3
    lon, lat = lon_lat(*ground(1, 10, pixel))
    answer = tiler.get(f"/collections/{COLLECTION}/point/{lon},{lat}", assets=["red", "green", "blue"], datetime=JULY)
    seen = landscape.look(jobs.Box(1, 10).bounds, SIZE, 7)
    values = [float(band[pixel[1], pixel[0]]) for band in (seen.red, seen.green, seen.blue)]
    assert [asset["values"] for asset in answer.json()["assets"]] == [values]


def test_statistics_of_an_item_are_those_of_the_landscape(tiler, demo):
    path = f"/collections/{COLLECTION}/items/{demo[1, 10, 7]['id']}/statistics"
    (found,) = tiler.get(path, assets="red").json().values()
    seen = landscape.look(jobs.Box(1, 10).bounds, SIZE, 7)
    assert (found["min"], found["max"]) == (seen.red.min(), seen.red.max())


def test_desktop_programs_find_layers(tiler):
    answer = tiler.get(f"/collections/{COLLECTION}/WMTSCapabilities.xml", assets="red", rescale="0,3000")
    assert answer.status_code == 200
    assert "WebMercatorQuad" in answer.text


def test_an_item_that_comes_shows_in_the_mosaic(tiler):
    collection = tiler.new_collection()
    x, y, _, _ = tile_of(*lon_lat(*ground(1, 10, (SIZE // 2, SIZE // 2))))
    path = f"/collections/{collection}/tiles/WebMercatorQuad/{ZOOM}/{x}/{y}.png"
    assert tiler.get(path, assets="red").status_code == 204
    tiler.put_outputs(job(1, 10, 7), collection, folder="comes")
    eventually(lambda: tiler.get(path, assets="red").status_code == 200)


def test_an_item_that_is_replaced_is_shown_anew(tiler):
    collection = tiler.new_collection()
    item = tiler.put_outputs(job(1, 10, 7), collection, folder="before")
    path = f"/collections/{collection}/items/{item['id']}/preview.png"
    before = tiler.image(path)
    other = tiler.put_outputs(job(1, 10, 10), tiler.new_collection(), folder="after")
    tiler.put_item({**item, "assets": other["assets"]})
    eventually(lambda: not np.array_equal(tiler.image(path), before))


def test_a_file_that_is_written_anew_is_shown_anew(tiler):
    collection = tiler.new_collection()
    item = tiler.put_outputs(job(1, 10, 7), collection, folder="same")
    path = f"/collections/{collection}/items/{item['id']}/preview.png"
    before = tiler.image(path)
    tiler.put_outputs(job(1, 10, 10), tiler.new_collection(), folder="same")
    after = tiler.image(path)
    assert np.abs(after[:3].astype(float) - expected(1, 10, 10)).max() <= 1
    assert not np.array_equal(before, after)
