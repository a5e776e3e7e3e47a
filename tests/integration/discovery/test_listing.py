"""Listing a day over HTTP: every layout, few requests, and no silence where a request fails."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from maap_stac_orchestration.discovery.dated_tags import Search
from maap_stac_orchestration.discovery.found import FoundCatalog, SourceUnavailable
from maap_stac_orchestration.discovery.listing import Whole, list_catalogs
from tests.shared import sample_bucket

if TYPE_CHECKING:
    from tests.conftest import MotoStore

DAY = date(2025, 8, 19)
TIME = "2025/08/19/09/59/01/262274/"


#: What comes before the timestamp.
LAYOUTS = [
    "{user}/dps_output/alg_12/v1/",
    "{user}/dps_output/alg/v1/tag/",
    "{user}/dps_output/alg/v1/tag/with/slashes/",
    "{user}/dps_output/2025/2025/",
    "{user}/dps_output/alg/v1/2024/",
    "{user}/dps_output/alg/v1/2025/",
    "{user}/dps_output/alg/v1/a/2024/b/",
    "{user}/dps_output/alg/v1/2025/08/19/",
    "{user} +/dps_output/a lg%2F/v/täg/",
    "shared/{user}/dps_output/alg/v1/tag/",
    "shared/dps_output/alg/v1/",
    "shared/dps_output/dps_output/v1/tag/",
    "shared/shared/dps_output/alg/v1/",
    "{user}/dps_output/alg/v1//",
    "{user}/dps_output/alg/v1//tag//",
    "{user}/dps_output/alg/v1/" + "deep/" * 15,
    "{user}/dps_output/alg/v1/" + "d/" * 490,
    "{user}/dps_output/alg/v1/" + "/" * 490,
    "{user}/dps_output/alg/v1/" + "deep/" * 7 + "2024/07/run/",
    "{user}/dps_output/alg/v1/0042/",
    # Spelled like the beginning of a date.
    "{user}/dps_output/alg/v1/2024/07/",
    "{user}/dps_output/alg/v1/2024/07/run/",
    "{user}/dps_output/alg/v1/2024/run/2023/07/",
    "{user}/dps_output/alg/v1/2024/07/15/",
    "{user}/dps_output/alg/v1/2024/07/15/10/run/",
    "{user}/dps_output/alg/v1/2024/02/30/",
    "{user}/dps_output/alg/v1/2024/13/",
    "{user}/dps_output/alg/v1/2025/run/",
    "{user}/dps_output/alg/v1/2025/08/run/",
    "{user}/dps_output/alg/v1/2025/08/19/09/",
    "{user}/dps_output/alg/v1/tag/2024/2024/2024/2024/",
    "{user}/dps_output/alg/v1/0000/",
    "shared/{user}/dps_output/2024/2025/2024/07/run/",
]


def found(store: MotoStore, *days: date, client: Any = None, **options: Any) -> list[FoundCatalog]:
    """What a listing gives, each catalog once."""
    news = list_catalogs(client or store.client(), store.bucket, days or (DAY,), **options)
    catalogs = [catalog for some in news if not isinstance(some, Whole) for catalog in some]
    assert len({catalog.key for catalog in catalogs}) == len(catalogs), "a catalog was given twice"
    return catalogs


def listed(store: MotoStore, *days: date, **options: Any) -> list[str]:
    """The keys that a listing gives."""
    return sorted(catalog.key for catalog in found(store, *days, **options))


def put(store: MotoStore, *keys: str) -> None:
    """Writes small objects."""
    client = store.client()
    for key in keys:
        client.put_object(Bucket=store.bucket, Key=key, Body=b"{}")


def test_every_layout_of_tags_is_found(object_store: MotoStore) -> None:
    alone = [layout.format(user=f"alone{number}") for number, layout in enumerate(LAYOUTS)]
    # Others have jobs without such a tag too, in the same years, months and days.
    among = [layout.format(user=f"among{number}") for number, layout in enumerate(LAYOUTS) if "{user}/" in layout]
    untagged = [f"{group.split('/dps_output/')[0]}/dps_output/alg/v1/" for group in among]
    days = ("2023/12/31", "2024/07/14", "2024/07/15", "2024/07/16", "2025/08/18")
    put(object_store, *(f"{group}{day}/10/00/00/000000/catalog.json" for group in untagged for day in days))
    for name in (TIME + "catalog.json", TIME + "data.tif", "2025/08/20/00/00/00/000000/catalog.json"):
        put(object_store, *(group + name for group in alone + among))
    expected = sorted(f"{group}{TIME}catalog.json" for group in alone + among)

    assert listed(object_store) == expected

    several = [DAY, date(2025, 6, 1), date(2025, 3, 1), date(2025, 2, 28), date(2024, 7, 14)]
    others = [f"{group}2024/07/14/10/00/00/000000/catalog.json" for group in untagged]
    assert listed(object_store, *several) == sorted([*expected, *others])


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
    [one] = found(object_store)
    head = object_store.client().head_object(Bucket=object_store.bucket, Key=key)
    assert (one.etag, one.size, one.last_modified) == (head["ETag"].strip('"'), 3, head["LastModified"])


class Counting:
    """A client that counts its requests and gives small pages, as a bucket with many keys does."""

    def __init__(self, client: Any, page: int) -> None:
        self.client, self.page, self.requests = client, page, 0

    def list_objects_v2(self, **arguments: Any) -> Any:
        """Forwards."""
        self.requests += 1
        return self.client.list_objects_v2(**arguments | {"MaxKeys": min(arguments.get("MaxKeys", 1000), self.page)})


@pytest.mark.parametrize("page", [1, 2, 3, 7])
def test_pages_are_followed_wherever_they_end(object_store: MotoStore, page: int) -> None:
    rooted, rootless = "u/dps_output/a/v/" + TIME, "u/dps_output/a/v/tag/" + TIME
    other_day = "u/dps_output/a/v/2025/08/20/09/59/01/262274/catalog.json"
    put(object_store, *(f"{rooted}{name}" for name in ("0.tif", "a/catalog.json", "catalog.json", "z/catalog.json")))
    put(object_store, *(f"{rootless}{name}" for name in ("0.tif", "a/catalog.json", "x.tif", "z/catalog.json")))
    put(object_store, "u/dps_output/a/v/2025/08/run/" + TIME + "catalog.json", other_day)
    put(object_store, *(f"user-{number}/dps_output/a/v/{TIME}catalog.json" for number in range(4)))
    expected = [
        f"{rooted}catalog.json",
        "u/dps_output/a/v/2025/08/run/" + TIME + "catalog.json",
        f"{rootless}a/catalog.json",
        f"{rootless}z/catalog.json",
        *(f"user-{number}/dps_output/a/v/{TIME}catalog.json" for number in range(4)),
    ]
    small = Counting(object_store.client(), page)
    assert listed(object_store, client=small) == expected
    assert listed(object_store, DAY, date(2025, 8, 20), client=small) == sorted([*expected, other_day])
    assert small.requests > 20


def test_the_days_of_a_month_are_through_before_the_month_before_is_begun(object_store: MotoStore) -> None:
    days = [date(2025, 1, 1), DAY, date(2024, 12, 31), date(2025, 8, 1), date(2023, 5, 5)]
    keys = {day: f"u/dps_output/alg/v1/t/{day:%Y/%m/%d}/00/00/00/000000/catalog.json" for day in days}
    put(object_store, *keys.values())
    told = [
        news.days if isinstance(news, Whole) else {one.key for one in news}
        for news in list_catalogs(object_store.client(), object_store.bucket, days)
    ]
    whole = [news for news in told if isinstance(news, frozenset)]
    assert whole == [{DAY, date(2025, 8, 1)}, {date(2025, 1, 1)}, {date(2024, 12, 31)}, {date(2023, 5, 5)}]
    for news in whole:
        before = [key for keys_of in told[: told.index(news)] if isinstance(keys_of, set) for key in keys_of]
        assert {keys[day] for day in news} <= set(before)


def test_tags_that_are_known_to_begin_like_dates_are_walked_without_looking_for_them(object_store: MotoStore) -> None:
    group = "u/dps_output/alg/v1/2024/07/run/"
    put(object_store, f"{group}{TIME}catalog.json", f"{group}sub/{TIME}catalog.json")
    assert listed(object_store, search=Search.KNOWN) == []
    known = listed(object_store, search=Search.KNOWN, known_groups=[group, f"{group}sub/", "gone/dps_output/a/v/2024/"])
    assert known == [f"{group}{TIME}catalog.json", f"{group}sub/{TIME}catalog.json"]


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
