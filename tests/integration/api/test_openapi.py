"""Our own routes do what the OpenAPI document says of them, whatever they are sent and by whom.

Requests are made up from the document itself, those that it allows and those that it does not. The routes of the STAC
API are left out: what stac-fastapi's document says of them is not ours to mend, and they have tests of their own.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import requests
import schemathesis
from hypothesis import settings
from schemathesis import checks
from schemathesis.config import GenerationConfig

from maap_stac_orchestration.api.app import create_app
from maap_stac_orchestration.api.body_size import LARGEST_BODY
from maap_stac_orchestration.governance.registry import load_registry
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.web.problem_documents import MEDIA_TYPE
from tests.conftest import BUCKET, MotoStore
from tests.integration.api.callers import GRANT, Caller, signed_in
from tests.integration.api.conftest import Api, running
from tests.integration.pipeline.batches import Written, document, ingest

OURS = r"^/(jobs|decisions|registry|webhooks|_mgmt)(/|$)"
REGISTRY = load_registry("version: 1\ngrants: []\n", "registry.yaml")

schemathesis.checks.load_all_checks()
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
#: So that the suite stays quick, and red for nothing but a change.
EXAMPLES = settings(max_examples=8, derandomize=True, database=None, deadline=None)


def _document() -> dict[str, Any]:
    return create_app(Settings(buckets=(BUCKET,))).openapi()


schema = schemathesis.openapi.from_dict(_document())
schema.config.generation = GenerationConfig(max_examples=8, deterministic=True)
ours = schema.include(path_regex=OURS)


@pytest.fixture(scope="module")
def api(shared_database: str, moto_endpoint: str) -> Iterator[Api]:
    """An application with jobs to tell of: one loaded, one denied what it asked for, one without a tag."""
    with psycopg.connect(shared_database) as connection:
        for minute, (username, asked, tag) in enumerate(
            [("ana", None, "demo"), ("bob", "shared", "a/b"), ("bob", None, None)]
        ):
            requested = {} if asked is None else {f"item-{minute}": asked}
            job = Written([document(f"item-{minute}")], username=username, minute=minute, tag=tag, requests=requested)
            ingest(connection, [job], REGISTRY, run_id=f"run-{minute}")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": moto_endpoint,
            "AWS_REGION": "us-west-2",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
        }.items():
            patch.setenv(name, value)
        store = MotoStore(moto_endpoint, BUCKET)
        with contextlib.suppress(store.client().exceptions.BucketAlreadyOwnedByYou):
            store.client().create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
        with running(buckets=(BUCKET,)) as started:
            yield started


@pytest.fixture(scope="module")
def administrator(api: Api, shared_database: str) -> Caller:
    """Somebody who may do everything."""
    with psycopg.connect(shared_database) as connection:
        return signed_in(api, connection, "root", admin=True)


@pytest.fixture(scope="module")
def user(api: Api, shared_database: str) -> Caller:
    """Somebody with a token."""
    with psycopg.connect(shared_database) as connection:
        return signed_in(api, connection, "ana", admin=False)


def holds(case: Any, caller: Caller) -> None:
    """Sends a request; fails where the answer is not what the document says."""
    headers = {"Authorization": f"Bearer {caller.token}"} if caller.token else {}
    # What a body means, or a page token, no schema tells; all else that a schema allows is answered.
    answered = case.method == "GET" and "token" not in case.query
    case.call_and_validate(
        base_url=caller.url,
        checks=[*CHECKS, checks.positive_data_acceptance] if answered else CHECKS,
        headers=headers,
        timeout=30,
    )


@ours.parametrize()
@EXAMPLES
def test_strangers_get_what_the_document_promises(case: Any, api: Api) -> None:
    holds(case, Caller(api.url))


@ours.include(tag_regex="Registry|Notifications").parametrize()
@EXAMPLES
def test_users_get_what_the_document_promises(case: Any, user: Caller) -> None:
    holds(case, user)


@ours.parametrize()
@EXAMPLES
def test_administrators_get_what_the_document_promises(case: Any, administrator: Caller) -> None:
    holds(case, administrator)


def test_the_running_application_gives_this_document(api: Api) -> None:
    assert api.get("/api").json()["paths"].keys() == schema.raw_schema["paths"].keys()


def test_every_route_of_ours_is_described_with_all_that_it_takes_and_answers() -> None:
    described = 0
    for path, operations in schema.raw_schema["paths"].items():
        if not re.match(OURS, path):
            continue
        for method, operation in operations.items():
            described += 1
            assert operation["summary"], path
            assert operation["description"], path
            for parameter in operation.get("parameters", ()):
                assert parameter.get("description"), (path, parameter["name"])
            errors = {status: one for status, one in operation["responses"].items() if status[0] in "45"}
            for status, response in errors.items():
                if path != "/_mgmt/health":
                    assert list(response["content"]) == [MEDIA_TYPE], (method, path, status)
            if not path.startswith("/_mgmt"):
                assert {"400", "401", "503", "504"} <= errors.keys(), (method, path)
            if method != "get":
                assert operation["security"] == [{"Token": []}], (method, path)
    assert described > 15
    assert schema.raw_schema["components"]["securitySchemes"]["Token"]["scheme"] == "bearer"


@pytest.mark.parametrize("body", [b"", b"{", b"[1", b"\xff\xfe", b"x" * 1000])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/registry/grants"), ("DELETE", "/registry/grants/1"), ("POST", "/webhooks"), ("POST", "/jobs/retry")],
)
def test_whoever_has_no_token_is_asked_for_it_whatever_the_body(api: Api, method: str, path: str, body: bytes) -> None:
    answer = Caller(api.url)(method, path, data=body)
    assert (answer.status_code, answer.headers["content-type"]) == (401, MEDIA_TYPE)
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/registry/grants"), ("DELETE", "/registry/grants/1"), ("POST", "/search")]
)
def test_a_body_that_is_too_large_is_refused(administrator: Caller, method: str, path: str, declared: bool) -> None:
    body = b" " * (LARGEST_BODY + 1)
    # Without its length it is sent in chunks.
    answer = administrator(method, path, data=body if declared else iter([body[:1000], body[1000:]]))
    assert (answer.status_code, answer.headers["content-type"]) == (413, MEDIA_TYPE)
    assert answer.json()["code"] == "ContentTooLarge"


def test_a_body_of_the_largest_size_is_read(administrator: Caller) -> None:
    padded = {**GRANT, "collection": "as-large-as-can-be"}
    body = json.dumps(padded).encode()
    answer = requests.post(
        f"{administrator.url}/registry/grants",
        data=body + b" " * (LARGEST_BODY - len(body)),
        headers={"Authorization": f"Bearer {administrator.token}", "Content-Type": "application/json"},
        timeout=30,
    )
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("path", ["/jobs", "/jobs/summary", "/decisions", "/registry/grants"])
def test_a_parameter_that_is_there_twice_is_refused(administrator: Caller, path: str) -> None:
    answer = administrator("GET", f"{path}?username=ana&username=bob")
    assert (answer.status_code, answer.headers["content-type"]) == (400, MEDIA_TYPE)
    assert [one["parameter"] for one in answer.json()["errors"]] == ["username"]


def test_an_error_of_no_route_is_a_problem_document(api: Api) -> None:
    for answer in (requests.get(f"{api.url}/nowhere", timeout=10), requests.head(f"{api.url}/nowhere", timeout=10)):
        assert (answer.status_code, answer.headers["content-type"]) == (404, MEDIA_TYPE)
