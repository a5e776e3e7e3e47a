"""A name for each request: what the client or a proxy sent as X-Request-ID, else a new one.

Here belongs taking or making the name, adding it to every log event of the request and answering with it. Not here:
what is logged.
"""

from __future__ import annotations

import re
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maap_stac_orchestration import log_events

REQUEST_ID = "X-Request-ID"

#: It goes into logs and into a header as it stands, so a client may not send just anything.
_USABLE = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}", re.ASCII)


class RequestIds:
    """The middleware. `request.state.request_id` has the name."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request; everything but HTTP passes."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sent = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = sent if _USABLE.fullmatch(sent) else str(uuid4())
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        try:
            with log_events.bound(request_id=request_id):
                await self.app(scope, receive, send_named)
        except Exception:
            # The server logs the error when it has gone through here, in this request's own task.
            log_events.keep_bound(request_id=request_id)
            raise
