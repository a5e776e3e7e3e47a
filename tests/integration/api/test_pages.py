"""Pages for people as they come over HTTP: what they tell, whom they let in, what they let no job write into them."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote, urljoin

import psycopg
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.api.pages.pictures import bar
from maap_stac_orchestration.api.pages.rendering import duration, static_files, visible
from maap_stac_orchestration.ledger.records import State
from maap_stac_orchestration.pgstac.collections import create_missing
from maap_stac_orchestration.pgstac.items import load
from tests.conftest import MotoStore
from tests.integration.api.callers import signed_in
from tests.integration.api.conftest import Api, running
from tests.integration.api.ledger_of_jobs import HOSTILE_TAG, LONG_WORD, Known, fill
from tests.integration.pgstac.stac import item, new_collection

POLICY = "Content-Security-Policy"


class Reader(HTMLParser):
    """Reads a page: its elements with their attributes, and the text that a person sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        """Elements with these attributes among theirs."""
        return [found for name, found in self.elements if name == tag and attributes.items() <= found.items()]


@pytest.fixture(scope="module")
def known(shared_database: str) -> Known:
    with psycopg.connect(shared_database) as connection:
        return fill(connection)


@pytest.fixture(scope="module")
def api(known: Known) -> Iterator[Api]:
    with running(
        dagster_url="http://dagster.test", browser_url="http://browser.test/", tiler_url="https://tiles.test:8443/stac"
    ) as started:
        yield started


def path(prefix: str) -> str:
    return f"/status/{quote(prefix, safe='')}"


def read(api: Api, address: str, status: int = 200) -> Reader:
    answer = requests.get(api.url + address, timeout=30)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return Reader(answer.text)


@pytest.fixture(params=["submissions", "jobs", "partial", "hostile", "unknown", "wrong"])
def any_page(request: pytest.FixtureRequest, known: Known) -> str:
    """The address of a page of each kind."""
    return {
        "submissions": "/status",
        "jobs": "/status/jobs",
        "partial": path(known.partial),
        "hostile": path(known.hostile),
        "unknown": "/status/nobody/dps_output/x",
        "wrong": "/status/jobs?state=done",
    }[str(request.param)]


def test_a_page_loads_nothing_from_elsewhere_and_runs_nothing_that_was_written_into_it(api, any_page):
    answer = requests.get(api.url + any_page, timeout=30)
    policy = dict(part.split(" ", 1) for part in answer.headers[POLICY].split("; "))
    assert policy["default-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["object-src"] == "'none'"
    assert not {"script-src", "style-src"} & policy.keys(), "the default forbids what is inline"
    page = Reader(answer.text)
    assert page.all("script")
    loaded = [
        *(script.get("src") for script in page.all("script")),
        *(one["href"] for one in page.all("link") if one["rel"] in ("stylesheet", "icon")),
        *(one["src"] for one in page.all("img") if one.get("class") != "preview"),
    ]
    assert all(one is not None and one.startswith("/status/static/") for one in loaded)
    for _, attributes in page.elements:
        assert not any(name.startswith("on") or name == "style" for name in attributes)


def test_what_a_page_needs_is_there_and_may_be_kept_for_ever(api):
    page = read(api, "/status")
    for one in [*page.all("link", rel="stylesheet"), *page.all("link", rel="icon"), *page.all("script")]:
        answer = requests.get(urljoin(api.url, str(one.get("href") or one.get("src"))), timeout=10)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_address_of_another_version_gives_todays_file_and_is_not_kept(api):
    answer = requests.get(f"{api.url}/status/static/0000/status.css", timeout=10)
    assert answer.content == static_files()["status.css"].content
    assert answer.headers["cache-control"] == "no-cache"
    assert requests.get(f"{api.url}/status/static/0000/other.css", timeout=10).status_code == 404


def test_every_page_says_where_the_same_is_for_programs(api, known):
    for address in ("/status?q=demo", "/status/jobs?state=loaded&limit=3", path(known.partial)):
        [link] = read(api, address).all("link", rel="alternate")
        assert link["type"] == "application/json"
        answer = requests.get(urljoin(api.url, str(link["href"])), timeout=10)
        assert answer.headers["content-type"] == "application/json"
        assert answer.status_code == 200


def test_the_landing_page_of_the_stac_api_leads_to_the_pages(api):
    [link] = [link for link in api.get("/").json()["links"] if link["rel"] == "status"]
    assert link["type"] == "text/html"
    assert "How submissions are doing" in requests.get(link["href"], timeout=10).text


def test_the_document_of_a_job_leads_to_its_page(api, known):
    document = api.get(f"/jobs/{quote(known.partial, safe='')}").json()
    [link] = [link for link in document["links"] if link["rel"] == "status"]
    assert link["type"] == "text/html"
    assert requests.get(link["href"], timeout=10).status_code == 200


# Submissions


def test_submissions_are_counted_by_state_in_words_too(api):
    text = read(api, "/status").text
    assert "4 submissions" in text
    assert "alaska-2025 boreal-canopy-height v0.1.1 by ana" in text
    assert "41 of 43 jobs ended: 40 loaded 1 failed 1 waiting 1 discovered" in text


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("q=DEMO", "1 submission"),
        ("username=ana", "2 submissions"),
        ("username=ana&q=alaska", "1 submission"),
        ("q=&username=", "4 submissions"),
        ("q=nothing+like+it", "No submission fits."),
        ("page=2", "There are fewer pages than that."),
    ],
)
def test_submissions_are_filtered(api, query, expected):
    assert expected in read(api, f"/status?{query}").text


def test_a_submission_leads_to_its_jobs(api):
    page = read(api, "/status?q=demo")
    [name] = page.all("a", **{"class": "name"})
    assert "3 jobs shown" in read(api, str(name["href"])).text


def test_an_empty_ledger_says_what_to_do_first(database_env, object_store: MotoStore, start_api: Callable[..., Api]):
    api = start_api(buckets=(object_store.bucket,))
    for address in ("/status", "/status/jobs"):
        text = read(api, address).text
        assert "No job has come to notice yet." in text
        assert "maap-stac check" in text


# Jobs


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state=rejected", "1 job shown"),
        ("code=geometry_invalid", "1 job shown"),
        ("username=henrydevseed", "3 jobs shown"),
        ("username=henrydevseed&state=", "3 jobs shown"),
        ("since=2026-03-04T05:01:00&until=2026-03-04T05:02:00", "20 jobs shown"),
        ("username=nobody", "No job fits."),
    ],
)
def test_jobs_are_filtered_as_for_programs_and_empty_inputs_ask_nothing(api, query, expected):
    assert expected in read(api, f"/status/jobs?{query}").text


def test_the_form_shows_the_filters_in_force(api):
    page = read(api, "/status/jobs?state=loaded&username=ana&since=2026-03-04T05:01:00%2B01:00")
    [state] = [one for one in page.all("option") if "selected" in one]
    assert state["value"] == "loaded"
    assert page.all("input", name="username", value="ana")
    assert page.all("input", name="since", value="2026-03-04T04:01:00")


def test_jobs_of_a_submission_are_counted_by_state(api):
    names = "username=ana&algorithm=boreal-canopy-height&version=v0.1.1"
    for query, expected in (
        ("tag=alaska-2025", "41 of 43 jobs ended: 40 loaded 1 failed"),
        ("tag=alaska-2025&state=failed", "41 of 43 jobs ended: 40 loaded 1 failed"),
        ("", "42 of 44 jobs ended"),
    ):
        assert expected in read(api, f"/status/jobs?{names}&{query}").text
    assert "jobs ended" not in read(api, f"/status/jobs?{names}&code=link_missing").text


def test_pages_of_jobs_lead_to_one_another_and_back(api):
    address, prefixes = "/status/jobs?username=ana&limit=15", []
    while address:
        page = read(api, address)
        prefixes += [one["href"] for one in page.all("a", **{"class": "name"})]
        following = page.all("a", rel="next")
        if address != "/status/jobs?username=ana&limit=15":
            [newest] = page.all("a", rel="prev")
            assert newest["href"] == "/status/jobs?username=ana&limit=15"
        address = str(following[0]["href"]) if following else ""
    assert len(prefixes) == len(set(prefixes)) == 44


# One job


def test_a_job_is_told_in_a_sentence_with_errors_before_warnings_and_what_to_do(api, known):
    text = read(api, path(known.partial)).text
    assert "Loaded 3 of 4 items; one was refused." in text
    assert "2 errors and 1 warning." in text
    assert text.index("geometry_invalid") < text.index("asset_missing")
    assert "What to do Upload the file" in text
    assert "No grant for maap-mosaics names henrydevseed" in text
    assert f"maap-stac retry {known.partial}" in text
    assert "9b2cf535f27731c974343645a3985328" in text


@pytest.mark.parametrize(
    ("which", "sentence"),
    [
        ("loaded", "Loaded all 3 items."),
        ("rejected", "Nothing was loaded: the job was refused as a whole."),
        ("failed", "It could not be ingested"),
        ("waiting", "Something that the job names is not there yet. 2 items were loaded so far."),
        ("discovered", "The next free run takes it on."),
    ],
)
def test_each_state_is_told_in_a_sentence(api, known, which, sentence):
    assert sentence in read(api, path(getattr(known, which))).text


def test_a_job_leads_to_its_items_its_runs_and_its_previews(api, known):
    page = read(api, path(known.loaded))
    item = "/collections/henrydevseed__HLSCloudFreeTemporalMosaic__v0.1.1__demo/items/mosaic-T34"
    assert page.all("a", href=item)
    assert page.all("a", href=f"http://browser.test{item}")
    assert not page.all("img", **{"class": "preview"}), "its collection does not say how its items are shown"
    assert page.all("a", href="http://dagster.test/runs/4f1d52c8-aaaa-4bbb-8ccc-0123456789ab")
    policy = requests.get(api.url + path(known.loaded), timeout=10).headers[POLICY]
    assert "img-src 'self' https://tiles.test:8443 data:;" in policy


def test_a_jobs_page_says_who_was_told_and_keeps_their_address(
    database_env, connection, object_store: MotoStore, start_api: Callable[..., Api]
):
    told = fill(connection, more=0, items=1).loaded
    connection.execute(
        """
        INSERT INTO ledger.delivery (message_id, job_id, transition_id, body, state, due_at, ended_at, attempts)
        SELECT gen_random_uuid(), job.id, max(transition.id), '', 'delivered', NULL, now(), 2
        FROM ledger.job JOIN ledger.transition ON transition.job_id = job.id WHERE prefix = %s GROUP BY job.id
        """,
        (told,),
    )
    connection.commit()
    page = read(start_api(buckets=(object_store.bucket,)), path(told))
    assert "The report beside the catalog, that it is loaded: delivered at" in page.text
    assert "after 2 tries" in page.text


def test_a_job_shows_where_its_items_lie(
    database_env, connection, object_store: MotoStore, start_api: Callable[..., Api]
):
    job = fill(connection, more=0, items=1).loaded
    collection = "henrydevseed__HLSCloudFreeTemporalMosaic__v0.1.1__demo"
    create_missing(connection, [new_collection(collection)])
    load(connection, collection, [item("mosaic-T34", collection, west=10), item("mosaic-T35", collection, west=12)])
    connection.commit()
    page = read(start_api(buckets=(object_store.bucket,)), path(job))
    [drawn] = page.all("svg", role="img")
    assert drawn["aria-label"] == "Items lie between 10° E and 13° E, 0° and 1° N."


def test_a_job_with_ten_thousand_items_shows_some_and_counts_the_rest(api, known):
    page = read(api, path(known.large))
    assert "9,950 more items." in page.text
    assert len(page.all("tr")) < 100


def test_a_final_slash_may_be_left_out_and_slashes_need_no_encoding(api, known):
    assert "Loaded all 3 items." in read(api, f"/status/{known.loaded.rstrip('/')}").text


def test_what_jobs_wrote_is_text_and_nothing_else(api, known):
    for address in ("/status", "/status/jobs", "/status?q=%22%3E%3Cscript%3E", path(known.hostile)):
        page = read(api, address)
        assert all(str(script["src"]).startswith("/status/static/") for script in page.all("script"))
        assert not page.all("img", src="x")
        assert "\u202e" not in page.text
    assert HOSTILE_TAG in page.text
    assert LONG_WORD in page.text
    assert "⟨U+202E⟩" in page.text


# Errors


def test_an_unknown_job_is_a_page_that_says_when_jobs_become_known(api):
    text = read(api, "/status/ana/dps_output/flood/v1/2026/01/01/00/00/00/000000/", 404).text
    assert "A job is known once its catalog.json is in the bucket" in text


@pytest.mark.parametrize("address", ["/status/jobs?state=done", "/status/jobs?token=x", "/status?colour=red"])
def test_a_filter_that_cannot_be_is_a_page_that_names_it(api, address):
    name = address.partition("?")[2].partition("=")[0]
    assert name in read(api, address, 400).text


def test_errors_are_documents_for_those_who_ask_for_json_and_outside_of_status(api):
    answer = requests.get(f"{api.url}/status/jobs?state=done", headers={"Accept": "application/json"}, timeout=10)
    assert answer.headers["content-type"] == "application/problem+json"
    answer = requests.get(f"{api.url}/jobs?state=done", headers={"Accept": "text/html"}, timeout=10)
    assert answer.headers["content-type"] == "application/problem+json"


def test_users_may_be_called_as_pages_are(api):
    for username in ("jobs", "static", "collections", "footprints"):
        text = read(api, path(f"{username}/dps_output/flood/v1/2026/01/01/00/00/00/000000/"), 404).text
        assert "has come to notice" in text


# Live


def test_a_page_that_did_not_change_is_not_sent_again(api, any_page):
    first = requests.get(api.url + any_page, timeout=10)
    if first.status_code != 200:
        assert "etag" not in first.headers, "an error is no version of the page"
        return
    again = requests.get(api.url + any_page, headers={"If-None-Match": first.headers["etag"]}, timeout=10)
    assert again.status_code == 304
    assert not again.content
    assert again.headers[POLICY] == first.headers[POLICY]


# Who may read


def test_pages_are_closed_with_the_rest_and_say_so_in_style(
    database_env, object_store: MotoStore, start_api: Callable[..., Api], connection
):
    api = start_api(buckets=(object_store.bucket,), open_reading=False)
    for address in ("/status", "/status/jobs", "/status/a/dps_output/b"):
        page = read(api, address, 401)
        assert "This needs a token." in page.text
    [style] = page.all("link", rel="stylesheet")
    assert requests.get(urljoin(api.url, str(style["href"])), timeout=10).status_code == 200
    reader = signed_in(api, connection, "ana", admin=False)
    assert reader("GET", "/status").status_code == 200


# What pages are made of


@given(st.dictionaries(st.sampled_from(list(State)), st.integers(min_value=0, max_value=10**7)))
def test_a_progress_bar_is_whole_and_shows_every_state_that_a_job_is_in(states):
    segments = bar(states)
    assert {part.state for part in segments} == {state for state, jobs in states.items() if jobs}
    if segments:
        assert sum(part.width for part in segments) == pytest.approx(100, abs=0.01)
        assert min(part.width for part in segments) >= 1.5
        assert segments[0].x == 0
    for one, other in pairwise(segments):
        assert other.x == pytest.approx(one.x + one.width, abs=0.01)


@given(st.text())
def test_what_is_shown_has_no_character_that_turns_or_hides_others(text):
    shown = visible(text)
    assert not set(shown) & {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A)), "\x1b", "\u200b"}


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "less than 0.1 s"),
        (0.42, "0.4 s"),
        (9.97, "10 s"),
        (59.6, "1 min"),
        (185, "3 min 5 s"),
        (7800, "2 h 10 min"),
        (273600, "3 d 4 h"),
    ],
)
def test_durations_have_two_units_at_most(seconds, expected):
    assert duration(timedelta(seconds=seconds)) == expected


def test_templates_styles_and_scripts_are_in_the_wheel(tmp_path: Path):
    project = Path(__file__).parents[3]
    uv = shutil.which("uv", path=project / ".uv" / "bin") or shutil.which("uv")
    assert uv is not None, "uv, which `make setup` puts into .uv, builds the wheel"
    subprocess.run(
        [uv, "build", "--quiet", "--wheel", "--build-constraints", "requirements-bootstrap.lock", "-o", tmp_path, "."],
        cwd=project,
        check=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    pages = project / "maap_stac_orchestration" / "api" / "pages"
    needed = {
        str(file.relative_to(project))
        for folder in ("templates", "static")
        for file in (pages / folder).rglob("*")
        if file.is_file()
    }
    assert len(needed) > 8
    assert needed <= names
