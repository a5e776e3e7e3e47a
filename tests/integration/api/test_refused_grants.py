"""What cannot be asked of the registry over HTTP is told in a sentence, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.integration.api.callers import FILE, GRANT, Caller, Connection, signed_in
from tests.integration.api.conftest import running


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("registry") / "registry.yaml"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module")
def connection(shared_database: str) -> Iterator[Connection]:
    with psycopg.connect(shared_database, autocommit=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def admin(connection: Connection, file: Path) -> Iterator[Caller]:
    with running(registry=str(file)) as api:
        yield signed_in(api, connection, "bea", admin=True)


@pytest.fixture(autouse=True)
def _changes_nothing(connection: Connection, admin: Caller) -> Iterator[None]:
    before = connection.execute("SELECT max(id) FROM ledger.registry_change").fetchone()
    yield
    assert connection.execute("SELECT max(id) FROM ledger.registry_change").fetchone() == before
    assert connection.execute("SELECT count(*) FROM ledger.registry_entry").fetchone() == (0,)


@pytest.mark.parametrize(
    ("change", "status", "sentence"),
    [
        ({"collection": "ma*"}, 422, "fewer than 3 characters before its *"),
        ({"collection": "maap-*-x"}, 422, "a * elsewhere than at its end"),
        ({"collection": "a\x1b"}, 422, "a control character"),
        ({"users": ["@nobody"]}, 422, '"@nobody"'),
        ({"users": []}, 422, "users is empty"),
        ({"algorithms": ["flood"]}, 422, "name@version"),
        ({"template": {"titel": "x"}}, 422, "titel"),
        ({"collection": None}, 422, "has no collection"),
        ({"users": None}, 422, "has no users"),
        ({"kind": "teams", "users": ["ana"]}, 422, "team: "),
        ({"kind": "teams", "team": "boreal", "collection": None, "create": None}, 422, "boreal is defined in"),
        ({"kind": "reserved", "users": None}, 422, "create: "),
        ({"users": "ana"}, 400, "users: "),
        ({"create": "yes"}, 400, "create: "),
        ({"on_denied": "ignore"}, 400, "on_denied: "),
        ({"colection": "maap-new"}, 400, "colection: this parameter is not known"),
        ({"kind": "permit"}, 400, "kind: "),
        ({"reason": None}, 400, "reason: "),
        ({"reason": " \n"}, 400, "reason: say why"),
        ({"reason": "a\0b"}, 400, "reason: it must not contain a NUL"),
        ({"collection": "a\0b"}, 400, "collection: it must not contain a NUL"),
        ({"users": ["\ud800"]}, 422, "a control character"),
        ({"template": {"title": "\ud800"}}, 422, "title"),
    ],
)
def test_what_cannot_be_used_is_a_problem_document_and_changes_nothing(
    admin: Caller, change: dict[str, Any], status: int, sentence: str
) -> None:
    answer = admin("POST", "/registry/grants", json={**GRANT, **change})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert sentence in answer.json()["detail"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff"])
def test_a_body_that_is_no_object_is_a_problem_document(admin: Caller, body: bytes) -> None:
    answer = admin("POST", "/registry/grants", data=body)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


@pytest.mark.parametrize("id", ["4711", "0", "-1", "9" * 30, "no-such-id", "²"])
def test_what_is_not_there_is_not_found(admin: Caller, id: str) -> None:
    for answer in (
        admin("GET", f"/registry/grants/{id}"),
        admin("DELETE", f"/registry/grants/{id}", params={"reason": "why"}),
        admin("DELETE", "/registry/grants", params={"id": id, "reason": "why"}),
    ):
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
        assert id in answer.json()["detail"]


@pytest.mark.parametrize("name", ["grants[1]", "shared", "@boreal", "esa-*"])
def test_an_entry_of_the_file_is_changed_in_the_file(admin: Caller, file: Path, name: str) -> None:
    answer = admin("DELETE", "/registry/grants", params={"id": name, "reason": "why"})
    assert answer.status_code == 409
    assert str(file) in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "parameter"),
    [
        ("GET", "/registry/grants?user=ana", "user"),
        ("GET", "/registry/grants?kind=grant", "kind"),
        ("GET", "/registry/grants?username=%00", "username"),
        ("GET", "/registry/grants/1?full=1", "full"),
        ("POST", "/registry/grants?dry_run=1", "dry_run"),
        ("DELETE", "/registry/grants?id=1", "reason"),
        ("DELETE", "/registry/grants?reason=why", "id"),
        ("DELETE", "/registry/grants/1", "reason"),
        ("DELETE", "/registry/grants/1?reason=", "reason"),
        ("GET", "/registry/history?limit=0", "limit"),
        ("GET", "/registry/history?before=x", "before"),
        ("GET", "/registry/history?before=99999999999999999999", "before"),
        ("GET", "/registry/history?since=2026-01-01", "since"),
    ],
)
def test_what_is_not_known_or_not_valid_is_a_problem_document_that_names_it(
    admin: Caller, method: str, path: str, parameter: str
) -> None:
    answer = admin(method, path, **({"json": GRANT} if method == "POST" else {}))
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert [one["parameter"] for one in answer.json()["errors"]] == [parameter]
