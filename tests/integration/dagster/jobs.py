"""Small DPS jobs in the test's bucket, and what a run reported of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import dagster as dg

from tests.integration.dagster.conftest import Location

PREFIX = "ana/dps_output/alg/v1/tag/2025/08/19/00/00/00/000001/"


def put_job(
    location: Location,
    prefix: str = PREFIX,
    *,
    asset: str = "./a.tif",
    item_id: str = "one",
    collections: Sequence[str | None] = (None,),
) -> None:
    """A job with one item for each of the collections; the first has the id, the others a number behind it."""
    username, _, algorithm, version, tag = prefix.split("/")[:5]
    metadata = {"username": username, "algorithm_name": algorithm, "algorithm_version": version, "tag": tag}
    links = []
    for number, collection in enumerate(collections):
        item = {
            "type": "Feature",
            "stac_version": "1.0.0",
            "stac_extensions": [],
            "id": f"{item_id}-{number}" if number else item_id,
            "geometry": {"type": "Point", "coordinates": [1, 2]},
            "bbox": [1, 2, 1, 2],
            "properties": {"datetime": "2024-01-01T00:00:00Z"},
            "links": [],
            "assets": {"a": {"href": asset}},
        } | ({"collection": collection} if collection is not None else {})
        location.store.put(f"{prefix}item-{number}.json", json.dumps(item).encode())
        links.append({"rel": "item", "href": f"./item-{number}.json"})
    catalog = {
        "type": "Catalog",
        "id": "catalog",
        "stac_version": "1.0.0",
        "description": "of a test",
        "links": links,
    }
    location.store.put(prefix + "output-2025-08-19T00:00:00.000001.met.json", json.dumps(metadata).encode())
    location.store.put(prefix + "a.tif", b"tif")
    location.store.put(prefix + "catalog.json", json.dumps(catalog).encode())


def listing_first() -> dict[str, Any]:
    """Configuration of a run that lists its day before it claims."""
    return {"ops": {"dps_catalogs": {"config": {"list_first": True}}}}


def metadata_of(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    """What the materialisation of an asset tells, as plain values."""
    (event,) = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in event.metadata.items()}
