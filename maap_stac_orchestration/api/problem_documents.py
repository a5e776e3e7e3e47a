"""Errors as RFC 9457 problem documents, for every route of the application.

Here belongs how an error leaves over HTTP. Not here: problems of a job's output, which are data (`problems`). The
documents also carry `code` and `description`, which the STAC API specification asks of an error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import asyncpg
import psycopg
from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from psycopg_pool import PoolTimeout, TooManyRequests
from pydantic import BaseModel, Field
from stac_fastapi.api.errors import DEFAULT_STATUS_CODES
from starlette.exceptions import HTTPException

from maap_stac_orchestration.api.request_id import REQUEST_ID
from maap_stac_orchestration.ledger.connection import DatabaseUnavailable

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class InvalidParameter(BaseModel):
    """One thing wrong with what the client sent."""

    parameter: str = Field(description="The parameter's name, or the path of a value in the body.")
    message: str = Field(description="What is wrong with it.")


class ProblemDetails(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = "about:blank"
    title: str = Field(description="The HTTP status in words.")
    status: int
    detail: str = Field(description="What is wrong, in a sentence.")
    instance: str = Field(description="The path that was asked for.")
    code: str = Field(description="A short name of the error.")
    description: str = Field(description="The same as detail, where STAC clients look for it.")
    errors: list[InvalidParameter] | None = Field(default=None, description="For 400: each parameter that is wrong.")


#: Gives an error as a page; None for those who are told by the document.
ErrorPage = Callable[[Request, ProblemDetails, Mapping[str, str]], Response | None]

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
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for kind, status in DEFAULT_STATUS_CODES.items():
        app.add_exception_handler(kind, _stac(HTTPStatus(status)))
    for unavailable in (
        DatabaseUnavailable,
        PoolTimeout,
        TooManyRequests,
        psycopg.OperationalError,
        asyncpg.PostgresConnectionError,
        asyncpg.CannotConnectNowError,
        asyncpg.TooManyConnectionsError,
        asyncpg.InterfaceError,
        ConnectionError,
        TimeoutError,
    ):
        app.add_exception_handler(unavailable, _unavailable)
    for unmigrated in (
        psycopg.errors.UndefinedTable,
        psycopg.errors.InvalidSchemaName,
        asyncpg.UndefinedTableError,
        asyncpg.InvalidSchemaNameError,
    ):
        app.add_exception_handler(unmigrated, _unmigrated)
    app.add_exception_handler(asyncpg.UndefinedFunctionError, _undefined)
    # The STAC API alone asks by asyncpg; pgstac makes SQL of searches, and what it stumbles over is what was asked.
    for senseless in (asyncpg.DataError, asyncpg.RaiseError, asyncpg.SyntaxOrAccessError):
        app.add_exception_handler(senseless, _senseless)
    for cancelled in (psycopg.errors.QueryCanceled, asyncpg.QueryCanceledError):
        app.add_exception_handler(cancelled, _too_slow)
    app.add_exception_handler(Exception, _unexpected)


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


def problem_response(
    request: Request,
    status: HTTPStatus,
    detail: str,
    *,
    code: str | None = None,
    errors: Sequence[InvalidParameter] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document, or the page that says the same, as a response."""
    document = ProblemDetails(
        title=status.phrase,
        status=status.value,
        detail=detail,
        instance=request.url.path,
        code=code or status.phrase.replace(" ", ""),
        description=detail,
        errors=list(errors) or None,
    )
    # Set where people, who read pages, may have asked (`pages.errors`).
    error_page: ErrorPage | None = getattr(request.app.state, "error_page", None)
    page = error_page(request, document, headers or {}) if error_page else None
    if page is not None:
        return page
    return JSONResponse(
        document.model_dump(exclude_none=True), status.value, media_type=MEDIA_TYPE, headers=dict(headers or {})
    )


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return problem_response(
        request, error.status, error.detail, code=error.code, errors=error.errors, headers=error.headers
    )


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [_invalid_parameter(one) for one in jsonable_encoder(error.errors(), custom_encoder={bytes: repr})]
    # The first part of a sentence each; a client with one typo reads one sentence.
    detail = " ".join(f"{one.parameter}: {one.message}." for one in errors)
    return problem_response(request, HTTPStatus.BAD_REQUEST, detail, code="InvalidParameter", errors=errors)


def _invalid_parameter(error: Mapping[str, Any]) -> InvalidParameter:
    # The first part of the location says where it was found: query, path or body.
    place = [str(part) for part in error["loc"][1:]] or [str(part) for part in error["loc"]]
    message = "this parameter is not known" if error["type"] == "extra_forbidden" else error["msg"]
    return InvalidParameter(parameter=".".join(place), message=message.removeprefix("Value error, ").rstrip("."))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    detail = error.detail if isinstance(error.detail, str) else str(error.detail)
    if status is HTTPStatus.NOT_FOUND and detail == status.phrase:
        detail = f"There is nothing at {request.url.path}."
    return problem_response(request, status, detail, headers=error.headers)


def _stac(status: HTTPStatus) -> Any:
    async def handler(request: Request, error: Exception) -> Response:
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return problem_response(request, status, str(error) or status.phrase, code=type(error).__name__)

    return handler


async def _unavailable(request: Request, error: Exception) -> Response:
    # Once a line, without the traceback: an outage brings thousands of these.
    log.warning("%s %s: the database does not answer: %s", request.method, request.url.path, error)
    return problem_response(
        request,
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The database does not answer; try again in a moment.",
        code="DatabaseUnavailable",
        headers={"Retry-After": "5"},
    )


async def _unmigrated(request: Request, error: Exception) -> Response:
    log.error("%s %s: the database lacks what is asked for: %s", request.method, request.url.path, error)
    return problem_response(
        request,
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The database is not ready: an operator has to run `maap-stac migrate`.",
        code="DatabaseNotMigrated",
    )


async def _undefined(request: Request, error: Exception) -> Response:
    # `1 = 'a' + 2` lacks an operator, and is what somebody asked for; a function that is missing is one of pgstac's.
    return await (_senseless if str(error).startswith("operator") else _unmigrated)(request, error)


async def _senseless(request: Request, error: Exception) -> Response:
    log.info("%s %s: the database cannot answer this: %s", request.method, request.url.path, error)
    if isinstance(error, asyncpg.UntranslatableCharacterError | asyncpg.CharacterNotInRepertoireError):
        told = "A text in the request has a character in it that no text here has, such as NUL; take it out."
    else:
        told = f"The database cannot answer this: {str(error).rstrip('.')}. Correct the request."
    return problem_response(request, HTTPStatus.BAD_REQUEST, told, code="SearchUnusable")


async def _too_slow(request: Request, error: Exception) -> Response:
    log.warning("%s %s took too long: %s", request.method, request.url.path, error)
    return problem_response(
        request,
        HTTPStatus.GATEWAY_TIMEOUT,
        "The database took too long over this; ask for less, for example within one collection.",
        code="TooSlow",
    )


async def _unexpected(request: Request, error: Exception) -> Response:
    # What went wrong stands in the log, which starlette writes; it is nothing for a stranger to read. This response is
    # made outside of the middleware that names the request in all others.
    request_id = getattr(request.state, "request_id", None)
    return problem_response(
        request,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "Something went wrong here; it was logged.",
        code="InternalError",
        headers={REQUEST_ID: request_id} if request_id else None,
    )
