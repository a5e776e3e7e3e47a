"""Giving a collection to another owner on the command line."""

from __future__ import annotations

import json
import sys
from typing import Any

import psycopg
import pytest

from maap_stac_orchestration.cli import group
from maap_stac_orchestration.cli.errors import told
from maap_stac_orchestration.governance.curation import Person
from maap_stac_orchestration.ledger import changes
from maap_stac_orchestration.ledger import collections as known_collections
from maap_stac_orchestration.ledger.changes import Action, Author, Via
from maap_stac_orchestration.pipeline.curate import create_collection
from tests.integration.pipeline.batches import SETTINGS
from tests.integration.pipeline.test_curate import collection

Connection = psycopg.Connection[Any]
TRANSFER = ("registry", "transfer", "ana--floods", "--to", "ben", "--by", "root")


@pytest.fixture(autouse=True)
def made(database_env: dict[str, str], connection: Connection) -> None:
    """A collection of an administrator's."""
    create_collection(
        connection, SETTINGS, Person("ana", admin=True), collection(), Author("ana", Via.API, "for the campaign")
    )


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["maap-stac", *arguments])
    return told(group)


def test_a_collection_is_given_to_another_owner_on_record(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], connection: Connection
) -> None:
    assert run(monkeypatch, *TRANSFER, "--reason", "Ana has left", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    (change, _) = changes.history(connection, subject="ana--floods")
    assert answer == {"collection": "ana--floods", "owner": "ben", "before": "ana", "change": change.id}
    assert (change.action, change.by, change.via, change.reason) == (
        Action.COLLECTION_TRANSFERRED,
        "root",
        Via.CLI,
        "Ana has left",
    )
    assert known_collections.owner_of(connection, "ana--floods") == "ben"


def test_what_cannot_be_transferred_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], connection: Connection
) -> None:
    assert run(monkeypatch, "registry", "transfer", "nothing", "--to", "ben", "--reason", "why") == 2
    assert "There is no collection nothing." in capsys.readouterr().err
    assert run(monkeypatch, *TRANSFER) == 2
    assert "--reason" in capsys.readouterr().err
    assert known_collections.owner_of(connection, "ana--floods") == "ana"


def test_people_read_whose_it_is_now(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, *TRANSFER, "--reason", "Ana has left") == 0
    assert "ana--floods is ben's now; it was ana's before" in capsys.readouterr().out
