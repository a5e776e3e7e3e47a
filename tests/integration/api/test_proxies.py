"""Links lead back to the address that people use, whatever stands in front of the application."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urljoin, urlsplit

import psycopg
import pytest
import requests
from psycopg.types.json import Jsonb

from tests.integration.api import small_world
from tests.integration.api.conftest import Api, running
from tests.integration.api.ledger_of_jobs import fill

#: Links to our own addresses in a page.
_IN_A_PAGE = re.compile(r'(?:href|src)="([^"#]+)')

_LOADED = "SELECT DISTINCT collection, item_id FROM ledger.job_item WHERE result = 'loaded'"


@pytest.fixture(scope="module", autouse=True)
def world(shared_database: str) -> str:
    small_world.fill(shared_database)
    with psycopg.connect(shared_database) as connection:
        known = fill(connection, more=2, items=3)
        loaded = connection.execute(_LOADED).fetchall()
        collections = {collection for collection, _ in loaded} | {"ana__canopy"}
        for collection in sorted(collections):
            connection.execute("SELECT pgstac.create_collection(%s)", (Jsonb(small_world.collection(collection)),))
        items = [small_world.point(item, collection) for collection, item in loaded]
        connection.execute("SELECT pgstac.create_items(%s)", (Jsonb(items),))
    return known.loaded


@dataclass(frozen=True, slots=True)
class Proxy:
    """A reverse proxy in front of an application."""

    url: str
    #: Paths that it was asked for.
    asked: list[str]


@contextmanager
def proxy(
    upstream: str, *, below: str = "", takes_away: bool = True, tells: dict[str, str] | None = None
) -> Iterator[Any]:
    """A proxy that serves an application below a path.

    Args:
        upstream: the application's own address.
        below: the path; all others are 404.
        takes_away: whether the application is asked for the rest of the path alone.
        tells: headers that it adds, in which HOST stands for the proxy's own.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _passed_on(self) -> None:
            asked.append(self.path)
            if not (self.path == below or self.path.startswith(below + "/") or self.path.startswith(below + "?")):
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            own = self.headers["Host"]
            headers = {
                name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")
            }
            headers["Host"] = urlsplit(upstream).netloc
            headers |= {name: value.replace("HOST", own) for name, value in (tells or {}).items()}
            path = (self.path.removeprefix(below) or "/") if takes_away else self.path
            answer = requests.request(
                self.command, upstream + path, headers=headers, data=body, timeout=30, allow_redirects=False
            )
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name.lower() not in ("content-length", "content-encoding", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.content)

        do_GET = do_POST = do_HEAD = _passed_on

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Proxy(f"http://127.0.0.1:{server.server_port}{below}", asked)
    finally:
        server.shutdown()
        server.server_close()


def crawl(start: str, job: str) -> set[str]:
    """Follows all links from an address on; gives those that lead to the same origin, each of which answered 200."""
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(start))
    quoted = job.replace("/", "%2F")
    ways = ["", "api", "api.html", "search?limit=20", "search?limit=1&filter=id%20LIKE%20%27flood%25%27"]
    ways += ["jobs?limit=2", f"jobs/{quoted}", "jobs/summary?by=tag", "status", "status/jobs", f"status/{quoted}"]
    ways += ["collections?limit=20", "decisions?limit=2", "_mgmt/health"]
    waiting, seen = [urljoin(start + "/", way) for way in ways], set()
    patterns: dict[str, int] = {}
    while waiting:
        address = waiting.pop()
        if address in seen:
            continue
        seen.add(address)
        # Of one kind a handful suffices: there are many items.
        kind = re.sub(r"[a-z]+-\d\d\b|%2F[^?]*|token=[^&]*", "…", address)
        patterns[kind] = patterns.get(kind, 0) + 1
        if patterns[kind] > 3:
            continue
        answer = requests.get(address, timeout=30, headers={"Accept": "*/*"})
        expected = {200, 503} if address.endswith("/_mgmt/health") else {200}
        assert answer.status_code in expected, f"{address} answered {answer.status_code}: {answer.text[:300]}"
        for link in links(answer):
            found = urljoin(address, link)
            if link.startswith("http") and not found.startswith(origin):
                # Nothing of ours stands under another address; what jobs and people link to does.
                assert urlsplit(found).hostname not in ("127.0.0.1", "localhost"), f"{address} links to {found}"
                continue
            if found.startswith(origin):
                waiting.append(found.partition("#")[0])
    return seen


def links(answer: requests.Response) -> Iterator[str]:
    """Addresses that an answer leads to by GET."""
    kind = answer.headers.get("Content-Type", "")
    if "json" in kind and "openapi" not in kind:
        yield from _hrefs(answer.json())
    elif kind.startswith("text/html"):
        yield from (link.replace("&amp;", "&") for link in _IN_A_PAGE.findall(answer.text))
        yield from re.findall(r"url: '([^']+)'", answer.text)


def _hrefs(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        href = document.get("href") or document.get("url")
        if isinstance(href, str) and document.get("method", "GET") == "GET":
            yield href
        for name, value in document.items():
            if name not in ("assets", "paths"):
                yield from _hrefs(value)
    elif isinstance(document, list):
        for one in document:
            yield from _hrefs(one)


FORWARDED = {"X-Forwarded-Host": "HOST", "X-Forwarded-Proto": "http"}


@pytest.mark.parametrize(
    ("below", "takes_away", "tells", "settings"),
    [
        ("", True, FORWARDED, {}),
        ("", True, {"Forwarded": 'for=10.0.0.1;proto=http;host="HOST"'}, {}),
        ("/stac", True, FORWARDED, {"root_path": "/stac"}),
        ("/stac", False, FORWARDED, {"root_path": "/stac"}),
        ("/maap/stac", True, {**FORWARDED, "X-Forwarded-Prefix": "/maap/stac"}, {}),
        ("/maap/stac", True, FORWARDED, {"public_url": "http://127.0.0.1/maap/stac/"}),
    ],
    ids=["at the top", "Forwarded", "taken away", "left", "prefix told", "public URL"],
)
def test_every_link_leads_through_the_proxy(
    world: str, below: str, takes_away: bool, tells: dict[str, str], settings: dict[str, Any]
) -> None:
    with (
        running(buckets=("maap-ops-workspace",), **settings) as api,
        proxy(api.url, below=below, takes_away=takes_away, tells=tells) as front,
    ):
        seen = crawl(front.url, world)
        assert all(address.startswith(front.url) for address in seen)
        for part in ("/collections/", "/items/", "/queryables", "/search?", "/jobs/", "/status/static/", "/api"):
            assert any(part in address for address in seen), part
        # What is sent by POST leads on too.
        body = {"collections": [small_world.FLOODS], "limit": 20}
        first = requests.post(f"{front.url}/search", json=body, timeout=30).json()
        (following,) = [link for link in first["links"] if link["rel"] == "next"]
        assert following["href"] == f"{front.url}/search"
        second = requests.post(following["href"], json=following["body"], timeout=30).json()
        assert len(second["features"]) == small_world.WEEKS - 20


def test_every_link_leads_on_without_a_proxy(world: str, shared_api: Api) -> None:
    assert all(address.startswith(shared_api.url) for address in crawl(shared_api.url, world))


def test_problem_documents_and_the_openapi_document_speak_of_the_address_that_people_see() -> None:
    with (
        running(root_path="/stac") as api,
        proxy(api.url, below="/stac", tells=FORWARDED) as front,
    ):
        assert requests.get(f"{front.url}/collections/none", timeout=30).json()["instance"] == "/stac/collections/none"
        assert requests.get(f"{front.url}/api", timeout=30).json()["servers"] == [{"url": "/stac"}]
        assert "url: '/stac/api'" in requests.get(f"{front.url}/api.html", timeout=30).text


def test_below_a_root_path_the_application_answers_with_and_without_it() -> None:
    with running(root_path="/stac") as api:
        for path in ("/_mgmt/ping", "/stac/_mgmt/ping", "/stac", "/stac/", "/"):
            assert requests.get(api.url + path, timeout=30).status_code == 200, path
        for path in ("/stack", "/stac/stac/_mgmt/ping"):
            assert requests.get(api.url + path, timeout=30).status_code == 404, path


def self_link(url: str, **headers: str) -> str:
    """Where the landing page says that it is."""
    landing = requests.get(url, headers={name.replace("_", "-"): value for name, value in headers.items()}, timeout=30)
    return str(next(link["href"] for link in landing.json()["links"] if link["rel"] == "self"))


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ({"X_Forwarded_Proto": "https", "X_Forwarded_Host": "stac.example"}, "https://stac.example/"),
        ({"X_Forwarded_Proto": "https", "X_Forwarded_Host": "stac.example:8443"}, "https://stac.example:8443/"),
        (
            {"X_Forwarded_Proto": "https", "X_Forwarded_Host": "stac.example", "X_Forwarded_Port": "8443"},
            "https://stac.example:8443/",
        ),
        ({"Host": "stac.example:8443", "X_Forwarded_Proto": "https"}, "https://stac.example:8443/"),
        ({"Host": "stac.example", "X_Forwarded_Proto": "https", "X_Forwarded_Port": "443"}, "https://stac.example/"),
        ({"X_Forwarded_Host": "a.example, b.example", "X_Forwarded_Proto": "https, http"}, "https://a.example/"),
        ({"Forwarded": "for=1.2.3.4;host=stac.example;proto=https, for=5.6.7.8"}, "https://stac.example/"),
        ({"Host": "[::1]:9200"}, "http://[::1]:9200/"),
        ({"Host": "api:8000", "X_Forwarded_Host": "evil.example/?x="}, "http://api:8000/"),
        ({"Host": "api:8000", "X_Forwarded_Prefix": "//evil.example"}, "http://api:8000/"),
        ({"Host": "api:8000", "X_Forwarded_Proto": "javascript"}, "http://api:8000/"),
    ],
)
def test_what_a_proxy_says_is_understood(shared_api: Api, headers: dict[str, str], address: str) -> None:
    assert self_link(shared_api.url, **headers) == address


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ({"Host": "maap.example"}, "https://maap.example/stac/"),
        ({"Host": "api:8000", "X_Forwarded_Host": "maap.example"}, "https://maap.example/stac/"),
        ({"Host": "maap.example", "X_Forwarded_Proto": "http"}, "https://maap.example/stac/"),
        # Whoever says such things may want them in a cache.
        ({"Host": "maap.example", "X_Forwarded_Host": "evil.example"}, "https://maap.example/stac/"),
        ({"Host": "maap.example", "X_Forwarded_Prefix": "/evil"}, "https://maap.example/stac/"),
        ({"Host": "maap.example", "Forwarded": "host=evil.example;proto=http"}, "https://maap.example/stac/"),
        # Past the proxy: a probe, or somebody on the same machine.
        ({"Host": "10.0.0.7:8000"}, "http://10.0.0.7:8000/stac/"),
    ],
)
def test_where_the_public_url_is_known_no_request_can_name_another(
    start_api: Callable[..., Api], shared_database: str, headers: dict[str, str], address: str
) -> None:
    api = start_api(public_url="https://maap.example/stac")
    assert self_link(api.url, **headers) == address


def test_the_public_url_of_a_local_stack_leaves_room_for_proxies(
    start_api: Callable[..., Api], shared_database: str
) -> None:
    api = start_api(public_url="http://127.0.0.1:3000")
    assert self_link(api.url, Host="localhost:3000") == "http://localhost:3000/"
    hub = self_link(
        api.url, X_Forwarded_Host="hub.example", X_Forwarded_Proto="https", X_Forwarded_Prefix="/user/ana/3000"
    )
    assert hub == "https://hub.example/user/ana/3000/"
