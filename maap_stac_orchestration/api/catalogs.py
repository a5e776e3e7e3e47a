"""The hierarchy for people: a catalog for each user who owns collections, above these (`/catalogs`).

Here belongs how catalogs and what is reached through them look, by the multi-tenant catalogs extension of stac-fastapi
and the children extension of STAC, for reading alone. Not here: whose collections are (`ledger.owners`), and
collections and items themselves, which the STAC API's own client gives.

No catalog is stored. They are what the ledger knows of owners at the moment of the request, so that none is ever stale,
and no id of a collection is taken by one. The flat list of `/collections` stays as it is; what is nobody's stands
directly below the root.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any, TypeVar, cast
from urllib.parse import quote

import orjson
from fastapi import APIRouter, FastAPI, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from stac_fastapi.api.models import GeoJSONResponse, create_request_model
from stac_fastapi.api.routes import create_async_endpoint
from stac_fastapi.pgstac.models.links import CollectionLinks, merge_params
from stac_fastapi.types.extension import ApiExtension
from stac_fastapi.types.requests import get_base_url
from stac_fastapi.types.search import APIRequest
from stac_fastapi.types.stac import LandingPage
from stac_fastapi_catalogs_extension import (
    CATALOGS_CORE_CONFORMANCE,
    CatalogCollectionItemsRequest,
    Catalogs,
    Children,
)
from stac_pydantic.api import Collection, Collections, Item, ItemCollection
from stac_pydantic.catalog import Catalog

from maap_stac_orchestration.api.client import FaithfulClient
from maap_stac_orchestration.api.database import ledger_connection
from maap_stac_orchestration.api.parameters import Text, invalid
from maap_stac_orchestration.api.problem_documents import RESPONSES, ApiError, problems
from maap_stac_orchestration.ledger import owners
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import timestamp

#: The most children that one document links to; further ones are behind its `children` link, a page at a time.
MOST_CHILD_LINKS = 1000
_STAC_VERSION = "1.1.0"
_JSON, _GEOJSON = "application/json", "application/geo+json"
_QUERYABLES = "http://www.opengis.net/def/rel/ogc/1.0/queryables"

#: What holds below each catalog.
_CONFORMANCE_OF_A_CATALOG = sorted(
    {
        *CATALOGS_CORE_CONFORMANCE,
        "https://api.stacspec.org/v1.0.0/collections",
        "https://api.stacspec.org/v1.0.0/ogcapi-features",
    }
)
# Links that say where something stands. What else a document links to is the same wherever it is reached.
_RELATIONS_OF_PLACE = frozenset({"self", "parent", "collection", "items", "next", "prev", "previous"})

_Answer = TypeVar("_Answer")
_CatalogId = Annotated[str, Path(description="The id of a catalog: the username.")]
_CollectionId = Annotated[str, Path(description="The id of a collection of that user.")]
_ItemId = Annotated[str, Path(description="The id of an item of that collection.")]


class Kind(StrEnum):
    """What a child is, as its `type` has it."""

    CATALOG = "Catalog"
    COLLECTION = "Collection"


class PageQuery(BaseModel):
    """Which page of a list."""

    limit: Annotated[int, Field(ge=1, le=1000, description="At most so many.")] = 10
    token: Text | None = Field(default=None, description="From the `next` link of the page before.")


class ChildrenQuery(PageQuery):
    """Which children, and which page of them."""

    type: Kind | None = Field(default=None, description="Children of this type alone.")


class BrowsableClient(FaithfulClient):
    """The STAC API's client, whose landing page is the top of the hierarchy."""

    async def landing_page(self, **kwargs: Any) -> LandingPage:
        """What `GET /` gives, with the users below it."""
        page: LandingPage = await super().landing_page(**kwargs)
        request: Request = kwargs["request"]
        top = await _asked(request, lambda conn: owners.top_level(conn, limit=MOST_CHILD_LINKS))
        page["links"].extend([*_Catalogs(request).of_root(), *_children_links(request, top)])
        if top.more:
            page["description"] += _cut(len(top.entries), top.total)
        return page


class CatalogsOfUsers(ApiExtension):
    """The extension: the routes below `/catalogs`, and `/children` of the root."""

    def __init__(self, reader: FaithfulClient, item_extensions: Iterable[ApiExtension]) -> None:
        """As an extension of stac-fastapi.

        Args:
            reader: gives collections and items.
            item_extensions: what items of a collection can be asked by, here as under `/collections`.
        """
        super().__init__(conformance_classes=list(CATALOGS_CORE_CONFORMANCE))
        self._reader = reader
        self._items_model = create_request_model(
            model_name="CatalogItems",
            base_model=CatalogCollectionItemsRequest,
            # The extension's own parameters have the token of a page among them.
            extensions=[one for one in item_extensions if type(one).__name__ != "TokenPaginationExtension"],
            request_type="GET",
        )

    def register(self, app: FastAPI) -> None:
        """Adds the routes to an application."""
        router = APIRouter(prefix=app.state.router_prefix, tags=["Catalogs"], responses={**RESPONSES, **problems(404)})
        self._add_lists(router)
        self._add_contents(router)
        app.include_router(router)

    def _add_lists(self, router: APIRouter) -> None:
        """The root's children, and catalogs with what is in them."""

        @router.get("/children", response_model=None, responses={200: {"model": Children}}, name="Get Children")
        async def children(request: Request, query: Annotated[ChildrenQuery, Query()]) -> Response:
            """What stands directly below the root: the catalogs of users, and behind them the collections that are
            nobody's."""
            top, users = await _asked(request, lambda conn: _children(conn, query))
            made = _Catalogs(request)
            documents = [
                made.with_children(users.get(entry.username, owners.UserPage(entry, (), more=False)))
                if isinstance(entry, owners.User)
                else await self._document(request, entry)
                for entry in top.entries
            ]
            further = _token(top.entries[-1]) if top.more else None
            return _list(request, "children", documents, top.total, further)

        @router.get("/catalogs", response_model=None, responses={200: {"model": Catalogs}}, name="Get Catalogs")
        async def catalogs(request: Request, query: Annotated[PageQuery, Query()]) -> Response:
            """A catalog for each user who owns collections, in the order of their names."""
            after = None if query.token is None else owners.Place(user=True, id=query.token)
            top = await _asked(
                request, lambda conn: owners.top_level(conn, limit=query.limit, after=after, collections=False)
            )
            users = [entry for entry in top.entries if isinstance(entry, owners.User)]
            documents = [_Catalogs(request).document(user) for user in users]
            further = users[-1].username if top.more else None
            return _list(request, "catalogs", documents, top.total, further)

        @router.get(
            "/catalogs/{catalog_id}", response_model=None, responses={200: {"model": Catalog}}, name="Get Catalog"
        )
        async def catalog(request: Request, catalog_id: _CatalogId) -> Response:
            """The catalog of a user, with a link to each of their collections."""
            page = await _page(request, catalog_id, limit=MOST_CHILD_LINKS)
            return JSONResponse(_Catalogs(request).with_children(page))

        @router.get("/catalogs/{catalog_id}/conformance", response_model=None, name="Get Catalog Conformance")
        async def conformance(request: Request, catalog_id: _CatalogId) -> Response:
            """What holds below the catalog of a user."""
            await _page(request, catalog_id, limit=1)
            return JSONResponse({"conformsTo": _CONFORMANCE_OF_A_CATALOG})

        @router.get(
            "/catalogs/{catalog_id}/catalogs",
            response_model=None,
            responses={200: {"model": Catalogs}},
            name="Get Catalog Sub-Catalogs",
        )
        async def catalogs_below(
            request: Request, catalog_id: _CatalogId, query: Annotated[PageQuery, Query()]
        ) -> Response:
            """The catalogs below the catalog of a user: there are none."""
            del query
            await _page(request, catalog_id, limit=1)
            return _list(request, "catalogs", [], 0, None, parent=catalog_id)

        @router.get(
            "/catalogs/{catalog_id}/collections",
            response_model=None,
            responses={200: {"model": Collections}},
            name="Get Catalog Collections",
        )
        async def collections(
            request: Request, catalog_id: _CatalogId, query: Annotated[PageQuery, Query()]
        ) -> Response:
            """The collections of a user, in the order of their ids."""
            return await self._collections(request, "collections", catalog_id, query)

        @router.get(
            "/catalogs/{catalog_id}/children",
            response_model=None,
            responses={200: {"model": Children}},
            name="Get Catalog Children",
        )
        async def children_below(
            request: Request, catalog_id: _CatalogId, query: Annotated[ChildrenQuery, Query()]
        ) -> Response:
            """The children of the catalog of a user: their collections, in the order of their ids."""
            if query.type is Kind.CATALOG:
                await _page(request, catalog_id, limit=1)
                return _list(request, "children", [], 0, None, parent=catalog_id)
            return await self._collections(request, "children", catalog_id, query)

    def _add_contents(self, router: APIRouter) -> None:
        """Collections and items, as seen from the catalog of their user."""
        one = "/catalogs/{catalog_id}/collections/{collection_id}"

        @router.get(one, response_model=None, responses={200: {"model": Collection}}, name="Get Catalog Collection")
        async def collection(request: Request, catalog_id: _CatalogId, collection_id: _CollectionId) -> Response:
            """A collection of a user."""
            context = await _context(request, catalog_id, collection_id)
            found = await self._reader.get_collection(collection_id, request=context.outside(request))
            return JSONResponse(context.collection(found))

        async def items(catalog_id: str, collection_id: str, request: Request, **asked: Any) -> Response:
            context = await _context(request, catalog_id, collection_id)
            found: Any = await self._reader.item_collection(
                collection_id, request=context.outside(request, "items"), **asked
            )
            # Where fields were named, it is a response already.
            document = orjson.loads(found.body) if isinstance(found, Response) else found
            document["features"] = [context.place(item) for item in document["features"]]
            return GeoJSONResponse(context.place(document))

        router.add_api_route(
            f"{one}/items",
            create_async_endpoint(items, cast("type[APIRequest]", self._items_model)),
            methods=["GET"],
            response_model=None,
            response_class=GeoJSONResponse,
            responses={200: {"model": ItemCollection}},
            name="Get Catalog Collection Items",
            description="Items of a collection of a user, asked as under `/collections/{collection_id}/items`.",
        )

        @router.get(
            f"{one}/items/{{item_id}}",
            response_model=None,
            response_class=GeoJSONResponse,
            responses={200: {"model": Item}},
            name="Get Catalog Collection Item",
        )
        async def item(
            request: Request, catalog_id: _CatalogId, collection_id: _CollectionId, item_id: _ItemId
        ) -> Response:
            """An item of a collection of a user."""
            context = await _context(request, catalog_id, collection_id)
            if "\x00" in item_id:
                raise ApiError(HTTPStatus.NOT_FOUND, "There is no such item: no id holds a NUL.")
            asked = context.outside(request, "items", item_id)
            found = await self._reader.get_item(item_id, collection_id, request=asked)
            return GeoJSONResponse(context.place(found))

    async def _collections(self, request: Request, member: str, username: str, query: PageQuery) -> Response:
        """A page of a user's collections, with their documents."""
        page = await _page(request, username, limit=query.limit, after=query.token, documents=True)
        documents = [
            _Context(get_base_url(request), username, one.id).collection(await self._document(request, one))
            for one in page.collections
        ]
        further = page.collections[-1].id if page.more else None
        return _list(request, member, documents, page.user.collections, further, parent=username)

    async def _document(self, request: Request, collection: owners.OwnedCollection) -> dict[str, Any]:
        """A collection of a list as `/collections` gives it."""
        assert collection.document is not None
        document = dict(collection.document)
        links = CollectionLinks(request=request, collection_id=collection.id)
        document["links"] = await links.get_links(extra_links=document.get("links"))
        queryables = f"{get_base_url(request)}collections/{quote(collection.id, safe='')}/queryables"
        document["links"].append(
            {"rel": _QUERYABLES, "type": "application/schema+json", "title": "Queryables", "href": queryables}
        )
        self._reader.add_links(document, request)
        return document


@dataclass(frozen=True, slots=True)
class _Context:
    """The way by which a collection was come to."""

    base: str
    username: str
    collection_id: str

    @property
    def _catalog(self) -> str:
        return f"{self.base}{_path_of_user(self.username)}"

    @property
    def _here(self) -> str:
        return f"{self._catalog}/collections/{quote(self.collection_id, safe='')}"

    def outside(self, request: Request, *path: str) -> Request:
        """The same question as it is asked of `/collections`: links are made from the address of a request."""
        root: str = request.scope.get("root_path", "")
        asked = "/".join([root, "collections", self.collection_id, *path])
        return Request({**request.scope, "path": asked, "raw_path": quote(asked).encode()}, request.receive)

    def collection(self, document: Any) -> dict[str, Any]:
        """The collection, below the catalog."""
        placed = self.place(document)
        for link in placed["links"]:
            if link["rel"] == "parent":
                link.update(href=self._catalog, title=self.username)
        return placed

    def place(self, document: Any) -> dict[str, Any]:
        """A document of the collection or within it, whose links stay on the way; `canonical` leads off it."""
        placed = dict(document)
        links = []
        for link in placed.get("links", ()):
            moved = self._moved(link["href"]) if link["rel"] in _RELATIONS_OF_PLACE else None
            links.append(link if moved is None else {**link, "href": moved})
            if moved is not None and link["rel"] == "self":
                # It may be given to another user, and then is no longer here.
                links.append({**link, "rel": "canonical", "title": "Address that lasts"})
        if "links" in placed:
            placed["links"] = links
        return placed

    def _moved(self, href: str) -> str | None:
        """The same address on the way; None for one that leads elsewhere."""
        for spelled in (self.collection_id, quote(self.collection_id, safe="")):
            canonical = f"{self.base}collections/{spelled}"
            if href == canonical or href.startswith(f"{canonical}/"):
                return self._here + href.removeprefix(canonical)
        return None


@dataclass(frozen=True, slots=True)
class _Catalogs:
    """Makes the documents of catalogs, and links to them."""

    request: Request

    def document(self, user: owners.User) -> dict[str, Any]:
        """A user's catalog, without its children."""
        here = self._href(_path_of_user(user.username))
        many = f"The {user.collections:,} collections" if user.collections != 1 else "The one collection"
        document: dict[str, Any] = {
            "type": "Catalog",
            "stac_version": _STAC_VERSION,
            "id": user.username,
            "title": user.username,
            "description": f"{many} of {user.username}.",
            "links": [
                _link("self", here),
                _link("root", self._href(""), title="Root"),
                _link("parent", self._href(""), title="Root"),
                _link("data", f"{here}/collections", title="Collections of this user"),
                _link("children", f"{here}/children", title="Collections of this user"),
                _link("conformance", f"{here}/conformance", title="What holds below this catalog"),
            ],
        }
        if user.changed_at is not None:
            document["updated"] = timestamp(user.changed_at)
        return document

    def with_children(self, page: owners.UserPage) -> dict[str, Any]:
        """The same as it is by itself: with links to the user's first collections, and what holds below it."""
        document = self.document(page.user)
        document["links"] += [self.child(page.user.username, one) for one in page.collections]
        if page.more:
            document["description"] += _cut(len(page.collections), page.user.collections)
        document["conformsTo"] = _CONFORMANCE_OF_A_CATALOG
        return document

    def of_root(self) -> list[dict[str, Any]]:
        """Links from the root to the lists of this extension."""
        return [
            _link("catalogs", self._href("catalogs"), title="Users"),
            _link("children", self._href("children"), title="Users, and collections that are nobody's"),
        ]

    def top(self, entry: owners.User | owners.OwnedCollection) -> dict[str, Any]:
        """A link from the root to one of its children."""
        if isinstance(entry, owners.User):
            return _link("child", self._href(_path_of_user(entry.username)), title=entry.username)
        return _link("child", self._href(f"collections/{quote(entry.id, safe='')}"), title=entry.title or entry.id)

    def child(self, username: str, collection: owners.OwnedCollection) -> dict[str, Any]:
        """A link from a user's catalog to one of their collections."""
        path = f"{_path_of_user(username)}/collections/{quote(collection.id, safe='')}"
        return _link("child", self._href(path), title=collection.title or collection.id)

    def _href(self, path: str) -> str:
        return get_base_url(self.request) + path


def _children(conn: Connection, query: ChildrenQuery) -> tuple[owners.TopLevel, dict[str, owners.UserPage]]:
    """A page of the root's children; for the users among them their first collections, by username.

    Whose last collection went in between has none.
    """
    top = owners.top_level(
        conn,
        limit=query.limit,
        after=None if query.token is None else _place(query.token),
        users=query.type is not Kind.COLLECTION,
        collections=query.type is not Kind.CATALOG,
        documents=True,
    )
    usernames = [entry.username for entry in top.entries if isinstance(entry, owners.User)]
    return top, owners.first_pages(conn, usernames, limit=MOST_CHILD_LINKS)


def _children_links(request: Request, top: owners.TopLevel) -> list[dict[str, Any]]:
    made = _Catalogs(request)
    return [made.top(entry) for entry in top.entries]


def _list(
    request: Request,
    member: str,
    documents: list[dict[str, Any]],
    total: int,
    token: str | None,
    parent: str | None = None,
) -> Response:
    """A page of a list, which links to the next one by a token, and to what is above it.

    Args:
        request: what was asked.
        member: of the answer, where the documents are; also the last part of the list's address.
        documents: on this page.
        total: how many there are on all pages.
        token: where the next page begins; None where there is none.
        parent: the user whose list it is, None for the root's.
    """
    base = get_base_url(request)
    above = base if parent is None else f"{base}{_path_of_user(parent)}"
    # Not the address as the request has it, where names are no longer percent-encoded.
    here = f"{above.rstrip('/')}/{member}" + (f"?{request.url.query}" if request.url.query else "")
    links = [_link("self", here), _link("root", base, title="Root"), _link("parent", above, title=parent or "Root")]
    if token is not None:
        links.append(_link("next", merge_params(here, {"token": token})))
    return JSONResponse({member: documents, "links": links, "numberMatched": total, "numberReturned": len(documents)})


def _link(rel: str, href: str, *, title: str | None = None) -> dict[str, Any]:
    made = {"rel": rel, "type": _JSON, "href": href}
    return made if title is None else {**made, "title": title}


def _path_of_user(username: str) -> str:
    return f"catalogs/{quote(username, safe='')}"


def _cut(shown: int, total: int) -> str:
    """For a description: that not all children are linked."""
    return f" The first {shown:,} of {total:,} are linked here; `children` lists all of them."


def _token(entry: owners.User | owners.OwnedCollection) -> str:
    """Where the next page of the root's children begins; `_place` reads it."""
    return f"{Kind.CATALOG}:{entry.username}" if isinstance(entry, owners.User) else f"{Kind.COLLECTION}:{entry.id}"


def _place(token: str) -> owners.Place:
    kind, found, id = token.partition(":")
    if not found or kind not in list(Kind):
        raise invalid("token", "it is none that a next link has")
    return owners.Place(user=kind == Kind.CATALOG, id=id)


async def _asked(request: Request, question: Callable[[Connection], _Answer]) -> _Answer:
    """What the database says; waits in a thread, not in the event loop."""

    def asked() -> _Answer:
        with ledger_connection(request) as connection:
            return question(connection)

    return await run_in_threadpool(asked)


async def _page(request: Request, username: str, **which: Any) -> owners.UserPage:
    page = await _asked(request, lambda conn: owners.user_page(conn, username, **which))
    if page is None:
        raise ApiError(
            HTTPStatus.NOT_FOUND,
            f"There is no catalog {username}: nobody of that name owns a collection. /catalogs lists those who do.",
        )
    return page


async def _context(request: Request, username: str, collection_id: str) -> _Context:
    """The way through a user's catalog to one of their collections.

    Raises:
        ApiError: 404 where it is not theirs.
    """
    if await _asked(request, lambda conn: owners.owner(conn, collection_id)) != username:
        raise ApiError(
            HTTPStatus.NOT_FOUND, f"The catalog {username} has no collection {collection_id}; it may be another's."
        )
    return _Context(get_base_url(request), username, collection_id)
