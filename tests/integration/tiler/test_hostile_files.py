"""Items and files that lead elsewhere: the tiler opens none of it, and shows the other items all the same."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.transform import from_bounds

from tests.integration.tiler.conftest import BUCKET, Tiler

BOUNDS = (-100.0, 40.0, -99.0, 41.0)
#: The tile of zoom 7 that BOUNDS lie in.
TILE = "7/28/48"
SECRET = 77


class Listener:
    """A server at a private address, which counts who comes."""

    def __init__(self) -> None:
        self.visits = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.visits += 1
                connection.close()

    def remove(self) -> None:
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.remove()


def raster(value: int = 7, size: int = 64, **options: Any) -> bytes:
    """A small GeoTIFF of one value."""
    profile = {"driver": "GTiff", "width": size, "height": size, "count": 1, "dtype": "uint8"} | options
    with MemoryFile() as memory:
        with memory.open(crs=CRS.from_epsg(4326), transform=from_bounds(*BOUNDS, size, size), **profile) as file:
            file.write(np.full((1, profile["height"], profile["width"]), value, "uint8"))
        return bytes(memory.read())


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """A raster of the machine that the tiler runs on, which everybody may read."""
    path = tmp_path / "local.tif"
    path.write_bytes(raster(SECRET))
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == path.stat().st_uid and folder != Path("/"):
            with contextlib.suppress(PermissionError):
                folder.chmod(folder.stat().st_mode | 0o055)
    return path


def vrt(source: str) -> bytes:
    """A VRT of one band, which another file is."""
    left, bottom, right, top = BOUNDS
    return f"""<VRTDataset rasterXSize="64" rasterYSize="64"><SRS>EPSG:4326</SRS>
<GeoTransform>{left}, {(right - left) / 64}, 0, {top}, 0, {(bottom - top) / 64}</GeoTransform>
<VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename relativeToVRT="0">{source}</SourceFilename>
<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>""".encode()


def put_item(tiler: Tiler, collection: str, id: str, href: str, **asset: Any) -> str:
    """An item with one asset `data`; gives the path of its preview."""
    left, bottom, right, top = BOUNDS
    corners = [[left, bottom], [right, bottom], [right, top], [left, top], [left, bottom]]
    tiler.put_item(
        {
            "type": "Feature",
            "stac_version": "1.1.0",
            "id": id,
            "collection": collection,
            "geometry": {"type": "Polygon", "coordinates": [corners]},
            "bbox": list(BOUNDS),
            "properties": {"datetime": "2024-01-01T00:00:00Z"},
            "links": [],
            "assets": {"data": {"href": href, "type": "image/tiff; application=geotiff", **asset}},
        }
    )
    return f"/collections/{collection}/items/{id}/preview.tif"


@pytest.fixture
def collection(tiler: Tiler) -> str:
    return tiler.new_collection()


def refused(tiler: Tiler, path: str, status: int = 422) -> str:
    """That it is refused, in a problem document; gives what is said."""
    answer = tiler.get(path, assets="data")
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    return answer.json()["detail"]


def test_what_is_refused_here_can_be_opened_by_gdal(local):
    """Or else nothing were shown by the tests below."""
    with MemoryFile(vrt(str(local)), ext=".vrt") as file, file.open() as opened:
        assert (opened.read() == SECRET).all()


def test_a_usual_file_is_shown(tiler, collection):
    path = put_item(tiler, collection, "usual", tiler.put(f"{collection}/usual.tif", raster()))
    answer = tiler.get(path, assets="data")
    with MemoryFile(answer.content) as file, file.open() as opened:
        assert (opened.read(1) == 7).all()


def test_a_vrt_that_calls_itself_tif_is_not_opened(tiler, collection, local):
    path = put_item(tiler, collection, "vrt", tiler.put(f"{collection}/vrt.tif", vrt(str(local))))
    assert "is not a GeoTIFF file" in refused(tiler, path)


def test_a_vrt_that_leads_to_a_private_address_is_not_followed(tiler, collection, listener):
    source = f"/vsicurl/http://127.0.0.1:{listener.port}/latest/meta-data/x.tif"
    path = put_item(tiler, collection, "vrt", tiler.put(f"{collection}/vrt.tif", vrt(source)))
    refused(tiler, path)
    assert listener.visits == 0


def test_overviews_that_lie_elsewhere_are_not_opened(tiler, collection, local, listener, tmp_path):
    for number, elsewhere in enumerate((str(local), f"/vsicurl/http://127.0.0.1:{listener.port}/x.tif")):
        made = tmp_path / f"overviews-{number}.tif"
        made.write_bytes(raster())
        with rasterio.open(made, "r+") as file:
            file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=elsewhere)
        id = f"overviews-{number}"
        path = put_item(tiler, collection, id, tiler.put(f"{collection}/{id}.tif", made.read_bytes()))
        assert "names other files" in refused(tiler, path)
    assert listener.visits == 0


def test_files_beside_a_file_are_not_opened(tiler, collection, local):
    href = tiler.put(f"{collection}/beside.tif", raster(size=1024))
    tiler.put(f"{collection}/beside.tif.ovr", vrt(str(local)))
    tiler.put(f"{collection}/beside.tif.msk", vrt(str(local)))
    path = put_item(tiler, collection, "beside", href)
    answer = tiler.get(path, assets="data", max_size=64)
    with MemoryFile(answer.content) as file, file.open() as opened:
        assert (opened.read(1) == 7).all()


@pytest.mark.parametrize(
    "href",
    [
        "file:///etc/hostname.tif",
        "/etc/hostname.tif",
        "/vsicurl/http://127.0.0.1:{port}/x.tif",
        "/vsis3/other/x.tif",
        "http://127.0.0.1:{port}/x.tif",
        "https://127.0.0.1:{port}/x.tif",
        "https://example.org/x.tif",
        "s3://somebody-elses-bucket/x.tif",
        "s3://{bucket}@127.0.0.1:{port}/x.tif",
        "vrt://s3://{bucket}/x.tif",
        "zip+s3://{bucket}/x.zip!x.tif",
        "/vsizip//vsicurl/http://127.0.0.1:{port}/x.zip/x.tif",
        "s3://{bucket}/x.tif?y=http://127.0.0.1:{port}/.tif",
        "s3://{bucket}/x.vrt",
        "GTIFF_DIR:1:/etc/x.tif",
        "<VRTDataset/>.tif",
        "",
    ],
)
def test_addresses_that_are_not_ours_are_not_opened(tiler, collection, listener, href):
    path = put_item(tiler, collection, "elsewhere", href.format(port=listener.port, bucket=BUCKET))
    said = refused(tiler, path)
    assert "tiler" in said or "address" in said
    assert listener.visits == 0


def test_an_alternate_is_no_way_around(tiler, collection, listener):
    alternate = {"s3": {"href": f"http://127.0.0.1:{listener.port}/x.tif"}}
    href = tiler.put(f"{collection}/usual.tif", raster())
    path = put_item(tiler, collection, "alternate", href, alternate=alternate)
    assert tiler.get(path, assets="data").status_code == 200
    assert listener.visits == 0


def test_a_file_of_huge_tiles_is_not_read(tiler, collection, tmp_path):
    made, size = tmp_path / "huge.tif", 16_384
    # A few hundred bytes, of which one pixel costs 256 MiB.
    profile = {"width": size, "height": size, "count": 1, "dtype": "uint8", "sparse_ok": True, "compress": "deflate"}
    blocks = {"tiled": True, "blockxsize": size, "blockysize": size}
    place = from_bounds(*BOUNDS, size, size)
    with rasterio.open(made, "w", driver="GTiff", crs=CRS.from_epsg(4326), transform=place, **profile, **blocks):
        pass
    path = put_item(tiler, collection, "huge", tiler.put(f"{collection}/huge.tif", made.read_bytes()))
    assert "Cloud-Optimised GeoTIFF" in refused(tiler, path)


@pytest.mark.parametrize(
    ("asset", "status"),
    [
        ({"raster:bands": "no list"}, 422),
        ({"raster:bands": [{"statistics": 5}]}, 422),
        ({"file:header_size": 10**15}, 200),
        ({"proj:transform": [0, 0, 0, 0, 0, 0], "proj:shape": [0, 0], "proj:epsg": "what"}, 200),
    ],
)
def test_metadata_of_an_asset_break_nothing(tiler, collection, asset, status):
    href = tiler.put(f"{collection}/usual.tif", raster())
    path = put_item(tiler, collection, "strange", href, **asset)
    assert tiler.get(path, assets="data").status_code == status


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("missing", None),
        ("vrt", vrt("/etc/hostname.tif")),
        ("text", b"no raster at all"),
        ("cut", raster(size=512, tiled=True, blockxsize=256, blockysize=256)[:5000]),
    ],
)
def test_a_mosaic_does_without_a_file_that_cannot_be_shown(tiler, collection, name, data):
    href = f"s3://{BUCKET}/{collection}/{name}.tif"
    if data is not None:
        tiler.put(f"{collection}/{name}.tif", data)
    # Both are asked for, in whatever order.
    put_item(tiler, collection, f"a-{name}", href)
    put_item(tiler, collection, "b-usual", tiler.put(f"{collection}/usual.tif", raster()))
    answer = tiler.get(
        f"/collections/{collection}/tiles/WebMercatorQuad/{TILE}.tif",
        assets="data",
        skipcovered=False,
        exitwhenfull=False,
    )
    assert answer.status_code == 200, answer.text
    with MemoryFile(answer.content) as file, file.open() as opened:
        seen, mask = opened.read(1), opened.read(2)
    assert (seen[mask > 0] == 7).all()
    assert (mask > 0).any()
