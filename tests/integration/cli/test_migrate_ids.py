"""`maap-stac registry migrate-ids`: what it shows, what it writes, and what it says when it cannot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from maap_stac_orchestration import settings as settings_module
from maap_stac_orchestration.cli.errors import Told
from maap_stac_orchestration.cli.registry.migrate_ids import command
from maap_stac_orchestration.ledger import changes
from maap_stac_orchestration.ledger.connection import Connection
from tests.integration.pipeline.batches import Written, document, ingest

TEMPLATE = "{username}__{algorithm_name}__{algorithm_version}"
FIRST, SECOND, MERGED = (f"henrydevseed__mosaic__v1{end}" for end in ("__first", "__second", ""))


@pytest.fixture(autouse=True)
def _environment(database_env: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    grants = {"version": 1, "grants": [{"collection": FIRST, "users": ["jsmith"]}]}
    registry = tmp_path / "registry.json"
    registry.write_text(json.dumps(grants))
    monkeypatch.setenv("MAAP_STAC_REGISTRY", str(registry))
    monkeypatch.delenv("MAAP_STAC_DEFAULT_COLLECTION_TEMPLATE", raising=False)
    settings_module.settings.cache_clear()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, standalone_mode=False)


def fill(conn: Connection) -> None:
    ingest(
        conn,
        [
            Written([document("a"), document("b")], tag="first"),
            Written([document("b", title="newer"), document("c")], tag="second", minute=1),
        ],
    )


def test_without_apply_it_shows_what_it_would_do(connection: Connection) -> None:
    fill(connection)
    result = run("--to", TEMPLATE, "--json")
    assert result.return_value == 1
    shown = json.loads(result.stdout)
    notes = shown.pop("notes")
    assert shown == {
        "template": TEMPLATE,
        "applied": False,
        "moves": [
            {"from": FIRST, "to": MERGED, "items": 1, "already_there": 0},
            {"from": SECOND, "to": MERGED, "items": 2, "already_there": 0},
        ],
        "stays": [
            {
                "collection": FIRST,
                "target": MERGED,
                "reason": "id_taken",
                "message": "The new collection has another item of this id, or gets a newer one from another "
                "collection.",
                "items": 1,
                "examples": ["b"],
            }
        ],
        "emptied": [SECOND],
    }
    granted, template = notes
    assert FIRST in granted
    assert MERGED in granted
    assert "MAAP_STAC_DEFAULT_COLLECTION_TEMPLATE" in template
    words = run("--to", TEMPLATE).stdout
    assert "Would be moved" in words
    assert f"{SECOND} will have no items left and will be deleted" in words
    assert "--apply" in words
    # Nothing was written, not even that the registry was looked at.
    for table in ("ledger.id_move", "ledger.registry_change", "ledger.registry_version"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_with_apply_it_does_that_for_the_template_in_force(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(connection)
    connection.commit()
    monkeypatch.setenv("MAAP_STAC_DEFAULT_COLLECTION_TEMPLATE", TEMPLATE)
    settings_module.settings.cache_clear()
    result = run("--apply", "--by", "ada", "--reason", "No tags")
    assert result.return_value == 1
    assert "Moved" in result.stdout
    assert f"{SECOND} has no items left and is deleted" in result.stdout
    assert f"1 items stay in {FIRST}, instead of going to {MERGED}" in result.stdout
    found = connection.execute("SELECT collection, id FROM pgstac.items ORDER BY 1, 2").fetchall()
    assert found == [(MERGED, "a"), (MERGED, "b"), (MERGED, "c"), (FIRST, "b")]
    assert {(one.by, one.reason) for one in changes.history(connection)} == {("ada", "No tags")}
    connection.rollback()
    again = run("--apply", "--by", "ada", "--reason", "No tags", "--json")
    assert json.loads(again.stdout)["moves"] == []
    assert len(changes.history(connection)) == 2


def test_a_deployment_that_has_the_ids_of_the_template_has_nothing_to_do(connection: Connection) -> None:
    fill(connection)
    result = run()
    assert result.return_value == 0
    assert "Nothing to move" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "no-user"], "The template no-user cannot be used: it must contain {username}"),
        (["--apply"], "--apply needs --reason"),
        (["--apply", "--reason", " "], "--reason is empty"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(arguments: list[str], said: str) -> None:
    result = run(*arguments)
    error = result.exception
    assert error is not None
    assert said in (str(error) if isinstance(error, Told) else error.format_message())  # type: ignore[attr-defined]


def test_a_database_without_a_ledger_is_told(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATABASE", empty_database.rsplit("/", 1)[1])
    result = run("--to", TEMPLATE)
    assert isinstance(result.exception, Told)
    assert "maap-stac migrate" in str(result.exception)
