"""Collections: which there are, creating those that are missing, and keeping their extents true.

Here belongs all SQL about pgstac's collections. Not here: the words of a new one (`description`), the arithmetic of
extents (`extent`) and who may have one (`governance`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from maap_stac_orchestration.catalog.geometry import EDGE
from maap_stac_orchestration.pgstac.connection import Connection
from maap_stac_orchestration.pgstac.description import NewCollection, collection_document
from maap_stac_orchestration.pgstac.extent import bbox_stretches, extent, rfc3339
from maap_stac_orchestration.pgstac.items import lock_writers


@dataclass(frozen=True, slots=True)
class Creation:
    """What became of collections that were to be created, where they were not there already."""

    created: tuple[NewCollection, ...]
    #: Id -> the existing one that differs from it in upper and lower case only, and for which it was not created.
    taken: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What looking after a collection found."""

    collection: str
    items: int
    #: Whether anything was written.
    changed: bool
    #: The STAC extent as it is now; None where there is no such collection.
    extent: Mapping[str, Any] | None


#: pgstac has no index on lower(id); thousands of short ids are read in a few milliseconds.
_IDS_LIKE = "SELECT id FROM pgstac.collections WHERE lower(id) = ANY(%s)"

#: One session creates collections at a time: the check for ids that differ in case only and the insert belong together.
_LOCK_CREATION = "SELECT pg_advisory_xact_lock(hashtextextended('maap-stac collection creation', 0))"

_NOW = "SELECT clock_timestamp()"

_INSERT = """
INSERT INTO pgstac.collections (content) VALUES (%s)
ON CONFLICT (id) DO NOTHING
RETURNING id
"""

#: Refreshing twice at once must not end with the older sight of the items; loads, whose foreign keys need the row to
#: stay, are not held up by this lock.
_LOCK_COLLECTION = "SELECT content->'extent' FROM pgstac.collections WHERE id = %s FOR NO KEY UPDATE"

#: From the columns alone: the documents, which lie out of line, are not read. What is outside the world, or at no time
#: that a document can name, was written by somebody else past every check, and does not count: one such item, and the
#: extent would be of no use to anybody.
_OVERVIEW = """
SELECT count(*), min(datetime) FILTER (WHERE dated), max(end_datetime) FILTER (WHERE dated),
       min(west) FILTER (WHERE placed), min(south) FILTER (WHERE placed),
       max(east) FILTER (WHERE placed), max(north) FILTER (WHERE placed)
FROM (
    SELECT datetime, end_datetime, west, south, east, north,
           west >= -180 - %(edge)s AND east <= 180 + %(edge)s
               AND south >= -90 - %(edge)s AND north <= 90 + %(edge)s AS placed,
           datetime >= '0001-01-02T00:00:00Z' AND end_datetime < '9999-01-01T00:00:00Z' AS dated
    FROM (
        SELECT datetime, end_datetime, ST_XMin(geometry) AS west, ST_YMin(geometry) AS south,
               ST_XMax(geometry) AS east, ST_YMax(geometry) AS north
        FROM pgstac.items
        WHERE collection = %(collection)s
    ) AS item
) AS found
"""

#: The stretches of longitude in which there is something, joined where they overlap: a geometry that reaches both
#: ends of the map is taken apart first, since it was cut at the antimeridian.
_STRETCHES = """
WITH placed AS (
    SELECT geometry, ST_XMin(geometry) AS west, ST_XMax(geometry) AS east
    FROM pgstac.items
    WHERE collection = %(collection)s
        AND ST_XMin(geometry) >= -180 - %(edge)s AND ST_XMax(geometry) <= 180 + %(edge)s
        AND ST_YMin(geometry) >= -90 - %(edge)s AND ST_YMax(geometry) <= 90 + %(edge)s
), stretches AS (
    SELECT west, east FROM placed WHERE west > -180 OR east < 180
    UNION ALL
    SELECT ST_XMin(part.geom), ST_XMax(part.geom)
    FROM placed, ST_Dump(geometry) AS part
    WHERE west <= -180 AND east >= 180
), beginnings AS (
    SELECT west, east,
           west > max(east) OVER (ORDER BY west, east ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS begins
    FROM stretches
), numbered AS (
    SELECT west, east, count(*) FILTER (WHERE begins) OVER (ORDER BY west, east) AS number FROM beginnings
)
SELECT min(west), max(east) FROM numbered GROUP BY number ORDER BY 1
"""

#: Each with items of the collection; it has more than one only where a person divided it by time.
_PARTITIONS = "SELECT partition FROM pgstac.partition_stats WHERE collection = %s ORDER BY partition"

#: Reads the whole partition (0.2 s for 200,000 items), and locks readers out only where its time constraints are wider
#: than its items.
_UPDATE_STATISTICS = "SELECT pgstac.update_partition_stats(%s)"

_WRITE_EXTENT = """
UPDATE pgstac.collections
SET content = content || jsonb_build_object('extent', %(extent)s::jsonb, 'updated', %(updated)s::text)
WHERE id = %(collection)s
"""

#: pgstac's own names are not always qualified; the setting lasts for the transaction.
_SEARCH_PATH = "SELECT set_config('search_path', 'pgstac,public', true)"

_LOCK_DOCUMENT = "SELECT content FROM pgstac.collections WHERE id = %s FOR NO KEY UPDATE"

_WRITE_DOCUMENT = "UPDATE pgstac.collections SET content = %(document)s WHERE id = %(collection)s"

#: Rows of items refer to the collection's row, so nobody can write one as long as it is held like this.
_LOCK_ALONE = "SELECT 1 FROM pgstac.collections WHERE id = %s FOR UPDATE"

_ANY_ITEM = "SELECT 1 FROM pgstac.items WHERE collection = %s LIMIT 1"

_DELETE_COLLECTION = "SELECT pgstac.delete_collection(%s)"

#: Two at once would each have read the table of all items, and each wait for the other to let go of it.
_LOCK_DELETION = "SELECT pg_advisory_xact_lock(hashtextextended('maap-stac collection deletion', 0))"

_DOCUMENT = "SELECT content FROM pgstac.collections WHERE id = %s"

#: Of every form that an item was ever given out in; nothing else removes them when the items go with their partition.
_FORGET_FORMATTED = "DELETE FROM pgstac.format_item_cache WHERE collection = %s"

_COUNT = "SELECT count(*) FROM pgstac.items WHERE collection = %s"


def existing_ids(connection: Connection, ids: Iterable[str]) -> list[str]:
    """The ids, as they are spelled in the database, of all collections that equal one of these but for case."""
    wanted = sorted({id.lower() for id in ids if _storable(id)})
    if not wanted:
        return []
    return sorted(row[0] for row in connection.execute(_IDS_LIKE, (wanted,)))


def create_missing(connection: Connection, wanted: Sequence[NewCollection]) -> Creation:
    """Creates those collections that are not there yet.

    For a short transaction of its own, which the caller opens and commits: creating is done by one session at a time.
    What exists is never touched.
    """
    missing = {new.id: new for new in wanted}
    for id in existing_ids(connection, missing):
        missing.pop(id, None)
    if not missing:
        return Creation((), {})
    connection.execute(_LOCK_CREATION)
    there = {id.lower(): id for id in existing_ids(connection, missing)}
    now = database_time(connection)
    created = []
    taken = {}
    for id, new in sorted(missing.items()):
        other = there.setdefault(id.lower(), id)
        if other != id:
            taken[id] = other
        elif connection.execute(_INSERT, (Jsonb(collection_document(new, now)),)).fetchone():
            created.append(new)
    return Creation(tuple(created), taken)


def locked_document(connection: Connection, collection: str) -> dict[str, Any] | None:
    """A collection's document, which nobody else changes until this transaction ends; None where there is none.

    Whoever asks the ledger about the collection as well locks there first.
    """
    row = connection.execute(_LOCK_DOCUMENT, (collection,)).fetchone()
    return None if row is None else dict(row[0])


def write_document(connection: Connection, document: Mapping[str, Any]) -> None:
    """Writes the document of a collection that is there, in the caller's transaction.

    Raises:
        LookupError: there is no collection of the document's id.
    """
    connection.execute(_SEARCH_PATH)
    written = connection.execute(_WRITE_DOCUMENT, {"collection": document["id"], "document": Jsonb(dict(document))})
    if not written.rowcount:
        raise LookupError(f"There is no collection {document['id']} to describe.")


def read_document(connection: Connection, collection: str) -> dict[str, Any] | None:
    """A collection's document as it is stored, without the links that the API makes; None where there is none."""
    row = connection.execute(_DOCUMENT, (collection,)).fetchone() if _storable(collection) else None
    return None if row is None else dict(row[0])


def insert_document(connection: Connection, document: Mapping[str, Any]) -> str | None:
    """Creates a collection with this document, in the caller's transaction, which is the only one that creates any
    until it ends.

    Returns:
        None where it was created; else the id of the existing one that has the same id but for upper and lower case.
    """
    connection.execute(_SEARCH_PATH)
    connection.execute(_LOCK_CREATION)
    there = existing_ids(connection, [document["id"]])
    if there:
        return there[0]
    if connection.execute(_INSERT, (Jsonb(dict(document)),)).fetchone() is None:
        # Somebody who does not know our lock was faster.
        return str(document["id"])
    return None


def has_items(connection: Connection, collection: str) -> bool:
    """Whether there is an item in a collection."""
    return connection.execute(_ANY_ITEM, (collection,), prepare=False).fetchone() is not None


def count_items(connection: Connection, collection: str) -> int:
    """How many items a collection has; takes a second for millions."""
    row = connection.execute(_COUNT, (collection,), prepare=False).fetchone()
    assert row is not None
    return int(row[0])


def lock_deletion(connection: Connection) -> None:
    """Makes this transaction the only one that deletes collections with items, waiting for others to end.

    To be taken before `items.lock_writers`.
    """
    connection.execute(_LOCK_DELETION)


def delete_with_items(connection: Connection, collection: str) -> bool:
    """Deletes a collection with all its items; False where it is not there.

    The caller has taken `lock_deletion` and `items.lock_writers`, and its transaction should end soon: from here on it
    locks out all readers of items, since the collection's partition goes.
    """
    connection.execute(_SEARCH_PATH)
    if connection.execute(_LOCK_ALONE, (collection,)).fetchone() is None:
        return False
    connection.execute(_DELETE_COLLECTION, (collection,))
    connection.execute(_FORGET_FORMATTED, (collection,))
    return True


def delete_empty(connection: Connection, collection: str) -> bool:
    """Deletes a collection that has no items; False where it has some, or is not there.

    Whoever writes to it at that moment, this system or another, is waited for. Locks out all readers for as long as the
    caller's transaction lasts.
    """
    connection.execute(_SEARCH_PATH)
    if connection.execute(_LOCK_ALONE, (collection,)).fetchone() is None:
        return False
    if connection.execute(_ANY_ITEM, (collection,), prepare=False).fetchone() is not None:
        return False
    connection.execute(_DELETE_COLLECTION, (collection,))
    return True


def database_time(connection: Connection) -> str:
    """What the database's clock shows, RFC 3339: the time that goes into `created` and `updated`."""
    found = connection.execute(_NOW).fetchone()
    assert found is not None
    return rfc3339(found[0])


def extent_of(documents: Collection[Mapping[str, Any]]) -> dict[str, Any]:
    """The STAC extent of items that are about to be the first of their collection.

    Boxes are taken from `bbox`, which every checked item has; times that Python cannot read are left out, since the
    extent is computed anew by `refresh_collection` once the items are there.
    """
    stretches, souths, norths = [], [], []
    moments: list[datetime] = []
    for document in documents:
        if bbox := document.get("bbox"):
            parts, south, north = bbox_stretches(bbox)
            stretches += parts
            souths.append(south)
            norths.append(north)
        properties = document["properties"]
        for name in ("datetime", "start_datetime", "end_datetime"):
            if (moment := _moment(properties.get(name))) is not None:
                moments.append(moment)
    if not stretches or not moments:
        # Valid, true and provisional: somewhere, at some time.
        return {
            "spatial": {"bbox": [[-180.0, -90.0, 180.0, 90.0]]},
            "temporal": {"interval": [[None, None]]},
        }
    return extent(stretches, min(souths), max(norths), min(moments), max(moments))


def refresh_collection(connection: Connection, collection: str) -> Refreshed:
    """Makes a collection's extent what its items are; `updated` changes only where the extent does.

    Tells pgstac too between which times the items lie, which loads leave to this: no search depends on it, and at every
    load it would take longer than the load. Opens transactions of its own. The time it takes grows with the number of
    items (about 0.2 s for 100,000).
    """
    with connection.transaction():
        if has_items(connection, collection):
            _update_statistics(connection, collection)
    with connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
        cursor.execute("SELECT set_config('search_path', 'pgstac,public', true)")
        locked = cursor.execute(_LOCK_COLLECTION, (collection,)).fetchone()
        if locked is None:
            return Refreshed(collection, 0, False, None)
        # Never prepared: a plan for any collection would lock the partitions of all, and thousands exhaust the locks.
        wanted = {"collection": collection, "edge": EDGE}
        overview = cursor.execute(_OVERVIEW, wanted, prepare=False).fetchone()
        assert overview is not None
        count, start, end, west, south, east, north = overview
        if not count:
            # An empty collection keeps what it says of itself: there is nothing truer.
            return Refreshed(collection, 0, False, locked[0])
        if west is None or start is None:
            # None of its items can be believed.
            return Refreshed(collection, count, False, locked[0])
        stretches = [(west, east)]
        if west <= -180 and east >= 180:
            stretches = list(cursor.execute(_STRETCHES, wanted, prepare=False))
        found = extent(stretches, south, north, start, end)
        if found == locked[0]:
            return Refreshed(collection, count, False, found)
        cursor.execute(
            _WRITE_EXTENT,
            {"collection": collection, "extent": Jsonb(found), "updated": database_time(connection)},
        )
        return Refreshed(collection, count, True, found)


def _update_statistics(connection: Connection, collection: str) -> None:
    """What pgstac notes of the collection's partitions besides their names, and their time constraints with it."""
    # Nobody adds items meanwhile that the constraints would then be too narrow for.
    lock_writers(connection, [collection])
    connection.execute(_SEARCH_PATH)
    for (partition,) in connection.execute(_PARTITIONS, (collection,)).fetchall():
        connection.execute(_UPDATE_STATISTICS, (partition,))


def _storable(text: str) -> bool:
    """Whether a text column can hold it: no NUL, no half of a character. What it cannot hold is not there either."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _moment(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
