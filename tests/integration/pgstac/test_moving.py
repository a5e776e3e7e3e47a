"""What moving items between collections needs of pgstac: reading them whole, deleting them, and what is left."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from maap_stac_orchestration.pgstac.collections import create_missing, delete_empty, existing_ids
from maap_stac_orchestration.pgstac.items import (
    delete,
    ids_after,
    load,
    lock_writers,
    prepare_partition_like,
    present,
    whole,
)
from maap_stac_orchestration.pgstac.queryables import extend_queryables
from tests.integration.pgstac.stac import item, new_collection

Connection = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def things(connection: Connection) -> Connection:
    """A database with the collections `things`, which has three items, and `others`, which has none."""
    create_missing(connection, [new_collection("things"), new_collection("others")])
    load(connection, "things", [item(id, datetime=f"202{id}-01-01T00:00:00Z") for id in "021"])
    connection.commit()
    return connection


def test_items_are_paged_through_in_the_order_of_their_ids(things: Connection) -> None:
    assert ids_after(things, "things", "", 2) == ["0", "1"]
    assert ids_after(things, "things", "1", 2) == ["2"]
    assert ids_after(things, "others", "", 2) == []


def test_items_are_read_whole(things: Connection) -> None:
    (found,) = whole(things, "things", ["1", "unknown"])
    assert found == item("1", datetime="2021-01-01T00:00:00Z")
    assert whole(things, "others", ["1"]) == []
    assert whole(things, "things", []) == []


def test_only_items_of_the_collection_are_deleted(things: Connection) -> None:
    load(things, "others", [item("1", "others")])
    assert delete(things, "things", ["0", "1", "unknown"]) == 2
    assert delete(things, "things", []) == 0
    assert present(things, "things", "012") == {"2"}
    assert present(things, "others", "012") == {"1"}


def test_after_preparing_for_the_items_of_another_collection_nothing_is_left_to_do(things: Connection) -> None:
    prepare_partition_like(things, "others", "things")
    constraints = "SELECT partition, constraint_dtrange::text FROM pgstac.partitions_view WHERE collection = 'others'"
    before = things.execute(constraints).fetchall()
    assert before
    load(things, "others", [{**one, "collection": "others"} for one in whole(things, "things", "012")])
    assert things.execute(constraints).fetchall() == before


def test_preparing_for_no_items_does_nothing(things: Connection) -> None:
    prepare_partition_like(things, "things", "others")
    prepare_partition_like(things, "others", "others")
    assert things.execute("SELECT count(*) FROM pgstac.partition_stats").fetchone() == (1,)


def test_only_a_collection_without_items_is_deleted(things: Connection) -> None:
    assert not delete_empty(things, "things")
    assert not delete_empty(things, "unknown")
    assert delete_empty(things, "others")
    delete(things, "things", "012")
    assert delete_empty(things, "things")
    assert existing_ids(things, ["things", "others"]) == []


def test_a_collection_that_somebody_is_writing_to_is_not_deleted(database: str, things: Connection) -> None:
    answers: list[bool] = []

    def try_to_delete() -> None:
        with psycopg.connect(database, application_name="deleting") as conn:
            answers.append(delete_empty(conn, "others"))

    # Somebody who does not take our locks.
    things.execute("SET search_path = pgstac, public")
    things.execute("SELECT pgstac.create_items(%s)", (Jsonb([item("1", "others")]),))
    deleting = threading.Thread(target=try_to_delete)
    deleting.start()
    with psycopg.connect(database, autocommit=True) as watcher:
        waits = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'deleting' AND wait_event_type = 'Lock'"
        while watcher.execute(waits).fetchone() is None:
            assert deleting.is_alive()
    things.commit()
    deleting.join(60)
    assert answers == [False]
    assert present(things, "others", ["1"]) == {"1"}


def test_queryables_of_a_collection_count_for_another_one_that_has_none_of_the_name(things: Connection) -> None:
    things.execute("SET search_path = pgstac, public")
    for name, collections in (("cloud", ["things"]), ("gsd", ["things"]), ("gsd", ["others"]), ("all", None)):
        things.execute(
            "INSERT INTO pgstac.queryables (name, definition, collection_ids) VALUES (%s, '{}', %s)",
            (name, collections),
        )
    assert extend_queryables(things, "things", "others") == 1
    assert extend_queryables(things, "things", "others") == 0
    found = things.execute("SELECT collection_ids FROM pgstac.queryables WHERE name = 'cloud'").fetchone()
    assert found == (["others", "things"],)


def test_the_lock_of_writers_is_not_needed_to_read(database: str, things: Connection) -> None:
    with psycopg.connect(database) as other:
        lock_writers(other, ["things"])
        assert len(whole(things, "things", "012")) == 3
