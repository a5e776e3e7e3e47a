"""How many requests a listing takes: as many as there are groups, whatever else lies in the bucket."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config

from benchmarks.object_server import Server, serving
from maap_stac_orchestration.discovery.dated_tags import Search
from maap_stac_orchestration.discovery.listing import Whole, list_catalogs

from .crowded_buckets import BUCKETS, DAY, GROUPS, TAGS

#: The root, what is shared, three users and one who would be called shared, and their six algorithms.
ABOVE = 1 + 1 + 4 + 6
#: A version's folder is that of the group without a tag; `two/` is none of a group.
FOLDERS = len(GROUPS) + 6


class Counting:
    """A client that counts what it is asked, and the keys that it is told."""

    def __init__(self, server: Server) -> None:
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=server.endpoint,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=Config(max_pool_connections=32),
        )
        self.requests = self.keys = 0

    def list_objects_v2(self, **asked: Any) -> Any:
        """Forwards."""
        answer = self.client.list_objects_v2(**asked)
        self.requests += 1
        self.keys += answer["KeyCount"]
        return answer


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Serves all the buckets."""
    with serving(BUCKETS) as running:
        yield running


def requests(server: Server, bucket: str, *days: date, search: Search = Search.KNOWN) -> int:
    """How many requests it takes to list days, on which each group has a job."""
    client = Counting(server)
    news = list_catalogs(client, bucket, days or [DAY], search=search)  # type: ignore[arg-type]
    found = {one.key for some in news if not isinstance(some, Whole) for one in some}
    assert {f"{group}{DAY:%Y/%m/%d}/12/00/00/000000/catalog.json" for group in GROUPS} <= found
    return client.requests


def test_a_day_takes_a_request_for_each_folder_above_the_timestamps_and_one_for_each_group(server: Server) -> None:
    assert requests(server, "few") == ABOVE + FOLDERS + len(GROUPS)


@pytest.mark.parametrize("bucket", ["many-objects-of-other-days", "many-years", "many-strangers"])
def test_what_else_lies_in_the_bucket_costs_nothing(server: Server, bucket: str) -> None:
    assert requests(server, bucket) == requests(server, "few")


def test_ten_thousand_files_of_a_job_cost_two_requests_more_than_three(server: Server) -> None:
    assert requests(server, "many-files-of-each-job") == requests(server, "few") + 2 * len(GROUPS)


def test_two_days_one_after_the_other_cost_no_more_than_one(server: Server) -> None:
    two = requests(server, "few", DAY, DAY - timedelta(days=1))
    assert two == requests(server, "few")


def test_a_month_costs_as_much_as_a_day_where_few_jobs_ran(server: Server) -> None:
    month = [date(2025, 8, number) for number in range(1, 32)]
    assert requests(server, "few", *month) == requests(server, "few")


def test_the_groups_are_walked_once_for_a_year(server: Server) -> None:
    year = [date(2025, 1, 1) + timedelta(days=number) for number in range(365)]
    # Folder by folder once, which months there are, and those few.
    assert requests(server, "few", *year) <= ABOVE + FOLDERS + len(GROUPS) * (1 + 12)
    alone = sum(requests(server, "few", DAY - timedelta(days=30 * number), DAY) for number in range(12))
    assert requests(server, "few", *year) < alone / 2


def test_a_look_for_tags_like_dates_costs_two_requests_for_a_year_of_a_group(server: Server) -> None:
    few = requests(server, "few")
    for bucket, years in (("few", 1), ("many-objects-of-other-days", 2)):
        assert requests(server, bucket, search=Search.APART) <= few + 2 * years * len(GROUPS)
    assert requests(server, "many-objects-of-other-days", search=Search.AMONG) <= few + 14 * 2 * len(GROUPS)


def test_tags_cost_two_requests_each(server: Server) -> None:
    client = Counting(server)
    news = list_catalogs(client, "tags", [DAY], search=Search.KNOWN)  # type: ignore[arg-type]
    assert sum(len(some) for some in news if not isinstance(some, Whole)) == TAGS
    # The root, a user, an algorithm, and a version with a thousand tags a page.
    assert client.requests == 3 + 2 + 2 * TAGS


def test_a_labyrinth_is_left_again(server: Server) -> None:
    client = Counting(server)
    found = [
        one.key
        for news in list_catalogs(client, "labyrinth", [DAY], search=Search.AMONG)  # type: ignore[arg-type]
        if not isinstance(news, Whole)
        for one in news
    ]
    assert len(found) == 50
    # Two hundred objects, of some hundred folders each.
    assert client.requests < 200 * 10
