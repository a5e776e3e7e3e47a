"""Loading items in bulk into a real pgstac."""

from __future__ import annotations

import hashlib
import threading
import time
from typing import Any

import psycopg
import pytest

from maap_stac_orchestration.pgstac.collections import create_missing
from maap_stac_orchestration.pgstac.connection import PgstacMissing
from maap_stac_orchestration.pgstac.items import (
    CollectionMissing,
    load,
    load_all,
    lock_writers,
    prepare_partition,
    present,
    present_in,
    try_lock_writers,
    unprepared,
)
from tests.integration.pgstac.stac import item, new_collection

Connection = psycopg.Connection[Any]


@pytest.fixture(autouse=True)
def things(connection: Connection) -> None:
    create_missing(connection, [new_collection("things")])
    connection.commit()


def stored(connection: Connection, collection: str = "things") -> dict[str, Any]:
    rows = connection.execute(
        "SELECT pgstac.get_item(id, collection) FROM pgstac.items WHERE collection = %s", (collection,)
    )
    return {row[0]["id"]: row[0] for row in rows}


def test_items_are_written_as_they_are(connection: Connection) -> None:
    documents = [item("a"), item("b", west=20.0, datetime="2020-01-01T00:00:00Z")]
    assert load(connection, "things", documents).ids == ("a", "b")
    connection.commit()
    assert stored(connection) == {one["id"]: one for one in documents}


def test_nothing_is_committed(connection: Connection) -> None:
    load(connection, "things", [item("a")])
    connection.rollback()
    assert stored(connection) == {}


def test_an_item_that_is_there_is_replaced_even_when_its_time_moves(connection: Connection) -> None:
    load(connection, "things", [item("a")])
    connection.commit()
    load(connection, "things", [item("a", datetime="1999-01-01T00:00:00+05:00")])
    connection.commit()
    assert stored(connection)["a"]["properties"]["datetime"] == "1999-01-01T00:00:00+05:00"
    assert connection.execute("SELECT count(*) FROM pgstac.items").fetchone() == (1,)


def test_an_item_written_again_unchanged_leaves_its_row_alone(connection: Connection) -> None:
    load(connection, "things", [item("a")])
    connection.commit()
    before = connection.execute("SELECT xmin, ctid FROM pgstac.items").fetchone()
    load(connection, "things", [item("a")])
    connection.commit()
    assert connection.execute("SELECT xmin, ctid FROM pgstac.items").fetchone() == before


#: Longer than an index takes, and nothing that could be compressed.
LONG = "".join(hashlib.sha256(bytes([number])).hexdigest() for number in range(150))

BAD: dict[str, dict[str, Any]] = {
    "nul": {"properties": {"datetime": "2024-06-01T00:00:00Z", "title": "a\0b"}},
    "no geometry": {"geometry": None},
    "no time": {"properties": {"datetime": None}},
    "no such time": {"properties": {"datetime": "yesterday evening"}},
    "backwards": {
        "properties": {
            "datetime": None,
            "start_datetime": "2024-02-01T00:00:00Z",
            "end_datetime": "2024-01-01T00:00:00Z",
        }
    },
    "backwards as the database sees it": {
        "properties": {
            "datetime": None,
            "start_datetime": "2024-02-01T00:00:60Z",
            "end_datetime": "2024-02-01T00:00:00Z",
        }
    },
    "far future": {"properties": {"datetime": "2024-13-01T00:00:00Z"}},
    "half a geometry": {"geometry": {"type": "Polygon"}},
    "half a character": {"properties": {"datetime": "2024-06-01T00:00:00Z", "title": "\ud800"}},
    LONG: {},
}


def test_a_batch_with_bad_items_loses_exactly_these(connection: Connection) -> None:
    good = [item(f"good-{number}") for number in range(40)]
    bad = [item(name, **changes) for name, changes in BAD.items()]
    # Spread, so that halving has to go different ways.
    documents = [one for index, one in enumerate(good) for one in ([one, bad[index // 4]] if index % 4 == 0 else [one])]
    result = load(connection, "things", documents)
    connection.commit()
    assert {refused.id for refused in result.refused} == set(BAD) - {"backwards as the database sees it"}
    assert set(stored(connection)) == {one["id"] for one in good} | {"backwards as the database sees it"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nul", "NUL"),
        ("no geometry", "no geometry"),
        ("no such time", "yesterday evening"),
        (LONG, "too long"),
    ],
)
def test_a_refusal_says_why(connection: Connection, name: str, words: str) -> None:
    (refused,) = load(connection, "things", [item(name, **BAD[name])]).refused
    assert words in refused.reason
    assert refused.reason.endswith(".")


def test_a_batch_of_bad_items_only_writes_nothing_and_leaves_the_transaction_usable(connection: Connection) -> None:
    result = load(connection, "things", [item("a", geometry=None), item("nul", **BAD["nul"])])
    assert (result.ids, len(result.refused)) == ((), 2)
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_missing_collection_is_not_the_items_fault(connection: Connection) -> None:
    with pytest.raises(CollectionMissing, match="nowhere"):
        load(connection, "nowhere", [item("a", "nowhere"), item("b", "nowhere")])


def test_an_id_twice_is_a_mistake_of_the_caller(connection: Connection) -> None:
    with pytest.raises(ValueError, match="twice"):
        load(connection, "things", [item("a"), item("a")])


def test_present_tells_what_is_there(connection: Connection) -> None:
    load(connection, "things", [item("a"), item("b")])
    assert present(connection, "things", ["b", "c"]) == {"b"}
    assert present(connection, "other", ["b"]) == set()


def test_items_of_many_collections_are_written_at_once_and_only_the_bad_ones_refused(connection: Connection) -> None:
    others = ["more", "most"]
    create_missing(connection, [new_collection(id) for id in others])
    bad = {"more": item("nul", "more", **BAD["nul"])}
    wanted = {id: [item("a", id), *([bad[id]] if id in bad else []), item(f"b-{id}", id)] for id in ["things", *others]}
    done = load_all(connection, wanted)
    connection.commit()
    assert {id: loaded.ids for id, loaded in done.items()} == {id: ("a", f"b-{id}") for id in wanted}
    assert {id: [one.id for one in loaded.refused] for id, loaded in done.items()} == {
        "things": [],
        "more": ["nul"],
        "most": [],
    }
    asked = {"things": ["a", "b-more"], "more": ["b-more", "nul"], "most": [], "other": ["a"]}
    assert present_in(connection, asked) == {"things": {"a"}, "more": {"b-more"}, "most": set(), "other": set()}


def test_an_item_that_somebody_else_wrote_is_replaced_whatever_the_caller_knows(connection: Connection) -> None:
    load(connection, "things", [item("a")])
    connection.commit()
    new = item("a", properties={"datetime": "2024-06-01T00:00:00Z", "title": "new"})
    done = load_all(connection, {"things": [item("b"), new]}, {"things": ()})
    connection.commit()
    assert (done["things"].ids, done["things"].refused) == (("b", "a"), ())
    assert stored(connection)["a"]["properties"]["title"] == "new"


@pytest.mark.parametrize("id", ["a\\b", "a\tb", "a\nb", "a\rb", '"', "{a,b}", "\\N", "ä\U0001f600", "a'b", "NULL", ""])
def test_odd_ids_are_written_as_they_are(connection: Connection, id: str) -> None:
    for title in ("first", "second"):
        one = item(id, properties={"datetime": "2024-06-01T00:00:00Z", "title": title + "\\ \n \t \r"})
        assert load(connection, "things", [one, item("b")]).ids == (id, "b")
        connection.commit()
        assert stored(connection)[id] == one


def test_a_collection_is_unprepared_until_its_partition_takes_the_times(connection: Connection) -> None:
    now, later = item("a"), item("b", datetime="2030-01-01T00:00:00.5+03:00")
    assert unprepared(connection, {"things": [now], "other": []}) == ["things"]
    prepare_partition(connection, "things", [now])
    assert unprepared(connection, {"things": [now]}) == []
    assert unprepared(connection, {"things": [now, later]}) == ["things"]
    prepare_partition(connection, "things", [later])
    assert unprepared(connection, {"things": [now, later]}) == []
    # What only the database can read it is asked about.
    assert unprepared(connection, {"things": [now, item("c", datetime="2024-06-01 00:00")]}) == ["things"]


def test_who_does_not_want_to_wait_is_told_that_another_one_writes(connection: Connection, database: str) -> None:
    assert try_lock_writers(connection, ["things", "more"])
    with psycopg.connect(database) as other:
        assert not try_lock_writers(other, ["less", "more"])
        assert try_lock_writers(other, ["less"])
        assert try_lock_writers(other, [])
    connection.commit()


def test_a_formatted_item_in_pgstacs_cache_does_not_outlive_the_item(connection: Connection) -> None:
    connection.execute("UPDATE pgstac.pgstac_settings SET value = 'true' WHERE name = 'format_cache'")
    search = """SELECT pgstac.search('{"collections": ["things"]}') #>> '{features,0,properties,title}'"""
    load(connection, "things", [item("a", properties={"datetime": "2024-06-01T00:00:00Z", "title": "old"})])
    connection.commit()
    assert connection.execute(search).fetchone() == ("old",)
    connection.commit()
    load(connection, "things", [item("a", properties={"datetime": "2024-06-01T00:00:00Z", "title": "new"})])
    connection.commit()
    assert connection.execute(search).fetchone() == ("new",)


def test_after_preparing_a_load_locks_no_reader_out(connection: Connection, database: str) -> None:
    documents = [item("a"), item("b", datetime="2030-01-01T00:00:00Z")]
    prepare_partition(connection, "things", documents)
    connection.commit()
    load(connection, "things", documents)
    with psycopg.connect(database) as reader:
        reader.execute("SET lock_timeout = '2s'")
        assert reader.execute("SELECT count(*) FROM pgstac.items").fetchone() == (0,)
    connection.commit()
    # Nor does a second one, inside the times that are there.
    load(connection, "things", [item("c", datetime="2025-01-01T00:00:00Z")])
    with psycopg.connect(database) as reader:
        reader.execute("SET lock_timeout = '2s'")
        assert reader.execute("SELECT count(*) FROM pgstac.items").fetchone() == (2,)


def test_preparing_leaves_unreadable_times_to_the_load(connection: Connection) -> None:
    prepare_partition(connection, "things", [item("a"), item("b", **BAD["no such time"])])
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_one_collection_has_one_writer_at_a_time(connection: Connection, database: str) -> None:
    lock_writers(connection, ["things", "more"])
    entered = threading.Event()

    def second() -> None:
        with psycopg.connect(database) as other:
            lock_writers(other, ["more"])
            entered.set()

    waiting = threading.Thread(target=second)
    waiting.start()
    with psycopg.connect(database, autocommit=True) as watcher:
        while watcher.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        ).fetchone() == (0,):
            time.sleep(0.01)
    assert not entered.is_set()
    connection.commit()
    waiting.join(30)
    assert entered.is_set()


def test_a_database_without_pgstac_is_told(empty_database: str) -> None:
    with psycopg.connect(empty_database) as bare, pytest.raises(PgstacMissing, match="maap-stac migrate"):
        load(bare, "things", [item("a")])
