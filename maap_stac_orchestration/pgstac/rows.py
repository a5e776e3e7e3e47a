"""Items as rows of pgstac's table, and rows as lines of COPY.

Here belongs what pypgstac's `Loader.format_item` does, which takes a good part of the time of the COPY that follows:
the same rows, byte for byte, in a fraction of it. Pure. Not here: writing them (`items`).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import orjson
from plpygis.geometry import Geometry
from pypgstac.hydration import DO_NOT_MERGE_MARKER, dehydrate

#: EWKB, little endian, of these types with an SRID and no third dimension: byte order, type, SRID.
_POINT, _POLYGON = (struct.pack("<BII", 1, number | 0x20000000, 4326) for number in (1, 3))
_NUMBERS = frozenset({float, int})
_SINGLE = frozenset({str, float, int, bool})
#: What a collection has in common where it says nothing.
_NOTHING: tuple[Any, ...] = (None, {})
_LISTS = frozenset({list})
_PAIRS = frozenset({2})

#: What would end a column or a row of COPY, or stand for something else.
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_NULL = b"\\N"

#: What of an item stands in a column of its own, and the mark that only the database's rows carry.
_COLUMNS_OF_THEIR_OWN = ("id", "collection", "geometry", "pgstac:base_item")

#: Columns in the order of `Row`.
COLUMNS = ("id", "collection", "datetime", "end_datetime", "geometry", "content", "private")


class BaseItem(NamedTuple):
    """What the items of a collection have in common, which their rows leave out."""

    document: Mapping[str, Any]
    #: Its number where the collection was ever edited; rows carry it.
    number: int | None


class Row(NamedTuple):
    """A row of `pgstac.items`, its values as the texts that the database reads."""

    id: str
    collection: str
    datetime: str
    end_datetime: str
    #: Hexadecimal EWKB.
    geometry: str
    #: JSON, UTF-8.
    content: bytes
    private: bytes | None

    def line(self) -> bytes:
        """The row as a line of `COPY … (FORMAT text, ENCODING 'UTF8')`."""
        columns = "\t".join(self[:5])
        # Looking for them is faster than replacing them, and ids and times have none.
        if "\\" in columns or "\n" in columns or "\r" in columns or columns.count("\t") != 4:
            columns = "\t".join(text.translate(_ESCAPES) for text in self[:5])
        private = _NULL if self.private is None else self.private.replace(b"\\", b"\\\\")
        return b"%b\t%b\t%b\n" % (columns.encode(), self.content.replace(b"\\", b"\\\\"), private)


class NoRow(Exception):
    """The item cannot be a row; the message is a sentence without its full stop."""


def row_of(document: Mapping[str, Any], base: BaseItem) -> Row:
    """An item as a row.

    Raises:
        NoRow: it has no geometry or no time, its time runs backwards, or something in it cannot be written.
    """
    try:
        return _row(document, base)
    except NoRow:
        raise
    # The libraries raise what comes to them at what is no item at all.
    except Exception as error:
        raise NoRow(f"It cannot be written: {error}") from error


def _row(document: Mapping[str, Any], base: BaseItem) -> Row:
    start, end = _times(document)
    geometry = document.get("geometry")
    if geometry is None:
        raise NoRow("It has no geometry, and pgstac keeps no item without one")
    content = _dehydrated(document, base.document)
    if base.number is not None:
        content["pgstac:base_item"] = base.number
    private = content.pop("private", None)
    row = Row(
        document["id"],
        document["collection"],
        start,
        end,
        ewkb(geometry),
        orjson.dumps(content),
        None if private is None else orjson.dumps(private),
    )
    if "\0" in row.id or "\0" in start or "\0" in end:
        raise NoRow("It contains a NUL character, which the database cannot keep")
    if not (row.id.isascii() and start.isascii() and end.isascii()):
        # Half a character ends here, and not in the midst of a COPY.
        "".join((row.id, start, end)).encode()
    return row


def _dehydrated(document: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """What the collection does not say of all its items already, nor a column of the row."""
    content = {}
    for name, value in document.items():
        if name in _COLUMNS_OF_THEIR_OWN:
            continue
        if name in base:
            common = base[name]
            if common == value:
                continue
            # Otherwise with nothing to merge: another version, say, or assets that the collection says nothing about.
            if type(value) not in _SINGLE and (type(value) is not dict or common not in _NOTHING):
                break
        content[name] = value
    else:
        content |= {name: DO_NOT_MERGE_MARKER for name in base if name not in document}
        for name in _COLUMNS_OF_THEIR_OWN:
            content.pop(name, None)
        return content
    content = dehydrate(base, document)  # type: ignore[arg-type]  # it only reads both
    for name in _COLUMNS_OF_THEIR_OWN:
        content.pop(name, None)
    return content


def _times(document: Mapping[str, Any]) -> tuple[str, str]:
    """Start and end, as pgstac takes them from an item."""
    properties = document.get("properties", {})
    start, end = properties.get("start_datetime"), properties.get("end_datetime")
    if start is None or end is None:
        moment = properties.get("datetime")
        if moment is None:
            raise NoRow("It has neither a datetime nor a start_datetime with an end_datetime")
        return moment, moment
    # No search in time finds an item that ends before it starts.
    first, last = _as_utc(start), _as_utc(end)
    if first is not None and last is not None and first > last:
        raise NoRow("Its end_datetime is before its start_datetime")
    return start, end


# Items of one batch share times, and so do the two ends of an item.
@lru_cache(maxsize=1024)
def _as_utc(text: str) -> datetime | None:
    """None for what the database may read and Python does not.

    As in pypgstac's `load`, which takes 0.4 s and 12 MB to import for what is never called.
    """
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
    except (AttributeError, ValueError):
        return None


def ewkb(geometry: Mapping[str, Any]) -> str:
    """A GeoJSON geometry as hexadecimal EWKB with the SRID 4326.

    Points and polygons of two dimensions, which most footprints are, are written here; plpygis takes five times as long
    and writes the rest.
    """
    kind, coordinates = geometry["type"], geometry.get("coordinates")
    written = None
    if kind == "Polygon":
        written = _polygon(coordinates)
    elif kind == "Point":
        written = _point(coordinates)
    if written is not None:
        return written
    return str(Geometry.from_geojson(geometry).ewkb)  # type: ignore[no-untyped-call]


def _point(position: Any) -> str | None:
    if type(position) is not list or len(position) != 2 or not _NUMBERS.issuperset(map(type, position)):
        return None
    return (_POINT + struct.pack("<2d", *position)).hex()


def _polygon(rings: Any) -> str | None:
    """None where it is not a list of rings of pairs of numbers."""
    if type(rings) is not list or not rings:
        return None
    parts = [_POLYGON, struct.pack("<I", len(rings))]
    for ring in rings:
        if type(ring) is not list or set(map(type, ring)) != _LISTS or set(map(len, ring)) != _PAIRS:
            return None
        numbers = list(chain.from_iterable(ring))
        if not _NUMBERS.issuperset(map(type, numbers)):
            return None
        parts.append(struct.pack(f"<I{len(numbers)}d", len(ring), *numbers))
    return b"".join(parts).hex()
