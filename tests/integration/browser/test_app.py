"""What STAC Browser's server answers: files, addresses inside of STAC Browser, and the time before it is there."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager

import pytest
import requests
import uvicorn

from maap_stac_orchestration.browser.app import create_app
from maap_stac_orchestration.browser.build import build, result
from maap_stac_orchestration.browser.making import Making
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.stack.parts import browser_remark
from tests.conftest import free_port

API = "https://stac.test/api"
INDEX = '<html><head><base href="/"></head><body><div id="stac-browser"></div></body></html>'
SCRIPT = "const world = 'land and sea';" * 100


@pytest.fixture
def files(tmp_path):
    """A folder of files such as a build gives."""
    folder = tmp_path / "built"
    (folder / "js").mkdir(parents=True)
    (folder / "index.html").write_text(INDEX)
    (folder / "favicon.svg").write_text("<svg/>")
    (folder / "js" / "app.0123abcd.js").write_text(SCRIPT)
    return folder


@contextmanager
def serving(making=None, **settings):
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(create_app(Settings(**settings), making), host="127.0.0.1", port=port, log_level="warning")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the application did not start"
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the application did not stop"


@pytest.fixture
def url(files):
    with serving(browser_files=str(files), public_url=API) as started:
        yield started


def until_answers(address, status):
    while (answer := requests.get(address, timeout=10)).status_code != status:
        time.sleep(0.05)
    return answer


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/collections/a",
        "/collections/a.b/items/c.tif",
        "/catalogs/ü%20x",
        "/search",
        "/index.html",
        "/..%2f..%2fetc",
    ],
)
def test_every_address_inside_of_stac_browser_opens_it(url, path):
    answer = requests.get(url + path, timeout=10)
    assert answer.status_code == 200
    assert 'id="stac-browser"' in answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"


def test_a_script_that_is_gone_is_not_answered_with_a_page(url):
    assert requests.get(f"{url}/js/app.ffffffff.js", timeout=10).status_code == 404


def test_what_never_changes_is_kept_and_the_rest_asked_for_again(url):
    script = requests.get(f"{url}/js/app.0123abcd.js", timeout=10)
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert script.headers["content-encoding"] in ("br", "gzip")
    assert script.text == SCRIPT
    page = requests.get(url, timeout=10)
    again = requests.get(url, headers={"If-None-Match": page.headers["etag"]}, timeout=10)
    assert (again.status_code, again.content) == (304, b"")
    assert requests.get(url, headers={"If-None-Match": '"another"'}, timeout=10).status_code == 200


def test_head_is_answered_and_writing_is_not(url):
    head = requests.head(f"{url}/js/app.0123abcd.js", headers={"Accept-Encoding": "identity"}, timeout=10)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(SCRIPT)))
    assert requests.post(url, timeout=10).status_code == 405


def test_answers_are_guarded(url):
    headers = requests.get(url, timeout=10).headers
    assert "script-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_it_is_told_where_the_api_is(url):
    answer = requests.get(f"{url}/config.js", timeout=10)
    assert f'"catalogUrl": "{API}/"' in answer.text
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"


def test_below_a_path_it_works_whether_a_proxy_cuts_that_off_or_not(files):
    with serving(browser_files=str(files), public_url=API, browser_url="https://stac.test/browser") as url:
        for path in ("/", "/browser/", "/browser/collections/a", "/collections/a"):
            assert '<base href="/browser/">' in requests.get(url + path, timeout=10).text
        for path in ("/js/app.0123abcd.js", "/browser/js/app.0123abcd.js"):
            assert requests.get(url + path, timeout=10).text == SCRIPT


def test_while_it_is_built_a_page_says_so_and_then_it_is_there(tmp_path, tools):
    builds = tmp_path / "builds"
    go = tmp_path / "go"

    def command():
        waits = f"import time, pathlib\nwhile not pathlib.Path({str(go)!r}).exists(): time.sleep(0.05)"
        return [sys.executable, "-c", waits]

    with serving(Making(Settings(), builds=builds, command=command), public_url=API) as url:
        page = requests.get(url, timeout=10)
        assert page.status_code == 503
        assert "is being built" in page.text
        assert 'http-equiv="refresh"' in page.text
        assert API in page.text
        assert requests.get(f"{url}/_mgmt/ping", timeout=10).status_code == 200
        health = requests.get(f"{url}/_mgmt/health", timeout=10)
        assert (health.status_code, health.json()["status"]) == (503, "building")
        assert browser_remark(url) == health.json()["message"]
        build(builds, environment=tools.environment)
        go.touch()
        assert 'id="stac-browser"' in until_answers(url, 200).text
        assert requests.get(f"{url}/_mgmt/health", timeout=10).json() == {"status": "ready", "message": ""}
        assert browser_remark(url) is None


def test_where_it_cannot_be_built_a_page_says_why_until_somebody_has_built_it(tmp_path, tools):
    builds = tmp_path / "builds"
    sentence = "Error: npm could not get it <b>today</b>: check the network, then run `make stac-browser`."

    def command():
        return [sys.executable, "-c", f"import sys; print('· a step', file=sys.stderr); sys.exit({sentence!r})"]

    with serving(Making(Settings(), builds=builds, command=command), public_url=API) as url:
        while "is not here" not in (page := requests.get(url, timeout=10)).text:
            assert page.status_code == 503
            time.sleep(0.05)
        assert "npm could not get it &lt;b&gt;today&lt;/b&gt;" in page.text
        assert "<code>make stac-browser</code>" in page.text
        assert "refresh" not in page.text
        assert requests.get(f"{url}/_mgmt/health", timeout=10).json()["message"] == sentence.removeprefix("Error: ")
        assert build(builds, environment=tools.environment) == result(builds)
        assert 'id="stac-browser"' in requests.get(url, timeout=10).text


def test_a_build_that_breaks_off_is_told_too(tmp_path):
    def command():
        return [sys.executable, "-c", "import os; os.abort()"]

    making = Making(Settings(), builds=tmp_path / "builds", command=command)
    with serving(making, public_url=API) as url:
        while (health := requests.get(f"{url}/_mgmt/health", timeout=10).json())["status"] == "building":
            time.sleep(0.05)
    assert health["status"] == "unavailable"
    assert "run `make stac-browser` to see why" in health["message"]


def test_a_setting_that_names_no_build_is_told_on_the_page(tmp_path):
    with serving(browser_files=str(tmp_path / "absent"), public_url=API) as url:
        page = requests.get(f"{url}/collections/a", timeout=10)
    assert page.status_code == 503
    assert "MAAP_STAC_BROWSER_FILES" in page.text


def test_without_the_address_of_the_api_it_says_what_to_set(files):
    with serving(browser_files=str(files), public_url=None) as url:
        page = requests.get(url, timeout=10)
    assert page.status_code == 503
    assert "MAAP_STAC_PUBLIC_URL" in page.text


def test_a_stop_ends_a_build_under_way(tmp_path):
    pid = tmp_path / "pid"

    def command():
        return [
            sys.executable,
            "-c",
            f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)",
        ]

    making = Making(Settings(), builds=tmp_path / "builds", command=command)
    with serving(making, public_url=API):
        while not (pid.exists() and pid.read_text()):
            time.sleep(0.05)
    assert making._process is not None
    assert making._process.returncode is not None
