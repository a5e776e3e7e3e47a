"""Items into collections, in bulk, inside the caller's transaction.

Here belongs writing items with COPY, finding the few that the database refuses among the many that it takes, and
counting back. Not here: what a row looks like (`rows`), which items are written (`pipeline.write`) and that their
collection exists (`collections`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import orjson
import psycopg
from psycopg import errors, sql

from maap_stac_orchestration.pgstac.connection import Connection, PgstacMissing, check_version
from maap_stac_orchestration.pgstac.rows import COLUMNS, BaseItem, NoRow, Row, row_of

Document = Mapping[str, Any]


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
#: Taken in the order of the array.
_LOCK_WRITERS = """
SELECT pg_advisory_xact_lock(hashtextextended('maap-stac collection writer ' || wanted.id, 0))
FROM unnest(%s::text[]) AS wanted (id)
"""

_TRY_LOCK_WRITERS = """
SELECT bool_and(pg_try_advisory_xact_lock(hashtextextended('maap-stac collection writer ' || wanted.id, 0)))
FROM unnest(%s::text[]) AS wanted (id)
"""

#: pgstac's own names are not always qualified; the setting lasts for the transaction.
_SEARCH_PATH = "SELECT set_config('search_path', 'pgstac,public', true)"

_PRESENT = "SELECT id FROM pgstac.items WHERE collection = %s AND id = ANY(%s)"

#: Planned for these collections alone, so that no other partition is locked. An id that was asked of another one of
#: them may come along.
_PRESENT_IN = """
SELECT collection, id FROM pgstac.items WHERE collection = ANY(%(collections)s::text[]) AND id = ANY(%(ids)s::text[])
"""

#: The same of what was just written, whose rows in a cache go: its triggers are on the parent, and partitions are
#: written here.
_COUNT_BACK = """
WITH forgotten AS (
    DELETE FROM pgstac.format_item_cache
    WHERE collection = ANY(%(collections)s::text[]) AND id = ANY(%(ids)s::text[])
)
SELECT collection, id FROM pgstac.items WHERE collection = ANY(%(collections)s::text[]) AND id = ANY(%(ids)s::text[])
"""

#: The partitions whose time constraints hold spans already; what check_partition would give, without changing anything.
_HOLDING = """
SELECT wanted.collection, known.partition
FROM unnest(
    %(collections)s::text[], %(first_starts)s::timestamptz[], %(last_starts)s::timestamptz[],
    %(first_ends)s::timestamptz[], %(last_ends)s::timestamptz[]
) AS wanted (collection, first_start, last_start, first_end, last_end)
JOIN pgstac.partition_stats AS known
    ON known.collection = wanted.collection
    AND known.partition_dtrange @> tstzrange(wanted.first_start, wanted.last_start, '[]')
CROSS JOIN LATERAL pgstac.partition_catalog_meta(known.partition) AS found
WHERE found.constraint_dtrange @> tstzrange(wanted.first_start, wanted.last_start, '[]')
    AND found.constraint_edtrange @> tstzrange(wanted.first_end, wanted.last_end, '[]')
"""

#: The partitions for spans, whether or not their constraints hold them by now: COPY says so at once, and asking costs
#: more than many a batch.
_MEANT = """
SELECT wanted.collection, known.partition
FROM unnest(%(collections)s::text[], %(first_starts)s::timestamptz[], %(last_starts)s::timestamptz[])
    AS wanted (collection, first_start, last_start)
JOIN pgstac.partition_stats AS known
    ON known.collection = wanted.collection
    AND known.partition_dtrange @> tstzrange(wanted.first_start, wanted.last_start, '[]')
"""

#: What is to be known of collections to write to them: their base items, and their partitions, if there are some. The
#: base item is the first edition, which pgstac takes for rows that name none: mostly that of a collection which said
#: nothing of its items' assets yet. With what upkeep tells of them later, making rows takes four times as long, and
#: giving items out fifteen times, since SQL merges the two member by member (measured on items of three bands).
_TARGETS = f"""
SELECT collection.id, coalesce(first.base_item, collection.base_item), held.partition, pgstac.get_version()
FROM pgstac.collections AS collection
LEFT JOIN LATERAL (
    SELECT edition.base_item FROM pgstac.base_items AS edition
    WHERE edition.collection = collection.id ORDER BY edition.id LIMIT 1
) AS first ON true
LEFT JOIN ({_MEANT}) AS held ON held.collection = collection.id
WHERE collection.id = ANY(%(ids)s::text[])
"""  # noqa: S608  # a constant in a constant

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

_COPY = "COPY {table} ({columns}) FROM STDIN (FORMAT text, ENCODING 'UTF8')"

#: As pypgstac's upsert: a row that is there as it comes stays as it is.
_STAGE = """
DROP TABLE IF EXISTS pg_temp.maap_stac_staging;
CREATE TEMPORARY TABLE maap_stac_staging (LIKE pgstac.items) ON COMMIT DROP;
"""
_LOCK_PARTITION = "LOCK TABLE ONLY {table} IN EXCLUSIVE MODE"
_UPSERT = """
INSERT INTO {table} AS known ({columns})
SELECT {columns} FROM maap_stac_staging
ON CONFLICT (id) DO UPDATE SET
    collection = excluded.collection,
    datetime = excluded.datetime,
    end_datetime = excluded.end_datetime,
    geometry = excluded.geometry,
    content = excluded.content,
    private = excluded.private
WHERE known IS DISTINCT FROM excluded
"""

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
    connection.execute(_LOCK_WRITERS, (sorted(set(collections)),))


def try_lock_writers(connection: Connection, collections: Iterable[str]) -> bool:
    """As `lock_writers`, but waits for nobody; False where another one has one of them. What was locked by then stays
    locked until the transaction ends."""
    found = connection.execute(_TRY_LOCK_WRITERS, (sorted(set(collections)),)).fetchone()
    # No collection at all is nobody's.
    return found is None or found[0] is not False


def present(connection: Connection, collection: str, ids: Collection[str]) -> set[str]:
    """Which of these ids the collection holds."""
    if not ids:
        return set()
    found = connection.execute(_PRESENT, (collection, list(ids)), prepare=_OF_ONE_PARTITION)
    return {id for (id,) in found}


def present_in(connection: Connection, wanted: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
    """Collection -> which of the ids it holds that are asked of it; empty for those without a partition too."""
    return _found_in(connection, _PRESENT_IN, wanted)


def _found_in(connection: Connection, question: str, wanted: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
    there: dict[str, set[str]] = {collection: set() for collection in wanted}
    asked = {collection: ids for collection, ids in wanted.items() if ids}
    if asked:
        ids = {id for some in asked.values() for id in some}
        parameters = {"collections": _array(asked), "ids": _array(ids)}
        for collection, id in connection.execute(question, parameters, prepare=_OF_ONE_PARTITION):
            there[collection].add(id)
    if len(asked) == 1:
        return there
    return {collection: ids.intersection(wanted[collection]) for collection, ids in there.items()}


def _array(texts: Iterable[str]) -> str:
    """An array as PostgreSQL writes it; of a thousand texts psycopg makes one as slowly as they are looked up."""
    if not (texts := list(texts)):
        return "{}"
    inner = '","'.join(texts)
    if "\\" in inner or inner.count('"') != 2 * (len(texts) - 1):
        inner = '","'.join(text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return f'{{"{inner}"}}'


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
    finds nothing left to change. What the database does not take is left to `load`, which says whose it is.
    """
    times = [span for document in documents if (span := _times(document)) is not None]
    if not times:
        return
    connection.execute(_SEARCH_PATH)
    try:
        with connection.transaction():
            _check_partition(connection, collection, times)
    except (psycopg.DataError, errors.RaiseException):
        # The second one where a person divided the collection by time, and the items are of several parts.
        return


def unprepared(connection: Connection, wanted: Mapping[str, Sequence[Document]]) -> list[str]:
    """Those of the collections, sorted, for whose items `prepare_partition` has something to do; changes nothing."""
    connection.execute(_SEARCH_PATH)
    holding = _holding(connection, wanted)
    return sorted(collection for collection, documents in wanted.items() if documents and collection not in holding)


def load(connection: Connection, collection: str, documents: Sequence[Document]) -> Loaded:
    """As `load_all`, into one collection."""
    return load_all(connection, {collection: documents})[collection]


def load_all(
    connection: Connection,
    wanted: Mapping[str, Sequence[Document]],
    there: Mapping[str, Collection[str]] | None = None,
) -> dict[str, Loaded]:
    """Writes items into collections; an item that is there already is replaced.

    The caller has opened a transaction and taken `lock_writers`; the collections exist. Nothing is committed here.
    Where the database refuses something, a collection's batch is halved until those that it refuses stand alone; the
    others are written. Searches find them once they are committed; between which times they lie is told to pgstac by
    `collections.refresh_collection`.

    Args:
        connection: that transaction's connection.
        wanted: collection id -> items.
        there: collection id -> ids of these items that it holds, where the caller asked `present_in` already; what is
            not as it says costs time only.

    Raises:
        ValueError: an id stands twice among the documents of a collection, or one is of another collection.
        CollectionMissing: there is no such collection.
        ItemsLost: an item that was written is not there afterwards.
        PgstacMissing: there is no pgstac of our version.
        psycopg.Error: the database failed for a reason that is not in an item.
    """
    for collection, documents in wanted.items():
        if len({document["id"] for document in documents}) != len(documents):
            raise ValueError(f"An id stands twice among the items for {collection}.")
        if any(document.get("collection") != collection for document in documents):
            raise ValueError(f"An item for {collection} names another collection.")
    done = {collection: Loaded((), ()) for collection in wanted}
    wanted = {collection: documents for collection, documents in wanted.items() if documents}
    if not wanted:
        return done
    connection.execute(_SEARCH_PATH)
    targets = _targets(connection, wanted)
    if there is None:
        # Of rows, since not every id is one that the database can be asked about.
        there = present_in(
            connection, {id: [row.id for row in _rows(some, targets[id].base, [])] for id, some in wanted.items()}
        )
    refused: dict[str, list[Refused]] = {collection: [] for collection in wanted}
    try:
        with connection.transaction():
            for collection, target in sorted(targets.items()):
                rows = _rows(wanted[collection], target.base, refused[collection])
                _write(connection, collection, rows, there[collection], target.partition)
    except (*_ABOUT_VALUES, errors.CheckViolation):
        # The last one where the partition was not prepared, or somebody narrowed its times a moment ago.
        for collection, target in sorted(targets.items()):
            refused[collection] = []
            every = list(_rows(wanted[collection], target.base, refused[collection]))
            refused[collection] += _write_halving(connection, collection, every)
    for collection, documents in wanted.items():
        bad = {one.id for one in refused[collection]}
        ids = tuple(document["id"] for document in documents if document["id"] not in bad)
        done[collection] = Loaded(ids, tuple(refused[collection]))
    found = _found_in(connection, _COUNT_BACK, {collection: loaded.ids for collection, loaded in done.items()})
    for collection, loaded in done.items():
        if lost := set(loaded.ids) - found[collection]:
            raise ItemsLost(
                f"{len(lost)} of {len(loaded.ids)} items are not in {collection} after loading, {min(lost)} among them."
            )
    return done


@dataclass(frozen=True, slots=True)
class _Target:
    """A collection that is written to."""

    base: BaseItem
    #: None where it has to be made for what comes.
    partition: str | None


def _targets(connection: Connection, wanted: Mapping[str, Sequence[Document]]) -> dict[str, _Target]:
    try:
        found = connection.execute(_TARGETS, {"ids": _array(wanted), **_spans(wanted)}).fetchall()
    except (errors.InvalidSchemaName, errors.UndefinedTable, errors.UndefinedFunction) as error:
        raise PgstacMissing("The database has no pgstac schema. Run `maap-stac migrate`.") from error
    for *_, version in found[:1]:
        check_version(version)
    targets = {id: _Target(BaseItem(document, None), partition) for id, document, partition, _ in found}
    for collection in sorted(wanted):
        if collection not in targets:
            raise CollectionMissing(f"There is no collection {collection} to load into; was it deleted a moment ago?")
    return targets


def _holding(connection: Connection, wanted: Mapping[str, Sequence[Document]]) -> dict[str, str]:
    """Collection -> its partition, where that takes all of the items as it is."""
    return {collection: str(partition) for collection, partition in connection.execute(_HOLDING, _spans(wanted))}


def _spans(wanted: Mapping[str, Sequence[Document]]) -> dict[str, str]:
    """From when to when the items of each collection reach, as the statements take it; without those of which only the
    database can tell."""
    spans = {collection: span for collection, documents in wanted.items() if (span := _span(documents)) is not None}
    return {
        "collections": _array(spans),
        "first_starts": _array(span.first_start.isoformat() for span in spans.values()),
        "last_starts": _array(span.last_start.isoformat() for span in spans.values()),
        "first_ends": _array(span.first_end.isoformat() for span in spans.values()),
        "last_ends": _array(span.last_end.isoformat() for span in spans.values()),
    }


def _rows(documents: Iterable[Document], base: BaseItem, refused: list[Refused]) -> Iterator[Row]:
    """The items as rows of pgstac, one by one; those that cannot be one are added to `refused`."""
    for document in documents:
        try:
            row = row_of(document, base)
        except NoRow as error:
            refused.append(Refused(document["id"], f"{_clipped(str(error))}."))
        else:
            yield row


def _write_halving(connection: Connection, collection: str, rows: Sequence[Row]) -> list[Refused]:
    """Writes rows at once; where that is refused, in two halves. Gives the rows that are refused alone."""
    if not rows:
        return []
    try:
        with connection.transaction():
            # What is there may be other than it was said to be: all of them go through the staging table.
            _write(connection, collection, rows, {row.id for row in rows}, None)
    except _ABOUT_VALUES as error:
        if len(rows) == 1:
            return [Refused(rows[0].id, _reason(error))]
    else:
        return []
    middle = len(rows) // 2
    return _write_halving(connection, collection, rows[:middle]) + _write_halving(connection, collection, rows[middle:])


def _write(
    connection: Connection, collection: str, rows: Iterable[Row], there: Collection[str], partition: str | None
) -> None:
    """Writes rows into the collection's partition: those that are new straight, the others by way of a temporary table.

    Straight is as fast as it gets. Where one of them is there after all, the database refuses all of them.
    """
    if partition is None:
        rows = list(rows)
        if not rows:
            return
        partition = _check_partition(connection, collection, [(row.datetime, row.end_datetime) for row in rows])
    table = sql.Identifier("pgstac", partition)
    if not there:
        _copy(connection, table, rows)
        return
    rows = list(rows)
    _copy(connection, table, [row for row in rows if row.id not in there])
    old = [row for row in rows if row.id in there]
    if old:
        connection.execute(_STAGE)
        _copy(connection, sql.Identifier("pg_temp", "maap_stac_staging"), old)
        connection.execute(sql.SQL(_LOCK_PARTITION).format(table=table))
        connection.execute(sql.SQL(_UPSERT).format(table=table, columns=_COLUMNS))


#: Rows that are made before the database gets them: while it writes them, the next are made. With fewer, two processes
#: take turns more often than that gains.
_AT_ONCE = 250

_COLUMNS = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))


def _copy(connection: Connection, table: sql.Identifier, rows: Iterable[Row]) -> None:
    """Rows are made while the database writes those before."""
    coming = iter(rows)
    if not (some := list(islice(coming, _AT_ONCE))):
        return
    with connection.cursor() as cursor, cursor.copy(sql.SQL(_COPY).format(table=table, columns=_COLUMNS)) as copy:
        while some:
            copy.write(b"".join([row.line() for row in some]))
            some = list(islice(coming, _AT_ONCE))


def _check_partition(connection: Connection, collection: str, times: Sequence[tuple[str, str]]) -> str:
    found = connection.execute(
        _CHECK_PARTITION,
        {"collection": collection, "starts": [start for start, _ in times], "ends": [end for _, end in times]},
    ).fetchone()
    assert found is not None
    return str(found[0])


@dataclass(frozen=True, slots=True)
class _Span:
    """From when to when items reach."""

    first_start: datetime
    last_start: datetime
    first_end: datetime
    last_end: datetime


#: Times that Python and the database read alike: no leap seconds, no finer fractions, no offsets beyond the database's.
_PLAIN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-](0\d|1[0-4]):[0-5]\d)", re.ASCII)


def _span(documents: Sequence[Document]) -> _Span | None:
    """None where there are no times, or only the database can tell what one of them is."""
    times = [span for document in documents if (span := _times(document)) is not None]
    starts = _first_and_last({start for start, _ in times})
    ends = _first_and_last({end for _, end in times})
    return None if starts is None or ends is None else _Span(*starts, *ends)


def _first_and_last(texts: set[str]) -> tuple[datetime, datetime] | None:
    if not texts:
        return None
    if all(len(text) == _IN_ORDER and text[-1] == "Z" for text in texts):
        # Texts of that shape sort as what they mean; what is no time among them the database finds when it reads it.
        texts = {min(texts), max(texts)}
    moments = [_moment(text) for text in texts]
    plain = [moment for moment in moments if moment is not None]
    return (min(plain), max(plain)) if len(plain) == len(moments) else None


#: The length of times in UTC without fractions of a second.
_IN_ORDER = len("2024-06-01T00:00:00Z")


def _moment(text: str) -> datetime | None:
    if _PLAIN.fullmatch(text) is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


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
