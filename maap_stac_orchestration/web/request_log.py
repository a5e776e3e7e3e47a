"""What is told of each request: a log event, and whatever an application counts besides.

Here belongs watching a request from its beginning to the end of its answer. Not here: its name (`request_id`), who
makes it, and in which form counts are told.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maap_stac_orchestration import log_events

_LONGEST_PATH = 500

#: Method, route, status and seconds of a request; route and status are None where there was none.
Observer = Callable[[str, str | None, int | None, float], None]


def _nobody(scope: Scope) -> str | None:
    return None


def _uncounted(method: str, route: str | None, status: int | None, seconds: float) -> None:
    """Counts nothing."""


class RequestLog:
    """The middleware; it stands right behind the one that names requests."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        quiet: tuple[str, ...],
        username: Callable[[Scope], str | None] = _nobody,
        observe: Observer = _uncounted,
    ) -> None:
        """As ASGI has it.

        Args:
            app: what comes next.
            quiet: beginnings of routes that machines ask for every few seconds; that all is well needs no line.
            username: who makes a request.
            observe: is told of every request.
        """
        self.app = app
        self._quiet = quiet
        self._username = username
        self._observe = observe

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
            self._observe(scope["method"], route, status, seconds)
            if not (status is not None and status < 400 and str(route or "").startswith(self._quiet)):
                log_events.emit(
                    log_events.Event.HTTP_REQUEST,
                    method=scope["method"],
                    route=route,
                    path=scope["path"][:_LONGEST_PATH],
                    status=status,
                    milliseconds=round(seconds * 1000, 1),
                    bytes=size,
                    username=self._username(scope),
                )
