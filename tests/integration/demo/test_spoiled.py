"""Spoiled jobs from upload to repair, over a real database, S3 and API; a thread ingests as Dagster would."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import boto3
import pytest

from maap_stac_orchestration.demo import repair as demo
from maap_stac_orchestration.demo.jobs import USERNAME
from maap_stac_orchestration.demo.repair import NotSpoiled, Repair, Spoiling
from maap_stac_orchestration.demo.spoiled import COLLECTION, TAG, WAYS, Again
from maap_stac_orchestration.ledger import claims
from maap_stac_orchestration.ledger.changes import Author, Via
from maap_stac_orchestration.ledger.connection import Connection, connect
from maap_stac_orchestration.pipeline.discover import list_days
from maap_stac_orchestration.pipeline.ingest import ingest_batch
from maap_stac_orchestration.pipeline.registry import registry_in_force
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.store.s3 import S3Objects
from tests.conftest import MotoStore
from tests.integration.api.conftest import Api, running

DAY = date(2026, 3, 4)
SMALL = 64
AUTHOR = Author("operator", Via.CLI, "A test")
DEFAULT_COLLECTION = f"henrydevseed__HLSCloudFreeTemporalMosaic__v0.1.1__{TAG}"


def _ingest(settings: Settings, bucket: str, stop: threading.Event) -> None:
    """Lists the day and ingests what is due of it, until it is told to stop."""
    store = S3Objects.from_environment()
    with connect(application_name="as Dagster would") as conn:
        while not stop.wait(0.1):
            list_days(conn, boto3.client("s3"), [bucket], [DAY])
            batch = claims.claim(
                conn,
                day=DAY,
                run_id="a-run",
                lease=settings.lease,
                max_jobs=10,
                max_items=1000,
                wait_deadline=settings.wait_deadline,
                max_attempts=settings.max_attempts,
            )
            conn.commit()
            if batch.jobs:
                ingest_batch(conn, store, batch, settings, registry_in_force(settings, conn).registry)


@pytest.fixture
def api(database_env: dict[str, str], object_store: MotoStore) -> Iterator[Api]:
    """The API, beside something that ingests."""
    settings = Settings(buckets=(object_store.bucket,))
    stop = threading.Event()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            _ingest(settings, object_store.bucket, stop)
        except BaseException as error:  # noqa: BLE001 - told below, by the thread that may fail the test
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        with running(buckets=(object_store.bucket,)) as served:
            yield served
    finally:
        stop.set()
        thread.join()
    assert not failed, failed


@pytest.fixture
def conn(database_env: dict[str, str]) -> Iterator[Connection]:
    with connect() as opened:
        yield opened


def spoil(api: Api, store: MotoStore, *, again: bool = False) -> Spoiling:
    return demo.spoil(
        bucket=store.bucket,
        api_url=api.url,
        again=again,
        day=DAY,
        timeout=timedelta(seconds=60),
        on_submitted=lambda: None,
        on_ended=lambda: None,
        size=SMALL,
    )


def repair(api: Api, store: MotoStore, conn: Connection, *, timeout: float = 60) -> dict[str, Repair]:
    repairs = demo.repair(
        conn,
        Settings(buckets=(store.bucket,)),
        AUTHOR,
        bucket=store.bucket,
        api_url=api.url,
        day=DAY,
        timeout=timedelta(seconds=timeout),
        on_repaired=lambda: None,
        size=SMALL,
    )
    return {one.standing.way.name: one for one in repairs}


def job(api: Api, prefix: str) -> Any:
    listed = api.get("/jobs", username=USERNAME, tag=TAG).json()["jobs"]
    assert prefix in [one["prefix"] for one in listed]
    return api.get(f"/jobs/{prefix.replace('/', '%2F')}").json()


def test_each_ends_as_its_way_says_and_is_loaded_where_it_wants_to_be_once_it_is_repaired(api, object_store, conn):
    spoiling = spoil(api, object_store)
    assert [(one.state, [problem["code"] for problem in one.errors]) for one in spoiling.jobs] == [
        (way.state, [way.code]) for way in WAYS
    ]
    assert spoiling.as_meant
    assert spoiling.already_there == 0
    assert all(problem["fix"] for one in spoiling.jobs for problem in one.problems)
    twice = spoil(api, object_store)
    assert (twice.already_there, twice.jobs) == (5, spoiling.jobs)

    repairs = repair(api, object_store, conn)
    assert all(one.standing.repaired and not one.standing.problems for one in repairs.values())
    assert {name for name, one in repairs.items() if one.retried} == {
        way.name for way in WAYS if way.again is not Again.BY_ITSELF
    }
    assert {one.granted for one in repairs.values()} == {None, COLLECTION}
    for one in repairs.values():
        document = job(api, one.standing.prefix)
        assert document["state"] == "loaded"
        assert document["collections"] == [one.standing.way.grants or DEFAULT_COLLECTION]
    assert len(job(api, repairs["one id twice"].standing.prefix)["items"]) == 2

    again = repair(api, object_store, conn)
    assert all(not (one.uploaded or one.granted or one.retried) and one.standing.repaired for one in again.values())
    assert spoil(api, object_store).as_meant, "a repaired job is nothing to complain about"


def test_a_repair_that_broke_off_goes_on(api, object_store, conn):
    spoil(api, object_store)
    repair(api, object_store, conn, timeout=0)
    repairs = repair(api, object_store, conn)
    assert all(one.standing.repaired for one in repairs.values())
    assert not any(one.uploaded or one.granted for one in repairs.values())


def test_submitted_once_more_they_are_spoiled_once_more(api, object_store, conn):
    first = spoil(api, object_store)
    repair(api, object_store, conn)
    settings = Settings(buckets=(object_store.bucket,))
    assert demo.forget_grant(conn, settings, AUTHOR)
    assert not demo.forget_grant(conn, settings, AUTHOR)
    second = spoil(api, object_store, again=True)
    assert not {one.prefix for one in first.jobs} & {one.prefix for one in second.jobs}
    assert all(one.as_spoiled for one in second.jobs)


def test_without_spoiled_jobs_a_repair_says_how_they_come(object_store, database_env, conn):
    with pytest.raises(NotSpoiled, match=r"0 of the 5 spoiled jobs of 2026-03-04 .* `maap-stac demo --spoil`"):
        demo.repair(
            conn,
            Settings(buckets=(object_store.bucket,)),
            AUTHOR,
            bucket=object_store.bucket,
            api_url="http://127.0.0.1:1",
            day=DAY,
            timeout=timedelta(0),
            on_repaired=lambda: None,
        )
