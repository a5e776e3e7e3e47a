"""How long an answer may be kept, and not sending again what a client has already (RFC 9110, RFC 9111).

Here belongs what holds for every route: an entity tag of the body, whether a shared cache may keep it, and the answer
304. Not here: what a route says itself, such as static files whose address is that of their content.

Everything may change with the next job, so whatever is kept is asked for again before it is used. Errors are not kept
at all: without a word caches may keep a 404, and the collection that it is about can be there a moment later.
"""

from __future__ import annotations

import re
from hashlib import sha256

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Bytes of a body that are held back to make an entity tag of them; what is larger goes out without one.
LARGEST_TAGGED = 4 * 2**20

_ASKED_FOR = frozenset({"GET", "HEAD"})
#: What a 304 has of the headers that the full answer would have (RFC 9110, section 15.4.5), beside those for browsers.
_OF_THE_CONTENT = frozenset({"content-length", "content-type", "content-encoding", "content-language"})


def entity_tag(body: bytes) -> str:
    """The weak entity tag of a body: compression changes the bytes and not what they say."""
    return f'W/"{sha256(body).hexdigest()[:32]}"'


def matches(tag: str, header: str) -> bool:
    """Whether an entity tag is one of those in `If-Match` or `If-None-Match`, compared weakly."""
    known = {one.strip().removeprefix("W/") for one in header.split(",")}
    return "*" in known or tag.removeprefix("W/") in known


class Revalidation:
    """The middleware; it stands inside compression, since a tag is that of what was to be said."""

    def __init__(self, app: ASGIApp, *, private: bool, unkept: tuple[str, ...] = ()) -> None:
        """As ASGI has it.

        Args:
            app: what comes next.
            private: whether nobody may read without a token, so that no shared cache may keep anything.
            unkept: beginnings of paths whose answers are of this moment alone.
        """
        self.app = app
        self._private = private
        self._unkept = unkept

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request; everything but HTTP passes."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        answer = _Answer(
            send,
            tagged=scope["method"] in _ASKED_FOR and not path.startswith(self._unkept),
            private=self._private or "authorization" in headers,
            known=headers.get("if-none-match", ""),
        )
        await self.app(scope, receive, answer.send)


class Encodings:
    """The middleware around compression: keeps it to what the client takes, and tells caches what it hangs on.

    brotli-asgi 1.5 compresses where `br` stands anywhere in Accept-Encoding, also as `br;q=0`, which refuses it; and it
    is silent where it leaves an answer as it is, so that a cache could give that to everyone.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request; everything but HTTP passes."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = MutableHeaders(scope=scope)
        if "accept-encoding" in headers:
            headers["Accept-Encoding"] = ", ".join(_taken(headers["accept-encoding"]))

        async def send_varied(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = MutableHeaders(raw=message["headers"])
                if "accept-encoding" not in told.get("vary", "").lower():
                    told.add_vary_header("Accept-Encoding")
                message = {**message, "headers": told.raw}
            await send(message)

        await self.app(scope, receive, send_varied)


def _taken(accept_encoding: str) -> list[str]:
    """The encodings that a client takes, without weights."""
    taken = []
    for one in accept_encoding.split(","):
        name, _, weight = one.strip().lower().partition(";")
        if not re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", weight):
            taken.append(name.strip())
    return taken


class _Answer:
    """One answer on its way out; its body is held back as long as a tag may come of it."""

    def __init__(self, send: Send, *, tagged: bool, private: bool, known: str) -> None:
        self._send = send
        self._tagged = tagged
        self._private = private
        self._known = known
        self._start: Message | None = None
        self._body = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message["headers"])
            complete = message["status"] == 200
            if "cache-control" not in headers:
                headers["Cache-Control"] = self._kept() if complete and self._tagged else "no-store"
            if complete and self._tagged and "no-store" not in headers["cache-control"]:
                self._start = {**message, "headers": headers.raw}
                return
            message = {**message, "headers": headers.raw}
        elif message["type"] == "http.response.body" and self._start is not None:
            self._body += message.get("body", b"")
            if len(self._body) <= LARGEST_TAGGED and message.get("more_body", False):
                return
            await self._begin(whole=not message.get("more_body", False))
            message = {**message, "body": bytes(self._body)}
            if self._start["status"] == 304:
                message = {"type": "http.response.body", "body": b""}
            self._start = None
        await self._send(message)

    async def _begin(self, *, whole: bool) -> None:
        """Sends the status and the headers: with a tag where the body is there as a whole, 304 where it is known."""
        assert self._start is not None
        if whole and len(self._body) <= LARGEST_TAGGED:
            headers = MutableHeaders(raw=self._start["headers"])
            tag = headers.setdefault("ETag", entity_tag(bytes(self._body)))
            if self._known and matches(tag, self._known):
                kept = [(name, value) for name, value in headers.raw if name.decode() not in _OF_THE_CONTENT]
                self._start = {**self._start, "status": 304, "headers": kept}
        await self._send(self._start)

    def _kept(self) -> str:
        return "private, no-cache" if self._private else "no-cache"
