"""`maap-stac lineage`: where an item comes from, in words and as JSON, compared with pgstac and its source in S3."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import orjson
import psycopg
import pytest

from maap_stac_orchestration.governance.registry import load_registry
from maap_stac_orchestration.ledger import collections as known_collections
from tests.conftest import MotoStore
from tests.integration.cli.commands import Run
from tests.integration.pipeline.batches import Written, document, ingest

Connection = psycopg.Connection[tuple[Any, ...]]

COLLECTION = "henrydevseed__mosaic__v1__demo"
RUN = "6cf2f2ba-6d3d-4a6c-9d4e-0f0f6d7f8a11"
ITEM = document("-245_22-20240601")
JOB = Written([ITEM])


@pytest.fixture
def loaded(connection: Connection) -> Connection:
    ingest(connection, [JOB], run_id=RUN)
    return connection


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAAP_STAC_PUBLIC_URL", "https://stac.example.org/")
    monkeypatch.setenv("MAAP_STAC_DAGSTER_URL", "https://dagster.example.org")


def test_the_whole_chain_is_told_also_of_an_id_that_begins_with_a_hyphen(
    maap_stac: Run, loaded: Connection, addresses: None
) -> None:
    answer = maap_stac("lineage", COLLECTION, "-245_22-20240601")
    assert answer.code == 0, answer.stderr
    shown = answer.stdout
    lines = [line.strip() for line in shown.splitlines()]
    source = f"s3://maap-ops-workspace/{JOB.prefix}-245_22-20240601.json"
    assert lines[lines.index("Source document") + 1] == source
    assert lines[lines.index("Catalog") + 1] == f"s3://maap-ops-workspace/{JOB.prefix}catalog.json"
    assert lines[lines.index("Catalog") + 2].startswith(f"etag {JOB.seen().etag}, modified 2024-06-01 12:01:00 UTC")
    assert lines[lines.index("Job") + 1] == JOB.prefix
    assert f"https://stac.example.org/status/{quote(JOB.prefix, safe='')}" in lines
    assert lines[lines.index("Decision") + 1] == f"The item asks for no collection, so it goes to {COLLECTION}."
    assert lines[lines.index("Run") + 1] == f"https://dagster.example.org/runs/{RUN}"
    assert lines[lines.index("Run") + 2].endswith(", loaded")
    assert f"maap:job_prefix {JOB.prefix}" in lines
    assert f"maap:run_id {RUN}" in lines
    assert "\x1b" not in shown


def test_the_chain_as_json(maap_stac: Run, loaded: Connection, addresses: None) -> None:
    found = maap_stac("lineage", COLLECTION, "-245_22-20240601", "--json").json()
    assert found["source"]["href"].endswith(f"{JOB.prefix}-245_22-20240601.json")
    assert found["source"]["size"] == 9
    assert len(found["source"]["sha256"]) == 64
    assert found["catalogs"][0]["etag"] == JOB.seen().etag
    assert (found["job"]["prefix"], found["job"]["username"]) == (JOB.prefix, "henrydevseed")
    assert found["decision"]["decision"] == "default_assigned"
    assert found["run"]["id"] == RUN
    assert found["run"]["links"][0]["href"].endswith(f"/runs/{RUN}")
    assert found["pgstac"]["maap:job_prefix"] == JOB.prefix
    assert (found["others"], found["others_complete"]) == ([], True)
    assert (found["disagreements"], found["verified"]) == ([], None)


def test_other_jobs_that_brought_the_item_are_listed(maap_stac: Run, loaded: Connection) -> None:
    newer = Written([document("-245_22-20240601", title="new")], minute=3)
    ingest(loaded, [newer])
    shown = maap_stac("lineage", COLLECTION, "-245_22-20240601").stdout
    assert f"loaded     {JOB.prefix}" in shown.partition("Other jobs that brought it")[2]
    others = maap_stac("lineage", COLLECTION, "-245_22-20240601", "--json").json()["others"]
    assert [(one["prefix"], one["result"]) for one in others] == [(JOB.prefix, "loaded")]


# What is not as it should be.


def test_an_item_that_nobody_knows_is_told(maap_stac: Run, loaded: Connection) -> None:
    answer = maap_stac("lineage", COLLECTION, "b")
    assert answer.code == 1
    assert f"There is no item b of the collection {COLLECTION}, and the ledger knows of none" in answer.stderr
    assert maap_stac("lineage", "a\0", "b").code == 1


def test_an_item_that_the_ledger_does_not_know_is_told_with_what_it_says_itself(
    maap_stac: Run, loaded: Connection
) -> None:
    loaded.execute("DELETE FROM ledger.item")
    loaded.commit()
    answer = maap_stac("lineage", COLLECTION, "-245_22-20240601")
    assert answer.code == 1
    assert "the ledger does not know it: it was not written by this system" in answer.stderr
    assert f"maap:job_prefix {JOB.prefix}" in answer.stderr


def test_an_item_that_was_removed_from_pgstac_is_told(maap_stac: Run, loaded: Connection) -> None:
    loaded.execute("DELETE FROM pgstac.items")
    loaded.commit()
    answer = maap_stac("lineage", COLLECTION, "-245_22-20240601", "--json")
    assert answer.code == 1
    found = json.loads(answer.stdout)
    assert found["pgstac"] is None
    assert found["disagreements"] == ["pgstac does not have the item: somebody removed it there after it was loaded."]


def test_an_item_that_says_something_else_than_the_ledger_is_told(maap_stac: Run, loaded: Connection) -> None:
    loaded.execute("UPDATE ledger.job SET tag = 'another', username = 'eve'")
    loaded.commit()
    answer = maap_stac("lineage", COLLECTION, "-245_22-20240601")
    assert answer.code == 1
    assert "The item says maap:tag demo, the ledger another." in answer.stdout
    assert "The item says maap:username henrydevseed, the ledger eve." in answer.stdout


def test_a_collection_that_was_moved_or_deleted_is_told(maap_stac: Run, loaded: Connection) -> None:
    known_collections.delete(loaded, "old-one", by="root", moved_to=COLLECTION)
    known_collections.delete(loaded, "gone-one", by="root")
    loaded.commit()
    assert f"was moved; ask for the item in {COLLECTION}." in maap_stac("lineage", "old-one", "x").stderr
    assert "gone-one was deleted, and its items with it" in maap_stac("lineage", "gone-one", "x").stderr


def test_a_database_without_a_ledger_is_told(
    maap_stac: Run, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGDATABASE", empty_database.rsplit("/", 1)[1])
    for arguments in (["lineage", "a", "b"], ["show", JOB.prefix], ["jobs"], ["jobs", "--follow"]):
        answer = maap_stac(*arguments)
        assert answer.code == 2
        assert answer.stderr == "maap-stac: The database has no ledger of this version. Run `maap-stac migrate`.\n"


def test_a_database_that_does_not_answer_is_told(maap_stac: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "1")
    for arguments in (["lineage", "a", "b"], ["show", JOB.prefix], ["jobs"], ["jobs", "--follow"]):
        answer = maap_stac(*arguments)
        assert answer.code == 2
        assert "cannot be reached" in answer.stderr


# The source in S3.


@pytest.fixture
def verify(maap_stac: Run, loaded: Connection, object_store: MotoStore) -> Callable[[], tuple[int, dict[str, Any]]]:
    """Asks whether the source is still what was read, which it is to begin with."""
    object_store.put(f"{JOB.prefix}-245_22-20240601.json", orjson.dumps(ITEM))

    def ask() -> tuple[int, dict[str, Any]]:
        answer = maap_stac("lineage", COLLECTION, "-245_22-20240601", "--verify", "--json")
        found: dict[str, Any] = json.loads(answer.stdout)["verified"]
        return answer.code, found

    return ask


def test_a_source_that_is_as_it_was_read_is_verified(
    verify: Callable[[], tuple[int, dict[str, Any]]], maap_stac: Run
) -> None:
    code, found = verify()
    assert (code, found["source"]) == (0, "same")
    assert "byte for byte what was read" in found["message"]
    shown = maap_stac("lineage", COLLECTION, "-245_22-20240601", "--verify").stdout
    assert found["message"] in shown.partition("Verified")[2]


def test_a_source_that_was_changed_or_removed_is_told(
    verify: Callable[[], tuple[int, dict[str, Any]]], object_store: MotoStore
) -> None:
    key = f"{JOB.prefix}-245_22-20240601.json"
    object_store.put(key, b"{}")
    code, found = verify()
    assert (code, found["source"]) == (1, "changed")
    assert "has changed since" in found["message"]
    object_store.client().delete_object(Bucket=object_store.bucket, Key=key)
    code, found = verify()
    assert (code, found["source"], found["sha256"]) == (1, "gone", None)


def test_a_store_that_does_not_answer_is_told(
    verify: Callable[[], tuple[int, dict[str, Any]]], maap_stac: Run, object_store: MotoStore
) -> None:
    object_store.client().delete_object(Bucket=object_store.bucket, Key=f"{JOB.prefix}-245_22-20240601.json")
    object_store.client().delete_bucket(Bucket=object_store.bucket)
    answer = maap_stac("lineage", COLLECTION, "-245_22-20240601", "--verify")
    assert answer.code == 2
    assert "maap-ops-workspace" in answer.stderr
    assert answer.stdout == ""


def test_the_decision_of_a_collection_that_was_asked_for_is_told(maap_stac: Run, connection: Connection) -> None:
    registry = load_registry(
        "version: 1\ngrants: [{collection: maap-floods, users: [henrydevseed], create: true}]", "registry.yaml"
    )
    ingest(connection, [Written([document("a")], requests={"a": "maap-floods"})], registry)
    found = maap_stac("lineage", "maap-floods", "a", "--json").json()
    assert (found["decision"]["decision"], found["decision"]["requested"]) == ("granted", "maap-floods")
    assert found["decision"]["registry_version"] == registry.version
