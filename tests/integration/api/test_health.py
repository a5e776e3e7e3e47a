"""Liveness and readiness, with each part missing in turn."""

from __future__ import annotations

import pytest

from maap_stac_orchestration.stack.postgres import migrate_database
from tests.conftest import free_port


def test_ping_answers(api):
    assert api.get("/_mgmt/ping").json() == {"message": "PONG"}


def test_all_is_up_when_every_part_answers(api):
    answer = api.get("/_mgmt/health")
    assert answer.status_code == 200
    health = answer.json()
    assert {part: health[part]["status"] for part in ("database", "pgstac", "ledger", "object_store")} == dict.fromkeys(
        ("database", "pgstac", "ledger", "object_store"), "UP"
    )
    assert health["status"] == "UP"
    assert health["pgstac"]["pgstac_version"].startswith("0.10.")


def test_without_a_database_it_lives_and_says_so(database_env, object_store, start_api, monkeypatch):
    monkeypatch.setenv("PGPORT", str(free_port()))
    api = start_api(buckets=(object_store.bucket,))
    assert api.get("/_mgmt/ping").status_code == 200
    answer = api.get("/_mgmt/health")
    assert answer.status_code == 503
    health = answer.json()
    assert {part: health[part]["status"] for part in ("database", "pgstac", "ledger", "object_store")} == {
        "database": "DOWN",
        "pgstac": "DOWN",
        "ledger": "DOWN",
        "object_store": "UP",
    }
    assert health["database"]["message"]


@pytest.mark.parametrize("path", ["/collections", "/search", "/jobs"])
def test_without_a_database_requests_are_answered_503(database_env, object_store, start_api, monkeypatch, path):
    monkeypatch.setenv("PGPORT", str(free_port()))
    answer = start_api(buckets=(object_store.bucket,)).get(path)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"]


def test_an_empty_database_is_told_from_none(empty_database, database_env, object_store, start_api, monkeypatch):
    monkeypatch.setenv("PGDATABASE", empty_database.rsplit("/", 1)[1])
    health = start_api(buckets=(object_store.bucket,)).get("/_mgmt/health").json()
    assert health["database"]["status"] == "UP"
    for part in ("pgstac", "ledger"):
        assert health[part]["status"] == "DOWN"
        assert "maap-stac migrate" in health[part]["message"]


def test_it_becomes_ready_when_the_database_is_migrated(
    empty_database, database_env, object_store, start_api, monkeypatch
):
    monkeypatch.setenv("PGDATABASE", empty_database.rsplit("/", 1)[1])
    api = start_api(buckets=(object_store.bucket,))
    assert api.get("/_mgmt/health").status_code == 503
    migrate_database(empty_database)
    assert api.get("/_mgmt/health").status_code == 200


def test_a_bucket_that_is_not_there_is_named(database_env, object_store, start_api):
    health = start_api(buckets=(object_store.bucket, "no-such-bucket")).get("/_mgmt/health").json()
    assert health["object_store"]["status"] == "DOWN"
    assert "no-such-bucket" in health["object_store"]["message"]


def test_no_bucket_configured_is_not_ready(database_env, object_store, start_api):
    health = start_api().get("/_mgmt/health").json()
    assert (health["status"], health["database"]["status"]) == ("DOWN", "UP")
    assert "MAAP_STAC_BUCKETS" in health["object_store"]["message"]


@pytest.mark.parametrize("path", ["/collections", "/search", "/jobs", "/jobs/summary"])
def test_in_an_empty_database_requests_say_what_is_missing(
    empty_database, database_env, object_store, start_api, monkeypatch, path
):
    monkeypatch.setenv("PGDATABASE", empty_database.rsplit("/", 1)[1])
    answer = start_api(buckets=(object_store.bucket,)).get(path)
    assert answer.status_code == 503
    assert "maap-stac migrate" in answer.json()["detail"]
