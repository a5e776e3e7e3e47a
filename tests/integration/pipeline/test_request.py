"""Jobs that somebody asks for by address, and claiming them by name."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from maap_stac_orchestration.ledger.claims_by_prefix import claim_jobs
from maap_stac_orchestration.pipeline.request import (
    Address,
    NotAnAddress,
    find_catalogs,
    parse_address,
    take_on,
)
from maap_stac_orchestration.store.s3 import S3Objects
from tests.conftest import MotoStore
from tests.integration.pipeline.batches import BUCKET, SETTINGS, Written, claim, document, ingest, record

Connection = psycopg.Connection[Any]
PREFIX = "ana/dps_output/flood/v1/demo/2024/06/01/12/00/00/000000/"


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        (f"s3://b/{PREFIX}", PREFIX),
        (f"s3://b/{PREFIX.removesuffix('/')}", PREFIX),
        (f"s3://b/{PREFIX}catalog.json", PREFIX),
        (f"s3://b/{PREFIX}deeper/catalog.json", PREFIX),
        (f"s3://b/{PREFIX}deeper", PREFIX),
        ("s3://b/ana/dps_output/flood/v1", "ana/dps_output/flood/v1/"),
        ("s3://b", ""),
        ("s3://b/", ""),
    ],
)
def test_an_address_means_the_job_that_it_lies_in_or_the_jobs_below_it(text: str, prefix: str) -> None:
    assert parse_address(text) == Address("b", prefix)


@pytest.mark.parametrize("text", ["", "s3://", "s3:///key", "/tmp/outputs", "https://b/x", "s3://b/x/catalog.json"])
def test_what_is_no_address_is_told(text: str) -> None:
    with pytest.raises(NotAnAddress):
        parse_address(text)


def test_catalogs_at_and_below_an_address_are_found(object_store: MotoStore) -> None:
    other = PREFIX.replace("2024", "2025")
    for key in (f"{PREFIX}catalog.json", f"{PREFIX}a/catalog.json", f"{other}catalog.json", "x/catalog.json"):
        object_store.put(key, b"{}")
    object_store.put(f"{PREFIX}catalog.json.bak", b"{}")
    store = S3Objects.from_environment()
    addresses = [Address(BUCKET, PREFIX), Address(BUCKET, "ana/"), Address(BUCKET, "nobody/")]
    found = find_catalogs(store, addresses)
    assert [[one.key for one in found[address]] for address in addresses] == [
        [f"{PREFIX}a/catalog.json", f"{PREFIX}catalog.json"],
        [f"{PREFIX}a/catalog.json", f"{PREFIX}catalog.json", f"{other}catalog.json"],
        [],
    ]
    assert {one.source for one in found[addresses[0]]} == {"request"}


def test_just_the_named_jobs_are_taken_on(connection: Connection) -> None:
    jobs = [Written([document("a")], minute=number) for number in range(3)]
    record(connection, jobs)
    claimed = take_on(connection, [jobs[1].seen()], SETTINGS, "me")
    assert [[job.prefix for job in batch.jobs] for batch in claimed.batches] == [[jobs[1].prefix]]
    assert claimed.batches[0].jobs[0].catalogs == {f"{jobs[1].prefix}catalog.json": jobs[1].seen().etag}
    rows = connection.execute("SELECT prefix, state, run_id FROM ledger.job ORDER BY prefix").fetchall()
    assert rows == [
        (jobs[0].prefix, "discovered", None),
        (jobs[1].prefix, "ingesting", "me"),
        (jobs[2].prefix, "discovered", None),
    ]


def test_a_job_that_ended_is_taken_on_again(connection: Connection) -> None:
    job = Written([document("a")])
    ingest(connection, [job])
    (batch,) = take_on(connection, [job.seen()], SETTINGS, "me").batches
    assert [(one.prefix, one.attempt) for one in batch.jobs] == [(job.prefix, 1)]


def test_a_job_that_another_run_holds_is_left_to_it(connection: Connection) -> None:
    job = Written([document("a")])
    record(connection, [job])
    claim(connection)
    claimed = take_on(connection, [job.seen()], SETTINGS, "me")
    assert claimed.batches == ()
    assert claimed.held == ((BUCKET, job.prefix),)


def test_a_job_whose_run_died_is_taken_over(connection: Connection) -> None:
    job = Written([document("a")])
    record(connection, [job])
    claim(connection)
    connection.execute("UPDATE ledger.job SET due_at = now() - interval '1 second'")
    (batch,) = take_on(connection, [job.seen()], SETTINGS, "me").batches
    assert batch.jobs[0].attempt == 2


def test_jobs_of_several_days_are_a_batch_each(connection: Connection) -> None:
    jobs = [Written([document("a")], minute=24 * 60 * number) for number in range(3)]
    claimed = take_on(connection, [job.seen() for job in jobs], SETTINGS, "me")
    assert [[job.prefix for job in batch.jobs] for batch in claimed.batches] == [[job.prefix] for job in jobs]


def test_a_job_that_the_ledger_does_not_know_is_told(connection: Connection) -> None:
    claimed = claim_jobs(
        connection, [(BUCKET, PREFIX)], run_id="me", lease=SETTINGS.lease, wait_deadline=SETTINGS.wait_deadline
    )
    assert claimed.unknown == ((BUCKET, PREFIX),)
