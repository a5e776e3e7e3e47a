"""Jobs that lie side by side are listed together, and each is told what listing it alone would tell."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.dps.output_prefix import parse_output_prefix
from maap_stac_orchestration.pipeline.listings import Listings
from maap_stac_orchestration.pipeline.walk import Reader
from maap_stac_orchestration.store.objects import PAGE, Fetched, ObjectInfo, StoreUnavailable

BUCKET = "outputs"
GROUP = "jsmith/dps_output/flood/v1/demo/"


def prefix(number: int, group: str = GROUP) -> str:
    return f"{group}2026/03/05/00/{number // 60:02}/{number % 60:02}/000000/"


@dataclass
class Bucket:
    """Keys that are listed whole or in pages."""

    keys: list[str]
    #: Keys in the order in which pages have them.
    order: list[str] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.keys = sorted(self.keys)
        self.order = self.order or self.keys

    async def list(self, bucket: str, prefix: str) -> list[ObjectInfo]:
        self.asked["whole"] += 1
        return [info(key) for key in self.keys if key.startswith(prefix)]

    async def list_after(self, bucket: str, prefix: str, after: str) -> Sequence[ObjectInfo] | None:
        self.asked["page"] += 1
        return [info(key) for key in self.order if key.startswith(prefix) and key > after][:PAGE]

    async def get(self, bucket: str, key: str, max_bytes: int) -> Fetched:
        raise AssertionError("nothing is read here")


def info(key: str) -> ObjectInfo:
    return ObjectInfo(key, 1, "etag", datetime(2026, 3, 5, tzinfo=UTC))


def listed(store: Bucket, prefixes: Sequence[str], *, seconds: float = 5.0) -> dict[str, list[str]]:
    async def every() -> dict[str, list[str]]:
        jobs = [(BUCKET, parse_output_prefix(one)) for one in prefixes]
        listings = Listings(jobs, Reader(store, 8), seconds)
        answers = await asyncio.gather(*(listings.of(BUCKET, one) for one in prefixes))
        return {one: [info.key for info in answer] for one, answer in zip(prefixes, answers, strict=True)}

    return asyncio.run(every())


def below(store: Bucket, prefixes: Sequence[str]) -> dict[str, list[str]]:
    return {one: [key for key in store.keys if key.startswith(one)] for one in prefixes}


def test_a_request_tells_of_hundreds_of_jobs() -> None:
    prefixes = [prefix(number) for number in range(300)]
    store = Bucket([f"{one}{name}" for one in prefixes for name in ("catalog.json", "item.json", "a/b.tif")])

    assert listed(store, prefixes) == below(store, prefixes)
    assert store.asked == {"page": 1}


def test_each_submission_is_listed_for_itself() -> None:
    groups = [GROUP, GROUP.replace("demo", "other")]
    prefixes = [prefix(number, group) for group in groups for number in range(5)]
    store = Bucket([f"{one}catalog.json" for one in prefixes])

    assert listed(store, prefixes) == below(store, prefixes)
    assert store.asked == {"page": 2}


def test_a_job_by_itself_is_listed_by_itself() -> None:
    store = Bucket([f"{prefix(1)}catalog.json", f"{prefix(2)}catalog.json"])

    assert listed(store, [prefix(1)]) == {prefix(1): [f"{prefix(1)}catalog.json"]}
    assert store.asked == {"whole": 1}


@pytest.mark.parametrize("large", [0, 3, 9])
def test_a_job_of_very_many_objects_costs_its_neighbours_one_page(large: int) -> None:
    prefixes = [prefix(number) for number in range(10)]
    many = [f"{prefix(large)}{number:06}.tif" for number in range(20 * PAGE)]
    store = Bucket([*many, *(f"{one}catalog.json" for one in prefixes)])

    assert listed(store, prefixes) == below(store, prefixes)
    assert store.asked["page"] <= 2
    assert store.asked["whole"] <= 10


def test_few_jobs_among_very_many_of_others_are_listed_one_by_one() -> None:
    prefixes = [prefix(number) for number in (0, 1000, 2000, 3000)]
    store = Bucket([f"{prefix(number)}catalog.json" for number in range(3100)])

    assert listed(store, prefixes) == below(store, prefixes)
    assert store.asked["page"] == 1


def test_a_job_whose_objects_are_gone_has_none() -> None:
    prefixes = [prefix(number) for number in range(3)]
    store = Bucket([f"{prefix(0)}catalog.json", f"{GROUP}2027/01/01/00/00/00/000000/catalog.json"])

    assert listed(store, prefixes) == {prefixes[0]: [f"{prefix(0)}catalog.json"], prefixes[1]: [], prefixes[2]: []}


def test_what_a_store_lists_out_of_order_is_not_believed() -> None:
    prefixes = [prefix(number) for number in range(20)]
    keys = [f"{one}{name}" for one in prefixes for name in ("catalog.json", "item.json")]
    store = Bucket(keys, order=[*keys[1:], keys[0]])

    assert listed(store, prefixes) == below(store, prefixes)


def test_a_page_that_cannot_be_had_leaves_each_job_to_its_own_listing() -> None:
    class Odd(Bucket):
        async def list_after(self, bucket: str, prefix: str, after: str) -> Sequence[ObjectInfo] | None:
            return None

    prefixes = [prefix(1), prefix(2)]
    store = Odd([f"{one}catalog.json" for one in prefixes])

    assert listed(store, prefixes) == below(store, prefixes)


def test_a_store_that_fails_is_told() -> None:
    class Away(Bucket):
        async def list_after(self, bucket: str, prefix: str, after: str) -> Sequence[ObjectInfo] | None:
            raise StoreUnavailable("it is away")

    with pytest.raises(StoreUnavailable):
        listed(Away([]), [prefix(1), prefix(2)])


def test_a_page_that_never_comes_leaves_each_job_to_its_own_listing() -> None:
    class Endless(Bucket):
        async def list_after(self, bucket: str, prefix: str, after: str) -> Sequence[ObjectInfo] | None:
            await asyncio.Event().wait()
            return []

    prefixes = [prefix(1), prefix(2)]
    store = Endless([f"{one}catalog.json" for one in prefixes])

    assert listed(store, prefixes, seconds=0.01) == below(store, prefixes)


@given(
    st.lists(st.tuples(st.integers(0, 59), st.sampled_from([0, 1, 3, 400, 1100])), max_size=12),
    st.lists(st.integers(0, 59), min_size=1, max_size=20, unique=True),
)
def test_every_job_is_told_what_it_holds(held: list[tuple[int, int]], asked: list[int]) -> None:
    store = Bucket(list({f"{prefix(job)}{number:04}" for job, many in held for number in range(many)}))
    prefixes = [prefix(number) for number in asked]

    assert listed(store, prefixes) == below(store, prefixes)
