"""Whatever keys a bucket holds, and wherever its pages end, a listing gives what a look at every key would."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.discovery.dated_tags import Search
from maap_stac_orchestration.discovery.found import job_of_catalog
from maap_stac_orchestration.discovery.listing import Whole, list_catalogs
from maap_stac_orchestration.dps.output_prefix import dated_folders, timestamp_pieces

DAYS = [date(2025, 8, 19), date(2025, 8, 20), date(2025, 7, 31), date(2024, 2, 29), date(2025, 3, 1), date(2025, 2, 28)]
WRITTEN = datetime(2025, 9, 1, tzinfo=UTC)


class Keys:
    """Lists keys as S3 does, over no network, so that thousands of buckets can be tried."""

    def __init__(self, keys: set[str], page: int = 1000) -> None:
        self.keys = sorted(keys)
        self.page = page
        self.requests = 0

    def list_objects_v2(self, **asked: Any) -> dict[str, Any]:
        """A page."""
        self.requests += 1
        assert self.requests < 50_000, "the walk does not end"
        prefix, delimiter = asked["Prefix"], asked.get("Delimiter")
        most = min(asked.get("MaxKeys", 1000), self.page)
        after = asked.get("ContinuationToken") or asked.get("StartAfter", "")
        answer: dict[str, Any] = {"Contents": [], "CommonPrefixes": [], "IsTruncated": False}
        told, last = 0, ""
        at = bisect_right(self.keys, max(after, prefix[:-1]))
        while at < len(self.keys):
            key = self.keys[at]
            if not key.startswith(prefix):
                if key > prefix:
                    break
                at += 1
                continue
            if told == most:
                return answer | {"IsTruncated": True, "NextContinuationToken": last}
            told += 1
            rest = key[len(prefix) :]
            if delimiter and delimiter in rest:
                folder = prefix + rest.partition(delimiter)[0] + delimiter
                answer["CommonPrefixes"].append({"Prefix": folder})
                last = folder + "\U0010ffff"
                at = bisect_right(self.keys, last)
            else:
                answer["Contents"].append({"Key": key, "ETag": '"e"', "Size": 1, "LastModified": WRITTEN})
                last = key
                at += 1
        return answer


def listed(keys: set[str], *, page: int = 1000, **options: Any) -> list[str]:
    news = list_catalogs(Keys(keys, page), "bucket", DAYS, concurrency=1, **options)  # type: ignore[arg-type]
    return sorted(one.key for some in news if not isinstance(some, Whole) for one in some)


def looked_at(keys: set[str]) -> list[str]:
    """The catalogs that count, by every key."""
    jobs: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        job = job_of_catalog(key)
        if job is not None and job.day in DAYS:
            jobs[job.key].append(key)
    roots = {job: [f"{job}catalog.json"] for job, catalogs in jobs.items() if f"{job}catalog.json" in catalogs}
    return sorted(key for catalogs in (jobs | roots).values() for key in catalogs)


folders = st.sampled_from(
    ["2025", "2024", "08", "8", "19", "30", "02", "07", "12", "13", "000000", "run", "x", "", "+", "-", "0", "~", "."]
)
dates = st.sampled_from(
    ["2024", "2024/02", "2024/02/30", "2025/08", "2025/07", "2025/08/19", "2025/08/19/12", "2024/13"]
)
tags = st.lists(folders, max_size=7) | st.lists(dates | folders, max_size=4)
times = st.sampled_from([*DAYS, date(2025, 8, 18), date(2024, 12, 31), date(2024, 2, 1)]).flatmap(
    lambda day: st.sampled_from([f"{day:%Y/%m/%d}/00/00/00/000000", f"{day:%Y/%m/%d}/12/31/59/000001"])
)
users = st.sampled_from(["u", "shared/u", "shared", "shared/dps_output", "dps_output", "x/y"])
names = st.sampled_from(
    ["catalog.json", "catalog.json", "a.tif", "a/catalog.json", "z/catalog.json", "2025/08/19/catalog.json"]
)
keys = st.builds(
    lambda user, version, tag, time, name: "/".join([user, "dps_output", "a", version, *tag, *time, name]),
    users,
    st.sampled_from(["v", "2025"]),
    tags,
    st.lists(times, max_size=1),
    names,
)
buckets = st.sets(keys, max_size=40)


@given(buckets)
def test_a_bucket_of_few_objects_is_known_whole(some: set[str]) -> None:
    assert listed(some) == looked_at(some)
    assert listed(some, search=Search.APART) == looked_at(some)


@given(buckets, st.integers(1, 8))
def test_it_does_not_matter_where_pages_end(some: set[str], page: int) -> None:
    met = listed(some, page=page)
    # A tag that goes on behind a day of other jobs is not looked for among those, unless that is a day to be listed.
    hidden = [
        key
        for key in looked_at(some)
        if (job := job_of_catalog(key)) and any(_pieces(folder) > 2 for folder in dated_folders(job.group))
    ]
    assert set(met) <= set(looked_at(some))
    assert set(looked_at(some)) - set(met) <= set(hidden)


def _pieces(folder: str) -> int:
    names = folder.split("/")[:-1]
    return max(timestamp_pieces(names[at:]) for at in range(len(names)))


@given(buckets, st.integers(1, 8))
def test_with_what_is_known_nothing_is_missing(some: set[str], page: int) -> None:
    groups = {job.group for key in some if (job := job_of_catalog(key)) is not None}
    assert listed(some, page=page, search=Search.KNOWN, known_groups=groups) == looked_at(some)


def a_year_of_jobs(group: str) -> set[str]:
    """A job on each of the first twenty-eight days of the months of 2024."""
    return {
        f"{group}2024/{month:02}/{day:02}/00/00/00/000000/catalog.json"
        for month in range(1, 13)
        for day in range(1, 29)
    }


@pytest.mark.parametrize(
    "tag", ["2024/07/run", "2024/run", "2024/07/+run", "2024/07", "2024/12/run", "2024", "2024/13"]
)
def test_a_tag_among_a_year_of_other_jobs_is_found_where_it_is_looked_for(tag: str) -> None:
    group = "u/dps_output/a/v/"
    wanted = f"{group}{tag}/2025/08/19/00/00/00/000000/catalog.json"
    bucket = a_year_of_jobs(group) - {f"{group}2024/02/29/00/00/00/000000/catalog.json"} | {wanted}
    assert listed(bucket) == [wanted]


@pytest.mark.parametrize("tag", ["2024/02/29/run", "2024/02/29/12/run"])
def test_a_tag_that_goes_on_behind_a_listed_day_is_met_without_looking_for_it(tag: str) -> None:
    group = "u/dps_output/a/v/"
    wanted = f"{group}{tag}/2025/08/19/00/00/00/000000/catalog.json"
    assert listed(a_year_of_jobs(group) | {wanted}, search=Search.KNOWN) == [wanted]
