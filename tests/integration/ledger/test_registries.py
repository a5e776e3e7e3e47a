"""Which registries were in force, and which were refused."""

from __future__ import annotations

from typing import Any

import psycopg

from maap_stac_orchestration.ledger import registries
from maap_stac_orchestration.ledger.registries import Load, News

Connection = psycopg.Connection[Any]
FILE = ("file",)


def record(connection: Connection, version: str, *, error: str | None = None, source: str = "file") -> News:
    """What loading, or refusing, a file of this version brings; a refusal leaves the last good one in force."""
    load = Load(version, source, version, error)
    return registries.record(connection, [load], None if error else load, (source,))


def test_loads_of_a_registry_are_on_record_without_repetition(connection: Connection) -> None:
    tried = (("a", None), ("a", None), ("b", "Line 3."), ("b", "Line 3."), ("b", "Line 4."), ("a", None))
    news = [record(connection, version, error=error) for version, error in tried]
    found = connection.execute("SELECT version, ok, error FROM ledger.registry_version ORDER BY id").fetchall()
    assert found == [("a", True, None), ("b", False, "Line 3."), ("b", False, "Line 4."), ("a", True, None)]
    assert [one.in_force for one in news] == [True, False, False, False, False, False]
    assert [one.refused for one in news] == [False, False, True, False, True, False]


def test_a_version_that_comes_back_into_force_is_written_down_again(connection: Connection) -> None:
    file = Load("a", "file", "content")
    both = Load("c", "both", parts=("a", "b"))
    sources = ("file", "both")
    for in_force, expected in ((file, True), (both, True), (both, False), (file, True), (file, False)):
        assert registries.record(connection, [file], in_force, sources) == News(expected, False)
        assert registries.last_in_force(connection, sources) == in_force.version
    found = connection.execute("SELECT version, parts FROM ledger.registry_version ORDER BY id").fetchall()
    assert found == [("a", None), ("c", ["a", "b"]), ("a", None)]


def test_what_is_in_force_under_other_settings_is_no_news_here(connection: Connection) -> None:
    record(connection, "a")
    record(connection, "b", source="other")
    assert record(connection, "a") == News(False, False)


def test_the_last_good_registry_of_a_source_is_the_last_that_loaded(connection: Connection) -> None:
    assert registries.last_good(connection, "file") is None
    long = "x" * 10_000
    registries.record(connection, [Load("a", "file", long)], None, FILE)
    registries.record(connection, [Load("b", "file", "y", error="Line 3.")], None, FILE)
    registries.record(connection, [Load("c", "other", "z")], None, ("other",))
    found = registries.last_good(connection, "file")
    assert found is not None
    assert (found.version, found.content) == ("a", long)


def test_a_version_is_found_as_it_was_loaded_and_not_where_it_was_refused(connection: Connection) -> None:
    load = Load("a", "file", "content")
    registries.record(connection, [load, Load("b", "file", "x", error="Line 3.")], None, FILE)
    assert registries.of_version(connection, "a") == load
    assert registries.of_version(connection, "b") is None
