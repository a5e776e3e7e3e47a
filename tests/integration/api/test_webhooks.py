"""Users say over HTTP who is told of their own jobs, administrators who is told of everyone's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from maap_stac_orchestration.ledger import changes, endpoints
from maap_stac_orchestration.ledger.changes import Action, Via
from tests.integration.api.callers import Caller, signed_in
from tests.integration.api.conftest import Api
from tests.integration.pipeline.notifying import end_job, send
from tests.integration.receivers import Receiver, receiving

Connection = psycopg.Connection[tuple[Any, ...]]

TOPIC = "arn:aws:sns:us-west-2:123456789012:jobs"


@pytest.fixture
def private_api(database_env: dict[str, str], start_api: Callable[..., Api]) -> Api:
    """An application from which webhooks may go to 127.0.0.1."""
    return start_api(buckets=("maap-ops-workspace",), webhook_private=True)


@pytest.fixture
def ana(private_api: Api, connection: Connection) -> Caller:
    return signed_in(private_api, connection, "ana", admin=False)


@pytest.fixture
def bo(private_api: Api, connection: Connection) -> Caller:
    return signed_in(private_api, connection, "bo", admin=False)


@pytest.fixture
def admin(private_api: Api, connection: Connection) -> Caller:
    return signed_in(private_api, connection, "root", admin=True)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of webhooks."""
    with receiving() as running:
        yield running


def add(caller: Caller, address: str, **more: Any) -> dict[str, Any]:
    answer = caller("POST", "/webhooks", json={"address": address, "reason": "chat", **more})
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    document: dict[str, Any] = answer.json()
    return document


def refused(caller: Caller, status: int, **body: Any) -> dict[str, Any]:
    answer = caller("POST", "/webhooks", json={"reason": "chat", **body})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    return document


def test_a_user_is_told_of_their_own_jobs_alone(ana: Caller, connection: Connection, receiver: Receiver) -> None:
    made = add(ana, receiver.url)
    assert (made["username"], made["created_by"], made["kind"]) == ("ana", "ana", "webhook")
    end_job(connection, 1, username="bo")
    job = end_job(connection, 2, username="ana")
    assert send(connection).told == 1
    assert receiver.received[0].verified(made["secret"])["subject"] == job


def test_the_secret_is_told_once(ana: Caller, connection: Connection, receiver: Receiver) -> None:
    made = add(ana, receiver.url)
    (listed,) = ana.get("/webhooks")["webhooks"]
    assert listed == {name: value for name, value in made.items() if name != "secret"}
    gone = ana("DELETE", f"/webhooks/{made['id']}", params={"reason": "done"})
    assert made["secret"] not in gone.text
    assert "whsec" not in str(changes.history(connection))


def test_the_trail_says_who_did_it(ana: Caller, connection: Connection, receiver: Receiver) -> None:
    made = add(ana, receiver.url)
    ana("DELETE", f"/webhooks/{made['id']}", params={"reason": "done"})
    removed, created = [one for one in changes.history(connection) if one.subject == "ana"][:2]
    assert (created.action, created.by, created.via, created.reason) == (
        Action.ENDPOINT_CREATED,
        "ana",
        Via.API,
        "chat",
    )
    assert (removed.action, removed.by, removed.reason) == (Action.ENDPOINT_REMOVED, "ana", "done")


def test_a_user_cannot_ask_for_the_jobs_of_another(ana: Caller, receiver: Receiver) -> None:
    assert "own jobs only" in refused(ana, 403, address=receiver.url, username="bo")["detail"]
    assert add(ana, receiver.url, username="ana")["username"] == "ana"


def test_topics_are_for_administrators(ana: Caller, admin: Caller) -> None:
    refused(ana, 403, address=TOPIC)
    made = add(admin, TOPIC)
    assert (made["kind"], made["secret"], made["username"]) == ("sns", None, None)


def test_an_administrator_sees_and_removes_everyones_and_a_user_their_own(
    ana: Caller, bo: Caller, admin: Caller, receiver: Receiver
) -> None:
    of_ana, of_all = add(ana, receiver.url), add(admin, receiver.url)
    of_bo = add(admin, receiver.url, username="bo", algorithm="flood", states=["failed"])
    assert [one["id"] for one in ana.get("/webhooks")["webhooks"]] == [of_ana["id"]]
    assert [one["id"] for one in bo.get("/webhooks")["webhooks"]] == [of_bo["id"]]
    assert [one["id"] for one in admin.get("/webhooks")["webhooks"]] == [of_bo["id"], of_all["id"], of_ana["id"]]
    for other in (of_bo, of_all):
        hidden = ana("DELETE", f"/webhooks/{other['id']}", params={"reason": "mine?"})
        unknown = ana("DELETE", "/webhooks/999", params={"reason": "mine?"})
        assert hidden.status_code == unknown.status_code == 404
        assert hidden.json()["detail"].replace(str(other["id"]), "999") == unknown.json()["detail"]
    assert admin("DELETE", f"/webhooks/{of_ana['id']}", params={"reason": "noise"}).status_code == 200
    assert ana.get("/webhooks")["webhooks"] == []
    assert admin("DELETE", f"/webhooks/{of_ana['id']}", params={"reason": "noise"}).status_code == 404


@pytest.mark.parametrize("id", ["0", "-1", "x", "1e3", "99999999999999999999", "²", "%00"])
def test_what_is_no_number_of_an_endpoint_is_not_found(admin: Caller, id: str) -> None:
    assert admin("DELETE", f"/webhooks/{id}", params={"reason": "noise"}).status_code in (400, 404)


def test_strangers_are_asked_for_a_token(private_api: Api) -> None:
    stranger = Caller(private_api.url)
    for method, path in (("GET", "/webhooks"), ("POST", "/webhooks"), ("DELETE", "/webhooks/1")):
        assert stranger(method, path, json={"address": "https://x.org/", "reason": "x"}).status_code in (400, 401)
    assert stranger("GET", "/webhooks").status_code == 401


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"address": "ftp://example.org/"}, "address"),
        ({"address": "https://no-such-host.invalid/"}, "address"),
        ({"address": "https://ana:pw@example.org/"}, "address"),
        ({"address": "http://127.0.0.1/", "algorithm": " "}, "algorithm"),
    ],
)
def test_what_cannot_be_used_is_a_problem_document(ana: Caller, body: dict[str, Any], field: str) -> None:
    problem = refused(ana, 422, **body)
    assert [one["parameter"] for one in problem["errors"]] == [field]
    assert "pw" not in str(problem)


@pytest.mark.parametrize(
    "body",
    [
        {"address": "https://x.org/", "reason": " "},
        {"address": "https://x.org/", "states": ["waiting"]},
        {"address": "https://x.org/", "secret": "whsec_mine"},
        {"address": "https://x.org/\x00"},
        {},
    ],
)
def test_a_body_that_is_not_as_it_should_be_is_a_problem_document(ana: Caller, body: dict[str, Any]) -> None:
    refused(ana, 400, **body)


def test_the_same_twice_and_too_many_are_refused(ana: Caller, admin: Caller, receiver: Receiver) -> None:
    for number in range(endpoints.MOST_OF_USER):
        add(ana, f"{receiver.url}&{number}")
    assert "already" in refused(ana, 409, address=f"{receiver.url}&0")["detail"]
    assert "no more than 20" in refused(ana, 409, address=f"{receiver.url}&more")["detail"]
    add(admin, f"{receiver.url}&more", username="ana")


def test_a_private_address_is_refused_without_the_setting(
    database_env: dict[str, str], start_api: Callable[..., Api], connection: Connection
) -> None:
    api = start_api(buckets=("maap-ops-workspace",))
    caller = signed_in(api, connection, "root", admin=True)
    for address in ("https://127.0.0.1/", "https://localhost:5432/", "https://169.254.169.254/latest/meta-data/"):
        detail = refused(caller, 422, address=address)["detail"]
        assert "not of the public internet" in detail
    assert "https://" in refused(caller, 422, address="http://example.org/")["detail"]
