"""A collection's items in one order, all as of one moment.

Here belongs reading a whole collection in pieces that fit memory, inside a transaction that sees nothing of what is
written meanwhile. Not here: what is made of the items (`pipeline.export`), and single ones (`items`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import IsolationLevel
from psycopg.rows import tuple_row

from maap_stac_orchestration.pgstac.connection import Connection
from maap_stac_orchestration.pgstac.items import whole

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
    """These items in this order, as the API would give them without its links."""
    found = {item["id"]: item for item in whole(connection, collection, ids)}
    return [found[id] for id in ids]


def _asked(collection: str, span: Span) -> dict[str, Any]:
    return {"collection": collection, "start": span.start, "end": span.end}


def _day(text: str) -> str:
    return text if len(text) == len("2024-06-01") and text[:4].isdigit() else UNDATED
