"""Where pgstac's reading of STAC differs from the specification, put right on the way in and out.

Here belongs rewriting of searches, of the items that they give, and of the landing page. Not here: which extensions
there are (`stac`).

Measured on pgstac 0.10.0. It makes an envelope of the four numbers of a bbox, whatever their order: a box whose west is
greater than its east, which crosses the antimeridian by RFC 7946, section 5.2, becomes the rest of the world. And it
drops members that are null: an item with a range of time comes back without the `datetime: null` that STAC requires.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urljoin

from fastapi import Request
from geojson_pydantic import MultiPolygon
from stac_fastapi.pgstac.core import CoreCrudClient
from stac_fastapi.pgstac.types.search import PgstacSearch
from stac_fastapi.types.requests import get_base_url
from stac_fastapi.types.stac import ItemCollection, LandingPage


def crosses(bbox: Sequence[float] | None) -> bool:
    """Whether a box of four or six numbers crosses the antimeridian."""
    return bbox is not None and len(bbox) in (4, 6) and bbox[0] > bbox[len(bbox) // 2]


def two_boxes(bbox: Sequence[float]) -> dict[str, Any]:
    """The GeoJSON MultiPolygon of the parts of a box on both sides of the antimeridian."""
    half = len(bbox) // 2
    west, south, east, north = bbox[0], bbox[1], bbox[half], bbox[half + 1]
    return {"type": "MultiPolygon", "coordinates": [_ring(west, south, 180, north), _ring(-180, south, east, north)]}


class FaithfulClient(CoreCrudClient):
    """stac-fastapi-pgstac's client for collections and items, for boxes anywhere on Earth and times of any kind."""

    def _clean_search_args(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What GET requests ask the database, items and collections alike."""
        cleaned: dict[str, Any] = super()._clean_search_args(*args, **kwargs)
        if crosses(cleaned.get("bbox")) and not cleaned.get("intersects"):
            cleaned["intersects"] = two_boxes(cleaned.pop("bbox"))
        return cleaned

    async def landing_page(self, **kwargs: Any) -> LandingPage:
        """What `GET /` gives, with the way to the pages for people (RFC 8631 names the relation)."""
        page: LandingPage = await super().landing_page(**kwargs)
        status = {
            "rel": "status",
            "type": "text/html",
            "title": "How submissions are doing",
            "href": urljoin(get_base_url(kwargs["request"]), "status"),
        }
        page["links"].append(status)
        return page

    async def _search_base(self, search_request: PgstacSearch, request: Request) -> ItemCollection:
        """What every search for items asks the database, and what it gives."""
        if search_request.bbox is not None and crosses(search_request.bbox):
            area = MultiPolygon.model_validate(two_boxes(search_request.bbox))
            search_request = search_request.model_copy(update={"bbox": None, "intersects": area})
        found = await super()._search_base(search_request, request=request)
        fields = getattr(search_request, "fields", None)
        # Who names fields gets those.
        if not (fields and (fields.include or fields.exclude)):
            for item in found["features"]:
                _with_datetime(item)
        return found


def _with_datetime(item: Any) -> None:
    """Gives a time that is null back to an item that has a range instead."""
    properties = item.get("properties")
    if isinstance(properties, dict) and "start_datetime" in properties:
        properties.setdefault("datetime", None)


def _ring(west: float, south: float, east: float, north: float) -> list[list[list[float]]]:
    return [[[west, south], [east, south], [east, north], [west, north], [west, south]]]
