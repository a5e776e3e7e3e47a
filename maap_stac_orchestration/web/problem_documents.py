"""Errors as RFC 9457 problem documents, and what is told of those that any application may meet.

Here belongs how an error leaves over HTTP. Not here: errors of one application (`api.problem_documents`,
`tiler.problem_documents`), and problems of a job's output, which are data (`problems`). The documents also carry `code`
and `description`, which the STAC API specification asks of an error.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import psycopg
from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from psycopg_pool import PoolTimeout, TooManyRequests
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from maap_stac_orchestration.web.request_id import REQUEST_ID

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

Handler = Callable[[Request, Exception], Awaitable[Response]]


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


def add_common_problem_documents(app: FastAPI) -> None:
    """Makes problem documents of errors that any application meets: mistakes of clients, a database that is away or not
    ready, and what nobody thought of."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for away in (PoolTimeout, TooManyRequests, psycopg.OperationalError, psycopg.InterfaceError):
        app.add_exception_handler(away, database_away)
    for unmigrated in (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        app.add_exception_handler(unmigrated, database_unmigrated)
    app.add_exception_handler(Exception, _unexpected)


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
    # Set where people, who read pages, may have asked.
    error_page: ErrorPage | None = getattr(request.app.state, "error_page", None)
    page = error_page(request, document, headers or {}) if error_page else None
    if page is not None:
        return page
    return JSONResponse(
        document.model_dump(exclude_none=True), status.value, media_type=MEDIA_TYPE, headers=dict(headers or {})
    )


def logged(status: HTTPStatus, detail: str, code: str, level: int = logging.WARNING, retry_after: int = 0) -> Handler:
    """A handler that logs the error and answers with a sentence of ours.

    Args:
        status: of the response.
        detail: the sentence. What the error itself says is for the log alone: Postgres names functions and columns.
        code: a short name of the error.
        level: of the log. It is one line, without the traceback: an outage brings thousands of these.
        retry_after: seconds after which it may be tried again; 0 where that would not help.
    """
    headers = {"Retry-After": str(retry_after)} if retry_after else None

    async def handler(request: Request, error: Exception) -> Response:
        log.log(level, "%s %s: %s: %s", request.method, request.url.path, code, error)
        return problem_response(request, status, detail, code=code, headers=headers)

    return handler


database_away = logged(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The database does not answer; try again in a moment.",
    "DatabaseUnavailable",
    retry_after=5,
)
database_unmigrated = logged(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The database is not ready: an operator has to run `maap-stac migrate`.",
    "DatabaseNotMigrated",
    logging.ERROR,
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
