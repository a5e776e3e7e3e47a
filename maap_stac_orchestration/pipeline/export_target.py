"""Where an export goes: a folder or a prefix of a bucket, in which nothing half is ever found.

Here belongs writing files and making them appear together. Not here: what is in them (`export`).

A folder is written beside its place and moved there at the end. A bucket knows no moving: there the document that makes
it an export is written last, and a mark of what is unfinished lies beside it until then.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

import orjson

from maap_stac_orchestration.pipeline.export_layout import CATALOG, COLLECTION, MARK, PARQUET_TYPE
from maap_stac_orchestration.store.objects import ObjectMissing, ObjectTooLarge
from maap_stac_orchestration.store.s3_writing import WritableS3, is_writable

#: Path from the root, and bytes.
File = tuple[str, bytes]

#: Lies in a bucket while an export is written there.
UNFINISHED: Final = "unfinished-export.json"
#: Of a collection's document that is looked at before it is overwritten.
_MAX_BYTES = 64 * 2**20
#: Objects that are on their way at once.
_CONCURRENCY = 64


class TargetRefused(Exception):
    """An export cannot go there; the message is a sentence that says why and what to do."""


class Target(Protocol):
    """A place that an export is written to; what is written appears when `finish` is through."""

    def write(self, files: Sequence[File]) -> None:
        """Writes files.

        Raises:
            StoreUnavailable, OSError: they could not be written.
        """
        ...

    def write_large(self, path: str, file: Path) -> None:
        """Writes a file that may not fit memory; raises as `write` does."""
        ...

    def finish(self, last: Sequence[File]) -> None:
        """Writes the last files, in their order, and lets the export appear; raises as `write` does."""
        ...


@contextmanager
def open_target(address: str, *, overwrite: bool) -> Iterator[Target]:
    """A folder, or `s3://bucket/prefix`; what was written is removed where the block is left before `finish`.

    Args:
        address: the folder or prefix.
        overwrite: whether an export that is there already is replaced. What is no export never is.

    Raises:
        TargetRefused: something is there.
        StoreUnavailable, OSError: it cannot be looked at.
    """
    target = _Prefix(address, overwrite) if address.startswith("s3://") else _Folder(Path(address), overwrite)
    try:
        yield target
    finally:
        target.leave()


class _Folder:
    """A folder of this machine."""

    def __init__(self, folder: Path, overwrite: bool) -> None:
        self._folder = folder.absolute()
        self._replaces = _refuse_unless_free(self._folder, overwrite)
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        # In the same folder, so that moving is one step.
        self._work: Path | None = Path(
            tempfile.mkdtemp(prefix=f".{self._folder.name}.unfinished-", dir=self._folder.parent)
        )
        self._made: Path | None = None

    def write(self, files: Sequence[File]) -> None:
        assert self._work is not None
        for path, data in files:
            place = self._work / path
            if place.parent != self._made:
                place.parent.mkdir(parents=True, exist_ok=True)
                self._made = place.parent
            place.write_bytes(data)

    def write_large(self, path: str, file: Path) -> None:
        assert self._work is not None
        shutil.copyfile(file, self._work / path)

    def finish(self, last: Sequence[File]) -> None:
        assert self._work is not None
        self.write(last)
        # A folder that mkdtemp makes is its maker's alone.
        self._work.chmod(0o777 & ~_umask())
        old = None
        if self._replaces:
            old = Path(tempfile.mkdtemp(prefix=f".{self._folder.name}.old-", dir=self._folder.parent))
            self._folder.replace(old / "replaced")
        self._work.replace(self._folder)
        self._work = None
        if old is not None:
            shutil.rmtree(old)

    def leave(self) -> None:
        if self._work is not None:
            shutil.rmtree(self._work, ignore_errors=True)


def _umask() -> int:
    """The system tells it only when it is set."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _refuse_unless_free(folder: Path, overwrite: bool) -> bool:
    """Whether there is an export to be replaced."""
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise TargetRefused(f"{folder} is a file; name a folder that is not there yet.")
    if next(folder.iterdir(), None) is None:
        return False
    _refuse(str(folder), overwrite, _is_export((folder / COLLECTION).read_bytes() if _has(folder) else None))
    return True


def _has(folder: Path) -> bool:
    return (folder / COLLECTION).is_file()


def _is_export(collection: bytes | None) -> bool:
    try:
        document = None if collection is None else orjson.loads(collection)
    except orjson.JSONDecodeError:
        return False
    return isinstance(document, dict) and MARK in document


def _refuse(address: str, overwrite: bool, replaceable: bool) -> None:
    if not overwrite:
        raise TargetRefused(f"{address} is not empty. Name another place, or replace the export there by --overwrite.")
    if not replaceable:
        raise TargetRefused(
            f"{address} is not empty and holds no export, which is all that --overwrite replaces. Name another place."
        )


class _Prefix:
    """A prefix of a bucket."""

    def __init__(self, address: str, overwrite: bool) -> None:
        self._bucket, _, key = address.removeprefix("s3://").partition("/")
        self._prefix = f"{key.rstrip('/')}/" if key.strip("/") else ""
        if not self._bucket or not is_writable(f"{self._prefix}{COLLECTION}"):
            raise TargetRefused(f"{address} is not a place in S3. Write s3://bucket/prefix.")
        self._store = WritableS3.from_environment()
        self._stale = {one.key for one in asyncio.run(self._store.list(self._bucket, self._prefix))}
        if self._stale:
            _refuse(address, overwrite, self._prefix + UNFINISHED in self._stale or _is_export(self._old()))
        self._written: set[str] = set()
        self._finished = self._begun = False

    def _old(self) -> bytes | None:
        try:
            return asyncio.run(self._store.get(self._bucket, self._prefix + COLLECTION, _MAX_BYTES)).data
        except (ObjectMissing, ObjectTooLarge):
            return None

    def _begin(self) -> None:
        """From here on nobody takes for an export what is there."""
        if not self._begun:
            self._begun = True
            self._put([(UNFINISHED, b"{}\n")])
            first = [self._prefix + name for name in (COLLECTION, CATALOG)]
            self._delete([key for key in first if key in self._stale])

    def write(self, files: Sequence[File]) -> None:
        self._begin()
        self._put(files)

    def _put(self, files: Sequence[File]) -> None:
        async def put_all() -> None:
            places = asyncio.Semaphore(_CONCURRENCY)

            async def put(path: str, data: bytes) -> None:
                async with places:
                    await self._store.put(self._bucket, self._prefix + path, data, "application/json")

            await asyncio.gather(*(put(path, data) for path, data in files))

        self._written.update(self._prefix + path for path, _ in files)
        asyncio.run(put_all())

    def write_large(self, path: str, file: Path) -> None:
        self._begin()
        self._written.add(self._prefix + path)
        asyncio.run(self._store.put(self._bucket, self._prefix + path, file, PARQUET_TYPE))

    def finish(self, last: Sequence[File]) -> None:
        self._begin()
        for file in last:
            self._put([file])
        self._finished = True
        self._delete([*sorted(self._stale - self._written), self._prefix + UNFINISHED])

    def _delete(self, keys: Sequence[str]) -> None:
        if keys:
            asyncio.run(self._store.delete(self._bucket, keys))

    def leave(self) -> None:
        if self._begun and not self._finished:
            # The mark last: as long as it is there, what is left can be overwritten.
            mark = self._prefix + UNFINISHED
            self._delete([*sorted(self._written - self._stale - {mark}), *([] if self._stale else [mark])])
