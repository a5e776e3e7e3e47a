"""Some of a collection's items, chosen so that the same ones come again as long as the collection is the same.

Here belongs which items are looked at to tell what they have in common. Not here: what is made of them
(`catalog.derived`), and the extent, for which all of them count (`collections`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson
from psycopg.rows import tuple_row
from pypgstac.hydration import hydrate

from maap_stac_orchestration.pgstac.connection import Connection

#: Items that are looked at: all of them in most collections.
MOST_ITEMS: Final = 1_000
#: Bytes of their documents together, after which no more are read.
MOST_BYTES: Final = 32_000_000
#: Bytes of one document, as the database has it compressed and as JSON; larger ones are passed over.
_LARGEST_STORED: Final = 200_000
_LARGEST: Final = 1_000_000
#: Documents that are fetched at a time.
_AT_A_TIME: Final = 50

#: Those whose ids have the smallest hashes: any item is as likely among them as any other, and a new one moves at most
#: one of the others out. Ids lie in the rows, so the documents of the others, out of line, are not read; the sort keeps
#: only as many as are wanted.
_SAMPLE = """
SELECT items.content::text
FROM (
    SELECT id FROM pgstac.items
    WHERE collection = %(collection)s AND pg_column_size(content) <= %(largest)s
    ORDER BY hashtextextended(id, 0), id
    LIMIT %(most)s
) AS chosen
JOIN pgstac.items ON items.collection = %(collection)s AND items.id = chosen.id
ORDER BY hashtextextended(items.id, 0), items.id
"""

#: As pgstac's `collection_base_item`: of a number, or of what was never edited since.
_BASE_ITEMS = """
SELECT id, base_item FROM pgstac.base_items WHERE collection = %(collection)s
UNION ALL
SELECT NULL, coalesce(
    (SELECT base_item FROM pgstac.base_items WHERE collection = %(collection)s ORDER BY id LIMIT 1),
    (SELECT base_item FROM pgstac.collections WHERE id = %(collection)s)
)
"""


def sample_items(connection: Connection, collection: str) -> list[dict[str, Any]]:
    """At most `MOST_ITEMS` of a collection's items, as the API would give them but for geometry and names.

    The same ones each time, unless the collection changes; in an order that says nothing. To be called in a
    transaction.
    """
    return list(_sampled(connection, collection))


def base_items(connection: Connection, collection: str) -> Mapping[int | None, Any]:
    """What rows of the collection's items leave out, by the number that they carry; None is for those that carry none,
    and for any that is not there."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        return dict(cursor.execute(_BASE_ITEMS, {"collection": collection}).fetchall())


def _sampled(connection: Connection, collection: str) -> Iterator[dict[str, Any]]:
    bases = base_items(connection, collection)
    left = MOST_BYTES
    # On the server: the documents of hostile items do not all lie in memory at once.
    with connection.cursor("sampled_items", row_factory=tuple_row) as cursor:
        cursor.itersize = _AT_A_TIME
        cursor.execute(_SAMPLE, {"collection": collection, "largest": _LARGEST_STORED, "most": MOST_ITEMS})
        for (text,) in cursor:
            if len(text) > _LARGEST:
                continue
            left -= len(text)
            if left < 0:
                return
            document = orjson.loads(text)
            base = bases.get(document.pop("pgstac:base_item", None), bases[None])
            yield hydrate(base, document)
