"""Searches right after a load, before anybody looked after the collections, and what upkeep then tells pgstac."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from maap_stac_orchestration.pgstac.collections import create_missing, refresh_collection
from maap_stac_orchestration.pgstac.items import delete, load_all, prepare_partition, unprepared
from tests.integration.pgstac.stac import item, new_collection

Connection = psycopg.Connection[Any]

COLLECTIONS = ("fires", "floods")


@pytest.fixture(autouse=True)
def collections(connection: Connection) -> None:
    """Two, with an item each of the middle of 2024 whose statistics are up to date."""
    create_missing(connection, [new_collection(id) for id in COLLECTIONS])
    connection.commit()
    for id in COLLECTIONS:
        loaded(connection, item(f"{id}-2024", id))
        refresh_collection(connection, id)
    connection.commit()


def loaded(connection: Connection, *documents: dict[str, Any]) -> None:
    """Loads as a batch does: partitions first, in a transaction of their own."""
    wanted = {id: [one for one in documents if one["collection"] == id] for id in COLLECTIONS}
    for id in unprepared(connection, wanted):
        prepare_partition(connection, id, wanted[id])
    connection.commit()
    done = load_all(connection, wanted)
    assert not [one for loaded in done.values() for one in loaded.refused]
    connection.commit()


def search(connection: Connection, **asked: Any) -> list[str]:
    """The ids of all items found, in order, page by page."""
    found: list[str] = []
    token = None
    while True:
        body = {**asked, "limit": 2, **({"token": token} if token else {})}
        row = connection.execute("SELECT pgstac.search(%s)", (Jsonb(body),)).fetchone()
        connection.commit()
        assert row is not None
        page = row[0]
        found += [one["id"] for one in page["features"]]
        token = next((link["href"].split("token=")[1] for link in page["links"] if link["rel"] == "next"), None)
        if token is None:
            return found


#: Before, between and after what the partitions have known so far.
LATER = (
    item("fires-1999", "fires", datetime="1999-01-01T00:00:00Z", west=100.0),
    item("floods-2001", "floods", datetime="2001-01-01T00:00:00Z", west=-100.0),
    item("floods-2024-12", "floods", datetime="2024-12-01T00:00:00Z"),
    item("fires-2031", "fires", datetime="2031-01-01T00:00:00Z", west=-100.0),
    item("floods-2035", "floods", datetime="2035-01-01T00:00:00Z", west=100.0),
)
IN_TIME = ["fires-1999", "floods-2001", "fires-2024", "floods-2024", "floods-2024-12", "fires-2031", "floods-2035"]


@pytest.mark.parametrize("divided", [None, "month", "year"])
def test_items_are_found_by_time_in_order_across_partitions_as_soon_as_they_are_loaded(
    connection: Connection, divided: str | None
) -> None:
    connection.execute("SET search_path = pgstac, public")
    connection.execute("UPDATE pgstac.collections SET partition_trunc = %s", (divided,))
    connection.commit()
    loaded(connection, *LATER)
    forwards = [{"field": "datetime", "direction": "asc"}, {"field": "id", "direction": "asc"}]
    assert search(connection, sortby=forwards) == IN_TIME
    backwards = [{"field": "datetime", "direction": "desc"}, {"field": "id", "direction": "desc"}]
    assert search(connection, sortby=backwards) == IN_TIME[::-1]
    assert search(connection, datetime="1990-01-01T00:00:00Z/2002-01-01T00:00:00Z", sortby=forwards) == IN_TIME[:2]
    assert search(connection, datetime="2030-01-01T00:00:00Z/..", sortby=forwards) == IN_TIME[-2:]
    assert search(connection, datetime="2035-01-01T00:00:00Z", collections=["floods"]) == ["floods-2035"]


def test_items_are_found_by_place_as_soon_as_they_are_loaded(connection: Connection) -> None:
    loaded(connection, *LATER)
    assert set(search(connection, bbox=[99, -1, 102, 2])) == {"fires-1999", "floods-2035"}
    assert search(connection, bbox=[-101, -1, -98, 2], collections=["fires"]) == ["fires-2031"]


def statistics(connection: Connection) -> dict[str, tuple[datetime, datetime, str]]:
    """Collection -> first and last start that pgstac notes, and the time constraint of its partition."""
    return {
        row[0]: row[1:]
        for row in connection.execute(
            """
            SELECT known.collection, lower(known.dtrange), upper(known.dtrange), pg_get_constraintdef(held.oid)
            FROM pgstac.partition_stats AS known
            JOIN pg_constraint AS held ON held.conrelid = ('pgstac.' || known.partition)::regclass
                AND held.contype = 'c'
            """
        )
    }


def test_upkeep_tells_pgstac_between_which_times_items_lie(connection: Connection) -> None:
    loaded(connection, *LATER)
    refresh_collection(connection, "fires")
    first, last, _ = statistics(connection)["fires"]
    assert (first, last) == (datetime(1999, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC))


def test_upkeep_narrows_the_times_of_a_partition_to_what_is_left(connection: Connection) -> None:
    loaded(connection, *LATER)
    delete(connection, "fires", ["fires-1999"])
    connection.commit()
    assert "1999" in statistics(connection)["fires"][2]
    refresh_collection(connection, "fires")
    assert "1999" not in statistics(connection)["fires"][2]
    loaded(connection, item("fires-1998", "fires", datetime="1998-01-01T00:00:00Z"))
    assert search(connection, datetime="../1999-01-01T00:00:00Z") == ["fires-1998"]
