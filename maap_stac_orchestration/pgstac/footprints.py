"""Where items lie, for pictures of them.

Here belongs reading boxes of items that are in pgstac. Not here: items themselves (`items`), extents of collections
(`extent`), and pictures.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from psycopg import Connection

#: West, south, east and north in degrees.
Box = tuple[float, float, float, float]

_SEARCH_PATH = "SELECT set_config('search_path', 'pgstac,public', true)"

# By the primary key of the collection's partition. What crosses the antimeridian has a part on either side of it.
_BOXES = """
SELECT ST_XMin(part.geom), ST_YMin(part.geom), ST_XMax(part.geom), ST_YMax(part.geom)
FROM pgstac.items AS item
CROSS JOIN LATERAL ST_Dump(item.geometry) AS part
WHERE item.collection = %s AND item.id = ANY(%s) AND NOT ST_IsEmpty(part.geom)
ORDER BY item.id, part.path
"""


def boxes(connection: Connection[Any], collection: str, ids: Collection[str]) -> list[Box]:
    """The boxes of the parts of these items' geometries; those of items that are not there are not."""
    if not ids:
        return []
    connection.execute(_SEARCH_PATH)
    return [(w, s, e, n) for w, s, e, n in connection.execute(_BOXES, (collection, list(ids)), prepare=False)]
