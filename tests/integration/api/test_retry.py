"""Trying jobs again over HTTP: one's own, or as an administrator anybody's."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from maap_stac_orchestration.api.models import RetriedModel
from maap_stac_orchestration.ledger.jobs import get_job
from maap_stac_orchestration.ledger.outcomes import finish
from maap_stac_orchestration.ledger.records import State
from maap_stac_orchestration.problems import Code, Problem
from tests.integration.api.callers import Caller, signed_in
from tests.integration.api.conftest import Api
from tests.integration.ledger.build import discover, ended, prefix, prefixes, seen, states, take

Connection = psycopg.Connection[tuple[Any, ...]]
MINE, BENS = prefix(1), prefix(2, username="ben")


def ends(connection: Connection, *jobs: str, state: State = State.REJECTED) -> None:
    """Puts jobs into the ledger that ended so."""
    discover(connection, *(seen(one) for one in jobs))
    batch = take(connection)
    problems = (Problem(Code.LINK_MISSING, "s3://b/item.json"),) if state is not State.LOADED else ()
    finish(connection, batch, [ended(one, state, problems=problems) for one in batch.jobs])
    connection.commit()


def at(job: str) -> str:
    return f"/jobs/{quote(job, safe='')}/retry"


@pytest.fixture
def ana(api: Api, connection: Connection) -> Caller:
    return signed_in(api, connection, "ana", admin=False)


@pytest.fixture
def admin(api: Api, connection: Connection) -> Caller:
    return signed_in(api, connection, "root", admin=True)


def problem(answer: Any, status: int, code: str | None = None) -> str:
    """The sentence of a problem document."""
    document = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert code in (None, document["code"])
    return str(document["detail"])


def test_a_user_tries_their_own_job_again(ana: Caller, connection: Connection) -> None:
    ends(connection, MINE)
    answer = ana("POST", at(MINE), json={"reason": "the item is there now"})
    assert answer.status_code == 202, answer.text
    document = answer.json()
    RetriedModel.model_validate(document)
    link = f"{ana.url}/jobs/{quote(MINE, safe='')}"
    assert document["retried"] == [
        {
            "bucket": "maap-ops-workspace",
            "prefix": MINE,
            "before": "rejected",
            "links": [{"rel": "job", "href": link, "type": "application/json"}],
        }
    ]
    assert document["skipped"] == {}
    assert answer.headers["Location"] == document["links"][0]["href"] == link
    assert ana.get(f"/jobs/{quote(MINE, safe='')}")["state"] == "discovered"
    detail = get_job(connection, MINE)
    assert detail is not None
    assert detail.transitions[-1].reason == "ana asked to try it again: the item is there now"


def test_the_body_and_the_final_slash_may_be_left_out(ana: Caller, connection: Connection) -> None:
    ends(connection, MINE)
    assert ana("POST", at(MINE.removesuffix("/"))).status_code == 202
    assert states(connection) == {MINE: "discovered"}


def test_asking_twice_is_fine(ana: Caller, connection: Connection) -> None:
    ends(connection, MINE)
    ana("POST", at(MINE))
    again = ana("POST", at(MINE))
    assert (again.status_code, again.json()["retried"], again.json()["skipped"]) == (202, [], {"due": 1})


def test_a_stranger_is_asked_for_a_token(api: Api, connection: Connection) -> None:
    ends(connection, MINE)
    for path in (at(MINE), "/jobs/retry"):
        answer = Caller(api.url)("POST", path, json={"tag": "demo"} if path == "/jobs/retry" else None)
        problem(answer, 401, "Unauthorized")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert states(connection) == {MINE: "rejected"}


def test_the_job_of_somebody_else_is_for_them_and_for_administrators(
    ana: Caller, admin: Caller, connection: Connection
) -> None:
    ends(connection, BENS)
    assert "This is a job of ben, and you are ana" in problem(ana("POST", at(BENS)), 403, "NotYourJob")
    assert states(connection) == {BENS: "rejected"}
    connection.commit()
    assert admin("POST", at(BENS)).status_code == 202
    assert states(connection) == {BENS: "discovered"}


def test_a_job_that_is_not_known_is_not_found(ana: Caller) -> None:
    assert "has come to notice" in problem(ana("POST", at("ana/dps_output/x/")), 404)
    problem(ana("POST", "/jobs/a%00b/retry"), 400)


def test_a_loaded_job_needs_force(ana: Caller, connection: Connection) -> None:
    ends(connection, MINE, state=State.LOADED)
    assert 'Send {"force": true}' in problem(ana("POST", at(MINE)), 409, "JobLoaded")
    assert ana("POST", at(MINE), json={"force": True}).status_code == 202
    assert states(connection) == {MINE: "discovered"}


def test_a_job_that_a_run_holds_needs_force_and_is_then_taken_from_the_run(ana: Caller, connection: Connection) -> None:
    discover(connection, seen(MINE))
    held = take(connection)
    assert "its lease lasts until 20" in problem(ana("POST", at(MINE)), 409, "JobLeased")
    assert ana("POST", at(MINE), json={"force": True}).status_code == 202
    assert finish(connection, held, [ended(held.jobs[0])]).lost == {held.jobs[0].job_id}
    connection.commit()
    assert prefixes(take(connection)) == [MINE]


@pytest.mark.parametrize(
    "body", [{"force": "yes"}, {"forced": True}, {"reason": "x" * 1000}, {"reason": "a\0b"}, [], "force"]
)
def test_a_body_that_is_not_understood_is_refused(ana: Caller, connection: Connection, body: Any) -> None:
    ends(connection, MINE)
    problem(ana("POST", at(MINE), json=body), 400, "InvalidParameter")
    problem(ana("POST", at(MINE), params={"force": "true"}), 400, "InvalidParameter")
    assert states(connection) == {MINE: "rejected"}


class TestAllThatMatch:
    """`POST /jobs/retry`."""

    def test_a_user_tries_all_their_own_jobs_again(self, ana: Caller, connection: Connection) -> None:
        ends(connection, MINE, BENS, prefix(3))
        ends(connection, prefix(4), state=State.LOADED)
        for body in ({"code": "link_missing"}, {"username": "ana"}):
            looked = ana("POST", "/jobs/retry", json={**body, "dry_run": True}).json()
            assert {one["prefix"] for one in looked["retried"]} == {MINE, prefix(3)}
            RetriedModel.model_validate(looked)
        assert set(states(connection).values()) == {"rejected", "loaded"}
        connection.commit()
        done = ana("POST", "/jobs/retry", json={"tag": "demo", "since": "2025-01-01T00:00:00Z"})
        assert (done.status_code, done.json()["dry_run"], done.json()["skipped"]) == (202, False, {"loaded": 1})
        assert states(connection) == {
            MINE: "discovered",
            prefix(3): "discovered",
            BENS: "rejected",
            prefix(4): "loaded",
        }

    def test_the_jobs_of_somebody_else_are_for_administrators(
        self, ana: Caller, admin: Caller, connection: Connection
    ) -> None:
        ends(connection, MINE, BENS)
        body = {"username": "ben", "state": "rejected"}
        assert "These are jobs of ben" in problem(ana("POST", "/jobs/retry", json=body), 403, "NotYourJob")
        assert states(connection) == {MINE: "rejected", BENS: "rejected"}
        connection.commit()
        told = admin("POST", "/jobs/retry", json={"state": "rejected"}).json()
        assert (told["matched"], len(told["retried"])) == (2, 2)

    @pytest.mark.parametrize("body", [{}, {"force": True}, {"dry_run": True, "reason": "x"}, {"tag": None}])
    def test_a_body_that_picks_nothing_is_refused(
        self, ana: Caller, admin: Caller, connection: Connection, body: dict[str, Any]
    ) -> None:
        ends(connection, MINE)
        for caller in (ana, admin):
            assert "it picks no jobs; give some of username" in problem(caller("POST", "/jobs/retry", json=body), 400)
        assert states(connection) == {MINE: "rejected"}

    @pytest.mark.parametrize(
        "body",
        [{"state": "gone"}, {"code": "gone"}, {"since": "2d"}, {"limit": 0}, {"limit": 10**9}, {"user": "ana"}, None],
    )
    def test_what_is_not_understood_is_refused(self, ana: Caller, body: Any) -> None:
        problem(ana("POST", "/jobs/retry", json=body), 400, "InvalidParameter")

    def test_more_than_the_limit_is_refused_as_a_whole(self, ana: Caller, connection: Connection) -> None:
        ends(connection, MINE, prefix(3))
        sentence = problem(ana("POST", "/jobs/retry", json={"tag": "demo", "limit": 1}), 409, "TooManyMatch")
        assert sentence.startswith("2 jobs match, and at most 1 are tried again at once.")
        assert set(states(connection).values()) == {"rejected"}

    def test_force_takes_loaded_jobs_too(self, ana: Caller, connection: Connection) -> None:
        ends(connection, MINE, state=State.LOADED)
        assert ana("POST", "/jobs/retry", json={"tag": "demo", "force": True}).json()["matched"] == 1
        assert states(connection) == {MINE: "discovered"}


def test_openapi_says_that_a_token_is_needed(api: Api) -> None:
    paths = api.get("/api").json()["paths"]
    for path in ("/jobs/retry", "/jobs/{prefix}/retry"):
        assert paths[path]["post"]["security"] == [{"Token": []}]
        assert "202" in paths[path]["post"]["responses"]
