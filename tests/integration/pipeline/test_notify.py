"""Whoever asked for it is told when jobs end, by signed webhooks: at least once, whatever becomes of others."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from cloudevents.core.formats.json import JSONFormat

from maap_stac_orchestration import log_events
from maap_stac_orchestration.ledger import changes, deliveries, endpoints
from maap_stac_orchestration.ledger.deliveries import Delivery, DeliveryState
from maap_stac_orchestration.ledger.records import State
from maap_stac_orchestration.pipeline.notification import subscriptions
from maap_stac_orchestration.pipeline.notification.messages import MOST_PROBLEMS
from maap_stac_orchestration.problems import Code, Problem
from tests.conftest import free_port
from tests.integration.ledger.build import discover, ended, prefix, seen, take
from tests.integration.pipeline.notifying import (
    AUTHOR,
    PUBLIC,
    Connection,
    add,
    end_job,
    let_time_pass,
    send,
    settings,
)
from tests.integration.receivers import Received, Receiver, Reply, receiving

ROOT = Path(__file__).parents[3]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of webhooks."""
    with receiving() as running:
        yield running


@pytest.fixture
def events(capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """Gives the log events so far."""
    logger = logging.getLogger(log_events.LOGGER)
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    log_events.to_stderr()
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith('{"event"')]
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)


def only(connection: Connection) -> Delivery:
    """The one delivery that there is."""
    (delivery,) = deliveries.list_deliveries(connection)
    connection.rollback()
    return delivery


def waits(connection: Connection) -> timedelta:
    """In how long the one delivery is tried again."""
    due = only(connection).due
    assert due is not None
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    connection.rollback()
    assert row is not None
    wait: timedelta = due - row[0]
    return wait


def test_a_webhook_is_told_once_that_a_job_ended(connection: Connection, receiver: Receiver) -> None:
    endpoint, secret = add(connection, receiver.url)
    job = end_job(connection, 1, State.PARTIAL)
    assert send(connection).told == 1
    (request,) = receiver.received
    assert request.verified(secret)["subject"] == job
    assert send(connection).told == 0
    assert len(receiver.received) == 1
    (delivery,) = deliveries.list_deliveries(connection, endpoint_id=endpoint.id)
    assert (delivery.state, delivery.answer, delivery.prefix) == (DeliveryState.DELIVERED, "HTTP 204", job)


def test_the_message_is_a_cloud_event_with_the_job_and_its_problems(connection: Connection, receiver: Receiver) -> None:
    add(connection, receiver.url)
    found = tuple(Problem(Code.ASSET_MISSING, f"item-{number}") for number in range(MOST_PROBLEMS + 5))
    job = end_job(connection, 1, State.PARTIAL, problems=found, collections=("floods",))
    send(connection)
    (request,) = receiver.received
    event = from_structured_event(HTTPMessage(dict(request.headers), request.body), JSONFormat())
    assert event.get_type() == "org.maap-project.stac.job.partial"
    assert event.get_source() == PUBLIC
    assert event.get_subject() == job
    assert event.get_id() == request.headers["webhook-id"] == str(only(connection).message_id)
    row = connection.execute("SELECT at FROM ledger.transition WHERE state = 'partial'").fetchone()
    assert row is not None
    assert event.get_time() == row[0]
    data = request.event["data"]
    assert {name: data[name] for name in ("prefix", "username", "algorithm", "version", "tag", "state")} == {
        "prefix": job,
        "username": "ana",
        "algorithm": "flood",
        "version": "v1",
        "tag": "demo",
        "state": "partial",
    }
    assert data["items"]["loaded"] == 2
    assert data["problems"] == ["asset_missing"]
    assert data["collections"] == ["floods"]
    assert data["run_id"] == "run"
    assert len(data["problem_details"]) == MOST_PROBLEMS
    assert data["problems_not_shown"] == 5
    assert data["problem_details"][0]["object"] == "item-0"
    assert set(data["problem_details"][0]) == {"code", "severity", "object", "message", "fix"}
    links = {one["rel"]: one["href"] for one in data["links"]}
    assert links["job"].startswith(f"{PUBLIC}/jobs/ana%2Fdps_output")
    assert links["status"].startswith(f"{PUBLIC}/status/ana%2Fdps_output")
    assert links["run"] == "http://dagster.test/runs/run"
    assert links["collection"] == f"{PUBLIC}/collections/floods"


def test_a_message_stays_small_however_long_the_problems_are(connection: Connection, receiver: Receiver) -> None:
    add(connection, receiver.url)
    found = tuple(Problem(Code.ASSET_MISSING, "ü" * 3000 + str(number)) for number in range(50))
    end_job(connection, 1, State.PARTIAL, problems=found, collections=tuple(f"c{n}" for n in range(300)))
    send(connection)
    (request,) = receiver.received
    assert len(request.body) < 200 * 1024, "SNS takes 256 KiB"
    data = request.event["data"]
    assert len(data["problem_details"]) + data["problems_not_shown"] == 50
    assert len(data["collections"]) + data["collections_not_shown"] == 300


def test_each_is_told_of_what_it_asked_for(connection: Connection, receiver: Receiver) -> None:
    asked: dict[str, dict[str, Any]] = {
        "everything": {},
        "ana": {"username": "ana"},
        "bo": {"username": "bo"},
        "flood": {"algorithm": "flood"},
        "fire": {"algorithm": "fire"},
        "bad": {"states": [State.REJECTED, State.FAILED]},
        "ana-bad": {"username": "ana", "states": [State.REJECTED]},
    }
    for name, more in asked.items():
        add(connection, f"{receiver.url}&{name}", **more)
    first = end_job(connection, 1, username="ana")
    second = end_job(connection, 2, State.REJECTED, username="bo")
    send(connection)
    told: dict[str, set[str]] = {name: set() for name in asked}
    for request in receiver.received:
        told[request.path.rpartition("&")[2]].add(request.event["subject"])
    assert told == {
        "everything": {first, second},
        "ana": {first},
        "bo": {second},
        "flood": {first, second},
        "fire": set(),
        "bad": {second},
        "ana-bad": set(),
    }


def test_only_ends_are_told_and_each_of_a_job_that_ends_again(connection: Connection, receiver: Receiver) -> None:
    add(connection, receiver.url)
    job = prefix(1)
    discover(connection, seen(job))
    batch = take(connection)
    assert send(connection).told == 0
    from maap_stac_orchestration.ledger.outcomes import finish

    finish(connection, batch, [ended(one, State.WAITING) for one in batch.jobs])
    connection.commit()
    assert send(connection).told == 0
    end_job(connection, 1, State.REJECTED, etag="b")
    end_job(connection, 1, State.LOADED, etag="c")
    assert send(connection).told == 2
    assert sorted(one.event["data"]["state"] for one in receiver.received) == ["loaded", "rejected"]


def test_where_nobody_is_to_be_told_ends_are_forgotten(connection: Connection) -> None:
    end_job(connection, 1)
    came_to = send(connection)
    assert (came_to.told, came_to.left) == (0, 0)
    assert str(came_to) == "Nobody is to be told anything."
    assert connection.execute("SELECT FROM ledger.job_end").fetchone() is None
    assert deliveries.list_deliveries(connection) == []


def test_what_failed_is_sent_again_as_it_was(connection: Connection, receiver: Receiver) -> None:
    _, secret = add(connection, receiver.url)
    end_job(connection, 1)
    receiver.always(500)
    assert send(connection).failed == 1
    assert send(connection).failed == 0, "it waits before it is tried again"
    receiver.always(200)
    let_time_pass(connection)
    assert send(connection, settings(public_url="https://elsewhere.test")).told == 1
    first, second = receiver.received
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    second.verified(secret)


def test_waits_grow_until_it_is_given_up_and_that_is_told(
    connection: Connection, receiver: Receiver, events: Any
) -> None:
    endpoint, secret = add(connection, receiver.url)
    job = end_job(connection, 1)
    receiver.always(503)
    before = timedelta(0)
    for attempt in range(1, 8):
        assert send(connection).failed == 1, attempt
        wait = waits(connection)
        assert wait > before
        before = wait
        let_time_pass(connection)
    assert send(connection).dead == 1
    given_up = only(connection)
    assert (given_up.state, given_up.attempts, given_up.answer) == (DeliveryState.DEAD, 8, "HTTP 503")
    assert (given_up.due, given_up.ended is None) == (None, False)
    (told,) = [event for event in events() if event["event"] == "notification.dead"]
    assert (told["job"], told["endpoint"], told["host"], told["attempts"]) == (job, endpoint.id, "127.0.0.1", 8)
    assert (told["level"], told["answer"]) == ("error", "HTTP 503")
    assert secret not in json.dumps(told)
    assert "hidden" not in json.dumps(told), "the address may hold a password of the receiver's"
    let_time_pass(connection)
    assert send(connection).told == 0
    receiver.always(200)
    assert deliveries.redeliver(connection) == [given_up.id]
    connection.commit()
    assert send(connection).told == 1
    assert len(set(receiver.ids())) == 1


def test_the_number_of_tries_can_be_set(connection: Connection, receiver: Receiver) -> None:
    add(connection, receiver.url)
    end_job(connection, 1)
    receiver.always(400)
    assert send(connection, settings(webhook_attempts=1)).dead == 1


@pytest.mark.parametrize(("status", "honoured"), [(429, True), (503, True), (500, False)])
def test_a_receiver_that_asks_to_be_left_alone_is(
    connection: Connection, receiver: Receiver, status: int, honoured: bool
) -> None:
    add(connection, receiver.url)
    end_job(connection, 1)
    receiver.always(status, retry_after="3600")
    send(connection)
    assert (waits(connection) > timedelta(minutes=50)) == honoured


def test_a_receiver_that_is_gone_is_told_nothing_any_more(
    connection: Connection, receiver: Receiver, events: Any
) -> None:
    endpoint, _ = add(connection, receiver.url)
    for number in range(7):
        end_job(connection, number)
    receiver.always(410)
    send(connection)
    assert len(receiver.received) < 7
    assert {one.state for one in deliveries.list_deliveries(connection)} == {DeliveryState.DEAD}
    removed = endpoints.find(connection, endpoint.id)
    assert removed is not None
    assert removed.removed_because == "It answered 410 Gone."
    newest = changes.history(connection, limit=1)[0]
    assert (newest.action, newest.via) == (changes.Action.ENDPOINT_REMOVED, changes.Via.NOTIFICATION)
    assert [one["via"] for one in events() if one["event"] == "endpoint.changed"][-1] == "notification"
    connection.rollback()
    receiver.received.clear()
    end_job(connection, 8)
    assert send(connection).told == 0
    assert receiver.received == []
    assert deliveries.redeliver(connection) == [], "nobody is there to take it"


def test_a_redirect_is_not_followed(connection: Connection, receiver: Receiver) -> None:
    with receiving() as elsewhere:
        receiver.always(307, location=elsewhere.url)
        add(connection, receiver.url)
        end_job(connection, 1)
        assert send(connection).failed == 1
        assert elsewhere.received == []
    assert "redirects, which is not followed" in str(only(connection).answer)


def test_nobody_listening_is_told_and_tried_again(connection: Connection, receiver: Receiver) -> None:
    port = free_port()
    add(connection, f"http://127.0.0.1:{port}/")
    end_job(connection, 1)
    assert send(connection).failed == 1
    assert str(only(connection).answer).startswith("There was no answer: ConnectError")


def test_one_that_never_answers_holds_up_no_other(
    connection: Connection, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    from maap_stac_orchestration.pipeline.notification import webhook

    monkeypatch.setattr(webhook, "TIMEOUT", 1.5)
    released = threading.Event()

    def never(request: Received, number: int) -> Reply:
        released.wait(60)
        return 200, {}

    with receiving() as silent:
        silent.reply = never
        slow, _ = add(connection, silent.url)
        quick, _ = add(connection, receiver.url)
        for number in range(30):
            end_job(connection, number)
        came_to = send(connection)
        released.set()
    assert (came_to.told, came_to.dead) == (30, 0)
    assert len(receiver.received) == 30
    assert came_to.left == 26, "after a try in vain the others wait for the next round"
    states = {one.endpoint_id: one for one in deliveries.list_deliveries(connection, limit=100)}
    assert states[quick.id].state is DeliveryState.DELIVERED
    assert "There was no answer within" in " ".join(
        str(one.answer) for one in deliveries.list_deliveries(connection, endpoint_id=slow.id)
    )


def test_an_answer_is_read_no_further_than_it_is_needed(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    sent = 0
    listener = socket.create_server(("127.0.0.1", 0))

    def pour() -> None:
        nonlocal sent
        opened, _ = listener.accept()
        with opened:
            opened.recv(1 << 16)
            opened.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            try:
                while sent < 1 << 30:
                    opened.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                    sent += 0x10000
            except OSError:
                return

    thread = threading.Thread(target=pour, daemon=True)
    thread.start()
    add(connection, f"http://127.0.0.1:{listener.getsockname()[1]}/")
    end_job(connection, 1)
    assert send(connection).told == 1
    thread.join(30)
    listener.close()
    assert not thread.is_alive()
    assert sent < 1 << 26


def test_whoever_is_killed_between_sending_and_noting_makes_it_be_sent_again(
    database: str, connection: Connection, receiver: Receiver
) -> None:
    _, secret = add(connection, receiver.url)
    end_job(connection, 1)
    came, released = threading.Event(), threading.Event()

    def hold(request: Received, number: int) -> Reply:
        if number == 0:
            came.set()
            released.wait(60)
        return 200, {}

    receiver.reply = hold
    process = subprocess.Popen([sys.executable, "-m", "tests.integration.pipeline.notifying", database], cwd=ROOT)
    assert came.wait(60), "nothing was sent"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    released.set()
    assert send(connection).told == 0, "it is the killed one's until its lease ends"
    assert only(connection).state is DeliveryState.PENDING
    let_time_pass(connection)
    assert send(connection).told == 1
    first, second = receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    second.verified(secret)
    assert only(connection).attempts == 2


def test_whoever_is_killed_while_deliveries_are_made_loses_no_end(
    database: str, connection: Connection, receiver: Receiver
) -> None:
    add(connection, receiver.url)
    end_job(connection, 1)
    with psycopg.connect(database) as blocker:
        # The process stops when it wants to write the delivery down.
        blocker.execute("LOCK TABLE ledger.delivery IN SHARE MODE")
        process = subprocess.Popen([sys.executable, "-m", "tests.integration.pipeline.notifying", database], cwd=ROOT)
        with psycopg.connect(database, autocommit=True) as watcher:
            asleep = "SELECT FROM pg_stat_activity WHERE application_name = 'notifying' AND wait_event_type = 'Lock'"
            while watcher.execute(asleep).fetchone() is None:
                assert process.poll() is None, "the process ended before it came to the point"
                time.sleep(0.02)
        process.kill()
        process.wait()
    # The server takes a moment to notice, and until then nobody else may take what the process had taken.
    gone = "SELECT WHERE NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'notifying')"
    until = time.monotonic() + 60
    with psycopg.connect(database, autocommit=True) as watcher:
        while watcher.execute(gone).fetchone() is None:
            assert time.monotonic() < until, "the server never noticed"
            time.sleep(0.02)
    assert send(connection).told == 1
    assert len(receiver.received) == 1


def test_two_at_work_at_the_same_time_send_everything_once(
    database: str, connection: Connection, receiver: Receiver
) -> None:
    add(connection, receiver.url)
    for number in range(40):
        end_job(connection, number)
    done = []

    def work() -> None:
        with psycopg.connect(database) as own:
            done.append(send(own))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(one.told for one in done) == 40
    assert len(receiver.ids()) == len(set(receiver.ids())) == 40


def test_what_there_is_no_time_for_is_done_the_next_time(connection: Connection, receiver: Receiver) -> None:
    add(connection, receiver.url)
    end_job(connection, 1)
    came_to = send(connection, seconds=0)
    assert (came_to.told, came_to.left) == (0, 1)
    assert send(connection).told == 1


def test_for_a_day_after_a_change_both_secrets_verify(connection: Connection, receiver: Receiver) -> None:
    endpoint, old = add(connection, receiver.url)
    _, new = subscriptions.rotate(connection, endpoint.id, AUTHOR)
    end_job(connection, 1)
    send(connection)
    receiver.received[0].verified(old)
    receiver.received[0].verified(new)
    connection.execute("UPDATE ledger.endpoint SET previous_until = now() - interval '1 second'")
    end_job(connection, 2)
    send(connection)
    receiver.received[1].verified(new)
    from standardwebhooks.webhooks import WebhookVerificationError

    with pytest.raises(WebhookVerificationError):
        receiver.received[1].verified(old)


def test_a_private_address_is_refused_when_it_is_added(connection: Connection, receiver: Receiver) -> None:
    open_only = settings(webhook_private=False)
    for address in (receiver.url, "https://127.0.0.1/", "https://localhost/", "https://2130706433/", "https://[::1]/"):
        with pytest.raises(subscriptions.NotUsable):
            add(connection, address, open_only)


def test_an_address_is_checked_again_at_each_try(connection: Connection, receiver: Receiver) -> None:
    # As if the name had led to the public internet when it was added.
    port = receiver.url.split(":")[2].partition("/")[0]
    endpoint, _ = add(connection, receiver.url)
    connection.execute("UPDATE ledger.endpoint SET address = %s", (f"https://localhost:{port}/hook",))
    end_job(connection, 1)
    assert send(connection, settings(webhook_private=False)).failed == 1
    assert receiver.received == []
    answer = str(only(connection).answer)
    assert "not of the public internet" in answer
    assert "127.0.0.1" not in answer
    del endpoint


def test_old_deliveries_are_forgotten(connection: Connection, receiver: Receiver) -> None:
    add(connection, receiver.url)
    end_job(connection, 1)
    send(connection)
    connection.execute("UPDATE ledger.delivery SET ended_at = ended_at - interval '31 days'")
    connection.commit()
    end_job(connection, 2)
    send(connection)
    (left,) = deliveries.list_deliveries(connection)
    assert left.prefix == prefix(2)
    assert isinstance(left.created, datetime)
