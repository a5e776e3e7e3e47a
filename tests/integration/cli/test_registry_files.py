"""Registry files at the command line: taken over, written out, and tried before they are put in force."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from maap_stac_orchestration.governance.decide import ExistingCollections, decide
from maap_stac_orchestration.governance.decision import Decision, Request
from maap_stac_orchestration.governance.registry import Registry, load_registry
from maap_stac_orchestration.ledger import changes, registry_entries
from maap_stac_orchestration.pipeline.registry import current_registry
from maap_stac_orchestration.settings import Settings
from tests.conftest import MotoStore
from tests.integration.cli.commands import Run
from tests.integration.pipeline.batches import Written, document, ingest

Connection = psycopg.Connection[tuple[Any, ...]]

FILE = """version: 1
on_denied: reject
reserved: ["esa-*"]
teams:
  boreal: [hrodmn, jjfrench]
grants:
  - {collection: shared, users: ["@boreal"]}
  - {collection: "{username}--*", users: ["{username}"], create: true, template: {title: "Von Ümläut"}}
deny:
  - {collection: shared, users: [jjfrench], algorithms: ["old@*"]}
"""
ASKED = [
    (user, algorithm, collection)
    for user in ("hrodmn", "jjfrench", "eve")
    for algorithm in ("flood", "old")
    for collection in ("shared", "esa-x", "eve--x", "hrodmn--x", "maap-floods")
]


@pytest.fixture
def registry_file(tmp_path: Path) -> Path:
    file = tmp_path / "registry.yaml"
    file.write_text(FILE)
    return file


@pytest.fixture
def run(maap_stac: Run, registry_file: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `maap-stac registry` with arguments, over a fresh database and the registry file."""
    monkeypatch.setenv("MAAP_STAC_REGISTRY", str(registry_file))
    return partial(maap_stac, "registry")


def decisions(registry: Registry) -> list[tuple[str, str, str | None]]:
    """What a registry decides about everything in `ASKED`."""

    def decided(user: str, algorithm: str, collection: str) -> Decision:
        request = Request(user, algorithm, "v1", None, collection, f"{user}__{algorithm}__v1")
        return decide(request, registry, ExistingCollections.of(["shared"]))

    return [(one.code, one.outcome, one.collection) for one in (decided(*asked) for asked in ASKED)]


def in_force(connection: Connection) -> Registry:
    return current_registry(Settings.from_environment(), connection)


def test_a_dry_run_of_an_import_tells_what_the_import_then_does(
    run: Run, connection: Connection, tmp_path: Path
) -> None:
    file = tmp_path / "grants.json"
    file.write_text('{"maap-floods": ["eve"], "maap-fires-*": ["ana"]}')
    dry = run("import", str(file), "--reason", "move", "--dry-run")
    assert dry.code == 0
    assert "would add  grant maap-floods: eve, may be created" in dry.stdout
    assert "2 entries would be added." in dry.stdout
    assert registry_entries.history(connection) == []
    connection.commit()
    done = run("import", str(file), "--reason", "move", "--by", "ana", "--json")
    answer = json.loads(done.stdout)
    assert [one["entry"]["collection"] for one in answer["added"]] == ["maap-floods", "maap-fires-*"]
    (change,) = changes.history(connection)
    assert (change.id, change.by, change.reason) == (answer["change"], "ana", "move")
    again = run("import", str(file), "--reason", "move")
    assert again.stdout == "0 entries added; 2 entries in the database already.\n"


def test_an_import_tells_what_it_does_not_take_over(run: Run, registry_file: Path) -> None:
    done = run("import", str(registry_file), "--reason", "move", "--json")
    assert "on_denied: reject" in done.stderr
    assert [note for note in json.loads(done.stdout)["notes"] if "boreal" in note]


@pytest.mark.parametrize("content", ["grants: 7", "version: 1\nteams: {boreal: [eve]}"])
def test_a_file_that_cannot_be_taken_over_is_told_and_changes_nothing(
    run: Run, connection: Connection, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(content)
    answer = run("import", str(file), "--reason", "move")
    assert (answer.code, answer.stdout) == (2, "")
    assert "nothing was changed" in answer.stderr
    assert registry_entries.history(connection) == []


@pytest.mark.parametrize("arguments", [("import", "nowhere.yaml", "--reason", "x"), ("test", "nowhere.yaml")])
def test_a_file_that_is_not_there_is_told(run: Run, arguments: tuple[str, ...]) -> None:
    answer = run(*arguments)
    assert answer.code == 2
    assert answer.stderr.startswith("maap-stac: The registry file nowhere.yaml cannot be read: No such file")


def test_an_import_needs_a_reason(run: Run, registry_file: Path) -> None:
    answer = run("import", str(registry_file))
    assert answer.code == 2
    assert "--reason" in answer.stderr


def test_a_file_in_s3_can_be_taken_over_and_tried(run: Run, object_store: MotoStore) -> None:
    object_store.put("admin/grants.json", b'{"maap-floods": ["eve"]}')
    address = f"s3://{object_store.bucket}/admin/grants.json"
    assert run("test", address).code == 0
    assert "1 entry added" in run("import", address, "--reason", "move").stdout
    missing = run("test", f"s3://{object_store.bucket}/nowhere.json")
    assert missing.code == 2
    assert "nowhere.json" in missing.stderr


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_what_is_exported_decides_the_same(run: Run, connection: Connection, form: str) -> None:
    run("grant", "maap-*", "--user", "eve", "--algorithm", "flood@*", "--create", "--reason", "x")
    run("deny", "hrodmn--*", "--user", "@boreal", "--reason", "x")
    run("reserve", "maap-f*", "--reason", "x")
    run("team", "fire", "--user", "eve", "--reason", "x")
    exported = run("export", "--format", form)
    assert exported.code == 0
    assert (exported.stdout[0] == "{") is (form == "json")
    loaded = load_registry(exported.stdout, "exported")
    assert decisions(loaded) == decisions(in_force(connection))
    assert loaded.teams["fire"] == {"eve"}


def test_what_was_in_force_is_exported_by_its_version(run: Run, connection: Connection, tmp_path: Path) -> None:
    run("grant", "maap-floods", "--user", "eve", "--create", "--reason", "x")
    then = in_force(connection)
    expected = decisions(then)
    run("revoke", "maap-floods", "--reason", "x")
    (tmp_path / "registry.yaml").write_text("version: 1\n")
    assert decisions(in_force(connection)) != expected
    exported = run("export", "--version", then.version, "--json")
    assert decisions(load_registry(exported.stdout, "exported")) == expected
    unknown = run("export", "--version", "0123456789ab")
    assert (unknown.code, unknown.stdout) == (2, "")
    assert "0123456789ab" in unknown.stderr


@pytest.fixture
def past(connection: Connection, registry_file: Path) -> None:
    """Two jobs that asked for a shared collection: one was allowed to, one was not."""
    asked = Settings(_env_file=None, registry=str(registry_file))  # type: ignore[call-arg]
    jobs = [
        Written([document("a")], "eve", requests={"a": "eve--floods"}),
        Written([document("b")], "eve", minute=1, requests={"b": "maap-floods"}),
    ]
    ingest(connection, jobs, current_registry(asked, connection))


@pytest.mark.usefixtures("past")
def test_a_candidate_that_changes_nothing_passes(run: Run, registry_file: Path) -> None:
    answer = run("test", str(registry_file))
    assert answer.code == 0
    assert answer.stdout == "2 different requests for a collection in the last 30 days; nothing would change.\n"


@pytest.mark.usefixtures("past")
def test_what_a_candidate_would_change_is_shown(run: Run, tmp_path: Path) -> None:
    candidate = tmp_path / "candidate.yaml"
    candidate.write_text(
        "version: 1\non_denied: reject\ngrants: [{collection: maap-floods, users: [eve], create: true}]\n"
    )
    answer = run("test", str(candidate))
    assert answer.code == 1
    (lost,) = [line for line in answer.stdout.splitlines() if "eve--floods" in line]
    assert "loses access" in lost
    assert "1 would gain access, 1 would lose it, 0 would be denied otherwise" in answer.stdout
    as_json = run("test", str(candidate), "--days", "1", "--json")
    assert as_json.code == 1
    told = json.loads(as_json.stdout)
    assert told["counts"] == {"gained": 1, "lost": 1, "other": 0}
    (gained,) = [one for one in told["changes"] if one["effect"] == "gained"]
    assert (gained["username"], gained["requested"], gained["times"]) == ("eve", "maap-floods", 1)
    assert (gained["now"]["decision"], gained["then"]["decision"]) == ("user_not_authorized", "granted")


@pytest.mark.usefixtures("past")
def test_entries_of_the_database_stay_beside_a_candidate(run: Run, tmp_path: Path, registry_file: Path) -> None:
    run("grant", "maap-floods", "--user", "eve", "--create", "--reason", "x")
    assert run("test", str(registry_file)).code == 0
    run("grant", "shared", "--user", "@boreal", "--user", "eve", "--reason", "x")
    candidate = tmp_path / "candidate.yaml"
    candidate.write_text("version: 1\n")
    refused = run("test", str(candidate))
    assert (refused.code, refused.stdout) == (2, "")
    assert "would be refused" in refused.stderr
    assert "boreal" in refused.stderr


@pytest.mark.parametrize("command", ["import", "export", "test"])
def test_help_has_an_example(run: Run, command: str) -> None:
    assert f"maap-stac registry {command} " in run(command, "--help").stdout.partition("Example")[2]
