"""The files of one simulated job: three Cloud-Optimised GeoTIFFs, the item, the catalog and what the DPS adds.

Here belongs what the files hold and in which order a DPS uploads them. Not here: which jobs there are (`jobs`) and
where the files go (`submit`). The item has the id, properties and links that the real algorithm writes by rio-stac.

It says more of its images than that algorithm's items do, which leaves out rio-stac's statistics: with them a
collection tells viewers between which values its images are to be shown, as `docs/collections.md` asks of algorithms.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pystac
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.warp import transform_geom

from maap_stac_orchestration.demo import jobs, landscape
from maap_stac_orchestration.demo.jobs import DemoJob

#: Pixels along each side of a box. The real ones have 8192; these show as much as a screen does, in an instant.
SIZE = 512
#: Smaller than the image, so that each file has an overview.
_BLOCK_SIZE = 256
_PROJECTION = "https://stac-extensions.github.io/projection/v1.1.0/schema.json"
_RASTER = "https://stac-extensions.github.io/raster/v1.1.0/schema.json"
#: Pixels along each side of what statistics are computed from; rio-stac too reads a smaller version of an image.
_STATISTICS_SIZE = 128
#: As many as rio-stac's, which are numpy's.
_BUCKETS = 10
_BANDS = ("red", "green", "blue")
_CRS = CRS.from_epsg(jobs.EPSG)


@dataclass(frozen=True, slots=True)
class OutputFile:
    """One object of a job."""

    #: Path below the output prefix.
    name: str
    data: bytes
    content_type: str


def output_files(job: DemoJob, time: datetime, size: int = SIZE) -> tuple[OutputFile, ...]:
    """All files of a run at `time` (UTC), in the order in which a DPS uploads its output folder.

    The images have `size` pixels along each side. The order is folder by folder: catalog.json comes before the job
    metadata and before the item that it links to, so whoever hears of the catalog first must wait for the rest.
    """
    reflectance = landscape.look(job.box.bounds, size, job.month)
    files = [
        OutputFile(f"{band}.tif", _cog(getattr(reflectance, band), job), "image/tiff; application=geotiff")
        for band in _BANDS
    ]
    files.extend(documents(job, time, size))
    files.append(OutputFile("_stdout.txt", _log(job, time), "text/plain"))
    files.append(OutputFile("_stderr.txt", b"", "text/plain"))
    return tuple(sorted(files, key=lambda file: (file.name.count("/"), file.name)))


def documents(job: DemoJob, time: datetime, size: int = SIZE) -> tuple[OutputFile, ...]:
    """The files of a run at `time` (UTC) that tell of the others: catalog, item and job metadata."""
    return (*_stac(job, size), _json(job.metadata_name(time), _metadata(job, time)))


def _cog(values: NDArray[np.int16], job: DemoJob) -> bytes:
    height, width = values.shape
    with MemoryFile() as memory:  # type: ignore[no-untyped-call]
        with memory.open(
            driver="COG",
            dtype="int16",
            count=1,
            width=width,
            height=height,
            crs=_CRS,
            transform=_transform(job, width),
            nodata=landscape.NODATA,
            compress="DEFLATE",
            predictor="STANDARD",
            blocksize=_BLOCK_SIZE,
            # One file is a matter of milliseconds; threads of GDAL's own would only compete with ours.
            num_threads=1,
        ) as dataset:
            dataset.write(values, 1)
        return bytes(memory.read())


def _transform(job: DemoJob, size: int) -> Affine:
    left, bottom, right, top = job.box.bounds
    return Affine((right - left) / size, 0.0, left, 0.0, (bottom - top) / size, top)


def _stac(job: DemoJob, size: int) -> list[OutputFile]:
    """The catalog and the item, linked and named by pystac as the algorithm does."""
    bounds = job.box.bounds
    geometry = transform_geom(_CRS, "EPSG:4326", _rectangle(bounds))
    longitudes, latitudes = zip(*geometry["coordinates"][0], strict=True)
    item = pystac.Item(
        id=job.item_id,
        geometry=geometry,
        bbox=[min(longitudes), min(latitudes), max(longitudes), max(latitudes)],
        datetime=job.end,
        start_datetime=job.start,
        end_datetime=job.end,
        properties={
            "proj:epsg": jobs.EPSG,
            "proj:geometry": _rectangle(bounds),
            "proj:bbox": [float(edge) for edge in bounds],
            "proj:shape": [size, size],
            "proj:transform": list(_transform(job, size)),
        },
        stac_extensions=[_PROJECTION, _RASTER],
    )
    seen = landscape.look(bounds, _STATISTICS_SIZE, job.month)
    # Where the files lie while pystac makes links relative; the folder leaves no trace in them.
    root = "/output"
    for band in _BANDS:
        item.add_asset(
            band,
            pystac.Asset(
                href=f"{root}/{band}.tif",
                description=f"Median {band} reflectance of the cloud-free pixels of the month, times 10,000",
                media_type=pystac.MediaType.COG,
                roles=["data"],
                extra_fields={"raster:bands": [_raster_band(getattr(seen, band))]},
            ),
        )
    catalog = pystac.Catalog(id="DPS", description="DPS", catalog_type=pystac.CatalogType.SELF_CONTAINED)
    catalog.add_item(item)
    catalog.normalize_hrefs(root)
    item.make_asset_hrefs_relative()
    return [
        _json("catalog.json", catalog.to_dict(include_self_link=False)),
        _json(f"{item.id}/{item.id}.json", item.to_dict(include_self_link=False)),
    ]


def _raster_band(values: NDArray[np.int16]) -> dict[str, Any]:
    """A band as the raster extension 1.1 has it, with the members that rio-stac's `with_raster` writes."""
    valid = values[values != landscape.NODATA]
    buckets, edges = np.histogram(valid, bins=_BUCKETS)
    return {
        "data_type": "int16",
        "scale": 1.0,
        "offset": 0.0,
        "sampling": "area",
        "nodata": landscape.NODATA,
        "statistics": {
            "mean": float(valid.mean()),
            "minimum": float(valid.min()),
            "maximum": float(valid.max()),
            "stddev": float(valid.std()),
            "valid_percent": 100.0 * valid.size / values.size,
        },
        "histogram": {
            "count": len(edges),
            "min": float(edges[0]),
            "max": float(edges[-1]),
            "buckets": buckets.tolist(),
        },
    }


def _rectangle(bounds: tuple[int, int, int, int]) -> dict[str, Any]:
    left, bottom, right, top = (float(edge) for edge in bounds)
    corners = [(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]
    return {"type": "Polygon", "coordinates": [[list(corner) for corner in corners]]}


def _metadata(job: DemoJob, time: datetime) -> dict[str, Any]:
    return {
        "username": jobs.USERNAME,
        "algorithm_name": jobs.ALGORITHM,
        "algorithm_version": jobs.VERSION,
        "tag": job.tag,
        "queue": "maap-dps-worker-16gb",
        "start_time": f"{time:%Y-%m-%dT%H:%M:%S.%fZ}",
        "params": {
            "start_datetime": f"{job.start:%Y-%m-%dT%H:%M:%SZ}",
            "end_datetime": f"{job.end:%Y-%m-%dT%H:%M:%SZ}",
            "bbox": " ".join(str(edge) for edge in job.box.bounds),
            "crs": f"epsg:{jobs.EPSG}",
        },
    }


def _log(job: DemoJob, time: datetime) -> bytes:
    return f"{time:%Y-%m-%d %H:%M:%S} simulated mosaic of {job.start:%B %Y} in {job.box.bounds}\n".encode()


def _json(name: str, document: dict[str, Any]) -> OutputFile:
    return OutputFile(name, json.dumps(document, indent=2).encode(), "application/json")
