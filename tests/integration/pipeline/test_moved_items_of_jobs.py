"""An item that its job writes to another collection than before is in the new one alone, at every moment."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from maap_stac_orchestration.governance.curation import Person
from maap_stac_orchestration.governance.registry import Registry, load_registry
from maap_stac_orchestration.ledger import collections as known_collections
from maap_stac_orchestration.ledger.changes import Author, Via
from maap_stac_orchestration.ledger.jobs import get_job
from maap_stac_orchestration.ledger.records import Batch, State
from maap_stac_orchestration.pgstac.items import lock_writers
from maap_stac_orchestration.pipeline import moved
from maap_stac_orchestration.pipeline.batch import DecidedJob, ItemCounts, JobOutcome
from maap_stac_orchestration.pipeline.curate import delete_collection
from maap_stac_orchestration.pipeline.load import load_jobs
from maap_stac_orchestration.pipeline.migrate_ids import migrate
from maap_stac_orchestration.pipeline.retry import RetryRequest, retry
from maap_stac_orchestration.pipeline.upkeep import refresh_collections
from maap_stac_orchestration.problems import Code
from maap_stac_orchestration.settings import Settings
from tests.integration.pipeline.batches import SETTINGS, START, Written, claim, decided, document, ingest, record
from tests.integration.pipeline.moving import APPLICATION, GRANTED, JOB

Connection = psycopg.Connection[Any]
ROOT = Path(__file__).parents[3]
DEFAULT = "henrydevseed__mosaic__v1__demo"
DENIED = Registry.empty()
CLOSED = load_registry("version: 1\non_denied: reject\ngrants: []\n", "test", None)
WITHOUT_TAG = "{username}__{algorithm_name}__{algorithm_version}"
AUTHOR = Author("ada", Via.CLI, "It was asked for")


def items(conn: Connection) -> dict[str, list[str]]:
    """Collection -> the ids of its items, in which pgstac and the ledger agree."""
    question = "SELECT collection, array_agg(id ORDER BY id) FROM {} GROUP BY 1 ORDER BY 1"
    found = dict(conn.execute(question.format("pgstac.items")).fetchall())
    known = dict(conn.execute(question.format("ledger.item")).fetchall())
    conn.rollback()
    assert known == found
    return found


def again(
    conn: Connection,
    jobs: Sequence[Written],
    registry: Registry,
    settings: Settings = SETTINGS,
) -> dict[str, JobOutcome]:
    """A forced retry of jobs under a registry."""
    record(conn, jobs)
    retry(conn, RetryRequest(prefixes=tuple(job.prefix for job in jobs), force=True), by="ana")
    return ingest(conn, jobs, registry, "run-2", settings)


def told(conn: Connection, job: Written) -> str | None:
    """What the history of a job says of its end."""
    found = get_job(conn, job.prefix)
    assert found is not None
    return found.transitions[-1].reason


def waiting_for_upkeep(conn: Connection) -> set[str]:
    found = {one.id for one in known_collections.to_refresh(conn)}
    conn.rollback()
    return found


def test_after_a_grant_a_forced_retry_moves_the_items_from_the_default_collection(connection: Connection) -> None:
    ingest(connection, [JOB], DENIED)
    assert items(connection) == {DEFAULT: ["a", "b"]}
    outcome = again(connection, [JOB], GRANTED)[JOB.prefix]
    assert (outcome.state, outcome.counts) == (State.LOADED, ItemCounts(loaded=2))
    assert outcome.collections == ("shared",)
    assert items(connection) == {"shared": ["a", "b"]}
    assert told(connection, JOB) == f"2 items moved from {DEFAULT} to shared."
    rows = connection.execute("SELECT collection FROM ledger.job_collection").fetchall()
    assert rows == [("shared",)]


def test_after_a_revocation_a_forced_retry_moves_them_back(connection: Connection) -> None:
    ingest(connection, [JOB], GRANTED)
    outcome = again(connection, [JOB], DENIED)[JOB.prefix]
    assert outcome.counts == ItemCounts(loaded=2, fallback=2)
    assert items(connection) == {DEFAULT: ["a", "b"]}
    assert told(connection, JOB) == f"2 items moved from shared to {DEFAULT}."


def test_a_job_that_is_rejected_keeps_what_it_wrote_before(connection: Connection) -> None:
    ingest(connection, [JOB], GRANTED)
    assert again(connection, [JOB], CLOSED)[JOB.prefix].state == State.REJECTED
    impostor = replace(JOB, metadata_username="somebody", catalog_minute=2)
    assert again(connection, [impostor], DENIED)[JOB.prefix].state == State.REJECTED
    assert items(connection) == {"shared": ["a", "b"]}
    assert told(connection, JOB) is None


def test_what_was_written_before_the_last_result_is_found_too(connection: Connection) -> None:
    ingest(connection, [JOB], DENIED)
    again(connection, [JOB], CLOSED)
    again(connection, [JOB], GRANTED)
    assert items(connection) == {"shared": ["a", "b"]}


def test_a_corrected_catalog_that_asks_for_another_collection_moves_what_it_is_about(connection: Connection) -> None:
    ingest(connection, [JOB], GRANTED)
    corrected = replace(JOB, requests={"a": "shared", "b": "shared-too"}, catalog_minute=2)
    outcome = ingest(connection, [corrected], GRANTED, "run-2")[JOB.prefix]
    assert outcome.counts == ItemCounts(loaded=1, unchanged=1)
    assert items(connection) == {"shared": ["a"], "shared-too": ["b"]}
    assert told(connection, JOB) == "1 item moved from shared to shared-too."
    exchanged = replace(JOB, requests={"a": "shared-too", "b": "shared"}, catalog_minute=3)
    ingest(connection, [exchanged], GRANTED, "run-3")
    assert items(connection) == {"shared": ["b"], "shared-too": ["a"]}
    assert told(connection, JOB) == ("1 item moved from shared to shared-too. 1 item moved from shared-too to shared.")


def test_items_that_a_new_catalog_does_not_list_stay(connection: Connection) -> None:
    ingest(connection, [JOB], DENIED)
    ingest(connection, [replace(JOB, items=JOB.items[:1], catalog_minute=2)], GRANTED)
    assert items(connection) == {DEFAULT: ["b"], "shared": ["a"]}


def test_a_waiting_job_moves_what_is_there_and_later_the_rest(connection: Connection) -> None:
    ingest(connection, [JOB], DENIED)
    partly = replace(JOB, items=JOB.items[:1], catalog_minute=2, awaiting=True)
    assert ingest(connection, [partly], GRANTED)[JOB.prefix].state == State.WAITING
    assert items(connection) == {DEFAULT: ["b"], "shared": ["a"]}
    assert told(connection, JOB) == f"1 item moved from {DEFAULT} to shared."
    connection.execute("UPDATE ledger.job SET due_at = now()")
    assert ingest(connection, [replace(JOB, catalog_minute=2)], GRANTED)[JOB.prefix].state == State.LOADED
    assert items(connection) == {"shared": ["a", "b"]}


def test_an_item_that_is_refused_in_the_new_collection_stays_in_the_old_one(connection: Connection) -> None:
    theirs = Written([document("a", title="theirs")], username="somebody", requests={"a": "shared"}, minute=9)
    ingest(connection, [JOB], DENIED)
    ingest(connection, [theirs], GRANTED)
    outcome = again(connection, [JOB], GRANTED)[JOB.prefix]
    assert [problem.code for problem in outcome.problems] == [Code.ITEM_OWNED_BY_OTHER]
    assert items(connection) == {DEFAULT: ["a"], "shared": ["a", "b"]}
    assert told(connection, JOB) == f"1 item moved from {DEFAULT} to shared."


def test_items_of_other_jobs_and_users_stay(connection: Connection) -> None:
    theirs = Written([document("c")], username="somebody", requests={"c": "shared"}, minute=1)
    another = Written([document("d")], requests={"d": "shared"}, minute=2)
    ingest(connection, [JOB, theirs, another], GRANTED)
    again(connection, [JOB], DENIED)
    assert items(connection) == {DEFAULT: ["a", "b"], "shared": ["c", "d"]}


def test_what_a_newer_job_wrote_over_an_item_stays_where_it_is(connection: Connection) -> None:
    newer = Written([document("a", title="newer")], minute=5)
    ingest(connection, [JOB, newer], DENIED)
    again(connection, [JOB], GRANTED)
    assert items(connection) == {DEFAULT: ["a"], "shared": ["a", "b"]}
    title = connection.execute("SELECT pgstac.get_item('a', %s) #>> '{properties,title}'", (DEFAULT,)).fetchone()
    assert title == ("newer",)
    assert told(connection, JOB) == f"1 item moved from {DEFAULT} to shared."


def test_what_a_newer_job_writes_over_an_item_in_the_same_run_stays(connection: Connection) -> None:
    ingest(connection, [JOB], DENIED)
    newer = Written([document("a", title="newer"), document("c")], requests={"c": "shared"}, minute=5)
    again(connection, [JOB, newer], GRANTED)
    assert items(connection) == {DEFAULT: ["a"], "shared": ["a", "b", "c"]}
    assert told(connection, JOB) == f"1 item moved from {DEFAULT} to shared."


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_jobs_that_come_to_one_collection_in_either_order_the_newer_copy_is_left(
    connection: Connection, order: Sequence[int]
) -> None:
    newer = replace(JOB, items=[document("a", title="newer")], tag="later", minute=5)
    jobs = [JOB, newer]
    ingest(connection, jobs, DENIED)
    for number in order:
        again(connection, [jobs[number]], GRANTED)
    assert items(connection) == {"shared": ["a", "b"]}
    title = connection.execute("SELECT pgstac.get_item('a') #>> '{properties,title}'").fetchone()
    assert title == ("newer",)


def test_several_jobs_and_collections_in_one_batch(connection: Connection) -> None:
    first = replace(JOB, requests={"a": "shared-one", "b": "shared-two"})
    second = Written([document("c"), document("d")], tag="other", requests={"c": "shared-two"}, minute=1)
    ingest(connection, [first, second], DENIED)
    again(connection, [first, second], GRANTED)
    other = "henrydevseed__mosaic__v1__other"
    assert items(connection) == {other: ["d"], "shared-one": ["a"], "shared-two": ["b", "c"]}
    assert told(connection, first) == (
        f"1 item moved from {DEFAULT} to shared-one. 1 item moved from {DEFAULT} to shared-two."
    )
    assert told(connection, second) == f"1 item moved from {other} to shared-two."


def test_a_second_reading_moves_nothing(connection: Connection) -> None:
    job = replace(JOB, requests={"a": "shared"})
    ingest(connection, [job], DENIED)
    again(connection, [job], GRANTED)
    refresh_collections(connection, waiting_for_upkeep(connection))
    outcome = again(connection, [job], GRANTED)[job.prefix]
    assert outcome.counts == ItemCounts(unchanged=2)
    assert items(connection) == {DEFAULT: ["b"], "shared": ["a"]}
    assert told(connection, job) is None
    assert waiting_for_upkeep(connection) == set()


def test_a_first_reading_looks_for_no_copies(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Any] = []
    monkeypatch.setattr(moved.old_copies, "elsewhere", lambda *asked: looked.append(asked) or [])
    ingest(connection, [JOB], DENIED)
    again(connection, [JOB], DENIED)
    assert looked == []
    again(connection, [JOB], GRANTED)
    assert len(looked) == 1


def test_the_extents_of_both_collections_are_computed_anew(connection: Connection) -> None:
    job = replace(JOB, requests={"b": "shared"})
    ingest(connection, [job], DENIED)
    refresh_collections(connection, waiting_for_upkeep(connection))
    again(connection, [job], GRANTED)
    assert waiting_for_upkeep(connection) == {DEFAULT, "shared"}
    refresh_collections(connection, waiting_for_upkeep(connection))
    boxes = dict(
        connection.execute("SELECT id, content #> '{extent,spatial,bbox,0}' FROM pgstac.collections").fetchall()
    )
    assert boxes == {DEFAULT: [0, 0, 1, 1], "shared": [20, 0, 21, 1]}


def test_a_collection_that_everything_leaves_stays_without_items(connection: Connection) -> None:
    ingest(connection, [JOB], DENIED)
    again(connection, [JOB], GRANTED)
    refresh_collections(connection, waiting_for_upkeep(connection))
    assert waiting_for_upkeep(connection) == set()
    rows = connection.execute("SELECT id FROM pgstac.collections ORDER BY id").fetchall()
    assert rows == [(DEFAULT,), ("shared",)]
    assert again(connection, [JOB], DENIED)[JOB.prefix].state == State.LOADED
    assert items(connection) == {DEFAULT: ["a", "b"]}


def test_a_collection_that_was_deleted_is_in_nobodys_way(connection: Connection) -> None:
    ingest(connection, [JOB], DENIED)
    delete_collection(connection, SETTINGS, Person("ada", admin=True), DEFAULT, AUTHOR)
    connection.commit()
    outcome = again(connection, [JOB], GRANTED)[JOB.prefix]
    assert outcome.counts == ItemCounts(loaded=2)
    assert items(connection) == {"shared": ["a", "b"]}
    assert told(connection, JOB) is None


def test_an_item_that_somebody_deleted_from_pgstac_did_not_move(connection: Connection) -> None:
    ingest(connection, [JOB], DENIED)
    connection.execute("SET search_path = pgstac, public")
    connection.execute("DELETE FROM pgstac.items WHERE id = 'a'")
    connection.commit()
    again(connection, [JOB], GRANTED)
    assert items(connection) == {"shared": ["a", "b"]}
    assert told(connection, JOB) == f"1 item moved from {DEFAULT} to shared."


def test_items_that_a_migration_of_ids_took_elsewhere_are_found_there(connection: Connection) -> None:
    without = Settings(_env_file=None, default_collection_template=WITHOUT_TAG)  # type: ignore[call-arg]
    ingest(connection, [JOB], DENIED)
    migrate(connection, WITHOUT_TAG, AUTHOR)
    assert items(connection) == {"henrydevseed__mosaic__v1": ["a", "b"]}
    again(connection, [JOB], CLOSED, without)
    again(connection, [JOB], GRANTED, without)
    assert items(connection) == {"shared": ["a", "b"]}
    assert told(connection, JOB) == "2 items moved from henrydevseed__mosaic__v1 to shared."


def test_another_template_of_default_ids_is_left_to_its_migration(connection: Connection) -> None:
    without = Settings(_env_file=None, default_collection_template=WITHOUT_TAG)  # type: ignore[call-arg]
    ingest(connection, [JOB], DENIED)
    again(connection, [JOB], DENIED, without)
    assert items(connection) == {DEFAULT: ["a", "b"], "henrydevseed__mosaic__v1": ["a", "b"]}
    again(connection, [JOB], GRANTED, without)
    assert items(connection) == {"shared": ["a", "b"]}, "of a grant that is no matter"


def test_a_run_that_lost_its_job_moves_nothing(connection: Connection) -> None:
    ingest(connection, [JOB], DENIED)
    retry(connection, RetryRequest(prefixes=(JOB.prefix,), force=True), by="ana")
    batch = claim(connection)
    ready = decided(connection, [JOB], batch, GRANTED)
    connection.execute("UPDATE ledger.job SET batch_id = gen_random_uuid(), run_id = 'other'")
    connection.commit()
    assert load_jobs(ready, batch, connection, SETTINGS, START) == []
    assert items(connection) == {DEFAULT: ["a", "b"]}


def watch(database: str, question: str, process: subprocess.Popen[bytes]) -> None:
    """Until a question about the moving process has an answer."""
    with psycopg.connect(database, autocommit=True) as watcher:
        deadline = time.monotonic() + 60
        while watcher.execute(question, {"application": APPLICATION}).fetchone() is None:
            assert process.poll() is None, "the process ended before it came to the point"
            assert time.monotonic() < deadline, "the process never came to the point"
            time.sleep(0.02)


def test_a_run_that_is_killed_before_it_commits_leaves_the_old_copies_alone(database: str) -> None:
    waits = """
    SELECT 1 FROM pg_stat_activity
    WHERE application_name = %(application)s AND wait_event_type = 'Lock' AND wait_event <> 'advisory'
    """
    with psycopg.connect(database) as conn, psycopg.connect(database) as blocker:
        ingest(conn, [JOB], DENIED)
        retry(conn, RetryRequest(prefixes=(JOB.prefix,), force=True), by="ana")
        # The claim needs the job's row, so the writer is held up until the row is held instead.
        lock_writers(blocker, ["shared"])
        process = subprocess.Popen([sys.executable, "-m", "tests.integration.pipeline.moving", database], cwd=ROOT)
        held = "SELECT 1 FROM pg_stat_activity WHERE application_name = %(application)s AND wait_event = 'advisory'"
        watch(database, held, process)
        with psycopg.connect(database) as second:
            second.execute("SELECT 1 FROM ledger.job FOR NO KEY UPDATE")
            blocker.commit()
            watch(database, waits, process)
            assert items(conn) == {DEFAULT: ["a", "b"]}, "written and not committed"
            process.kill()
            process.wait()
        deadline = time.monotonic() + 60
        while conn.execute("SELECT 1 FROM pg_stat_activity WHERE application_name = %s", (APPLICATION,)).fetchone():
            conn.rollback()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert items(conn) == {DEFAULT: ["a", "b"]}
        again(conn, [JOB], GRANTED)
        assert items(conn) == {"shared": ["a", "b"]}


def test_two_runs_that_move_items_past_each_other_wait_for_nobody_for_ever(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each writes to the collection that the other one takes items from, and whoever looks sees each item once."""
    caplog.set_level(logging.WARNING)
    other = Written([document("c"), document("d")], requests={"c": "shared", "d": "shared"}, minute=1)
    with psycopg.connect(database) as conn, psycopg.connect(database, autocommit=True) as reader:
        ingest(conn, [JOB], DENIED)
        ingest(conn, [other], GRANTED)
        for number in range(6):
            ways = (GRANTED, DENIED) if number % 2 == 0 else (DENIED, GRANTED)
            ready = [(job, prepared(conn, job, registry)) for job, registry in zip((JOB, other), ways, strict=True)]
            threads = [threading.Thread(target=load_alone, args=(database, *one)) for _, one in ready]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                found = reader.execute("SELECT array_agg(id ORDER BY id) FROM pgstac.items").fetchone()
                assert found == (["a", "b", "c", "d"],)
            for thread in threads:
                thread.join(60)
            mine, theirs = ("shared", DEFAULT) if number % 2 == 0 else (DEFAULT, "shared")
            assert items(conn) == {mine: ["a", "b"], theirs: ["c", "d"]}
    assert [one.getMessage() for one in caplog.records if "failed, again in" in one.getMessage()] == []


def test_a_migration_of_ids_that_is_faster_by_a_moment_leaves_no_copies(database: str) -> None:
    def migrate_alone() -> None:
        with psycopg.connect(database) as own:
            migrate(own, WITHOUT_TAG, AUTHOR)

    with psycopg.connect(database) as conn, psycopg.connect(database) as blocker:
        ingest(conn, [JOB], DENIED)
        ready = prepared(conn, JOB, GRANTED)
        lock_writers(blocker, [DEFAULT])
        # The loader has seen the copies in their old place by the time that it waits behind the migration.
        threads = [threading.Thread(target=migrate_alone), threading.Thread(target=load_alone, args=(database, *ready))]
        for waiting, thread in enumerate(threads, start=1):
            thread.start()
            await_writers(conn, waiting)
        blocker.commit()
        for thread in threads:
            thread.join(60)
        assert items(conn) == {"shared": ["a", "b"]}
        assert told(conn, JOB) == "2 items moved from henrydevseed__mosaic__v1 to shared."


def await_writers(conn: Connection, number: int) -> None:
    """Until so many transactions wait to be a collection's one writer."""
    question = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    deadline = time.monotonic() + 60
    while conn.execute(question).fetchone() != (number,):
        conn.rollback()
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.02)
    conn.rollback()


def prepared(conn: Connection, job: Written, registry: Registry) -> tuple[list[DecidedJob], Batch]:
    """A job that is retried, claimed and decided."""
    retry(conn, RetryRequest(prefixes=(job.prefix,), force=True), by="ana")
    batch = claim(conn)
    return decided(conn, [job], batch, registry), batch


def load_alone(database: str, ready: list[DecidedJob], batch: Batch) -> None:
    with psycopg.connect(database) as conn:
        load_jobs(ready, batch, conn, SETTINGS, START)
