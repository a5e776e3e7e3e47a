"""A migration of default ids that is killed, wherever that happens, ends in the same state when it is started again."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from maap_stac_orchestration.ledger.changes import Author, Via
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.pgstac.items import lock_writers
from maap_stac_orchestration.pipeline.migrate_ids import migrate
from maap_stac_orchestration.pipeline.upkeep import refresh_collections
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.stack.postgres import PostgresServer
from tests.conftest import _database
from tests.integration.pipeline.batches import SETTINGS, Written, document, dump, ingest
from tests.integration.pipeline.migrating import APPLICATION, AUTHOR

ROOT = Path(__file__).parents[3]
WITH_TAG = SETTINGS.default_collection_template
WITHOUT_TAG = "{username}__{algorithm_name}__{algorithm_version}"
FIRST, SECOND, MERGED = (f"ana__mosaic__v1{end}" for end in ("__first", "__second", ""))


def scene() -> list[Written]:
    """Jobs of two tags and of none; one item id in both tags, and one that a second job overwrote."""
    return [
        Written([document(f"{tag}-{number}", west=float(number)) for number in range(4)], "ana", tag=tag, minute=minute)
        for minute, tag in enumerate(("first", "second", None))
    ] + [
        Written([document("first-0", title="newer"), document("shared")], "ana", tag="first", minute=10),
        Written([document("shared", title="newest")], "ana", tag="second", minute=11),
    ]


def prepare(conn: Connection, template: str) -> None:
    ingest(conn, scene(), settings=Settings(_env_file=None, default_collection_template=template))  # type: ignore[call-arg]
    refresh_collections(conn, [id for (id,) in conn.execute("SELECT id FROM pgstac.collections").fetchall()])


def state(conn: Connection) -> dict[str, Any]:
    """Everything that may not depend on whether somebody was killed."""
    found: dict[str, Any] = dump(conn)
    questions = {
        "places": """
            SELECT job.prefix, job.collections, array_agg((item_id, result, collection)::text ORDER BY position)
            FROM ledger.job JOIN ledger.job_item ON job_id = job.id GROUP BY job.id ORDER BY prefix
        """,
        "jobs of collections": """
            SELECT collection, prefix FROM ledger.job_collection JOIN ledger.job ON job.id = job_id ORDER BY 1, 2
        """,
        "tombstones": """
            SELECT id, owner, deleted_at IS NULL, deleted_by, moved_to, described, described_by,
                refreshed_at IS NULL OR refreshed_at >= changed_at OR deleted_at IS NOT NULL
            FROM ledger.collection ORDER BY id
        """,
        "trail": """
            SELECT by, via, action, subject, reason, detail #- '{document,created}' #- '{document,updated}'
            FROM ledger.registry_change ORDER BY subject
        """,
        "moves": "SELECT source, target, items, finished_at IS NULL FROM ledger.id_move ORDER BY 1, 2",
        "owners of ids": "SELECT id, username, algorithm, version, tag FROM ledger.default_collection ORDER BY 1",
    }
    for name, question in questions.items():
        found[name] = conn.execute(question).fetchall()
    conn.rollback()
    return found


@pytest.fixture(params=[(WITH_TAG, WITHOUT_TAG), (WITHOUT_TAG, WITH_TAG)], ids=["tag dropped", "tag added"])
def templates(request: pytest.FixtureRequest) -> tuple[str, str]:
    """From which template to which one."""
    pair: tuple[str, str] = request.param
    return pair


@pytest.fixture
def undisturbed(postgres_server: PostgresServer, migrated: str, templates: tuple[str, str]) -> Iterator[dict[str, Any]]:
    """What the database holds after a migration that nobody disturbed, in batches of another size."""
    before, after = templates
    for url in _database(postgres_server, migrated):
        with psycopg.connect(url) as conn:
            prepare(conn, before)
            by, reason = AUTHOR
            migrate(conn, after, Author(by, Via.CLI, reason))
            yield state(conn)


def start(template: str) -> subprocess.Popen[bytes]:
    """The command; `database_env` says where."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integration.pipeline.migrating", template],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for(database: str, question: str, process: subprocess.Popen[bytes] | None = None) -> None:
    """Until a question about the process has an answer."""
    with psycopg.connect(database, autocommit=True) as watcher:
        deadline = time.monotonic() + 60
        while watcher.execute(question, {"application": APPLICATION}).fetchone() is None:
            assert process is None or process.poll() is None, "the process ended before it came to the point"
            assert time.monotonic() < deadline, "the process never came to the point"
            time.sleep(0.02)


WAITS = "SELECT 1 FROM pg_stat_activity WHERE application_name = %(application)s AND wait_event_type = 'Lock'"
IS_GONE = "SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = %(application)s)"

CREATION = "SELECT pg_advisory_xact_lock(hashtextextended('maap-stac collection creation', 0))"
TRAIL = "SELECT pg_advisory_xact_lock(hashtextextended('maap-stac registry change', 0))"
DEFAULT_IDS = "LOCK TABLE ledger.default_collection IN SHARE MODE"

#: Name of a moment, in the direction in which the process comes to it -> what the test holds so that it stops there.
MOMENTS: dict[str, tuple[str, str]] = {
    "before any id is taken": (WITHOUT_TAG, DEFAULT_IDS),
    "before a collection is made": (WITHOUT_TAG, CREATION),
    "before the second collection is prepared": (WITHOUT_TAG, "writer " + SECOND),
    "before items are written": (WITH_TAG, "writer " + SECOND),
    "with items written and not committed": (
        WITH_TAG,
        f"SELECT 1 FROM ledger.collection WHERE id = '{FIRST}' FOR NO KEY UPDATE",
    ),
    "with items of a second collection written": (
        WITH_TAG,
        f"SELECT 1 FROM ledger.collection WHERE id = '{SECOND}' FOR NO KEY UPDATE",
    ),
    "with all items moved, before the jobs": (
        WITH_TAG,
        "SELECT 1 FROM ledger.job WHERE tag = 'first' FOR NO KEY UPDATE",
    ),
    "with some jobs told": (WITHOUT_TAG, "SELECT 1 FROM ledger.job WHERE tag = 'second' FOR NO KEY UPDATE"),
    "with a collection deleted and not committed": (WITH_TAG, TRAIL),
}


@pytest.mark.parametrize(
    ("templates", "hold"),
    [((before, WITHOUT_TAG if before == WITH_TAG else WITH_TAG), hold) for before, hold in MOMENTS.values()],
    ids=list(MOMENTS),
    indirect=["templates"],
)
def test_a_killed_migration_that_is_started_again_ends_in_the_same_state(
    database: str, database_env: dict[str, str], templates: tuple[str, str], undisturbed: dict[str, Any], hold: str
) -> None:
    before, after = templates
    with psycopg.connect(database) as conn:
        prepare(conn, before)
    with psycopg.connect(database) as blocker:
        if hold.startswith("writer "):
            lock_writers(blocker, [hold.removeprefix("writer ")])
        else:
            blocker.execute(hold)
        process = start(after)
        wait_for(database, WAITS, process)
        process.kill()
        process.wait()
    wait_for(database, IS_GONE)
    with psycopg.connect(database) as conn:
        assert state(conn) != undisturbed
    # With the tag dropped, an item of an id that both tags have stays.
    assert start(after).wait(120) == (1 if after == WITHOUT_TAG else 0)
    with psycopg.connect(database) as conn:
        assert state(conn) == undisturbed


def test_a_migration_that_is_killed_again_and_again_comes_to_an_end(
    database: str, database_env: dict[str, str], templates: tuple[str, str], undisturbed: dict[str, Any]
) -> None:
    before, after = templates
    with psycopg.connect(database) as conn:
        prepare(conn, before)
        moved = 0
    for number in range(6):
        process = start(after)
        with psycopg.connect(database, autocommit=True) as watcher:
            further = "SELECT 1 FROM ledger.id_move HAVING sum(items) > %s"
            # The one before may have been killed when all items were moved: this one ends without moving more.
            while watcher.execute(further, [moved]).fetchone() is None and process.poll() is None:
                time.sleep(0.02)
        time.sleep(0.05 * number)
        process.kill()
        process.wait()
        wait_for(database, IS_GONE)
        with psycopg.connect(database) as conn:
            row = conn.execute("SELECT sum(items), bool_and(finished_at IS NOT NULL) FROM ledger.id_move").fetchone()
        assert row is not None
        moved, finished = row
        if finished:
            break
    assert start(after).wait(120) in (0, 1)
    with psycopg.connect(database) as conn:
        assert state(conn) == undisturbed
