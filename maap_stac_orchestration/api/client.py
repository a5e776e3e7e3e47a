"""Where pgstac's reading of STAC differs from the specification, put right on the way in and out.

Here belongs rewriting of searches, of the items that they give, and of the landing page. Not here: which extensions
there are (`stac`).

Measured on pgstac 0.10.0. It makes an envelope of the four numbers of a bbox, whatever their order: a box whose west is
greater than its east, which crosses the antimeridian by RFC 7946, section 5.2, becomes the rest of the world. And it
drops members that are null: an item with a range of time comes back without the `datetime: null` that STAC requires.
stac-fastapi-pgstac 7.2 decodes JSON in GET parameters a second time, without looking whether it is JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote_plus, urljoin

import attr
import orjson
from fastapi import Request
from fastapi.responses import Response
from geojson_pydantic import MultiPolygon
from pydantic import model_validator
from pydantic_core import PydanticSerializationError
from stac_fastapi.pgstac.core import CoreCrudClient
from stac_fastapi.pgstac.types.search import PgstacSearch
from stac_fastapi.types.requests import get_base_url
from stac_fastapi.types.stac import Collection, Collections, ItemCollection, LandingPage

from maap_stac_orchestration.api import free_text, query_extension
from maap_stac_orchestration.api.collection_links import served_links
from maap_stac_orchestration.api.parameters import invalid
from maap_stac_orchestration.api.problem_documents import ApiError


def crosses(bbox: Sequence[float] | None) -> bool:
    """Whether a box of four or six numbers crosses the antimeridian."""
    return bbox is not None and len(bbox) in (4, 6) and bbox[0] > bbox[len(bbox) // 2]


def two_boxes(bbox: Sequence[float]) -> dict[str, Any]:
    """The GeoJSON MultiPolygon of the parts of a box on both sides of the antimeridian."""
    half = len(bbox) // 2
    west, south, east, north = bbox[0], bbox[1], bbox[half], bbox[half + 1]
    return {"type": "MultiPolygon", "coordinates": [_ring(west, south, 180, north), _ring(-180, south, east, north)]}


class ObjectSearch(PgstacSearch):
    """The body of a search, which stac-pydantic takes for an object before it has looked."""

    @model_validator(mode="before")
    @classmethod
    def _an_object(cls, value: Any) -> Any:
        if isinstance(value, str | int | float | list):
            raise ValueError("the body is no JSON object; send one, for example {}")  # noqa: TRY004 (pydantic tells)
        return value


@attr.s
class FaithfulClient(CoreCrudClient):
    """stac-fastapi-pgstac's client for collections and items, for boxes anywhere on Earth and times of any kind."""

    #: Where people reach the tiler, None where there is none.
    tiler_url: str | None = attr.ib(default=None)
    #: Where people read about an algorithm, None where nowhere.
    algorithm_url: str | None = attr.ib(default=None)

    async def all_collections(self, *args: Any, **kwargs: Any) -> Collections:
        """What `GET /collections` gives."""
        found: Collections = await super().all_collections(*args, **_with_json(kwargs, "query"))
        # Who names fields gets an answer that is encoded already, with those fields.
        if not isinstance(found, Response):
            for collection in found["collections"]:
                self.add_links(collection, kwargs["request"])
        return found

    async def get_collection(self, *args: Any, **kwargs: Any) -> Collection:
        """What `GET /collections/{id}` gives."""
        found: Collection = await super().get_collection(*args, **kwargs)
        self.add_links(found, kwargs["request"])
        return found

    def add_links(self, collection: Any, request: Request) -> None:
        """Adds to a collection, which has its links within the STAC API, where else it can be seen."""
        collection["links"] += served_links(
            collection, get_base_url(request), tiler=self.tiler_url, algorithm=self.algorithm_url
        )

    async def get_search(self, *args: Any, **kwargs: Any) -> ItemCollection:
        """What `GET /search` gives."""
        return _of_features(await super().get_search(*args, **_with_json(kwargs, "query", "intersects")))

    async def post_search(self, *args: Any, **kwargs: Any) -> ItemCollection:
        """What `POST /search` gives."""
        return _of_features(await super().post_search(*args, **kwargs))

    async def item_collection(self, *args: Any, **kwargs: Any) -> ItemCollection:
        """What `GET /collections/{id}/items` gives."""
        return _of_features(await super().item_collection(*args, **_with_json(kwargs, "query")))

    def _clean_search_args(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What GET requests ask the database, items and collections alike."""
        kwargs["q"] = _text(kwargs.get("q"))
        # A comma too many is no field.
        kwargs["fields"] = [field for field in kwargs.get("fields") or () if field.strip("+- ")] or None
        cleaned: dict[str, Any] = super()._clean_search_args(*args, **kwargs)
        if crosses(cleaned.get("bbox")) and not cleaned.get("intersects"):
            cleaned["intersects"] = two_boxes(cleaned.pop("bbox"))
        if (condition := _condition(cleaned.pop("query", None))) is not None:
            given = cleaned.get("filter")
            cleaned |= {"filter": _both(given, condition), "filter_lang": "cql2-json"}
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
        if (condition := _condition(getattr(search_request, "query", None))) is not None:
            update = {"query": None, "filter_expr": condition, "filter_lang": "cql2-json"}
            search_request = search_request.model_copy(update=update)
        try:
            found = await super()._search_base(search_request, request=request)
        except PydanticSerializationError as error:
            told = "A text in the request has half a character in it (a surrogate without the other); take it out."
            raise ApiError(HTTPStatus.BAD_REQUEST, told, code="SearchUnusable") from error
        fields = getattr(search_request, "fields", None)
        # Who names fields gets those.
        if not (fields and (fields.include or fields.exclude)):
            for item in found["features"]:
                _with_datetime(item)
        return found


def _of_features(found: Any) -> ItemCollection:
    """The answer, which is GeoJSON also where fields were named; stac-fastapi-pgstac 7.2 calls it plain JSON then."""
    if isinstance(found, Response):
        found.headers["Content-Type"] = "application/geo+json"
    return cast("ItemCollection", found)


def _text(q: str | Sequence[str] | None) -> str | None:
    try:
        return free_text.for_pgstac(q)
    except free_text.TextUnusable as error:
        raise invalid("q", str(error)) from error


def _condition(query: Any) -> dict[str, Any] | None:
    if query is None:
        return None
    try:
        return query_extension.as_filter(query)
    except query_extension.QueryUnusable as error:
        raise invalid("query", str(error)) from error


def _both(given: Any, condition: dict[str, Any]) -> dict[str, Any]:
    return {"op": "and", "args": [given, condition]} if given else condition


def _with_json(parameters: dict[str, Any], *names: str) -> dict[str, Any]:
    """The parameters of a GET request, those that hold JSON as stac-fastapi-pgstac reads them."""
    return parameters | {name: _json(name, parameters.get(name)) for name in names}


def _json(name: str, text: str | None) -> str | None:
    """JSON, encoded once more since it will be decoded once more.

    Raises:
        ApiError: it is no JSON.
    """
    if not text:
        return None
    try:
        return quote_plus(orjson.dumps(orjson.loads(text)))
    except (orjson.JSONDecodeError, orjson.JSONEncodeError) as error:
        raise invalid(name, f"it is no JSON: {error}") from error


def _with_datetime(item: Any) -> None:
    """Gives a time that is null back to an item that has a range instead."""
    properties = item.get("properties")
    if isinstance(properties, dict) and "start_datetime" in properties:
        properties.setdefault("datetime", None)


def _ring(west: float, south: float, east: float, north: float) -> list[list[list[float]]]:
    return [[[west, south], [east, south], [east, north], [west, north], [west, south]]]
