"""Loading items, preparation included, against what COPY can do, and as the collection grows.

Here belong batches of documents as the pipeline hands them over, written by this project's way in transactions of its
own, beside COPY of rows that pypgstac prepared before the clock began, into the same partition with the same indexes.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import psycopg
from psycopg import sql
from pypgstac.load import Loader

from benchmarks.database import databases
from benchmarks.job_outputs import Outputs
from benchmarks.result import CannotMeasure, Result
from maap_stac_orchestration.pgstac.collections import create_missing
from maap_stac_orchestration.pgstac.description import NewCollection
from maap_stac_orchestration.pgstac.items import load_all, lock_writers, prepare_partition, unprepared

_ROUNDS = 5
_LARGE, _SMALL = 200_000, 1_000
#: Rows that the collections are filled with at once.
_FILL = 10_000
_BEGIN = datetime(2016, 1, 1, tzinfo=UTC)
#: Items begin and end within that time, at any second of it.
_SECONDS = 10 * 365 * 86400

Connection = psycopg.Connection[Any]
Document = dict[str, Any]


def vs_copy_1000() -> Result:
    """Batches of 1,000 items into a collection of 200,000."""
    return _vs_copy("load_vs_copy_1000", size=1000, batches=3)


def vs_copy_100() -> Result:
    """Batches of 100 items into a collection of 200,000."""
    return _vs_copy("load_vs_copy_100", size=100, batches=20)


def growth() -> Result:
    """The same batch into a collection of 200,000 items and into one of 1,000."""
    items = _Items()
    ratios = []
    with _database() as conn:
        large = _Place.filled(conn, "large", items, _LARGE)
        for number in range(-1, _ROUNDS):
            small = _Place.filled(conn, f"small-{number + 1}", items, _SMALL)
            took = _interleaved(
                number, {place.collection: (place, _ours, 1000, 3) for place in (large, small)}, conn, items
            )
            # The round before the first one warms both up.
            if number >= 0:
                ratios.append(took[large.collection] / took[small.collection])
                _tell(
                    "load_growth", f"{took[large.collection]:.3f} s into many, {took[small.collection]:.3f} s into few"
                )
    return Result(
        benchmark="load_growth",
        value=statistics.median(ratios),
        unit="times as long, less is better",
        must=1.5,
        aim=1.1,
        baseline=f"three batches of 1,000 items into a collection of {_SMALL:,}, against into one of {_LARGE:,}",
        rounds=ratios,
    )


def _vs_copy(name: str, *, size: int, batches: int) -> Result:
    items = _Items()
    ratios = []
    with _database() as conn:
        place = _Place.filled(conn, "large", items, _LARGE)
        for number in range(-1, _ROUNDS):
            ways = {way: (place, way, size, batches) for way in (_copy, _ours)}
            took = _interleaved(number, ways, conn, items)
            if number >= 0:
                ratios.append(took[_copy] / took[_ours])
                _tell(name, f"{took[_copy]:.3f} s COPY alone, {took[_ours]:.3f} s ours")
    return Result(
        benchmark=name,
        value=statistics.median(ratios),
        unit="of the speed of COPY, more is better",
        must=0.65,
        aim=0.8,
        baseline=(
            f"COPY of prepared rows in batches of {size:,} into the same partition of {_LARGE:,} rows with its indexes"
        ),
        rounds=ratios,
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """A collection with items."""

    collection: str
    table: sql.Identifier

    @classmethod
    def filled(cls, conn: Connection, collection: str, items: _Items, number: int) -> _Place:
        """A new one with so many items, which span all times that there will be."""
        extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
        new = NewCollection(collection, "benchmark", "mosaic", "v1", None, True, extent, {})
        with conn.transaction():
            create_missing(conn, [new])
        with conn.transaction():
            prepare_partition(conn, collection, [items.at(collection, 0), items.at(collection, _SECONDS)])
        key = conn.execute("SELECT key FROM pgstac.collections WHERE id = %s", (collection,)).fetchone()
        assert key is not None
        place = cls(collection, sql.Identifier("pgstac", f"_items_{key[0]}"))
        for begin in range(0, number, _FILL):
            with conn.transaction():
                _copy(conn, place, items.some(collection, min(_FILL, number - begin)))()
        conn.commit()
        conn.autocommit = True
        conn.execute(sql.SQL("VACUUM (ANALYZE) {}").format(place.table))
        conn.autocommit = False
        return place


class _Items:
    """Documents of items, each of an id, a time and a place of its own, some of them as before."""

    def __init__(self) -> None:
        files = Outputs(jobs=1).fill()
        found = (json.loads(data) for name, data in files if name.endswith(".json"))
        self._model: Document = next(one for one in found if one.get("type") == "Feature")
        self._numbers = itertools.count()

    def some(self, collection: str, number: int) -> list[Document]:
        """New ones."""
        # A step without a common divisor with the time visits its seconds in another order than the ids'.
        return [
            self._item(collection, one, one * 7_654_321 % _SECONDS) for one in itertools.islice(self._numbers, number)
        ]

    def at(self, collection: str, second: int) -> Document:
        """One at a time."""
        return self._item(collection, 0, second)

    def _item(self, collection: str, number: int, second: int) -> Document:
        moment = f"{_BEGIN + timedelta(seconds=second):%Y-%m-%dT%H:%M:%SZ}"
        west, south = number * 37 % 3500 / 10 - 180, number * 61 % 1700 / 10 - 90
        ring = [[west, south], [west + 2.5, south], [west + 2.5, south + 2.5], [west, south + 2.5], [west, south]]
        times = {"datetime": moment, "start_datetime": moment, "end_datetime": moment}
        return self._model | {
            "id": f"item-{number:09}",
            "collection": collection,
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "bbox": [west, south, west + 2.5, south + 2.5],
            "properties": self._model["properties"] | times,
        }


#: What is measured of a way to write documents to a place, all preparation done that does not count.
Way = Callable[[Connection, _Place, Sequence[Document]], Callable[[], None]]


def _copy(conn: Connection, place: _Place, documents: Sequence[Document]) -> Callable[[], None]:
    """COPY of rows that pypgstac made."""
    loader = Loader(_Prepared(conn))  # type: ignore[arg-type]  # all that it asks of a database object
    Loader.collection_json.cache_clear()
    rows = [loader.format_item(document) for document in documents]
    columns = ("id", "collection", "datetime", "end_datetime", "geometry", "content", "private")
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(place.table, sql.SQL(", ").join(map(sql.Identifier, columns)))
    lines = [tuple(row[column] for column in columns) for row in rows]

    def write() -> None:
        with conn.transaction(), conn.cursor() as cursor, cursor.copy(statement) as copy:
            for line in lines:
                copy.write_row(line)

    return write


class _Prepared:
    """What the Loader looks up, from a connection that is there."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def query_one(self, query: str, arguments: Sequence[Any]) -> Any:
        self._conn.execute("SET LOCAL search_path = pgstac, public")
        return self._conn.execute(query, arguments).fetchone()


def _ours(conn: Connection, place: _Place, documents: Sequence[Document]) -> Callable[[], None]:
    """As the pipeline does: a look at the partition, the one writer's lock, and the load."""
    wanted = {place.collection: documents}

    def write() -> None:
        with conn.transaction():
            if unprepared(conn, wanted):
                raise CannotMeasure("The partition does not hold the times of the batch.")
        with conn.transaction():
            lock_writers(conn, wanted)
            # The pipeline knows from its ledger which ids may be there.
            load_all(conn, wanted, {place.collection: ()})

    return write


Key = TypeVar("Key", bound=Hashable)


def _interleaved(
    number: int, ways: Mapping[Key, tuple[_Place, Way, int, int]], conn: Connection, items: _Items
) -> dict[Key, float]:
    """Seconds that each way takes for its batches, one of each after the other, and each round the other one first.

    Args:
        number: of the round.
        ways: where, how, items in a batch, and batches; the number of batches is the same.
        conn: the connection that all use.
        items: where the items come from.

    Raises:
        CannotMeasure: not all items are there afterwards.
    """
    took = dict.fromkeys(ways, 0.0)
    for batch in range(next(iter(ways.values()))[3]):
        for key in sorted(ways, key=list(ways).index, reverse=bool((number + batch) % 2)):
            place, way, size, _ = ways[key]
            before = _count(conn, place)
            write = way(conn, place, items.some(place.collection, size))
            conn.commit()
            began = time.perf_counter()
            write()
            took[key] += time.perf_counter() - began
            if (found := _count(conn, place) - before) != size:
                raise CannotMeasure(f"{found} of {size} items are in {place.collection} after loading.")
    return took


def _count(conn: Connection, place: _Place) -> int:
    row = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(place.table)).fetchone()
    assert row is not None
    return int(row[0])


def _tell(name: str, what: str) -> None:
    print(f"{name}: {what}", file=sys.stderr)


@contextmanager
def _database() -> Iterator[Connection]:
    with databases() as places, places.fresh() as conninfo, psycopg.connect(conninfo) as conn:
        yield conn
