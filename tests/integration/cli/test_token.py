"""An operator at the command line makes, lists and revokes tokens, over a real database."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest

from maap_stac_orchestration.ledger import changes, tokens
from maap_stac_orchestration.ledger.changes import Action
from tests.conftest import free_port
from tests.integration.cli.commands import Run

Connection = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def run(maap_stac: Run) -> Run:
    """Runs `maap-stac token` with arguments, over a fresh database."""
    return partial(maap_stac, "token")


def create(run: Run, *more: str, username: str = "ana") -> dict[str, Any]:
    made = run("create", "--username", username, "--reason", "notebook", "--by", "bea", "--json", *more)
    assert made.code == 0, made.stderr
    document: dict[str, Any] = json.loads(made.stdout)
    return document


def test_the_token_alone_is_printed_and_it_works(run: Run, connection: Connection) -> None:
    made = run("create", "--username", "ana", "--reason", "notebook", "--by", "bea")
    assert made.code == 0, made.stderr
    assert re.fullmatch(r"maap-stac_[A-Za-z0-9_-]{43}\n", made.stdout)
    secret = made.stdout.strip()
    assert secret not in made.stderr
    assert "cannot be shown again" in made.stderr
    found = tokens.find(connection, secret)
    assert found is not None
    assert (found.username, found.admin, found.created_by) == ("ana", False, "bea")
    assert timedelta(days=89) < found.expires_at - found.created_at <= timedelta(days=91)


def test_what_was_asked_for_is_in_the_document(run: Run, connection: Connection) -> None:
    made = create(run, "--admin", "--expires", "12h", "--note", "for the curators")
    assert tokens.find(connection, made["token"]) is not None
    assert (made["username"], made["admin"], made["note"], made["state"]) == ("ana", True, "for the curators", "valid")
    valid_for = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created_at"])
    assert timedelta(hours=11) < valid_for < timedelta(hours=13)


def test_lists_never_show_a_secret(run: Run) -> None:
    first, second = create(run, "--note", "one"), create(run, username="carl")
    for arguments in (("list",), ("list", "--all"), ("list", "--json")):
        listed = run(*arguments)
        assert listed.code == 0
        assert "ana" in listed.stdout
        assert "carl" in listed.stdout
        assert first["token"] not in listed.stdout
        assert second["token"] not in listed.stdout
    assert not any("token" in one or "hash" in one for one in json.loads(run("list", "--json").stdout)["tokens"])


def test_the_list_shows_valid_tokens_of_a_user_or_all_of_everyone(run: Run) -> None:
    old, kept, other = create(run), create(run), create(run, username="carl")
    run("revoke", str(old["id"]), "--reason", "leaked", "--by", "bea")

    def listed(*options: str) -> list[tuple[int, str]]:
        document = json.loads(run("list", "--json", *options).stdout)
        return [(one["id"], one["state"]) for one in document["tokens"]]

    assert listed() == [(other["id"], "valid"), (kept["id"], "valid")]
    assert listed("--username", "ana") == [(kept["id"], "valid")]
    assert listed("--all", "--username", "ana") == [(kept["id"], "valid"), (old["id"], "revoked")]
    assert run("list", "--username", "nobody").stdout == "There is no such token.\n"


def test_a_revoked_token_is_useless_and_cannot_be_revoked_again(run: Run, connection: Connection) -> None:
    made = create(run)
    revoked = run("revoke", str(made["id"]), "--reason", "leaked", "--by", "carl", "--json")
    assert json.loads(revoked.stdout)["state"] == "revoked"
    with pytest.raises(tokens.TokenNotValid):
        tokens.find(connection, made["token"])
    again = run("revoke", str(made["id"]), "--reason", "leaked")
    assert again.code == 2
    assert "revoked already" in again.stderr
    latest = changes.history(connection, limit=1)[0]
    assert (latest.action, latest.by, latest.reason) == (Action.TOKEN_REVOKED, "carl", "leaked")


def test_each_change_is_a_log_event_without_the_secret(run: Run) -> None:
    made = run("create", "--username", "ana", "--reason", "notebook", "--by", "bea")
    revoked = run("revoke", "1", "--reason", "leaked", "--by", "carl")
    events = [json.loads(line) for line in (made.stderr + revoked.stderr).splitlines() if line.startswith("{")]
    assert [(one["event"], one["action"], one["token"], one["username"], one["by"]) for one in events] == [
        ("token.changed", "token_created", 1, "ana", "bea"),
        ("token.changed", "token_revoked", 1, "ana", "carl"),
    ]
    assert made.stdout.strip() not in made.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("create", "--username", "ana"), "--reason"),
        (("create", "--username", "ana", "--reason", " "), "--reason is empty"),
        (("create", "--username", "@boreal", "--reason", "x"), "@boreal"),
        (("create", "--username", "a b", "--reason", "x"), "a b"),
        (("create", "--username", "ana", "--reason", "x", "--expires", "0d"), "days from now"),
        (("create", "--username", "ana", "--reason", "x", "--expires", "400d"), "days from now"),
        (("create", "--username", "ana", "--reason", "x", "--expires", "never"), "30d"),
        (("create", "--username", "ana", "--reason", "x", "--expires", "-5d"), "30d"),
        (("create", "--username", "ana", "--reason", "x", "--expires", "99999999999d"), "30d"),
        (("revoke", "4711", "--reason", "x"), "4711"),
        (("revoke", "ana", "--reason", "x"), "ana"),
        (("revoke", str(2**70), "--reason", "x"), "range"),
        (("revoke", "1"), "--reason"),
    ],
)
def test_wrong_use_is_a_sentence_and_changes_nothing(
    run: Run, connection: Connection, arguments: tuple[str, ...], word: str
) -> None:
    answer = run(*arguments)
    assert (answer.code, answer.stdout) == (2, "")
    assert word in answer.stderr
    assert tokens.listing(connection) == []


def test_without_a_database_it_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", str(free_port()))
    answer = run("list")
    assert answer.code == 2
    assert "cannot be reached" in answer.stderr


def test_the_help_imports_nothing_heavy() -> None:
    heavy = "{'psycopg', 'fastapi', 'pydantic', 'dagster', 'structlog', 'jwt', 'rich', 'boto3'}"
    code = f"import sys; import maap_stac_orchestration.cli.token; print(sorted({heavy} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout == "[]\n"
