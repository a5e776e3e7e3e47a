"""How the local object store remembers: every object of moto's S3 as one file, put back when the store starts again.

Here belongs what is written to disk and read from it. Not here: HTTP and the wiring of events (`object_store`), which
use this. Kept are buckets, and of each object its newest version: bytes, etag, last-modified, checksums, content type
and user metadata. Older versions, tags and access lists are forgotten with the process, as moto does.

One object is one file: a line of JSON, then the bytes. So bytes and metadata can never differ in age, and the rename
that puts the file in its place is the moment from which the object is kept. Its name is a digest of the key, since a
key may be longer than any file name and may hold anything, `..` included.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import FakeBucket, FakeKey, S3Backend, s3_backends
from moto.s3.utils import _VersionedKeyStore

log = logging.getLogger(__name__)

#: Objects beyond this size, in bytes, are read from their file for each request; smaller ones stay in memory.
KEEP_IN_MEMORY = 256 * 1024
_STRIPES = 64
_PARTIAL = ".partial"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as the store holds it."""

    bucket: str
    key: str
    #: Without quotes.
    etag: str
    size: int
    #: UTC, without a time zone, as moto keeps it.
    last_modified: datetime


class FileBytes:
    """The bytes of an object in its file, opened only while they are read: a thousand objects hold no descriptor.

    It takes the place of the buffer in moto's key, of which only `seek` to the start, `read` and `close` are called.
    """

    def __init__(self, path: Path, offset: int) -> None:
        self._path = path
        self._offset = offset
        self._position = 0

    def seek(self, position: int) -> int:
        """Goes to a position, counted in bytes from the first byte of the object."""
        self._position = position
        return position

    def read(self, size: int = -1) -> bytes:
        """Reads on from the position. A file that a newer version replaced meanwhile is a FileNotFoundError."""
        with self._path.open("rb") as file:
            file.seek(self._offset + self._position)
            data = file.read(size)
        self._position += len(data)
        return data

    def close(self) -> None:
        """Nothing is held open."""


class _NotedKeys(_VersionedKeyStore):
    """moto's keys of a bucket, which notes for the current thread whose request changed what."""

    def __init__(self, bucket: str, changes: _Changes) -> None:
        super().__init__()
        self._bucket = bucket
        self._changes = changes

    def pop(self, key: str) -> None:  # type: ignore[override]  # as moto's own
        super().pop(key)
        self._changes.note(self._bucket, key)

    def setlist(self, key: Any, list_: Any) -> None:
        super().setlist(key, list_)
        self._changes.note(self._bucket, key)

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self._changes.note(self._bucket, key)


class _Changes(threading.local):
    """Which keys this thread changed and has not written yet.

    Per thread, since moto sets an object's metadata after the object: written by another thread in between, it would
    be kept without them.
    """

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str], None] = {}

    def note(self, bucket: str, key: str) -> None:
        self._keys[bucket, key] = None

    def take(self) -> list[tuple[str, str]]:
        keys = list(self._keys)
        self._keys.clear()
        return keys


class ObjectFiles:
    """Keeps moto's S3 in a folder.

    `restore` once at the start, then `keep` at the end of every request, in the thread that served it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._changes = _Changes()
        self._locks = [threading.Lock() for _ in range(_STRIPES)]
        self._buckets_lock = threading.Lock()
        self._paths: dict[tuple[str, str], Path] = {}
        self._numbers = itertools.count()

    def restore(self) -> list[StoredObject]:
        """Puts back every bucket and object, without sending events, and gives the objects, oldest first."""
        self._folder.mkdir(parents=True, exist_ok=True)
        backend = _backend()
        restored = []
        for place in sorted(self._folder.iterdir()):
            if not place.is_dir():
                continue
            name = unquote(place.name)
            region = json.loads((place / "bucket.json").read_text())["region"]
            bucket = backend.buckets.get(name) or backend.create_bucket(name, region)
            self._watch(bucket)
            restored += [self._put_back(bucket, path) for path in _newest_files(place)]
        self._changes.take()
        return sorted(restored, key=lambda each: each.last_modified)

    def keep(self) -> None:
        """Writes what this thread changed since the last call.

        Raises:
            OSError: the folder cannot be written (full, not writable); the request must then fail.
        """
        self._keep_buckets()
        for bucket, key in self._changes.take():
            with self._locks[hash((bucket, key)) % _STRIPES]:
                self._keep_object(bucket, key)

    def _keep_buckets(self) -> None:
        buckets = _backend().buckets
        if all(isinstance(bucket.keys, _NotedKeys) for bucket in list(buckets.values())):
            return
        with self._buckets_lock:
            for bucket in list(buckets.values()):
                if not isinstance(bucket.keys, _NotedKeys):
                    place = self._place(bucket.name)
                    place.mkdir(parents=True, exist_ok=True)
                    _write_whole(place / "bucket.json", json.dumps({"region": bucket.region_name}).encode())
                    self._watch(bucket)

    def _watch(self, bucket: FakeBucket) -> None:
        keys = _NotedKeys(bucket.name, self._changes)
        for name, versions in bucket.keys.lists():
            keys.setlist(name, versions)
        bucket.keys = keys

    def _keep_object(self, bucket_name: str, name: str) -> None:
        bucket = _backend().buckets.get(bucket_name)
        key = bucket.keys.get(name) if bucket is not None else None
        former = self._paths.pop((bucket_name, name), None)
        if isinstance(key, FakeKey):
            self._paths[bucket_name, name] = self._write(bucket_name, key)
        if former is not None:
            former.unlink(missing_ok=True)

    def _write(self, bucket: str, key: FakeKey) -> Path:
        digest = hashlib.sha256(key.name.encode("utf-8", "surrogatepass")).hexdigest()
        folder = self._place(bucket) / digest[:2]
        folder.mkdir(parents=True, exist_ok=True)
        # A file for each version: a reader of the former one finds no file, and asks again, rather than mixed bytes.
        path = folder / f"{digest}.{time.time_ns():020d}.{next(self._numbers):08d}"
        head = json.dumps(_described(key)).encode() + b"\n"
        _write_whole(path, head, key.value)
        if key.size > KEEP_IN_MEMORY:
            with key.lock:
                key._value_buffer.close()
                key._value_buffer = FileBytes(path, len(head))  # type: ignore[assignment]  # stands in for it
            if key.multipart is not None:
                # moto keeps the parts beside the whole; they are only needed to read a part by its number.
                key.multipart.dispose()
                key.multipart = None
        return path

    def _put_back(self, bucket: FakeBucket, path: Path) -> StoredObject:
        with path.open("rb") as file:
            head = file.readline()
            described = json.loads(head)
        key = FakeKey(
            name=described["key"],
            bucket_name=bucket.name,
            value=b"",
            account_id=DEFAULT_ACCOUNT_ID,
            region_name=bucket.region_name,
            storage=described["storage_class"],
            etag=described["etag"],
            version_id="null",
            checksum_value=described["checksum_value"],
            checksum_type=described["checksum_type"],
            checksum_parts=described["checksum_parts"],
        )
        key.checksum_algorithm = described["checksum_algorithm"]
        key._metadata.update(described["metadata"])
        key.last_modified = datetime.fromisoformat(described["last_modified"])
        key.contentsize = described["size"]
        key._value_buffer.close()
        key._value_buffer = FileBytes(path, len(head))  # type: ignore[assignment]  # stands in for it
        bucket.keys.setlist(key.name, [key])
        self._paths[bucket.name, key.name] = path
        return StoredObject(bucket.name, key.name, described["etag"], described["size"], key.last_modified)

    def _place(self, bucket: str) -> Path:
        return self._folder / quote(bucket, safe="")


def _backend() -> S3Backend:
    return s3_backends[DEFAULT_ACCOUNT_ID]["aws"]


def _described(key: FakeKey) -> dict[str, Any]:
    return {
        "key": key.name,
        "size": key.size,
        "etag": key.etag.strip('"'),
        "last_modified": key.last_modified.isoformat(),
        "storage_class": key.storage_class,
        "metadata": dict(key.metadata),
        "checksum_algorithm": key.checksum_algorithm,
        "checksum_type": key.checksum_type,
        "checksum_value": _text(key.checksum_value),
        "checksum_parts": key.checksum_parts,
    }


def _text(value: Any) -> Any:
    return value.decode("ascii") if isinstance(value, bytes) else value


def _write_whole(path: Path, *parts: bytes) -> None:
    """Writes a file that is there as a whole or not at all."""
    partial = path.with_name(path.name + _PARTIAL)
    with io.FileIO(partial, "w") as file:
        for part in parts:
            view = memoryview(part)
            while view:
                view = view[file.write(view) :]
    partial.replace(path)


def _newest_files(place: Path) -> Iterator[Path]:
    """The file of each object; what a crash left behind (half a file, a replaced version) is removed."""
    for folder in sorted(place.iterdir()):
        if not folder.is_dir():
            continue
        newest: dict[str, Path] = {}
        for path in sorted(folder.iterdir()):
            if path.name.endswith(_PARTIAL):
                path.unlink()
                continue
            digest = path.name.partition(".")[0]
            if digest in newest:
                newest[digest].unlink()
            newest[digest] = path
        yield from newest.values()
