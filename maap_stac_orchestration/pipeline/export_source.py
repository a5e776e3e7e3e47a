"""Reading an export back: from a folder or a bucket, piece by piece.

Here belongs what is an export, following its links, and nothing that is not in it. Not here: what becomes of the items
(`restore`), and where each document lies when it is written (`export_layout`).
"""

from __future__ import annotations

import asyncio
import posixpath
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from maap_stac_orchestration.catalog.document import NotJson, parse_json
from maap_stac_orchestration.dps.output_prefix import find_output_prefix
from maap_stac_orchestration.pipeline import export_layout as layout
from maap_stac_orchestration.pipeline.geoparquet import NotCarried, read_items
from maap_stac_orchestration.store.local import LocalObjects
from maap_stac_orchestration.store.objects import ObjectError, ObjectMissing, ObjectStore
from maap_stac_orchestration.store.s3_writing import WritableS3, is_writable

#: Bytes of one document: a day's catalog links each of its items.
_MAX_BYTES: Final = 256 * 2**20
#: Documents that are read at once, and items that are handed on together.
_CONCURRENCY: Final = 64
_AT_ONCE: Final = 500
#: Catalogs within catalogs; years, months and days are three.
_DEEPEST: Final = 5
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class ExportBroken(Exception):
    """What says to be an export cannot be read as one; the message is a sentence that says where."""


@dataclass(frozen=True, slots=True)
class Export:
    """An export that was found."""

    #: As somebody wrote it.
    address: str
    #: The document of the collection, as it lies in the export.
    collection: Mapping[str, Any]
    store: ObjectStore
    bucket: str
    #: Of all keys; empty or ending in `/`.
    prefix: str

    @property
    def id(self) -> str:
        """Of the collection."""
        return str(self.collection.get("id"))

    @property
    def mark(self) -> Mapping[str, Any]:
        """What stands beside the collection's own words."""
        mark = self.collection[layout.MARK]
        assert isinstance(mark, Mapping)
        return mark

    @property
    def is_static(self) -> bool:
        """Whether each item is a document; else all of them are in the table."""
        formats = self.mark.get("formats")
        return not isinstance(formats, list) or "static" in formats

    def items(self) -> Iterator[list[dict[str, Any]]]:
        """All items, without the links that say where they stand, some hundred at a time.

        Raises:
            ExportBroken: one cannot be had, or there are not as many as the export says.
            StoreUnavailable: the store failed.
        """
        count = 0
        for batch in self._documents() if self.is_static else self._rows():
            count += len(batch)
            yield [{**item, "links": layout.kept_links(item)} for item in batch]
        if count != self.mark.get("items"):
            raise ExportBroken(f"{self.address} says to hold {self.mark.get('items')} items, and holds {count}.")

    def _documents(self) -> Iterator[list[dict[str, Any]]]:
        for place, links in self._catalogs(layout.COLLECTION, self.collection, set()):
            paths = [_resolved(place, link["href"]) for link in links if link["rel"] == "item"]
            for start in range(0, len(paths), _AT_ONCE):
                yield asyncio.run(self._read_all(paths[start : start + _AT_ONCE]))

    def _catalogs(
        self, place: str, document: Mapping[str, Any], seen: set[str]
    ) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Each document that links, with its links; those inside it after it."""
        if place in seen or place.count("/") > _DEEPEST:
            raise ExportBroken(f"{self.address} leads to {place} more than once, or too deep.")
        seen.add(place)
        links = document.get("links")
        leading = [one for one in (links if isinstance(links, list) else ()) if _leads(one)]
        yield place, leading
        for link in leading:
            if link["rel"] == "child":
                path = _resolved(place, link["href"])
                [child] = asyncio.run(self._read_all([path]))
                yield from self._catalogs(path, child, seen)

    async def _read_all(self, paths: Sequence[str]) -> list[dict[str, Any]]:
        places = asyncio.Semaphore(_CONCURRENCY)

        async def read(path: str) -> dict[str, Any]:
            async with places:
                try:
                    fetched = await self.store.get(self.bucket, self.prefix + path, _MAX_BYTES)
                    return parse_json(fetched.data)
                except (ObjectError, NotJson) as error:
                    raise ExportBroken(f"{path} of {self.address} cannot be read. {error}") from error

        return list(await asyncio.gather(*(read(path) for path in paths)))

    def _rows(self) -> Iterator[list[dict[str, Any]]]:
        with self._table() as path:
            try:
                yield from read_items(path, _AT_ONCE)
            except NotCarried as error:
                raise ExportBroken(f"The table of {self.address} cannot be read. {error}") from error

    @contextmanager
    def _table(self) -> Iterator[Path]:
        if isinstance(self.store, LocalObjects):
            yield self.store.root / layout.TABLE
            return
        assert isinstance(self.store, WritableS3)
        with tempfile.TemporaryDirectory(prefix="maap-stac-export-") as folder:
            path = Path(folder, layout.TABLE)
            asyncio.run(self.store.download(self.bucket, self.prefix + layout.TABLE, path))
            yield path


def find_export(address: str) -> Export | None:
    """The export at a folder or `s3://bucket/prefix`, None where there is none, or it lies in a job's output.

    Raises:
        ExportBroken: what says to be one is of another version, or a folder holds none.
        StoreUnavailable: the store failed.
    """
    store: ObjectStore
    if address.startswith("s3://"):
        bucket, _, key = address.removeprefix("s3://").partition("/")
        key = key.removesuffix(layout.COLLECTION) if f"/{key}".endswith(f"/{layout.COLLECTION}") else key
        prefix = f"{key.rstrip('/')}/" if key.strip("/") else ""
        if not bucket or find_output_prefix(prefix) is not None or not is_writable(prefix + layout.COLLECTION):
            return None
        store = WritableS3.from_environment()
    elif (folder := Path(address)).exists():
        if folder.name == layout.COLLECTION:
            folder = folder.parent
        bucket, prefix, store = "", "", LocalObjects(folder)
    else:
        return None
    document = _root(store, bucket, prefix)
    if document is None:
        if bucket:
            return None
        raise ExportBroken(f"{address} holds no export; from folders of this machine nothing else is ingested.")
    mark = document[layout.MARK]
    if not isinstance(mark, Mapping) or mark.get("version") != layout.VERSION:
        raise ExportBroken(f"The export at {address} is of a version that this program does not know.")
    return Export(address, document, store, bucket, prefix)


def _root(store: ObjectStore, bucket: str, prefix: str) -> dict[str, Any] | None:
    try:
        fetched = asyncio.run(store.get(bucket, prefix + layout.COLLECTION, _MAX_BYTES))
        document = parse_json(fetched.data)
    except ObjectMissing:
        return None
    except (ObjectError, NotJson) as error:
        raise ExportBroken(f"{layout.COLLECTION} cannot be read. {error}") from error
    return document if layout.MARK in document else None


def _leads(link: Any) -> bool:
    return isinstance(link, Mapping) and link.get("rel") in ("child", "item") and isinstance(link.get("href"), str)


def _resolved(place: str, href: str) -> str:
    """The path that a link in the document at `place` leads to.

    Raises:
        ExportBroken: it leads out of the export.
    """
    path = posixpath.normpath(posixpath.join(posixpath.dirname(place), href))
    if _SCHEME.match(href) or path.startswith(("/", "../")) or path in ("..", "."):
        raise ExportBroken(f"{place} leads out of the export, to {href[:200]!a}.")
    return path
