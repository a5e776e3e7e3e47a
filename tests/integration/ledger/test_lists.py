"""Lists of jobs: pages, filters, groups."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maap_stac_orchestration.ledger import job_lists
from maap_stac_orchestration.ledger.jobs import TokenInvalid, get_job, list_jobs, summary
from maap_stac_orchestration.ledger.outcomes import finish
from maap_stac_orchestration.ledger.records import FinishedJob, JobFilter, JobNames, State
from maap_stac_orchestration.ledger.submissions import compact
from maap_stac_orchestration.problems import Code, Problem
from maap_stac_orchestration.stack.postgres import PostgresServer

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


def test_a_token_of_a_list_with_other_filters_is_refused(ten: Connection) -> None:
    token = list_jobs(ten, JobFilter(username="ana"), limit=2).next_token
    assert list_jobs(ten, JobFilter(username="ana"), limit=3, token=token).jobs
    for other in (JobFilter(), JobFilter(username="bob"), JobFilter(username="ana", state=State.LOADED)):
        with pytest.raises(TokenInvalid, match="other filters"):
            list_jobs(ten, other, token=token)


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
        asked: dict[str, Any] = {field: name}
        assert listed(ten, **asked) == []
    assert get_job(ten, name) is None
    assert listed(ten, username="ana"), "the connection is as good as before"


#: Few values of each name and much of everything, so that all combinations occur and some do not.
_MIXED = """
WITH mixed AS (
    INSERT INTO ledger.job (
        bucket, prefix, day, job_time, username, algorithm, version, tag, state, due_at, catalog_modified,
        problem_codes, collections
    )
    SELECT
        'bucket', 'mixed/' || n, '2025-08-07', '2025-08-07Z'::timestamptz + n / 3 * interval '1 second',
        'user-' || n % 3, 'algorithm-' || n / 700, 'v' || n % 2, nullif('tag-' || n * 7 % 4, 'tag-3'), state,
        CASE WHEN state IN ('discovered', 'waiting') THEN now() END, now(),
        CASE WHEN n % 5 = 0 THEN ARRAY['item_invalid'] WHEN n % 7 = 0 THEN ARRAY['link_missing'] ELSE '{}' END,
        ARRAY['collection-' || n % 4]
    FROM (
        SELECT
            n,
            (ARRAY['loaded', 'loaded', 'loaded', 'partial', 'waiting', 'discovered', 'failed'])[1 + n % 7] AS state
        FROM generate_series(1, 2000) AS n
    ) AS numbered
    RETURNING *
),
listed AS (
    INSERT INTO ledger.job_collection (collection, job_time, job_id, submission)
    SELECT collections[1], job_time, id, submission FROM mixed
),
noted AS (
    INSERT INTO ledger.transition (job_id, state, run_id)
    SELECT id, 'ingesting', 'run-' || id % 9 FROM mixed
)
INSERT INTO ledger.job_code (code, job_time, job_id, submission, left_in)
SELECT problem_codes[1], job_time, id, submission, state FROM mixed WHERE problem_codes <> '{}'
"""

# Jobs that are at work again keep the codes that they were left with.
_AT_WORK = "UPDATE ledger.job SET state = 'discovered', due_at = now() WHERE prefix LIKE 'mixed/%1'"

_EXPECTED = """
SELECT prefix FROM ledger.job
WHERE username = coalesce(%(username)s, username) AND algorithm = coalesce(%(algorithm)s, algorithm)
    AND version = coalesce(%(version)s, version) AND (%(tag)s::text IS NULL OR tag = %(tag)s)
    AND state = coalesce(%(state)s, state) AND (%(code)s::text IS NULL OR %(code)s = ANY (problem_codes))
    AND (%(collection)s::text IS NULL OR %(collection)s = ANY (collections))
    AND (%(run_id)s::text IS NULL OR id IN (SELECT job_id FROM ledger.transition WHERE run_id = %(run_id)s))
    AND (%(since)s::timestamptz IS NULL OR job_time >= %(since)s)
    AND (%(until)s::timestamptz IS NULL OR job_time < %(until)s)
ORDER BY job_time DESC, id DESC
"""


@pytest.fixture(scope="module")
def mixed(postgres_server: PostgresServer, migrated: str) -> Iterator[Connection]:
    """A ledger with two thousand jobs of all kinds, for tests that change nothing in it."""
    with psycopg.connect(postgres_server.url(), autocommit=True) as server:
        server.execute(f"CREATE DATABASE mixed_jobs TEMPLATE {migrated}")
        try:
            with psycopg.connect(postgres_server.url("mixed_jobs"), autocommit=True) as connection:
                connection.execute(_MIXED)
                compact(connection)
                connection.execute(_AT_WORK)
                connection.execute("ANALYZE")
                yield connection
        finally:
            server.execute("DROP DATABASE mixed_jobs WITH (FORCE)")


def _moments() -> st.SearchStrategy[datetime | None]:
    return st.none() | st.integers(0, 700).map(lambda seconds: MIDNIGHT + timedelta(seconds=seconds))


@settings(max_examples=150)
@given(
    asked=st.fixed_dictionaries(
        {
            "username": st.sampled_from([None, "user-0", "user-2", "nobody"]),
            "algorithm": st.sampled_from([None, "algorithm-0", "algorithm-2"]),
            "version": st.sampled_from([None, "v1"]),
            "tag": st.sampled_from([None, "tag-0", "tag-1"]),
            "state": st.sampled_from([None, State.LOADED, State.DISCOVERED, State.FAILED, State.REJECTED]),
            "code": st.sampled_from([None, None, "item_invalid", "link_missing", "too_deep"]),
            "collection": st.sampled_from([None, None, "collection-1", "none"]),
            "run_id": st.sampled_from([None, None, None, "run-4"]),
            "since": _moments(),
            "until": _moments(),
        }
    ),
    limit=st.sampled_from([1, 7, 50]),
    # So few that each of the ways in which a page is looked for is gone by some list.
    rounds=st.sampled_from([(1, 2, 3), (1, 8, 64), (10, 80, 640)]),
    parts=st.sampled_from([0, 3, 40, 1000]),
    rows=st.sampled_from([0, 4, 80]),
)
def test_whatever_is_asked_pages_hold_what_plain_looking_gives(
    mixed: Connection, asked: dict[str, Any], limit: int, rounds: tuple[int, ...], parts: int, rows: int
) -> None:
    expected = [prefix for (prefix,) in mixed.execute(_EXPECTED, asked)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job_lists, "_ROUNDS", rounds)
        patch.setattr(job_lists, "_MOST_PARTS", parts)
        patch.setattr(job_lists, "_MOST_ROWS", rows)
        found, token = [], None
        # A few pages of each list, and those after a place near its end.
        for number in range(4):
            page = list_jobs(mixed, JobFilter(**asked), limit=limit, token=token)
            found += [one.prefix for one in page.jobs]
            token = page.next_token
            if token is None:
                break
            assert number < 3 or len(found) == 4 * limit
    assert found == expected[: 4 * limit]
