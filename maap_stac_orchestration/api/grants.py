"""The routes under `/registry`: who may write where, for administrators.

Here belong parameters, bodies and answers over HTTP. Not here: changing the registry (`pipeline.administer`), what an
entry means (`governance`), and decisions that were taken by it (`decisions`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Path, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from maap_stac_orchestration.api.authentication import Authentication
from maap_stac_orchestration.api.database import ledger_connection
from maap_stac_orchestration.api.models import ChangesModel, EntriesModel, EntryDetailModel
from maap_stac_orchestration.api.parameters import (
    MAX_LIMIT,
    MOST_DIGITS,
    NoParameters,
    Reason,
    Text,
    addresses,
    invalid,
    link,
    once,
)
from maap_stac_orchestration.api.problem_documents import RESPONSES, ApiError, problems
from maap_stac_orchestration.governance.curation import Person
from maap_stac_orchestration.governance.selection import Selection
from maap_stac_orchestration.ledger import changes, documents, registry_entries
from maap_stac_orchestration.ledger.changes import Author, Via
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.registry_entries import StoredEntry
from maap_stac_orchestration.pipeline import administer
from maap_stac_orchestration.pipeline.administer import AlreadyThere, ListedEntry, NoSuchEntry, Refused
from maap_stac_orchestration.pipeline.registry import RegistryUnavailable
from maap_stac_orchestration.pipeline.registry_list import list_document, stored_document
from maap_stac_orchestration.settings import Settings

Kind = Literal["grants", "deny", "teams", "reserved"]

_LARGEST_ID = 2**63 - 1

Id = Annotated[Text, Path(description="The number of the entry.")]


class EntriesQuery(BaseModel):
    """Which entries. Everything that is given must hold."""

    model_config = ConfigDict(extra="forbid")

    username: Text | None = Field(default=None, description="Entries that name the user, a team of theirs, or *.")
    collection: Text | None = Field(default=None, description="Entries that speak of this collection id.")
    kind: Kind | None = Field(default=None, description="Entries of this kind, as the keys of the registry file.")


class RevokeQuery(BaseModel):
    """Why an entry is taken out of force."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason = Field(description="Why; it stands in the trail.")


class RevokeByIdQuery(RevokeQuery):
    """Which entry is taken out of force, and why."""

    id: Text = Field(description="The number of the entry.")


class HistoryQuery(BaseModel):
    """Which page of the trail of changes."""

    model_config = ConfigDict(extra="forbid")

    subject: Text | None = Field(default=None, description="Changes about this pattern, team, collection or username.")
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT, description="At most so many changes.")] = 50
    before: Annotated[int, Field(ge=1, le=_LARGEST_ID)] | None = Field(
        default=None, description="Changes with a smaller number; from the `next` link of the page before."
    )


class NewEntry(BaseModel):
    """An entry to come into force, with the keys that it would have in the registry file."""

    # Strict: "create": "no" is a mistake, and not a way to write false.
    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "example": {
                "collection": "maap-*",
                "users": ["@boreal"],
                "algorithms": ["my-flood-detector@v1.*"],
                "create": True,
                "reason": "Agreed with the boreal team until the end of their campaign",
            }
        },
    )

    kind: Kind = "grants"
    collection: Text | None = Field(
        default=None, description="A collection id, or a prefix of ids with * at its end; for all kinds but teams."
    )
    team: Text | None = Field(default=None, description="For teams: the name. A team of that name gets these users.")
    users: list[Text] | None = Field(
        default=None, description="Usernames, @team, or * for everyone; for all kinds but reserved."
    )
    algorithms: list[Text] | None = Field(
        default=None, description="name@version, with * in either; without it, whatever the algorithm."
    )
    create: bool | None = Field(default=None, description="Whether the collection may be created on first use.")
    on_denied: Literal["fallback", "reject"] | None = Field(
        default=None, description="What becomes of items that are denied a collection of this pattern."
    )
    template: dict[str, Any] | None = Field(
        default=None,
        description="How a collection that it creates is described: title, description, license, providers, keywords.",
    )
    reason: Reason = Field(description="Why; it stands in the trail.")

    def document(self) -> dict[str, Any]:
        """The entry as the registry reads it: what was not said, or is null, is left out."""
        return self.model_dump(exclude={"kind", "reason"}, exclude_none=True)


def grants_router(settings: Settings, authentication: Authentication) -> APIRouter:
    """The routes, for administrators."""
    router = APIRouter(
        prefix="/registry",
        tags=["Registry"],
        responses={**RESPONSES, **problems(403)},
        dependencies=[Depends(authentication.administrator), Depends(once)],
    )
    # As a default, since an annotation is read where `authentication` is not known. Asked for once a request.
    administrator = Depends(authentication.administrator)

    @router.get(
        "/grants", response_model=None, responses={200: {"model": EntriesModel}}, summary="The registry in force"
    )
    def entries(request: Request, query: Annotated[EntriesQuery, Query()]) -> JSONResponse:
        """Every entry in force, of the registry file and of the database: grants, denials, teams, reserved patterns."""
        selection = Selection(query.username, query.collection, query.kind)
        with _registry(request) as connection:
            document = list_document(
                connection, settings, selection, addresses(request, settings), [link("self", request.url)]
            )
        return JSONResponse(document)

    @router.post(
        "/grants",
        response_model=None,
        status_code=HTTPStatus.CREATED,
        responses={201: {"model": EntryDetailModel}, **problems(409, 413, 422)},
        summary="Put an entry in force",
    )
    def add(
        request: Request,
        entry: Annotated[NewEntry, Body()],
        query: Annotated[NoParameters, Query()],
        person: Person = administrator,
    ) -> JSONResponse:
        """Puts a grant, a denial, a team or a reserved pattern in force, from the next decision on.

        422 where the entry cannot be used, with the sentences of the registry; 409 where an entry says the same.
        """
        del query
        author = Author(by=person.username, via=Via.API, reason=entry.reason)
        with _registry(request) as connection:
            added = _add(connection, settings, entry, author)
        to = addresses(request, settings)
        return JSONResponse(stored_document(added, to), HTTPStatus.CREATED, {"Location": to.entry(added.id)[0]["href"]})

    @router.delete(
        "/grants",
        response_model=None,
        responses={200: {"model": EntryDetailModel}, **problems(404, 409, 413, 422)},
        summary="Take an entry out of force",
        operation_id="revoke_by_query",
    )
    def revoke_by_query(
        request: Request, query: Annotated[RevokeByIdQuery, Query()], person: Person = administrator
    ) -> JSONResponse:
        """The same as `DELETE /registry/grants/{id}`."""
        return revoked(request, person, query.id, query.reason)

    @router.get(
        "/grants/{id}",
        response_model=None,
        responses={200: {"model": EntryDetailModel}, **problems(404)},
        summary="One entry",
    )
    def entry(request: Request, id: Id, query: Annotated[NoParameters, Query()]) -> JSONResponse:
        """One entry of the database, in force or taken out of it, with who did that, when and why."""
        del query
        number = int(id) if id.isascii() and id.isdigit() and len(id) < MOST_DIGITS else 0
        with _registry(request) as connection:
            found = registry_entries.find(connection, number)
        if found is None:
            raise ApiError(
                HTTPStatus.NOT_FOUND,
                f"The database has no entry {id}. GET /registry/grants shows those in force; entries of the registry "
                "file have no number.",
            )
        return JSONResponse(stored_document(found, addresses(request, settings)))

    @router.delete(
        "/grants/{id}",
        response_model=None,
        responses={200: {"model": EntryDetailModel}, **problems(404, 409, 413, 422)},
        summary="Take an entry out of force",
    )
    def revoke(
        request: Request, id: Id, query: Annotated[RevokeQuery, Query()], person: Person = administrator
    ) -> JSONResponse:
        """Takes an entry of the database out of force, from the next decision on; it stays in the trail.

        404 where it is not in force, 409 where it stands in the registry file or others depend on it.
        """
        return revoked(request, person, id, query.reason)

    def revoked(request: Request, person: Person, id: str, reason: str) -> JSONResponse:
        author = Author(by=person.username, via=Via.API, reason=reason)
        with _registry(request) as connection:
            try:
                taken_out = administer.revoke(connection, settings, id, author)
            except NoSuchEntry as error:
                of_file = _of_file(administer.listing(connection, settings), id)
                if of_file is None:
                    raise
                raise ApiError(
                    HTTPStatus.CONFLICT,
                    f"{of_file.label} stands in the registry file {of_file.source}, not in the database. Edit the "
                    "file; it is read again when it changes.",
                ) from error
            except Refused as error:
                raise ApiError(HTTPStatus.CONFLICT, str(error)) from error
        return JSONResponse(stored_document(taken_out, addresses(request, settings)))

    @router.get(
        "/history", response_model=None, responses={200: {"model": ChangesModel}}, summary="The trail of changes"
    )
    def history(request: Request, query: Annotated[HistoryQuery, Query()]) -> JSONResponse:
        """Who changed grants, teams, reserved patterns, tokens, collections and their owners, when and why; newest
        first."""
        with _registry(request) as connection:
            # One more than asked for tells whether there is another page.
            found = changes.history(connection, limit=query.limit + 1, before=query.before, subject=query.subject)
        links = [link("self", request.url)]
        if len(found) > query.limit:
            found = found[: query.limit]
            links.append(link("next", request.url.include_query_params(before=found[-1].id)))
        return JSONResponse({"changes": [documents.change_document(one) for one in found], "links": links})

    return router


def _add(connection: Connection, settings: Settings, entry: NewEntry, author: Author) -> StoredEntry:
    document = entry.document()
    if entry.kind in ("grants", "deny"):
        return administer.grant(connection, settings, entry.kind, document, author)
    if entry.kind == "teams":
        _only(document, ("team", "users"), entry.kind)
        return administer.set_team(connection, settings, document["team"], document["users"], author)
    _only(document, ("collection",), entry.kind)
    return administer.reserve(connection, settings, document["collection"], author)


def _only(document: dict[str, Any], keys: tuple[str, ...], kind: str) -> None:
    """The keys of an entry of such a kind, no fewer and no more."""
    for key in keys:
        if key not in document:
            raise invalid(key, f"an entry of the kind {kind} needs it", HTTPStatus.UNPROCESSABLE_ENTITY)
    for key in document:
        if key not in keys:
            raise invalid(key, f"an entry of the kind {kind} has no such key", HTTPStatus.UNPROCESSABLE_ENTITY)


def _of_file(listed: list[ListedEntry], id: str) -> ListedEntry | None:
    """The entry of the registry file that is called so: by its place (`grants[2]`), its pattern or its team."""
    for one in listed:
        names = (one.label, one.label.partition(" ")[0], one.document.get("collection"))
        if one.id is None and (id in names or id == f"@{one.document.get('team')}"):
            return one
    return None


@contextmanager
def _registry(request: Request) -> Iterator[Connection]:
    """The ledger for one request; what the registry refuses becomes a problem document."""
    try:
        with ledger_connection(request) as connection:
            yield connection
    except NoSuchEntry as error:
        raise ApiError(HTTPStatus.NOT_FOUND, str(error)) from error
    except AlreadyThere as error:
        raise ApiError(HTTPStatus.CONFLICT, str(error)) from error
    except Refused as error:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
    except RegistryUnavailable as error:
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from error
