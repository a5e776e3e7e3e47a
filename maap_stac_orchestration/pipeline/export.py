"""A collection out of the database: a static catalog and a table of its items, for people who have no API.

Here belongs what is done in what order. Not here: where each document lies (`export_layout`), the table (`geoparquet`),
and writing files (`export_target`); bringing an export back is `restore`.

All of it is read as of one moment, piece by piece: how much memory it takes does not hang on how many items there are,
but for their ids, a folder's at a time. Making a table goes over the items three times, to see what columns they need,
to write them and to compare them; the database, which takes most of the time, is asked once. The same items give the
same bytes.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import orjson

from maap_stac_orchestration.catalog.document import printable
from maap_stac_orchestration.ledger import collections as known_collections
from maap_stac_orchestration.ledger import exported
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import timestamp
from maap_stac_orchestration.pgstac import snapshot
from maap_stac_orchestration.pgstac.collections import read_document
from maap_stac_orchestration.pgstac.items import lock_writers
from maap_stac_orchestration.pgstac.snapshot import Span
from maap_stac_orchestration.pipeline import export_layout as layout
from maap_stac_orchestration.pipeline.export_target import Target, open_target
from maap_stac_orchestration.pipeline.geoparquet import Aside, Compared, Looked, NotCarried, Table, compare

#: Items that are read and written at a time.
_AT_ONCE = 500
_EVERYTHING: Final = Span()


class Format(StrEnum):
    """What is written of the items."""

    #: A document each.
    STATIC = "static"
    #: One table.
    GEOPARQUET = "geoparquet"


class Stage(StrEnum):
    """What an export is doing; each goes once over the items."""

    READING = "Items"
    TABLE = "Table"
    COMPARING = "Verifying"


#: Told of each stage how many items were done.
Progress = Callable[[Stage, int], None]


class ExportError(Exception):
    """A collection is not exported, and nothing was written; the message is a sentence that says why."""


class NotASpan(ValueError):
    """A text is no stretch of time; the message is a sentence with an example."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    collection: str
    items: int
    #: Documents of STAC, items among them.
    documents: int
    formats: tuple[Format, ...]
    #: What reading the table back gave; None without a table.
    compared: Compared | None
    #: Why there is no table although one was wanted.
    not_carried: str | None
    #: What other readers of the table see otherwise, a sentence each.
    warnings: tuple[str, ...]


_BOUND = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def parse_span(text: str) -> Span:
    """Reads `2024-06-01/2024-08-31`, also with times in RFC 3339, and with `..` for an open end; a date alone is a day.

    The days of dates are whole, in UTC.

    Raises:
        NotASpan: see there.
    """
    first, slash, last = text.strip().partition("/")
    try:
        start, end = _bound(first, last=False), _bound(last if slash else first, last=True)
    except (ValueError, OverflowError):
        start = end = None
    if (start is None and end is None) or (start is not None and end is not None and start > end):
        raise NotASpan(f"{printable(text)!r} is no stretch of time. Write 2024-06-01/2024-08-31, or times in RFC 3339.")
    return Span(start, end)


def _bound(text: str, *, last: bool) -> datetime | None:
    if text in ("", ".."):
        return None
    moment = datetime.fromisoformat(text)
    if last and _BOUND.fullmatch(text):
        moment += timedelta(days=1, microseconds=-1)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def export_collection(
    conn: Connection,
    collection: str,
    address: str,
    *,
    formats: frozenset[Format],
    span: Span = _EVERYTHING,
    overwrite: bool = False,
    begun: Callable[[int], None] = lambda items: None,
    progress: Progress = lambda stage, items: None,
) -> Exported:
    """Writes a collection to a folder or a bucket.

    Where items cannot be a table and a static catalog is wanted as well, that is written alone.

    Args:
        conn: a connection with nothing pending; nothing is written to the database.
        collection: its id.
        address: a folder, or `s3://bucket/prefix`.
        formats: what is written of the items, at least one of them.
        span: only items that overlap it.
        overwrite: whether an export that is there already is replaced.
        begun: told once how many items there are.
        progress: told of each piece that is done.

    Raises:
        ExportError: there is no such collection, or all that was wanted is a table that its items cannot be.
        TargetRefused: something is at that address already.
        StoreUnavailable, OSError: files could not be written; nothing of them is left, as far as the store lets.
        psycopg.Error: the database failed.
    """
    # Whoever writes at this moment has ended when all is looked at, or has begun after it: what is written later has a
    # later time.
    with conn.transaction():
        lock_writers(conn, [collection])
    with snapshot.one_moment(conn):
        document = _document(conn, collection)
        with open_target(address, overwrite=overwrite) as target:
            work = _Export(conn, document, target, formats, span, progress)
            begun(work.items)
            return work.run()


def _document(conn: Connection, collection: str) -> dict[str, Any]:
    document = read_document(conn, collection)
    if document is None:
        stone = known_collections.tombstones(conn, [collection]).get(collection)
        told = f"There is no collection {printable(collection[:200])}"
        raise ExportError(f"{told}." if stone is None else f"{told}: {stone.sentence}")
    return document


class _Export:
    """One export, with what it needs in every step."""

    def __init__(
        self,
        conn: Connection,
        document: dict[str, Any],
        target: Target,
        formats: frozenset[Format],
        span: Span,
        progress: Progress,
    ) -> None:
        self._conn = conn
        self._document = document
        self._id: str = document["id"]
        self._target = target
        self._formats = formats
        self._span = span
        self._progress = progress
        days = snapshot.days(conn, self._id, span)
        self.items = sum(days.values())
        self._folders = layout.folders(days)
        self._documents = 2

    def run(self) -> Exported:
        """Writes all of it."""
        with tempfile.TemporaryDirectory(prefix="maap-stac-export-") as folder:
            return self._run(Path(folder))

    def _run(self, folder: Path) -> Exported:
        looked = Looked() if Format.GEOPARQUET in self._formats else None
        aside = Aside(folder / "items") if looked is not None else None
        members = self._write_items(looked, aside)
        table, compared, not_carried = None, None, None
        if looked is not None and aside is not None:
            try:
                table = looked.table()
                compared = self._write_table(table, aside, folder / layout.TABLE)
            except NotCarried as error:
                if Format.STATIC not in self._formats:
                    raise ExportError(
                        f"The items cannot be a table. {error} Export them as static documents."
                    ) from error
                table, not_carried = None, str(error)
        formats = tuple(
            one for one in Format if one in self._formats and not (one is Format.GEOPARQUET and not_carried)
        )
        self._finish(members, formats)
        return Exported(
            self._id,
            self.items,
            self._documents,
            formats,
            compared if table is not None else None,
            not_carried,
            _warnings(table, compared),
        )

    def _keys(self) -> Iterator[tuple[str, list[str]]]:
        """Folder and ids of its items."""
        for folder, found in groupby(
            snapshot.keys(self._conn, self._id, self._span), lambda key: self._folders.of_day[key[0]]
        ):
            yield folder, list(map(itemgetter(1), found))

    def _write_items(self, looked: Looked | None, aside: Aside | None) -> list[str]:
        """Writes items and the catalogs of their folders; gives the names of items right inside the root."""
        static = Format.STATIC in self._formats
        at_root: list[str] = []
        for folder, ids in self._keys():
            names = layout.names(ids)
            for start in range(0, len(ids), _AT_ONCE):
                some = ids[start : start + _AT_ONCE]
                items = snapshot.items(self._conn, self._id, some)
                if looked is not None and aside is not None:
                    for item in items:
                        looked.look(item)
                    aside.put(items)
                if static:
                    self._target.write(
                        [
                            (layout.item_path(folder, names[item["id"]]), _json(layout.item_document(item, folder)))
                            for item in items
                        ]
                    )
                self._progress(Stage.READING, len(items))
            if static and folder:
                self._write_catalog(folder, [names[id] for id in ids])
            elif static:
                at_root += [names[id] for id in ids]
        if aside is not None:
            aside.close()
        if static:
            self._documents += self.items
            for folder in self._folders.inside:
                if folder:
                    # Those that hold folders hold no items.
                    self._write_catalog(folder, [])
        return at_root

    def _write_catalog(self, folder: str, members: list[str]) -> None:
        inside = self._folders.inside.get(folder, ())
        document = layout.catalog_document(self._id, folder, inside, members)
        self._target.write([(layout.catalog_path(folder), _json(document))])
        self._documents += 1

    def _write_table(self, table: Table, aside: Aside, path: Path) -> Compared:
        table.write(path, self._told(Stage.TABLE, aside), self._document)
        compared = compare(path, self._told(Stage.COMPARING, aside))
        if compared.other is not None:
            raise NotCarried(f"Read back from the table, the item {printable(compared.other)} is not what was written.")
        self._target.write_large(layout.TABLE, path)
        return compared

    def _told(self, stage: Stage, aside: Aside) -> Iterator[list[dict[str, Any]]]:
        for items in aside.batches():
            yield items
            self._progress(stage, len(items))

    def _finish(self, members: list[str], formats: tuple[Format, ...]) -> None:
        mark: dict[str, Any] = {"items": self.items, "formats": [str(one) for one in formats]}
        if self._span != _EVERYTHING:
            bounds = (self._span.start, self._span.end)
            mark["datetime"] = "/".join(".." if one is None else timestamp(one) for one in bounds)
        known = exported.described(self._conn, self._id)
        if known is not None:
            by = None if known.by is None else timestamp(known.by)
            written = exported.last_written(self._conn, self._id)
            mark["written"] = None if written is None else timestamp(written)
            mark |= {"owner": known.owner, "described": dict(known.fields), "described_by": by}
        document = layout.collection_document(
            self._document,
            mark,
            self._folders.inside.get("", ()) if Format.STATIC in formats else (),
            members,
            table=Format.GEOPARQUET in formats,
        )
        self._target.finish(
            [(layout.CATALOG, _json(layout.root_document(self._document))), (layout.COLLECTION, _json(document))]
        )


def _warnings(table: Table | None, compared: Compared | None) -> tuple[str, ...]:
    if table is None or compared is None:
        return ()
    found = []
    if compared.alike:
        found.append(
            f"{compared.alike} items have members that are null, or times in another spelling than UTC with Z; in "
            f"{layout.TABLE} such members are absent, and the times are the same in UTC."
        )
    if table.texts:
        places = ", ".join(printable(".".join(path)) for path in table.texts[:5])
        more = f" and {len(table.texts) - 5} more" if len(table.texts) > 5 else ""
        found.append(
            f"Values of {places}{more} are of several types, empty objects or larger than a column holds; "
            f"{layout.TABLE} has them as JSON text."
        )
    if table.foreign:
        found.append(
            f"Items have members that STAC does not know ({', '.join(map(printable, table.foreign[:5]))}); other "
            f"readers of {layout.TABLE} take them for properties."
        )
    return tuple(found)


def _json(document: dict[str, Any]) -> bytes:
    return orjson.dumps(_ordered(document), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


#: As people expect to read it; the database keeps another order.
_FIRST = ("type", "stac_version", "stac_extensions", "id", "collection", "title", "description")
_LAST = ("bbox", "geometry", "properties", "assets", "links")


def _ordered(document: dict[str, Any]) -> dict[str, Any]:
    rest = sorted(name for name in document if name not in _FIRST and name not in _LAST)
    return {name: document[name] for name in (*_FIRST, *rest, *_LAST) if name in document}
