"""Collections made and changed over HTTP, by people with real tokens."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
import pystac_client
import pytest
import requests

from maap_stac_orchestration.governance.curation import Person
from maap_stac_orchestration.ledger import changes, tokens
from maap_stac_orchestration.ledger.changes import Author, Via
from maap_stac_orchestration.pgstac.items import load, lock_writers
from maap_stac_orchestration.pipeline import administer
from maap_stac_orchestration.pipeline.curate import transfer_collection
from tests.integration.api.conftest import Api
from tests.integration.pgstac.stac import item
from tests.integration.pipeline.batches import SETTINGS
from tests.integration.pipeline.test_curate import collection

Connection = psycopg.Connection[Any]

ROOT = Author("root", Via.CLI, "for the tests")
ITEMS = "/collections/ana--floods/items"


@dataclass(frozen=True, slots=True)
class Client:
    """Somebody who talks to the API."""

    url: str
    #: None for a stranger.
    token: str | None

    def __call__(self, method: str, path: str, body: Any = None, **given: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers |= given.pop("headers", {})
        if isinstance(body, bytes | str):
            given["data"] = body
        elif body is not None:
            given["json"] = body
        return requests.request(method, self.url + path, headers=headers, timeout=30, **given)


@pytest.fixture
def conn(connection: Connection) -> Connection:
    """The API's database, in which everyone may create collections in their own namespace."""
    own = {"collection": "{username}--*", "users": ["{username}"], "create": True}
    administer.grant(connection, SETTINGS, "grants", own, ROOT)
    return connection


def somebody(api: Api, conn: Connection, username: str, *, admin: bool = False) -> Client:
    _, secret = tokens.create(conn, username, admin=admin, validity=timedelta(hours=1), author=ROOT)
    conn.commit()
    return Client(api.url, secret)


@pytest.fixture
def ana(api: Api, conn: Connection) -> Client:
    return somebody(api, conn, "ana")


@pytest.fixture
def ben(api: Api, conn: Connection) -> Client:
    return somebody(api, conn, "ben")


@pytest.fixture
def admin(api: Api, conn: Connection) -> Client:
    return somebody(api, conn, "root", admin=True)


def problem(answer: requests.Response, status: int, code: str | None = None) -> str:
    """The sentence of a problem document."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == status
    if code is not None:
        assert document["code"] == code
    return str(document["detail"])


def test_a_user_creates_edits_and_deletes_in_their_own_namespace(ana: Client) -> None:
    made = ana("POST", "/collections", collection())
    assert made.status_code == 201
    assert made.headers["location"] == f"{ana.url}/collections/ana--floods"
    assert made.json() == ana("GET", "/collections/ana--floods").json()
    assert made.json()["maap:username"] == "ana"

    replaced = ana("PUT", "/collections/ana--floods", collection(title="Floods of 2024"))
    assert replaced.status_code == 200
    assert ana("GET", "/collections/ana--floods").json()["title"] == replaced.json()["title"] == "Floods of 2024"

    patched = ana("PATCH", "/collections/ana--floods", {"keywords": ["inundation"], "title": None})
    assert patched.status_code == 200
    assert ("title" in patched.json(), patched.json()["keywords"]) == (False, ["inundation"])
    found = ana("GET", "/collections?q=inundation").json()["collections"]
    assert [one["id"] for one in found] == ["ana--floods"]

    operations = [{"op": "add", "path": "/title", "value": "Floods"}]
    by_operations = {"headers": {"Content-Type": "application/json-patch+json"}}
    assert ana("PATCH", "/collections/ana--floods", json.dumps(operations), **by_operations).json()["title"] == "Floods"

    gone = ana("DELETE", "/collections/ana--floods")
    assert (gone.status_code, gone.content) == (204, b"")
    assert ana("GET", "/collections/ana--floods").status_code == 404
    assert ana("GET", "/collections").json()["collections"] == []


def test_what_a_client_read_it_can_send_back(ana: Client) -> None:
    ana("POST", "/collections", collection(links=[{"rel": "about", "href": "https://example.org"}]))
    read = ana("GET", "/collections/ana--floods").json()
    assert ana("PUT", "/collections/ana--floods", read).status_code == 200
    again = ana("GET", "/collections/ana--floods").json()
    assert again["updated"] > read["updated"]
    assert {**again, "updated": ""} == {**read, "updated": ""}


def test_pystac_client_reads_a_created_collection(ana: Client) -> None:
    ana("POST", "/collections", collection())
    found = pystac_client.Client.open(ana.url).get_collection("ana--floods")
    assert found.title == "Floods"
    found.validate()
    assert list(found.get_items()) == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/collections"),
        ("PUT", "/collections/ana--floods"),
        ("PATCH", "/collections/ana--floods"),
        ("DELETE", "/collections/ana--floods"),
    ],
)
@pytest.mark.parametrize("token", [None, "wrong"])
def test_nobody_changes_anything_without_a_valid_token(ana: Client, method: str, path: str, token: str | None) -> None:
    ana("POST", "/collections", collection())
    refused = Client(ana.url, token)(method, path, {} if method == "PATCH" else collection("ana--other"))
    problem(refused, 401)
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert [one["id"] for one in ana("GET", "/collections").json()["collections"]] == ["ana--floods"]


def test_the_body_of_a_stranger_is_not_read(api: Api) -> None:
    problem(Client(api.url, None)("POST", "/collections", b"[" * 100), 401)


@pytest.mark.parametrize(
    ("id", "code"),
    [
        ("ben--floods", "user_not_authorized"),
        ("Floods", "invalid_name"),
        ("jobs", "reserved_name"),
        ("ana--x__y", "reserved_pattern"),
    ],
)
def test_an_id_that_is_not_granted_is_forbidden_and_why_is_told(ana: Client, id: str, code: str) -> None:
    assert id in problem(ana("POST", "/collections", collection(id)), 403, code)


def test_grants_decide_what_is_forbidden(ana: Client, conn: Connection) -> None:
    for grant in (
        {"collection": "plain-*", "users": ["ana"]},
        {"collection": "by-algorithm-*", "users": ["ana"], "create": True, "algorithms": ["flood@v1"]},
    ):
        administer.grant(conn, SETTINGS, "grants", grant, ROOT)
    problem(ana("POST", "/collections", collection("plain-one")), 403, "collection_not_found")
    problem(ana("POST", "/collections", collection("by-algorithm-one")), 403, "algorithm_not_approved")
    everything = {"collection": "plain-*", "users": ["ana"], "create": True}
    administer.grant(conn, SETTINGS, "grants", everything, ROOT)
    assert ana("POST", "/collections", collection("plain-one")).status_code == 201


def test_anothers_collection_is_forbidden_and_an_administrator_may_all(ana: Client, ben: Client, admin: Client) -> None:
    ana("POST", "/collections", collection())
    path = "/collections/ana--floods"
    for answer in (ben("PUT", path, collection()), ben("PATCH", path, {}), ben("DELETE", path)):
        assert "belongs to ana" in problem(answer, 403, "user_not_authorized")
    assert admin("PATCH", path, {"title": "By an administrator"}).json()["title"] == "By an administrator"
    assert admin("POST", "/collections", collection("icesat2-boreal-v3.0-agb")).status_code == 201
    assert admin("DELETE", path).status_code == 204


def test_an_id_that_is_or_was_taken_is_a_conflict_for_everyone(ana: Client, admin: Client) -> None:
    ana("POST", "/collections", collection())
    for who in (ana, admin):
        assert "exists already" in problem(who("POST", "/collections", collection()), 409)
        assert "ana--floods" in problem(who("POST", "/collections", collection("ANA--Floods")), 409)
    ana("DELETE", "/collections/ana--floods")
    for who in (ana, admin):
        for id in ("ana--floods", "Ana--FLOODS"):
            assert "was deleted" in problem(who("POST", "/collections", collection(id)), 409)
        assert "deleted by ana" in problem(who("PATCH", "/collections/ana--floods", {}), 404)


@pytest.mark.parametrize("ids", [("ana--floods", "ana--floods"), ("Some-Floods", "some-floods")])
def test_of_two_who_create_at_once_one_is_told_of_a_conflict(admin: Client, ids: tuple[str, str]) -> None:
    start = threading.Barrier(2)

    def create(id: str) -> int:
        start.wait(10)
        return admin("POST", "/collections", collection(id)).status_code

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(create, ids)) == [201, 409]
    assert len(admin("GET", "/collections").json()["collections"]) == 1


def test_what_is_not_there_is_not_found(ana: Client) -> None:
    for path in ("/collections/nothing", "/collections/a%00b", "/collections/%F0%9F%8C%8A"):
        for method, body in (("PUT", collection()), ("PATCH", {"title": "x"}), ("DELETE", None)):
            problem(ana(method, path, body), 404)


def test_ids_cannot_be_changed(ana: Client) -> None:
    ana("POST", "/collections", collection())
    path = "/collections/ana--floods"
    for answer in (
        ana("PUT", path, collection("ana--other")),
        ana("PATCH", path, {"id": "ana--other"}),
        ana("PATCH", path, [{"op": "replace", "path": "/id", "value": "ana--other"}]),
    ):
        assert "ids stay" in problem(answer, 400)
    assert "id is missing" in problem(ana("PUT", path, {"type": "Collection"}), 400)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "empty"),
        (b"{", "not JSON"),
        (b'{"title": NaN}', "not JSON"),
        (b'{"title": 1e400}', "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 5_000 + b"]" * 5_000, "not JSON"),
        (b"[]", "no JSON object"),
        (b'"text"', "no JSON object"),
        (b"{}", "id is missing"),
        (b'{"id": "ana--floods"}', "not a STAC Collection"),
        (b'{"id": 4}', "id is missing"),
        (b'{"id": "a\\u0000b"}', "NUL"),
    ],
)
def test_a_body_that_cannot_be_used_is_a_sentence(ana: Client, body: bytes, why: str) -> None:
    assert why in problem(ana("POST", "/collections", body, headers={"Content-Type": "application/json"}), 400)


@pytest.mark.parametrize(
    "extent",
    [
        {"spatial": {"bbox": [[400, 0, 410, 10]]}, "temporal": {"interval": [[None, None]]}},
        {"spatial": {"bbox": [[0, 0, 10, 10]]}, "temporal": {"interval": [["9999-12-31T00:00:00Z", None]]}},
    ],
)
def test_an_extent_that_would_poison_searches_is_refused_and_nothing_is_left(ana: Client, extent: Any) -> None:
    assert "extent/" in problem(ana("POST", "/collections", collection(extent=extent)), 400)
    assert ana("GET", "/collections").json()["collections"] == []
    assert ana("POST", "/collections", collection()).status_code == 201
    assert "extent/" in problem(ana("PATCH", "/collections/ana--floods", {"extent": extent}), 400)


def test_a_body_that_is_too_large_or_of_another_kind_is_told_so(ana: Client) -> None:
    large = b'{"title": "' + b"x" * SETTINGS.max_document_bytes + b'"}'
    problem(ana("POST", "/collections", large, headers={"Content-Type": "application/json"}), 413)
    problem(ana("POST", "/collections", b"<x/>", headers={"Content-Type": "text/xml"}), 415)
    ana("POST", "/collections", collection())
    merge = {"headers": {"Content-Type": "application/merge-patch+json"}}
    assert "no patch" in problem(ana("PATCH", "/collections/ana--floods", "[]", **merge), 400)


def test_a_test_that_fails_is_a_conflict(ana: Client) -> None:
    ana("POST", "/collections", collection())
    operations = [{"op": "test", "path": "/title", "value": "Droughts"}, {"op": "remove", "path": "/title"}]
    problem(ana("PATCH", "/collections/ana--floods", operations), 409)
    assert ana("GET", "/collections/ana--floods").json()["title"] == "Floods"


def test_items_that_are_not_the_owners_are_a_conflict(ana: Client, admin: Client, conn: Connection) -> None:
    ana("POST", "/collections", collection())
    lock_writers(conn, ["ana--floods"])
    load(conn, "ana--floods", [item("one", "ana--floods")])
    conn.commit()
    assert "no job wrote" in problem(ana("DELETE", "/collections/ana--floods"), 409)
    assert admin("DELETE", "/collections/ana--floods").status_code == 204
    assert admin("GET", "/search").json()["features"] == []


def test_a_transferred_collection_is_the_new_owners_to_change(ana: Client, ben: Client, conn: Connection) -> None:
    ana("POST", "/collections", collection())
    transfer_collection(conn, Person("root", admin=True), "ana--floods", "ben", ROOT)
    problem(ana("PATCH", "/collections/ana--floods", {"title": "Still mine"}), 403)
    assert ben("PATCH", "/collections/ana--floods", {"title": "Mine now"}).json()["maap:username"] == "ben"


def test_reasons_stand_in_the_trail(ana: Client, conn: Connection) -> None:
    ana("POST", "/collections?reason=for+the+campaign", collection())
    ana("PATCH", "/collections/ana--floods", {"title": "x"})
    problem(ana("DELETE", "/collections/ana--floods?raeson=typo"), 400)
    trail = changes.history(conn, subject="ana--floods")
    assert [(one.by, one.via, one.reason) for one in trail] == [
        ("ana", Via.API, "No reason was given with the PATCH."),
        ("ana", Via.API, "for the campaign"),
    ]


def test_only_collections_can_be_written_and_the_api_says_so(ana: Client) -> None:
    conforms = ana("GET", "/conformance").json()["conformsTo"]
    assert [one for one in conforms if "transaction" in one] == [
        "https://api.stacspec.org/v1.0.0/collections/extensions/transaction"
    ]
    ana("POST", "/collections", collection())
    for method, path in (
        ("POST", ITEMS),
        ("PUT", f"{ITEMS}/one"),
        ("PATCH", f"{ITEMS}/one"),
        ("DELETE", f"{ITEMS}/one"),
        ("POST", f"{ITEMS}/one"),
        ("POST", "/collections/ana--floods/bulk_items"),
    ):
        assert ana(method, path, item("one", "ana--floods")).status_code in (404, 405), (method, path)
    paths = ana("GET", "/api").json()["paths"]
    writing = {
        (method, path)
        for path, methods in paths.items()
        for method in methods
        if path.startswith("/collections") and method in ("post", "put", "patch", "delete")
    }
    assert writing == {
        ("post", "/collections"),
        ("put", "/collections/{collection_id}"),
        ("patch", "/collections/{collection_id}"),
        ("delete", "/collections/{collection_id}"),
    }


def test_openapi_tells_bodies_and_that_a_token_is_needed(ana: Client) -> None:
    paths = ana("GET", "/api").json()["paths"]
    create, patch = paths["/collections"]["post"], paths["/collections/{collection_id}"]["patch"]
    assert "license" in create["requestBody"]["content"]["application/json"]["schema"]["required"]
    assert set(patch["requestBody"]["content"]) == {
        "application/json",
        "application/merge-patch+json",
        "application/json-patch+json",
    }
    assert create["security"]
    assert patch["security"]
