"""What is read ahead comes in parts, each job once, and never more of it than there is room for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from maap_stac_orchestration.pipeline.ahead import FEWEST, PARTS, read_ahead
from maap_stac_orchestration.pipeline.batch import ClaimedJob, ReadJob
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.store.objects import Fetched, ObjectInfo, StoreUnavailable

NOW = datetime(2026, 3, 5, 12, tzinfo=UTC)
METADATA = b'{"username": "jjfrench", "algorithm_name": "flood", "algorithm_version": "v1"}'
CATALOG = b'{"type": "Catalog", "id": "c", "description": "d", "stac_version": "1.0.0", "links": []}'


class Objects:
    """Jobs of two documents each, and whatever `meanwhile` does whenever one is asked for."""

    def __init__(self, claims: list[ClaimedJob], meanwhile: Callable[[], None] = lambda: None) -> None:
        self.asked = 0
        self._bodies = {
            claim.prefix + name: body
            for claim in claims
            for name, body in (("catalog.json", CATALOG), ("output-1.met.json", METADATA))
        }
        self._meanwhile = meanwhile

    async def list(self, bucket: str, prefix: str) -> list[ObjectInfo]:
        return [_info(key, body) for key, body in sorted(self._bodies.items()) if key.startswith(prefix)]

    async def get(self, bucket: str, key: str, max_bytes: int) -> Fetched:
        self.asked += 1
        self._meanwhile()
        return Fetched(_info(key, self._bodies[key]), self._bodies[key])


def _info(key: str, body: bytes) -> ObjectInfo:
    return ObjectInfo(key, len(body), "etag", NOW)


def claims_of(jobs: int, tag: Callable[[int], str] = lambda number: "t") -> list[ClaimedJob]:
    return [
        ClaimedJob(
            number,
            "bucket",
            f"jjfrench/dps_output/flood/v1/{tag(number)}/2026/03/05/00/{number // 60:02}/{number % 60:02}/000001/",
            {},
            NOW,
            1,
            1,
            None,
        )
        for number in range(jobs)
    ]


def parts_of(claims: list[ClaimedJob], settings: Settings | None = None) -> list[list[ReadJob]]:
    with read_ahead(claims, Objects(claims), settings or Settings(), NOW) as ahead:
        return list(ahead.parts())


def prefixes(part: list[ReadJob]) -> list[str]:
    return [job.claim.prefix for job in part]


def test_every_job_comes_once_in_a_few_parts_each_in_order() -> None:
    claims = claims_of(900)

    parts = parts_of(claims)

    assert sorted(prefix for part in parts for prefix in prefixes(part)) == sorted(one.prefix for one in claims)
    assert 1 < len(parts) <= PARTS + 1
    assert all(prefixes(part) == sorted(prefixes(part)) for part in parts)


def test_few_jobs_come_together() -> None:
    claims = claims_of(FEWEST - 1)

    assert [prefixes(part) for part in parts_of(claims)] == [[one.prefix for one in claims]]


def test_no_jobs_come_in_no_parts() -> None:
    assert parts_of([]) == []


def test_jobs_of_a_submission_come_together() -> None:
    claims = claims_of(900, tag=lambda number: f"tag{number % 90}")

    parts = parts_of(claims)

    places = [{prefix.split("/")[4] for prefix in prefixes(part)} for part in parts]
    assert len(parts) > 1
    assert sum(len(tags) for tags in places) == 90


def test_reading_waits_while_nobody_takes_what_was_read() -> None:
    claims = claims_of(1_000)
    settings = Settings(max_batch_items=200, max_concurrency=10)
    store = Objects(claims)

    with read_ahead(claims, store, settings, NOW) as ahead:
        parts = ahead.parts()
        next(parts)
        time.sleep(0.5)
        # Room is for 100 documents, in each of two parts, and as many jobs are under way as objects are read at a time.
        assert store.asked <= 2 * (100 + 2 * 10 * 2)
        rest = list(parts)

    assert sum(map(len, rest)) > 800
    assert store.asked == 2_000


def test_what_reading_raises_is_raised_where_the_jobs_are_waited_for() -> None:
    claims = claims_of(10)

    def fail() -> None:
        raise StoreUnavailable("The store does not answer.")

    with (
        read_ahead(claims, Objects(claims, fail), Settings(), NOW) as ahead,
        pytest.raises(StoreUnavailable, match="does not answer"),
    ):
        list(ahead.parts())


def test_reading_ends_when_whoever_waits_for_it_fails() -> None:
    claims = claims_of(1_000)
    store = Objects(claims, lambda: time.sleep(0.002))

    with (
        pytest.raises(RuntimeError, match="loading failed"),
        read_ahead(claims, store, Settings(max_batch_items=200), NOW),
    ):
        raise RuntimeError("loading failed")

    assert store.asked < 1_000
    assert not [thread for thread in threading.enumerate() if thread.name == "reading ahead"]
