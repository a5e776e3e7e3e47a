"""The sensor `notifications` tells who asked for it that jobs ended, and asks for no run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import dagster as dg
import psycopg
import pytest

from maap_stac_orchestration.definitions import build_defs
from maap_stac_orchestration.ledger.connection import DatabaseUnavailable, connect
from maap_stac_orchestration.pipeline.notification.report import NAME
from tests.conftest import free_port
from tests.integration.dagster.conftest import Location
from tests.integration.dagster.jobs import PREFIX, listing_first, put_job
from tests.integration.pipeline.notifying import add
from tests.integration.receivers import Receiver, receiving

DAY = "2025-08-19"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of webhooks."""
    with receiving() as running:
        yield running


def tick(location: Location) -> str:
    """What a tick says; it asks for nothing."""
    data = location.tick("notifications")
    assert not data.run_requests
    assert isinstance(data.skip_message, str)
    return data.skip_message


def set_up(location: Location, **more: Any) -> None:
    """Other settings from now on."""
    location.settings = location.settings.model_copy(update={"webhook_private": True, **more})


def test_a_job_that_a_run_ended_is_told_by_the_next_tick(location: Location, receiver: Receiver) -> None:
    set_up(location)
    with location.connect() as conn:
        _, secret = add(conn, receiver.url)
    put_job(location)
    assert tick(location) == "Nobody is to be told anything."
    run = location.run(DAY, run_config=listing_first())
    assert tick(location).startswith("1 told")
    (request,) = receiver.received
    event = request.verified(secret)
    assert (event["type"], event["subject"]) == ("org.maap-project.stac.job.loaded", PREFIX)
    assert event["data"]["run_id"] == run.run_id
    assert event["data"]["links"][0]["href"].startswith("http://stac.test/status/")
    assert tick(location) == "Nobody is to be told anything."


def test_a_receiver_that_is_away_makes_no_tick_fail_and_no_job(location: Location) -> None:
    set_up(location)
    with location.connect() as conn:
        add(conn, f"http://127.0.0.1:{free_port()}/")
    put_job(location)
    location.run(DAY, run_config=listing_first())
    assert tick(location).startswith("0 told, 1 to be tried again")
    assert location.states() == {PREFIX: "loaded"}


def test_a_report_changes_nothing_about_the_job(location: Location) -> None:
    set_up(location, reports=True)
    put_job(location)
    location.run(DAY, run_config=listing_first())
    assert tick(location).startswith("1 told")
    report = json.loads(
        location.store.client().get_object(Bucket=location.store.bucket, Key=PREFIX + NAME)["Body"].read()
    )
    assert report["state"] == "loaded"
    assert [one["id"] for one in report["items"]] == ["one"]
    with location.connect() as conn:
        before = conn.execute("SELECT generation, updated_at FROM ledger.job").fetchall()
    # The report is there when the day is listed again, and when the job is read again.
    location.run(DAY, run_config=listing_first())
    with location.connect() as conn:
        assert conn.execute("SELECT generation, updated_at FROM ledger.job").fetchall() == before
    location.record_version(PREFIX + "catalog.json", "another")
    location.run(DAY)
    with location.connect() as conn:
        row = conn.execute("SELECT state, unchanged, problem_codes FROM ledger.job").fetchone()
    assert row == ("loaded", 1, [])
    assert location.item_ids() == ["one"]


def test_without_the_database_the_tick_fails(location: Location) -> None:
    location.overrides["ledger"] = lambda: connect(f"postgresql://127.0.0.1:{free_port()}/none")
    with pytest.raises(DatabaseUnavailable):
        location.tick("notifications")


def test_a_database_that_goes_away_meanwhile_makes_the_tick_fail(location: Location, receiver: Receiver) -> None:
    set_up(location)
    with location.connect() as conn:
        add(conn, receiver.url)
    put_job(location)
    location.run(DAY, run_config=listing_first())

    def lose_connections(*_: object) -> tuple[int, dict[str, str]]:
        with psycopg.connect(location.database, autocommit=True) as own:
            own.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        return 200, {}

    receiver.reply = lose_connections
    with pytest.raises(psycopg.OperationalError):
        location.tick("notifications")
    with location.connect() as conn:
        conn.execute("UPDATE ledger.delivery SET due_at = now()")
    receiver.always(200)
    assert tick(location).startswith("1 told")
    assert len(set(receiver.ids())) == 1


def test_the_sensor_is_part_of_the_location_and_runs() -> None:
    assert build_defs().resolve_sensor_def("notifications").default_status is dg.DefaultSensorStatus.RUNNING
