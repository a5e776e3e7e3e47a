"""The routes under `/status`.

Here belongs which address gives which page. `/status/jobs` and `/status/static/…` are fixed; everything else below
`/status` is an output prefix. That always holds `/dps_output/`, so that a user may be called jobs or static.
Readers are the same as those of `GET /jobs`: the middleware that checks tokens sees to that.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, TypeVar
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from maap_stac_orchestration.api.database import ledger_connection
from maap_stac_orchestration.api.jobs import PageQuery
from maap_stac_orchestration.api.pages.errors import add_error_pages
from maap_stac_orchestration.api.pages.job import MOST, job_view, shown_places
from maap_stac_orchestration.api.pages.job_list import TEXT_FILTERS, given, job_row, states_of
from maap_stac_orchestration.api.pages.pictures import bar
from maap_stac_orchestration.api.pages.rendering import ROOT, Pages, address, root, static_files
from maap_stac_orchestration.api.pages.submissions import submission_row
from maap_stac_orchestration.api.pages.words import ORDER, STATES, progress
from maap_stac_orchestration.api.parameters import NoParameters, Text, invalid
from maap_stac_orchestration.api.problem_documents import ApiError
from maap_stac_orchestration.ledger import jobs
from maap_stac_orchestration.ledger.deliveries import list_deliveries
from maap_stac_orchestration.ledger.submissions import list_submissions
from maap_stac_orchestration.pgstac.footprints import boxes
from maap_stac_orchestration.problems import Code
from maap_stac_orchestration.settings import Settings

#: Submissions on a page.
PAGE = 50

_Model = TypeVar("_Model", bound=BaseModel)

_READ = ["GET", "HEAD"]
# Kept for a year, which is for ever: what changes gets another address.
_FOR_EVER = "public, max-age=31536000, immutable"


class SubmissionQuery(BaseModel):
    """Which submissions, and which page of them."""

    model_config = ConfigDict(extra="forbid")

    q: Text | None = None
    username: Text | None = None
    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1


def static_paths() -> frozenset[str]:
    """Paths that everyone may ask for: an error page without its style sheet helps nobody."""
    return frozenset(file.path for file in static_files().values())


def add_pages(app: FastAPI, settings: Settings) -> None:
    """Adds the pages, and errors as pages, to the application."""
    pages = Pages(settings)
    app.include_router(pages_router(settings, pages))
    add_error_pages(app, pages)


def pages_router(settings: Settings, pages: Pages | None = None) -> APIRouter:
    """The routes; they are for people and no part of the OpenAPI document."""
    made = pages or Pages(settings)
    # Plain functions, which FastAPI runs in threads: the ledger is read synchronously.
    router = APIRouter(prefix=ROOT, include_in_schema=False)

    @router.api_route("", methods=_READ)
    def submissions(request: Request) -> Response:
        """How submissions are doing, those with the newest jobs first."""
        query = _query(SubmissionQuery, request)
        with ledger_connection(request) as connection:
            found = list_submissions(
                connection, username=query.username, text=query.q, limit=PAGE, offset=(query.page - 1) * PAGE
            )
            # An empty page says why: nothing fits, there are fewer pages, or there is nothing yet.
            known = found.total or list_submissions(connection, limit=1).total
        base = root(request)
        filters = {"q": query.q, "username": query.username}

        def page(number: int) -> str:
            return address(base + ROOT, {**filters, "page": None if number == 1 else number})

        return made.answer(
            request,
            "submissions.html",
            query=query,
            rows=[submission_row(one, base) for one in found.submissions],
            total=found.total,
            known=known,
            first=(query.page - 1) * PAGE + 1,
            previous=page(query.page - 1) if query.page > 1 else None,
            following=page(query.page + 1) if query.page * PAGE < found.total else None,
            first_page=page(1),
            everyone=address(base + ROOT, {"q": query.q}),
            json=address(f"{base}/jobs/summary", {"by": "username,algorithm,version,tag", "username": query.username}),
        )

    @router.api_route("/jobs", methods=_READ)
    def job_list(request: Request) -> Response:
        """Jobs, newest first; filters are those of `GET /jobs`."""
        query = _query(PageQuery, request)
        try:
            with ledger_connection(request) as connection:
                page = jobs.list_jobs(connection, query.to_filter(), limit=query.limit, token=query.token)
                counted = states_of(connection, query)
        except jobs.TokenInvalid as error:
            raise invalid("token", str(error)) from error
        base = root(request)
        filters = given(query)
        limited = filters | ({"limit": str(query.limit)} if "limit" in query.model_fields_set else {})
        return made.answer(
            request,
            "job_list.html",
            filters=filters,
            segments=bar(counted),
            progress=progress(counted) if counted else None,
            of_state=lambda state: address(f"{base}{ROOT}/jobs", {**limited, "state": state}),
            text_filters=TEXT_FILTERS,
            states=[(state, STATES[state]) for state in ORDER],
            codes=[str(code) for code in Code],
            rows=[job_row(job, base) for job in page.jobs],
            here=address(f"{base}{ROOT}/jobs", limited),
            later_page=query.token is not None,
            following=address(f"{base}{ROOT}/jobs", {**limited, "token": page.next_token}) if page.next_token else None,
            json=address(f"{base}/jobs", {**limited, "token": query.token}),
        )

    @router.api_route("/static/{version}/{name}", methods=_READ)
    def static(request: Request, version: str, name: str) -> Response:
        """A style sheet, script or picture. An address of another version gives today's, and is not kept."""
        file = static_files().get(name)
        if file is None:
            raise ApiError(HTTPStatus.NOT_FOUND, f"There is nothing at {request.url.path}.")
        kept = _FOR_EVER if version == file.version else "no-cache"
        headers = {"Cache-Control": kept, "X-Content-Type-Options": "nosniff"}
        return Response(file.content, media_type=file.media_type, headers=headers)

    @router.api_route("/{prefix:path}", methods=_READ)
    def job(request: Request, prefix: str, query: Annotated[NoParameters, Query()]) -> Response:
        """One job in full."""
        del query
        if "\x00" in prefix:
            raise invalid("prefix", "it must not contain a NUL")
        with ledger_connection(request) as connection:
            detail = jobs.get_job(connection, prefix)
            told = list_deliveries(connection, prefix=detail.summary.prefix, limit=MOST) if detail else []
            places = shown_places(detail) if detail else {}
            lie = [box for collection, ids in places.items() for box in boxes(connection, collection, ids)]
        if detail is None:
            raise ApiError(
                HTTPStatus.NOT_FOUND,
                f"No job with the output prefix {prefix} has come to notice. A job is known once its catalog.json is "
                "in the bucket, which comes with its outputs when it ends; this page then shows it.",
            )
        base = root(request)
        view = job_view(detail, told, lie, settings, base)
        return made.answer(request, "job.html", job=view, json=f"{base}/jobs/{quote(detail.summary.prefix, safe='')}")

    return router


def _query(kind: type[_Model], request: Request) -> _Model:
    """The query, without parameters that are empty: a form sends every one of its inputs.

    Raises:
        RequestValidationError: a parameter is not known or not valid.
    """
    try:
        return kind.model_validate({name: value for name, value in request.query_params.items() if value})
    except ValidationError as error:
        raise RequestValidationError([{**one, "loc": ("query", *one["loc"])} for one in error.errors()]) from error
