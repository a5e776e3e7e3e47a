"""What loading tells of jobs and batches: log events of what was committed, and metrics for CloudWatch."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from maap_stac_orchestration import log_events
from maap_stac_orchestration.governance.registry import load_registry
from maap_stac_orchestration.ledger import discovery
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import SeenCatalog
from maap_stac_orchestration.pipeline import discover, load
from maap_stac_orchestration.pipeline.ingest import ingest_batch
from maap_stac_orchestration.pipeline.load import load_jobs
from maap_stac_orchestration.pipeline.metrics import METRICS, tell_claimed
from maap_stac_orchestration.pipeline.registry import registry_in_force
from maap_stac_orchestration.pipeline.request import find_catalogs, parse_address, take_on
from maap_stac_orchestration.problems import Code, Problem
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.stack.events import wire
from maap_stac_orchestration.store.s3 import S3Objects
from tests.conftest import MotoStore
from tests.integration.pipeline.batches import SETTINGS, START, Written, claim, decided, document, ingest, record
from tests.integration.pipeline.test_ingest import put_job
from tests.unit.test_metrics import wrong_with

NAMESPACE = Settings(metrics_namespace="MAAP/STAC")
BAD = Problem(Code.ITEM_INVALID, "bad.json")

Told = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def told() -> Iterator[Told]:
    """Gives the lines that were written since it was asked last."""
    lines: list[dict[str, Any]] = []

    class Reading(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(record.getMessage()))

    handler, logger = Reading(), logging.getLogger(log_events.LOGGER)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)

    def since() -> list[dict[str, Any]]:
        found, lines[:] = list(lines), []
        return found

    yield since
    logger.removeHandler(handler)
    logger.setLevel(level)


def of(event: str, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if line.get("event") == event]


def test_each_end_is_one_event_with_what_the_ledger_has(connection: Connection, told: Told) -> None:
    jobs = [
        Written([document("a"), document("b")]),
        Written([document("c")], minute=1, problems=(BAD,), tag=None),
        Written([], minute=2, problems=(BAD, BAD)),
        Written([document("d")], minute=3, awaiting=True, problems=(Problem(Code.LINK_MISSING, "e.json"),)),
    ]
    ingest(connection, jobs)
    lines = told()
    rows = connection.execute(
        "SELECT prefix, username, algorithm, version, tag, state, loaded, unchanged, fallback, refused, problem_codes,"
        " collections FROM ledger.job WHERE state <> 'waiting' ORDER BY prefix"
    ).fetchall()
    names = (
        *("job", "username", "algorithm", "version", "tag", "state", "items_loaded", "items_unchanged"),
        *("items_fallback", "items_refused", "problems", "collections"),
    )
    ends = of("job.ended", lines)
    assert sorted(tuple(line[name] for name in names) for line in ends) == sorted(tuple(row) for row in rows)
    assert {line["state"] for line in ends} == {"loaded", "partial", "rejected"}
    assert {(line["run_id"], line["attempt"], line["level"]) for line in ends} == {("run-1", 1, "info")}
    for line in ends:
        written = next(job for job in jobs if job.prefix == line["job"]).seen().last_modified
        assert line["lag_seconds"] == pytest.approx((datetime.now(UTC) - written).total_seconds(), abs=60)
    (waiting,) = of("job.waiting", lines)
    assert (waiting["job"], waiting["items_loaded"], waiting["problems"]) == (jobs[3].prefix, 1, ["link_missing"])
    (batch,) = of("batch.ended", lines)
    assert [batch[name] for name in ("jobs", "jobs_loaded", "jobs_partial", "jobs_rejected", "jobs_waiting")] == [
        *(4, 1, 1, 1, 1)
    ]
    assert (batch["items_loaded"], batch["items_refused"]) == (4, 2)
    assert [line["stage"] for line in of("batch.stage_ended", lines)] == ["load"]


def test_what_was_rolled_back_is_not_told(connection: Connection, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [Written([document("a")], tag="one"), Written([document("b")], tag="two", minute=1)]
    record(connection, jobs)
    batch = claim(connection)
    finish, finished = load.outcomes.finish, []

    def fail_at_the_second(*handed: Any) -> Any:
        found = finish(*handed)
        finished.append(found)
        if len(finished) > 1:
            raise RuntimeError("the machine broke")
        return found

    monkeypatch.setattr(load.outcomes, "finish", fail_at_the_second)
    # Else both are one transaction.
    monkeypatch.setattr(load, "_TOGETHER_COLLECTIONS", 1)
    with pytest.raises(RuntimeError, match="the machine broke"):
        load_jobs(decided(connection, jobs, batch), batch, connection, NAMESPACE, START)
    lines = told()
    assert connection.execute("SELECT count(*) FROM ledger.job WHERE state = 'loaded'").fetchone() == (1,)
    assert len(of("job.ended", lines)) == 1
    assert [line["jobs"] for line in of("batch.ended", lines)] == [1]
    assert [line["JobsLoaded"] for line in lines if "_aws" in line] == [1]
    assert of("batch.stage_ended", lines) == []


def test_a_job_whose_catalog_changed_meanwhile_has_not_ended(connection: Connection, told: Told) -> None:
    job = Written([document("a")])
    record(connection, [job])
    batch = claim(connection)
    record(connection, [Written([document("a"), document("b")], catalog_minute=2)])
    (outcome,) = load_jobs(decided(connection, [job], batch), batch, connection, NAMESPACE, START)
    lines = told()
    assert connection.execute("SELECT state FROM ledger.job").fetchone() == ("discovered",)
    assert outcome.again
    assert of("job.ended", lines) == of("batch.ended", lines) == [line for line in lines if "_aws" in line] == []


def test_metrics_are_one_line_a_batch_by_the_rules_of_the_format(connection: Connection, told: Told) -> None:
    registry = load_registry(b"version: 1\ngrants: []\n", "test")
    now = datetime.now(UTC)
    jobs = [
        Written([document("a"), document("b")], requests={"a": "wanted", "b": "other"}),
        Written([document("c")], minute=1, problems=(BAD,)),
        Written([], minute=2, problems=(BAD,)),
        Written([document("d")], minute=3, awaiting=True),
    ]
    seen = [
        SeenCatalog(one.bucket, one.key, one.etag, one.size, now - timedelta(seconds=30), None, "event")
        for one in (job.seen() for job in jobs)
    ]
    discovery.record(connection, seen)
    connection.commit()
    batch = claim(connection)
    load_jobs(decided(connection, jobs, batch, registry), batch, connection, NAMESPACE, START)
    (line,) = [line for line in told() if "_aws" in line]
    assert wrong_with(line) == []
    assert line["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "MAAP/STAC"
    assert abs(line["_aws"]["Timestamp"] / 1000 - datetime.now(UTC).timestamp()) < 60
    assert {name: line[name] for name in line if name in set(METRICS) - {"Lag", "BatchSeconds"}} == {
        "JobsLoaded": 1,
        "JobsPartial": 1,
        "JobsRejected": 1,
        "JobsWaiting": 1,
        "ItemsLoaded": 4,
        "ItemsUnchanged": 0,
        "ItemsRefused": 2,
        "Denials": 2,
    }
    assert line["Lag"] == [pytest.approx(30, abs=10)] * 3
    assert 0 <= line["BatchSeconds"] < 60
    assert (line["run_id"], line["batch"]) == ("run-1", batch.batch_id)


def test_jobs_that_do_not_count_for_the_lag_leave_it_out(connection: Connection, told: Told) -> None:
    ingest(connection, [Written([document("a")])], settings=NAMESPACE)
    first = [line for line in told() if "_aws" in line]
    connection.execute("UPDATE ledger.job SET due_at = now(), state = 'discovered', ended_at = NULL")
    connection.commit()
    batch = claim(connection, "run-2")
    load_jobs(decided(connection, [Written([document("a")])], batch), batch, connection, NAMESPACE, START)
    second = [line for line in told() if "_aws" in line]
    assert [wrong_with(line) for line in first + second] == [[], []]
    assert ["Lag" in line for line in first + second] == [True, False]


def test_without_a_namespace_there_are_events_and_no_metrics(connection: Connection, told: Told) -> None:
    ingest(connection, [Written([document("a")])], settings=SETTINGS)
    lines = told()
    assert of("batch.ended", lines)
    assert [line for line in lines if "_aws" in line] == []


def test_jobs_that_are_given_up_are_told_when_they_are_not_claimed_again(connection: Connection, told: Told) -> None:
    record(connection, [Written([document("a")]), Written([document("b")], minute=1)])
    settings = Settings(metrics_namespace="MAAP/STAC", max_attempts=1)
    first = claim(connection, settings=settings)
    connection.execute("UPDATE ledger.job SET due_at = now() - interval '1 s' WHERE prefix LIKE '%/12/00/%'")
    connection.commit()
    second = claim(connection, "run-2", settings=settings)
    tell_claimed(first, settings)
    tell_claimed(second, settings)
    lines = told()
    assert [(line["jobs"], line["jobs_failed"]) for line in of("batch.claimed", lines)] == [(2, 0), (0, 1)]
    (failed,) = of("job.failed", lines)
    assert (failed["job"], failed["username"], failed["attempts"], failed["last_run_id"], failed["level"]) == (
        *(Written().prefix, "henrydevseed", 1, "run-1", "error"),
    )
    (line,) = [line for line in lines if "_aws" in line]
    assert wrong_with(line) == []
    assert line["JobsFailed"] == 1


def test_a_claim_of_nothing_is_not_told(connection: Connection, told: Told) -> None:
    tell_claimed(claim(connection), NAMESPACE)
    assert told() == []


def test_catalogs_that_became_known_are_told_once_and_after_the_commit(
    connection: Connection, database: str, told: Told
) -> None:
    found = [
        discover.FoundCatalog(
            bucket=one.bucket,
            key=one.key,
            etag=one.etag,
            size=one.size or 0,
            last_modified=one.last_modified,
            version_id=None,
        )
        for one in (Written(minute=minute).seen() for minute in range(3))
    ]
    recorded = discover.record_found(connection, found, source="listing")
    with psycopg.connect(database) as other:
        assert other.execute("SELECT count(*) FROM ledger.job").fetchone() == (3,)
    discover.tell_recorded("listing", recorded, discover.record_found(connection, found, source="listing"))
    discover.tell_recorded("listing", discover.record_found(connection, found, source="listing"))
    (line,) = told()
    assert (line["event"], line["source"], line["new"], line["known"]) == ("jobs.discovered", "listing", 3, 3)


def test_what_the_queue_brings_is_told_once_a_drain_and_junk_by_its_message(
    connection: Connection, object_store: MotoStore, told: Told
) -> None:
    wired = wire(object_store.client("s3"), object_store.client("sns"), object_store.client("sqs"), object_store.bucket)
    queue = discover.Queue(wired.queue_url, object_store.client("sqs"), object_store.client("s3"))

    def drain() -> list[dict[str, Any]]:
        deadline = time.monotonic() + 30
        discover.drain_queue(connection, queue, (object_store.bucket,), deadline=deadline, wait_seconds=1)
        return told()

    drain()  # the test event that S3 sends first
    for number in range(3):
        object_store.put(f"{Written(minute=number).prefix}catalog.json", b"{}")
    sent = object_store.client("sqs").send_message(QueueUrl=queue.url, MessageBody="junk\nand more")
    lines = drain()
    (refused,) = of("queue.message_refused", lines)
    assert (refused["queue"], refused["message"], refused["level"]) == (queue.url, sent["MessageId"], "error")
    (found,) = of("jobs.discovered", lines)
    assert (found["source"], found["new"], found["known"], found["ignored"]) == ("event", 3, 0, 0)
    assert drain() == []


def test_stages_are_told_with_the_run_and_in_their_order(
    connection: Connection, object_store: MotoStore, told: Told
) -> None:
    job = Written([document("a")])
    put_job(object_store, job)
    address = parse_address(f"s3://{object_store.bucket}/{job.prefix}")
    store = S3Objects.from_environment()
    claimed = take_on(connection, find_catalogs(store, [address])[address], SETTINGS, "by-hand")
    registry = registry_in_force(SETTINGS, connection).registry
    ingest_batch(connection, store, claimed.batches[0], SETTINGS, registry)
    lines = [line for line in told() if not line["event"].startswith("registry.")]
    assert [(line["event"], line.get("stage")) for line in lines] == [
        ("jobs.discovered", None),
        ("batch.claimed", None),
        ("batch.stage_ended", "read"),
        ("batch.stage_ended", "decide"),
        ("governance.decision", None),
        ("job.ended", None),
        ("batch.stage_ended", "load"),
        ("batch.ended", None),
    ]
    assert {line["run_id"] for line in lines} == {"by-hand"}
    assert {line["batch"] for line in lines if "batch" in line} == {claimed.batches[0].batch_id}


def test_a_batch_that_is_loaded_in_parts_ends_as_one(
    object_store: MotoStore, connection: Connection, told: Told
) -> None:
    # Room for two documents: each of these jobs has three.
    settings = SETTINGS.model_copy(update={"max_batch_items": 4})
    jobs = [Written([document(f"item-{number}")], minute=number) for number in range(5)]
    for job in jobs:
        put_job(object_store, job)
    address = parse_address(f"s3://{object_store.bucket}/henrydevseed/")
    store = S3Objects.from_environment()
    (batch,) = take_on(connection, find_catalogs(store, [address])[address], settings, "by-hand").batches
    ingested = ingest_batch(connection, store, batch, settings, registry_in_force(settings, connection).registry)
    assert [one.claim.prefix for one in ingested.outcomes] == [job.prefix for job in jobs]
    assert {str(one.state) for one in ingested.outcomes} == {"loaded"}
    assert connection.execute("SELECT count(*) FROM pgstac.items").fetchone() == (5,)
    events = [line for line in told() if line["event"].startswith("batch.")]
    assert [(line["event"], line.get("stage")) for line in events] == [
        ("batch.claimed", None),
        ("batch.stage_ended", "read"),
        ("batch.stage_ended", "decide"),
        ("batch.stage_ended", "load"),
        ("batch.ended", None),
    ]
    assert (events[-1]["jobs"], events[-1]["items_loaded"]) == (5, 5)
