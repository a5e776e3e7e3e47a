"""An operator at the command line says who is told when jobs end, and sees whether they were."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import psycopg
import pytest

from maap_stac_orchestration.ledger import changes
from maap_stac_orchestration.ledger.changes import Action
from maap_stac_orchestration.ledger.records import State
from tests.integration.cli.commands import Run
from tests.integration.pipeline.notifying import end_job, let_time_pass
from tests.integration.receivers import Receiver, receiving

Connection = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def run(maap_stac: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `maap-stac webhook` with arguments, where webhooks may go to 127.0.0.1."""
    monkeypatch.setenv("MAAP_STAC_WEBHOOK_PRIVATE", "true")
    return partial(maap_stac, "webhook")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of webhooks."""
    with receiving() as running:
        yield running


def add(run: Run, address: str, *more: str) -> dict[str, Any]:
    document: dict[str, Any] = run("add", address, "--reason", "chat", "--by", "bea", "--json", *more).json()
    return document


def test_the_secret_alone_is_printed_and_it_verifies(
    run: Run, maap_stac: Run, connection: Connection, receiver: Receiver
) -> None:
    made = run("add", receiver.url, "--username", "ana", "--state", "failed", "--state", "loaded", "--reason", "chat")
    assert made.code == 0, made.stderr
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=\n", made.stdout)
    assert "told of jobs of ana that end failed or loaded" in made.stderr
    assert made.stdout.strip() not in made.stderr
    job = end_job(connection, 1)
    assert maap_stac("notify", "--json").json() == {"told": 1, "failed": 0, "dead": 0, "left": 0}
    assert receiver.received[0].verified(made.stdout.strip())["subject"] == job


def test_lists_never_show_a_secret_and_trails_not_even_the_path(
    run: Run, maap_stac: Run, connection: Connection, receiver: Receiver
) -> None:
    made = add(run, receiver.url, "--username", "ana")
    rotated = run("rotate", str(made["id"]), "--reason", "leaked", "--json").json()
    for arguments in (("list",), ("list", "--all"), ("list", "--json"), ("deliveries",), ("test", str(made["id"]))):
        printed = run(*arguments)
        for secret in (made["secret"], rotated["secret"]):
            assert secret not in printed.stdout + printed.stderr
    for told in (maap_stac("registry", "history"), maap_stac("registry", "history", "--json")):
        assert "endpoint_created" in told.stdout
        assert "whsec" not in told.stdout
        assert "hidden" not in told.stdout


def test_who_added_it_and_why_is_in_the_trail_and_in_the_list(
    run: Run, connection: Connection, receiver: Receiver
) -> None:
    made = add(run, receiver.url, "--username", "ana", "--algorithm", "flood")
    gone = run("remove", str(made["id"]), "--reason", "shut down", "--by", "carl", "--json").json()
    assert (gone["removed"]["by"], gone["removed"]["reason"]) == ("carl", "shut down")
    removed, created = changes.history(connection)
    assert (created.action, created.subject, created.by, created.reason) == (
        Action.ENDPOINT_CREATED,
        "ana",
        "bea",
        "chat",
    )
    assert (removed.action, removed.by) == (Action.ENDPOINT_REMOVED, "carl")
    assert created.detail["host"] == "127.0.0.1"
    assert run("list").stdout.startswith("Nobody is told")
    (listed,) = run("list", "--all", "--username", "ana", "--json").json()["webhooks"]
    assert (listed["algorithm"], listed["created_by"], listed["removed"]["by"]) == ("flood", "bea", "carl")
    again = run("remove", str(made["id"]), "--reason", "shut down")
    assert (again.code, "already" in again.stderr) == (2, True)


def test_the_same_twice_is_refused(run: Run, receiver: Receiver) -> None:
    made = add(run, receiver.url)
    again = run("add", receiver.url, "--reason", "chat")
    assert again.code == 2
    assert f"The endpoint {made['id']} tells this address of the same jobs already" in again.stderr
    add(run, receiver.url, "--username", "ana")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ftp://example.org/", "begins with https://"),
        ("https://ana:pw@example.org/", "leave that out"),
        ("arn:aws:sqs:us-west-2:123456789012:jobs", "not the ARN of an SNS topic"),
        ("https://no-such-host.invalid/", "cannot be found"),
    ],
)
def test_an_address_that_cannot_be_used_is_told_in_a_sentence(run: Run, address: str, said: str) -> None:
    answer = run("add", address, "--reason", "chat")
    assert answer.code == 2
    assert said in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_private_address_needs_the_setting(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAAP_STAC_WEBHOOK_PRIVATE")
    answer = run("add", "https://127.0.0.1/", "--reason", "chat")
    assert answer.code == 2
    assert "MAAP_STAC_WEBHOOK_PRIVATE" in answer.stderr


def test_an_endpoint_is_tried_at_once_and_its_answer_is_printed(run: Run, receiver: Receiver) -> None:
    made = add(run, receiver.url)
    tried = run("test", str(made["id"]))
    assert (tried.code, tried.stdout) == (0, "Delivered: HTTP 204\n")
    event = receiver.received[0].verified(made["secret"])
    assert event["type"] == "org.maap-project.stac.test"
    receiver.always(418)
    tried = run("test", str(made["id"]), "--json")
    assert (tried.code, json.loads(tried.stdout)["answer"]) == (1, "HTTP 418")
    assert run("test", "99").code == 2


def test_what_was_given_up_is_shown_and_sent_again(
    run: Run, maap_stac: Run, connection: Connection, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAAP_STAC_WEBHOOK_ATTEMPTS", "1")
    made = add(run, receiver.url)
    job = end_job(connection, 1, State.REJECTED)
    receiver.always(500)
    assert maap_stac("notify", "--json").json()["dead"] == 1
    shown = run("deliveries", "--state", "dead")
    assert "dead" in shown.stdout
    assert "HTTP 500" in shown.stdout
    assert job in shown.stdout
    (dead,) = run("deliveries", "--prefix", job.rstrip("/"), "--json").json()["deliveries"]
    assert (dead["state"], dead["job_state"], dead["endpoint"]) == ("dead", "rejected", made["id"])
    assert run("redeliver", "--dead", "--endpoint", "99", "--json").json() == {"redelivered": [], "left": []}
    assert run("redeliver", "--dead", "--json").json() == {"redelivered": [dead["id"]], "left": []}
    receiver.always(200)
    assert maap_stac("notify").stdout.startswith("1 told")
    again = run("redeliver", str(dead["id"]), "999")
    assert again.code == 1
    assert "Left as they are: 999" in again.stderr
    let_time_pass(connection)
    maap_stac("notify")
    assert len(receiver.ids()) == 3
    assert len(set(receiver.ids())) == 1


@pytest.mark.parametrize("arguments", [("redeliver",), ("redeliver", "1", "--dead"), ("add", "https://x.org/")])
def test_what_is_not_said_is_asked_for(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).code == 2


def test_a_database_that_goes_away_meanwhile_is_told_in_a_sentence_and_nothing_is_lost(
    run: Run, maap_stac: Run, connection: Connection, receiver: Receiver, database: str
) -> None:
    add(run, receiver.url)
    end_job(connection, 1)

    def lose_connections(*_: object) -> tuple[int, dict[str, str]]:
        with psycopg.connect(database, autocommit=True) as own:
            own.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        return 200, {}

    receiver.reply = lose_connections
    stopped = maap_stac("notify", "--follow")
    assert stopped.code == 2
    assert "The database went away" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    receiver.always(200)
    with psycopg.connect(database) as fresh:
        let_time_pass(fresh)
    assert maap_stac("notify").stdout.startswith("1 told")
    assert len(set(receiver.ids())) == 1


def test_removing_ends_what_is_still_to_be_told(
    run: Run, maap_stac: Run, connection: Connection, receiver: Receiver
) -> None:
    made = add(run, receiver.url)
    end_job(connection, 1)
    receiver.always(500)
    maap_stac("notify")
    run("remove", str(made["id"]), "--reason", "shut down")
    let_time_pass(connection)
    assert maap_stac("notify").stdout.startswith("Nobody is to be told")
    (ended,) = run("deliveries", "--json").json()["deliveries"]
    assert (ended["state"], ended["answer"]) == ("dead", "The endpoint was taken out of force.")
    assert run("redeliver", "--dead", "--json").json()["redelivered"] == []
