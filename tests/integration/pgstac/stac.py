"""STAC documents as tests write them."""

from __future__ import annotations

from typing import Any

from maap_stac_orchestration.pgstac.collections import extent_of
from maap_stac_orchestration.pgstac.description import NewCollection


def item(id: str, collection: str = "things", **changes: Any) -> dict[str, Any]:
    """A small valid item; `changes` replace members, `datetime` and `west` shape it."""
    west = changes.pop("west", 0.0)
    moment = changes.pop("datetime", "2024-06-01T00:00:00Z")
    document: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": id,
        "collection": collection,
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[west, 0], [west + 1, 0], [west + 1, 1], [west, 1], [west, 0]]],
        },
        "bbox": [west, 0, west + 1, 1],
        "properties": {"datetime": moment},
        "assets": {"data": {"href": f"s3://bucket/{id}.tif"}},
        "links": [],
    }
    return document | changes


def new_collection(id: str = "things", **changes: Any) -> NewCollection:
    """A default collection of henrydevseed's, with the extent of one item."""
    values: dict[str, Any] = {
        "id": id,
        "username": "henrydevseed",
        "algorithm": "HLSCloudFreeTemporalMosaic",
        "version": "v0.1.1",
        "tag": "demo",
        "default": True,
        "extent": extent_of([item("one", id)]),
        "creation": {},
    }
    return NewCollection(**(values | changes))
