"""How long answers of the tiler may be kept.

Here belongs the middleware that says it. Not here: answers, and what is logged of requests (`web`).
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: What changes from one moment to the next.
_NEVER_KEPT = ("/healthz", "/_mgmt/ping")


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
        keep = scope["method"] in ("GET", "HEAD") and not scope["path"].endswith(_NEVER_KEPT)

        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                fine = keep and message["status"] < 300
                MutableHeaders(scope=message)["Cache-Control"] = self._kept if fine else "no-store"
            await send(message)

        await self.app(scope, receive, send_dated)
