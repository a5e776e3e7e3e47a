"""The object store of the local stack: moto's server for S3, SQS and SNS as a process that remembers its objects.

Here belongs the process: who may call it, when it is ready, and that its events reach the queue again after each start.
Not here: how objects are kept in files (`object_files`) and how events are tied together (`events`).

Run as `python -m maap_stac_orchestration.stack.object_store --folder DIR --port N --bucket NAME`. It checks no
signatures, so it listens on 127.0.0.1 only and answers only to that name: a page in a browser cannot reach it through a
name of its own (DNS rebinding), nor across origins.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from datetime import UTC
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

# Read by moto when it is imported. Path style only, since the host is an address.
os.environ.setdefault("S3_IGNORE_SUBDOMAIN_BUCKETNAME", "true")

import boto3
import werkzeug.serving
from botocore.config import Config
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)

from maap_stac_orchestration.stack.events import Wired, wire
from maap_stac_orchestration.stack.object_files import ObjectFiles, StoredObject
from maap_stac_orchestration.stack.plan import CREDENTIALS, REGION

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

HEALTH_PATH = "/_health"
#: Catalogs recorded in one transaction when they are announced again after a start.
ANNOUNCED_AT_ONCE = 1000

_LOCAL_HOST = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::\d+)?")
_LOCAL_ORIGIN = re.compile(r"https?://(?:127\.0\.0\.1|localhost|\[::1\])(?::\d+)?")


class Handler(MotoRequestHandler):
    """moto's request handler with connections that stay open, and without a log line for each request."""

    protocol_version = "HTTP/1.1"
    # Headers and body leave in two writes: Nagle's algorithm would hold the second back for 40 ms.
    disable_nagle_algorithm = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Requests are not logged: an ingest makes thousands."""


class LocalObjectStore:
    """moto's application, guarded, with every change kept in files before its answer leaves."""

    def __init__(self, files: ObjectFiles) -> None:
        self._moto: WSGIApplication = DomainDispatcherApplication(create_backend_app)
        self._files = files
        self.ready = False

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answers one request."""
        refusal = _refusal(environ)
        if refusal is not None:
            return _answer(start_response, "403 Forbidden", refusal)
        path = environ.get("PATH_INFO", "")
        if path == HEALTH_PATH:
            if self.ready:
                return _answer(start_response, "200 OK", "ready")
            return _answer(start_response, "503 Service Unavailable", "starting")
        if path.startswith("/moto-api"):
            # moto's own administration could empty the store with one request.
            return _answer(start_response, "404 Not Found", "This store has no such path.")
        try:
            return self._moto(environ, start_response)
        finally:
            self._files.keep()


def _refusal(environ: WSGIEnvironment) -> str | None:
    host = environ.get("HTTP_HOST", "")
    if not _LOCAL_HOST.fullmatch(host):
        return f"This store answers to 127.0.0.1 and localhost only, not to {host!r}."
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None and not _LOCAL_ORIGIN.fullmatch(origin):
        return f"This store answers to pages of this machine only, not to those of {origin!r}."
    return None


def _answer(start_response: StartResponse, status: str, text: str) -> Iterable[bytes]:
    body = (text + "\n").encode()
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]


def client(service: str, endpoint: str) -> Any:
    """A boto3 client of a local store at `endpoint`, whatever the environment says about AWS."""
    return boto3.client(  # type: ignore[call-overload]  # the stubs want a literal service name
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        config=Config(s3={"addressing_style": "path"}, proxies={}),
    )


def wire_local(endpoint: str, bucket: str, *, raw: bool = False) -> Wired:
    """`events.wire` on a local store at `endpoint`."""
    return wire(client("s3", endpoint), client("sns", endpoint), client("sqs", endpoint), bucket, raw=raw)


def announce(stored: Sequence[StoredObject]) -> None:
    """Records every catalog in the ledger that the store holds, since its queue forgets its messages when it stops.

    The ledger ignores the catalogs that it knows. The ledger's database is the one that libpq's variables name.

    Raises:
        psycopg.Error, DatabaseUnavailable: the ledger cannot be written.
    """
    from maap_stac_orchestration.ledger.connection import connect
    from maap_stac_orchestration.ledger.discovery import record
    from maap_stac_orchestration.ledger.records import SeenCatalog

    seen = [
        SeenCatalog(
            bucket=each.bucket,
            key=each.key,
            etag=each.etag,
            size=each.size,
            last_modified=each.last_modified.replace(tzinfo=UTC),
            version_id=None,
            source="listing",
        )
        for each in stored
        if each.key.endswith("catalog.json")
    ]
    if not seen:
        return
    with connect() as connection:
        for start in range(0, len(seen), ANNOUNCED_AT_ONCE):
            recorded = record(connection, seen[start : start + ANNOUNCED_AT_ONCE])
            connection.commit()
            log.info("announced again: %s", recorded)


def _announce_until_done(stored: Sequence[StoredObject]) -> None:
    """Announces in the background, again and again until the ledger takes it."""
    for delay in (1, 2, 5, 10, 30, 60, 60, 60, 60):
        try:
            announce(stored)
        except Exception:  # whatever is wrong with the ledger's database, it may be well in a moment
            log.warning("could not announce the catalogs again; next try in %d s", delay, exc_info=True)
            time.sleep(delay)
        else:
            return
    log.error("gave up announcing the catalogs again: `maap-stac down` and `up` when the database is well")


def _stop(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until a signal ends it."""
    parser = argparse.ArgumentParser(prog="object_store", description=main.__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the objects are kept")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--bucket", required=True, help="created where it is missing; its catalogs are announced")
    parser.add_argument("--announce", action="store_true", help="record the kept catalogs in the ledger at the start")
    parser.add_argument("--raw", action="store_true", help="the queue gets S3's events without SNS's envelope")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)

    files = ObjectFiles(options.folder)
    stored = files.restore()
    log.info("%d objects are back", len(stored))
    application = LocalObjectStore(files)
    server = werkzeug.serving.make_server(
        "127.0.0.1", options.port, application, threaded=True, request_handler=Handler
    )
    threading.Thread(target=server.serve_forever, name="server", daemon=True).start()
    wired = wire_local(f"http://127.0.0.1:{options.port}", options.bucket, raw=options.raw)
    application.ready = True
    log.info("ready on port %d, queue %s", options.port, wired.queue_url)
    if options.announce:
        threading.Thread(target=_announce_until_done, args=(stored,), name="announce", daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
