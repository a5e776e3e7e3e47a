"""The routes under `/status`.

Here belongs which address gives which page. `/status/jobs`, `/status/collections`, `/status/collections/{id}`,
`/status/footprints` and `/status/static/…` are fixed; everything else below `/status` is an output prefix. That always
holds `/dps_output/` and a time, so that a user may be called jobs, collections or static.
Readers are the same as those of `GET /jobs`: the middleware that checks tokens sees to that.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Self, TypeVar
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from maap_stac_orchestration.api.database import ledger_connection
from maap_stac_orchestration.api.jobs import PageQuery
from maap_stac_orchestration.api.pages.chart import Placed, footprint_document
from maap_stac_orchestration.api.pages.collection import (
    MOST_COUNTED,
    MOST_FOOTPRINTS,
    MOST_MONTHS,
    CollectionQuery,
    Found,
    collection_view,
)
from maap_stac_orchestration.api.pages.collection import placed as placed_in_collection
from maap_stac_orchestration.api.pages.collection_list import collection_row
from maap_stac_orchestration.api.pages.errors import add_error_pages
from maap_stac_orchestration.api.pages.job import MOST, job_view, placed, shown_places
from maap_stac_orchestration.api.pages.job_list import TEXT_FILTERS, given, job_row, states_of
from maap_stac_orchestration.api.pages.pictures import bar
from maap_stac_orchestration.api.pages.rendering import ROOT, Pages, address, root, static_files
from maap_stac_orchestration.api.pages.submissions import submission_row
from maap_stac_orchestration.api.pages.tiles import Rendering, rendering
from maap_stac_orchestration.api.pages.words import ORDER, STATES, progress
from maap_stac_orchestration.api.parameters import NoParameters, Text, invalid
from maap_stac_orchestration.api.problem_documents import ApiError
from maap_stac_orchestration.ledger import jobs
from maap_stac_orchestration.ledger.collections import find, moved, owner_of, tombstones
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.deliveries import list_deliveries
from maap_stac_orchestration.ledger.records import JobDetail
from maap_stac_orchestration.ledger.submissions import list_submissions
from maap_stac_orchestration.pgstac.collections import read_document
from maap_stac_orchestration.pgstac.footprints import count_up_to, footprints_of, months_of, newest_footprints
from maap_stac_orchestration.pgstac.listing import list_collections
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


class CollectionListQuery(BaseModel):
    """Which collections, and where their page begins."""

    model_config = ConfigDict(extra="forbid")

    q: Text | None = None
    #: The id of the last collection of the page before.
    after: Text | None = None


class FootprintQuery(CollectionQuery):
    """Whose footprints: a job's, or a collection's."""

    prefix: Text | None = None
    collection: Text | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.prefix is None) == (self.collection is None):
            raise ValueError("name a job by its prefix, or a collection")
        if self.prefix is not None and self.month is not None:
            raise ValueError("a month is of a collection, not of a job")
        return self


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

    @router.api_route("/collections", methods=_READ)
    def collection_list(request: Request) -> Response:
        """Collections in order of their ids."""
        query = _query(CollectionListQuery, request)
        with ledger_connection(request) as connection:
            # One more tells whether there are more.
            found = list_collections(connection, text=query.q or "", after=query.after or "", limit=PAGE + 1)
            known = find(connection, [one.id for one in found])
        base = root(request)
        shown = found[:PAGE]
        return made.answer(
            request,
            "collection_list.html",
            query=query,
            rows=[collection_row(one, known[one.id].owner if one.id in known else None, base) for one in shown],
            here=address(f"{base}{ROOT}/collections", {"q": query.q}),
            following=address(f"{base}{ROOT}/collections", {"q": query.q, "after": shown[-1].id})
            if len(found) > PAGE
            else None,
            json=f"{base}/collections",
        )

    @router.api_route("/collections/{id}", methods=_READ)
    def collection(request: Request, id: str) -> Response:
        """One collection: its words, and its items on a map."""
        query = _query(CollectionQuery, request)
        with ledger_connection(request) as connection:
            document = _document(connection, id)
            count = count_up_to(connection, id, MOST_COUNTED)
            found = Found(
                document=document,
                owner=owner_of(connection, id),
                items=count,
                chosen=count_up_to(connection, id, MOST_COUNTED, during=query.during) if query.month else count,
                months=months_of(connection, id, limit=MOST_MONTHS),
                footprints=newest_footprints(connection, id, limit=MOST_FOOTPRINTS, during=query.during),
            )
        base = root(request)
        view = collection_view(id, found, query, settings, base)
        return made.answer(request, "collection.html", collection=view, json=view.api)

    @router.api_route("/footprints", methods=_READ)
    def footprints(request: Request) -> Response:
        """Where the items of a job or of a collection lie, as GeoJSON for the map on its page."""
        query = _query(FootprintQuery, request)
        with ledger_connection(request) as connection:
            if query.collection is not None:
                document = _document(connection, query.collection)
                shown = rendering(document)
                found = newest_footprints(connection, query.collection, limit=MOST_FOOTPRINTS, during=query.during)
                lie = placed_in_collection(query.collection, found)
                renderings = {query.collection: shown} if shown else {}
            else:
                detail = jobs.get_job(connection, str(query.prefix))
                if detail is None:
                    raise ApiError(HTTPStatus.NOT_FOUND, f"No job with the output prefix {query.prefix} is known.")
                lie, renderings = _places(connection, detail)
        return made.geojson(request, footprint_document(lie, renderings, settings, root(request)))

    # Not any path: a job's prefix is longer than these.
    @router.api_route("/static/{version}/{name}", methods=_READ)
    @router.api_route("/static/{version}/vendor/{library}/{name}", methods=_READ)
    @router.api_route("/static/{version}/vendor/{library}/{folder}/{name}", methods=_READ)
    def static(
        request: Request, version: str, name: str, library: str | None = None, folder: str | None = None
    ) -> Response:
        """A style sheet, script or picture. An address of another version gives today's, and is not kept."""
        path = "/".join(part for part in ("vendor" if library else None, library, folder, name) if part)
        file = static_files().get(path)
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
            lie, renderings = _places(connection, detail) if detail else ([], {})
        if detail is None:
            raise ApiError(
                HTTPStatus.NOT_FOUND,
                f"No job with the output prefix {prefix} has come to notice. A job is known once its catalog.json is "
                "in the bucket, which comes with its outputs when it ends; this page then shows it.",
            )
        base = root(request)
        view = job_view(detail, told, lie, renderings, settings, base)
        return made.answer(request, "job.html", job=view, json=f"{base}/jobs/{quote(detail.summary.prefix, safe='')}")

    return router


def _document(connection: Connection, collection: str) -> Mapping[str, object]:
    """A collection's document.

    Raises:
        ApiError: there is no such collection; says what became of it.
    """
    document = read_document(connection, collection)
    if document is not None:
        return document
    gone = tombstones(connection, [collection]).get(collection)
    now = moved(connection, [collection]).get(collection)
    raise ApiError(
        HTTPStatus.NOT_FOUND,
        (f"{gone.sentence} " if gone else f"There is no collection {collection}. ")
        + (
            f"They are in {now} now." if now else "A collection is made when the first item arrives that belongs there."
        ),
    )


def _places(connection: Connection, detail: JobDetail) -> tuple[list[Placed], dict[str, Rendering]]:
    """A job's items on its map, and how those of each collection are shown."""
    lie: list[Placed] = []
    renderings = {}
    for collection, ids in shown_places(detail).items():
        lie += placed(detail, collection, footprints_of(connection, collection, ids))
        shown = rendering(read_document(connection, collection) or {})
        if shown:
            renderings[collection] = shown
    return lie, renderings


def _query(kind: type[_Model], request: Request) -> _Model:
    """The query, without parameters that are empty: a form sends every one of its inputs.

    Raises:
        RequestValidationError: a parameter is not known or not valid.
    """
    try:
        return kind.model_validate({name: value for name, value in request.query_params.items() if value})
    except ValidationError as error:
        raise RequestValidationError([{**one, "loc": ("query", *one["loc"])} for one in error.errors()]) from error
