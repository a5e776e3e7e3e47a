"""What is told of each request: a log event, and counts for metrics.

Here belongs watching a request from its beginning to the end of its answer. Not here: its name (`request_id`), who
makes it (`authentication`), and in which form counts are told (`metrics`).
"""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maap_stac_orchestration import log_events
from maap_stac_orchestration.api.authentication import person_of
from maap_stac_orchestration.api.metrics import RequestMetrics

#: Machines ask for these every few seconds; that all is well needs no line.
_WATCHED = "/_mgmt/"
_LONGEST_PATH = 500


class RequestLog:
    """The middleware; it stands right behind the one that names requests."""

    def __init__(self, app: ASGIApp, *, metrics: RequestMetrics) -> None:
        """As ASGI has it.

        Args:
            app: what comes next.
            metrics: what counts requests.
        """
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request; everything but HTTP passes."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status: int | None = None
        size = 0

        async def send_counted(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                size += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, send_counted)
        except Exception:
            # It is answered further out.
            status = status or 500
            raise
        finally:
            seconds = time.perf_counter() - began
            # Also of routes that take paths, and found by whichever router; None where none was.
            route: str | None = getattr(scope.get("route"), "path", None)
            self._metrics.observe(scope["method"], route, status, seconds)
            if not (status is not None and status < 400 and str(route or "").startswith(_WATCHED)):
                person = person_of(scope)
                log_events.emit(
                    log_events.Event.HTTP_REQUEST,
                    method=scope["method"],
                    route=route,
                    path=scope["path"][:_LONGEST_PATH],
                    status=status,
                    milliseconds=round(seconds * 1000, 1),
                    bytes=size,
                    username=None if person is None else person.username,
                )
