"""Where items lie, for pictures and maps of them.

Here belongs reading geometries and times of items that are in pgstac, in amounts that a page can carry. Not here: items
themselves (`items`), extents of collections (`extent`), and pictures.

A job can write a polygon of a million vertices, and a thousand of those. So a geometry is given with as many vertices
as asked for at most, and of all geometries together so many bytes are read; what lies beyond is given as its box, which
PostGIS keeps in front of each geometry.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg import Connection

#: Bytes of geometries, as they are stored, that are read for one picture. A plain footprint has 120.
READ_AT_MOST = 4 * 2**20

#: Vertices up to which simplifying, whose time may grow with their square, is tried. What has more gets its hull.
_SIMPLIFIED_AT_MOST = 20_000

_SEARCH_PATH = "SELECT set_config('search_path', 'pgstac,public', true)"

# By the primary key of the collection's partition.
_BY_ID = """
    SELECT item.id, item.datetime, item.end_datetime, item.geometry
    FROM pgstac.items AS item
    WHERE item.collection = %(collection)s AND item.id = ANY(%(ids)s)
"""

# By the index on times of the collection's partition.
_NEWEST = """
    SELECT item.id, item.datetime, item.end_datetime, item.geometry
    FROM pgstac.items AS item
    WHERE item.collection = %(collection)s AND item.datetime <= %(last)s AND item.end_datetime >= %(first)s
    ORDER BY item.datetime DESC, item.id
    LIMIT %(limit)s
"""

# Times are kept inside of what Python knows as years, whatever the time zone of the session.
# Shapes, in order: as it is, simplified to a five-hundredth of its size, its hull on a grid of 200 lines (one on either
# side of Greenwich where it was cut at the antimeridian), its box. ST_Simplify is PostGIS's own and takes invalid
# polygons too.
_SHAPES = """
SELECT chosen.id,
       least(greatest(chosen.datetime, '0001-01-02T00:00:00Z'), '9999-12-30T00:00:00Z'),
       least(greatest(chosen.end_datetime, '0001-01-02T00:00:00Z'), '9999-12-30T00:00:00Z'),
       ST_AsGeoJSON(shape.geometry, 6)
FROM (
    SELECT *, sum(pg_column_size(geometry)) OVER (ORDER BY datetime DESC, id) AS bytes FROM ({items}) AS found
) AS chosen
CROSS JOIN LATERAL (
    -- As box2d: for that alone PostGIS reads no more than the beginning.
    SELECT chosen.geometry::box2d::box3d AS bounds OFFSET 0
) AS around
CROSS JOIN LATERAL (
    SELECT greatest(ST_XMax(around.bounds) - ST_XMin(around.bounds),
                    ST_YMax(around.bounds) - ST_YMin(around.bounds)) AS size
    OFFSET 0
) AS box
CROSS JOIN LATERAL (
    SELECT CASE WHEN chosen.bytes <= %(bytes)s THEN ST_NPoints(chosen.geometry) END AS vertices OFFSET 0
) AS read
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN read.vertices <= %(vertices)s THEN ST_Force2D(chosen.geometry)
        WHEN read.vertices <= %(simplified)s THEN ST_Simplify(ST_Force2D(chosen.geometry), box.size / 500, true)
    END AS geometry
    OFFSET 0
) AS simple
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN read.vertices IS NULL THEN ST_SetSRID(around.bounds::geometry, 4326)
        WHEN ST_NPoints(simple.geometry) <= %(vertices)s THEN simple.geometry
        ELSE (
            SELECT ST_CollectionHomogenize(ST_Collect(side.hull)) FROM (
                SELECT ST_ConvexHull(ST_SnapToGrid(ST_Collect(ST_Points(part.geom)), box.size / 200)) AS hull
                FROM ST_Dump(ST_Force2D(chosen.geometry)) AS part
                GROUP BY box.size > 180 AND ST_XMin(part.geom) >= 0
            ) AS side
        )
    END AS geometry
    OFFSET 0
) AS shape
WHERE shape.geometry IS NOT NULL AND NOT ST_IsEmpty(shape.geometry)
ORDER BY chosen.datetime DESC, chosen.id
"""
_SHAPES_BY_ID = _SHAPES.replace("{items}", _BY_ID)
_NEWEST_SHAPES = _SHAPES.replace("{items}", _NEWEST)

# Counts no further than asked for.
_COUNT = """
SELECT count(*) FROM (
    SELECT 1 FROM pgstac.items
    WHERE collection = %(collection)s AND datetime <= %(last)s AND end_datetime >= %(first)s
    LIMIT %(limit)s
) AS counted
"""

# From one month to the one before it by the index on times, so that it takes a look for each month and not each item.
_MONTHS = """
WITH RECURSIVE month (start) AS (
    (SELECT date_trunc('month', greatest(datetime, '0001-01-02T00:00:00Z') AT TIME ZONE 'UTC')
     FROM pgstac.items WHERE collection = %(collection)s ORDER BY datetime DESC LIMIT 1)
    UNION ALL
    SELECT (SELECT date_trunc('month', greatest(datetime, '0001-01-02T00:00:00Z') AT TIME ZONE 'UTC')
            FROM pgstac.items
            WHERE collection = %(collection)s AND datetime < month.start AT TIME ZONE 'UTC'
            ORDER BY datetime DESC LIMIT 1)
    FROM month WHERE month.start > '0001-01-01'
)
SELECT start FROM month WHERE start IS NOT NULL AND start < '9999-12-01' LIMIT %(limit)s
"""

_ALWAYS = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))

#: First and last moment, UTC.
Interval = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Footprint:
    """Where an item lies, and when."""

    id: str
    #: The first and last moment of what it shows, UTC; the same for a moment.
    start: datetime
    end: datetime
    #: GeoJSON with two coordinates each, in degrees. What crosses the antimeridian has a part on either side of it.
    geometry: Mapping[str, Any]


def footprints_of(
    connection: Connection[Any], collection: str, ids: Collection[str], *, vertices: int = 500
) -> list[Footprint]:
    """The footprints of these items, newest first; those of items that are not there are not.

    Args:
        connection: the database.
        collection: where the items are.
        ids: theirs.
        vertices: of each footprint at most; it is given simpler than that where it has more.
    """
    storable = [id for id in ids if "\x00" not in id]
    if not storable or "\x00" in collection:
        return []
    return _read(connection, _SHAPES_BY_ID, {"collection": collection, "ids": storable, "vertices": vertices})


def newest_footprints(
    connection: Connection[Any], collection: str, *, limit: int, during: Interval | None = None, vertices: int = 100
) -> list[Footprint]:
    """The footprints of a collection's newest items, newest first.

    Args:
        connection: the database.
        collection: whose.
        limit: how many at most.
        during: only items that show something of this time.
        vertices: see `footprints_of`.
    """
    first, last = during or _ALWAYS
    asked = {"collection": collection, "first": first, "last": last, "limit": limit, "vertices": vertices}
    return _read(connection, _NEWEST_SHAPES, asked)


def count_up_to(connection: Connection[Any], collection: str, most: int, *, during: Interval | None = None) -> int:
    """How many items a collection has, no further than `most`: counting millions takes a second.

    Args:
        connection: the database.
        collection: whose.
        most: where counting ends.
        during: only items that show something of this time.
    """
    first, last = during or _ALWAYS
    asked = {"collection": collection, "first": first, "last": last, "limit": most}
    row = connection.execute(_COUNT, asked, prepare=False).fetchone()
    assert row is not None
    return int(row[0])


def months_of(connection: Connection[Any], collection: str, *, limit: int) -> list[datetime]:
    """The first moments (UTC) of months in which something begins that the collection's items show, newest first."""
    rows = connection.execute(_MONTHS, {"collection": collection, "limit": limit}, prepare=False)
    return [start.replace(tzinfo=UTC) for (start,) in rows]


def _read(connection: Connection[Any], query: str, asked: Mapping[str, object]) -> list[Footprint]:
    connection.execute(_SEARCH_PATH)
    bounds = {"bytes": READ_AT_MOST, "simplified": _SIMPLIFIED_AT_MOST}
    rows = connection.execute(query, {**asked, **bounds}, prepare=False)
    return [
        Footprint(id, start.astimezone(UTC), end.astimezone(UTC), json.loads(geometry))
        for id, start, end, geometry in rows
    ]
