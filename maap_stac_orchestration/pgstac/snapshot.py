"""A collection's items in one order, all as of one moment.

Here belongs reading a whole collection in pieces that fit memory, inside a transaction that sees nothing of what is
written meanwhile. Not here: what is made of the items (`pipeline.export`), and single ones (`items`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from psycopg import IsolationLevel
from psycopg.rows import tuple_row
from pypgstac.hydration import hydrate

from maap_stac_orchestration.pgstac.connection import Connection
from maap_stac_orchestration.pgstac.samples import base_items

#: The day of items whose time is none of the calendar, which others than this system may have written.
UNDATED = "undated"


@dataclass(frozen=True, slots=True)
class Span:
    """Items that overlap a stretch of time; None is open. UTC."""

    start: datetime | None = None
    end: datetime | None = None


#: Of items of one collection, in a span; the parameters' casts let them be NULL.
_WHERE = """
FROM pgstac.items
WHERE collection = %(collection)s
    AND (%(end)s::timestamptz IS NULL OR datetime <= %(end)s::timestamptz)
    AND (%(start)s::timestamptz IS NULL OR end_datetime >= %(start)s::timestamptz)
"""

# As text: dates before year 1 and after 9999 are none in Python.
_DAY = "coalesce(nullif(to_char(datetime AT TIME ZONE 'UTC', 'YYYY-MM-DD'), ''), '')"

_DAYS = f"SELECT {_DAY}, count(*) {_WHERE} GROUP BY 1 ORDER BY 1"  # constants in a constant

#: In an order that hangs on no locale.
_KEYS = f'SELECT {_DAY}, id {_WHERE} ORDER BY 1, id COLLATE "C"'  # constants in a constant

#: With the coordinates as the API has them.
_ROWS = """
SELECT id, ST_AsGeoJSON(geometry, 20), content::text
FROM pgstac.items
WHERE collection = %(collection)s AND id = ANY(%(ids)s)
"""

#: Keys that come from the server at a time.
_AT_ONCE = 5000


@contextmanager
def one_moment(connection: Connection) -> Iterator[None]:
    """Makes all that is read within be as of one moment; nothing can be written. The connection has nothing pending."""
    before = connection.isolation_level, connection.read_only
    connection.isolation_level, connection.read_only = IsolationLevel.REPEATABLE_READ, True
    try:
        yield
    finally:
        connection.rollback()
        connection.isolation_level, connection.read_only = before


def days(connection: Connection, collection: str, span: Span) -> dict[str, int]:
    """How many items begin on each day, UTC, as `2024-06-01`; `UNDATED` for those of no day of the calendar."""
    found: dict[str, int] = {}
    # Never prepared: a plan for any collection would lock the partitions of all.
    for day, count in connection.execute(_DAYS, _asked(collection, span), prepare=False):
        name = _day(day)
        found[name] = found.get(name, 0) + count
    return found


def keys(connection: Connection, collection: str, span: Span) -> Iterator[tuple[str, str]]:
    """Day and id of each item, by day, then by id."""
    with connection.cursor(name="maap_stac_keys", row_factory=tuple_row) as cursor:
        cursor.itersize = _AT_ONCE
        cursor.execute(_KEYS, _asked(collection, span))
        for day, id in cursor:
            yield _day(day), id


def items(connection: Connection, collection: str, ids: Sequence[str]) -> list[dict[str, Any]]:
    """These items in this order, as `find` gives them; all of them are there."""
    found = find(connection, collection, ids)
    return [found[id] for id in ids]


def find(connection: Connection, collection: str, ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """Id -> item, of those of these ids that the collection holds.

    As the API gives them without its links, and with the nulls that were written: pgstac's own function leaves out
    members that are null, of which STAC wants one (the datetime of an item that has a range), and takes longer for an
    item than all the rest of an export.
    """
    if not ids:
        return {}
    bases = base_items(connection, collection)
    asked = {"collection": collection, "ids": list(ids)}
    found = {}
    # Never prepared: a plan for any collection would lock the partitions of all.
    for id, geometry, text in connection.execute(_ROWS, asked, prepare=False):
        content = orjson.loads(text)
        base = bases.get(content.pop("pgstac:base_item", None), bases[None])
        item = hydrate(base, {**content, "id": id, "geometry": orjson.loads(geometry)})
        # What the collection says nothing of stands there as null.
        found[id] = {name: value for name, value in item.items() if value is not None or name in content}
    return found


def _asked(collection: str, span: Span) -> dict[str, Any]:
    return {"collection": collection, "start": span.start, "end": span.end}


def _day(text: str) -> str:
    return text if len(text) == len("2024-06-01") and text[:4].isdigit() else UNDATED
