"""An S3 over HTTP that keeps its objects in memory, in a process of its own: fast enough not to be what is measured.

moto answers about a hundred reads a second, this one some ten thousand. Here belong reads, writes and listings as the
project uses them, and a delay that stands for a distant store. Not here: signatures, versions, multipart, events.
"""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import os
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from multiprocessing.connection import Connection
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from benchmarks.result import CannotMeasure

#: Gives a bucket's objects, key and content; called in the server's process, so that it need not fit into two.
Fill = Callable[[], Iterable[tuple[str, bytes]]]

#: Behind every key that begins with what it is appended to.
_BEHIND = "\U0010ffff"
_START_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    endpoint: str
    pid: int

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which clients find it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "benchmark",
            "AWS_SECRET_ACCESS_KEY": "benchmark",
            "AWS_REGION": "us-east-1",
        }


@contextmanager
def serving(buckets: Mapping[str, Fill], *, latency: float = 0.0) -> Iterator[Server]:
    """Serves buckets on 127.0.0.1 until the block ends.

    Args:
        buckets: name -> what gives its objects; a function of a module, since another process calls it.
        latency: seconds that pass before each answer, with which other answers are not held up.

    Raises:
        CannotMeasure: the server did not start.
    """
    # Not forked: threads of this process may hold locks.
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(dict(buckets), latency, there), daemon=True)
    process.start()
    there.close()
    try:
        if not here.poll(_START_SECONDS):
            raise CannotMeasure("The server of objects did not start.")
        try:
            port = here.recv()
        except EOFError as error:
            raise CannotMeasure("The server of objects ended before it began; its error stands above.") from error
        assert process.pid is not None
        yield Server(f"http://127.0.0.1:{port}", process.pid)
    finally:
        # It keeps nothing, and where SIGTERM is ignored a process that it starts ignores it too.
        process.kill()
        process.join()
        here.close()


def no_objects() -> Iterable[tuple[str, bytes]]:
    """An empty bucket."""
    return ()


@dataclass(slots=True)
class _Object:
    data: bytes
    etag: str
    modified: datetime


@dataclass(slots=True)
class _Bucket:
    objects: dict[str, _Object] = field(default_factory=dict)
    #: In the order of their UTF-8 bytes, which is Python's order of texts too.
    keys: list[str] = field(default_factory=list)

    def put(self, key: str, data: bytes) -> _Object:
        if key not in self.objects:
            insort(self.keys, key)
        made = self.objects[key] = _made(data)
        return made


def _made(data: bytes) -> _Object:
    return _Object(data, hashlib.md5(data, usedforsecurity=False).hexdigest(), datetime.now(UTC))


def _serve(fills: dict[str, Fill], latency: float, told: Connection) -> None:
    buckets = {}
    for name, fill in fills.items():
        objects = {key: _made(data) for key, data in fill()}
        buckets[name] = _Bucket(objects, sorted(objects))

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Http(buckets, latency), "127.0.0.1", 0, backlog=1024)
        told.send(server.sockets[0].getsockname()[1])
        parent = os.getppid()
        while os.getppid() == parent:
            await asyncio.sleep(1)

    asyncio.run(run())


class _Http(asyncio.Protocol):
    """One kept connection; requests come one after another, as clients send them."""

    def __init__(self, buckets: Mapping[str, _Bucket], latency: float) -> None:
        self._buckets = buckets
        self._latency = latency
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        assert self._transport is not None
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].decode("latin-1")
            request, *lines = head.split("\r\n")
            length = 0
            for line in lines:
                name, _, value = line.partition(":")
                if name.lower() == "content-length":
                    length = int(value)
                elif name.lower() == "expect" and len(self._received) == end + 4:
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if len(self._received) < end + 4 + length:
                return
            body = self._received[end + 4 : end + 4 + length]
            self._received = self._received[end + 4 + length :]
            method, target, _ = request.split(" ", 2)
            answer = self._answer(method, target, body)
            if self._latency:
                asyncio.get_running_loop().call_later(self._latency, self._transport.write, answer)
            else:
                self._transport.write(answer)

    def _answer(self, method: str, target: str, body: bytes) -> bytes:
        parts = urlsplit(target)
        name, _, key = unquote(parts.path)[1:].partition("/")
        bucket = self._buckets.get(name)
        if bucket is None:
            return _error(404, "NoSuchBucket")
        if not key and method == "GET":
            return _response(200, _listing(name, bucket, parts.query).encode(), {"Content-Type": "application/xml"})
        if method == "PUT":
            return _response(200, b"", {"ETag": f'"{bucket.put(key, body).etag}"'})
        if method == "HEAD" and not key:
            return _response(200, b"", {})
        found = bucket.objects.get(key)
        if found is None:
            return _error(404, "NoSuchKey", head=method == "HEAD")
        about = {"ETag": f'"{found.etag}"', "Last-Modified": format_datetime(found.modified, usegmt=True)}
        if method == "HEAD":
            return _response(200, b"", about, length=len(found.data))
        return _response(200, found.data, about)


def _listing(name: str, bucket: _Bucket, query: str) -> str:
    """ListObjectsV2: keys are found by bisection and folders jumped over, whatever lies in them."""
    asked = {key: values[0] for key, values in parse_qs(query, keep_blank_values=True).items()}
    prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
    most = int(asked.get("max-keys", "1000"))
    after = asked.get("continuation-token") or asked.get("start-after", "")
    at = max(bisect_left(bucket.keys, prefix), bisect_right(bucket.keys, after) if after else 0)
    contents: list[str] = []
    folders: list[str] = []
    last = ""
    truncated = False
    while at < len(bucket.keys) and (key := bucket.keys[at]).startswith(prefix):
        if len(contents) + len(folders) == most:
            truncated = True
            break
        cut = key.find(delimiter, len(prefix)) if delimiter else -1
        if cut >= 0:
            folder = key[: cut + len(delimiter)]
            folders.append(f"<CommonPrefixes><Prefix>{_told(folder, asked)}</Prefix></CommonPrefixes>")
            last = folder + _BEHIND
            at = bisect_left(bucket.keys, last, at)
        else:
            one = bucket.objects[key]
            contents.append(
                f"<Contents><Key>{_told(key, asked)}</Key>"
                f"<LastModified>{one.modified:%Y-%m-%dT%H:%M:%S}.000Z</LastModified>"
                f"<ETag>&quot;{one.etag}&quot;</ETag><Size>{len(one.data)}</Size>"
                "<StorageClass>STANDARD</StorageClass></Contents>"
            )
            last = key
            at += 1
    more = f"<NextContinuationToken>{escape(last)}</NextContinuationToken>" if truncated else ""
    encoding = "<EncodingType>url</EncodingType>" if asked.get("encoding-type") == "url" else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{name}</Name><Prefix>{_told(prefix, asked)}</Prefix><KeyCount>{len(contents) + len(folders)}</KeyCount>"
        f"<MaxKeys>{most}</MaxKeys>{encoding}<IsTruncated>{str(truncated).lower()}</IsTruncated>{more}"
        f"{''.join(contents)}{''.join(folders)}</ListBucketResult>"
    )


def _told(key: str, asked: Mapping[str, str]) -> str:
    return quote(key, safe="/") if asked.get("encoding-type") == "url" else escape(key)


def _error(status: int, code: str, *, head: bool = False) -> bytes:
    body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
    return _response(status, b"" if head else body, {"Content-Type": "application/xml"})


def _response(status: int, body: bytes, headers: Mapping[str, str], *, length: int | None = None) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status} S3\r\nContent-Length: {size}\r\n{lines}\r\n".encode() + body
