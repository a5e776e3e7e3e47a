"""What runs and sensors ask every few seconds costs as much as there is to do, not as much as there ever was."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from maap_stac_orchestration.ledger import batches, claims, collections, default_ids, discovery, still_broken
from maap_stac_orchestration.stack.postgres import PostgresServer

from .build import BUCKET, DAY, LEASE, MAX_ATTEMPTS, WAIT, WRITTEN, Connection, nodes, plan

_JOBS = 100_000
_DUE = 500

# Years of jobs that have ended, and of each of the last days some that are due.
_FILL = """
INSERT INTO ledger.job (
    bucket, prefix, day, job_time, username, algorithm, version, tag, state, due_at, catalog_modified, batch_id
)
SELECT
    %(bucket)s, 'user' || number %% 50 || '/dps_output/flood/v1/' || number || '/', time::date, time,
    'user' || number %% 50, 'flood', 'v1', 'tag' || number %% 1000,
    CASE WHEN number <= 10 * %(due)s THEN 'discovered' ELSE 'loaded' END,
    CASE WHEN number <= 10 * %(due)s THEN now() - interval '1 hour' END,
    time, gen_random_uuid()
FROM generate_series(1, %(jobs)s) AS number
CROSS JOIN LATERAL (
    SELECT %(day)s::timestamptz - CASE
        WHEN number <= 10 * %(due)s THEN number %% 10 ELSE number %% 700
    END * interval '1 day' AS time
) AS times
"""
_FILL_CATALOGS = """
INSERT INTO ledger.catalog (bucket, key, etag, job_id, last_modified, source)
SELECT bucket, prefix || 'catalog.json', 'a', id, job_time, 'event' FROM ledger.job
"""
# A collection for each group of jobs, some of them deleted.
_FILL_COLLECTIONS = """
INSERT INTO ledger.collection (id, owner, deleted_at, deleted_by)
SELECT 'User__' || number, 'user', CASE WHEN number % 10 = 0 THEN now() END, CASE WHEN number % 10 = 0 THEN 'x' END
FROM generate_series(1, 20000) AS number
"""
_FILL_DEFAULT_IDS = """
INSERT INTO ledger.default_collection (id, username, algorithm, version)
SELECT 'User__' || number, 'user', number, 'v1' FROM generate_series(1, 20000) AS number
"""


@pytest.fixture(scope="module")
def full_database(postgres_server: PostgresServer, migrated: str) -> Iterator[str]:
    """A ledger with a history, shared by tests that change nothing in it."""
    with psycopg.connect(postgres_server.url(), autocommit=True) as server:
        server.execute(f"CREATE DATABASE full_ledger TEMPLATE {migrated}")  # type: ignore[arg-type]
        try:
            with psycopg.connect(postgres_server.url("full_ledger"), autocommit=True) as connection:
                connection.execute(_FILL, {"bucket": BUCKET, "due": _DUE, "jobs": _JOBS, "day": DAY})
                connection.execute(_FILL_CATALOGS)
                connection.execute(_FILL_COLLECTIONS)
                connection.execute(_FILL_DEFAULT_IDS)
                connection.execute(
                    "VACUUM ANALYZE ledger.job, ledger.catalog, ledger.collection, ledger.default_collection"
                )
            yield postgres_server.url("full_ledger")
        finally:
            server.execute("DROP DATABASE full_ledger WITH (FORCE)")


@pytest.fixture
def connection(full_database: str) -> Iterator[Connection]:
    """Whose changes are rolled back."""
    with psycopg.connect(full_database) as opened:
        yield opened
        opened.rollback()


def read(found: dict[str, Any], table: str) -> tuple[set[str], float]:
    """By which indexes a plan reads a table, and how many rows at most it looks at in one of the plan's nodes."""
    reading = [node for node in nodes(found) if node.get("Relation Name") == table and "Scan" in node["Node Type"]]
    assert reading
    assert [node for node in reading if node["Node Type"] == "Seq Scan"] == []
    rows = max((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"] for node in reading)
    return {node["Index Name"] for node in nodes(found) if "Index Name" in node}, rows


CLAIM = {
    "day": DAY,
    "batch": "00000000-0000-0000-0000-000000000000",
    "run_id": "run",
    "lease": LEASE,
    "max_jobs": 100,
    "max_items": 10_000,
    "wait_deadline": WAIT,
    "max_attempts": MAX_ATTEMPTS,
    "reason": None,
}


def test_claiming_reads_what_is_due_on_its_day_in_order_and_stops(connection: Connection) -> None:
    found = plan(connection, claims._CLAIM + batches.NOTED, CLAIM)
    indexes, rows = read(found, "job")
    assert "job_due" in indexes
    assert rows <= 2 * CLAIM["max_jobs"]


def test_giving_up_reads_what_is_due_on_its_day(connection: Connection) -> None:
    indexes, rows = read(plan(connection, claims._GIVE_UP, {"day": DAY, "max_attempts": MAX_ATTEMPTS}), "job")
    assert "job_due" in indexes
    assert rows <= _DUE


def test_finding_days_reads_what_is_due(connection: Connection) -> None:
    indexes, rows = read(plan(connection, claims._DUE_DAYS, {"counted": 100}), "job")
    assert indexes == {"job_due"}
    assert rows <= 2 * 10 * 100  # at most so many of each day


@pytest.mark.parametrize("statement", [claims._RENEW, batches._CLAIMED])
def test_a_run_reads_what_it_holds(connection: Connection, statement: str) -> None:
    with connection.transaction():
        connection.execute(claims._CLAIM + batches.NOTED, CLAIM)
    found = plan(connection, statement, {"batch": CLAIM["batch"], "lease": timedelta(minutes=1)})
    _, rows = read(found, "job")
    assert rows <= 2 * CLAIM["max_jobs"]


def test_recording_what_is_known_reads_just_that(connection: Connection) -> None:
    known = connection.execute("SELECT key FROM ledger.catalog LIMIT 1000").fetchall()
    keys = [key for (key,) in known]
    parameters = {
        "bucket": [BUCKET] * len(keys),
        "key": keys,
        "etag": ["a"] * len(keys),
        "last_modified": [WRITTEN] * len(keys),
    }
    _, rows = read(plan(connection, discovery._NEWS, parameters), "catalog")
    assert rows <= len(keys)


def test_looking_for_deleted_collections_reads_those_that_were_asked_about(connection: Connection) -> None:
    ids = [f"user__{number}" for number in range(1, 101)]
    indexes, rows = read(plan(connection, collections._DELETED, {"ids": ids}), "collection")
    assert indexes == {"collection_but_for_case"}
    assert rows <= len(ids)


def test_looking_for_default_ids_reads_those_that_were_asked_about(connection: Connection) -> None:
    ids = [f"user__{number}" for number in range(1, 101)]
    indexes, rows = read(plan(connection, default_ids._OWNERS, {"candidates": ids}), "default_collection")
    assert indexes == {"default_collection_but_for_case"}
    assert rows <= len(ids)


def test_looking_for_stuck_jobs_reads_what_is_due(connection: Connection) -> None:
    limits = {"live": still_broken.LIVE_STUCK, "backlog": still_broken.BACKLOG_STUCK}
    indexes, rows = read(plan(connection, still_broken._STUCK, limits), "job")
    assert indexes == {"job_due"}
    assert rows <= 10 * _DUE


def test_where_nothing_is_stuck_one_job_of_each_day_is_looked_at(connection: Connection) -> None:
    long = timedelta(days=1)
    indexes, rows = read(plan(connection, still_broken._STUCK, {"live": long, "backlog": long}), "job")
    assert indexes == {"job_due"}
    assert rows <= 10


def test_the_newest_jobs_of_several_states_are_as_many_as_asked_for_of_each(connection: Connection) -> None:
    asked = {"states": ["loaded", "discovered"], "limit": 20}
    indexes, rows = read(plan(connection, still_broken._NEWEST, asked), "job")
    assert "job_in_state" in indexes
    assert rows <= 2 * 20


@pytest.mark.parametrize("statement", [still_broken._CODES, still_broken._DAYS])
def test_counting_broken_jobs_reads_those_alone(connection: Connection, statement: str) -> None:
    indexes, rows = read(plan(connection, statement, still_broken._ASKED), "job")
    assert indexes == {"job_in_state"}
    assert rows == 0
