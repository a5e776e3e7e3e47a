"""Lists of jobs: pages, filters, groups."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from maap_stac_orchestration.ledger.jobs import TokenInvalid, get_job, list_jobs, summary
from maap_stac_orchestration.ledger.outcomes import finish
from maap_stac_orchestration.ledger.records import FinishedJob, JobFilter, JobNames, State
from maap_stac_orchestration.problems import Code, Problem

from .build import Connection, discover, prefix, seen, take

MIDNIGHT = datetime(2025, 8, 7, tzinfo=UTC)


@pytest.fixture
def ten(connection: Connection) -> Connection:
    """Ten jobs of two users; the even ones ended, those that 3 divides with a problem."""
    discover(connection, *(seen(job(number)) for number in range(10)))
    batch = take(connection, run_id="first")
    numbers = {job(number): number for number in range(10)}
    finish(
        connection,
        batch,
        [
            FinishedJob(
                one,
                State.PARTIAL if number % 3 == 0 else State.LOADED,
                loaded=2,
                problems=(Problem(Code.ITEM_INVALID, "x"),) if number % 3 == 0 else (),
                collections=("shared", f"of-{user(number)}"),
                names=JobNames("mosaic", "v1", f"tag-{number % 4}"),
            )
            for one in batch.jobs
            if (number := numbers[one.prefix]) % 2 == 0
        ],
    )
    connection.commit()
    return connection


def user(number: int) -> str:
    return "ana" if number < 6 else "bob"


def job(number: int) -> str:
    return prefix(number, username=user(number))


def listed(connection: Connection, limit: int = 3, **asked: Any) -> list[int]:
    """The numbers of all jobs that a filter finds, page by page."""
    found: list[str] = []
    token = None
    while True:
        page = list_jobs(connection, JobFilter(**asked), limit=limit, token=token)
        assert len(page.jobs) == limit or page.next_token is None
        found += [one.prefix for one in page.jobs]
        token = page.next_token
        if token is None:
            break
    numbers = {job(number): number for number in range(10)}
    return [numbers[one] for one in found]


@pytest.mark.parametrize("limit", [1, 3, 5, 10, 11])
def test_pages_hold_every_job_once_newest_first(ten: Connection, limit: int) -> None:
    assert listed(ten, limit) == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"username": "bob"}, [9, 8, 7, 6]),
        ({"state": State.LOADED}, [8, 4, 2]),
        ({"username": "ana", "state": State.PARTIAL}, [0]),
        ({"tag": "tag-2"}, [6, 2]),
        ({"algorithm": "mosaic"}, [8, 6, 4, 2, 0]),
        ({"version": "v2"}, []),
        ({"collection": "shared"}, [8, 6, 4, 2, 0]),
        ({"collection": "of-bob", "state": State.LOADED}, [8]),
        ({"code": "item_invalid"}, [6, 0]),
        ({"code": "item_invalid", "collection": "of-bob"}, [6]),
        ({"code": "item_invalid", "since": MIDNIGHT + timedelta(seconds=1)}, [6]),
        ({"since": MIDNIGHT + timedelta(seconds=8)}, [9, 8]),
        ({"run_id": "first", "username": "bob"}, [9, 8, 7, 6]),
        ({"run_id": "second"}, []),
    ],
)
def test_filters_narrow_the_list_on_every_page(ten: Connection, asked: dict[str, Any], expected: list[int]) -> None:
    assert listed(ten, 2, **asked) == expected


def test_a_job_that_comes_between_two_pages_hides_and_repeats_none(ten: Connection) -> None:
    first = list_jobs(ten, limit=4)
    discover(ten, seen(prefix(100)))
    second = list_jobs(ten, limit=100, token=first.next_token)
    found = [one.prefix for one in (*first.jobs, *second.jobs)]
    assert len(found) == len(set(found)) == 10


def test_jobs_of_the_same_microsecond_are_told_apart_by_pages(connection: Connection) -> None:
    discover(connection, *(seen(prefix(username=f"user-{number}")) for number in range(5)))
    found: list[str] = []
    token = None
    for _ in range(5):
        page = list_jobs(connection, limit=1, token=token)
        found += [one.username for one in page.jobs]
        token = page.next_token
    assert token is None
    assert sorted(found) == [f"user-{number}" for number in range(5)]


@pytest.mark.parametrize("token", ["", "made-up", "é", "MTIz", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTkgMQ", "MSAtMQ"])
def test_a_token_that_no_page_gave_is_refused(connection: Connection, token: str) -> None:
    with pytest.raises(TokenInvalid):
        list_jobs(connection, token=token)


def test_a_job_that_nobody_saw_is_not_known(connection: Connection) -> None:
    assert get_job(connection, prefix()) is None


def test_a_job_is_found_in_the_bucket_that_is_named(connection: Connection) -> None:
    discover(connection, seen(prefix()))
    assert get_job(connection, prefix(), bucket="another") is None


def test_groups_count_their_jobs_by_state(ten: Connection) -> None:
    groups = {group.group["username"]: group for group in summary(ten, by=("username",))}
    assert groups["ana"].states == {"ingesting": 3, "loaded": 2, "partial": 1}
    assert groups["bob"].states == {"ingesting": 2, "loaded": 1, "partial": 1}
    assert (groups["ana"].jobs, groups["ana"].loaded) == (6, 6)


def test_groups_are_of_the_jobs_that_a_filter_finds(ten: Connection) -> None:
    (group,) = summary(ten, by=("tag", "username"), filter=JobFilter(collection="of-bob", code="item_invalid"))
    assert (group.group, group.jobs) == ({"tag": "tag-2", "username": "bob"}, 1)
    assert summary(ten, by=("tag",), filter=JobFilter(username="nobody")) == []


@pytest.mark.parametrize("by", [(), ("colour",)])
def test_jobs_are_grouped_by_what_they_have(connection: Connection, by: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="grouped"):
        summary(connection, by=by)


def test_every_filter_of_a_long_list_walks_along_an_index(connection: Connection) -> None:
    connection.execute(MANY_JOBS)
    connection.execute("ANALYZE ledger.job; ANALYZE ledger.job_collection; ANALYZE ledger.job_code")
    connection.execute("LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET client_min_messages = log")
    plans: list[str] = []
    connection.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
    cases: dict[str, dict[str, Any]] = {
        "job_newest": {},
        "job_of_user ": {"username": "user-7"},
        "job_of_user_in_state": {"username": "user-7", "state": State.WAITING},
        "job_of_tag": {"tag": "tag-9"},
        "job_of_algorithm": {"algorithm": "algorithm-3"},
        "job_of_version": {"version": "v5"},
        "job_in_state": {"state": State.WAITING},
        "job_collection_pkey": {"collection": "collection-3"},
        "job_code_pkey": {"code": "item_invalid"},
        "transition_of_run": {"run_id": "first"},
    }
    for index, asked in cases.items():
        plans.clear()
        list_jobs(connection, JobFilter(**asked), limit=20)
        # What the server has to say about a statement comes with the answer to the next.
        connection.execute("SELECT 1")
        plan = next(plan for plan in plans if "ledger.job" in plan)
        assert f" {index}" in plan, plan
        assert "Seq Scan" not in plan, plan


#: As many as make the planner think, evenly over users, tags, states and collections.
MANY_JOBS = """
WITH many AS (
    INSERT INTO ledger.job (
        bucket, prefix, day, job_time, username, algorithm, version, tag, state, due_at, catalog_modified
    )
    SELECT
        'bucket', n::text, '2025-08-07', '2025-08-07'::timestamptz + n * interval '1 second', 'user-' || n % 41,
        'algorithm-' || n % 7, 'v' || n % 11, 'tag-' || n % 53, CASE WHEN n % 13 = 0 THEN 'waiting' ELSE 'loaded' END,
        CASE WHEN n % 13 = 0 THEN now() END, now()
    FROM generate_series(1, 20000) AS n
    RETURNING id, job_time, submission, state
),
listed AS (
    INSERT INTO ledger.job_collection (collection, job_time, job_id, submission)
    SELECT 'collection-' || id % 5, job_time, id, submission FROM many
)
INSERT INTO ledger.job_code (code, job_time, job_id, submission, left_in)
SELECT 'item_invalid', job_time, id, submission, state FROM many WHERE id % 3 = 0
"""


@pytest.mark.parametrize("name", ["an\0a", "an\udce4"], ids=["NUL", "not UTF-8"])
def test_what_no_text_can_hold_is_nobodys_name_and_finds_nothing(ten: Connection, name: str) -> None:
    for field in ("username", "algorithm", "version", "tag", "collection", "run_id"):
        assert listed(ten, **{field: name}) == []
    assert get_job(ten, name) is None
    assert listed(ten, username="ana"), "the connection is as good as before"
