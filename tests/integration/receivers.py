"""A receiver of webhooks over real HTTP, for tests of whoever sends them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook


@dataclass(frozen=True, slots=True)
class Received:
    """A request that came in."""

    path: str
    #: By lower-case name.
    headers: Mapping[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        """The body as JSON."""
        document: dict[str, Any] = json.loads(self.body)
        return document

    def verified(self, secret: str) -> dict[str, Any]:
        """The event, if its signature is by this secret; raises where it is not."""
        event: dict[str, Any] = Webhook(secret).verify(self.body, dict(self.headers))
        return event


#: Status and headers of an answer.
Reply = tuple[int, dict[str, str]]


@dataclass
class Receiver:
    """A running receiver; `reply` says what it answers, from the request and how many came before."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    reply: Callable[[Received, int], Reply] = lambda request, number: (204, {})

    def always(self, status: int, **headers: str) -> None:
        """Answers the same from now on."""
        self.reply = lambda request, number: (status, {name.replace("_", "-"): text for name, text in headers.items()})

    def ids(self) -> list[str]:
        """The webhook-id of each request."""
        return [one.headers["webhook-id"] for one in self.received]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a port of 127.0.0.1."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): text for name, text in self.headers.items()}
            received = Received(self.path, headers, body)
            before = len(receiver.received)
            receiver.received.append(received)
            status, answer = receiver.reply(received, before)
            self.send_response(status)
            for name, text in answer.items():
                self.send_header(name, text)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing is to be logged."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}/hook?key=hidden"
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
