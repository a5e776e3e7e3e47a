"""Listing a day over HTTP: every layout, few requests, and no silence where a request fails."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from maap_stac_orchestration.discovery.found import SourceUnavailable
from maap_stac_orchestration.discovery.listing import list_catalogs
from tests.shared import sample_bucket

if TYPE_CHECKING:
    from tests.conftest import MotoStore

DAY = date(2025, 8, 19)
TIME = "2025/08/19/09/59/01/262274/"


def listed(store: MotoStore, *days: date, client: Any = None) -> list[str]:
    """The keys that a listing gives."""
    found = list_catalogs(client or store.client(), store.bucket, days or (DAY,))
    return sorted(catalog.key for some in found for catalog in some)


def put(store: MotoStore, *keys: str) -> None:
    """Writes small objects."""
    for key in keys:
        store.put(key, b"{}")


@pytest.mark.parametrize(
    "group",
    [
        "u/dps_output/alg_12/v1/",
        "u/dps_output/alg/v1/tag/",
        "u/dps_output/alg/v1/tag/with/slashes/",
        "u/dps_output/2025/2025/",
        "u/dps_output/alg/v1/2024/",
        "u/dps_output/alg/v1/2025/",
        "u/dps_output/alg/v1/a/2024/b/",
        "u/dps_output/alg/v1/2025/08/19/",
        "u ser+/dps_output/a lg%2F/v/täg/",
    ],
)
def test_every_layout_of_tags_is_found(object_store: MotoStore, group: str) -> None:
    put(object_store, f"{group}{TIME}catalog.json", f"{group}{TIME}data.tif")
    put(object_store, f"{group}2025/08/20/00/00/00/000000/catalog.json")
    assert listed(object_store) == [f"{group}{TIME}catalog.json"]


def test_only_catalogs_inside_output_prefixes_count(object_store: MotoStore) -> None:
    put(
        object_store,
        f"u/other/alg/v1/{TIME}catalog.json",
        "u/dps_output/alg/v1/2025/08/19/catalog.json",
        f"u/dps_output/alg/v1/{TIME}item.json",
        f"u/dps_output/alg/v1/{TIME}my-catalog.json",
        f"dps_output/alg/v1/{TIME}catalog.json",
    )
    assert listed(object_store) == []


def test_nested_catalogs_count_only_where_there_is_none_at_the_root(object_store: MotoStore) -> None:
    rooted, unrooted = "u/dps_output/a/v/t1/" + TIME, "u/dps_output/a/v/t2/" + TIME
    put(object_store, rooted + "a/catalog.json", rooted + "catalog.json", rooted + "z/catalog.json")
    put(object_store, unrooted + "a/catalog.json", unrooted + "z/catalog.json")
    assert listed(object_store) == [rooted + "catalog.json", unrooted + "a/catalog.json", unrooted + "z/catalog.json"]


def test_etag_size_and_time_are_those_of_the_object(object_store: MotoStore) -> None:
    key = f"u/dps_output/alg/v1/{TIME}catalog.json"
    object_store.put(key, b"{ }")
    ((found,),) = list_catalogs(object_store.client(), object_store.bucket, {DAY})
    head = object_store.client().head_object(Bucket=object_store.bucket, Key=key)
    assert (found.etag, found.size, found.last_modified) == (head["ETag"].strip('"'), 3, head["LastModified"])


class Counting:
    """A client that counts its requests and gives small pages, as a bucket with many keys does."""

    def __init__(self, client: Any, page: int) -> None:
        self.client, self.page, self.requests = client, page, 0

    def list_objects_v2(self, **arguments: Any) -> Any:
        """Forwards."""
        self.requests += 1
        return self.client.list_objects_v2(**arguments, MaxKeys=self.page)


def names(count: int) -> Iterable[str]:
    return (f"{number:04}.tif" for number in range(count))


def test_pages_are_followed_and_the_rest_of_a_big_job_is_jumped_over(object_store: MotoStore) -> None:
    group = "u/dps_output/alg/v1/2025/08/19/"
    jobs = [f"{group}{hour:02}/00/00/000000/" for hour in range(4)]
    for job in jobs:
        put(object_store, f"{job}catalog.json", *(f"{job}data/{name}" for name in names(60)))
    counting = Counting(object_store.client(), 20)

    assert listed(object_store, client=counting) == [f"{job}catalog.json" for job in jobs]
    # Six folders on the way down, then two pages a job where following every page would take twelve and more.
    assert counting.requests <= 6 + 2 * len(jobs)


def test_other_days_and_their_jobs_cost_nothing(object_store: MotoStore) -> None:
    put(object_store, f"u/dps_output/alg/v1/{TIME}catalog.json")
    before = Counting(object_store.client(), 1000)
    listed(object_store, client=before)
    for day in range(1, 29):
        put(object_store, f"u/dps_output/alg/v1/2025/07/{day:02}/00/00/00/000000/catalog.json")
    after = Counting(object_store.client(), 1000)
    listed(object_store, client=after)
    assert after.requests == before.requests


def test_several_days_of_several_months(object_store: MotoStore) -> None:
    days = [date(2024, 12, 31), date(2025, 1, 1), DAY]
    keys = [f"u/dps_output/alg/v1/t/{day:%Y/%m/%d}/00/00/00/000000/catalog.json" for day in days]
    put(object_store, *keys)
    assert listed(object_store, *days) == keys


def test_a_failed_request_is_never_nothing_new(object_store: MotoStore) -> None:
    put(object_store, f"u/dps_output/alg/v1/{TIME}catalog.json")

    class Failing(Counting):
        def list_objects_v2(self, **arguments: Any) -> Any:
            if arguments["Prefix"].endswith("/08/19/"):
                arguments["Bucket"] = "no-such-bucket"
            return super().list_objects_v2(**arguments)

    with pytest.raises(SourceUnavailable, match="could not be listed"):
        listed(object_store, client=Failing(object_store.client(), 1000))
    with pytest.raises(SourceUnavailable, match="no-such-bucket"):
        list(list_catalogs(object_store.client(), "no-such-bucket", {DAY}))


def test_the_sample_bucket(object_store: MotoStore) -> None:
    object_store.put_folder(sample_bucket())
    day = date(2025, 11, 3)
    (key,) = listed(object_store, day)
    assert key == "other-user/dps_output/area-imagery/v0.2/test-20251103/2025/11/03/22/10/00/000417/catalog.json"
