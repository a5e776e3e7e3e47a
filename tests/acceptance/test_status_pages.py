"""The status pages as people use them: in a real browser, with eyes, a keyboard or a screen reader."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from playwright.sync_api import Browser, Page, expect

from maap_stac_orchestration.ledger.outcomes import finish
from maap_stac_orchestration.ledger.records import State
from tests.browser import OpenPage, chromium, open_page, violations
from tests.integration.api.conftest import Api, running
from tests.integration.api.ledger_of_jobs import DAY, Known, fill, prefix
from tests.integration.ledger.build import discover, ended, seen, take

__all__ = ["chromium", "open_page"]

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}

Connection = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def ledger(connection: Connection) -> Connection:
    return connection


@pytest.fixture
def known(ledger: Connection) -> Known:
    return fill(ledger, more=60, items=200)


@pytest.fixture
def api(database_env: dict[str, str], known: Known) -> Iterator[Api]:
    with running(dagster_url="http://dagster.test", browser_url="http://browser.test") as started:
        yield started


def path(job: str) -> str:
    return f"/status/{quote(job, safe='')}"


def addresses(known: Known) -> list[str]:
    """A page of each kind."""
    return [
        "/status",
        "/status?q=nothing+like+it",
        "/status/jobs",
        *map(path, (known.partial, known.failed, known.hostile)),
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(api: Api, known: Known, open_page: OpenPage, scheme: str) -> None:
    page = open_page(color_scheme=scheme)
    for address in addresses(known):
        page.goto(api.url + address)
        assert violations(page) == "", address
    page.set_viewport_size(PHONE)
    for address in ("/status", "/status/jobs", path(known.partial)):
        page.goto(api.url + address)
        assert violations(page) == "", f"{address} on a phone"


def test_an_error_is_a_page_like_the_others(api: Api, known: Known, open_page: OpenPage) -> None:
    # Without its script: the browser itself notes on the console that it was answered with an error.
    page = open_page(java_script_enabled=False)
    answer = page.request.get(f"{api.url}/status/jobs?state=done")
    page.set_content(answer.text().replace('"/status/', f'"{api.url}/status/'))
    expect(page.get_by_role("heading", level=1)).to_have_text("This address cannot be answered")


def test_nothing_sticks_out_on_a_phone(api: Api, known: Known, open_page: OpenPage) -> None:
    page = open_page(viewport=PHONE)
    for address in addresses(known):
        page.goto(api.url + address)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], address


def test_the_keyboard_alone_reaches_everything_and_shows_where_it_is(
    api: Api, known: Known, open_page: OpenPage
) -> None:
    page = open_page()
    for address in ("/status", "/status/jobs?limit=3", path(known.partial)):
        page.goto(api.url + address)
        wanted = page.locator("a[href], button:visible, input:not([type=hidden]), select").count()
        reached = 0
        for _ in range(wanted * 8):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement === document.body"):
                break
            fresh, outlined = page.evaluate("""() => {
                const one = document.activeElement, fresh = !one.dataset.reached;
                one.dataset.reached = "yes";
                return [fresh, getComputedStyle(one).outlineStyle !== "none"];
            }""")
            assert outlined, page.evaluate("document.activeElement.outerHTML")
            reached += fresh
        assert reached == wanted, address


def test_the_first_tab_skips_to_the_content(api: Api, open_page: OpenPage) -> None:
    page = open_page()
    page.goto(f"{api.url}/status")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_a_row_changes_by_itself_when_its_jobs_do(api: Api, ledger: Connection, open_page: OpenPage) -> None:
    page = open_page()
    page.goto(f"{api.url}/status")
    mark_as_loaded_once(page)
    row = page.get_by_role("row").filter(has_text="alaska-2025")
    expect(row).to_contain_text("1 discovered")
    take_on(ledger)
    expect(row).to_contain_text("1 ingesting")
    expect(row).not_to_contain_text("1 discovered")
    assert loaded_once(page)


def test_a_jobs_page_follows_it_to_its_end(api: Api, known: Known, ledger: Connection, open_page: OpenPage) -> None:
    page = open_page()
    page.goto(api.url + path(known.discovered))
    mark_as_loaded_once(page)
    expect(page.locator(".verdict")).to_contain_text("Discovered")
    batch = take_on(ledger)
    expect(page.locator(".verdict")).to_contain_text("Ingesting")
    finish(ledger, batch, [ended(job, State.LOADED, loaded=7) for job in batch.jobs if job.prefix == known.discovered])
    ledger.commit()
    expect(page.locator(".verdict")).to_contain_text("Loaded all 7 items.")
    expect(page).to_have_title("Loaded: alaska-2025 of ana · MAAP STAC")
    assert loaded_once(page)


def test_what_is_typed_focused_and_scrolled_stays_when_the_page_changes(
    api: Api, ledger: Connection, open_page: OpenPage
) -> None:
    page = open_page(viewport={"width": 900, "height": 500})
    page.goto(f"{api.url}/status")
    link = page.get_by_role("link", name="demo HLSCloudFreeTemporalMosaic")
    link.focus()
    page.evaluate("document.getElementById('q').value = 'half typ'")
    scrolled = page.evaluate("scrollY")
    assert scrolled > 0
    take_on(ledger)
    expect(page.get_by_text("1 ingesting")).to_be_visible()
    expect(link).to_be_focused()
    expect(page.get_by_role("searchbox")).to_have_value("half typ")
    assert page.evaluate("scrollY") == scrolled


def test_a_new_submission_comes_first_and_takes_no_focus(api: Api, ledger: Connection, open_page: OpenPage) -> None:
    page = open_page()
    page.goto(f"{api.url}/status")
    link = page.get_by_role("link", name="demo HLSCloudFreeTemporalMosaic")
    link.focus()
    discover(ledger, seen(prefix("zoe", "fire", "new", 0, day=9)))
    expect(page.get_by_role("row").nth(1)).to_contain_text("zoe")
    expect(page.get_by_role("status").filter(has_text="submissions")).to_have_text("5 submissions")
    expect(link).to_be_focused()


def test_a_job_that_becomes_known_appears(api: Api, ledger: Connection, chromium: Browser) -> None:
    # The browser notes on its console that the job was not found, so nobody listens here.
    page = chromium.new_page()
    job = prefix("zoe", "fire", "new", 0, day=9)
    page.goto(api.url + path(job))
    expect(page.get_by_role("heading", level=1)).to_have_text("Nothing is known here")
    discover(ledger, seen(job))
    expect(page.locator(".verdict")).to_contain_text("Discovered")
    page.close()


def test_typing_filters_and_the_address_says_so(api: Api, open_page: OpenPage) -> None:
    page = open_page()
    page.goto(f"{api.url}/status")
    mark_as_loaded_once(page)
    page.get_by_role("searchbox").press_sequentially("mosaic")
    expect(page.get_by_role("status").filter(has_text="submission")).to_have_text("1 submission")
    expect(page).to_have_url(f"{api.url}/status?q=mosaic")
    page.get_by_role("searchbox").fill("")
    expect(page.get_by_role("status").filter(has_text="submission")).to_have_text("4 submissions")
    assert loaded_once(page)


def test_choosing_a_state_filters_jobs(api: Api, open_page: OpenPage) -> None:
    page = open_page()
    page.goto(f"{api.url}/status/jobs")
    page.get_by_label("State").select_option("Rejected")
    expect(page.get_by_role("status").filter(has_text="shown")).to_have_text("1 job shown")
    page.get_by_label("User").fill("nobody")
    expect(page.get_by_role("status").filter(has_text="fits")).to_have_text("No job fits.")
    expect(page).to_have_url(f"{api.url}/status/jobs?state=rejected&username=nobody")


def test_everything_works_without_a_script(api: Api, known: Known, open_page: OpenPage) -> None:
    page = open_page(java_script_enabled=False)
    page.goto(f"{api.url}/status")
    expect(page.get_by_role("button", name="Pause")).to_be_hidden()
    page.get_by_role("searchbox").fill("demo")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("status").filter(has_text="submission")).to_have_text("1 submission")
    page.get_by_role("link", name="demo HLSCloudFreeTemporalMosaic").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
    page.get_by_label("State").select_option("Partial")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("row").nth(1).get_by_role("link").first.click()
    expect(page.locator(".verdict")).to_contain_text("Loaded 3 of 4 items; one was refused.")
    expect(page.get_by_text(f"maap-stac retry {known.partial}")).to_be_visible()
    page.goto(f"{api.url}/status/jobs?username=ana")
    page.get_by_role("link", name="Older jobs").click()
    page.get_by_role("link", name="Newest jobs").click()
    expect(page).to_have_url(f"{api.url}/status/jobs?username=ana")


def test_it_says_when_the_server_cannot_be_reached_and_when_it_can_again(api: Api, chromium: Browser) -> None:
    # The browser notes on its console that it reached nobody, so nobody listens here.
    page = chromium.new_page()
    page.goto(f"{api.url}/status")
    said = page.locator("#live-text")
    expect(said).to_have_text("Live")
    page.route("**/status", lambda route: route.abort())
    expect(said).to_contain_text("Cannot reach the server since")
    page.unroute("**/status")
    expect(said).to_have_text("Live")
    page.close()


def test_a_page_that_is_paused_stays_as_it_is(api: Api, ledger: Connection, open_page: OpenPage) -> None:
    page = open_page()
    page.goto(f"{api.url}/status")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#live-text")).to_have_text("Paused")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    take_on(ledger)
    page.wait_for_timeout(4_000)
    assert not asked
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("1 ingesting")).to_be_visible()


def test_nothing_that_a_job_wrote_runs(api: Api, known: Known, open_page: OpenPage) -> None:
    page = open_page()
    page.on("dialog", lambda dialog: pytest.fail(f"a job's text ran: {dialog.message}"))
    for address in (path(known.hostile), "/status/jobs?username=mallory", "/status?q=%22%3E%3Cscript%3E"):
        page.goto(api.url + address)
        assert "owned" not in page.title() or "script" in page.title()
        expect(page.locator("#live-text")).to_have_text("Live")


def test_the_command_to_retry_can_be_copied(api: Api, known: Known, open_page: OpenPage) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.goto(api.url + path(known.partial))
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == f"maap-stac retry {known.partial}"


def test_times_say_how_long_ago_and_in_full_to_whoever_asks(api: Api, open_page: OpenPage) -> None:
    page = open_page()
    page.goto(f"{api.url}/status")
    time = page.locator("td.when time").first
    expect(time).to_have_text("just now")
    assert str(time.get_attribute("title")).startswith(f"{datetime.now(UTC):%Y-}")


def take_on(ledger: Connection) -> Any:
    """A run takes on what is due."""
    return take(ledger, run_id="c0ffee00-aaaa-4bbb-8ccc-0123456789ab", day=DAY)


def mark_as_loaded_once(page: Page) -> None:
    """Leaves a mark that a reload would wipe out."""
    page.evaluate("window.marked = true")


def loaded_once(page: Page) -> bool:
    """Whether the page was never loaded again since."""
    return bool(page.evaluate("window.marked === true"))
