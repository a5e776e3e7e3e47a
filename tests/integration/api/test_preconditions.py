"""A change made to what somebody read does not undo what others did meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.pgstac.collections import locked_document, write_document
from maap_stac_orchestration.pipeline import administer
from tests.integration.api.callers import Caller, signed_in
from tests.integration.api.conftest import Api
from tests.integration.api.test_collection_transactions import ROOT, problem
from tests.integration.pipeline.batches import SETTINGS
from tests.integration.pipeline.test_curate import collection

PATH = "/collections/ana--floods"


@pytest.fixture
def ana(api: Api, connection: Connection) -> Caller:
    """Somebody who owns the collection ana--floods."""
    own = {"collection": "{username}--*", "users": ["{username}"], "create": True}
    administer.grant(connection, SETTINGS, "grants", own, ROOT)
    caller = signed_in(api, connection, "ana", admin=False)
    assert caller("POST", "/collections", json=collection("ana--floods")).status_code == 201
    return caller


def change(caller: Caller, method: str, tag: str | None, **body: Any) -> requests.Response:
    """A change of the collection, to what the tag stands for."""
    headers = {"Authorization": f"Bearer {caller.token}"} | ({"If-Match": tag} if tag else {})
    return requests.request(method, caller.url + PATH, headers=headers, timeout=30, **body)


def tag_of(caller: Caller) -> str:
    """The entity tag of the collection as everyone reads it."""
    return requests.get(caller.url + PATH, timeout=30).headers["ETag"]


METHODS: list[tuple[str, Callable[[], dict[str, Any]]]] = [
    ("PUT", lambda: {"json": {**collection("ana--floods"), "title": "New"}}),
    ("PATCH", lambda: {"json": {"title": "New"}}),
    ("DELETE", dict),
]


@pytest.mark.parametrize(("method", "body"), METHODS, ids=[method for method, _ in METHODS])
def test_a_change_to_what_is_no_more_is_refused_and_nothing_happens(ana: Caller, method: str, body: Any) -> None:
    read = tag_of(ana)
    assert change(ana, "PATCH", read, json={"description": "By somebody else."}).status_code == 200
    assert "changed since you read it" in problem(change(ana, method, read, **body()), 412, "ChangedMeanwhile")
    now = ana.get(PATH)
    assert (now["description"], now.get("title")) == ("By somebody else.", collection("ana--floods").get("title"))
    assert change(ana, method, tag_of(ana), **body()).status_code in (200, 204)


@pytest.mark.parametrize("tag", [None, "*", 'W/"other", {}', "{}"])
def test_a_change_to_what_is_there_is_made(ana: Caller, tag: str | None) -> None:
    sent = tag.format(tag_of(ana)) if tag else None
    assert change(ana, "PATCH", sent, json={"title": "New"}).json()["title"] == "New"


def test_of_many_who_read_the_same_one_makes_their_change(ana: Caller) -> None:
    read = tag_of(ana)
    begin = threading.Barrier(6)

    def add(number: int) -> int:
        begin.wait(20)
        return change(ana, "PATCH", read, json={"keywords": [str(number)]}).status_code

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(add, range(6)))
    assert sorted(answers) == [200] + [412] * 5
    assert ana.get(PATH)["keywords"] == [str(answers.index(200))]


def test_what_a_job_changes_at_that_moment_counts_too(ana: Caller, connection: Connection) -> None:
    """The change waits for the lock, and then looks at what came out of it."""
    read = tag_of(ana)
    with ThreadPoolExecutor(1) as pool, connection.transaction():
        document = locked_document(connection, "ana--floods")
        assert document is not None
        asked = pool.submit(change, ana, "PATCH", read, json={"title": "New"})
        # It has seen the tag that it knows, and stands before the lock.
        watching = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        while not asked.done() and connection.execute(watching).fetchone() == (0,):
            pass
        write_document(connection, {**document, "description": "What a job wrote."})
    connection.commit()
    problem(asked.result(30), 412)
    assert ana.get(PATH)["description"] == "What a job wrote."


def test_who_may_not_change_it_is_told_that(ana: Caller, api: Api, connection: Connection) -> None:
    ben = signed_in(api, connection, "ben", admin=False)
    problem(change(ben, "PATCH", tag_of(ana), json={"title": "Mine"}), 403)
    problem(change(Caller(ana.url), "PATCH", tag_of(ana), json={"title": "Mine"}), 401)
