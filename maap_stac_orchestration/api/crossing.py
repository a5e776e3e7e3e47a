"""Searches by a box across the antimeridian, which pgstac would take for the box around the rest of the world.

Here belongs rewriting such a box for the database. Not here: anything else about searching.

pgstac 0.10.0 makes an envelope of the four numbers, whatever their order. RFC 7946, section 5.2, which the STAC API
follows, says that a box whose west is greater than its east crosses the antimeridian.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import Request
from geojson_pydantic import MultiPolygon
from stac_fastapi.pgstac.core import CoreCrudClient
from stac_fastapi.pgstac.types.search import PgstacSearch
from stac_fastapi.types.stac import ItemCollection


def crosses(bbox: Sequence[float] | None) -> bool:
    """Whether a box of four or six numbers crosses the antimeridian."""
    return bbox is not None and len(bbox) in (4, 6) and bbox[0] > bbox[len(bbox) // 2]


def two_boxes(bbox: Sequence[float]) -> dict[str, Any]:
    """The GeoJSON MultiPolygon of the parts of a box on both sides of the antimeridian."""
    half = len(bbox) // 2
    west, south, east, north = bbox[0], bbox[1], bbox[half], bbox[half + 1]
    return {"type": "MultiPolygon", "coordinates": [_ring(west, south, 180, north), _ring(-180, south, east, north)]}


class CrossingClient(CoreCrudClient):
    """stac-fastapi-pgstac's client for collections and items, for boxes anywhere on Earth."""

    def _clean_search_args(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What GET requests ask the database, items and collections alike."""
        cleaned: dict[str, Any] = super()._clean_search_args(*args, **kwargs)
        if crosses(cleaned.get("bbox")) and not cleaned.get("intersects"):
            cleaned["intersects"] = two_boxes(cleaned.pop("bbox"))
        return cleaned

    async def _search_base(self, search_request: PgstacSearch, request: Request) -> ItemCollection:
        """What POST requests ask the database."""
        if search_request.bbox is not None and crosses(search_request.bbox):
            area = MultiPolygon.model_validate(two_boxes(search_request.bbox))
            search_request = search_request.model_copy(update={"bbox": None, "intersects": area})
        return await super()._search_base(search_request, request=request)


def _ring(west: float, south: float, east: float, north: float) -> list[list[list[float]]]:
    return [[[west, south], [east, south], [east, north], [west, north], [west, south]]]
