"""The routes under `/jobs`: what became of jobs.

Here belong parameters and answers over HTTP. Not here: questions to the ledger (`ledger.jobs`) and the form of jobs
(`ledger.documents`). The routes are plain functions, which FastAPI runs in threads: the ledger is read synchronously.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from maap_stac_orchestration.api.database import ledger_connection
from maap_stac_orchestration.api.models import JobDetailModel, JobsModel, SummaryModel
from maap_stac_orchestration.api.parameters import MAX_LIMIT, NoParameters, Text, Time, addresses, invalid, link, once
from maap_stac_orchestration.api.problem_documents import RESPONSES, ApiError, problems
from maap_stac_orchestration.ledger import documents, jobs
from maap_stac_orchestration.ledger.records import JobFilter, State
from maap_stac_orchestration.problems import Code
from maap_stac_orchestration.settings import Settings


def _group_fields(value: str) -> str:
    unknown = [field for field in value.split(",") if field not in jobs.GROUP_FIELDS]
    if unknown:
        raise ValueError(f"{', '.join(unknown)} is none of {', '.join(jobs.GROUP_FIELDS)}")
    return value


_LISTED_FIELDS = "^({0})(,({0}))*$".format("|".join(jobs.GROUP_FIELDS))


class JobQuery(BaseModel):
    """Which jobs. Everything that is given must hold."""

    model_config = ConfigDict(extra="forbid")

    username: Text | None = Field(default=None, description="Jobs of this user.")
    algorithm: Text | None = Field(default=None, description="Jobs of this algorithm, by the job metadata.")
    version: Text | None = Field(default=None, description="Jobs of this version of their algorithm.")
    tag: Text | None = Field(default=None, description="Jobs with this tag.")
    state: State | None = Field(default=None, description="Jobs that are in this state now.")
    collection: Text | None = Field(default=None, description="Jobs with items in this collection.")
    run_id: Text | None = Field(default=None, description="Jobs that this Dagster run took on.")
    since: Time | None = Field(default=None, description="Jobs that ran at this time (RFC 3339) or later.")
    until: Time | None = Field(default=None, description="Jobs that ran before this time (RFC 3339).")
    code: Code | None = Field(default=None, description="Jobs with a problem of this code.")

    def to_filter(self) -> JobFilter:
        """The same question for the ledger."""
        return JobFilter(**{field: getattr(self, field) for field in JobQuery.model_fields})


class PageQuery(JobQuery):
    """Which jobs, and which page of them."""

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT, description="At most so many jobs.")] = 50
    token: Text | None = Field(default=None, description="From the `next` link of the page before.")


class GroupQuery(JobQuery):
    """Which jobs, and what makes a group of them."""

    by: Annotated[str, AfterValidator(_group_fields)] = Field(
        default="tag",
        description="One or more of username, algorithm, version, tag, with commas.",
        json_schema_extra={"pattern": _LISTED_FIELDS},
    )


def unknown_job(prefix: str) -> ApiError:
    """The error for an output prefix that the ledger does not know."""
    return ApiError(
        HTTPStatus.NOT_FOUND,
        f"No job with the output prefix {prefix} has come to notice; "
        "a job is known once its catalog.json is in the bucket.",
    )


def jobs_router(settings: Settings) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/jobs", tags=["Jobs"], responses=RESPONSES, dependencies=[Depends(once)])

    @router.get("", response_model=None, responses={200: {"model": JobsModel}}, summary="Jobs, newest first")
    def list_jobs(request: Request, query: Annotated[PageQuery, Query()]) -> JSONResponse:
        """Jobs, newest first, a page at a time. By `run_id` it is what a Dagster run took on."""
        try:
            with ledger_connection(request) as connection:
                page = jobs.list_jobs(connection, query.to_filter(), limit=query.limit, token=query.token)
        except jobs.TokenInvalid as error:
            raise invalid("token", str(error)) from error
        links = [link("self", request.url)]
        if page.next_token:
            links.append(link("next", request.url.include_query_params(token=page.next_token)))
        return JSONResponse(documents.page_document(page, links))

    @router.get(
        "/summary", response_model=None, responses={200: {"model": SummaryModel}}, summary="Counts by state per group"
    )
    def summary(request: Request, query: Annotated[GroupQuery, Query()]) -> JSONResponse:
        """How a whole submission is doing: counts by state for each group of jobs."""
        by = tuple(dict.fromkeys(query.by.split(",")))
        with ledger_connection(request) as connection:
            groups = jobs.summary(connection, by=by, filter=query.to_filter())
        return JSONResponse(documents.summary_document(groups, by))

    @router.get(
        "/{prefix:path}",
        response_model=None,
        responses={200: {"model": JobDetailModel}, **problems(404)},
        summary="One job in full",
    )
    def get_job(
        request: Request,
        prefix: Annotated[str, Path(description="The output prefix, percent-encoded.")],
        query: Annotated[NoParameters, Query()],
    ) -> JSONResponse:
        """One job with every state and its time, every decision, problem and item."""
        del query
        if "\x00" in prefix:
            raise invalid("prefix", "it must not contain a NUL")
        with ledger_connection(request) as connection:
            detail = jobs.get_job(connection, prefix)
        if detail is None:
            raise unknown_job(prefix)
        return JSONResponse(documents.job_document(detail, addresses(request, settings)))

    return router
