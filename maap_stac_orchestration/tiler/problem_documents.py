"""Errors of the tiler as RFC 9457 problem documents.

Here belongs which status and sentence each kind of error leaves with. Not here: the kinds (`errors`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from psycopg_pool import PoolTimeout, TooManyRequests
from pydantic import ValidationError
from rasterio.errors import RasterioError
from rio_tiler.errors import (
    EmptyMosaicError,
    InvalidAssetName,
    InvalidBandName,
    InvalidBounds,
    MaxArraySizeError,
    NoAssetFoundError,
    PointOutsideBounds,
    RioTilerError,
    TileOutsideBounds,
)
from starlette.exceptions import HTTPException
from titiler.core.errors import TileNotFoundError, TilerError
from titiler.pgstac.errors import BackendError, MosaicNotFoundError, ReadOnlyPgSTACError

from maap_stac_orchestration.tiler.errors import (
    AssetMissing,
    AssetRefused,
    AssetUnreadable,
    BadParameter,
    StoreUnavailable,
)

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

#: Errors whose text is for whoever asked. Of several that fit, the one nearest to the error's own kind counts.
_TOLD: dict[type[Exception], HTTPStatus] = {
    BadParameter: HTTPStatus.BAD_REQUEST,
    AssetMissing: HTTPStatus.NOT_FOUND,
    AssetRefused: HTTPStatus.UNPROCESSABLE_ENTITY,
    AssetUnreadable: HTTPStatus.UNPROCESSABLE_ENTITY,
    MosaicNotFoundError: HTTPStatus.NOT_FOUND,
    TileNotFoundError: HTTPStatus.NOT_FOUND,
    InvalidAssetName: HTTPStatus.NOT_FOUND,
    InvalidBandName: HTTPStatus.NOT_FOUND,
    PointOutsideBounds: HTTPStatus.NOT_FOUND,
    InvalidBounds: HTTPStatus.BAD_REQUEST,
    MaxArraySizeError: HTTPStatus.BAD_REQUEST,
    TilerError: HTTPStatus.BAD_REQUEST,
    RioTilerError: HTTPStatus.BAD_REQUEST,
    ValidationError: HTTPStatus.BAD_REQUEST,
}
#: There is nothing to show where somebody looks, which is no error: maps ask for all tiles of an item's box, and some
#: of them touch the box alone.
_EMPTY = (EmptyMosaicError, NoAssetFoundError, TileOutsideBounds)


def add_problem_documents(app: FastAPI) -> None:
    """Makes every error of the application a problem document."""
    for kind, status in _TOLD.items():
        app.add_exception_handler(kind, _told(status))
    for kind in _EMPTY:
        app.add_exception_handler(kind, _nothing)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(StoreUnavailable, _store_away)
    for kind in (PoolTimeout, TooManyRequests, psycopg.OperationalError, psycopg.InterfaceError):
        app.add_exception_handler(kind, _database_away)
    for kind in (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction, psycopg.errors.InvalidSchemaName):
        app.add_exception_handler(kind, _unmigrated)
    for kind in (psycopg.DataError, psycopg.errors.RaiseException, psycopg.ProgrammingError, BackendError):
        app.add_exception_handler(kind, _refused_search)
    app.add_exception_handler(ReadOnlyPgSTACError, _read_only)
    app.add_exception_handler(psycopg.errors.QueryCanceled, _too_slow)
    app.add_exception_handler(RasterioError, _unreadable)
    app.add_exception_handler(Exception, _unexpected)


def problem_response(
    request: Request, status: HTTPStatus, detail: str, *, code: str | None = None, headers: dict[str, str] | None = None
) -> Response:
    """A problem document as a response."""
    document = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "instance": request.url.path,
        "code": code or status.phrase.replace(" ", ""),
    }
    return JSONResponse(document, status.value, media_type=MEDIA_TYPE, headers=headers)


def _told(status: HTTPStatus) -> Callable[[Request, Exception], Any]:
    async def handler(request: Request, error: Exception) -> Response:
        detail = str(error) or status.phrase
        return problem_response(request, status, detail, code=type(error).__name__.removesuffix("Error"))

    return handler


async def _nothing(request: Request, error: Exception) -> Response:
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    sentences = []
    for one in error.errors():
        place = ".".join(str(part) for part in one["loc"][1:]) or str(one["loc"][0])
        sentences.append(f"{place}: {one['msg'].removeprefix('Value error, ').rstrip('.')}.")
    return problem_response(request, HTTPStatus.BAD_REQUEST, " ".join(sentences), code="InvalidParameter")


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status, detail = HTTPStatus(error.status_code), str(error.detail)
    if status is HTTPStatus.NOT_FOUND and detail == status.phrase:
        detail = f"There is nothing at {request.url.path}."
    return problem_response(request, status, detail, headers=dict(error.headers or {}))


async def _store_away(request: Request, error: Exception) -> Response:
    return problem_response(
        request,
        HTTPStatus.SERVICE_UNAVAILABLE,
        str(error),
        code="StoreUnavailable",
        headers={"Retry-After": "5"},
    )


async def _database_away(request: Request, error: Exception) -> Response:
    log.warning("%s: the database does not answer: %s", request.url.path, error)
    return problem_response(
        request,
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The database does not answer; try again in a moment.",
        code="DatabaseUnavailable",
        headers={"Retry-After": "5"},
    )


async def _unmigrated(request: Request, error: Exception) -> Response:
    log.error("%s: the database lacks what is asked for: %s", request.url.path, error)
    return problem_response(
        request,
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The database is not ready: an operator has to run `maap-stac migrate`.",
        code="DatabaseNotMigrated",
    )


async def _refused_search(request: Request, error: Exception) -> Response:
    # What Postgres says names functions and columns of pgstac; the first line says what was wrong with a value.
    log.warning("%s: pgstac refuses the search: %s", request.url.path, error)
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return problem_response(
            request,
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The tiler's role may not read what is asked for: an operator has to look at /healthz.",
            code="DatabaseRefuses",
        )
    detail = "The search cannot be made: look at datetime, bbox, ids, query, sortby and filter."
    return problem_response(request, HTTPStatus.BAD_REQUEST, detail, code="InvalidSearch")


async def _read_only(request: Request, error: Exception) -> Response:
    log.error("%s: %s", request.url.path, error)
    return problem_response(
        request,
        HTTPStatus.SERVICE_UNAVAILABLE,
        "pgstac is set to read-only, so no mosaic can be registered: an operator has to unset its setting `readonly`.",
        code="DatabaseReadOnly",
    )


async def _too_slow(request: Request, error: Exception) -> Response:
    log.warning("%s took too long: %s", request.url.path, error)
    return problem_response(
        request,
        HTTPStatus.GATEWAY_TIMEOUT,
        "The database took too long over this: ask for a shorter time or a smaller area.",
        code="TooSlow",
    )


async def _unreadable(request: Request, error: Exception) -> Response:
    # Failures of opening and reading have been told by then (`rasters`); what is left is about what was asked for, a
    # coordinate system that does not reach there for example.
    log.warning("%s cannot be made: %s", request.url.path, error)
    return problem_response(
        request, HTTPStatus.BAD_REQUEST, f"The picture cannot be made: {error}.", code="CannotBeMade"
    )


async def _unexpected(request: Request, error: Exception) -> Response:
    # What went wrong stands in the log, which starlette writes; it is nothing for a stranger to read.
    return problem_response(
        request, HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong here; it was logged.", code="InternalError"
    )
