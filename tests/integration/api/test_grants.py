"""Administration of the registry over HTTP: who may, what changes, and that all of it can be proven afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from maap_stac_orchestration.api.models import ChangesModel, DecisionsModel, EntriesModel, EntryDetailModel
from maap_stac_orchestration.governance.decide import ExistingCollections, decide
from maap_stac_orchestration.governance.decision import Decision, OnDenied, Request
from maap_stac_orchestration.pipeline.registry import current_registry
from maap_stac_orchestration.settings import Settings
from tests.integration.api.callers import FILE, GRANT, Caller, Connection, signed_in
from tests.integration.api.conftest import Api
from tests.integration.pipeline.batches import Written, document, ingest


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "registry.yaml"
    path.write_text(FILE)
    return path


@pytest.fixture
def api(database_env: dict[str, str], file: Path, start_api: Callable[..., Api]) -> Api:
    return start_api(registry=str(file))


@pytest.fixture
def admin(api: Api, connection: Connection) -> Caller:
    return signed_in(api, connection, "bea", admin=True)


def decided(connection: Connection, file: Path, collection: str, username: str = "ana") -> Decision:
    """What the registry in force decides."""
    asked = Request(username, "flood", "v1", None, collection, f"{username}__flood__v1")
    registry = current_registry(Settings(registry=str(file)), connection)
    return decide(asked, registry, ExistingCollections.of(["shared"]), OnDenied.FALLBACK)


ROUTES = [
    ("GET", "/registry/grants"),
    ("POST", "/registry/grants"),
    ("DELETE", "/registry/grants?id=1&reason=why"),
    ("GET", "/registry/grants/1"),
    ("DELETE", "/registry/grants/1?reason=why"),
    ("GET", "/registry/history"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_the_registry_is_for_administrators(
    api: Api, connection: Connection, admin: Caller, method: str, path: str
) -> None:
    assert admin("POST", "/registry/grants", json=GRANT).status_code == 201
    before = connection.execute("SELECT max(id) FROM ledger.registry_change").fetchone()
    connection.commit()
    body = {"json": {**GRANT, "collection": "maap-other"}} if method == "POST" else {}
    for caller, status in ((Caller(api.url), 401), (Caller(api.url, "made-up"), 401)):
        answer = caller(method, path, **body)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert connection.execute("SELECT max(id) FROM ledger.registry_change").fetchone() == before
    connection.commit()
    user = signed_in(api, connection, "ana", admin=False)
    forbidden = user(method, path, **body)
    assert (forbidden.status_code, forbidden.headers["content-type"]) == (403, "application/problem+json")
    assert connection.execute("SELECT count(*) FROM ledger.registry_entry").fetchone() == (1,)
    connection.commit()
    assert admin(method, path, **body).status_code in (200, 201)


def test_a_grant_changes_the_next_decision_until_it_is_revoked(
    admin: Caller, connection: Connection, file: Path
) -> None:
    assert decided(connection, file, "maap-new").code == "user_not_authorized"
    answer = admin("POST", "/registry/grants", json=GRANT)
    assert answer.status_code == 201, answer.text
    EntryDetailModel.model_validate_json(answer.content)
    entry = answer.json()
    assert answer.headers["location"] == f"{admin.url}/registry/grants/{entry['id']}"
    assert (entry["by"], entry["reason"], entry["source"], entry["revoked"]) == (
        "bea",
        "campaign",
        "the database",
        None,
    )
    allowed = decided(connection, file, "maap-new")
    assert allowed.code == "granted"
    assert allowed.rule.startswith(entry["label"])
    assert requests.get(answer.headers["location"], timeout=10).status_code == 401
    assert admin.get(f"/registry/grants/{entry['id']}") == entry

    answer = admin("DELETE", f"/registry/grants/{entry['id']}", params={"reason": "it ended"})
    assert answer.status_code == 200, answer.text
    EntryDetailModel.model_validate_json(answer.content)
    assert decided(connection, file, "maap-new").code == "user_not_authorized"
    revoked = admin.get(f"/registry/grants/{entry['id']}")
    assert revoked == answer.json()
    assert (revoked["revoked"]["by"], revoked["revoked"]["reason"]) == ("bea", "it ended")
    assert entry["id"] not in [one["id"] for one in admin.get("/registry/grants")["grants"]]


def test_grant_and_end_are_in_the_audit_trails_with_who_when_and_why(
    admin: Caller, connection: Connection, file: Path
) -> None:
    def run(minute: int) -> None:
        job = Written([document("one")], username="ana", minute=minute, requests={"one": "maap-new"})
        ingest(connection, [job], current_registry(Settings(registry=str(file)), connection))
        connection.commit()

    entry = admin("POST", "/registry/grants", json=GRANT).json()
    run(0)
    admin("DELETE", "/registry/grants", params={"id": entry["id"], "reason": "it ended"})
    run(1)

    trail = admin.get("/decisions", username="ana", requested="maap-new")
    DecisionsModel.model_validate(trail)
    after, before = trail["decisions"]
    assert (before["decision"], before["collection"]) == ("granted", "maap-new")
    assert before["rule"].startswith(entry["label"])
    assert (after["decision"], after["outcome"]) == ("user_not_authorized", "fallback")
    history = admin.get("/registry/history")
    ChangesModel.model_validate(history)
    ended, granted, *_ = history["changes"]
    assert [(one["action"], one["subject"], one["by"], one["via"], one["reason"]) for one in (granted, ended)] == [
        ("grant", "maap-new", "bea", "api", "campaign"),
        ("revoke", "maap-new", "bea", "api", "it ended"),
    ]
    assert granted["at"] < before["at"] < ended["at"] < after["at"]


def test_the_list_tells_where_each_entry_comes_from(admin: Caller, file: Path) -> None:
    admin("POST", "/registry/grants", json=GRANT)
    listed = admin.get("/registry/grants")
    EntriesModel.model_validate(listed)
    told = [(one["kind"], one["collection"] or one["team"], one["source"], one["by"]) for one in listed["grants"]]
    assert told == [
        ("reserved", "esa-*", str(file), None),
        ("teams", "boreal", str(file), None),
        ("grants", "shared", str(file), None),
        ("deny", "shared", str(file), None),
        ("grants", "maap-new", "the database", "bea"),
    ]
    assert listed["warning"] is None
    assert listed["grants"][-1]["links"][0]["href"] == f"{admin.url}/registry/grants/{listed['grants'][-1]['id']}"


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"username": "jjfrench"}, ["boreal", "shared", "shared"]),
        ({"username": "jjfrench", "kind": "deny"}, ["shared"]),
        ({"username": "hrodmn"}, ["boreal", "shared"]),
        ({"collection": "esa-one"}, ["esa-*"]),
        ({"collection": "maap-new", "username": "ana"}, ["maap-new"]),
        ({"collection": "maap-new", "username": "bob"}, []),
    ],
)
def test_the_list_can_be_asked_about_a_user_an_id_or_a_kind(
    admin: Caller, parameters: dict[str, str], expected: list[str]
) -> None:
    admin("POST", "/registry/grants", json=GRANT)
    listed = admin.get("/registry/grants", **parameters)["grants"]
    assert [one["collection"] or one["team"] for one in listed] == expected


def test_a_file_that_breaks_is_told_with_the_list(admin: Caller, connection: Connection, file: Path) -> None:
    good = admin.get("/registry/grants")
    current_registry(Settings(registry=str(file)), connection)
    file.write_text("version: 1\ngrants: 7\n")
    listed = admin.get("/registry/grants")
    assert "line 2" in listed["warning"]
    assert listed["grants"] == good["grants"]


def test_denials_teams_and_reserved_patterns_are_put_in_force_alike(
    admin: Caller, connection: Connection, file: Path
) -> None:
    for body in (
        {"kind": "teams", "team": "fire", "users": ["ana", "bob"]},
        {"kind": "grants", "collection": "nasa-*", "users": ["@fire"], "create": True},
        {"kind": "deny", "collection": "nasa-two", "users": ["bob"]},
    ):
        answer = admin("POST", "/registry/grants", json={**body, "reason": "why"})
        assert answer.status_code == 201, answer.text
        assert body.items() <= answer.json().items()
    assert decided(connection, file, "nasa-one").code == "granted"
    assert decided(connection, file, "nasa-two").code == "granted"
    assert decided(connection, file, "nasa-two", "bob").code == "user_not_authorized"
    reserved = {"kind": "reserved", "collection": "nasa-*", "reason": "a partner's names"}
    assert admin("POST", "/registry/grants", json=reserved).status_code == 201
    assert decided(connection, file, "nasa-one").code == "reserved_name"


def test_the_same_entry_twice_is_a_conflict(admin: Caller) -> None:
    entry = admin("POST", "/registry/grants", json=GRANT).json()
    again = admin("POST", "/registry/grants", json={**GRANT, "reason": "another"})
    assert again.status_code == 409
    assert f"rant {entry['id']}" in again.json()["detail"]


def test_an_entry_is_revoked_once(admin: Caller) -> None:
    entry = admin("POST", "/registry/grants", json=GRANT).json()
    path = f"/registry/grants/{entry['id']}"
    assert admin("DELETE", path, params={"reason": "why"}).status_code == 200
    again = admin("DELETE", path, params={"reason": "once more"})
    assert again.status_code == 404
    assert "out of force already" in again.json()["detail"]
    assert admin.get(path)["revoked"]["reason"] == "why"


def test_a_team_that_entries_name_cannot_go_before_them(admin: Caller) -> None:
    team = admin(
        "POST", "/registry/grants", json={"kind": "teams", "team": "fire", "users": ["ana"], "reason": "why"}
    ).json()
    grant = admin("POST", "/registry/grants", json={**GRANT, "users": ["@fire"]}).json()
    refused = admin("DELETE", f"/registry/grants/{team['id']}", params={"reason": "why"})
    assert refused.status_code == 409
    assert "fire" in refused.json()["detail"]
    for id in (grant["id"], team["id"]):
        assert admin("DELETE", f"/registry/grants/{id}", params={"reason": "why"}).status_code == 200


def test_pages_of_the_history_lead_to_one_another(admin: Caller) -> None:
    for number in range(3):
        admin("POST", "/registry/grants", json={**GRANT, "collection": f"maap-{number}"})
    seen, path = [], "/registry/history?limit=1"
    while path:
        page = admin.get(path)
        assert len(page["changes"]) == 1
        seen += page["changes"]
        path = next((link["href"] for link in page["links"] if link["rel"] == "next"), "").removeprefix(admin.url)
    assert seen == admin.get("/registry/history")["changes"]
    assert [one["subject"] for one in seen[:3]] == ["maap-2", "maap-1", "maap-0"]
    (about,) = admin.get("/registry/history", subject="maap-1")["changes"]
    assert about == seen[1]


def test_an_entry_that_grants_less_than_it_seems_comes_with_a_note(admin: Caller) -> None:
    answer = admin("POST", "/registry/grants", json={**GRANT, "collection": "carl--flood-*"})
    (note,) = answer.json()["notes"]
    assert "grants nothing" in note
    assert note in admin.get("/registry/grants")["notes"]


def test_where_reading_is_closed_the_trail_is_for_those_with_a_token(
    database_env: dict[str, str], start_api: Callable[..., Api], connection: Connection
) -> None:
    closed = start_api(open_reading=False)
    assert closed.get("/decisions").status_code == 401
    assert signed_in(closed, connection, "ana", admin=False).get("/decisions")["decisions"] == []


def test_openapi_tells_the_routes_and_who_may_call_them(api: Api) -> None:
    paths = api.get("/api").json()["paths"]
    for method, path in (
        ("get", "/registry/grants"),
        ("post", "/registry/grants"),
        ("delete", "/registry/grants"),
        ("get", "/registry/grants/{id}"),
        ("delete", "/registry/grants/{id}"),
        ("get", "/registry/history"),
    ):
        operation = paths[path][method]
        assert operation["security"], (method, path)
        assert operation["summary"]
        good = operation["responses"]["201" if method == "post" else "200"]
        assert "$ref" in good["content"]["application/json"]["schema"]
        assert {"400", "401", "403", "503"} <= operation["responses"].keys()
    assert paths["/registry/grants"]["post"]["requestBody"]["required"]
