"""The route `/decisions`: the audit trail of who asked for which collection and what was answered.

Here belong parameters and answers over HTTP. Not here: questions to the ledger (`ledger.decisions`), the form of
decisions (`ledger.documents`), and who may write where (`grants`).
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from maap_stac_orchestration.api.authentication import Authentication
from maap_stac_orchestration.api.database import ledger_connection
from maap_stac_orchestration.api.models import DecisionsModel
from maap_stac_orchestration.api.parameters import MAX_LIMIT, Text, Time, addresses, invalid, link, once
from maap_stac_orchestration.api.problem_documents import RESPONSES
from maap_stac_orchestration.governance.decision import DecisionCode, Outcome
from maap_stac_orchestration.ledger import documents
from maap_stac_orchestration.ledger.decisions import DecisionFilter, DecisionTokenInvalid, list_decisions
from maap_stac_orchestration.settings import Settings


class DecisionQuery(BaseModel):
    """Which decisions, and which page of them. Everything that is given must hold."""

    model_config = ConfigDict(extra="forbid")

    username: Text | None = Field(default=None, description="Decisions about jobs of this user.")
    algorithm: Text | None = Field(default=None, description="Decisions about jobs of this algorithm.")
    version: Text | None = Field(default=None, description="Decisions about jobs of this version of it.")
    tag: Text | None = Field(default=None, description="Decisions about jobs with this tag.")
    requested: Text | None = Field(default=None, description="Decisions about this collection id.")
    collection: Text | None = Field(default=None, description="Decisions that sent items to this collection.")
    decision: DecisionCode | None = Field(default=None, description="Decisions of this code.")
    outcome: Outcome | None = Field(default=None, description="Decisions with this outcome.")
    registry_version: Text | None = Field(default=None, description="Decisions under this version of the registry.")
    prefix: Text | None = Field(default=None, description="Decisions about the job with this output prefix.")
    run_id: Text | None = Field(default=None, description="Decisions that this Dagster run took.")
    since: Time | None = Field(default=None, description="Decisions taken at this time (RFC 3339) or later.")
    until: Time | None = Field(default=None, description="Decisions taken before this time (RFC 3339).")
    job_since: Time | None = Field(
        default=None, description="Decisions about jobs that ran at this time (RFC 3339) or later, newest job first."
    )
    job_until: Time | None = Field(
        default=None, description="Decisions about jobs that ran before this time (RFC 3339), newest job first."
    )
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT, description="At most so many decisions.")] = 50
    token: Text | None = Field(default=None, description="From the `next` link of the page before.")

    def to_filter(self) -> DecisionFilter:
        """The same question for the ledger."""
        given = self.model_dump(exclude={"decision", "limit", "token"})
        return DecisionFilter(code=self.decision, **given)


def decisions_router(settings: Settings, authentication: Authentication) -> APIRouter:
    """The route, for whoever may read."""
    router = APIRouter(
        tags=["Decisions"], responses=RESPONSES, dependencies=[Depends(authentication.reader), Depends(once)]
    )

    @router.get(
        "/decisions", response_model=None, responses={200: {"model": DecisionsModel}}, summary="The audit trail"
    )
    def decisions(request: Request, query: Annotated[DecisionQuery, Query()]) -> JSONResponse:
        """Every decision that was ever taken, newest first, a page at a time: what a job asked for, where its items
        went instead or as asked, by which entry of which version of the registry."""
        try:
            with ledger_connection(request) as connection:
                page = list_decisions(connection, query.to_filter(), query.limit, query.token)
        except DecisionTokenInvalid as error:
            raise invalid("token", str(error)) from error
        links = [link("self", request.url)]
        if page.next_token:
            links.append(link("next", request.url.include_query_params(token=page.next_token)))
        return JSONResponse(documents.trail_document(page, addresses(request, settings), links))

    return router
