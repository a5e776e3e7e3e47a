"""The audit trail of decisions: pages, filters, and what a page costs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from maap_stac_orchestration.governance.decision import DecisionCode, Outcome
from maap_stac_orchestration.ledger.decisions import DecisionFilter, DecisionTokenInvalid, list_decisions
from maap_stac_orchestration.ledger.outcomes import finish
from maap_stac_orchestration.ledger.records import JobNames

from .build import Connection, decision, discover, ended, nodes, plan, prefix, seen, take

START = datetime(2025, 8, 7, tzinfo=UTC)


def job(number: int) -> str:
    return prefix(number, username="ana" if number < 6 else "bob")


@pytest.fixture
def ten(connection: Connection) -> Connection:
    """A decision each for ten jobs of two users, every third one granted; job 9 asked for a very long id."""
    discover(connection, *(seen(job(number)) for number in range(10)))
    batch = take(connection, run_id="first")
    by_prefix = {one.prefix: one for one in batch.jobs}
    for number in range(10):
        code = DecisionCode.GRANTED if number % 3 == 0 else DecisionCode.DEFAULT_ASSIGNED
        requested = "x" * 1000 + "end" if number == 9 else f"c-{number}" if number % 3 == 0 else None
        taken = decision(requested, code)
        names = JobNames("mosaic", f"v{number % 2}", f"tag-{number % 4}")
        finish(connection, batch, [ended(by_prefix[job(number)], decisions=(taken,), names=names)])
    connection.commit()
    return connection


def listed(connection: Connection, limit: int = 3, **asked: Any) -> list[int]:
    """The numbers of the jobs of all decisions that a filter finds, page by page."""
    found: list[str] = []
    token = None
    while True:
        page = list_decisions(connection, DecisionFilter(**asked), limit, token)
        assert len(page.decisions) == limit or page.next_token is None
        found += [one.job_prefix for one in page.decisions]
        token = page.next_token
        if token is None:
            break
    numbers = {job(number): number for number in range(10)}
    return [numbers[one] for one in found]


@pytest.mark.parametrize("limit", [1, 3, 5, 10, 11])
def test_pages_hold_every_decision_once_newest_first(ten: Connection, limit: int) -> None:
    assert listed(ten, limit) == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"username": "bob"}, [9, 8, 7, 6]),
        ({"algorithm": "mosaic", "version": "v0"}, [8, 6, 4, 2, 0]),
        ({"algorithm": "flood"}, []),
        ({"version": "v1", "username": "bob"}, [9, 7]),
        ({"tag": "tag-2"}, [6, 2]),
        ({"requested": "c-3"}, [3]),
        ({"requested": "C-3"}, []),
        ({"requested": "x" * 1000 + "end"}, [9]),
        ({"requested": "x" * 1000 + "other"}, []),
        ({"collection": "c-6"}, [6]),
        ({"collection": "ana__flood__v1__demo"}, [8, 7, 5, 4, 2, 1]),
        ({"code": DecisionCode.GRANTED}, [9, 6, 3, 0]),
        ({"outcome": Outcome.DEFAULT}, [8, 7, 5, 4, 2, 1]),
        ({"outcome": Outcome.REJECT}, []),
        ({"registry_version": "r1", "username": "ana"}, [5, 4, 3, 2, 1, 0]),
        ({"registry_version": "r2"}, []),
        ({"prefix": job(4)}, [4]),
        ({"prefix": job(4).rstrip("/")}, [4]),
        ({"prefix": "nobody/"}, []),
        ({"run_id": "first", "code": DecisionCode.GRANTED}, [9, 6, 3, 0]),
        ({"run_id": "second"}, []),
    ],
)
def test_filters_narrow_the_trail_on_every_page(ten: Connection, asked: dict[str, Any], expected: list[int]) -> None:
    assert listed(ten, 2, **asked) == expected


@pytest.mark.parametrize("asked", [{}, {"username": "ana"}])
def test_a_span_of_time_begins_with_its_first_moment_and_ends_before_its_last(
    ten: Connection, asked: dict[str, Any]
) -> None:
    trail = list_decisions(ten, limit=10).decisions
    at = {number: one.at for number, one in zip(range(9, -1, -1), trail, strict=True)}
    assert listed(ten, 2, since=at[2], until=at[5], **asked) == [4, 3, 2]
    assert listed(ten, 2, until=at[3], **asked) == [2, 1, 0]
    assert listed(ten, 2, since=at[4], username="ana") == [5, 4]


def test_decisions_of_the_same_moment_are_told_apart_by_pages(ten: Connection) -> None:
    ten.execute(
        "INSERT INTO ledger.decision (job_id, username, algorithm, version, code, outcome, rule, message,"
        " registry_version, at) SELECT min(id), 'carl', 'a', 'v', 'granted', 'accept', '', '', 'r', '2020-01-01Z'"
        " FROM ledger.job CROSS JOIN generate_series(1, 5) GROUP BY generate_series"
    )
    end = datetime(2021, 1, 1, tzinfo=UTC)
    found, token = [], None
    for _ in range(5):
        page = list_decisions(ten, DecisionFilter(until=end), 1, token)
        found += page.decisions
        token = page.next_token
    assert token is None
    assert [one.username for one in found] == ["carl"] * 5


def test_a_decision_that_comes_between_two_pages_hides_and_repeats_none(ten: Connection) -> None:
    first = list_decisions(ten, limit=4)
    discover(ten, seen(prefix(100)))
    batch = take(ten, run_id="second")
    finish(ten, batch, [ended(one, decisions=(decision(),)) for one in batch.jobs])
    second = list_decisions(ten, limit=100, token=first.next_token)
    found = [one.job_prefix for one in (*first.decisions, *second.decisions)]
    assert len(found) == len(set(found)) == 10


def test_a_decision_tells_all_that_was_written_down(ten: Connection) -> None:
    (found,) = list_decisions(ten, DecisionFilter(requested="c-3")).decisions
    assert found.decision == decision("c-3", DecisionCode.GRANTED)
    assert (found.username, found.algorithm, found.version, found.tag) == ("ana", "mosaic", "v1", "tag-3")
    assert (found.job_prefix, found.run_id) == (job(3), "first")
    assert abs(found.at - datetime.now(UTC)) < timedelta(hours=1)


@pytest.mark.parametrize("token", ["", "0", "-1", "made-up", "é", "²", "1 ", "999999", "9" * 19, "9" * 400])
def test_a_token_that_no_page_gave_is_refused(ten: Connection, token: str) -> None:
    with pytest.raises(DecisionTokenInvalid):
        list_decisions(ten, token=token)


DECISIONS = 50_000

# Evenly over what is asked for often; the oldest thousandth under another registry, by another algorithm, rejected.
FILL = """
WITH job AS (
    INSERT INTO ledger.job (bucket, prefix, day, job_time, username, algorithm, version, due_at, catalog_modified)
    SELECT 'bucket', n || '/', '2025-08-07', now(), 'u', 'a', 'v', now(), now() FROM generate_series(1, 10000) AS n
    RETURNING id
),
numbered AS (SELECT id, row_number() OVER (ORDER BY id) - 1 AS number FROM job)
INSERT INTO ledger.decision (
    job_id, username, algorithm, version, tag, requested, code, outcome, collection, rule, message, registry_version,
    run_id, at
)
SELECT
    numbered.id, 'user-' || n % 41, CASE WHEN n <= 50 THEN 'old' ELSE 'algorithm-' || n % 7 END,
    CASE WHEN n <= 50 THEN 'v0' ELSE 'v' || n % 11 END, CASE WHEN n <= 50 THEN 'first' ELSE 'tag-' || n % 53 END,
    'requested-' || n % 97, CASE WHEN n % 31 = 0 THEN 'invalid_name' ELSE 'granted' END,
    CASE WHEN n <= 50 THEN 'reject' ELSE 'accept' END, 'collection-' || n % 59, 'rule', 'message',
    CASE WHEN n <= 50 THEN 'r0' ELSE 'r1' END, 'run-' || n / 20, '2025-01-01Z'::timestamptz + n * interval '1 minute'
FROM generate_series(1, %(decisions)s) AS n
JOIN numbered ON numbered.number = n %% 10000
ORDER BY n
"""


@pytest.fixture(scope="module")
def long_trail(postgres_server: Any, migrated: str) -> Any:
    """A connection to a ledger with a long audit trail, for tests that change nothing in it."""
    with psycopg.connect(postgres_server.url(), autocommit=True) as server:
        server.execute(f"CREATE DATABASE long_trail TEMPLATE {migrated}")  # type: ignore[arg-type]
        try:
            with psycopg.connect(postgres_server.url("long_trail"), autocommit=True) as connection:
                connection.execute(FILL.replace(" % ", " %% "), {"decisions": DECISIONS})
                connection.execute("ANALYZE ledger.decision; ANALYZE ledger.job")
                yield connection
        finally:
            server.execute("DROP DATABASE long_trail WITH (FORCE)")


class _Explained:
    """A connection that plans and runs what it is asked, and keeps what that cost."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.plans: list[dict[str, Any]] = []

    def execute(self, statement: Any, parameters: dict[str, Any]) -> Any:
        self.plans.append(plan(self.connection, statement, parameters))
        return self.connection.execute(statement, parameters)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"username": "user-7"},
        {"username": "nobody"},
        {"algorithm": "old"},
        {"algorithm": "algorithm-3", "version": "v5"},
        {"version": "v0"},
        {"tag": "first"},
        {"requested": "requested-3"},
        {"requested": "x" * 3000},
        {"collection": "collection-3"},
        {"code": DecisionCode.INVALID_NAME},
        {"code": DecisionCode.NAME_CONFLICT},
        {"outcome": Outcome.REJECT},
        {"registry_version": "r0"},
        {"prefix": "42"},
        {"run_id": "run-7"},
        {"since": START},
        {"since": datetime(2025, 2, 4, tzinfo=UTC)},
        {"until": datetime(2025, 1, 3, tzinfo=UTC)},
        {"since": datetime(2025, 1, 2, tzinfo=UTC), "until": datetime(2025, 1, 3, tzinfo=UTC)},
        {"username": "user-7", "until": datetime(2025, 1, 3, tzinfo=UTC)},
    ],
    ids=str,
)
@pytest.mark.parametrize("token", [None, "40000"])
def test_a_page_of_a_long_trail_does_not_read_all_of_it(
    long_trail: Connection, asked: dict[str, Any], token: str | None
) -> None:
    explained = _Explained(long_trail)
    page = list_decisions(explained, DecisionFilter(**asked), 20, token)  # type: ignore[arg-type]
    assert len(page.decisions) <= 20
    reading = [
        node
        for found in explained.plans
        for node in nodes(found)
        if node.get("Relation Name") == "decision" or node["Node Type"] == "Bitmap Index Scan"
    ]
    assert "Seq Scan" not in {node["Node Type"] for node in reading}
    looked_at = [
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"] for node in reading
    ]
    # All that one user ever asked for, or all of a few days, may be read; the whole trail may not.
    assert max(looked_at) <= DECISIONS / 10
