"""The sensor `new_catalogs`, tick by tick, over a real ledger and a real queue."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from maap_stac_orchestration.discovery.found import SourceUnavailable
from maap_stac_orchestration.ledger.claims import claim
from maap_stac_orchestration.ledger.connection import DatabaseUnavailable
from maap_stac_orchestration.pipeline.discover import Queue
from tests.integration.dagster.conftest import Location

TODAY = datetime.now(UTC).date()


def catalog(day: date = TODAY, number: int = 0) -> str:
    return f"ana/dps_output/alg/v1/tag/{day:%Y/%m/%d}/00/00/00/{number:06}/catalog.json"


def asked(tick: Any) -> list[str]:
    return [request.partition_key for request in tick.run_requests]


def with_queue(location: Location) -> str:
    sqs: Any = location.store.client("sqs")
    url = sqs.create_queue(QueueName="catalogs")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    location.store.client().put_bucket_notification_configuration(
        Bucket=location.store.bucket,
        NotificationConfiguration={"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]},
    )
    location.queue = Queue(url, sqs, location.store.client())
    return url


def begin(location: Location, day: date, status: dg.DagsterRunStatus, **tags: str) -> str:
    """A run of a day as Dagster's storage knows it."""
    run = location.instance.create_run_for_job(
        location.defs.resolve_job_def("ingest"),
        status=status,
        tags={"dagster/partition": day.isoformat(), **tags},
        # Dagster wants to know of a queued run where its code is.
        remote_job_origin=RemoteJobOrigin(
            repository_origin=RemoteRepositoryOrigin(
                code_location_origin=RegisteredCodeLocationOrigin("maap_stac_orchestration"), repository_name="defs"
            ),
            job_name="ingest",
        ),
    )
    return run.run_id


def test_a_put_catalog_leads_to_a_run_of_its_day(location: Location) -> None:
    with_queue(location)
    location.store.put(catalog(), b"{}")
    tick = location.tick("new_catalogs")
    assert asked(tick) == [TODAY.isoformat()]
    (request,) = tick.run_requests
    assert request.run_key is None
    assert request.tags["maap/source"] == "live"
    assert location.states() == {catalog().removesuffix("catalog.json"): "discovered"}


def test_nothing_new_asks_for_nothing_and_says_so(location: Location) -> None:
    with_queue(location)
    tick = location.tick("new_catalogs")
    assert asked(tick) == []
    assert "0 catalogs" in tick.skip_message


@pytest.mark.parametrize(
    ("status", "tags", "again"),
    [
        (dg.DagsterRunStatus.QUEUED, {}, False),
        (dg.DagsterRunStatus.STARTED, {}, False),
        (dg.DagsterRunStatus.QUEUED, {"dagster/backfill": "abc"}, True),
        (dg.DagsterRunStatus.SUCCESS, {}, True),
    ],
)
def test_a_day_with_a_run_on_its_way_is_not_asked_for_again(
    location: Location, status: dg.DagsterRunStatus, tags: dict[str, str], again: bool
) -> None:
    location.record(catalog())
    begin(location, TODAY, status, **tags)
    begin(location, TODAY - timedelta(days=1), dg.DagsterRunStatus.QUEUED)
    assert asked(location.tick("new_catalogs")) == ([TODAY.isoformat()] if again else [])


def test_a_run_that_has_claimed_does_not_stand_in_for_work_that_came_later(location: Location) -> None:
    run_id = begin(location, TODAY, dg.DagsterRunStatus.STARTED)
    location.record(catalog(number=1))
    hold(location, run_id)
    location.record(catalog(number=2))
    assert asked(location.tick("new_catalogs")) == [TODAY.isoformat()]


def hold(location: Location, run_id: str) -> None:
    with location.connect() as conn:
        batch = claim(
            conn,
            day=TODAY,
            run_id=run_id,
            lease=timedelta(hours=1),
            max_jobs=10,
            max_items=1000,
            wait_deadline=timedelta(minutes=15),
            max_attempts=5,
        )
        conn.commit()
    assert batch.jobs


@pytest.mark.parametrize("ended", [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED])
def test_what_a_killed_run_held_is_due_again_at_once(location: Location, ended: dg.DagsterRunStatus) -> None:
    run_id = begin(location, TODAY, ended)
    location.record(catalog())
    hold(location, run_id)
    assert asked(location.tick("new_catalogs")) == [TODAY.isoformat()]
    assert set(location.states().values()) == {"discovered"}


def test_what_a_living_run_holds_stays_its_own(location: Location) -> None:
    run_id = begin(location, TODAY, dg.DagsterRunStatus.STARTED)
    location.record(catalog())
    hold(location, run_id)
    assert asked(location.tick("new_catalogs")) == []
    assert set(location.states().values()) == {"ingesting"}


def test_a_tick_asks_for_a_bounded_number_of_days_newest_first(location: Location) -> None:
    days = [TODAY - timedelta(days=back) for back in range(15)]
    location.record(*[catalog(day) for day in days])
    assert asked(location.tick("new_catalogs")) == [day.isoformat() for day in days[:10]]


def test_live_days_come_before_backfilled_ones(location: Location) -> None:
    location.record(catalog(TODAY), priority=10)
    location.record(catalog(date(2024, 1, 2)))
    tick = location.tick("new_catalogs")
    assert asked(tick) == ["2024-01-02", TODAY.isoformat()]
    assert [request.tags["dagster/priority"] for request in tick.run_requests] == ["0", "-10"]


@pytest.mark.parametrize(("day", "partition"), [("2999-01-01", TODAY.isoformat()), ("1999-12-31", "2020-01-01")])
def test_a_day_without_a_partition_is_looked_after_by_the_nearest_one(
    location: Location, day: str, partition: str
) -> None:
    location.record(catalog(date.fromisoformat(day)))
    assert asked(location.tick("new_catalogs")) == [partition]
    result = location.run(partition)
    assert result.success
    (state,) = location.states().values()
    assert state != "discovered"


def test_without_a_queue_the_last_days_are_listed_but_not_at_every_tick(location: Location) -> None:
    location.store.put(catalog(TODAY - timedelta(days=1)), b"{}")
    location.store.put(catalog(TODAY - timedelta(days=30)), b"{}")
    first = location.tick("new_catalogs")
    assert asked(first) == [(TODAY - timedelta(days=1)).isoformat()]

    location.store.put(catalog(), b"{}")
    second = location.tick("new_catalogs", cursor=first.cursor)
    assert len(location.states()) == 1
    assert second.cursor == first.cursor
    location.tick("new_catalogs", cursor=None)
    assert len(location.states()) == 2


def test_a_queue_that_cannot_be_read_makes_the_tick_red(location: Location) -> None:
    url = with_queue(location)
    location.store.client("sqs").delete_queue(QueueUrl=url)
    with pytest.raises(SourceUnavailable, match="could not be read"):
        location.tick("new_catalogs")


def test_while_the_database_is_away_no_message_is_received(location: Location) -> None:
    url = with_queue(location)
    location.store.put(catalog(), b"{}")

    def away() -> Any:
        raise DatabaseUnavailable("The database is away.")

    location.overrides["ledger"] = away
    with pytest.raises(DatabaseUnavailable):
        location.tick("new_catalogs")
    names = ["ApproximateNumberOfMessages"]
    attributes = location.store.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    assert attributes[names[0]] == "2"
