"""Entries of the registry in the database: what was in force when, and what is never rewritten."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from maap_stac_orchestration.ledger import changes, registry_entries
from maap_stac_orchestration.ledger.changes import Action, Author, Via

Connection = psycopg.Connection[Any]
ANA = Author("ana", Via.CLI, "asked for in a ticket")


def change(connection: Connection, action: Action = Action.GRANT, author: Author = ANA) -> int:
    return changes.record(connection, action, "maap-*", author)


def grant(connection: Connection, collection: str) -> int:
    return registry_entries.add(connection, "grants", {"collection": collection, "users": ["*"]}, change(connection))


def test_an_entry_tells_who_added_it_when_and_why(connection: Connection) -> None:
    id = grant(connection, "maap-floods")
    (entry,) = registry_entries.in_force(connection)
    assert (entry.id, entry.kind, entry.removed) == (id, "grants", None)
    assert entry.document == {"collection": "maap-floods", "users": ["*"]}
    assert (entry.change.by, entry.change.via, entry.change.reason) == ("ana", Via.CLI, "asked for in a ticket")
    assert entry.change.at.tzinfo is not None


def test_a_removed_entry_stays_in_history_with_both_changes(connection: Connection) -> None:
    id = grant(connection, "maap-floods")
    ben = Author("ben", Via.API, "no longer needed")
    registry_entries.remove(connection, [id], change(connection, Action.REVOKE, ben))
    assert registry_entries.in_force(connection) == []
    (entry,) = registry_entries.history(connection)
    assert entry == registry_entries.find(connection, id)
    assert entry.removed is not None
    assert (entry.change.by, entry.removed.by, entry.removed.reason) == ("ana", "ben", "no longer needed")


def test_every_earlier_state_can_be_told(connection: Connection) -> None:
    states: list[tuple[int, list[int]]] = []
    ids: list[int] = []
    for number in range(4):
        ids = [*ids, grant(connection, f"maap-{number}")]
        states.append((registry_entries.last_moment(connection).change, ids))
    for id in ids[:3]:
        registry_entries.remove(connection, [id], change(connection, Action.REVOKE))
        states.append((registry_entries.last_moment(connection).change, [one for one in ids if one > id]))
    for number, expected in states:
        assert [entry.id for entry in registry_entries.as_of(connection, number)] == expected
    assert registry_entries.as_of(connection, 0) == []


def test_changes_of_other_things_are_not_changes_of_entries(connection: Connection) -> None:
    assert registry_entries.last_moment(connection).change == 0
    grant(connection, "maap-floods")
    before = registry_entries.last_moment(connection).change
    changes.record(connection, Action.TOKEN_CREATED, "ana", ANA)
    assert registry_entries.last_moment(connection).change == before


def test_many_entries_are_numbered_in_their_order(connection: Connection) -> None:
    documents = [{"collection": f"maap-{number:03}", "users": ["*"]} for number in range(200)]
    ids = registry_entries.add_all(connection, [("deny", one) for one in documents], change(connection))
    assert ids == sorted(ids)
    assert [entry.document for entry in registry_entries.in_force(connection)] == documents


def test_history_comes_in_pages(connection: Connection) -> None:
    ids = [grant(connection, f"maap-{number}") for number in range(5)]
    first = registry_entries.history(connection, limit=3)
    rest = registry_entries.history(connection, limit=3, before=first[-1].id)
    assert [entry.id for entry in (*first, *rest)] == ids[::-1]


def test_a_team_is_in_force_once(connection: Connection) -> None:
    team = {"team": "boreal", "users": ["hrodmn"]}
    id = registry_entries.add(connection, "teams", team, change(connection, Action.TEAM))
    connection.commit()
    with pytest.raises(psycopg.errors.UniqueViolation):
        registry_entries.add(connection, "teams", team, change(connection, Action.TEAM))
    connection.rollback()
    registry_entries.remove(connection, [id], change(connection, Action.TEAM))
    registry_entries.add(connection, "teams", team, change(connection, Action.TEAM))


@pytest.mark.parametrize(
    "rewriting",
    [
        """UPDATE ledger.registry_entry SET document = '{"collection": "all-*", "users": ["eve"]}'""",
        "UPDATE ledger.registry_entry SET kind = 'deny'",
        "UPDATE ledger.registry_entry SET added_in = added_in",
        "DELETE FROM ledger.registry_entry",
        "TRUNCATE ledger.registry_entry",
        "UPDATE ledger.registry_change SET by = 'eve'",
        "DELETE FROM ledger.registry_change",
        "TRUNCATE ledger.registry_change CASCADE",
    ],
)
def test_the_database_refuses_to_rewrite_an_entry_or_the_trail(connection: Connection, rewriting: str) -> None:
    grant(connection, "maap-floods")
    connection.commit()
    with pytest.raises(psycopg.errors.RaiseException, match=r"is refused|never changed"):
        connection.execute(rewriting.encode())
    connection.rollback()
    (entry,) = registry_entries.in_force(connection)
    assert (entry.change.by, entry.document["collection"]) == ("ana", "maap-floods")


def test_the_database_refuses_to_bring_a_removed_entry_back(connection: Connection) -> None:
    id = grant(connection, "maap-floods")
    registry_entries.remove(connection, [id], change(connection, Action.REVOKE))
    connection.commit()
    with pytest.raises(psycopg.errors.RaiseException, match="out of force once"):
        connection.execute("UPDATE ledger.registry_entry SET removed_in = NULL")
    connection.rollback()
    with pytest.raises(psycopg.errors.RaiseException, match="out of force once"):
        registry_entries.remove(connection, [id], change(connection, Action.REVOKE))
