"""Items into one collection, in bulk, inside the caller's transaction.

Here belongs writing items with pypgstac's Loader, finding the few that the database refuses among the many that it
takes, and counting back. Not here: which items are written (`pipeline.load`) and that their collection exists
(`collections`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import unwrap
from typing import Any

import orjson
import psycopg
from psycopg import errors
from pypgstac.load import Loader, Methods, Partition

from maap_stac_orchestration.pgstac.borrowed import Connection, loader

Document = Mapping[str, Any]
Row = dict[str, Any]


class ItemsLost(Exception):
    """Items that were loaded are not there afterwards; nothing of the transaction may be kept."""


class CollectionMissing(Exception):
    """Items were to be loaded into a collection that is not there (any more)."""


@dataclass(frozen=True, slots=True)
class Refused:
    """An item that the database does not take."""

    id: str
    #: Why, in a sentence.
    reason: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of a call of `load`."""

    #: The ids that are in the collection now, in the order given.
    ids: tuple[str, ...]
    refused: tuple[Refused, ...]


#: A namespace of its own, so that other users of advisory locks in this database are not waited for.
_LOCK_WRITER = "SELECT pg_advisory_xact_lock(hashtextextended('maap-stac collection writer ' || %s, 0))"

#: pgstac's own names are not always qualified; the setting lasts for the transaction.
_SEARCH_PATH = "SELECT set_config('search_path', 'pgstac,public', true)"

_EXISTS = "SELECT key FROM pgstac.collections WHERE id = %s"

_PRESENT = "SELECT id FROM pgstac.items WHERE collection = %s AND id = ANY(%s)"

#: Never prepare what must look into one partition only: a plan for every collection locks the partitions of all.
_OF_ONE_PARTITION = False

#: Ordered by the unique index of the one partition that the collection has.
_IDS_AFTER = """
SELECT id FROM pgstac.items WHERE collection = %(collection)s AND id > %(after)s ORDER BY id LIMIT %(limit)s
"""

_WHOLE = """
SELECT pgstac.content_hydrate(items)::text FROM pgstac.items WHERE collection = %s AND id = ANY(%s) ORDER BY id
"""

_DELETE = "DELETE FROM pgstac.items WHERE collection = %s AND id = ANY(%s)"

#: The spans of another collection's items; no row where it has none.
_CHECK_PARTITION_LIKE = """
SELECT pgstac.check_partition(
    %(collection)s,
    tstzrange(min(datetime), max(datetime), '[]'),
    tstzrange(min(end_datetime), max(end_datetime), '[]')
)
FROM pgstac.items
WHERE collection = %(other)s
HAVING count(*) > 0
"""

#: The database reads the times itself: Python's parser does not take all that PostgreSQL's takes.
_CHECK_PARTITION = """
SELECT pgstac.check_partition(
    %(collection)s,
    tstzrange(min(starts), max(starts), '[]'),
    tstzrange(min(ends), max(ends), '[]')
)
FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS t(starts, ends)
"""

#: Rows of a cache that the Loader goes past, since it writes partitions, whose triggers are on the parent.
_FORGET_FORMATTED = "DELETE FROM pgstac.format_item_cache WHERE collection = %s AND id = ANY(%s)"

#: Errors about the values in a row. What is about the server, its locks or its limits is not here, nor is a missing
#: collection or a constraint of a partition: those are nobody's item's fault.
_ABOUT_VALUES = (
    psycopg.DataError,
    errors.NotNullViolation,
    errors.UniqueViolation,
    errors.ProgramLimitExceeded,
    errors.RaiseException,
    # PostGIS raises its complaints about geometries as internal errors.
    errors.InternalError_,
)


def lock_writers(connection: Connection, collections: Iterable[str]) -> None:
    """Makes this transaction the one writer of each of these collections, waiting for others to end.

    Concurrent loads into one partition lose items without an error, so every writer takes this lock first. Locks are
    taken in sorted order, so that two transactions over the same collections do not wait for each other.
    """
    for collection in sorted(set(collections)):
        connection.execute(_LOCK_WRITER, (collection,))


def present(connection: Connection, collection: str, ids: Collection[str]) -> set[str]:
    """Which of these ids the collection holds."""
    if not ids:
        return set()
    found = connection.execute(_PRESENT, (collection, list(ids)), prepare=_OF_ONE_PARTITION)
    return {id for (id,) in found}


def ids_after(connection: Connection, collection: str, after: str, limit: int) -> list[str]:
    """The ids of a collection's items that come after one, in the database's order; the empty text is before all."""
    found = connection.execute(
        _IDS_AFTER, {"collection": collection, "after": after, "limit": limit}, prepare=_OF_ONE_PARTITION
    )
    return [id for (id,) in found]


def whole(connection: Connection, collection: str, ids: Collection[str]) -> list[dict[str, Any]]:
    """These items of a collection, as the API would give them without its links; those that are not there are not."""
    if not ids:
        return []
    connection.execute(_SEARCH_PATH)
    found = connection.execute(_WHOLE, (collection, list(ids)), prepare=_OF_ONE_PARTITION)
    return [orjson.loads(text) for (text,) in found]


def delete(connection: Connection, collection: str, ids: Collection[str]) -> int:
    """Deletes these items of a collection, and gives how many there were. The caller has taken `lock_writers`."""
    if not ids:
        return 0
    connection.execute(_SEARCH_PATH)
    return connection.execute(_DELETE, (collection, list(ids)), prepare=_OF_ONE_PARTITION).rowcount


def prepare_partition_like(connection: Connection, collection: str, other: str) -> None:
    """As `prepare_partition`, for all items of another collection."""
    connection.execute(_SEARCH_PATH)
    connection.execute(_CHECK_PARTITION_LIKE, {"collection": collection, "other": other}, prepare=_OF_ONE_PARTITION)


def prepare_partition(connection: Connection, collection: str, documents: Sequence[Document]) -> None:
    """Creates the collection's partition, or widens its time constraints, for items that are about to be loaded.

    It locks all readers out while it does so, hence it is meant for a short transaction before the load, which then
    finds nothing left to change. Times that the database cannot read are left to `load`, which says whose they are.
    """
    times = [span for document in documents if (span := _times(document)) is not None]
    if not times:
        return
    connection.execute(_SEARCH_PATH)
    try:
        with connection.transaction():
            _check_partition(connection, collection, times)
    except psycopg.DataError:
        return


def load(connection: Connection, collection: str, documents: Sequence[Document]) -> Loaded:
    """Writes items into one collection; an item that is there already is replaced.

    The caller has opened a transaction and taken `lock_writers`; the collection exists. Nothing is committed here. A
    batch that the database refuses is halved until those that it refuses stand alone; the others are written.

    Raises:
        ValueError: an id stands twice among the documents, or a document is of another collection.
        CollectionMissing: there is no such collection.
        ItemsLost: an item that was written is not there afterwards.
        psycopg.Error: the database failed for a reason that is not in an item.
    """
    ids = [document["id"] for document in documents]
    if len(set(ids)) != len(ids):
        raise ValueError(f"An id stands twice among the items for {collection}.")
    if any(document.get("collection") != collection for document in documents):
        raise ValueError(f"An item for {collection} names another collection.")
    if not documents:
        return Loaded((), ())
    connection.execute(_SEARCH_PATH)
    session = loader(connection)
    if connection.execute(_EXISTS, (collection,)).fetchone() is None:
        raise CollectionMissing(f"There is no collection {collection} to load into; was it deleted a moment ago?")
    try:
        rows, refused = _formatted(session, documents)
        refused += _write(connection, session, collection, rows)
    finally:
        # pypgstac's cache of collections outlives the Loader and would keep the connection with it.
        session.db.disconnect()
    bad = {one.id for one in refused}
    written = [id for id in ids if id not in bad]
    connection.execute(_FORGET_FORMATTED, (collection, written))
    lost = set(written) - present(connection, collection, written)
    if lost:
        raise ItemsLost(
            f"{len(lost)} of {len(written)} items are not in {collection} after loading, {min(lost)} among them."
        )
    return Loaded(tuple(written), tuple(refused))


def _formatted(session: Loader, documents: Sequence[Document]) -> tuple[list[Row], list[Refused]]:
    """The items as rows of pgstac, and those that cannot be one."""
    rows: list[Row] = []
    refused: list[Refused] = []
    for document in documents:
        try:
            row = session.format_item(dict(document))
        except psycopg.Error:
            raise
        # The Loader raises a bare Exception for an item it cannot format, and what its libraries raise besides.
        except Exception as error:  # noqa: BLE001
            refused.append(Refused(document["id"], f"It cannot be written: {_clipped(str(error))}."))
            continue
        if row["geometry"] is None:
            refused.append(Refused(document["id"], "It has no geometry, and pgstac keeps no item without one."))
        else:
            rows.append(row)
    return rows, refused


def _write(connection: Connection, session: Loader, collection: str, rows: list[Row]) -> list[Refused]:
    """Writes rows in one call; where that is refused, in two halves. Gives the rows that are refused alone."""
    if not rows:
        return []
    try:
        with connection.transaction():
            name = _check_partition(connection, collection, [(row["datetime"], row["end_datetime"]) for row in rows])
            _load_partition(session, name, collection, rows)
    except _ABOUT_VALUES as error:
        if len(rows) == 1:
            return [Refused(rows[0]["id"], _reason(error))]
    else:
        return []
    middle = len(rows) // 2
    return _write(connection, session, collection, rows[:middle]) + _write(
        connection, session, collection, rows[middle:]
    )


def _load_partition(session: Loader, name: str, collection: str, rows: list[Row]) -> None:
    """The Loader's upsert of rows, once: waiting and trying again is for who can let go of the locks meanwhile."""
    # The ranges are not read where no update is required.
    partition = Partition(name, collection, "", "", "", "", requires_update=False)
    once = unwrap(Loader.load_partition)
    once(session, partition, [dict(row) for row in rows], Methods.upsert)


def _check_partition(connection: Connection, collection: str, times: Sequence[tuple[str, str]]) -> str:
    found = connection.execute(
        _CHECK_PARTITION,
        {"collection": collection, "starts": [start for start, _ in times], "ends": [end for _, end in times]},
    ).fetchone()
    assert found is not None
    return str(found[0])


def _times(document: Document) -> tuple[str, str] | None:
    """Start and end as pgstac takes them from an item; None where it has none."""
    properties = document.get("properties") or {}
    start, end = properties.get("start_datetime"), properties.get("end_datetime")
    if isinstance(start, str) and isinstance(end, str):
        return start, end
    moment = properties.get("datetime")
    return (moment, moment) if isinstance(moment, str) else None


def _reason(error: psycopg.Error) -> str:
    """What the database has against an item, for a person."""
    said = error.diag.message_primary or str(error)
    if "NUL" in said or "\\u0000" in (error.diag.message_detail or ""):
        return "It contains a NUL character, which the database cannot keep."
    if isinstance(error, errors.DatetimeFieldOverflow | errors.InvalidDatetimeFormat):
        return f"The database cannot keep one of its times: {_clipped(said)}."
    if isinstance(error, errors.ProgramLimitExceeded):
        return f"Something in it is too long for the database: {_clipped(said)}."
    if isinstance(error, errors.InternalError_):
        return f"The database cannot keep its geometry: {_clipped(said)}."
    return f"The database said: {_clipped(said)}."


def _clipped(text: str, length: int = 300) -> str:
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= length else line[:length] + "…"
