"""Which errors of the API leave as which problem documents.

Here belong the API's own errors, what its routes may answer with, and errors of the STAC API's libraries. Not here: the
documents, and errors that the tiler meets too (`web.problem_documents`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import asyncpg
import psycopg
from fastapi import FastAPI, Request
from fastapi.responses import Response
from stac_fastapi.api.errors import DEFAULT_STATUS_CODES

from maap_stac_orchestration.ledger.connection import DatabaseUnavailable
from maap_stac_orchestration.web.problem_documents import (
    InvalidParameter,
    ProblemDetails,
    add_common_problem_documents,
    database_away,
    database_unmigrated,
    logged,
    problem_response,
)

log = logging.getLogger(__name__)

# What each status means here, for the OpenAPI document.
_MEANINGS = {
    HTTPStatus.BAD_REQUEST: "A parameter, or a part of the body, is not known or not valid; `errors` names each",
    HTTPStatus.UNAUTHORIZED: "The token is not valid, or there is none where one is needed",
    HTTPStatus.FORBIDDEN: "The token is somebody's who may not do this",
    HTTPStatus.NOT_FOUND: "There is no such thing",
    HTTPStatus.CONFLICT: "It cannot be done as things are",
    HTTPStatus.PRECONDITION_FAILED: "It was changed since it was read",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is of a media type that is not taken",
    HTTPStatus.UNPROCESSABLE_ENTITY: "What was sent is well-formed and cannot be used; `detail` says why",
    HTTPStatus.SERVICE_UNAVAILABLE: "Something that the answer depends on does not answer; try again in a moment",
    HTTPStatus.GATEWAY_TIMEOUT: "The database took too long over this; ask for less",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For the `responses` of a route: what each of these statuses means, as a problem document."""
    return {
        int(status): {"model": ProblemDetails, "description": _MEANINGS[HTTPStatus(status)]}
        for status in sorted(statuses)
    }


#: For the `responses` of a router: what any of its routes may answer with.
RESPONSES = problems(400, 401, 503, 504)
#: The same where what is sent is looked at closely.
CHANGES = problems(403, 404, 409, 413, 422)


class ApiError(Exception):
    """Ends a request with a problem document."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        errors: Sequence[InvalidParameter] = (),
        *,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """As a problem document.

        Args:
            status: of the response.
            detail: what is wrong, in a sentence.
            errors: each parameter that is wrong.
            code: a short name of the error, where the status alone does not tell.
            headers: of the response.
        """
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.code = code
        self.headers = dict(headers or {})


def add_problem_documents(app: FastAPI) -> None:
    """Makes every error of the application a problem document."""
    add_common_problem_documents(app)
    app.add_exception_handler(ApiError, _api_error)
    for kind, status in DEFAULT_STATUS_CODES.items():
        app.add_exception_handler(kind, _stac(HTTPStatus(status)))
    for unavailable in (
        DatabaseUnavailable,
        asyncpg.PostgresConnectionError,
        asyncpg.CannotConnectNowError,
        asyncpg.TooManyConnectionsError,
        asyncpg.InterfaceError,
        ConnectionError,
        TimeoutError,
    ):
        app.add_exception_handler(unavailable, database_away)
    for unmigrated in (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        app.add_exception_handler(unmigrated, database_unmigrated)
    app.add_exception_handler(asyncpg.UndefinedFunctionError, _undefined)
    # The STAC API alone asks by asyncpg; pgstac makes SQL of searches, and what it stumbles over is what was asked.
    for senseless in (asyncpg.DataError, asyncpg.RaiseError, asyncpg.SyntaxOrAccessError):
        app.add_exception_handler(senseless, _senseless)
    for cancelled in (psycopg.errors.QueryCanceled, asyncpg.QueryCanceledError):
        app.add_exception_handler(cancelled, _too_slow)


async def error_response(request: Request, error: Exception) -> Response | None:
    """What a route that fails with this error answers; None where that is nobody's to answer.

    For middlewares: they stand before the place where the application turns errors into responses.
    """
    handlers = request.app.exception_handlers
    for kind in type(error).__mro__:
        if kind in handlers and kind is not Exception:
            response: Response = await handlers[kind](request, error)
            return response
    return None


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return problem_response(
        request, error.status, error.detail, code=error.code, errors=error.errors, headers=error.headers
    )


def _stac(status: HTTPStatus) -> Any:
    async def handler(request: Request, error: Exception) -> Response:
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return problem_response(request, status, str(error) or status.phrase, code=type(error).__name__)

    return handler


async def _undefined(request: Request, error: Exception) -> Response:
    # `1 = 'a' + 2` lacks an operator, and is what somebody asked for; a function that is missing is one of pgstac's.
    return await (_senseless if str(error).startswith("operator") else database_unmigrated)(request, error)


async def _senseless(request: Request, error: Exception) -> Response:
    log.info("%s %s: the database cannot answer this: %s", request.method, request.url.path, error)
    if isinstance(error, asyncpg.UntranslatableCharacterError | asyncpg.CharacterNotInRepertoireError):
        told = "A text in the request has a character in it that no text here has, such as NUL; take it out."
    else:
        told = f"The database cannot answer this: {str(error).rstrip('.')}. Correct the request."
    return problem_response(request, HTTPStatus.BAD_REQUEST, told, code="SearchUnusable")


_too_slow = logged(
    HTTPStatus.GATEWAY_TIMEOUT,
    "The database took too long over this; ask for less, for example within one collection.",
    "TooSlow",
)
