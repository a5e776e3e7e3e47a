"""The locks that are foretold are those that a search takes."""

from __future__ import annotations

import json

import pytest

from maap_stac_orchestration.pgstac.limits import locks

_COLLECTION = {"type": "Collection", "stac_version": "1.1.0", "description": "One of several.", "license": "other"}
_ITEM = {
    "type": "Feature",
    "stac_version": "1.1.0",
    "id": "item",
    "geometry": {"type": "Point", "coordinates": [1, 2]},
    "properties": {"datetime": "2026-01-01T00:00:00Z"},
    "links": [],
    "assets": {},
}
_HELD = "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation'"
#: Tables, views and functions' relations that any search touches.
_OTHERS = 40


@pytest.fixture
def collections(connection) -> list[str]:
    """Thirty collections of one item."""
    names = [f"collection-{number}" for number in range(30)]
    connection.execute("SET search_path = pgstac, public")
    for name in names:
        connection.execute("SELECT create_collection(%s::jsonb)", [json.dumps(_COLLECTION | {"id": name})])
        connection.execute("SELECT create_item(%s::jsonb)", [json.dumps(_ITEM | {"collection": name})])
    connection.commit()
    return names


def held_after(connection, search: dict[str, object]) -> int:
    connection.execute("SELECT search(%s::jsonb)", [json.dumps(search)])
    (held,) = connection.execute(_HELD).fetchone()
    connection.rollback()
    return int(held)


def test_a_search_over_all_collections_takes_the_locks_that_are_foretold(connection, collections):
    found = locks(connection)
    connection.rollback()
    assert found.collections == len(collections)
    assert found.per_search <= held_after(connection, {"limit": 10}) <= found.per_search + _OTHERS


def test_reading_an_item_of_a_collection_takes_few_locks(connection, collections):
    connection.rollback()
    assert held_after(connection, {"ids": ["item"], "collections": collections[:1], "limit": 1}) < _OTHERS


def test_looking_takes_no_locks_on_collections(connection, collections):
    locks(connection)
    (held,) = connection.execute(_HELD).fetchone()
    assert held < _OTHERS
