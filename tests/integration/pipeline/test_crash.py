"""Processes that die in the midst of a load, and several that load at once: nothing is lost, nothing is doubled."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from maap_stac_orchestration.ledger.records import Batch
from maap_stac_orchestration.pgstac.items import lock_writers
from maap_stac_orchestration.pipeline.batch import DecidedJob
from maap_stac_orchestration.pipeline.load import load_jobs
from maap_stac_orchestration.stack.postgres import PostgresServer
from tests.conftest import _database
from tests.integration.pipeline.batches import SETTINGS, START, Written, claim, decided, document, dump, record
from tests.integration.pipeline.loading import APPLICATION, run, scene

ROOT = Path(__file__).parents[3]
FIRST, SECOND = "henrydevseed__mosaic__v1__first", "henrydevseed__mosaic__v1__second"


@pytest.fixture
def undisturbed(postgres_server: PostgresServer, migrated: str) -> Iterator[dict[str, list[Any]]]:
    """What the database holds after a run that nobody disturbed."""
    for url in _database(postgres_server, migrated):
        with psycopg.connect(url) as conn:
            record(conn, scene())
        run(url, "undisturbed")
        with psycopg.connect(url) as conn:
            yield dump(conn)


def start(database: str, run_id: str, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.integration.pipeline.loading", database, run_id, *arguments]
    return subprocess.Popen(command, cwd=ROOT)


def wait_for(database: str, question: str, process: subprocess.Popen[bytes] | None = None) -> None:
    """Until a question about the loading process has an answer."""
    with psycopg.connect(database, autocommit=True) as watcher:
        deadline = time.monotonic() + 60
        while watcher.execute(question, {"application": APPLICATION}).fetchone() is None:
            assert process is None or process.poll() is None, "the process ended before it came to the point"
            assert time.monotonic() < deadline, "the process never came to the point"
            time.sleep(0.02)


WAITS_FOR_LOCK = "SELECT 1 FROM pg_stat_activity WHERE application_name = %(application)s AND wait_event_type = 'Lock'"
IS_GONE = "SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = %(application)s)"

CREATION = "SELECT pg_advisory_xact_lock(hashtextextended('maap-stac collection creation', 0))"
LOCK_JOBS = "SELECT 1 FROM ledger.job WHERE tag = %s FOR NO KEY UPDATE"

#: Name of a moment -> what the test holds so that the process stops there.
MOMENTS = {
    "before any collection is created": CREATION,
    "between collections and partitions": FIRST,
    "before the second partition": SECOND,
    "with items written and not committed": "jobs of first",
    "with one group committed, the second written": "jobs of second",
    "with all items committed": "jobs of third",
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_load_that_is_done_again_gives_the_same_database(
    database: str, undisturbed: dict[str, list[Any]], moment: str
) -> None:
    with psycopg.connect(database) as conn:
        record(conn, scene())
    with psycopg.connect(database) as blocker:
        hold = MOMENTS[moment]
        if hold in (FIRST, SECOND):
            lock_writers(blocker, [hold])
        elif hold == CREATION:
            blocker.execute(hold)
        else:
            # The claim needs the rows, so they are held from when the claim is committed.
            lock_writers(blocker, [FIRST, SECOND])
        process = start(database, "killed")
        wait_for(database, WAITS_FOR_LOCK, process)
        if hold.startswith("jobs of "):
            with psycopg.connect(database) as second:
                second.execute(LOCK_JOBS, (hold.removeprefix("jobs of "),))
                blocker.commit()
                wait_for(database, f"{WAITS_FOR_LOCK} AND wait_event <> 'advisory'", process)
                process.kill()
                process.wait()
        else:
            process.kill()
            process.wait()
    wait_for(database, IS_GONE)
    with psycopg.connect(database) as conn:
        unfinished = conn.execute("UPDATE ledger.job SET due_at = now() WHERE state = 'ingesting'").rowcount
    assert unfinished > 0
    run(database, "the next one")
    with psycopg.connect(database) as conn:
        assert dump(conn) == undisturbed


def test_a_load_that_is_killed_again_and_again_comes_to_an_end(
    database: str, undisturbed: dict[str, list[Any]]
) -> None:
    with psycopg.connect(database) as conn:
        record(conn, scene())
    for number in range(6):
        process = start(database, f"killed-{number}")
        time.sleep(0.5 + 0.25 * number)
        process.kill()
        process.wait()
        wait_for(database, IS_GONE)
        with psycopg.connect(database) as conn:
            # Being killed is not the jobs' fault in this test.
            conn.execute("UPDATE ledger.job SET due_at = now(), attempts = 0 WHERE state = 'ingesting'")
    run(database, "the last one")
    with psycopg.connect(database) as conn:
        assert dump(conn) == undisturbed


def test_processes_that_load_into_the_same_collections_at_once_lose_nothing(
    database: str, undisturbed: dict[str, list[Any]]
) -> None:
    with psycopg.connect(database) as conn:
        record(conn, scene())
    processes = [start(database, f"run-{number}", "2") for number in range(3)]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    with psycopg.connect(database) as conn:
        found = dump(conn)
        rows = conn.execute("SELECT count(DISTINCT run_id) FROM ledger.batch").fetchone()
    assert rows is not None
    for name in ("items", "ledger items", "decisions", "ledger collections", "partitions"):
        assert found[name] == undisturbed[name], name
    # Who wrote the shared item first depends on who came first; that somebody ended each job does not.
    ends = [(job["prefix"], job["state"], job["refused"], job["loaded"] + job["unchanged"]) for job in found["jobs"]]
    assert ends == [
        (job["prefix"], job["state"], job["refused"], job["loaded"] + job["unchanged"]) for job in undisturbed["jobs"]
    ]


def test_an_older_job_that_comes_while_a_newer_one_is_being_written_does_not_overwrite_it(database: str) -> None:
    older, newer = (
        Written([document("a", title=name)], minute=minute) for minute, name in enumerate(("older", "newer"))
    )
    threads = []
    with psycopg.connect(database) as conn, psycopg.connect(database) as blocker:
        for job, waits_for in ((newer, "<> 'advisory'"), (older, "= 'advisory'")):
            record(conn, [job])
            batch = claim(conn)
            ready = decided(conn, [newer, older], batch)
            # The newer one stops with its item written and not committed, and the older one behind it.
            blocker.execute("SELECT 1 FROM ledger.job WHERE prefix = %s FOR NO KEY UPDATE", (job.prefix,))
            threads.append(threading.Thread(target=load_on_its_own, args=(database, ready, batch)))
            threads[-1].start()
            wait_for(database, f"{WAITS_FOR_LOCK} AND wait_event {waits_for}")
        blocker.commit()
        for thread in threads:
            thread.join(60)
        row = conn.execute("SELECT pgstac.get_item('a') #>> '{properties,title}'").fetchone()
        assert row == ("newer",)
        rows = conn.execute("SELECT result FROM ledger.job_item ORDER BY job_id").fetchall()
        assert rows == [("loaded",), ("older",)]


def load_on_its_own(database: str, ready: list[DecidedJob], batch: Batch) -> None:
    with psycopg.connect(database, application_name=APPLICATION) as conn:
        load_jobs(ready, batch, conn, SETTINGS, START)
