"""What parameters of our own routes have in common: kinds of values, what is said of wrong ones, links.

Here belongs what several routers need to read a request or to answer it. Not here: the routes, and the form of problem
documents (`problem_documents`).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Request
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from maap_stac_orchestration.api.problem_documents import ApiError
from maap_stac_orchestration.ledger.documents import Addresses
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.web.problem_documents import InvalidParameter

#: So many digits are more than any row's number has, and few enough to be read as one.
MOST_DIGITS = 19
#: The most entries that one page may have.
MAX_LIMIT = 1000

# PostgreSQL cannot compare with a NUL; no name holds one.
_NUL = re.compile("\x00")
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def _no_nul(value: str) -> str:
    if _NUL.search(value):
        raise ValueError("it must not contain a NUL")
    return value


def _written_out(value: object) -> object:
    """A number would be taken for seconds since 1970."""
    if isinstance(value, datetime) or (isinstance(value, str) and _DATE.match(value)):
        return value
    raise ValueError("it is no time as RFC 3339 writes it, for example 2026-03-04T05:06:07Z")


def _utc(value: datetime) -> datetime:
    """A time without an offset is taken as UTC, as everything here is."""
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("in UTC it lies outside of the years 1 to 9999") from error


# The pattern says the same to readers of the OpenAPI document.
def _words(value: str) -> str:
    if not value.strip():
        raise ValueError("say why, for those who read the trail later")
    return value


Text = Annotated[str, AfterValidator(_no_nul), Field(json_schema_extra={"pattern": r"^[^\u0000]*$"})]
Time = Annotated[datetime, BeforeValidator(_written_out), AfterValidator(_utc)]
#: Why somebody changes something.
Reason = Annotated[Text, AfterValidator(_words)]


class NoParameters(BaseModel):
    """For routes that take no query parameters: any is a problem document."""

    model_config = ConfigDict(extra="forbid")


def once(request: Request) -> None:
    """A dependency of routes: of two values of one parameter neither is taken, since one of them is not meant.

    Raises:
        ApiError: 400 where a parameter stands in the query more than once.
    """
    names = [name for name, _ in request.query_params.multi_items()]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise invalid(repeated, "it is there more than once; give it one value")


def invalid(parameter: str, message: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> ApiError:
    """The error for one parameter, or one part of a body, that cannot be used."""
    one = InvalidParameter(parameter=parameter, message=message.rstrip("."))
    return ApiError(status, f"{one.parameter}: {one.message}.", [one])


def link(rel: str, url: Any) -> dict[str, str]:
    """A link to a JSON document."""
    return {"rel": rel, "href": str(url), "type": "application/json"}


def addresses(request: Request, settings: Settings) -> Addresses:
    """Where links in the answer lead: back to where the request came in, and to Dagster where that is known."""
    dagster = settings.dagster_url
    return Addresses(api=str(request.base_url).rstrip("/"), dagster=dagster.rstrip("/") if dagster else None)
