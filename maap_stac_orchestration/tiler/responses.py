"""What every answer of the tiler carries, and what is logged of it.

Here belong the middlewares: the name of a request and its log event, how long an answer may be kept. Not here: answers.
"""

from __future__ import annotations

import re
import time
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maap_stac_orchestration import log_events

REQUEST_ID = "X-Request-ID"
_USABLE = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}", re.ASCII)
_LONGEST_PATH = 500
#: Machines ask for these every few seconds.
_WATCHED = ("/healthz", "/_mgmt/ping")


class RequestLog:
    """Names each request as its client or a proxy did, and writes a log event of it, as the API does."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request; everything but HTTP passes."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sent = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = sent if _USABLE.fullmatch(sent) else str(uuid4())
        began = time.perf_counter()
        status: int | None = None
        size = 0

        async def send_counted(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            elif message["type"] == "http.response.body":
                size += len(message.get("body", b""))
            await send(message)

        with log_events.bound(request_id=request_id):
            try:
                await self.app(scope, receive, send_counted)
            except Exception:
                # The server logs the error when it has gone through here, in this request's own task.
                log_events.keep_bound(request_id=request_id)
                status = status or 500
                raise
            finally:
                if not (status == 200 and scope["path"].endswith(_WATCHED)):
                    log_events.emit(
                        log_events.Event.HTTP_REQUEST,
                        method=scope["method"],
                        route=getattr(scope.get("route"), "path", None),
                        path=scope["path"][:_LONGEST_PATH],
                        status=status,
                        milliseconds=round((time.perf_counter() - began) * 1000, 1),
                        bytes=size,
                        username=None,
                    )


class Caching:
    """Says how long an answer may be kept: pictures for a while, errors and health not at all."""

    def __init__(self, app: ASGIApp, *, seconds: int) -> None:
        """As ASGI has it.

        Args:
            app: what comes next.
            seconds: how long.
        """
        self.app = app
        self._kept = f"public, max-age={seconds}" if seconds else "no-cache"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request; everything but HTTP passes."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        keep = scope["method"] in ("GET", "HEAD") and not scope["path"].endswith(_WATCHED)

        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                fine = keep and message["status"] < 300
                MutableHeaders(scope=message)["Cache-Control"] = self._kept if fine else "no-store"
            await send(message)

        await self.app(scope, receive, send_dated)
