"""How much a client may send: a body that is too large is refused before anything reads it.

Here belongs the bound, for every route. Not here: who may send anything (`authentication`), and what a body must look
like (the routes).
"""

from __future__ import annotations

from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maap_stac_orchestration.api.problem_documents import ApiError, error_response

#: Bytes. The largest that makes sense is a search within the outline of a country, or a collection with its tables.
LARGEST_BODY = 1024 * 1024


class BodySize:
    """The middleware: takes the whole body in, up to the bound, so that its length need not be believed."""

    def __init__(self, app: ASGIApp, *, largest: int = LARGEST_BODY) -> None:
        """As ASGI has it.

        Args:
            app: what comes next.
            largest: bytes that a body may have.
        """
        self.app = app
        self._largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request; everything but HTTP passes."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        body: list[Message] | None = []
        if declared.isascii() and declared.isdigit() and int(declared[:20]) > self._largest:
            body = None
        elif declared or "transfer-encoding" in Headers(scope=scope):
            body = await self._taken_in(receive)
        if body is None:
            request = Request(scope)
            response = await error_response(request, _too_large(self._largest))
            assert response is not None
            await response(scope, receive, send)
            return
        waiting = iter(body)

        async def receive_again() -> Message:
            return next(waiting, None) or await receive()

        await self.app(scope, receive_again, send)

    async def _taken_in(self, receive: Receive) -> list[Message] | None:
        """All parts of the body; None where they are too large together."""
        parts: list[Message] = []
        size = 0
        while True:
            part = await receive()
            parts.append(part)
            size += len(part.get("body", b""))
            if size > self._largest:
                return None
            # A client that went away has no more to send either.
            if part["type"] != "http.request" or not part.get("more_body", False):
                return parts


def _too_large(largest: int) -> ApiError:
    return ApiError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"The body is larger than {largest:,} bytes, which is the most that this takes; send less.",
        code="ContentTooLarge",
        # The rest of the body was not read.
        headers={"Connection": "close"},
    )
