"""After an author repaired a job in S3 it becomes green: by a retry, or by itself where the catalog is a new one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import psycopg
import pytest

from maap_stac_orchestration import log_events
from maap_stac_orchestration.governance.registry import Registry
from maap_stac_orchestration.ledger.jobs import get_job
from maap_stac_orchestration.ledger.outcomes import finish
from maap_stac_orchestration.ledger.records import FinishedJob, JobDetail, JobFilter, State
from maap_stac_orchestration.ledger.retries import Skip
from maap_stac_orchestration.pipeline import retry as retry_module
from maap_stac_orchestration.pipeline.discover import Queue, drain_queue
from maap_stac_orchestration.pipeline.ingest import ingest_batch
from maap_stac_orchestration.pipeline.retry import (
    NothingPicked,
    RetryRefused,
    RetryRequest,
    TooManyMatch,
    retry,
)
from maap_stac_orchestration.problems import Code
from maap_stac_orchestration.stack.events import wire
from maap_stac_orchestration.store.s3 import S3Objects
from tests.conftest import MotoStore
from tests.integration.pipeline.batches import BUCKET, SETTINGS, Written, claim, document, record
from tests.integration.pipeline.test_ingest import put_job

Connection = psycopg.Connection[Any]
JOB = Written([document("a"), document("b", west=30.0)])


class World:
    """A bucket whose events reach a queue, and the ledger that they come to."""

    def __init__(self, store: MotoStore, connection: Connection) -> None:
        self.store, self.connection = store, connection
        wired = wire(store.client("s3"), store.client("sns"), store.client("sqs"), store.bucket)
        self.queue = Queue(wired.queue_url, store.client("sqs"), store.client())
        self.now = datetime.now(UTC)

    def listen(self) -> None:
        """Takes what happened in the bucket into the ledger."""
        deadline = time.monotonic() + 30
        drain_queue(self.connection, self.queue, (self.store.bucket,), deadline=deadline, wait_seconds=1)

    def work(self) -> list[str]:
        """Does everything that is due, as runs do; gives the states in which jobs were left."""
        self.listen()
        batch = claim(self.connection)
        store = S3Objects.from_environment()
        ingested = ingest_batch(self.connection, store, batch, SETTINGS, Registry.empty(), self.now)
        return [str(one.state) for one in ingested.outcomes]

    def let_deadlines_pass(self) -> None:
        """What is missing now is missing for good."""
        self.now += SETTINGS.wait_deadline + timedelta(minutes=1)
        self.connection.execute("UPDATE ledger.job SET due_at = now() WHERE due_at IS NOT NULL")
        self.connection.commit()

    def detail(self, job: Written = JOB) -> JobDetail:
        """The job as it stands."""
        found = get_job(self.connection, job.prefix)
        assert found is not None
        return found


@pytest.fixture
def world(object_store: MotoStore, connection: Connection) -> World:
    return World(object_store, connection)


@pytest.fixture
def events(caplog: pytest.LogCaptureFixture) -> Callable[[], list[Any]]:
    """Gives the log events that were written so far."""
    caplog.set_level(logging.INFO, log_events.LOGGER)
    return lambda: [orjson.loads(one.getMessage()) for one in caplog.records if one.name == log_events.LOGGER]


def ends(connection: Connection, *jobs: Written, state: State = State.REJECTED) -> None:
    """Puts jobs into the ledger that ended so."""
    record(connection, jobs)
    batch = claim(connection)
    finish(connection, batch, [FinishedJob(one, state) for one in batch.jobs])
    connection.commit()


def written(number: int, **more: Any) -> Written:
    return Written([document(f"item-{number}")], minute=number, **more)


def prefixes(jobs: Any) -> list[str]:
    return [one.prefix for one in jobs]


def test_a_missing_item_that_is_uploaded_later_is_loaded_by_a_retry(world: World) -> None:
    put_job(world.store, JOB, without="b.")
    assert world.work() == ["waiting"]
    world.let_deadlines_pass()
    assert world.work() == ["partial"]
    assert [problem["code"] for problem in world.detail().problems] == [str(Code.LINK_MISSING)]

    put_job(world.store, JOB, without="catalog.json")
    assert world.work() == [], "an item file makes no event; somebody has to ask"

    asked = RetryRequest(filter=JobFilter(code=Code.LINK_MISSING, username="henrydevseed"))
    assert prefixes(retry(world.connection, asked, by="ana").jobs) == [JOB.prefix]
    assert world.work() == ["loaded"]
    detail = world.detail()
    assert (detail.summary.loaded, detail.summary.unchanged, detail.problems) == (1, 1, ())
    assert [str(one.state) for one in detail.transitions][-3:] == ["discovered", "ingesting", "loaded"]


def test_a_retry_before_the_repair_ends_as_before_and_one_after_it_ends_well(world: World) -> None:
    put_job(world.store, JOB, without="met.json")
    world.let_deadlines_pass()
    assert world.work() == ["rejected"]
    asked = RetryRequest(prefixes=(f"s3://{world.store.bucket}/{JOB.prefix}catalog.json",))
    retry(world.connection, asked, by="ana")
    assert world.work() == ["rejected"], "the deadline is over, so it is told at once and not waited for again"
    put_job(world.store, JOB, without="catalog.json")
    retry(world.connection, asked, by="ana")
    assert world.work() == ["loaded"]


def test_a_new_version_of_the_catalog_is_tried_without_anybodys_help(world: World) -> None:
    put_job(world.store, JOB, without="catalog.json")
    world.store.put(JOB.prefix + "catalog.json", b'{"type": "Catalog", "links": [')
    world.let_deadlines_pass()
    assert world.work() == ["rejected"]
    put_job(world.store, JOB)
    assert world.work() == ["loaded"]
    assert len(world.detail().catalogs) == 2


def test_only_jobs_that_match_are_tried_and_loaded_ones_only_count(connection: Connection) -> None:
    mine, others = written(1), written(2, username="ben")
    ends(connection, mine, others)
    ends(connection, written(3), state=State.LOADED)
    result = retry(connection, RetryRequest(filter=JobFilter(username="henrydevseed")), by="ana")
    assert prefixes(result.jobs) == [mine.prefix]
    assert (result.skipped, result.matched) == ({Skip.LOADED: 1}, 2)
    assert prefixes(claim(connection).jobs) == [mine.prefix]


def test_a_forced_retry_tries_loaded_jobs_too(connection: Connection) -> None:
    ends(connection, written(1), state=State.LOADED)
    filter = JobFilter(username="henrydevseed")
    assert prefixes(retry(connection, RetryRequest(filter=filter, force=True), by="ana").jobs) == [written(1).prefix]


def test_loaded_jobs_that_are_asked_for_by_their_state_are_told_of_and_left(connection: Connection) -> None:
    ends(connection, written(1), state=State.LOADED)
    for asked in (RetryRequest(filter=JobFilter(state=State.LOADED)), RetryRequest(states={State.LOADED})):
        result = retry(connection, asked, by="ana")
        assert (result.jobs, result.skipped) == ((), {Skip.LOADED: 1})


def test_where_no_job_is_in_the_state_it_is_told_in_which_they_are(connection: Connection) -> None:
    ends(connection, written(1), written(2, tag="other"))
    result = retry(connection, RetryRequest(filter=JobFilter(tag="demo"), states={State.FAILED}), by="ana")
    assert (result.jobs, result.matched, result.in_other_states) == ((), 0, {State.REJECTED: 1})


def test_a_dry_run_tells_the_same_and_writes_nothing(connection: Connection) -> None:
    ends(connection, written(1), written(2))
    before = connection.execute("SELECT * FROM ledger.job ORDER BY id").fetchall()
    asked = RetryRequest(filter=JobFilter(state=State.REJECTED))
    looked = retry(connection, asked, by="ana", dry_run=True)
    assert looked.dry_run
    assert connection.execute("SELECT * FROM ledger.job ORDER BY id").fetchall() == before
    done = retry(connection, asked, by="ana")
    assert (looked.jobs, looked.skipped) == (done.jobs, done.skipped)


def test_jobs_that_runs_hold_are_left_to_them_and_it_is_told_for_how_long(connection: Connection) -> None:
    record(connection, [written(1)])
    (held,) = claim(connection).jobs
    result = retry(connection, RetryRequest(prefixes=(held.prefix,)), by="ana")
    assert result.skipped == {Skip.LEASED: 1}
    assert result.leased_until is not None
    assert result.leased_until > datetime.now(UTC)
    assert prefixes(retry(connection, RetryRequest(prefixes=(held.prefix,), force=True), by="ana").jobs) == [
        held.prefix
    ]


@pytest.mark.parametrize("asked", [RetryRequest(), RetryRequest(filter=JobFilter()), RetryRequest(force=True)])
def test_a_request_that_picks_nothing_is_refused(connection: Connection, asked: RetryRequest) -> None:
    with pytest.raises(NothingPicked, match="Name jobs by their output prefixes"):
        retry(connection, asked, by="ana")


def test_naming_and_picking_at_once_is_refused(connection: Connection) -> None:
    with pytest.raises(RetryRefused, match="Either"):
        retry(connection, RetryRequest(prefixes=("x",), filter=JobFilter(tag="demo")), by="ana")


def test_an_address_that_is_none_is_refused(connection: Connection) -> None:
    with pytest.raises(RetryRefused, match="s3:///x is not an address"):
        retry(connection, RetryRequest(prefixes=("s3:///x",)), by="ana")


def test_more_than_the_limit_is_refused_as_a_whole(connection: Connection) -> None:
    ends(connection, *(written(number) for number in range(3)))
    asked = RetryRequest(filter=JobFilter(state=State.REJECTED), limit=2)
    with pytest.raises(TooManyMatch, match=r"3 jobs match, and at most 2 are tried again at once\. Nothing was done"):
        retry(connection, asked, by="ana")
    named = RetryRequest(prefixes=tuple(written(number).prefix for number in range(3)), limit=2)
    with pytest.raises(TooManyMatch):
        retry(connection, named, by="ana")
    assert claim(connection).jobs == ()


def test_what_the_ledger_does_not_know_is_told_and_the_rest_is_done(connection: Connection) -> None:
    ends(connection, written(1))
    names = ("nobody/dps_output/x/", written(1).prefix.removesuffix("/"), written(1).prefix + "catalog.json")
    result = retry(connection, RetryRequest(prefixes=names), by="ana")
    assert prefixes(result.jobs) == [written(1).prefix]
    assert result.unknown == ("nobody/dps_output/x/",)


def test_what_was_committed_stays_done_when_it_is_killed_in_between(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends(connection, *(written(number) for number in range(4)))
    monkeypatch.setattr(retry_module, "_CHUNK", 3)
    asked = RetryRequest(filter=JobFilter(state=State.REJECTED))
    before, calls = retry_module.retries.request, []

    def dies(*arguments: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return before(*arguments, **more)

    monkeypatch.setattr(retry_module.retries, "request", dies)
    with pytest.raises(KeyboardInterrupt):
        retry(connection, asked, by="ana")
    connection.rollback()
    assert len(retry(connection, asked, by="ana").jobs) == 1
    assert len(claim(connection).jobs) == 4


def test_each_request_is_one_event(connection: Connection, events: Callable[[], list[Any]]) -> None:
    ends(connection, written(1), written(2))
    asked = RetryRequest(filter=JobFilter(state=State.REJECTED, username="henrydevseed"))
    retry(connection, asked, by="ana", dry_run=True)
    assert events() == []
    retry(connection, asked, by="ana", reason="the store was down")
    retry(connection, asked, by="ana")
    (event,) = events()
    assert (event["event"], event["picked"]) == ("job.retried", "username=henrydevseed state=rejected")
    assert (event["by"], event["reason"], event["jobs"], event["forced"]) == ("ana", "the store was down", 2, "no")


def test_any_time_can_be_asked_for(connection: Connection) -> None:
    ends(connection, written(1))
    first = datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))
    assert len(retry(connection, RetryRequest(filter=JobFilter(since=first)), by="ana").jobs) == 1


def test_the_result_as_a_document(connection: Connection) -> None:
    ends(connection, written(1))
    result = retry(connection, RetryRequest(prefixes=(written(1).prefix, "nobody/")), by="ana")
    assert result.to_document() == {
        "dry_run": False,
        "matched": 1,
        "retried": [{"bucket": BUCKET, "prefix": written(1).prefix, "before": "rejected"}],
        "skipped": {},
        "leased_until": None,
        "unknown": ["nobody/"],
        "in_other_states": {},
    }
