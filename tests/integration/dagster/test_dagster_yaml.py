"""The settings of Dagster in the local stack, on a real database."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from dagster._core.events import JobFailureData, RunFailureReason
from sqlalchemy import event
from sqlalchemy.engine import Engine

from sensors.choice import ASKED_FOR_AGAIN, LOW_LANE


@dg.op
def nothing() -> None:
    """Does nothing."""


@dg.job
def idle() -> None:
    """A job of one step."""
    nothing()


@pytest.fixture
def instance(empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """An instance of the template as it stands."""
    with resources.as_file(resources.files("maap_stac_orchestration.stack") / "dagster.yaml") as template:
        shutil.copy(template, tmp_path / "dagster.yaml")
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", empty_database)
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        yield made


def test_the_template_is_accepted_and_keeps_its_connections(instance: dg.DagsterInstance) -> None:
    assert idle.execute_in_process(instance=instance).success
    opened: list[object] = []

    def count(connection: object, _: object) -> None:
        opened.append(connection)

    event.listen(Engine, "connect", count)
    try:
        assert idle.execute_in_process(instance=instance).success
    finally:
        event.remove(Engine, "connect", count)
    assert opened == []


def test_connections_that_the_database_closed_are_replaced_before_they_are_used(
    instance: dg.DagsterInstance, empty_database: str
) -> None:
    assert idle.execute_in_process(instance=instance).success
    with psycopg.connect(empty_database, autocommit=True) as connection:
        closed = connection.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchone()
    assert closed is not None
    assert closed[0] >= 2, "of runs and of events"
    assert len(instance.get_runs()) == 1
    assert instance.all_instigator_state() == []
    assert idle.execute_in_process(instance=instance).success


def test_events_can_be_listened_to(instance: dg.DagsterInstance) -> None:
    # SQLAlchemy 2.1 takes a bare postgresql:// for psycopg 3, which refuses `NOTIFY run_events, $1`.
    heard = threading.Event()
    run = instance.create_run_for_job(idle)
    instance.watch_event_logs(run.run_id, None, lambda *_: heard.set())
    instance.report_engine_event("hello", run)
    assert heard.wait(timeout=30)
    instance.end_watch_event_logs(run.run_id, lambda *_: None)


def test_only_what_the_ledger_does_not_ask_for_again_is_retried_and_only_when_its_process_died(
    instance: dg.DagsterInstance,
) -> None:
    def fails(reason: RunFailureReason, **tags: str) -> bool:
        run = instance.create_run_for_job(idle, status=dg.DagsterRunStatus.STARTED, tags=tags)
        instance.report_run_failed(run, job_failure_data=JobFailureData(error=None, failure_reason=reason))
        failed = instance.get_run_by_id(run.run_id)
        assert failed is not None
        return failed.tags["dagster/will_retry"] == "true"

    assert fails(RunFailureReason.UNKNOWN)
    assert not fails(RunFailureReason.STEP_FAILURE)
    assert not fails(RunFailureReason.UNKNOWN, **ASKED_FOR_AGAIN)


def test_live_work_finds_room_beside_everything_that_may_wait(instance: dg.DagsterInstance) -> None:
    coordinator = instance.run_coordinator
    assert isinstance(coordinator, dg.QueuedRunCoordinator)
    config = coordinator.get_run_queue_config()
    assert config is not None
    limits = config.tag_concurrency_limits
    assert {(one["key"], one.get("value")) for one in limits} >= {
        ("dagster/backfill", None),
        *LOW_LANE.items(),
        ("maap/work", "upkeep"),
    }
    assert sum(one["limit"] for one in limits) < config.max_concurrent_runs


def test_runs_can_be_asked_after(instance: dg.DagsterInstance) -> None:
    assert instance.run_monitoring_enabled
    assert instance.run_launcher.supports_check_run_worker_health
