"""Which collections there are, for people who look for one.

Here belongs finding collections by a part of their names, page by page. Not here: a collection's document and its
upkeep (`collections`), and the collection search of the STAC API, which finds by every word of a document.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import Connection

# Thousands of short texts, for which an index is not worth its upkeep; in the order of the primary key.
_LISTED = """
SELECT id, coalesce(content->>'title', '')
FROM pgstac.collections
WHERE id > %(after)s
  AND (strpos(lower(id), lower(%(text)s)) > 0 OR strpos(lower(content->>'title'), lower(%(text)s)) > 0)
ORDER BY id
LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class ListedCollection:
    """A collection as a list shows it."""

    id: str
    #: Empty where it has none.
    title: str


def list_collections(
    connection: Connection[Any], *, text: str = "", after: str = "", limit: int
) -> list[ListedCollection]:
    """Collections in order of their ids.

    Args:
        connection: the database.
        text: a part of the id or the title, in upper or lower case.
        after: only those whose id comes after this one.
        limit: how many at most.
    """
    rows = connection.execute(_LISTED, {"text": text, "after": after, "limit": limit}, prepare=False)
    return [ListedCollection(*row) for row in rows]
