"""The outbox: no end of a job is forgotten, none is told twice by itself, and much at one endpoint slows no other."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from maap_stac_orchestration.ledger import deliveries, endpoints
from maap_stac_orchestration.ledger.changes import Author, Via
from maap_stac_orchestration.ledger.deliveries import Claimed, DeliveryState, NewDelivery
from maap_stac_orchestration.ledger.endpoints import Kind
from maap_stac_orchestration.ledger.outcomes import finish
from maap_stac_orchestration.ledger.records import State
from tests.integration.ledger.build import discover, ended, nodes, plan, prefix, seen, take

Connection = psycopg.Connection[tuple[Any, ...]]

AUTHOR = Author("bea", Via.CLI, "for a test")
LEASE = timedelta(minutes=1)


def add(conn: Connection, address: str = "https://example.org/") -> int:
    """The number of a new endpoint."""
    endpoint, _ = endpoints.add(
        conn, kind=Kind.WEBHOOK, address=address, username=None, algorithm=None, states=(), author=AUTHOR
    )
    conn.commit()
    return endpoint.id


def end_jobs(conn: Connection, count: int, state: State = State.LOADED) -> None:
    """Jobs that end."""
    discover(conn, *(seen(prefix(number)) for number in range(count)))
    batch = take(conn)
    finish(conn, batch, [ended(job, state) for job in batch.jobs])
    conn.commit()


def make(conn: Connection, *to: int | None, limit: int = 100) -> int:
    """Deliveries of the ends that there are to these endpoints."""
    ends = deliveries.take_ends(conn, limit)
    made = deliveries.make(
        conn,
        [NewDelivery(uuid4(), one, end.job.job_id, end.transition_id, "body") for end in ends for one in to],
    )
    conn.commit()
    return made


def claim(conn: Connection, endpoint: int | None, limit: int = 100) -> list[Claimed]:
    """Claims and commits."""
    claimed = deliveries.claim(conn, endpoint, limit=limit, lease=LEASE)
    conn.commit()
    return claimed


def let_leases_run_out(conn: Connection) -> None:
    conn.execute("UPDATE ledger.delivery SET due_at = now() - interval '1 second' WHERE due_at IS NOT NULL")
    conn.commit()


def test_an_end_is_noted_with_the_transaction_that_ended_the_job_or_not_at_all(connection: Connection) -> None:
    discover(connection, seen(prefix(1)), seen(prefix(2)))
    batch = take(connection)
    connection.execute("SELECT 'a transaction is open'")
    finish(connection, batch, [ended(job) for job in batch.jobs])
    assert deliveries.waiting(connection) == (True, False)
    connection.rollback()
    assert deliveries.waiting(connection) == (False, False)
    finish(connection, batch, [ended(batch.jobs[0], State.WAITING), ended(batch.jobs[1], State.REJECTED)])
    connection.commit()
    (end,) = deliveries.take_ends(connection, 10)
    assert (end.state, end.job.prefix, end.run_id) == (State.REJECTED, batch.jobs[1].prefix, "run")
    connection.rollback()
    assert deliveries.waiting(connection) == (True, False), "an end that was not dealt with is there again"


def test_each_end_is_told_to_each_endpoint_once_and_reported_once(connection: Connection) -> None:
    first, second = add(connection), add(connection, "https://example.org/2")
    end_jobs(connection, 2)
    kept = connection.execute("SELECT transition_id, job_id FROM ledger.job_end").fetchall()
    assert make(connection, first, second, None) == 6
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO ledger.job_end VALUES (%s, %s)", kept)
    assert make(connection, first, second, None) == 0
    assert deliveries.waiting(connection) == (False, True)
    assert set(deliveries.due_targets(connection)) == {first, second, None}


def test_what_is_claimed_is_nobody_elses_until_its_lease_ends(connection: Connection) -> None:
    endpoint = add(connection)
    end_jobs(connection, 3)
    make(connection, endpoint)
    first = claim(connection, endpoint, 2)
    assert [one.attempt for one in first] == [1, 1]
    assert len(claim(connection, endpoint)) == 1
    assert claim(connection, endpoint) == []
    assert deliveries.due_targets(connection) == []
    let_leases_run_out(connection)
    again = claim(connection, endpoint)
    assert [one.attempt for one in again] == [2, 2, 2]
    assert {one.message_id for one in first} < {one.message_id for one in again}


def test_two_who_claim_at_the_same_time_never_claim_the_same(database: str, connection: Connection) -> None:
    endpoint = add(connection)
    end_jobs(connection, 10)
    make(connection, endpoint)
    with psycopg.connect(database) as other:
        first = deliveries.claim(connection, endpoint, limit=4, lease=LEASE)
        second = deliveries.claim(other, endpoint, limit=100, lease=LEASE)
        connection.commit()
        other.commit()
    assert (len(first), len(second)) == (4, 6)
    assert not {one.id for one in first} & {one.id for one in second}


def test_an_answer_that_comes_late_undoes_nothing(connection: Connection) -> None:
    endpoint = add(connection)
    end_jobs(connection, 1)
    make(connection, endpoint)
    (late,) = claim(connection, endpoint)
    let_leases_run_out(connection)
    (now,) = claim(connection, endpoint)
    assert not deliveries.note_failed(connection, late, "HTTP 500", again_in=timedelta(0))
    assert not deliveries.note_failed(connection, late, "HTTP 500", again_in=None)
    deliveries.note_delivered(connection, now, "HTTP 200")
    assert not deliveries.note_failed(connection, now, "HTTP 500", again_in=None)
    (delivery,) = deliveries.list_deliveries(connection)
    assert (delivery.state, delivery.answer) == (DeliveryState.DELIVERED, "HTTP 200")


def test_whoever_delivered_it_late_did_deliver_it(connection: Connection) -> None:
    endpoint = add(connection)
    end_jobs(connection, 1)
    make(connection, endpoint)
    (late,) = claim(connection, endpoint)
    let_leases_run_out(connection)
    claim(connection, endpoint)
    deliveries.note_delivered(connection, late, "HTTP 200")
    (delivery,) = deliveries.list_deliveries(connection)
    assert delivery.state is DeliveryState.DELIVERED


def test_an_endpoint_that_is_removed_while_deliveries_are_made_leaves_none_behind(
    database: str, connection: Connection
) -> None:
    endpoint = add(connection)
    end_jobs(connection, 1)
    assert endpoints.in_force(connection, keep=True)
    done = threading.Event()

    def remove() -> None:
        with psycopg.connect(database) as own:
            endpoints.remove(own, endpoint, AUTHOR)
        done.set()

    thread = threading.Thread(target=remove)
    thread.start()
    with psycopg.connect(database, autocommit=True) as watcher:
        asleep = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        while watcher.execute(asleep).fetchone() is None:
            assert not done.wait(0.02), "it did not wait for the deliveries"
    make(connection, endpoint)
    thread.join(30)
    (delivery,) = deliveries.list_deliveries(connection)
    assert delivery.state is DeliveryState.DEAD
    assert deliveries.due_targets(connection) == []


def test_a_hostile_answer_can_be_kept(connection: Connection) -> None:
    endpoint = add(connection)
    end_jobs(connection, 1)
    make(connection, endpoint)
    (claimed,) = claim(connection, endpoint)
    deliveries.note_failed(connection, claimed, "\0\ud800" + "x" * 10_000, again_in=timedelta(0))
    (delivery,) = deliveries.list_deliveries(connection)
    assert delivery.answer is not None
    assert len(delivery.answer) == 500


def test_no_job_ends_in_a_state_that_is_no_end(connection: Connection) -> None:
    with pytest.raises(ValueError, match="No job ends waiting"):
        endpoints.add(
            connection,
            kind=Kind.WEBHOOK,
            address="https://example.org/",
            username=None,
            algorithm=None,
            states=[State.WAITING],
            author=AUTHOR,
        )


def test_much_that_waits_at_one_endpoint_is_not_read_for_another(connection: Connection) -> None:
    busy, quiet = add(connection), add(connection, "https://example.org/2")
    end_jobs(connection, 3)
    make(connection, quiet)
    connection.execute(
        """
        INSERT INTO ledger.delivery (message_id, endpoint_id, job_id, transition_id, body, due_at)
        SELECT gen_random_uuid(), %s, (SELECT min(id) FROM ledger.job), 1000 + n, '', now() - interval '1 day'
        FROM generate_series(1, 20000) AS n
        """,
        (busy,),
    )
    connection.execute("ANALYZE ledger.delivery")
    connection.commit()
    found = nodes(plan(connection, deliveries._CLAIM, {"target": quiet, "limit": 8, "lease": LEASE}))
    (scan,) = [node for node in found if node.get("Index Name") == "delivery_due_of_endpoint"]
    assert scan["Actual Rows"] == 3
    connection.rollback()
    for statement in (deliveries._WAITING, deliveries._DUE_TARGETS):
        read = sum(
            node["Actual Rows"] * node["Actual Loops"]
            for node in nodes(plan(connection, statement, {}))
            if node.get("Relation Name") == "delivery"
        )
        assert read <= 3, "one look into an index for each endpoint"
    connection.rollback()
