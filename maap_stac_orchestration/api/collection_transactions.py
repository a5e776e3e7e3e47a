"""The routes that make and change collections: STAC's collection transactions, and none for items.

Here belong bodies, answers and status codes over HTTP. Not here: who somebody is (`authentication`), who may do what
(`governance`), and what is then done (`pipeline.curate`). Items come from jobs alone, so that each can be traced back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Annotated, Any, cast
from urllib.parse import quote

from fastapi import Depends, FastAPI, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from stac_fastapi.extensions.transaction import TransactionExtension
from stac_fastapi.extensions.transaction.client import AsyncBaseTransactionsClient
from stac_fastapi.pgstac.config import Settings as StacSettings
from stac_fastapi.pgstac.core import CoreCrudClient
from stac_fastapi.types.requests import get_base_url
from stac_pydantic import Collection
from starlette.responses import Response

from maap_stac_orchestration.api.authentication import Authentication
from maap_stac_orchestration.api.database import ledger_connection
from maap_stac_orchestration.api.parameters import Text
from maap_stac_orchestration.api.preconditions import as_shown, read_before
from maap_stac_orchestration.api.problem_documents import CHANGES, RESPONSES, ApiError, problems
from maap_stac_orchestration.catalog.document import NotJson, parse_strict_json
from maap_stac_orchestration.governance.curation import Person
from maap_stac_orchestration.ledger.changes import Author, Via
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.pipeline import curate
from maap_stac_orchestration.pipeline.curate import Curated
from maap_stac_orchestration.pipeline.registry import RegistryUnavailable
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.web.problem_documents import problem_response

#: What the API announces: collections can be written, items cannot.
CONFORMANCE = "https://api.stacspec.org/v1.0.0/collections/extensions/transaction"

_JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"
_JSON_PATCH = "application/json-patch+json"

#: What each refusal is over HTTP.
_STATUSES: dict[type[curate.CurationError], HTTPStatus] = {
    curate.NotAllowed: HTTPStatus.FORBIDDEN,
    curate.IdTaken: HTTPStatus.CONFLICT,
    curate.NoSuchCollection: HTTPStatus.NOT_FOUND,
    curate.DocumentRefused: HTTPStatus.BAD_REQUEST,
    curate.DocumentTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    curate.StateConflict: HTTPStatus.CONFLICT,
    curate.ChangedMeanwhile: HTTPStatus.PRECONDITION_FAILED,
    curate.CollectionBusy: HTTPStatus.SERVICE_UNAVAILABLE,
}

_EXTENT = {
    "spatial": {"bbox": [[-180, -90, 180, 90]]},
    "temporal": {"interval": [["2024-01-01T00:00:00Z", None]]},
}
_COLLECTION_SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "A STAC Collection of version 1.0 or 1.1",
    "required": ["type", "stac_version", "id", "description", "license", "extent"],
    "properties": {
        "type": {"const": "Collection"},
        "stac_version": {"enum": ["1.0.0", "1.1.0"]},
        "id": {"type": "string"},
        "title": {"type": "string"},
        "description": {"type": "string"},
        "license": {"type": "string"},
        "keywords": {"type": "array", "items": {"type": "string"}},
        "providers": {"type": "array", "items": {"type": "object"}},
        "extent": {"type": "object", "description": "Computed from the items, once there are some."},
        "links": {"type": "array", "items": {"type": "object"}},
    },
    "additionalProperties": True,
    "example": {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": "ana--floods",
        "title": "Floods",
        "description": "Flooded areas, from Sentinel-1.",
        "license": "CC-BY-4.0",
        "extent": _EXTENT,
        "links": [],
    },
}
_MERGE_SCHEMA: dict[str, Any] = {"type": "object", "example": {"title": "Floods of 2024", "keywords": None}}
_OPERATIONS_SCHEMA: dict[str, Any] = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["op", "path"],
        "properties": {
            "op": {"enum": ["add", "remove", "replace", "move", "copy", "test"]},
            "path": {"type": "string"},
            "from": {"type": "string"},
            "value": {},
        },
    },
    "example": [{"op": "replace", "path": "/title", "value": "Floods of 2024"}],
}

#: Read from the request, and described here.
_IF_MATCH: dict[str, Any] = {
    "parameters": [
        {
            "name": "If-Match",
            "in": "header",
            "required": False,
            "description": "The `ETag` that came with the collection: the change is made only if it is still that one.",
            "schema": {"type": "string"},
        }
    ]
}

_Id = Annotated[str, Path(description="The collection id.")]


class ChangeQuery(BaseModel):
    """Why a collection is made or changed."""

    model_config = ConfigDict(extra="forbid")

    reason: Text | None = Field(default=None, description="Why; it stands in the trail of changes.")


class CollectionTransactions(TransactionExtension):
    """STAC's transaction extension for collections, and for them alone."""

    def __init__(
        self,
        configured: Settings,
        stac_settings: StacSettings,
        authentication: Authentication,
        client: CoreCrudClient,
    ) -> None:
        super().__init__(
            # Who the inherited routes would call; none of them is added.
            client=cast("AsyncBaseTransactionsClient", client),
            settings=stac_settings,
            conformance_classes=[CONFORMANCE],
        )
        self._configured = configured
        self._reader = client
        self._authentication = authentication

    def register(self, app: FastAPI) -> None:
        """Adds the four routes of collections to an application."""
        self.router.prefix = app.state.router_prefix
        # As a default, since an annotation is read where it is not known. Asked before the body is read.
        signed_in = Depends(self._authentication.signed_in)
        configured, add = self._configured, self.router.add_api_route
        described = {"model": Collection, "description": "The collection as it is now"}

        async def create_collection(
            request: Request, query: Annotated[ChangeQuery, Query()], person: Person = signed_in
        ) -> Response:
            """Makes a collection that belongs to you, where a grant lets you create it. It is found at once, and jobs
            write to it as the grants say.

            What you leave out is filled from the registry. `created`, `updated` and fields that begin with `maap:` are
            the API's."""
            document = _object(await _body(request, configured, _JSON))
            author = _author(request, query, person)
            done = await _worked(
                request, lambda conn: curate.create_collection(conn, configured, person, document, author)
            )
            if isinstance(done, Response):
                return done
            where = f"{get_base_url(request)}collections/{quote(done.collection, safe='')}"
            return await self._shown(request, done, HTTPStatus.CREATED, {"Location": where})

        async def replace_collection(
            request: Request, collection_id: _Id, query: Annotated[ChangeQuery, Query()], person: Person = signed_in
        ) -> Response:
            """Puts a document in place of the collection's, for its owner and administrators.

            The id stays, and so do `created` and fields that begin with `maap:`. The extent is that of the items, once
            there are some. With `If-Match`, as with the other changes, only where nobody changed it meanwhile."""
            document = _object(await _body(request, configured, _JSON))
            author = _author(request, query, person)
            before = await read_before(request, collection_id, self._reader)
            done = await _worked(
                request,
                lambda conn: curate.replace_collection(
                    conn, configured, person, collection_id, document, author, before=before
                ),
            )
            return done if isinstance(done, Response) else await self._shown(request, done)

        async def patch_collection(
            request: Request, collection_id: _Id, query: Annotated[ChangeQuery, Query()], person: Person = signed_in
        ) -> Response:
            """Changes parts of the collection's document, for its owner and administrators: by a JSON Merge Patch
            (RFC 7386, an object) or a JSON Patch (RFC 6902, an array). Links are replaced as a whole, or added to."""
            patch = _patch(await _body(request, configured, _JSON, _MERGE_PATCH, _JSON_PATCH), _media_type(request))
            author = _author(request, query, person)
            before = await read_before(request, collection_id, self._reader)
            done = await _worked(
                request,
                lambda conn: curate.patch_collection(
                    conn, configured, person, collection_id, patch, author, before=before
                ),
            )
            return done if isinstance(done, Response) else await self._shown(request, done)

        async def delete_collection(
            request: Request, collection_id: _Id, query: Annotated[ChangeQuery, Query()], person: Person = signed_in
        ) -> Response:
            """Deletes the collection with its items, for its owner where all of them come from their own jobs, and for
            administrators. Its id stays taken: nobody can make a collection of it again."""
            author = _author(request, query, person)
            before = await read_before(request, collection_id, self._reader)
            done = await _worked(
                request,
                lambda conn: curate.delete_collection(conn, configured, person, collection_id, author, before=before),
            )
            return done if isinstance(done, Response) else Response(status_code=HTTPStatus.NO_CONTENT)

        collections, one = "/collections", "/collections/{collection_id}"
        add(
            collections,
            create_collection,
            methods=["POST"],
            name="Create Collection",
            status_code=HTTPStatus.CREATED,
            response_model=None,
            responses={201: described, **RESPONSES, **CHANGES},
            openapi_extra=_takes({_JSON: _COLLECTION_SCHEMA}),
        )
        add(
            one,
            replace_collection,
            methods=["PUT"],
            name="Replace Collection",
            response_model=None,
            responses={200: described, **RESPONSES, **CHANGES, **problems(412, 415)},
            openapi_extra=_IF_MATCH | _takes({_JSON: _COLLECTION_SCHEMA}),
        )
        add(
            one,
            patch_collection,
            methods=["PATCH"],
            name="Patch Collection",
            response_model=None,
            responses={200: described, **RESPONSES, **CHANGES, **problems(412, 415)},
            openapi_extra=_IF_MATCH
            | _takes({_MERGE_PATCH: _MERGE_SCHEMA, _JSON: _MERGE_SCHEMA, _JSON_PATCH: _OPERATIONS_SCHEMA}),
        )
        add(
            one,
            delete_collection,
            methods=["DELETE"],
            name="Delete Collection",
            status_code=HTTPStatus.NO_CONTENT,
            response_model=None,
            response_class=Response,
            responses={**RESPONSES, **CHANGES, **problems(412)},
            openapi_extra=_IF_MATCH,
        )
        app.include_router(self.router, tags=["Collection Transactions"])

    async def _shown(
        self,
        request: Request,
        done: Curated,
        status: HTTPStatus = HTTPStatus.OK,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """The collection as `GET /collections/{id}` gives it, links and all."""
        collection = await as_shown(request, done.collection, self._reader)
        return JSONResponse(collection, status, headers=dict(headers or {}))


def _takes(content: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What OpenAPI says of a body; it is read here rather than by a model that would drop what it does not know."""
    return {
        "requestBody": {"required": True, "content": {kind: {"schema": schema} for kind, schema in content.items()}}
    }


def _author(request: Request, query: ChangeQuery, person: Person) -> Author:
    reason = (query.reason or "").strip()
    return Author(by=person.username, via=Via.API, reason=reason or f"No reason was given with the {request.method}.")


async def _body(request: Request, settings: Settings, *media_types: str) -> Any:
    """The JSON of a body that is not larger than is allowed.

    Raises:
        ApiError: it is larger, of another media type, or no JSON.
    """
    given = _media_type(request)
    if given and given not in media_types:
        raise ApiError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"The body is {given!a}; send it as {' or '.join(media_types)}."
        )
    largest = settings.max_document_bytes
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > largest:
            raise ApiError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"The body has more than {largest:,} bytes, which are allowed; put data into assets.",
            )
    try:
        return parse_strict_json(bytes(raw))
    except NotJson as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"The body cannot be read. {error}") from error


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise ApiError(HTTPStatus.BAD_REQUEST, "The body is no JSON object; send a STAC Collection.")
    return body


def _patch(body: Any, media_type: str) -> dict[str, Any] | list[Any]:
    if isinstance(body, dict) and media_type != _JSON_PATCH:
        return body
    if isinstance(body, list) and media_type != _MERGE_PATCH:
        return body
    raise ApiError(
        HTTPStatus.BAD_REQUEST,
        f"The body is no patch. Send an object as {_MERGE_PATCH}, or an array of operations as {_JSON_PATCH}.",
    )


async def _worked(request: Request, work: Callable[[Connection], Curated]) -> Curated | Response:
    """What was done, or the problem document that says why it was not; waits in a thread, not in the event loop."""

    def worked() -> Curated | Response:
        try:
            with _ledger(request) as connection:
                return work(connection)
        except curate.CurationError as error:
            code = str(error.code) if isinstance(error, curate.NotAllowed) else None
            headers = {"Retry-After": "5"} if isinstance(error, curate.CollectionBusy) else None
            return problem_response(request, _STATUSES[type(error)], str(error), code=code, headers=headers)

    return await run_in_threadpool(worked)


@contextmanager
def _ledger(request: Request) -> Iterator[Connection]:
    """A connection for one change, which commits itself."""
    try:
        with ledger_connection(request) as connection:
            yield connection
    except RegistryUnavailable as error:
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from error
