"""Provenance as queryables."""

from __future__ import annotations

from typing import Any

import psycopg

from maap_stac_orchestration.pgstac.collections import create_missing
from maap_stac_orchestration.pgstac.items import load
from maap_stac_orchestration.pgstac.queryables import QUERYABLES, register_queryables
from tests.integration.pgstac.stac import item, new_collection

Connection = psycopg.Connection[Any]


def test_registering_twice_changes_nothing(connection: Connection) -> None:
    connection.execute("DELETE FROM pgstac.queryables WHERE name LIKE 'maap:%'")
    assert register_queryables(connection) == sorted(QUERYABLES)
    before = connection.execute("SELECT * FROM pgstac.queryables ORDER BY id").fetchall()
    assert register_queryables(connection) == []
    assert connection.execute("SELECT * FROM pgstac.queryables ORDER BY id").fetchall() == before


def test_a_definition_that_changed_is_replaced(connection: Connection) -> None:
    register_queryables(connection)
    connection.execute("UPDATE pgstac.queryables SET definition = '{}' WHERE name = 'maap:tag'")
    assert register_queryables(connection) == ["maap:tag"]
    row = connection.execute("SELECT definition FROM pgstac.queryables WHERE name = 'maap:tag'").fetchone()
    assert row is not None
    assert row[0] == QUERYABLES["maap:tag"]


def test_a_search_filters_by_provenance(connection: Connection) -> None:
    register_queryables(connection)
    create_missing(connection, [new_collection("things")])
    load(
        connection,
        "things",
        [item(user, properties={"datetime": "2024-06-01T00:00:00Z", "maap:username": user}) for user in ("ana", "ben")],
    )
    search = """{"filter": {"op": "=", "args": [{"property": "maap:username"}, "ben"]}}"""
    row = connection.execute("SELECT pgstac.search(%s::jsonb)", (search,)).fetchone()
    assert row is not None
    assert [feature["id"] for feature in row[0]["features"]] == ["ben"]
