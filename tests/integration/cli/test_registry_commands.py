"""An administrator at the command line: who may write where, changed, listed and proven, over a real database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from maap_stac_orchestration.api.models import ChangeModel, DecisionsModel, EntriesModel, EntryDetailModel
from maap_stac_orchestration.cli.registry import COMMANDS
from maap_stac_orchestration.governance.decide import ExistingCollections, decide
from maap_stac_orchestration.governance.decision import OnDenied, Request
from maap_stac_orchestration.pipeline.registry import current_registry
from maap_stac_orchestration.settings import Settings
from tests.integration.cli.commands import Run
from tests.integration.pipeline.batches import Written, document, ingest

Connection = psycopg.Connection[tuple[Any, ...]]

FILE = """version: 1
reserved: ["esa-*"]
teams:
  boreal: [hrodmn, jjfrench]
grants:
  - {collection: shared, users: ["@boreal"]}
  - {collection: "{username}--*", users: ["{username}"], create: true}
"""


@pytest.fixture
def registry_file(tmp_path: Path) -> Path:
    file = tmp_path / "registry.yaml"
    file.write_text(FILE)
    return file


@pytest.fixture
def run(maap_stac: Run, registry_file: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `maap-stac` with arguments, over a fresh database and the registry file."""
    monkeypatch.setenv("MAAP_STAC_REGISTRY", str(registry_file))
    return maap_stac


def decided(connection: Connection, collection: str, username: str = "ana", algorithm: str = "flood@v1") -> str:
    """The code of the decision that the registry in force takes."""
    name, _, version = algorithm.partition("@")
    asked = Request(username, name, version, None, collection, f"{username}__{name}__{version}")
    registry = current_registry(Settings.from_environment(), connection)
    existing = ExistingCollections.of(["shared", "maap-floods"])
    return str(decide(asked, registry, existing, OnDenied.FALLBACK).code)


def test_a_grant_is_in_force_at_once_until_it_is_revoked(run: Run, connection: Connection) -> None:
    assert decided(connection, "maap-floods") == "user_not_authorized"
    granted = run(
        *("registry", "grant", "maap-*", "--user", "ana", "--algorithm", "flood@v1.*", "--algorithm", "flood@v1"),
        *("--create", "--reason", "campaign", "--by", "root-of-all", "--json"),
    ).json()
    EntryDetailModel.model_validate(granted)
    assert (granted["collection"], granted["users"], granted["create"]) == ("maap-*", ["ana"], True)
    assert (granted["by"], granted["reason"], granted["source"]) == ("root-of-all", "campaign", "the database")
    assert decided(connection, "maap-floods") == "granted"
    assert decided(connection, "maap-new") == "granted"
    assert decided(connection, "maap-floods", algorithm="flood@v2") == "algorithm_not_approved"

    revoked = run("registry", "revoke", str(granted["id"]), "--reason", "it ended", "--by", "bea", "--json").json()
    assert (revoked["revoked"]["by"], revoked["revoked"]["reason"]) == ("bea", "it ended")
    assert decided(connection, "maap-floods") == "user_not_authorized"


def test_a_grant_says_how_the_collection_that_it_creates_is_described(run: Run) -> None:
    granted = run(
        *("registry", "grant", "maap-new", "--user", "*", "--create", "--on-denied", "reject", "--title", "New"),
        *("--description", "All new", "--license", "CC-BY-4.0", "--keyword", "a", "--keyword", "b"),
        *("--reason", "why", "--json"),
    ).json()
    assert granted["template"] == {
        "title": "New",
        "description": "All new",
        "license": "CC-BY-4.0",
        "keywords": ["a", "b"],
    }
    assert granted["on_denied"] == "reject"


def test_a_denial_wins_over_grants(run: Run, connection: Connection) -> None:
    assert decided(connection, "shared", "hrodmn") == "granted"
    assert run("registry", "deny", "shared", "--user", "hrodmn", "--reason", "under review").code == 0
    assert decided(connection, "shared", "hrodmn") == "user_not_authorized"
    assert decided(connection, "shared", "jjfrench") == "granted"


def test_a_team_is_set_as_a_whole(run: Run, connection: Connection) -> None:
    assert run("registry", "team", "fire", "--user", "ana", "--user", "bob", "--reason", "new").code == 0
    assert run("registry", "grant", "shared", "--user", "@fire", "--reason", "why").code == 0
    assert decided(connection, "shared", "bob") == "granted"
    assert run("registry", "team", "@fire", "--user", "ana", "--reason", "bob left").code == 0
    assert decided(connection, "shared", "bob") == "user_not_authorized"
    assert decided(connection, "shared", "ana") == "granted"


def test_a_reserved_pattern_is_kept_for_exact_grants(run: Run, connection: Connection) -> None:
    assert run("registry", "grant", "nasa-*", "--user", "*", "--create", "--reason", "why").code == 0
    assert decided(connection, "nasa-one") == "granted"
    assert run("registry", "reserve", "nasa-*", "--reason", "a partner's names").code == 0
    assert decided(connection, "nasa-one") == "reserved_name"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("grant", "ma*", "--user", "ana"), "fewer than 3 characters before its *"),
        (("grant", "maap-*-x", "--user", "ana"), "a * elsewhere than at its end"),
        (("grant", "maap-x", "--user", "@nobody"), '"@nobody"'),
        (("grant", "maap-x", "--user", "ana", "--algorithm", "flood"), "name@version"),
        (("deny", "maap-x", "--user", "a b"), "a space"),
        (("team", "boreal", "--user", "ana"), "boreal is defined in"),
        (("reserve", "{username}--*"), "{username}"),
        (("revoke", "4711"), "no entry 4711"),
        (("revoke", "shared"), "Edit the file"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_sentence_and_changes_nothing(
    run: Run, connection: Connection, arguments: tuple[str, ...], sentence: str
) -> None:
    answer = run("registry", *arguments, "--reason", "why")
    assert (answer.code, answer.stdout) == (2, "")
    assert sentence in answer.stderr
    assert connection.execute("SELECT count(*) FROM ledger.registry_change").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM ledger.registry_entry").fetchone() == (0,)


@pytest.mark.parametrize(
    "arguments",
    [
        ("grant", "maap-x", "--user", "ana"),
        ("deny", "maap-x", "--user", "ana"),
        ("team", "fire", "--user", "ana"),
        ("reserve", "nasa-*"),
        ("revoke", "1"),
    ],
)
def test_whoever_changes_something_says_why_and_who(run: Run, arguments: tuple[str, ...]) -> None:
    for missing in ((), ("--reason", " "), ("--reason", "why", "--by", "")):
        answer = run("registry", *arguments, *missing)
        assert answer.code == 2
        assert "--reason" in answer.stderr or "--by" in answer.stderr


def test_who_changes_something_is_the_login_name_unless_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "login-of-ana")
    assert run("registry", "reserve", "nasa-*", "--reason", "why", "--json").json()["by"] == "login-of-ana"


def test_the_same_entry_twice_is_refused(run: Run) -> None:
    grant = ("registry", "grant", "maap-x", "--user", "ana", "--reason", "why")
    assert run(*grant).code == 0
    again = run(*grant)
    assert again.code == 2
    assert "already" in again.stderr


def test_an_entry_that_grants_less_than_it_seems_comes_with_a_note(run: Run) -> None:
    answer = run("registry", "grant", "ana--flood-*", "--user", "bob", "--reason", "why", "--json")
    (note,) = answer.json()["notes"]
    assert "grants nothing" in note
    assert note in answer.stderr
    assert note in run("registry", "list").stderr


def test_the_list_holds_entries_of_the_file_and_of_the_database(run: Run, registry_file: Path) -> None:
    assert run("registry", "grant", "maap-*", "--user", "ana", "--reason", "campaign", "--by", "bea").code == 0
    listed = run("registry", "list", "--json").json()
    EntriesModel.model_validate(listed)
    told = [(one["kind"], one["collection"] or one["team"], one["source"], one["by"]) for one in listed["grants"]]
    assert told == [
        ("reserved", "esa-*", str(registry_file), None),
        ("teams", "boreal", str(registry_file), None),
        ("grants", "shared", str(registry_file), None),
        ("grants", "{username}--*", str(registry_file), None),
        ("grants", "maap-*", "the database", "bea"),
    ]
    assert [one["id"] is None for one in listed["grants"]] == [True, True, True, True, False]
    assert listed["warning"] is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--username", "ana"), ["{username}--*", "maap-*"]),
        (("--username", "hrodmn"), ["boreal", "shared", "{username}--*"]),
        (("--collection", "shared"), ["shared"]),
        (("--collection", "maap-floods"), ["maap-*"]),
        (("--collection", "maap-*"), ["maap-*"]),
        (("--collection", "ESA-sentinel"), ["esa-*"]),
        (("--collection", "ana--floods"), ["{username}--*"]),
        (("--collection", "ana--floods", "--username", "bob"), []),
        (("--collection", "nothing here"), []),
        (("--kind", "teams"), ["boreal"]),
        (("--kind", "deny"), []),
    ],
)
def test_the_list_can_be_asked_about_a_user_an_id_or_a_kind(
    run: Run, options: tuple[str, ...], expected: list[str]
) -> None:
    assert run("registry", "grant", "maap-*", "--user", "ana", "--reason", "why").code == 0
    listed = run("registry", "list", *options, "--json").json()["grants"]
    assert [one["collection"] or one["team"] for one in listed] == expected


def test_a_narrow_terminal_cuts_no_ids(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "maap-" + "long-name-" * 5 + "end"
    assert run("registry", "grant", name, "--user", "ana-with-a-long-name", "--reason", "why").code == 0
    monkeypatch.setenv("COLUMNS", "40")
    for terminal in ("", "1"):
        monkeypatch.setenv("FORCE_COLOR", terminal)
        listed = run("registry", "list")
        assert name in listed.stdout
        assert "…" not in listed.stdout
    assert "ana-with-a-long-name" in run("registry", "list").stdout.replace("\n", "")


def test_a_broken_file_is_said_loudly_and_the_last_good_one_listed(
    run: Run, registry_file: Path, connection: Connection
) -> None:
    current_registry(Settings.from_environment(), connection)
    registry_file.write_text("version: 1\ngrants: 7\n")
    listed = run("registry", "list")
    assert listed.code == 0
    assert "line 2" in listed.stderr
    assert "shared" in listed.stdout


def test_the_history_tells_changes_and_loads_newest_first(
    run: Run, registry_file: Path, connection: Connection
) -> None:
    entry = run("registry", "grant", "maap-*", "--user", "ana", "--reason", "campaign", "--by", "bea", "--json").json()
    version = current_registry(Settings.from_environment(), connection).version
    run("registry", "revoke", str(entry["id"]), "--reason", "it ended", "--by", "carl")
    registry_file.write_text("version: 1\ngrants: 7\n")
    # Whoever only looks puts nothing on record.
    run("registry", "list")
    assert not [one for one in run("registry", "history", "--json").json()["history"] if one.get("ok") is False]
    current_registry(Settings.from_environment(), connection)
    history = run("registry", "history", "--json").json()["history"]
    assert [one["at"] for one in history] == sorted((one["at"] for one in history), reverse=True)
    changes = [one for one in history if one["what"] == "change"]
    for one in changes:
        ChangeModel.model_validate({key: value for key, value in one.items() if key != "what"})
    assert [(one["action"], one["subject"], one["by"], one["via"], one["reason"]) for one in changes] == [
        ("revoke", "maap-*", "carl", "cli", "it ended"),
        ("grant", "maap-*", "bea", "cli", "campaign"),
    ]
    loads = [one for one in history if one["what"] == "load"]
    assert [one["source"] for one in loads if not one["ok"]] == [str(registry_file)]
    assert version in {one["registry_version"] for one in loads}
    shown = run("registry", "history").stdout
    for text in ("campaign", "it ended", "bea", "carl", "refused", version):
        assert text in shown
    assert run("registry", "history", "--limit", "1", "--json").json()["history"] == history[:1]


def test_an_administrator_proves_what_was_allowed_and_when_it_ended(run: Run, connection: Connection) -> None:
    item = document("one")
    for minute, arguments in enumerate(
        (
            ("registry", "grant", "maap-new", "--user", "ana", "--create", "--reason", "campaign", "--by", "bea"),
            ("registry", "revoke", "maap-new", "--reason", "it ended", "--by", "bea"),
        )
    ):
        assert run(*arguments).code == 0
        job = Written([item], username="ana", minute=minute, requests={"one": "maap-new"})
        ingest(connection, [job], current_registry(Settings.from_environment(), connection))
        connection.commit()
    page = run("decisions", "--username", "ana", "--requested", "maap-new", "--json").json()
    DecisionsModel.model_validate(page)
    after, before = page["decisions"]
    assert (before["decision"], before["collection"]) == ("granted", "maap-new")
    assert (after["decision"], after["outcome"]) == ("user_not_authorized", "fallback")
    assert 'grant 1 "maap-new" (by bea' in before["rule"]
    assert before["registry_version"] != after["registry_version"]
    shown = run("decisions", "--requested", "maap-new").stdout
    for text in (after["prefix"], before["prefix"], before["rule"], "maap-new → maap-new", "user_not_authorized"):
        assert text in shown
    assert run("decisions", "--decision", "granted", "--limit", "1", "--json").json()["decisions"] == [before]
    assert "No such decision" in run("decisions", "--username", "nobody").stdout


def test_what_others_wrote_cannot_make_a_terminal_do_anything(run: Run, connection: Connection) -> None:
    assert run("registry", "reserve", "nasa-*", "--reason", "see \x1b[2J[bold]", "--by", "a\nb").code == 0
    ingest(connection, [Written([document("one")], username="ana", requests={"one": "\x1b[2Jx[red]"})])
    connection.commit()
    for command in (("decisions",), ("registry", "list"), ("registry", "history")):
        shown = run(*command).stdout
        assert "\x1b[2J" not in shown
        assert r"\x1b[2J" in shown
    assert "x[red]" in run("decisions").stdout


@pytest.mark.parametrize("command", [("decisions",), *(("registry", name) for name in COMMANDS)], ids=" ".join)
def test_every_command_has_an_example(run: Run, command: tuple[str, ...]) -> None:
    shown = run(*command, "--help").stdout
    assert "Example:" in shown
    assert f"maap-stac {' '.join(command)} " in " ".join(shown.split())
