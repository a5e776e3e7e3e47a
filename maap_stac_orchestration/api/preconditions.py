"""Changes that count only where nothing was changed since the client read it (`If-Match`, RFC 9110, section 13.1.1).

Here belongs telling which stored document the client has read. Not here: entity tags themselves (`caching`), and that
the document is still that one when it is changed; `pipeline.curate` looks once it has locked it.

Tags here are weak, since they hold whatever the compression, and are compared as such: it is the content that must be
the same, not its bytes on the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from stac_fastapi.pgstac.core import CoreCrudClient

from maap_stac_orchestration.api.caching import entity_tag, matches
from maap_stac_orchestration.api.database import ledger_connection
from maap_stac_orchestration.api.problem_documents import ApiError
from maap_stac_orchestration.pgstac.collections import read_document

CHANGED = "The collection {} was changed since you read it. Read it again, and make your change to what it is now."


async def read_before(request: Request, collection: str, reader: CoreCrudClient) -> Mapping[str, Any] | None:
    """The document, as it is stored, that a client says it has read; None where it says nothing, or takes any.

    Raises:
        ApiError: 412, since it has read another one.
    """
    said = ",".join(request.headers.getlist("If-Match")).strip()
    if not said or said == "*":
        return None

    def read() -> dict[str, Any] | None:
        with ledger_connection(request) as connection:
            return read_document(connection, collection)

    # Before it is shown: what is shown is this one, or a later one, which the change will find in its place.
    stored = await run_in_threadpool(read)
    if stored is None:
        return None
    shown = await as_shown(request, collection, reader)
    if not matches(entity_tag(bytes(JSONResponse(jsonable_encoder(shown)).body)), said):
        raise ApiError(HTTPStatus.PRECONDITION_FAILED, CHANGED.format(collection), code="ChangedMeanwhile")
    return stored


async def as_shown(request: Request, collection: str, reader: CoreCrudClient) -> Any:
    """The collection as `GET /collections/{id}` gives it, links and all, to a request of another method."""
    # Links are made from the request, whose body was read already.
    asked = Request({**request.scope, "method": "GET", "query_string": b""})
    return await reader.get_collection(collection, request=asked)
