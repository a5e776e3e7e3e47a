"""STAC Browser as people meet it: users, collections, items, with footprints and images, and no other host asked.

The real build in a real browser, over the real API, tiler and demo jobs of a stack.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from matplotlib.image import imread
from playwright.sync_api import Locator, Page, expect

from maap_stac_orchestration.browser.build import builds_folder, result
from tests.acceptance.client import StackClient, eventually
from tests.acceptance.conftest import MAAP_STAC, clean_environment
from tests.browser import OpenPage, chromium, open_page

__all__ = ["chromium", "open_page"]

pytestmark = [pytest.mark.stack, pytest.mark.browser]

USER = "henrydevseed"
COLLECTION = "henrydevseed__HLSCloudFreeTemporalMosaic__v0.1.1__demo"
WIDE = {"width": 1400, "height": 1000}


def pixels(map_of_page: Locator) -> dict[str, int]:
    """How many pixels of each kind are seen on a map."""
    seen = imread(io.BytesIO(map_of_page.screenshot()))[..., :3]
    red, green, blue = (seen[..., band] for band in range(3))
    footprint = (red > 0.9) & (green > 0.45) & (green < 0.75) & (blue < 0.45)
    outline = (red < 0.35) & (green > 0.45) & (green < 0.75) & (blue > 0.7)
    land = (red > 0.92) & (green > 0.92) & (blue > 0.88) & (blue < 0.97)
    image = (green < 0.45) & (red < 0.5) & (green > blue + 0.02)
    kinds = {"footprint": footprint, "outline": outline, "land": land, "image": image}
    return {kind: int(mask.sum()) for kind, mask in kinds.items()}


@pytest.fixture(scope="module")
def client(stack: dict) -> StackClient:
    return StackClient(stack)


@pytest.fixture(scope="module")
def items(client: StackClient) -> list[str]:
    """Items of demo jobs, in a collection that tells how it is shown."""
    ran = subprocess.run(
        [MAAP_STAC, "demo", "--json", "--jobs", "6"],
        env=clean_environment() | client.env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    eventually(lambda: (client.get(f"/collections/{COLLECTION}") or {}).get("renders"), 120)
    return [job["item"] for job in json.loads(ran.stdout)["jobs"]]


@pytest.fixture(scope="module")
def browser_url(stack: dict) -> str:
    """Where STAC Browser is, which is built."""
    builds = builds_folder()
    assert builds is not None
    if not result(builds).is_dir():
        pytest.fail("STAC Browser is not built; `make stac-browser` builds it.", pytrace=False)
    eventually(lambda: status(f"{stack['browser_url']}/") == 200 or None, 60)
    return str(stack["browser_url"])


def status(url: str) -> int:
    try:
        with urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except OSError as error:
        return int(getattr(error, "code", 0))


@pytest.fixture
def page(open_page: OpenPage, stack: dict, browser_url: str) -> Iterator[Page]:
    """A page of which every request goes to STAC Browser, the API or the tiler, and is answered well."""
    opened = open_page(viewport=WIDE, locale="en-US")
    ours = {urlsplit(stack[name]).netloc for name in ("browser_url", "api_url", "tiler_url")}
    foreign: list[str] = []
    failed: list[str] = []
    opened.on("request", lambda one: urlsplit(one.url).netloc in {*ours, ""} or foreign.append(one.url))
    opened.on("response", lambda one: one.status < 400 or failed.append(f"{one.status} {one.url}"))
    yield opened
    assert foreign == []
    assert failed == []


@contextmanager
def asked_of(page: Page, part: str) -> Iterator[list[str]]:
    """Addresses with a part in them that are asked meanwhile."""
    seen: list[str] = []
    page.on("request", lambda one: part in one.url and seen.append(one.url))
    yield seen


def until_drawn(page: Page, kind: str, number: int) -> dict[str, int]:
    """What is seen on the page's map once so many pixels of one kind are."""
    drawn = page.locator(".map").first
    seen: dict[str, int] = {}

    def enough() -> bool | None:
        seen.update(pixels(drawn))
        return seen[kind] >= number or None

    eventually(enough, 120, lambda: seen)
    return seen


def test_people_come_from_users_to_collections_to_items_by_clicks(page, items, browser_url):
    page.goto(browser_url)
    expect(page).to_have_title("MAAP STAC")
    expect(page.get_by_role("heading", level=1)).to_have_text("MAAP STAC")

    page.locator(".catalogs").get_by_role("link", name=USER).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(USER)
    expect(page).to_have_url(re.compile(rf"/catalogs/{USER}(\?|$)"))

    page.locator(".catalogs").get_by_role("link", name="HLSCloudFreeTemporalMosaic").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("HLSCloudFreeTemporalMosaic")

    page.locator(".items").get_by_role("link").first.click()
    expect(page.get_by_role("heading", name="Assets")).to_be_visible()
    assert page.get_by_role("heading", level=1).inner_text().split("-2024")[0]


def test_a_collection_tells_what_it_is_and_where_its_items_are(page, items, browser_url):
    page.goto(f"{browser_url}/collections/{COLLECTION}")
    expect(page.get_by_role("heading", level=1)).to_contain_text("HLSCloudFreeTemporalMosaic")
    expect(page.get_by_role("heading", name="Description")).to_be_visible()
    expect(page.locator("section.intro")).to_contain_text(USER)
    for item in items:
        expect(page.locator(".items").get_by_role("link", name=item)).to_be_visible()
    seen = until_drawn(page, "footprint", 300)
    assert seen["land"] > 1_000, seen


def test_the_images_of_a_collections_items_are_seen(page, items, browser_url):
    page.goto(f"{browser_url}/collections/{COLLECTION}")
    until_drawn(page, "image", 3_000)
    expect(page.locator(".items img").first).to_be_visible()


def test_an_item_shows_its_footprint_image_assets_and_properties(page, items, browser_url):
    with asked_of(page, "/tiles/WebMercatorQuad/") as tiles:
        page.goto(f"{browser_url}/collections/{COLLECTION}/items/{items[0]}")
        expect(page.get_by_role("heading", level=1)).to_have_text(items[0])
        for band in ("red", "green", "blue"):
            expect(page.locator(".assets").get_by_text(band, exact=False).first).to_be_visible()
        expect(page.locator(".metadata").get_by_text(USER).first).to_be_visible()
        until_drawn(page, "outline", 300)
        until_drawn(page, "image", 3_000)
    assert tiles
    assert all("assets=red" in tile and "rescale=" in tile for tile in tiles)


def test_one_asset_of_an_item_can_be_put_on_the_map(page, items, browser_url):
    page.goto(f"{browser_url}/collections/{COLLECTION}/items/{items[0]}")
    until_drawn(page, "outline", 300)
    page.locator(".assets").get_by_role("button").first.click()
    with page.expect_request(lambda one: "/tiles/WebMercatorQuad/" in one.url and "assets=green" not in one.url):
        page.get_by_role("button", name="Show on map").first.click()


def test_items_are_searched(page, items, browser_url):
    page.goto(f"{browser_url}/search")
    page.get_by_role("tab", name="Search for Items").click()
    page.get_by_text("Enter one or more Item IDs...").click()
    page.keyboard.type(items[0])
    page.keyboard.press("Enter")
    page.get_by_role("tabpanel").get_by_role("button", name="Submit").last.click()
    expect(page.locator(".items").get_by_role("link", name=items[0]).first).to_be_visible()
    until_drawn(page, "footprint", 100)


def test_where_a_page_comes_from_can_be_seen_without_asking_others(page, items, browser_url):
    page.goto(f"{browser_url}/collections/{COLLECTION}")
    page.get_by_role("button", name="Source").or_(page.locator("#popover-link-btn")).first.click()
    expect(page.locator("#popover-link")).to_contain_text(COLLECTION)


def test_it_is_known_to_be_there_by_those_who_start_the_stack(stack_commands, browser_url):
    parts = {part["name"]: part for part in stack_commands.status()["parts"]}
    assert (parts["browser"]["healthy"], parts["browser"]["remark"]) == (True, None)
