"""The routes under `/webhooks`: who is told when jobs end.

Here belong parameters, bodies and answers over HTTP, and who may do what: a user for their own jobs, an administrator
for everyone's. Not here: what is checked of an endpoint (`pipeline.notification`), and sending (`pipeline.notify`).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Body, Depends, Path, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from maap_stac_orchestration.api.authentication import Authentication
from maap_stac_orchestration.api.database import ledger_connection
from maap_stac_orchestration.api.models import NewWebhookModel, WebhookModel, WebhooksModel
from maap_stac_orchestration.api.parameters import MOST_DIGITS, NoParameters, Reason, Text, invalid, link, once
from maap_stac_orchestration.api.problem_documents import RESPONSES, ApiError, problems
from maap_stac_orchestration.governance.curation import Person
from maap_stac_orchestration.ledger import endpoints
from maap_stac_orchestration.ledger.changes import Author, Via
from maap_stac_orchestration.ledger.endpoints import EndpointRefused, Kind, NoSuchEndpoint
from maap_stac_orchestration.ledger.records import State
from maap_stac_orchestration.pipeline.notification import addresses, subscriptions
from maap_stac_orchestration.pipeline.notification.subscriptions import NotUsable
from maap_stac_orchestration.settings import Settings

#: A secret is for who asked, and for nobody's cache.
_NOT_KEPT = {"Cache-Control": "no-store"}

Id = Annotated[Text, Path(description="The number of the endpoint.")]


class RemoveQuery(BaseModel):
    """Why an endpoint is told nothing any more."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason = Field(description="Why; it stands in the trail.")


class NewWebhook(BaseModel):
    """An endpoint to be told from now on."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "address": "https://example.org/hook",
                "states": ["rejected", "failed"],
                "reason": "Tells our chat what has to be looked at",
            }
        },
    )

    address: Text = Field(
        description="An https:// address of the public internet, or the ARN of an SNS topic (administrators)."
    )
    username: Text | None = Field(
        default=None,
        description="Whose jobs. Without it those of whoever asks; for administrators, everyone's.",
    )
    algorithm: Text | None = Field(default=None, description="Of which algorithm; without it, of all.")
    states: list[Literal["loaded", "partial", "rejected", "failed"]] = Field(
        default_factory=list, max_length=4, description="In which states they end; without it, in all."
    )
    reason: Reason = Field(description="Why; it stands in the trail.")


def webhooks_router(settings: Settings, authentication: Authentication) -> APIRouter:
    """The routes, for whoever is signed in."""
    router = APIRouter(prefix="/webhooks", tags=["Notifications"], responses=RESPONSES, dependencies=[Depends(once)])
    # As a default, since an annotation is read where `authentication` is not known.
    signed_in = Depends(authentication.signed_in)

    @router.get("", response_model=None, responses={200: {"model": WebhooksModel}}, summary="Who is told when jobs end")
    def webhooks(request: Request, query: Annotated[NoParameters, Query()], person: Person = signed_in) -> JSONResponse:
        """Endpoints in force, newest first: those that are told of one's own jobs; for administrators, all."""
        del query
        with ledger_connection(request) as connection:
            found = endpoints.listing(connection, username=None if person.admin else person.username)
        return JSONResponse({"webhooks": [one.to_document() for one in found], "links": [link("self", request.url)]})

    @router.post(
        "",
        response_model=None,
        status_code=HTTPStatus.CREATED,
        responses={201: {"model": NewWebhookModel}, **problems(403, 409, 413, 422)},
        summary="Tell an address or a topic when jobs end",
    )
    def add(
        request: Request,
        new: Annotated[NewWebhook, Body()],
        query: Annotated[NoParameters, Query()],
        person: Person = signed_in,
    ) -> JSONResponse:
        """Tells an address when jobs end, from the next one on. The answer has the secret that messages are signed
        with, by the Standard Webhooks rules; it is told this once.

        403 for the jobs of somebody else, and for topics, which only administrators may add; 409 where there is an
        endpoint like it; 422 where the address cannot be used.
        """
        del query
        if not person.admin and new.username not in (None, person.username):
            raise ApiError(
                HTTPStatus.FORBIDDEN,
                f"{person.username} may be told of their own jobs only, not of those of {new.username}.",
            )
        if not person.admin and addresses.kind_of(new.address) is Kind.SNS:
            raise ApiError(HTTPStatus.FORBIDDEN, "Topics are for administrators to add; ask one, or use a webhook.")
        username = new.username if person.admin else person.username
        try:
            # Before a connection is taken: looking the host up may take seconds.
            wanted = subscriptions.wanted(
                settings,
                new.address,
                username=username,
                algorithm=new.algorithm,
                states=[State(state) for state in new.states],
            )
        except NotUsable as error:
            raise invalid(error.field, str(error), HTTPStatus.UNPROCESSABLE_ENTITY) from error
        author = Author(by=person.username, via=Via.API, reason=new.reason)
        try:
            with ledger_connection(request) as connection:
                most = None if person.admin else endpoints.MOST_OF_USER
                endpoint, secret = subscriptions.add(connection, wanted, author, most=most)
        except EndpointRefused as error:
            raise ApiError(HTTPStatus.CONFLICT, str(error)) from error
        return JSONResponse({**endpoint.to_document(), "secret": secret}, HTTPStatus.CREATED, _NOT_KEPT)

    @router.delete(
        "/{id}",
        response_model=None,
        responses={200: {"model": WebhookModel}, **problems(404, 413)},
        summary="Tell an endpoint nothing more",
    )
    def remove(
        request: Request, id: Id, query: Annotated[RemoveQuery, Query()], person: Person = signed_in
    ) -> JSONResponse:
        """Takes an endpoint out of force at once; what it was not told yet, it never is. 404 where there is none of
        that number that is told of one's own jobs."""
        number = int(id) if id.isascii() and id.isdigit() and len(id) < MOST_DIGITS else 0
        author = Author(by=person.username, via=Via.API, reason=query.reason)
        with ledger_connection(request) as connection:
            found = endpoints.find(connection, number)
            connection.rollback()
            # Of others' endpoints nothing is told, not even that they are there.
            if found is None or not (person.admin or found.username == person.username):
                raise _unknown(id)
            try:
                removed = subscriptions.remove(connection, number, author)
            except NoSuchEndpoint as error:
                raise _unknown(id) from error
        return JSONResponse(removed.to_document())

    return router


def _unknown(id: str) -> ApiError:
    return ApiError(
        HTTPStatus.NOT_FOUND, f"There is no endpoint {id} in force. GET /webhooks shows those that there are."
    )
