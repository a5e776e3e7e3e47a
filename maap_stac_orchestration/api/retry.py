"""The routes that try jobs again: one job, or all that match.

Here belong who may ask for which jobs, bodies and answers over HTTP. Not here: which jobs are meant and what is done to
them (`pipeline.retry`), and reading about jobs (`jobs`).
"""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Path, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from maap_stac_orchestration.api.authentication import Authentication
from maap_stac_orchestration.api.database import ledger_connection
from maap_stac_orchestration.api.jobs import JobQuery, unknown_job
from maap_stac_orchestration.api.models import RetriedModel
from maap_stac_orchestration.api.parameters import NoParameters, Text, addresses, invalid, once
from maap_stac_orchestration.api.problem_documents import RESPONSES, ApiError, problems
from maap_stac_orchestration.governance.curation import Person
from maap_stac_orchestration.ledger import jobs
from maap_stac_orchestration.ledger.documents import Addresses
from maap_stac_orchestration.ledger.records import JobFilter
from maap_stac_orchestration.ledger.retries import Skip
from maap_stac_orchestration.pipeline.retry import (
    DEFAULT_LIMIT,
    NothingPicked,
    RetryRequest,
    RetryResult,
    TooManyMatch,
    retry,
)
from maap_stac_orchestration.settings import Settings

#: Characters of a reason; it stands in the history of each job.
_LONGEST_REASON = 400

Force = Annotated[
    bool, Field(description="Also jobs that are loaded, and jobs that a run holds: from the run they are taken.")
]
Reason = Annotated[Text, Field(max_length=_LONGEST_REASON, description="Why, for the history of the jobs.")]


class RetryOne(BaseModel):
    """How one job is tried again."""

    # Strict: "force": "no" is a mistake, and not a way to write false.
    model_config = ConfigDict(extra="forbid", strict=True)

    force: Force = False
    reason: Reason = ""


class RetryMany(JobQuery):
    """Which jobs are tried again, and how. Everything that is given must hold."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"code": "link_missing", "since": "2026-03-01T00:00:00Z", "dry_run": True, "reason": "uploaded"}
        },
    )

    force: Annotated[bool, Field(strict=True)] = Field(
        default=False,
        description="Also jobs that are loaded, and jobs that a run holds: from the run they are taken.",
    )
    dry_run: Annotated[bool, Field(strict=True)] = Field(
        default=False, description="Tell what would be done, and do nothing."
    )
    limit: Annotated[int, Field(ge=1, le=DEFAULT_LIMIT, strict=True)] = Field(
        default=DEFAULT_LIMIT, description="Do nothing where more jobs match than this."
    )
    reason: Reason = ""


def retry_router(settings: Settings, authentication: Authentication) -> APIRouter:
    """The routes, for those whose jobs they are, and for administrators."""
    router = APIRouter(prefix="/jobs", tags=["Jobs"], responses=RESPONSES, dependencies=[Depends(once)])
    # As a default, since an annotation is read where `authentication` is not known.
    signed_in = Depends(authentication.signed_in)

    @router.post(
        "/retry",
        response_model=None,
        status_code=HTTPStatus.ACCEPTED,
        responses={202: {"model": RetriedModel}, **problems(403, 409, 413)},
        summary="Try all jobs again that match",
    )
    def retry_many(
        request: Request,
        asked: Annotated[RetryMany, Body()],
        query: Annotated[NoParameters, Query()],
        person: Person = signed_in,
    ) -> JSONResponse:
        """Makes jobs due at once that match: for administrators those of all users, for others their own.

        Without `state` and `force` these are all that match but those that are loaded. 409 where more match than
        `limit`; then nothing is done. A body that picks nothing is refused with 400.
        """
        del query
        picked = asked.to_filter()
        if picked == JobFilter():
            raise invalid("body", f"it picks no jobs; give some of {', '.join(JobQuery.model_fields)}")
        if not person.admin:
            picked = _own(picked, person)
        with ledger_connection(request) as connection:
            try:
                result = retry(
                    connection,
                    RetryRequest(filter=picked, force=asked.force, limit=asked.limit),
                    by=person.username,
                    dry_run=asked.dry_run,
                    reason=asked.reason,
                )
            except NothingPicked as error:
                raise invalid("body", str(error)) from error
            except TooManyMatch as error:
                raise ApiError(HTTPStatus.CONFLICT, str(error), code="TooManyMatch") from error
        return _accepted(result, addresses(request, settings))

    @router.post(
        "/{prefix:path}/retry",
        response_model=None,
        status_code=HTTPStatus.ACCEPTED,
        responses={202: {"model": RetriedModel}, **problems(403, 404, 409, 413)},
        summary="Try a job again",
    )
    def retry_one(
        request: Request,
        prefix: Annotated[str, Path(description="The output prefix, percent-encoded.")],
        query: Annotated[NoParameters, Query()],
        asked: Annotated[RetryOne | None, Body()] = None,
        person: Person = signed_in,
    ) -> JSONResponse:
        """Makes a job due at once, for the user whose job it is and for administrators; the body may be left out.

        409 where there is nothing to mend because it is loaded, or a run is at work on it; `force` does it all the
        same. A job whose catalog.json was replaced is tried again by itself.
        """
        del query
        if "\x00" in prefix:
            raise invalid("prefix", "it must not contain a NUL")
        how = asked or RetryOne()
        with ledger_connection(request) as connection:
            job = jobs.find_job(connection, prefix)
            if job is None:
                raise unknown_job(prefix)
            if not person.admin and person.username != job.username:
                raise ApiError(
                    HTTPStatus.FORBIDDEN,
                    f"This is a job of {job.username}, and you are {person.username}: ask {job.username} or an "
                    "administrator to try it again.",
                    code="NotYourJob",
                )
            place = f"s3://{job.bucket}/{job.prefix}"
            result = retry(
                connection,
                RetryRequest(prefixes=(place,), force=how.force),
                by=person.username,
                reason=how.reason,
            )
        _refuse_if_left(result)
        to = addresses(request, settings)
        return _accepted(result, to, to.job(job.prefix, "job"))

    return router


def _own(picked: JobFilter, person: Person) -> JobFilter:
    """The same for the jobs of this person alone."""
    if picked.username not in (None, person.username):
        raise ApiError(
            HTTPStatus.FORBIDDEN,
            f"These are jobs of {picked.username}, and you are {person.username}: leave the username out to try your "
            "own again, or ask an administrator.",
            code="NotYourJob",
        )
    return replace(picked, username=person.username)


def _refuse_if_left(result: RetryResult) -> None:
    if Skip.LOADED in result.skipped:
        raise ApiError(
            HTTPStatus.CONFLICT,
            "The job is loaded: every item is in its collection, so there is nothing to mend. Send "
            '{"force": true} to have it read again all the same.',
            code="JobLoaded",
        )
    if Skip.LEASED in result.skipped and result.leased_until is not None:
        raise ApiError(
            HTTPStatus.CONFLICT,
            f"A run is at work on the job; its lease lasts until {result.leased_until:%Y-%m-%d %H:%M:%S} UTC unless it "
            'is renewed. Look at the job when it has ended, or send {"force": true} to take it away from the run.',
            code="JobLeased",
        )


def _accepted(result: RetryResult, to: Addresses, links: list[dict[str, str]] | None = None) -> JSONResponse:
    document: dict[str, Any] = result.to_document()
    for one in document["retried"]:
        one["links"] = to.job(one["prefix"], "job")
    document["links"] = links or []
    headers = {"Location": links[0]["href"]} if links else None
    return JSONResponse(document, HTTPStatus.ACCEPTED, headers)
