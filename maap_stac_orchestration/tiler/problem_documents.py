"""Errors of the tiler as RFC 9457 problem documents.

Here belongs which status and sentence each kind of error leaves with. Not here: the kinds (`errors`), the documents,
and errors that the API meets too (`web.problem_documents`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import psycopg
from fastapi import FastAPI, Request
from fastapi.responses import Response
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
from titiler.core.errors import TileNotFoundError, TilerError
from titiler.pgstac.errors import BackendError, MosaicNotFoundError, ReadOnlyPgSTACError

from maap_stac_orchestration.tiler.errors import (
    AssetMissing,
    AssetRefused,
    AssetUnreadable,
    BadParameter,
    StoreUnavailable,
)
from maap_stac_orchestration.web.problem_documents import (
    add_common_problem_documents,
    database_unmigrated,
    logged,
    problem_response,
)

log = logging.getLogger(__name__)

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
    add_common_problem_documents(app)
    for kind, status in _TOLD.items():
        app.add_exception_handler(kind, _told(status))
    for kind in _EMPTY:
        app.add_exception_handler(kind, _nothing)
    app.add_exception_handler(StoreUnavailable, _store_away)
    app.add_exception_handler(psycopg.errors.UndefinedFunction, database_unmigrated)
    for kind in (psycopg.DataError, psycopg.errors.RaiseException, psycopg.ProgrammingError, BackendError):
        app.add_exception_handler(kind, _refused)
    app.add_exception_handler(psycopg.errors.InsufficientPrivilege, _no_right)
    app.add_exception_handler(ReadOnlyPgSTACError, _read_only)
    app.add_exception_handler(psycopg.errors.QueryCanceled, _too_slow)
    app.add_exception_handler(RasterioError, _unreadable)


def _told(status: HTTPStatus) -> Callable[[Request, Exception], Any]:
    async def handler(request: Request, error: Exception) -> Response:
        detail = str(error) or status.phrase
        return problem_response(request, status, detail, code=type(error).__name__.removesuffix("Error"))

    return handler


async def _nothing(request: Request, error: Exception) -> Response:
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def _store_away(request: Request, error: Exception) -> Response:
    return problem_response(
        request,
        HTTPStatus.SERVICE_UNAVAILABLE,
        str(error),
        code="StoreUnavailable",
        headers={"Retry-After": "5"},
    )


_refused = logged(
    HTTPStatus.BAD_REQUEST,
    "The search cannot be made: look at datetime, bbox, ids, query, sortby and filter.",
    "InvalidSearch",
)
_no_right = logged(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The tiler's role may not read what is asked for: an operator has to look at /healthz.",
    "DatabaseRefuses",
)
_read_only = logged(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "pgstac is set to read-only, so no mosaic can be registered: an operator has to unset its setting `readonly`.",
    "DatabaseReadOnly",
    logging.ERROR,
)
_too_slow = logged(
    HTTPStatus.GATEWAY_TIMEOUT,
    "The database took too long over this: ask for a shorter time or a smaller area.",
    "TooSlow",
)


async def _unreadable(request: Request, error: Exception) -> Response:
    # Failures of opening and reading have been told by then (`rasters`); what is left is about what was asked for, a
    # coordinate system that does not reach there for example.
    log.warning("%s cannot be made: %s", request.url.path, error)
    return problem_response(
        request, HTTPStatus.BAD_REQUEST, f"The picture cannot be made: {error}.", code="CannotBeMade"
    )
