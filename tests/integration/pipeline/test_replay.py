"""Deciding once more what jobs asked for, under another registry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from maap_stac_orchestration.governance.decision import DecisionCode, Outcome
from maap_stac_orchestration.governance.registry import Registry, load_registry
from maap_stac_orchestration.ledger import collections
from maap_stac_orchestration.ledger.changes import Author, Via
from maap_stac_orchestration.pipeline import administer
from maap_stac_orchestration.pipeline.registry import registry_in_force
from maap_stac_orchestration.pipeline.replay import Effect, Replayed, replay
from maap_stac_orchestration.settings import Settings
from tests.integration.pipeline.batches import SETTINGS, Written, document, ingest

Connection = psycopg.Connection[Any]
ANA = Author("ana", Via.CLI, "tests")
FILE = """\
version: 1
grants:
  - {collection: maap-floods, users: [jsmith], create: true}
  - {collection: "maap-*", users: [ana], algorithms: ["mosaic@v1"], create: true}
"""


def job(username: str, requested: str | None, *, minute: int = 0, **fields: Any) -> Written:
    """A job with one item that asks for this."""
    id = f"item-{username}-{minute}"
    requests = {} if requested is None else {id: requested}
    return Written([document(id)], username, minute=minute, requests=requests, **fields)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    file = tmp_path / "registry.yaml"
    file.write_text(FILE)
    return SETTINGS.model_copy(update={"registry": str(file)})


@pytest.fixture
def past(connection: Connection, settings: Settings) -> None:
    """What was asked: two grants, two denials, nothing, and what no registry decides."""
    jobs = [
        job("jsmith", "maap-floods"),
        job("jsmith", "maap-floods", minute=1),
        job("ana", "maap-fires", minute=2),
        job("ana", "maap-quakes", minute=3, version="v2"),
        job("eve", "maap-floods", minute=4),
        job("eve", None, minute=5),
        job("eve", "maap-storms", minute=6, metadata_username="jsmith"),
    ]
    ingest(connection, jobs, registry_in_force(settings, connection).registry)


def candidate(text: str) -> Registry:
    return load_registry(text, "candidate.yaml")


def told(found: Replayed) -> set[tuple[str, str, Effect, DecisionCode, DecisionCode]]:
    return {
        (one.asked.names.username, one.asked.requested, one.effect, one.now.code, one.then.code)
        for one in found.changes
    }


@pytest.mark.usefixtures("past")
def test_the_same_registry_changes_nothing(connection: Connection, settings: Settings) -> None:
    found = replay(connection, settings, candidate(FILE.replace("grants:", "# The same.\ngrants:")), 30)
    assert (found.asked, found.decisions, found.changed, found.changes) == (4, 5, 0, [])
    assert found.now != found.then


@pytest.mark.usefixtures("past")
def test_who_gains_loses_and_is_denied_otherwise_is_told(connection: Connection, settings: Settings) -> None:
    other = candidate(
        "version: 1\n"
        "grants:\n"
        "  - {collection: maap-floods, users: [eve]}\n"
        '  - {collection: "maap-*", users: [jsmith], algorithms: ["mosaic@v7"]}\n'
        '  - {collection: "maap-*", users: [ana], algorithms: ["mosaic@v2"]}\n'
    )
    found = replay(connection, settings, other, 30)
    assert told(found) == {
        ("jsmith", "maap-floods", Effect.LOST, DecisionCode.GRANTED, DecisionCode.ALGORITHM_NOT_APPROVED),
        ("ana", "maap-fires", Effect.LOST, DecisionCode.GRANTED, DecisionCode.ALGORITHM_NOT_APPROVED),
        (
            *("ana", "maap-quakes", Effect.OTHER),
            *(DecisionCode.ALGORITHM_NOT_APPROVED, DecisionCode.COLLECTION_NOT_FOUND),
        ),
        ("eve", "maap-floods", Effect.GAINED, DecisionCode.USER_NOT_AUTHORIZED, DecisionCode.GRANTED),
    }
    assert found.counts == {Effect.GAINED: 1, Effect.LOST: 2, Effect.OTHER: 1}
    assert {one.asked.times for one in found.changes if one.asked.names.username == "jsmith"} == {2}


@pytest.mark.usefixtures("past")
def test_another_fate_of_denied_items_is_a_change(connection: Connection, settings: Settings) -> None:
    found = replay(connection, settings, candidate(FILE + "on_denied: reject\n"), 30)
    assert {(one.effect, one.now.outcome, one.then.outcome) for one in found.changes} == {
        (Effect.OTHER, Outcome.FALLBACK, Outcome.REJECT)
    }
    assert {one.now.collection for one in found.changes} == {"eve__mosaic__v1__demo", "ana__mosaic__v2__demo"}


@pytest.mark.usefixtures("past")
def test_both_decide_with_the_collections_as_they_are_now(connection: Connection, settings: Settings) -> None:
    collections.delete(connection, "maap-fires", by="ana")
    connection.execute("DELETE FROM pgstac.items WHERE collection = 'maap-fires'")
    connection.execute("DELETE FROM pgstac.collections WHERE id = 'maap-fires'")
    connection.commit()
    # What exists may be written to without `create`, and what was deleted is not made again with it.
    assert replay(connection, settings, candidate(FILE.replace("create: true", "create: false")), 30).changes == []


@pytest.mark.usefixtures("past")
def test_the_ids_that_default_collections_have_are_used_and_none_is_handed_out(
    connection: Connection, settings: Settings
) -> None:
    # Somebody else's names came to the same id before.
    ingest(connection, [job("eve", "maap-floods", minute=9, algorithm="mos/aic")])
    ingest(connection, [job("eve", "maap-floods", minute=10, algorithm="mos aic")])
    before = connection.execute("SELECT * FROM ledger.default_collection ORDER BY id").fetchall()
    found = replay(connection, settings, candidate(FILE + "on_denied: reject\n"), 30)
    assert {one.now.collection for one in found.changes} == {
        id for (id, username, *_) in before if username == "eve"
    } | {"ana__mosaic__v2__demo"}
    assert connection.execute("SELECT * FROM ledger.default_collection ORDER BY id").fetchall() == before


@pytest.mark.usefixtures("past")
def test_only_the_last_days_count(connection: Connection, settings: Settings) -> None:
    connection.execute("""
        INSERT INTO ledger.decision (job_id, username, algorithm, version, requested, code, outcome, rule, message,
            registry_version, at)
        SELECT min(id), 'old', 'mosaic', 'v1', 'maap-floods', 'user_not_authorized', 'reject', '', '', 'x',
            now() - interval '10 days'
        FROM ledger.job
    """)
    connection.commit()
    everyone = candidate("version: 1\ngrants:\n  - {collection: maap-floods, users: ['*']}\n")
    users = [
        {
            one.asked.names.username
            for one in replay(connection, settings, everyone, days).changes
            if one.effect == "gained"
        }
        for days in (9, 11)
    ]
    assert users == [{"eve"}, {"eve", "old"}]


@pytest.mark.usefixtures("past")
@pytest.mark.parametrize("code", [DecisionCode.IDENTITY_MISMATCH, DecisionCode.ITEM_OWNED_BY_OTHER])
def test_what_no_registry_decides_is_left_out(connection: Connection, settings: Settings, code: DecisionCode) -> None:
    connection.execute(
        """
        INSERT INTO ledger.decision (job_id, username, algorithm, version, requested, code, outcome, rule, message,
            registry_version)
        SELECT min(id), 'bob', 'mosaic', 'v1', 'maap-floods', %s, 'reject', '', '', 'x' FROM ledger.job
        """,
        [str(code)],
    )
    connection.commit()
    everyone = candidate("version: 1\ngrants:\n  - {collection: maap-floods, users: ['*']}\n")
    assert "bob" not in {one.asked.names.username for one in replay(connection, settings, everyone, 30).changes}


@pytest.mark.usefixtures("past")
def test_grants_of_the_database_are_in_force(connection: Connection, settings: Settings) -> None:
    administer.grant(connection, settings, "grants", {"collection": "maap-floods", "users": ["eve"]}, ANA)
    found = replay(connection, settings, candidate(FILE), 30)
    assert {(one.asked.names.username, one.effect) for one in found.changes} == {("eve", Effect.LOST)}


def test_many_requests_are_read_in_portions_and_the_latest_are_told(
    connection: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(connection, [job("jsmith", "maap-floods")])
    connection.execute("""
        INSERT INTO ledger.decision (job_id, username, algorithm, version, requested, code, outcome, rule, message,
            registry_version, at)
        SELECT job.id, 'user' || number, 'mosaic', 'v1', 'maap-' || number, 'user_not_authorized', 'reject', '', '',
            'x', now() - number * interval '1 minute'
        FROM ledger.job CROSS JOIN generate_series(1, 2500) AS number
    """)
    connection.commit()
    monkeypatch.setattr("maap_stac_orchestration.pipeline.replay.MAX_CHANGES", 10)
    everyone = candidate("version: 1\ngrants:\n  - {collection: 'maap-*', users: ['*'], create: true}\n")
    found = replay(connection, settings, everyone, 30)
    assert (found.asked, found.counts[Effect.GAINED]) == (2501, 2500)
    assert [one.asked.names.username for one in found.changes] == [f"user{number}" for number in range(1, 11)]
