"""Who makes a request: bearer tokens of our own or of an OpenID Connect issuer (RFC 6750).

Here belongs telling who it is, and refusing those who are nobody or too little. Not here: what a person may do to a
collection (`governance.curation`), and the tokens themselves (`ledger.tokens`, `issuer`).

A token that is sent is checked by a middleware on every route but a few that tell nothing, also where none is needed: a
client shall notice that its token is no good. Whoever reads without a token is let in unless reading is closed; whoever
sends anything else than a question needs one, and is asked for it before what was sent is looked at. Routes that need
more say so with `Depends(authentication.signed_in)` or `Depends(authentication.administrator)`.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Request, Security
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from maap_stac_orchestration.api.database import ledger_connection
from maap_stac_orchestration.api.issuer import LONGEST_TOKEN, Issuer, IssuerUnavailable, TokenInvalid
from maap_stac_orchestration.api.problem_documents import ApiError, error_response
from maap_stac_orchestration.governance.curation import Person
from maap_stac_orchestration.ledger import tokens
from maap_stac_orchestration.settings import Settings

REALM = "maap-stac"

#: Where a request's scope has who makes it.
_PERSON = "maap_stac_orchestration.person"

#: Shows in OpenAPI that a route needs a token. What is sent is read below, with an answer for each thing wrong.
BEARER = HTTPBearer(
    scheme_name="Token",
    auto_error=False,
    description="A token of the identity provider, or one that `maap-stac token create` made.",
)
_Documented = Annotated[Any, Security(BEARER)]

#: Methods that change nothing (RFC 9110, section 9.2.1), and what else only asks: it may be too long for a URL.
_ASKING = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_ASKED_BY_POST = frozenset({"/search"})

# RFC 6750, section 2.1; what no token has never reaches a parser.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)

_HOW = "Send one as `Authorization: Bearer TOKEN`: from the identity provider, or made with `maap-stac token create`."


class Authentication:
    """Tells who makes a request; its methods are dependencies of routes."""

    def __init__(self, settings: Settings) -> None:
        self.open_reading = settings.open_reading
        self._issuer = Issuer(settings) if settings.oidc_issuer else None

    def reader(self, request: Request) -> Person | None:
        """Whoever may read: a person, or None for a stranger where reading is open.

        Raises:
            ApiError: 401 for a token that is not valid, or without one where reading is closed; 503 where that cannot
                be told.
        """
        person = self._person(request)
        if person is None and not self.open_reading:
            raise _unauthorized()
        return person

    def signed_in(self, request: Request, documented: _Documented = None) -> Person:
        """A person with a valid token.

        Raises:
            ApiError: 401 without one; 503 where that cannot be told.
        """
        del documented
        person = self._person(request)
        if person is None:
            raise _unauthorized()
        return person

    def administrator(self, request: Request, documented: _Documented = None) -> Person:
        """An administrator.

        Raises:
            ApiError: 401 without a valid token, 403 with one of somebody else; 503 where that cannot be told.
        """
        person = self.signed_in(request, documented)
        if not person.admin:
            raise ApiError(
                HTTPStatus.FORBIDDEN,
                f"This is for administrators, and {person.username} is none. Ask an administrator to do it.",
                code="InsufficientScope",
                headers=_challenge("insufficient_scope", "This is for administrators."),
            )
        return person

    def identify(self, request: Request) -> Person | None:
        """Who makes a request, by its token; None where it has none. Waits for the database or the issuer.

        Raises:
            ApiError: 400 or 401 for a token that is not valid, 503 where the issuer does not answer.
        """
        sent = request.headers.getlist("Authorization")
        if len(sent) > 1:
            told = "The request has more than one Authorization header."
            raise ApiError(HTTPStatus.BAD_REQUEST, told, headers=_challenge("invalid_request", told))
        scheme, _, token = sent[0].strip().partition(" ") if sent else ("", "", "")
        if scheme.lower() != "bearer":
            return None
        return self._person_of(request, token.strip())

    def _person(self, request: Request) -> Person | None:
        """What the middleware found; looked for here where the application has no such middleware."""
        # In the scope, which is one request's own; `request.state` is only as separate as the server makes it.
        if _PERSON not in request.scope:
            request.scope[_PERSON] = self.identify(request)
        person: Person | None = request.scope[_PERSON]
        return person

    def _person_of(self, request: Request, token: str) -> Person:
        if len(token) > LONGEST_TOKEN:
            raise _invalid("The token is too long.")
        if not _TOKEN.fullmatch(token):
            raise _invalid("The token is empty, or has characters in it that no token has.")
        if token.startswith(tokens.PREFIX):
            return _own(request, token)
        if self._issuer is None:
            raise _invalid("The token is not one of this service, and it takes no others.")
        try:
            return self._issuer.person(token)
        except TokenInvalid as error:
            raise _invalid(str(error)) from error
        except IssuerUnavailable as error:
            raise ApiError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "The token cannot be checked, because its issuer does not answer; try again in a moment.",
                code="IssuerUnavailable",
                headers={"Retry-After": "5"},
            ) from error


def person_of(scope: Scope) -> Person | None:
    """Who made a request that was handled, where its token told."""
    person: Person | None = scope.get(_PERSON)
    return person


def username_of(scope: Scope) -> str | None:
    """Whose token a request came with that was handled."""
    person = person_of(scope)
    return None if person is None else person.username


class TokenCheck:
    """The middleware: refuses tokens that are not valid, and strangers where reading is closed."""

    def __init__(self, app: ASGIApp, *, authentication: Authentication, exempt: frozenset[str]) -> None:
        """As ASGI has it.

        Args:
            app: what comes next.
            authentication: tells who makes a request.
            exempt: paths that everyone may ask for, whatever they send: a probe must not depend on an issuer.
        """
        self.app = app
        self._authentication = authentication
        self._exempt = exempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request; everything but HTTP passes."""
        # What a browser asks before it sends a token (CORS) was answered before it came here.
        if scope["type"] == "http" and _path(scope) not in self._exempt:
            request = Request(scope)
            asks = request.method in _ASKING or (request.method == "POST" and _path(scope) in _ASKED_BY_POST)
            # Nobody needs a token to be told that there is nothing of the kind.
            asks = asks or not _is_handled(scope)
            check = self._authentication.reader if asks else self._authentication.signed_in
            try:
                await run_in_threadpool(check, request)
            except Exception as error:
                response = await error_response(request, error)
                if response is None:
                    raise
                await response(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _is_handled(scope: Scope) -> bool:
    """Whether there is a route for the path and the method."""
    return any(route.matches(scope)[0] is Match.FULL for route in scope["app"].router.routes)


def _path(scope: Scope) -> str:
    """The path as the router takes it: without the path under which a proxy serves the application."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(root + "/") else path


def _own(request: Request, token: str) -> Person:
    with ledger_connection(request) as connection:
        try:
            found = tokens.find(connection, token)
        except tokens.TokenNotValid as error:
            raise _invalid(str(error)) from error
    if found is None:
        raise _invalid("The token is not known.")
    return Person(username=found.username, admin=found.admin)


def _unauthorized() -> ApiError:
    return ApiError(HTTPStatus.UNAUTHORIZED, f"This needs a token. {_HOW}", code="Unauthorized", headers=_challenge())


def _invalid(sentence: str) -> ApiError:
    return ApiError(
        HTTPStatus.UNAUTHORIZED, sentence, code="InvalidToken", headers=_challenge("invalid_token", sentence)
    )


def _challenge(error: str | None = None, description: str | None = None) -> dict[str, str]:
    """The header of RFC 6750, section 3; the description is ASCII without quotes."""
    challenge = f'Bearer realm="{REALM}"'
    if error is not None:
        challenge += f', error="{error}", error_description="{description}"'
    return {"WWW-Authenticate": challenge}
