"""What monitoring is told of the ledger: the sums that are kept as things happen are those that counting would give."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from maap_stac_orchestration.governance.decision import DecisionCode
from maap_stac_orchestration.ledger import claims, metrics, migrate, outcomes, retries, submissions
from maap_stac_orchestration.ledger.records import TERMINAL, State
from maap_stac_orchestration.problems import Code, Problem
from tests.integration.ledger.build import (
    DAY,
    Connection,
    decision,
    discover,
    ended,
    let_leases_run_out,
    let_time_pass,
    prefix,
    seen,
    take,
)

MISSING = Problem(Code.LINK_MISSING, "a.json")
BAD = Problem(Code.ITEM_INVALID, "b.json")


def now() -> datetime:
    return datetime.now(UTC)


def live(conn: Connection, number: int, *, ago: float = 7.0, **more: Any) -> str:
    """A job whose catalog was written so many seconds ago."""
    name = prefix(number)
    discover(conn, seen(name, at=now() - timedelta(seconds=ago), **more))
    return name


def finish(conn: Connection, state: State = State.LOADED, **more: Any) -> None:
    """Claims all that is due and ends it so."""
    batch = take(conn)
    outcomes.finish(conn, batch, [ended(job, state, **more) for job in batch.jobs])
    conn.commit()


def lag(conn: Connection) -> dict[float, int]:
    """Bound -> how many took that long or less, bounds above which nothing changes left out."""
    found: dict[float, int] = {}
    for bound, count in metrics.measure(conn).lag.within.items():
        if count > max(found.values(), default=0):
            found[bound] = count
    return found


@pytest.fixture
def conn(connection: Connection) -> Connection:
    return connection


def test_a_ledger_without_jobs_has_zeros_for_everything_that_is_known_beforehand(conn: Connection) -> None:
    found = metrics.measure(conn)
    assert found.jobs == dict.fromkeys(State, 0)
    assert found.ends == dict.fromkeys([state for state in State if state in TERMINAL], 0)
    assert found.items == {"loaded": 0, "unchanged": 0, "fallback": 0, "refused": 0}
    assert found.due == found.due_backlog == metrics.Due(0, 0.0)
    assert found.deliveries == {"pending": 0, "dead": 0}
    assert set(found.lag.within.values()) == {0}
    assert list(found.lag.within)[-1] == math.inf
    assert (found.decisions, found.problems, found.delivered, found.collections) == ({}, {}, 0, 0)
    assert found.registry_loads is None


def test_sums_are_what_counting_gives_whatever_happened(conn: Connection) -> None:
    for number in range(12):
        live(conn, number, priority=10 if number % 3 == 0 else 0)
    batch = take(conn, max_jobs=9)
    ends = [State.LOADED, State.PARTIAL, State.REJECTED, State.WAITING]
    outcomes.finish(
        conn,
        batch,
        [
            ended(
                job,
                ends[number % 4],
                loaded=number,
                unchanged=2,
                fallback=1,
                refused=1,
                problems=(MISSING, BAD) if number % 2 else (BAD, BAD),
                decisions=(decision(), decision("wanted", DecisionCode.GRANTED)),
            )
            for number, job in enumerate(batch.jobs[:8])
        ],
    )
    conn.commit()
    metrics.compact(conn)
    claims.release(conn, batch_id=batch.batch_id)
    discover(conn, *(seen(prefix(number), "b", at=now()) for number in range(5)))
    let_time_pass(conn)
    again = take(conn, run_id="again", max_jobs=6)
    outcomes.finish(conn, again, [ended(job, State.LOADED, unchanged=3, problems=(MISSING,)) for job in again.jobs[:5]])
    conn.commit()
    for _ in range(2):
        let_leases_run_out(conn)
        take(conn, max_attempts=1)
    found = metrics.measure(conn)

    def counted(question: str) -> dict[Any, int]:
        return {tuple(key) if len(key) > 1 else key[0]: n for *key, n in conn.execute(question)}

    assert {str(state): n for state, n in found.jobs.items() if n} == counted(
        "SELECT state, count(*) FROM ledger.job GROUP BY state"
    )
    assert {str(state): n for state, n in found.ends.items() if n} == counted(
        "SELECT state, count(*) FROM ledger.transition"
        " WHERE state IN ('loaded', 'partial', 'rejected', 'failed') GROUP BY state"
    )
    assert found.ends[State.FAILED] > 0
    assert found.decisions == counted("SELECT code, outcome, count(*) FROM ledger.decision GROUP BY 1, 2")
    assert found.problems == counted("SELECT code, count(*) FROM ledger.job_code GROUP BY code")
    # What both runs handed in.
    assert found.items == {"loaded": sum(range(8)), "unchanged": 8 * 2 + 5 * 3, "fallback": 8, "refused": 8}


@pytest.mark.parametrize(
    ("ago", "bound"), [(0.5, 2), (7, 10), (40, 45), (3000, 3600), (90_000, math.inf)], ids=lambda value: str(value)
)
def test_the_lag_of_a_live_job_is_from_its_catalog_to_its_end(conn: Connection, ago: float, bound: float) -> None:
    live(conn, 1, ago=ago)
    finish(conn)
    assert lag(conn) == {bound: 1}
    assert metrics.measure(conn).lag.seconds == pytest.approx(ago, abs=1)


@pytest.mark.parametrize("state", [State.LOADED, State.PARTIAL, State.REJECTED])
def test_lag_is_counted_however_a_job_ended(conn: Connection, state: State) -> None:
    live(conn, 1)
    finish(conn, state)
    assert lag(conn) == {10: 1}


@pytest.mark.parametrize("seen_as", [{"priority": 10}, {"source": "inventory"}, {"source": "request"}], ids=str)
def test_what_did_not_come_to_notice_by_itself_has_no_lag(conn: Connection, seen_as: dict[str, Any]) -> None:
    live(conn, 1, **seen_as)
    finish(conn)
    assert metrics.measure(conn).ends[State.LOADED] == 1
    assert lag(conn) == {}


def test_a_job_that_waited_for_its_author_or_is_tried_again_has_no_lag_but_a_new_catalog_has(conn: Connection) -> None:
    name = live(conn, 1, ago=100)
    finish(conn, State.WAITING)
    let_time_pass(conn)
    finish(conn)
    assert lag(conn) == {}
    discover(conn, seen(name, "b", at=now()))
    finish(conn)
    assert lag(conn) == {2: 1}
    (row,) = conn.execute("SELECT id FROM ledger.job").fetchall()
    retries.request(conn, [row[0]], by="ana", reason="again", force=True)
    conn.commit()
    finish(conn)
    assert metrics.measure(conn).ends[State.LOADED] == 3
    assert lag(conn) == {2: 1}


def test_a_run_that_broke_off_does_not_take_the_lag_away(conn: Connection) -> None:
    live(conn, 1, ago=25)
    batch = take(conn)
    claims.release(conn, batch_id=batch.batch_id, reason="It broke.")
    conn.commit()
    finish(conn)
    assert lag(conn) == {30: 1}


def test_lags_of_a_run_are_those_of_its_jobs_and_no_others(conn: Connection) -> None:
    for number, ago in enumerate((30.0, 10.0, 20.0)):
        live(conn, number, ago=ago)
    batch = take(conn, run_id="one")
    outcomes.finish(conn, batch, [ended(job) for job in batch.jobs])
    conn.commit()
    numbers = [job.job_id for job in batch.jobs if job.job_id is not None]
    assert metrics.lags(conn, numbers, "one") == pytest.approx([10, 20, 30], abs=1)
    assert metrics.lags(conn, numbers[:1], "one") == pytest.approx([30], abs=1)
    assert metrics.lags(conn, numbers, "two") == []


def test_due_work_is_counted_apart_from_backfills_and_without_what_somebody_holds(conn: Connection) -> None:
    for number in range(5):
        live(conn, number)
    for number in range(20, 23):
        discover(conn, seen(prefix(number, day=DAY - timedelta(days=number)), priority=10))
    conn.execute("UPDATE ledger.job SET due_at = now() - interval '90 s' WHERE prefix = %s", (prefix(3),))
    conn.execute("UPDATE ledger.job SET due_at = now() - interval '1 hour' WHERE day = %s", (DAY - timedelta(days=21),))
    conn.execute("UPDATE ledger.job SET due_at = now() + interval '1 hour' WHERE prefix = %s", (prefix(4),))
    conn.commit()
    found = metrics.measure(conn)
    assert (found.due.jobs, found.due_backlog.jobs) == (4, 3)
    assert found.due.oldest_seconds == pytest.approx(90, abs=5)
    assert found.due_backlog.oldest_seconds == pytest.approx(3600, abs=5)
    take(conn)
    found = metrics.measure(conn)
    assert (found.due.jobs, found.due_backlog.jobs) == (0, 3)
    assert found.due.oldest_seconds == 0


def test_the_oldest_due_job_is_found_also_among_those_that_broke_their_runs(conn: Connection) -> None:
    for number in range(3):
        live(conn, number)
    conn.execute(
        "UPDATE ledger.job SET attempts = 3, due_at = now() - interval '5 min' WHERE prefix = %s", (prefix(1),)
    )
    conn.commit()
    assert metrics.measure(conn).due.oldest_seconds == pytest.approx(300, abs=5)


def test_due_jobs_are_counted_up_to_a_number(conn: Connection) -> None:
    live(conn, 0)
    conn.execute(
        "INSERT INTO ledger.job (bucket, prefix, day, job_time, username, algorithm, version, catalog_modified, due_at)"
        " SELECT 'b', n || '/', %s::date - n %% 7, now(), 'u', 'a', 'v', now(), now() FROM generate_series(1, %s) AS n",
        (DAY, metrics.MOST_DUE),
    )
    conn.commit()
    assert metrics.measure(conn).due.jobs == metrics.MOST_DUE
    assert metrics.measure(conn).jobs[State.DISCOVERED] == metrics.MOST_DUE + 1


def test_compacting_changes_no_sum_and_leaves_few_rows(conn: Connection) -> None:
    for number in range(600):
        conn.execute(
            "INSERT INTO ledger.tally (name, labels, amount) VALUES ('decision', %s, %s), ('problem', '{gone}', %s)",
            (["granted" if number % 2 else "reserved_name", "accept"], number, 1 if number % 2 else -1),
        )
    conn.commit()
    before = metrics.measure(conn)
    assert Counter(before.decisions) == {
        ("granted", "accept"): sum(range(1, 600, 2)),
        ("reserved_name", "accept"): sum(range(0, 600, 2)),
    }
    assert metrics.compact(conn) == 1200
    conn.commit()
    rows = conn.execute("SELECT name, labels, amount FROM ledger.tally ORDER BY labels").fetchall()
    conn.commit()
    assert [row[:2] for row in rows] == [("decision", ["granted", "accept"]), ("decision", ["reserved_name", "accept"])]
    assert metrics.measure(conn).decisions == before.decisions
    assert metrics.compact(conn) == 0


def test_compacting_beside_others_waits_for_nobody_and_counts_nothing_twice(conn: Connection, database: str) -> None:
    with psycopg.connect(database) as other:
        conn.execute(
            "INSERT INTO ledger.tally (name, labels, amount) SELECT 'end', '{loaded}', 1 FROM generate_series(1, 600)"
        )
        conn.commit()
        assert metrics.compact(other) == 600
        conn.execute("INSERT INTO ledger.tally (name, labels, amount) VALUES ('end', '{loaded}', 1)")
        assert metrics.compact(conn) == 0
        conn.commit()
        other.commit()
    assert metrics.measure(conn).ends[State.LOADED] == 601


def test_deliveries_are_counted_by_what_became_of_them(conn: Connection) -> None:
    live(conn, 1)
    finish(conn)
    conn.execute(
        "INSERT INTO ledger.delivery (message_id, job_id, transition_id, body)"
        " SELECT gen_random_uuid(), job.id, n, '' FROM ledger.job CROSS JOIN generate_series(1, 6) AS n"
    )
    conn.execute("UPDATE ledger.delivery SET attempts = attempts + 1, due_at = now()")
    conn.execute("UPDATE ledger.delivery SET state = 'delivered', due_at = NULL WHERE transition_id <= 2")
    conn.execute("UPDATE ledger.delivery SET state = 'dead', due_at = NULL WHERE transition_id = 3")
    conn.commit()
    found = metrics.measure(conn)
    assert (found.deliveries, found.delivered) == ({"pending": 3, "dead": 1}, 2)
    conn.execute("DELETE FROM ledger.delivery WHERE transition_id IN (1, 4)")
    conn.execute("UPDATE ledger.delivery SET state = 'pending', due_at = now() WHERE state = 'dead'")
    conn.commit()
    found = metrics.measure(conn)
    assert (found.deliveries, found.delivered) == ({"pending": 3, "dead": 0}, 2)


def test_a_measurement_leaves_no_transaction_and_no_setting_behind(conn: Connection) -> None:
    before = conn.execute("SHOW statement_timeout").fetchone()
    conn.commit()
    metrics.measure(conn, within=timedelta(seconds=2))
    assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    assert conn.execute("SHOW statement_timeout").fetchone() == before


def test_a_measurement_does_not_wait_longer_than_it_may(conn: Connection, database: str) -> None:
    with psycopg.connect(database) as other:
        other.execute("LOCK TABLE ledger.submission IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(psycopg.errors.QueryCanceled):
            metrics.measure(conn, within=timedelta(seconds=0.2))


def test_compacting_submissions_does_not_change_what_is_measured(conn: Connection) -> None:
    for number in range(4):
        live(conn, number)
    finish(conn)
    before = metrics.measure(conn)
    submissions.compact(conn)
    conn.commit()
    assert metrics.measure(conn).jobs == before.jobs == dict.fromkeys(State, 0) | {State.LOADED: 4}


def test_what_was_there_before_sums_were_kept_is_in_them(empty_database: str) -> None:
    versions = Path(migrate.__file__).parent / "migrations" / "versions"
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA ledger")
        for name in ("v0001_ledger.sql", "v0002_governance.sql"):
            connection.execute((versions / name).read_text().encode())
        connection.execute("CREATE TABLE ledger.migration (version_num varchar(32) PRIMARY KEY)")
        connection.execute("INSERT INTO ledger.migration VALUES ('v0002')")
        connection.execute(
            "INSERT INTO ledger.job (bucket, prefix, day, job_time, username, algorithm, version, catalog_modified,"
            " state, loaded, refused) SELECT 'b', n || '/', '2025-08-07', now(), 'u', 'a', 'v', now(), 'partial', 2, n"
            " FROM generate_series(1, 3) AS n"
        )
        connection.execute(
            "INSERT INTO ledger.transition (job_id, state) SELECT id, unnest('{discovered,partial,partial}'::text[])"
            " FROM ledger.job"
        )
        connection.execute(
            "INSERT INTO ledger.decision (job_id, username, algorithm, version, code, outcome, rule, message,"
            " registry_version) SELECT id, 'u', 'a', 'v', 'granted', 'accept', '', '', '' FROM ledger.job"
        )
        connection.execute(
            "INSERT INTO ledger.job_code SELECT 'item_invalid', job_time, id FROM ledger.job WHERE id > 1"
        )
    migrate.migrate(empty_database)
    with psycopg.connect(empty_database) as connection:
        connection.execute("CREATE SCHEMA pgstac")
        connection.execute("CREATE TABLE pgstac.collections (id text)")
        connection.commit()
        found = metrics.measure(connection)
    assert found.jobs[State.PARTIAL] == 3
    assert found.ends[State.PARTIAL] == 6
    assert found.items == {"loaded": 6, "unchanged": 0, "fallback": 0, "refused": 6}
    assert found.decisions == {("granted", "accept"): 3}
    assert found.problems == {"item_invalid": 2}
    assert set(found.lag.within.values()) == {0}
