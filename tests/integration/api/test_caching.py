"""What browsers, caches and pages of other origins see: entity tags, 304, compression and CORS."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable

import brotli
import psycopg
import pytest
import requests
from psycopg.types.json import Jsonb

from maap_stac_orchestration.api.caching import LARGEST_TAGGED
from tests.integration.api import small_world
from tests.integration.api.callers import signed_in
from tests.integration.api.conftest import Api
from tests.integration.api.small_world import FLOODS

DOCUMENTS = [
    "/",
    "/conformance",
    "/queryables",
    "/api",
    "/api.html",
    "/collections",
    f"/collections/{FLOODS}",
    f"/collections/{FLOODS}/queryables",
    f"/collections/{FLOODS}/items",
    f"/collections/{FLOODS}/items/flood-07",
    "/search?limit=3",
    "/jobs",
    "/status",
]


@pytest.fixture(scope="module")
def api(shared_api: Api, shared_database: str) -> Api:
    small_world.fill(shared_database)
    return shared_api


def get(api: Api, path: str, **headers: str) -> requests.Response:
    """GET with headers, without the compression that requests asks for by itself."""
    sent = {"Accept-Encoding": "identity"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.get(api.url + path, headers=sent, timeout=30)


@pytest.mark.parametrize("path", DOCUMENTS)
def test_what_did_not_change_is_not_sent_again(api: Api, path: str) -> None:
    first = get(api, path)
    assert first.status_code == 200
    tag = first.headers["ETag"]
    assert "no-cache" in first.headers["Cache-Control"]
    for known in (tag, f'"other", {tag}', "*"):
        again = get(api, path, If_None_Match=known)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == tag
        assert again.headers["Cache-Control"] == first.headers["Cache-Control"]
        assert "Accept-Encoding" in again.headers["Vary"]
        assert "Content-Type" not in again.headers
    assert get(api, path, If_None_Match='W/"other"').content == first.content


def test_what_changed_is_sent_again(api: Api, shared_database: str) -> None:
    address = f"/collections/{FLOODS}"
    first = get(api, address)
    with psycopg.connect(shared_database) as connection:
        changed = {**small_world.collection(FLOODS), "title": "Another title"}
        connection.execute("SELECT pgstac.update_collection(%s)", (Jsonb(changed),))
    again = get(api, address, If_None_Match=first.headers["ETag"])
    assert (again.status_code, again.json()["title"]) == (200, "Another title")
    assert again.headers["ETag"] != first.headers["ETag"]


def test_a_tag_is_the_same_whatever_the_compression(api: Api) -> None:
    tags = {get(api, "/api", Accept_Encoding=encoding).headers["ETag"] for encoding in ("identity", "gzip", "br")}
    (tag,) = tags
    assert tag.startswith("W/")
    assert get(api, "/api", Accept_Encoding="br", If_None_Match=tag).status_code == 304


def test_static_files_are_kept_for_ever(api: Api) -> None:
    page = get(api, "/status").text
    address = next(part for part in page.split('"') if "/status/static/" in part and part.endswith(".css"))
    assert get(api, address).headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/collections/none", 404),
        ("/search?limit=x", 400),
        ("/_mgmt/ping", 200),
        ("/_mgmt/health", 503),
        ("/nothing", 404),
    ],
)
def test_errors_and_readings_of_the_moment_are_not_kept(api: Api, path: str, status: int) -> None:
    answer = get(api, path)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (status, "no-store")
    assert "ETag" not in answer.headers


def test_answers_to_posts_are_not_kept(api: Api) -> None:
    answer = requests.post(f"{api.url}/search", json={"limit": 1}, timeout=30)
    assert answer.headers["Cache-Control"] == "no-store"


def test_what_somebody_with_a_token_reads_is_for_nobody_else(
    start_api: Callable[..., Api], shared_database: str
) -> None:
    open_api, closed_api = start_api(), start_api(open_reading=False)
    with psycopg.connect(shared_database) as connection:
        ana = signed_in(open_api, connection, "ana", admin=False)
    bearer = {"Authorization": f"Bearer {ana.token}"}
    assert get(open_api, "/collections").headers["Cache-Control"] == "no-cache"
    assert get(open_api, "/collections", **bearer).headers["Cache-Control"] == "private, no-cache"
    assert get(closed_api, "/collections", **bearer).headers["Cache-Control"] == "private, no-cache"
    # Who knows the tag and has no token is told nothing.
    tag = get(closed_api, "/collections", **bearer).headers["ETag"]
    refused = get(closed_api, "/collections", If_None_Match=tag)
    assert (refused.status_code, refused.headers["Cache-Control"]) == (401, "no-store")


def test_an_answer_that_is_very_large_goes_out_without_a_tag(api: Api, shared_database: str) -> None:
    document = {**small_world.collection("large-one"), "table": ["x" * 1000] * (LARGEST_TAGGED // 1000)}
    with psycopg.connect(shared_database) as connection:
        connection.execute("SELECT pgstac.create_collection(%s)", (Jsonb(document),))
        connection.commit()
        try:
            answer = get(api, "/collections/large-one", If_None_Match="*")
        finally:
            connection.execute("SELECT pgstac.delete_collection('large-one')")
    assert (answer.status_code, "ETag" in answer.headers) == (200, False)
    assert len(answer.json()["table"]) == LARGEST_TAGGED // 1000


# ---- compression


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("br", "br"),
        ("gzip, deflate, br, zstd", "br"),
        ("gzip", "gzip"),
        ("gzip;q=1.0, br;q=0", "gzip"),
        ("br;q=0.5", "br"),
        ("br;q=0, gzip;q=0.0", None),
        ("zstd", None),
        ("identity", None),
        ("", None),
    ],
)
def test_long_answers_are_compressed_as_the_client_likes_it(api: Api, accepted: str, encoding: str | None) -> None:
    answer = requests.get(f"{api.url}/api", headers={"Accept-Encoding": accepted}, stream=True, timeout=30)
    assert answer.headers.get("Content-Encoding") == encoding
    assert answer.headers["Vary"].lower().count("accept-encoding") == 1
    raw = answer.raw.read(decode_content=False)
    unpacked = {"br": brotli.decompress, "gzip": gzip.decompress, None: bytes}[encoding](raw)
    assert json.loads(unpacked)["info"]["title"] == "MAAP STAC"


def test_short_answers_are_left_alone(api: Api) -> None:
    answer = get(api, "/_mgmt/ping", Accept_Encoding="br, gzip")
    assert "Content-Encoding" not in answer.headers
    assert answer.json() == {"message": "PONG"}


# ---- pages of other origins, such as STAC Browser


BROWSER = "https://browser.example"


def test_a_page_of_another_origin_reads_documents_and_their_headers(api: Api) -> None:
    answer = get(api, "/collections", Origin=BROWSER)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    exposed = {name.strip() for name in answer.headers["Access-Control-Expose-Headers"].split(",")}
    assert exposed >= {"ETag", "Link", "Location", "Retry-After", "X-Request-ID"}
    # Also of what went wrong, or the page could not say so, and of what it has already.
    assert get(api, "/collections/none", Origin=BROWSER).headers["Access-Control-Allow-Origin"] == "*"
    known = get(api, "/collections", Origin=BROWSER, If_None_Match=answer.headers["ETag"])
    assert (known.status_code, known.headers["Access-Control-Allow-Origin"]) == (304, "*")


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/search", "content-type"),
        ("POST", "/search", "authorization,content-type"),
        ("GET", "/collections", "authorization,if-none-match"),
        ("PATCH", f"/collections/{FLOODS}", "authorization,content-type,if-match"),
        ("DELETE", f"/collections/{FLOODS}", "authorization"),
    ],
)
def test_a_page_of_another_origin_may_ask_whether_it_may(api: Api, method: str, path: str, headers: str) -> None:
    asked = {"Origin": BROWSER, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    answer = requests.options(api.url + path, headers=asked, timeout=30)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert method in answer.headers["Access-Control-Allow-Methods"]
    allowed = answer.headers["Access-Control-Allow-Headers"].lower()
    assert all(name in allowed for name in headers.split(","))


def test_origins_can_be_named(
    shared_database: str, start_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORS_ORIGINS", BROWSER)
    api = start_api()
    allowed = get(api, "/", Origin=BROWSER)
    assert allowed.headers["Access-Control-Allow-Origin"] == BROWSER
    assert "Origin" in allowed.headers["Vary"]
    assert "Access-Control-Allow-Origin" not in get(api, "/", Origin="https://other.example").headers
