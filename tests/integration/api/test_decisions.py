"""The audit trail of decisions over HTTP, from a real ledger."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
import requests
from click.testing import CliRunner

from maap_stac_orchestration.api.models import DecisionsModel
from maap_stac_orchestration.cli.decisions import command
from maap_stac_orchestration.governance.registry import load_registry
from tests.integration.api.conftest import Api
from tests.integration.pipeline.batches import Written, document, ingest

REGISTRY = load_registry(
    """version: 1
grants:
  - {collection: shared, users: [ana], create: true}
""",
    "registry.yaml",
)


def job(username: str, minute: int, asked: str | None, tag: str | None = "demo") -> Written:
    requested = {} if asked is None else {f"item-{minute}": asked}
    return Written([document(f"item-{minute}")], username=username, minute=minute, tag=tag, requests=requested)


#: A job each that is granted, denied, and that asks for nothing.
GRANTED, DENIED, DEFAULT = job("ana", 0, "shared"), job("bob", 1, "shared", "a/b"), job("bob", 2, None, None)


@pytest.fixture(scope="module")
def api(shared_api: Api) -> Api:
    return shared_api


@pytest.fixture(scope="module", autouse=True)
def _decisions(shared_database: str) -> None:
    with psycopg.connect(shared_database) as connection:
        for number, one in enumerate((GRANTED, DENIED, DEFAULT)):
            ingest(connection, [one], REGISTRY, run_id=f"run-{number}")


def prefixes(answer: requests.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    DecisionsModel.model_validate_json(answer.content)
    return [one["prefix"] for one in answer.json()["decisions"]]


def test_decisions_are_listed_newest_first(api: Api) -> None:
    assert prefixes(api.get("/decisions")) == [DEFAULT.prefix, DENIED.prefix, GRANTED.prefix]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"username": "ana"}, [GRANTED]),
        ({"algorithm": "mosaic", "version": "v1"}, [DEFAULT, DENIED, GRANTED]),
        ({"algorithm": "flood"}, []),
        ({"tag": "a/b"}, [DENIED]),
        ({"requested": "shared"}, [DENIED, GRANTED]),
        ({"collection": "shared"}, [GRANTED]),
        ({"decision": "user_not_authorized"}, [DENIED]),
        ({"outcome": "default"}, [DEFAULT]),
        ({"registry_version": REGISTRY.version, "username": "bob"}, [DEFAULT, DENIED]),
        ({"registry_version": "another"}, []),
        ({"prefix": DENIED.prefix}, [DENIED]),
        ({"prefix": DENIED.prefix.rstrip("/")}, [DENIED]),
        ({"run_id": "run-2"}, [DEFAULT]),
        ({"since": "2020-01-01T00:00:00Z"}, [DEFAULT, DENIED, GRANTED]),
        ({"since": "2999-01-01T00:00:00"}, []),
        ({"until": "2020-01-01T00:00:00+01:00"}, []),
        ({"job_since": DENIED.time.isoformat(), "job_until": DEFAULT.time.isoformat()}, [DENIED]),
        ({"job_until": DEFAULT.time.isoformat(), "outcome": "accept"}, [GRANTED]),
        ({"job_since": "2999-01-01T00:00:00Z"}, []),
    ],
)
def test_every_parameter_narrows_the_trail(api: Api, parameters: dict[str, Any], expected: list[Written]) -> None:
    assert prefixes(api.get("/decisions", **parameters)) == [one.prefix for one in expected]


def test_a_decision_tells_what_was_asked_answered_and_why(api: Api) -> None:
    (denied,) = api.get("/decisions", decision="user_not_authorized").json()["decisions"]
    links = {link["rel"]: link["href"] for link in denied.pop("links")}
    assert denied.pop("message")
    assert denied.pop("rule")
    assert denied.pop("at").endswith("Z")
    assert denied == {
        "prefix": DENIED.prefix,
        "username": "bob",
        "algorithm": "mosaic",
        "version": "v1",
        "tag": "a/b",
        "requested": "shared",
        "decision": "user_not_authorized",
        "outcome": "fallback",
        "collection": "bob__mosaic__v1__a-b",
        "registry_version": REGISTRY.version,
        "run_id": "run-1",
    }
    assert requests.get(links["job"], timeout=10).json()["prefix"] == DENIED.prefix
    assert requests.get(links["collection"], timeout=10).json()["id"] == "bob__mosaic__v1__a-b"
    assert links["run"] == "http://dagster.test/runs/run-1"


@pytest.mark.parametrize("query", ["algorithm=mosaic", "since=2020-01-01T00:00:00Z", "job_since=2020-01-01T00:00:00Z"])
def test_pages_lead_to_one_another(api: Api, query: str) -> None:
    seen, url = [], f"{api.url}/decisions?limit=1&{query}"
    while url:
        answer = requests.get(url, timeout=10)
        seen += prefixes(answer)
        url = next((link["href"] for link in answer.json()["links"] if link["rel"] == "next"), "")
    assert seen == [DEFAULT.prefix, DENIED.prefix, GRANTED.prefix]


def test_the_command_line_lists_decisions_of_a_time_of_jobs_too(api: Api) -> None:
    begin, end = f"{DENIED.time:%Y-%m-%dT%H:%M:%SZ}", f"{DEFAULT.time:%Y-%m-%dT%H:%M:%SZ}"
    shown = CliRunner().invoke(command, ["--json", "--job-since", begin, "--job-until", end], catch_exceptions=False)
    assert [one["prefix"] for one in json.loads(shown.stdout)["decisions"]] == [DENIED.prefix]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("user=ana", "user"),
        ("code=granted", "code"),
        ("decision=allowed", "decision"),
        ("outcome=accepted", "outcome"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("since=yesterday", "since"),
        ("until=%00", "until"),
        ("token=made-up", "token"),
        ("token=999999", "token"),
        ("username=%00", "username"),
    ],
)
def test_what_is_not_known_or_not_valid_is_a_problem_document_that_names_it(
    api: Api, query: str, parameter: str
) -> None:
    answer = requests.get(f"{api.url}/decisions?{query}", timeout=10)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert [one["parameter"] for one in answer.json()["errors"]] == [parameter]


def test_openapi_tells_every_parameter_and_the_answer(api: Api) -> None:
    operation = api.get("/api").json()["paths"]["/decisions"]["get"]
    assert {one["name"] for one in operation["parameters"]} == {
        *("username", "algorithm", "version", "tag", "requested", "collection", "decision", "outcome"),
        *("registry_version", "prefix", "run_id", "since", "until", "job_since", "job_until", "limit", "token"),
    }
    good = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert good["$ref"].endswith("/DecisionsModel")
