"""Water in a radar scene: a complete DPS algorithm whose outputs find their way into a STAC collection.

Reads one single-band raster, writes where its values lie below a threshold as a Cloud-Optimised GeoTIFF, and beside it
a STAC catalog with one item. The run-time parameter `collection_id` names the collection that the item asks for.
"""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path

import numpy as np
import pystac
import rasterio
from rasterio.shutil import copy as copy_raster
from rasterio.warp import transform_geom
from shapely.geometry import box, mapping, shape


def main() -> None:
    """Runs the algorithm on the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scene", required=True, help="path of the input raster, backscatter in decibels")
    parser.add_argument("--datetime", required=True, help="when it was acquired, RFC 3339")
    parser.add_argument("--threshold", type=float, default=-18.0, help="water is below it, decibels")
    parser.add_argument("--collection_id", default="", help="STAC collection for the outputs; empty: the default one")
    parser.add_argument("--output_dir", type=Path, default=Path("output"))
    given = parser.parse_args()
    acquired = datetime.fromisoformat(given.datetime)
    item_id = f"water-{Path(given.scene).stem}-{acquired:%Y%m%dT%H%M%S}"
    # A path from the root, or pystac cannot tell where an asset lies as seen from its item.
    folder = given.output_dir.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    footprint = write_water(Path(given.scene), folder / "water.tif", given.threshold)
    # An empty parameter asks for nothing: the item goes to the job's default collection.
    write_catalog(folder, item_id, acquired, footprint, given.collection_id.strip() or None)


def write_water(scene: Path, target: Path, threshold: float) -> dict:
    """Writes 1 where there is water and 0 where there is none; gives the footprint, in longitude and latitude."""
    with rasterio.open(scene) as source:
        values = source.read(1, masked=True)
        water = np.ma.filled((values < threshold).astype("uint8"), 255)
        footprint = transform_geom(source.crs, "EPSG:4326", mapping(box(*source.bounds)))
        profile = {**source.profile, "driver": "GTiff", "dtype": "uint8", "nodata": 255, "count": 1}
    plain = target.with_suffix(".plain.tif")
    with rasterio.open(plain, "w", **profile) as draft:
        draft.write(water, 1)
    copy_raster(plain, target, driver="COG", compress="DEFLATE")
    plain.unlink()
    return footprint


def write_catalog(folder: Path, item_id: str, acquired: datetime, footprint: dict, collection: str | None) -> None:
    """Writes catalog.json at the root of the output folder, and the item that it links to."""
    item = pystac.Item(
        id=item_id,
        geometry=footprint,
        bbox=list(shape(footprint).bounds),
        datetime=acquired,
        properties={},
        # Only the id. The collection is kept by the catalog that the item is loaded into.
        collection=collection,
    )
    item.add_asset(
        "water",
        pystac.Asset(str(folder / "water.tif"), title="Water extent", media_type=pystac.MediaType.COG, roles=["data"]),
    )
    catalog = pystac.Catalog(id="water-extent", description="Outputs of one job.")
    catalog.add_item(item)
    catalog.normalize_hrefs(str(folder))
    # Without this the hrefs are paths of the machine that the job runs on.
    item.make_asset_hrefs_relative()
    catalog.save(catalog_type=pystac.CatalogType.SELF_CONTAINED)


if __name__ == "__main__":
    main()
