"""What is missing may still arrive: until when it is waited for."""

from __future__ import annotations

from datetime import timedelta

from maap_stac_orchestration.problems import Code
from maap_stac_orchestration.store.objects import (
    ObjectMissing,
)
from tests.unit.pipeline.reading import (
    BUCKET,
    NOW,
    PREFIX,
    catalog,
    claim,
    ids,
    item,
    memory,
    problems,
    read,
)


class TestWaiting:
    def test_a_linked_document_may_still_arrive_until_the_deadline(self):
        store = memory({"catalog.json": catalog(("item", "gone.json"), ("item", "x.json")), "x.json": item("x")})

        early = read(store, job=claim(wait_until=NOW + timedelta(seconds=1)))
        late = read(store, job=claim(wait_until=NOW))

        assert (early.awaiting, late.awaiting) == (True, False)
        assert (early.awaiting_until, late.awaiting_until) == (NOW + timedelta(seconds=1), None)
        for job in (early, late):
            assert ids(job) == ["x"]
            assert problems(job) == [(Code.LINK_MISSING, "gone.json")]
            assert job.problems[0].detail == f"It is linked in {PREFIX}catalog.json."

    def test_an_asset_may_still_arrive_for_a_shorter_time(self):
        document = item("x", assets={"data": {"href": "./x.tif"}})
        store = memory({"catalog.json": catalog(("item", "x.json")), "x.json": document})
        deadlines = {"asset_deadline": "60s"}

        early = read(store, job=claim(catalog_modified=NOW - timedelta(seconds=59)), **deadlines)
        late = read(store, job=claim(catalog_modified=NOW - timedelta(seconds=60)), **deadlines)

        assert (early.awaiting, late.awaiting) == (True, False)
        assert (early.awaiting_until, late.awaiting_until) == (NOW + timedelta(seconds=1), None)
        for job in (early, late):
            assert [problem.code for problem in job.problems] == [Code.ASSET_MISSING]
            assert job.items[0].problems == job.problems

    def test_what_will_not_change_is_not_waited_for(self):
        store = memory({"catalog.json": catalog(("item", "x.json"), ("item", "http://h/")), "x.json": b"{"})

        assert not read(store, job=claim(wait_until=NOW + timedelta(hours=1), catalog_modified=NOW)).awaiting

    def test_a_document_that_goes_while_it_is_read_is_missing(self):
        key = f"{PREFIX}x.json"
        store = memory(
            {"catalog.json": catalog(("item", "x.json")), "x.json": item("x")}, broken={key: ObjectMissing(BUCKET, key)}
        )

        job = read(store, job=claim(wait_until=NOW + timedelta(hours=1)))

        assert problems(job) == [(Code.LINK_MISSING, "x.json")]
        assert job.awaiting
