"""Changing the registry that the database keeps."""

from __future__ import annotations

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from maap_stac_orchestration import log_events
from maap_stac_orchestration.governance.decide import ExistingCollections, decide
from maap_stac_orchestration.governance.decision import Decision, DecisionCode, Request
from maap_stac_orchestration.ledger import changes, registry_entries
from maap_stac_orchestration.ledger.changes import Action, Author, Via
from maap_stac_orchestration.pipeline import administer
from maap_stac_orchestration.pipeline.administer import AlreadyThere, NoSuchEntry, Refused
from maap_stac_orchestration.pipeline.registry import registry_in_force
from maap_stac_orchestration.settings import Settings
from tests.integration.pipeline.batches import SETTINGS

Connection = psycopg.Connection[Any]
ANA = Author("ana", Via.CLI, "the boreal campaign")
BEN = Author("ben", Via.API, "the campaign is over")
FLOODS = {"collection": "maap-floods", "users": ["jsmith"], "create": True}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "registry.yaml"
    path.write_text(
        "version: 1\nteams: {boreal: [hrodmn]}\nreserved: ['esa-*']\n"
        "grants:\n  - {collection: shared, users: ['@boreal']}\n"
    )
    return path


def at(source: object) -> Settings:
    return SETTINGS.model_copy(update={"registry": str(source)})


def decided(connection: Connection, username: str, collection: str, settings: Settings = SETTINGS) -> Decision:
    request = Request(username, "flood", "v1", None, collection, f"{username}__flood__v1")
    return decide(request, registry_in_force(settings, connection).registry, ExistingCollections.of(()))


def test_a_grant_decides_from_then_on_and_names_who_and_when(connection: Connection) -> None:
    assert decided(connection, "jsmith", "maap-floods").code is DecisionCode.USER_NOT_AUTHORIZED
    entry = administer.grant(connection, SETTINGS, "grants", FLOODS, ANA)
    decision = decided(connection, "jsmith", "maap-floods")
    assert decision.code is DecisionCode.GRANTED
    assert decision.rule == f'grant {entry.id} "maap-floods" (by ana, {entry.change.at:%Y-%m-%d})'
    assert (entry.change.by, entry.change.reason, entry.change.action) == ("ana", ANA.reason, Action.GRANT)


def test_a_denial_wins_and_is_named(connection: Connection) -> None:
    administer.grant(connection, SETTINGS, "grants", FLOODS, ANA)
    denial = administer.grant(connection, SETTINGS, "deny", {"collection": "maap-*", "users": ["jsmith"]}, BEN)
    decision = decided(connection, "jsmith", "maap-floods")
    assert decision.code is DecisionCode.USER_NOT_AUTHORIZED
    assert decision.rule.startswith(f'deny {denial.id} "maap-*" (by ben, ')


def test_a_revoked_grant_decides_no_more_and_stays_in_the_trail(connection: Connection) -> None:
    entry = administer.grant(connection, SETTINGS, "grants", FLOODS, ANA)
    revoked = administer.revoke(connection, SETTINGS, entry.id, BEN)
    assert decided(connection, "jsmith", "maap-floods").code is DecisionCode.USER_NOT_AUTHORIZED
    assert revoked.removed is not None
    assert (revoked.removed.by, revoked.removed.reason) == ("ben", BEN.reason)
    trail = [(one.action, one.subject, one.by) for one in changes.history(connection)]
    assert trail == [(Action.REVOKE, "maap-floods", "ben"), (Action.GRANT, "maap-floods", "ana")]
    assert registry_entries.history(connection) == [revoked]


def test_an_entry_is_revoked_once(connection: Connection) -> None:
    entry = administer.grant(connection, SETTINGS, "grants", FLOODS, ANA)
    administer.revoke(connection, SETTINGS, entry.id, BEN)
    with pytest.raises(NoSuchEntry, match=r"out of force already, by change .* of ben"):
        administer.revoke(connection, SETTINGS, entry.id, ANA)
    with pytest.raises(NoSuchEntry, match="has no entry 4711"):
        administer.revoke(connection, SETTINGS, 4711, ANA)
    with pytest.raises(NoSuchEntry, match="has no entry"):
        administer.revoke(connection, SETTINGS, 10**30, ANA)


def test_an_entry_can_be_revoked_by_what_it_is_about_where_that_is_clear(connection: Connection) -> None:
    first = administer.grant(connection, SETTINGS, "grants", FLOODS, ANA)
    assert administer.revoke(connection, SETTINGS, "maap-floods", BEN).id == first.id
    second = administer.grant(connection, SETTINGS, "grants", FLOODS, ANA)
    third = administer.grant(connection, SETTINGS, "deny", {"collection": "maap-floods", "users": ["eve"]}, ANA)
    with pytest.raises(Refused, match=f"grant {second.id} .* deny {third.id} .* by its number"):
        administer.revoke(connection, SETTINGS, "maap-floods", BEN)
    with pytest.raises(NoSuchEntry, match="No entry of the database is about maap-fires"):
        administer.revoke(connection, SETTINGS, "maap-fires", BEN)


def test_entries_of_the_file_are_revoked_in_the_file(connection: Connection, file: Path) -> None:
    for meant, line in (("shared", 'grants[1] "shared" (line 5)'), ("@boreal", "the team boreal"), ("esa-*", "esa-")):
        with pytest.raises(NoSuchEntry, match="Edit the file") as refusal:
            administer.revoke(connection, at(file), meant, BEN)
        assert line in str(refusal.value)
        assert str(file) in str(refusal.value)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"collection": "maap-*-x", "users": ["jsmith"]}, "elsewhere than at its end"),
        ({"collection": "maap-*", "users": ["@nobody"]}, "there is no team"),
        ({"collection": "maap-*", "users": []}, "users is empty"),
        ({"collection": "maap-*", "users": ["jsmith"], "until": "2026"}, "unknown key"),
        ({"users": ["jsmith"]}, "has no collection"),
        ({"collection": "maap-*", "users": ["jsmith"], "create": "yes"}, "create must be true or false"),
    ],
)
def test_what_the_file_would_refuse_is_refused_and_changes_nothing(
    connection: Connection, document: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(Refused, match=sentence):
        administer.grant(connection, SETTINGS, "grants", document, ANA)
    assert registry_entries.history(connection) == []
    assert changes.history(connection) == []


@pytest.mark.parametrize("author", [Author("", Via.CLI, "why"), Author("ana", Via.CLI, " ")])
def test_nothing_is_changed_by_nobody_or_for_no_reason(connection: Connection, author: Author) -> None:
    with pytest.raises(Refused, match="Say "):
        administer.grant(connection, SETTINGS, "grants", FLOODS, author)
    assert registry_entries.in_force(connection) == []


def test_the_same_grant_twice_is_refused_so_that_one_revocation_ends_it(connection: Connection) -> None:
    document = {"collection": "maap-floods", "users": ["jsmith", "ana"]}
    first = administer.grant(connection, SETTINGS, "grants", document, ANA)
    again = {"collection": "maap-floods", "users": ["ana", "jsmith"], "create": False}
    with pytest.raises(AlreadyThere, match=f"Grant {first.id} "):
        administer.grant(connection, SETTINGS, "grants", again, BEN)


def test_a_team_is_set_as_a_whole_in_one_change(connection: Connection) -> None:
    administer.set_team(connection, SETTINGS, "boreal", ["hrodmn"], ANA)
    administer.grant(connection, SETTINGS, "grants", {**FLOODS, "users": ["@boreal"]}, ANA)
    before = registry_entries.last_moment(connection).change
    assert decided(connection, "jjfrench", "maap-floods").code is DecisionCode.USER_NOT_AUTHORIZED
    entry = administer.set_team(connection, SETTINGS, "boreal", ["hrodmn", "jjfrench"], BEN)
    assert decided(connection, "jjfrench", "maap-floods").code is DecisionCode.GRANTED
    assert entry.change.detail == {"before": ["hrodmn"], "after": ["hrodmn", "jjfrench"]}
    then = [one.document["users"] for one in registry_entries.as_of(connection, before) if one.kind == "teams"]
    assert then == [["hrodmn"]]


def test_a_team_may_have_no_members(connection: Connection) -> None:
    administer.set_team(connection, SETTINGS, "boreal", ["hrodmn"], ANA)
    administer.grant(connection, SETTINGS, "grants", {**FLOODS, "users": ["@boreal"]}, ANA)
    administer.set_team(connection, SETTINGS, "boreal", [], BEN)
    assert decided(connection, "hrodmn", "maap-floods").code is DecisionCode.USER_NOT_AUTHORIZED


def test_a_team_that_entries_name_cannot_be_revoked(connection: Connection) -> None:
    administer.set_team(connection, SETTINGS, "boreal", ["hrodmn"], ANA)
    entry = administer.grant(connection, SETTINGS, "deny", {"collection": "maap-*", "users": ["@boreal"]}, ANA)
    with pytest.raises(Refused, match="boreal"):
        administer.revoke(connection, SETTINGS, "@boreal", BEN)
    administer.revoke(connection, SETTINGS, entry.id, BEN)
    administer.revoke(connection, SETTINGS, "@boreal", BEN)
    assert registry_entries.in_force(connection) == []


def test_a_team_of_the_file_is_used_but_not_set(connection: Connection, file: Path) -> None:
    administer.grant(connection, at(file), "grants", {**FLOODS, "users": ["@boreal"]}, ANA)
    assert decided(connection, "hrodmn", "maap-floods", at(file)).code is DecisionCode.GRANTED
    for users in (["hrodmn"], ["eve"]):
        with pytest.raises(Refused, match=r"is defined in .*registry\.yaml; change its members there"):
            administer.set_team(connection, at(file), "boreal", users, ANA)


def test_a_reserved_pattern_needs_an_exact_grant(connection: Connection) -> None:
    administer.grant(connection, SETTINGS, "grants", {"collection": "nasa-*", "users": ["*"], "create": True}, ANA)
    assert decided(connection, "jsmith", "nasa-x").code is DecisionCode.GRANTED
    entry = administer.reserve(connection, SETTINGS, "nasa-*", BEN)
    decision = decided(connection, "jsmith", "nasa-x")
    assert decision.code is DecisionCode.RESERVED_NAME
    assert decision.rule.startswith(f'reserved {entry.id} "nasa-*" (by ben, ')
    with pytest.raises(AlreadyThere):
        administer.reserve(connection, SETTINGS, "nasa-*", ANA)


def test_an_entry_that_grants_less_than_it_seems_to_is_noted(connection: Connection) -> None:
    entry = administer.grant(connection, SETTINGS, "grants", {"collection": "bob--*", "users": ["jsmith"]}, ANA)
    (note,) = administer.notes_of(entry)
    assert f"grant {entry.id}" in note
    assert administer.notes_of(administer.grant(connection, SETTINGS, "grants", FLOODS, ANA)) == []


def test_the_listing_tells_the_source_of_each_entry_and_who_added_it(connection: Connection, file: Path) -> None:
    entry = administer.grant(connection, at(file), "grants", FLOODS, ANA)
    listed = administer.listing(connection, at(file))
    assert [(one.id, one.kind, one.source) for one in listed] == [
        (None, "reserved", str(file)),
        (None, "teams", str(file)),
        (None, "grants", str(file)),
        (entry.id, "grants", "the database"),
    ]
    assert listed[2].document == {"collection": "shared", "users": ["@boreal"]}
    assert [(one.by, one.reason) for one in listed[2:]] == [(None, None), ("ana", ANA.reason)]
    assert listed[3].at == entry.change.at


def test_each_change_is_a_log_event_and_a_refusal_is_none(
    connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=log_events.LOGGER)
    entry = administer.grant(connection, SETTINGS, "grants", FLOODS, ANA)
    with pytest.raises(Refused):
        administer.grant(connection, SETTINGS, "grants", FLOODS, ANA)
    administer.revoke(connection, SETTINGS, entry.id, BEN)
    lines = [json.loads(record.message) for record in caplog.records if record.name == log_events.LOGGER]
    told = [(one["event"], one["action"], one["subject"], one["by"], one["via"], one["reason"]) for one in lines]
    assert told == [
        ("registry.changed", "grant", "maap-floods", "ana", "cli", ANA.reason),
        ("registry.changed", "revoke", "maap-floods", "ben", "api", BEN.reason),
    ]
    assert lines[0]["change"] == entry.change.id


# Taking over a file

FILE = b"""\
version: 1
on_denied: reject
reserved: ["esa-*"]
teams:
  boreal: [hrodmn, jjfrench]
grants:
  - {collection: maap-floods, users: [jsmith], create: true}
  - {collection: "maap-*", users: ["@boreal"], algorithms: ["flood@v1.*"], create: true, template: {title: Floods}}
deny:
  - {collection: "maap-*", users: [eve]}
"""


def test_a_file_is_taken_over_as_one_change(connection: Connection) -> None:
    imported = administer.import_file(connection, SETTINGS, FILE, "registry.yaml", ANA)
    assert [one.kind for one in imported.added] == ["reserved", "teams", "grants", "grants", "deny"]
    assert imported.skipped == ()
    assert any("on_denied: reject" in note and "MAAP_STAC_ON_DENIED" in note for note in imported.notes)
    (change,) = changes.history(connection)
    assert (change.id, change.action, change.subject) == (imported.change, Action.IMPORT, "registry.yaml")
    assert {one.change.id for one in registry_entries.in_force(connection)} == {change.id}
    assert decided(connection, "hrodmn", "maap-x").code is DecisionCode.ALGORITHM_NOT_APPROVED
    assert decided(connection, "jsmith", "maap-floods").code is DecisionCode.GRANTED


def test_a_file_that_is_taken_over_again_adds_only_what_is_new(connection: Connection) -> None:
    administer.import_file(connection, SETTINGS, FILE, "registry.yaml", ANA)
    again = administer.import_file(connection, SETTINGS, FILE, "registry.yaml", BEN)
    assert (again.added, len(again.skipped), again.change) == ((), 5, None)
    assert len(changes.history(connection)) == 1
    more = FILE + b"  - {collection: maap-fires, users: [eve]}\n"
    third = administer.import_file(connection, SETTINGS, more, "registry.yaml", BEN)
    assert [one.document for one in third.added] == [{"collection": "maap-fires", "users": ["eve"]}]


def test_a_dry_run_tells_all_and_changes_nothing(connection: Connection, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger=log_events.LOGGER)
    dry = administer.import_file(connection, SETTINGS, FILE, "registry.yaml", ANA, dry_run=True)
    assert registry_entries.history(connection) == []
    assert changes.history(connection) == []
    assert [record for record in caplog.records if record.name == log_events.LOGGER] == []
    real = administer.import_file(connection, SETTINGS, FILE, "registry.yaml", ANA)
    assert (dry.added, dry.skipped, dry.notes, dry.change) == (real.added, real.skipped, real.notes, None)


def test_a_flat_file_is_taken_over_without_entries_that_name_nobody(connection: Connection) -> None:
    imported = administer.import_file(connection, SETTINGS, b'{"maap-floods": ["jsmith"], "maap-x": []}', "f.json", ANA)
    assert [one.document for one in imported.added] == [FLOODS]
    assert any("maap-x" in note and "names nobody" in note for note in imported.notes)


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"grants: 7", "f.yaml, line 1"),
        (b"version: 1\ngrants: [{collection: x-*-y, users: [a]}]", "line 2"),
        (b"version: 1\nteams: {boreal: [eve]}", "The team boreal of f.yaml has other members in the database: team "),
    ],
)
def test_a_file_that_cannot_be_used_changes_nothing(
    connection: Connection, content: bytes, sentence: str, dry_run: bool
) -> None:
    administer.set_team(connection, SETTINGS, "boreal", ["hrodmn"], ANA)
    with pytest.raises(Refused, match="nothing was changed") as refusal:
        administer.import_file(connection, SETTINGS, content, "f.yaml", ANA, dry_run=dry_run)
    assert sentence in str(refusal.value)
    assert len(registry_entries.history(connection)) == 1


def test_a_file_that_contradicts_the_file_in_force_changes_nothing(connection: Connection, file: Path) -> None:
    with pytest.raises(Refused, match="team boreal has other members"):
        administer.import_file(connection, at(file), b"version: 1\nteams: {boreal: [eve]}", "f.yaml", ANA)
    assert registry_entries.history(connection) == []


def test_the_file_in_force_can_move_into_the_database(connection: Connection, file: Path) -> None:
    before = [decided(connection, *asked, settings=at(file)).code for asked in (("hrodmn", "shared"), ("eve", "esa-x"))]
    imported = administer.import_file(connection, at(file), file.read_bytes(), str(file), ANA)
    assert any("boreal: defined in" in note for note in imported.notes)
    after = [decided(connection, *asked).code for asked in (("hrodmn", "shared"), ("eve", "esa-x"))]
    assert after == before


# Several at a time, and many


def test_two_administrators_at_the_same_time_define_a_team_once(connection: Connection, database: str) -> None:
    barrier = threading.Barrier(2)

    def set_team(member: str) -> Exception | None:
        with psycopg.connect(database) as own:
            barrier.wait(timeout=30)
            try:
                administer.set_team(own, SETTINGS, "boreal", [member], ANA)
            except Exception as error:  # noqa: BLE001  # told to the test
                return error
        return None

    for _ in range(5):
        with ThreadPoolExecutor(2) as both:
            assert list(both.map(set_team, ("hrodmn", "jjfrench"))) == [None, None]
        (team,) = registry_entries.in_force(connection)
        # One came after the other, and knew of it.
        assert sorted(team.change.detail["before"] + team.change.detail["after"]) == ["hrodmn", "jjfrench"]
        administer.revoke(connection, SETTINGS, "@boreal", BEN)


def test_over_a_connection_that_commits_each_statement_a_refused_change_leaves_nothing(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as own:
        administer.set_team(own, SETTINGS, "boreal", ["hrodmn"], ANA)
        administer.grant(own, SETTINGS, "grants", {**FLOODS, "users": ["@boreal"]}, ANA)
        # Refused after the entry was taken out of force.
        with pytest.raises(Refused, match="would not go together"):
            administer.revoke(own, SETTINGS, "@boreal", BEN)
        assert decided(own, "hrodmn", "maap-floods").code is DecisionCode.GRANTED
        assert [one.action for one in changes.history(own)] == [Action.GRANT, Action.TEAM]


def test_a_team_is_not_revoked_while_another_administrator_grants_to_it(connection: Connection, database: str) -> None:
    for _ in range(5):
        administer.set_team(connection, SETTINGS, "boreal", ["hrodmn"], ANA)
        barrier = threading.Barrier(2)

        def grant(barrier: threading.Barrier = barrier) -> bool:
            with psycopg.connect(database) as own:
                barrier.wait(timeout=30)
                try:
                    administer.grant(own, SETTINGS, "grants", {**FLOODS, "users": ["@boreal"]}, ANA)
                except Refused:
                    return False
            return True

        def revoke(barrier: threading.Barrier = barrier) -> bool:
            with psycopg.connect(database) as own:
                barrier.wait(timeout=30)
                try:
                    administer.revoke(own, SETTINGS, "@boreal", BEN)
                except Refused:
                    return False
            return True

        with ThreadPoolExecutor(2) as both:
            granted, revoked = both.submit(grant), both.submit(revoke)
            assert granted.result() != revoked.result()
        registry_in_force(SETTINGS, connection)
        for entry in reversed(registry_entries.in_force(connection)):
            administer.revoke(connection, SETTINGS, entry.id, BEN)


def test_ten_thousand_entries_are_taken_over_decide_and_are_read_once(connection: Connection) -> None:
    entries = [{"collection": f"maap-{number:05}", "users": [f"user{number}"]} for number in range(10_000)]
    content = json.dumps({"version": 1, "grants": entries}).encode()
    imported = administer.import_file(connection, SETTINGS, content, "many.json", ANA)
    assert len(imported.added) == 10_000
    registry = registry_in_force(SETTINGS, connection).registry
    assert len(registry.entries) == 10_000
    # The same object: nothing was read once more.
    assert registry_in_force(SETTINGS, connection).registry is registry
    assert decided(connection, "user7", "maap-00007").rule.startswith('grant 8 "maap-00007"')


@pytest.mark.parametrize("title", ["half a pair \ud800", "a\0b"])
def test_what_the_database_cannot_keep_is_refused(connection: Connection, title: str) -> None:
    with pytest.raises(Refused):
        administer.grant(connection, SETTINGS, "grants", {**FLOODS, "template": {"title": title}}, ANA)
    assert registry_entries.history(connection) == []
    administer.grant(connection, SETTINGS, "grants", FLOODS, ANA)


@pytest.mark.parametrize("subject", ["\0", "a\ud800", "x" * 5000])
def test_names_that_nobody_has_are_refused_in_a_sentence(connection: Connection, subject: str) -> None:
    with pytest.raises(NoSuchEntry):
        administer.revoke(connection, SETTINGS, subject, ANA)
    with pytest.raises(Refused):
        administer.reserve(connection, SETTINGS, subject, ANA)
    with pytest.raises(Refused):
        administer.set_team(connection, SETTINGS, subject, [], ANA)
    with pytest.raises(Refused):
        administer.set_team(connection, SETTINGS, "boreal", [f"{subject}@*"], ANA)
