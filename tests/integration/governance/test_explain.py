"""`maap-stac explain` asks the database for collections and grants, and S3 for the registry file, when nobody says."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from psycopg.types.json import Jsonb

from maap_stac_orchestration.cli.explain import command
from maap_stac_orchestration.governance.default_collection import default_collection_id
from maap_stac_orchestration.ledger import default_ids
from maap_stac_orchestration.ledger.changes import Author, Via
from maap_stac_orchestration.pipeline.administer import grant
from maap_stac_orchestration.settings import Settings
from tests.conftest import MotoStore

COLLECTION = {"type": "Collection", "stac_version": "1.1.0", "description": "x", "license": "other", "links": []}
EXTENT = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
ANA = ("--username", "ana", "--algorithm", "flood", "--version", "v1", "--json")


@pytest.fixture
def registry(object_store: MotoStore, monkeypatch: pytest.MonkeyPatch) -> str:
    object_store.put("governance/registry.yaml", b'version: 1\ngrants: [{collection: "maap-*", users: [ana]}]\n')
    address = f"s3://{object_store.bucket}/governance/registry.yaml"
    monkeypatch.setenv("MAAP_STAC_REGISTRY", address)
    return address


def explained(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(command, [*ANA, *arguments] if given is None else list(arguments), input=given)


def decisions(result: Result) -> list[str]:
    return [json.loads(line)["decision"] for line in result.stdout.splitlines()]


def test_the_database_tells_which_collections_there_are(
    registry: str, database_env: dict[str, str], connection: psycopg.Connection[tuple[Any, ...]]
) -> None:
    for collection in ("maap-floods", "Maap-Fires"):
        content = {**COLLECTION, "id": collection, "extent": EXTENT}
        connection.execute("SELECT pgstac.create_collection(%s)", (Jsonb(content),))
    connection.commit()
    for collection, decision in [
        ("maap-floods", "granted"),
        ("maap-fires", "name_conflict"),
        ("maap-winds", "collection_not_found"),
    ]:
        assert json.loads(explained("--collection", collection).stdout)["decision"] == decision
    cases = "".join(
        json.dumps({"username": "ana", "algorithm": "flood", "version": "v1", "collection": collection}) + "\n"
        for collection in ("maap-floods", "maap-fires", "maap-\0", "")
    )
    assert decisions(explained("--cases", "-", given=cases)) == [
        "granted",
        "name_conflict",
        "invalid_name",
        "default_assigned",
    ]


def test_a_database_without_pgstac_is_a_sentence(
    registry: str, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = psycopg.conninfo.conninfo_to_dict(empty_database)
    for variable, part in [("PGHOST", "host"), ("PGPORT", "port"), ("PGUSER", "user"), ("PGDATABASE", "dbname")]:
        monkeypatch.setenv(variable, str(parts[part]))
    if parts.get("password"):
        monkeypatch.setenv("PGPASSWORD", str(parts["password"]))
    failure = explained("--collection", "maap-floods").exception
    assert "The database does not tell which entries of the registry it has" in str(failure)


def test_names_whose_plain_id_is_anothers_are_told_the_id_that_they_would_get(
    database_env: dict[str, str], connection: psycopg.Connection[tuple[Any, ...]]
) -> None:
    def told(algorithm: str) -> str:
        asked = ("--username", "ana", "--algorithm", algorithm, "--version", "v1", "--json")
        return str(json.loads(explained(*asked, given="").stdout)["collection"])

    assert told("flood/map") == told("flood map") == "ana__flood-map__v1"
    names = ("ana", "flood map", "v1", None)
    default_ids.own(connection, names, default_collection_id(names))
    connection.commit()
    assert told("flood map") == "ana__flood-map__v1"
    assert told("flood/map") == default_collection_id(("ana", "flood/map", "v1", None)).hashed


def test_grants_of_the_database_count_beside_those_of_the_file(
    registry: str, database_env: dict[str, str], connection: psycopg.Connection[tuple[Any, ...]]
) -> None:
    assert json.loads(explained("--collection", "esa-floods").stdout)["decision"] == "user_not_authorized"
    settings = Settings(registry=registry)
    document = {"collection": "esa-*", "users": ["ana"], "create": True}
    grant(connection, settings, "grants", document, Author("root", Via.CLI, "a campaign"))
    granted = json.loads(explained("--collection", "esa-floods").stdout)
    assert granted["decision"] == "granted"
    assert granted["rule"].startswith('grant 1 "esa-*" (by root')
    [recorded] = connection.execute("SELECT count(*) FROM ledger.registry_version").fetchall()
    assert recorded == (0,), "asking puts nothing on record"
    # A file that is named is asked alone.
    alone = explained("--collection", "esa-floods", "--registry", registry)
    assert json.loads(alone.stdout)["decision"] == "user_not_authorized"


def test_a_registry_that_is_not_there_is_a_sentence(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAAP_STAC_REGISTRY", registry + ".old")
    assert "registry.yaml.old" in str(explained("--existing", "maap-floods").exception)
