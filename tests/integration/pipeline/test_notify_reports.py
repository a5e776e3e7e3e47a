"""Where reports are switched on, `stac-ingest-report.json` beside the catalog says what became of the job."""

from __future__ import annotations

import json
from typing import Any

from maap_stac_orchestration.discovery.found import job_of_catalog
from maap_stac_orchestration.ledger import deliveries
from maap_stac_orchestration.ledger.records import State
from maap_stac_orchestration.pipeline.notification import messages
from maap_stac_orchestration.pipeline.notification.report import NAME, Place, Reports
from maap_stac_orchestration.problems import Code, Problem
from tests.conftest import MotoStore
from tests.integration.ledger.build import BUCKET, column, discover, prefix, seen, take
from tests.integration.pipeline.notifying import PUBLIC, Connection, end_job, let_time_pass, send, settings

WITH_REPORTS = settings(reports=True)


def read(store: MotoStore, job: str) -> dict[str, Any]:
    """The report of a job."""
    document: dict[str, Any] = json.loads(store.client().get_object(Bucket=BUCKET, Key=job + NAME)["Body"].read())
    return document


def keys(store: MotoStore) -> list[str]:
    return [one["Key"] for one in store.client().list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def answers(connection: Connection) -> list[str | None]:
    """What came of each report, the oldest first."""
    found = [one.answer for one in deliveries.list_deliveries(connection)]
    connection.rollback()
    return found[::-1]


def test_the_report_has_the_job_in_full(connection: Connection, object_store: MotoStore) -> None:
    job = end_job(connection, 1, State.PARTIAL, problems=(Problem(Code.ASSET_MISSING, "one#data"),))
    assert send(connection, WITH_REPORTS).told == 1
    report = read(object_store, job)
    assert report["generator"].startswith("maap-stac-orchestration ")
    assert (report["prefix"], report["state"], report["counts"]["loaded"]) == (job, "partial", 2)
    assert report["problems"][0]["object"] == "one#data"
    assert report["problems"][0]["fix"]
    assert [one["state"] for one in report["states"]][-1] == "partial"
    assert report["not_shown"] == {}
    assert any(one["href"].startswith(f"{PUBLIC}/status/") for one in report["links"])
    head = object_store.client().head_object(Bucket=BUCKET, Key=job + NAME)
    assert head["ContentType"] == "application/json"


def test_without_the_setting_nothing_is_written(connection: Connection, object_store: MotoStore) -> None:
    end_job(connection, 1)
    send(connection)
    assert keys(object_store) == []


def test_a_later_end_replaces_the_report(connection: Connection, object_store: MotoStore) -> None:
    job = end_job(connection, 1, State.REJECTED)
    send(connection, WITH_REPORTS)
    assert read(object_store, job)["state"] == "rejected"
    end_job(connection, 1, State.LOADED, etag="b")
    send(connection, WITH_REPORTS)
    assert read(object_store, job)["state"] == "loaded"


def test_of_two_ends_that_wait_the_newer_one_is_reported(connection: Connection, object_store: MotoStore) -> None:
    end_job(connection, 1, State.REJECTED)
    job = end_job(connection, 1, State.LOADED, etag="b")
    assert send(connection, WITH_REPORTS).told == 2
    assert read(object_store, job)["state"] == "loaded"
    assert sorted(str(one).partition(":")[0] for one in answers(connection)) == ["Not written", "Written"]


def test_a_job_that_is_at_work_again_is_reported_when_it_ends(connection: Connection, object_store: MotoStore) -> None:
    job = end_job(connection, 1, State.REJECTED)
    discover(connection, seen(job, "b"))
    take(connection)
    send(connection, WITH_REPORTS)
    assert keys(object_store) == []
    assert str(answers(connection)[0]).startswith("Not written: the job was tried again")


def test_a_file_that_somebody_else_wrote_stays_as_it_is(connection: Connection, object_store: MotoStore) -> None:
    job = prefix(1)
    object_store.put(job + NAME, b"mine")
    end_job(connection, 1)
    assert send(connection, WITH_REPORTS).told == 1
    assert object_store.client().get_object(Bucket=BUCKET, Key=job + NAME)["Body"].read() == b"mine"
    assert "was written by somebody else, and is left as it is" in str(answers(connection)[0])


def test_what_comes_between_looking_and_writing_is_not_overwritten(object_store: MotoStore) -> None:
    job, reports = prefix(1), Reports()
    place = reports.look(BUCKET, job)
    assert isinstance(place, Place)
    assert place.etag is None
    object_store.put(job + NAME, b"mine")
    answer = reports.write(place, b"{}")
    assert not answer.delivered
    assert "at the same moment" in answer.text
    assert object_store.client().get_object(Bucket=BUCKET, Key=job + NAME)["Body"].read() == b"mine"


def test_a_newer_report_is_not_overwritten_by_an_older_one(object_store: MotoStore) -> None:
    job, reports = prefix(1), Reports()
    first = reports.look(BUCKET, job)
    assert isinstance(first, Place)
    assert reports.write(first, b"1").delivered
    place = reports.look(BUCKET, job)
    assert isinstance(place, Place)
    assert reports.write(place, b"2").delivered
    assert not reports.write(place, b"1").delivered
    assert object_store.client().get_object(Bucket=BUCKET, Key=job + NAME)["Body"].read() == b"2"


def test_a_bucket_that_cannot_be_written_is_tried_again(connection: Connection, object_store: MotoStore) -> None:
    job = end_job(connection, 1)
    object_store.client().delete_bucket(Bucket=BUCKET)
    assert send(connection, WITH_REPORTS).failed == 1
    object_store.client().create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    let_time_pass(connection)
    assert send(connection, WITH_REPORTS).told == 1
    assert read(object_store, job)["prefix"] == job


def test_a_report_is_no_output_of_the_job(connection: Connection, object_store: MotoStore) -> None:
    job = end_job(connection, 1)
    send(connection, WITH_REPORTS)
    assert job_of_catalog(job + NAME) is None, "its event tells of no catalog"
    assert column(connection, "state", job) == "loaded"


def test_long_lists_are_cut_and_the_rest_is_counted(connection: Connection, object_store: MotoStore) -> None:
    found = tuple(Problem(Code.ASSET_MISSING, f"item-{number}") for number in range(messages.MOST_IN_REPORT + 7))
    job = end_job(connection, 1, State.PARTIAL, problems=found)
    send(connection, WITH_REPORTS)
    report = read(object_store, job)
    assert len(report["problems"]) == messages.MOST_IN_REPORT
    assert report["not_shown"] == {"problems": 7}
