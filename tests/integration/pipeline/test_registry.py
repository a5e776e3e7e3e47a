"""Which registry is in force: the file, the entries of the database, and both together."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from maap_stac_orchestration import log_events
from maap_stac_orchestration.governance.decide import ExistingCollections, decide
from maap_stac_orchestration.governance.decision import Decision, DecisionCode, Request
from maap_stac_orchestration.governance.registry import Registry
from maap_stac_orchestration.ledger import changes, registry_entries
from maap_stac_orchestration.ledger.changes import Action, Author, Via
from maap_stac_orchestration.pipeline import administer
from maap_stac_orchestration.pipeline.administer import Refused
from maap_stac_orchestration.pipeline.registry import (
    RegistryUnavailable,
    current_registry,
    registry_in_force,
    registry_of_entries,
    registry_of_version,
)
from tests.conftest import MotoStore
from tests.integration.pipeline.batches import SETTINGS

GOOD = "version: 1\ngrants:\n  - {collection: shared, users: ['*']}\n"
Connection = psycopg.Connection[Any]
ANA = Author("ana", Via.CLI, "the boreal campaign")
BOREAL = "version: 1\nteams: {boreal: [hrodmn]}\non_denied: reject\n"


def at(source: object) -> Any:
    return SETTINGS.model_copy(update={"registry": str(source)})


def test_without_a_registry_the_empty_one_is_in_force(connection: Connection) -> None:
    found = registry_in_force(SETTINGS.model_copy(update={"registry": None}), connection)
    assert (found.registry.entries, found.warning) == ((), None)


def test_a_file_is_loaded_and_written_down_once(connection: Connection, tmp_path: Path) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text(GOOD)
    found = registry_in_force(at(file), connection)
    registry_in_force(at(file), connection)
    assert (len(found.registry.entries), found.warning) == (1, None)
    rows = connection.execute("SELECT version, source, ok, content FROM ledger.registry_version").fetchall()
    assert rows == [(found.registry.version, str(file), True, GOOD)]


def test_a_registry_in_s3_is_loaded(object_store: MotoStore) -> None:
    object_store.put("admin/registry.yaml", GOOD.encode())
    assert len(current_registry(at("s3://maap-ops-workspace/admin/registry.yaml")).entries) == 1


@pytest.mark.parametrize("breaking", ["grants: 7", "version: 1\ngrants: [", "\0", "version: 1\ngrants: 'é\ud800'"])
def test_a_broken_registry_leaves_the_last_good_one_in_force_and_says_so(
    connection: Connection, tmp_path: Path, breaking: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text(GOOD)
    good = registry_in_force(at(file), connection).registry
    file.write_bytes(breaking.encode(errors="surrogatepass"))
    found = registry_in_force(at(file), connection)
    assert found.registry == good
    assert found.registry.version == good.version
    assert found.warning is not None
    assert str(file) in found.warning
    assert good.version in found.warning
    with caplog.at_level(logging.ERROR):
        assert current_registry(at(file), connection) == good
    assert str(file) in caplog.text
    refused = connection.execute("SELECT count(*) FROM ledger.registry_version WHERE NOT ok").fetchone()
    assert refused == (1,)


def test_a_registry_that_is_gone_leaves_the_last_good_one_in_force(connection: Connection, tmp_path: Path) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text(GOOD)
    good = registry_in_force(at(file), connection).registry
    file.unlink()
    found = registry_in_force(at(file), connection)
    assert found.registry == good
    assert found.warning is not None


def test_a_bucket_that_does_not_answer_leaves_the_last_good_one_in_force(
    connection: Connection, object_store: MotoStore
) -> None:
    source = at("s3://maap-ops-workspace/registry.yaml")
    object_store.put("registry.yaml", GOOD.encode())
    good = registry_in_force(source, connection).registry
    object_store.client().delete_object(Bucket=object_store.bucket, Key="registry.yaml")
    assert registry_in_force(source, connection).registry == good


def test_where_there_never_was_a_good_one_nothing_is_decided(connection: Connection, tmp_path: Path) -> None:
    with pytest.raises(RegistryUnavailable, match="was ever in force"):
        registry_in_force(at(tmp_path / "nowhere.yaml"), connection)


def test_without_a_ledger_a_broken_registry_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text("grants: 7")
    with pytest.raises(RegistryUnavailable, match=r"registry\.yaml"):
        current_registry(at(file))


# The file and the entries of the database together


def granting(connection: Connection, settings: Any, collection: str, user: str = "*") -> int:
    document = {"collection": collection, "users": [user], "create": True}
    return administer.grant(connection, settings, "grants", document, ANA).id


def code(registry: Registry, collection: str, username: str = "jsmith") -> DecisionCode:
    return decided(registry, collection, username).code


def decided(registry: Registry, collection: str, username: str = "jsmith") -> Decision:
    request = Request(username, "flood", "v1", None, collection, f"{username}__flood__v1")
    return decide(request, registry, ExistingCollections.of(["shared"]))


@contextmanager
def events(caplog: pytest.LogCaptureFixture) -> Iterator[list[dict[str, Any]]]:
    """The log events that are written within."""
    found: list[dict[str, Any]] = []
    caplog.clear()
    with caplog.at_level(logging.INFO, logger=log_events.LOGGER):
        yield found
    found += [json.loads(one.message) for one in caplog.records if one.name == log_events.LOGGER]


def test_the_file_and_the_entries_of_the_database_decide_together(connection: Connection, tmp_path: Path) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text(GOOD)
    granting(connection, at(file), "maap-floods")
    registry = registry_in_force(at(file), connection).registry
    assert [code(registry, one) for one in ("shared", "maap-floods", "maap-fires")] == [
        DecisionCode.GRANTED,
        DecisionCode.GRANTED,
        DecisionCode.USER_NOT_AUTHORIZED,
    ]
    administer.grant(connection, at(file), "deny", {"collection": "shared", "users": ["jsmith"]}, ANA)
    assert code(registry_in_force(at(file), connection).registry, "shared") is DecisionCode.USER_NOT_AUTHORIZED


def test_entries_of_the_database_need_no_file(connection: Connection) -> None:
    granting(connection, SETTINGS, "maap-floods")
    assert code(registry_in_force(SETTINGS, connection).registry, "maap-floods") is DecisionCode.GRANTED


def test_a_revocation_is_in_force_at_once_for_everyone(connection: Connection, database: str) -> None:
    id = granting(connection, SETTINGS, "maap-floods")
    with psycopg.connect(database) as other:
        assert code(registry_in_force(SETTINGS, other).registry, "maap-floods") is DecisionCode.GRANTED
        administer.revoke(connection, SETTINGS, id, ANA)
        assert code(registry_in_force(SETTINGS, other).registry, "maap-floods") is DecisionCode.USER_NOT_AUTHORIZED


def test_while_the_file_is_broken_entries_of_the_database_go_on_changing(
    connection: Connection, tmp_path: Path
) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text(GOOD)
    first = granting(connection, at(file), "maap-floods")
    registry_in_force(at(file), connection)
    file.write_text("grants: 7")
    granting(connection, at(file), "maap-fires")
    administer.revoke(connection, at(file), first, ANA)
    found = registry_in_force(at(file), connection)
    assert found.warning is not None
    assert [code(found.registry, one) for one in ("shared", "maap-fires", "maap-floods")] == [
        DecisionCode.GRANTED,
        DecisionCode.GRANTED,
        DecisionCode.USER_NOT_AUTHORIZED,
    ]


@pytest.mark.parametrize("contradicting", ["version: 1\n", "version: 1\nteams: {boreal: [hrodmn], fire: [eve]}\n"])
def test_a_file_that_contradicts_the_database_leaves_the_last_good_one_in_force(
    connection: Connection, tmp_path: Path, contradicting: str
) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text(BOREAL)
    granting(connection, at(file), "maap-floods", "@boreal")
    administer.set_team(connection, at(file), "fire", ["ana"], ANA)
    good = registry_in_force(at(file), connection).registry
    assert code(good, "maap-floods", "hrodmn") is DecisionCode.GRANTED
    file.write_text(contradicting)
    found = registry_in_force(at(file), connection)
    assert found.registry.version == good.version
    assert found.warning is not None
    assert "team" in found.warning
    assert code(found.registry, "maap-floods", "hrodmn") is DecisionCode.GRANTED
    refused = connection.execute("SELECT source, error FROM ledger.registry_version WHERE NOT ok").fetchall()
    assert [(source, "team" in error) for source, error in refused] == [(str(file), True)]


def test_a_contradiction_from_elsewhere_leaves_the_whole_of_the_last_one_in_force(
    connection: Connection, tmp_path: Path
) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text(BOREAL)
    granting(connection, at(file), "maap-floods", "@boreal")
    good = registry_in_force(at(file), connection).registry
    # By somebody whose settings name no file.
    team = registry_entries.add(
        connection, "teams", {"team": "boreal", "users": ["eve"]}, changes.record(connection, Action.TEAM, "x", ANA)
    )
    connection.commit()
    found = registry_in_force(at(file), connection)
    assert found.registry.version == good.version
    assert [code(found.registry, "maap-floods", user) for user in ("hrodmn", "eve")] == [
        DecisionCode.GRANTED,
        DecisionCode.USER_NOT_AUTHORIZED,
    ]
    assert found.warning is not None
    assert "boreal" in found.warning
    administer.revoke(connection, at(file), team, ANA)
    assert registry_in_force(at(file), connection).warning is None


def test_without_its_file_a_database_that_names_teams_of_it_decides_nothing(
    connection: Connection, tmp_path: Path
) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text(BOREAL)
    administer.grant(connection, at(file), "deny", {"collection": "maap-*", "users": ["@boreal"]}, ANA)
    with pytest.raises(RegistryUnavailable, match=r"(?s)boreal.*MAAP_STAC_REGISTRY"):
        registry_in_force(SETTINGS, connection)


def test_an_entry_that_is_none_any_more_stops_decisions_until_it_is_revoked(connection: Connection) -> None:
    document = {"collection": "maap-*-x", "users": ["jsmith"]}
    id = registry_entries.add(connection, "deny", document, changes.record(connection, Action.GRANT, "maap", ANA))
    connection.commit()
    with pytest.raises(RegistryUnavailable, match=f"deny {id} ") as told:
        registry_in_force(SETTINGS, connection)
    assert "registry revoke" in str(told.value)
    administer.revoke(connection, SETTINGS, id, ANA)
    assert registry_in_force(SETTINGS, connection).registry.entries == ()


def test_the_version_of_entries_depends_on_what_they_say_alone(connection: Connection) -> None:
    def version() -> str:
        return registry_of_entries(registry_entries.in_force(connection)).version

    assert version() == "none"
    first = granting(connection, SETTINGS, "maap-floods")
    before = version()
    second = granting(connection, SETTINGS, "maap-fires")
    assert version() != before
    administer.revoke(connection, SETTINGS, second, Author("ben", Via.API, "over"))
    assert version() == before
    administer.revoke(connection, SETTINGS, first, ANA)
    granting(connection, SETTINGS, "maap-floods")
    assert version() == before


def test_each_version_that_was_in_force_can_be_decided_by_again(connection: Connection, tmp_path: Path) -> None:
    file = tmp_path / "registry.yaml"
    asked = [(collection, user) for collection in ("shared", "maap-floods", "maap-fires") for user in ("hrodmn", "eve")]
    then: dict[str, list[Decision]] = {}

    def in_force(settings: Any = None) -> None:
        registry = registry_in_force(settings or at(file), connection).registry
        then[registry.version] = [decided(registry, *one) for one in asked]

    in_force(SETTINGS)
    file.write_text(BOREAL)
    in_force()
    first = granting(connection, at(file), "maap-floods", "@boreal")
    in_force()
    administer.grant(connection, at(file), "deny", {"collection": "maap-*", "users": ["hrodmn"]}, ANA)
    in_force()
    file.write_text(BOREAL + "grants:\n  - {collection: shared, users: [eve]}\n")
    in_force()
    administer.revoke(connection, at(file), first, ANA)
    in_force()
    file.write_text("grants: 7")
    granting(connection, at(file), "maap-fires", "eve")
    in_force()
    assert len(then) == 7
    for version, decisions in then.items():
        registry = registry_of_version(connection, version)
        assert registry is not None
        assert registry.version == version
        assert [decided(registry, *one) for one in asked] == decisions
    assert registry_of_version(connection, "0123456789ab") is None


def test_versions_are_written_down_with_their_parts_and_not_again(connection: Connection, tmp_path: Path) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text(GOOD)
    granting(connection, at(file), "maap-floods")
    for _ in range(3):
        registry = registry_in_force(at(file), connection).registry
    change = registry_entries.last_moment(connection).change
    rows = connection.execute(
        "SELECT source, as_of, parts, version FROM ledger.registry_version ORDER BY id"
    ).fetchall()
    assert [row[:2] for row in rows] == [
        (str(file), None),
        ("the database", change),
        (f"{file} and the database", None),
    ]
    assert rows[2][2:] == ([rows[0][3], rows[1][3]], registry.version)


def test_what_comes_into_force_is_told_once_and_again_when_it_comes_back(
    connection: Connection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text(GOOD)
    told: list[tuple[str, str, int]] = []

    def load() -> str:
        with events(caplog) as found:
            version = registry_in_force(at(file), connection).registry.version
            registry_in_force(at(file), connection)
        told.extend((one["event"], one["registry_version"], one["entries"]) for one in found)
        return version

    alone = load()
    id = granting(connection, at(file), "maap-floods")
    both = load()
    administer.revoke(connection, at(file), id, ANA)
    assert load() == alone
    loaded = "registry.loaded"
    assert told == [(loaded, alone, 1), (loaded, both, 2), (loaded, alone, 1)]


def test_a_refusal_is_told_once_with_what_is_in_force_instead(
    connection: Connection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text("grants: 7")
    with events(caplog) as found:
        for _ in range(2):
            with pytest.raises(RegistryUnavailable):
                registry_in_force(at(file), connection)
    assert [(one["event"], one["registry_version"]) for one in found] == [("registry.refused", None)]
    file.write_text(GOOD)
    good = registry_in_force(at(file), connection).registry
    file.write_text("grants: 8")
    with events(caplog) as found:
        registry_in_force(at(file), connection)
        registry_in_force(at(file), connection)
    (event,) = found
    assert (event["event"], event["registry_version"], event["source"]) == (
        "registry.refused",
        good.version,
        str(file),
    )
    assert "grants" in event["reason"]
    file.write_text(GOOD)
    with events(caplog) as found:
        registry_in_force(at(file), connection)
    # It was in force all the time.
    assert found == []


def test_who_only_looks_writes_nothing_and_tells_nothing(
    connection: Connection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "registry.yaml"
    with events(caplog) as found:
        for content in (GOOD, "grants: 7"):
            file.write_text(content)
            with contextlib.suppress(RegistryUnavailable):
                registry_in_force(at(file), connection, write_down=False)
    assert found == []
    assert connection.execute("SELECT count(*) FROM ledger.registry_version").fetchone() == (0,)


def test_runs_that_meet_a_new_file_at_the_same_time_write_it_down_once(
    connection: Connection, database: str, tmp_path: Path
) -> None:
    file = tmp_path / "registry.yaml"
    granting(connection, SETTINGS, "maap-floods")
    barrier = threading.Barrier(2)

    def load(_: int) -> None:
        with psycopg.connect(database) as own:
            barrier.wait(timeout=30)
            registry_in_force(at(file), own)

    for number in range(3):
        file.write_text(GOOD + f"# {number}\n")
        with ThreadPoolExecutor(2) as both:
            list(both.map(load, range(2)))
    # Each file, the entries of the database once, each of both together.
    assert connection.execute("SELECT count(*) FROM ledger.registry_version").fetchone() == (7,)


USERS = ("hrodmn", "jjfrench", "eve")
IDS = ("shared", "maap-floods", "maap-fires", "esa-sea")
PATTERNS = (*IDS, "maap-*", "esa-*", "maap-fi*")
FILES = (
    "version: 1\n",
    "version: 1\nteams: {sea: [eve]}\ngrants: [{collection: 'esa-*', users: ['@sea'], create: true}]\n",
    "{shared: [hrodmn, eve]}",
    "no registry",
)
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("grants", "deny")), st.sampled_from(PATTERNS), st.sampled_from((*USERS, "@boreal"))),
        st.tuples(st.just("team"), st.sets(st.sampled_from(USERS)), st.none()),
        st.tuples(st.just("reserve"), st.sampled_from(PATTERNS), st.none()),
        st.tuples(st.just("revoke"), st.integers(0, 10), st.none()),
        st.tuples(st.just("file"), st.sampled_from(FILES), st.none()),
    ),
    min_size=1,
    max_size=12,
)


@hypothesis_settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_whatever_was_changed_since_old_versions_decide_as_they_did(
    connection: Connection, tmp_path: Path, steps: list[tuple[str, Any, Any]]
) -> None:
    # A file of its own for each example; the entries of examples before stay.
    file = tmp_path / f"{uuid4()}.yaml"
    file.write_text(FILES[0])
    registry_in_force(at(file), connection)
    asked = [(collection, user) for collection in IDS for user in USERS]
    then: dict[str, list[tuple[str, str, str | None]]] = {}
    for what, one, other in steps:
        with contextlib.suppress(Refused):
            if what in ("grants", "deny"):
                document = {"collection": one, "users": [other], "create": True}
                administer.grant(connection, at(file), what, document, ANA)  # type: ignore[arg-type]
            elif what == "team":
                administer.set_team(connection, at(file), "boreal", sorted(one), ANA)
            elif what == "reserve":
                administer.reserve(connection, at(file), one, ANA)
            elif what == "file":
                file.write_text(one)
            elif there := registry_entries.in_force(connection):
                administer.revoke(connection, at(file), there[one % len(there)].id, ANA)
        registry = registry_in_force(at(file), connection).registry
        decisions = [decided(registry, *one) for one in asked]
        then[registry.version] = [(one.code, one.outcome, one.collection) for one in decisions]
    for version, decisions_then in then.items():
        again = registry_of_version(connection, version)
        assert again is not None
        decisions = [decided(again, *one) for one in asked]
        assert [(one.code, one.outcome, one.collection) for one in decisions] == decisions_then
