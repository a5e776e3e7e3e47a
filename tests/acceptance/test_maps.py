"""Maps on the status pages as people use them, in a real browser: with the stack's tiler, and without one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from typing import Any
from urllib.parse import quote, urlsplit

import numpy
import psycopg
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from psycopg.types.json import Jsonb

from maap_stac_orchestration.demo.jobs import Box, DemoJob, Layout
from maap_stac_orchestration.demo.outputs import output_files
from maap_stac_orchestration.pgstac.collections import create_missing
from maap_stac_orchestration.pgstac.items import load
from tests.acceptance.client import StackClient
from tests.browser import OpenPage, chromium, open_page, violations
from tests.conftest import free_port
from tests.integration.api.conftest import Api, running
from tests.integration.pgstac.stac import item, new_collection

__all__ = ["chromium", "open_page"]

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}
#: Milliseconds in which a tile is made, on a machine that has much else to do.
TILE = 180_000

MONTHS = ("2024-06-10T00:00:00Z", "2024-07-10T00:00:00Z")
RENDERS = {"colour": {"title": "True colour", "assets": ["red", "green", "blue"], "rescale": [[0, 3000]]}}
EVERYWHERE = "/status/collections/everywhere"
GRID = "/status/collections/grid"


def shaped(id: str, geometry: dict[str, Any]) -> dict[str, Any]:
    return item(id, "everywhere") | {"geometry": geometry}


def square(west: float, south: float, east: float, north: float) -> list[list[list[float]]]:
    return [[[west, south], [east, south], [east, north], [west, north], [west, south]]]


@pytest.fixture
def filled(connection: psycopg.Connection[tuple[Any, ...]]) -> psycopg.Connection[tuple[Any, ...]]:
    create_missing(connection, [new_collection("grid"), new_collection("everywhere"), new_collection("pacific")])
    load(
        connection,
        "grid",
        [
            item(f"tile-{west}-{month[5:7]}", "grid", west=west, datetime=month)
            for west in (10, 11, 12)
            for month in MONTHS
        ],
    )
    load(
        connection,
        "everywhere",
        [
            shaped("point", {"type": "Point", "coordinates": [30, 50]}),
            shaped("track", {"type": "LineString", "coordinates": [[20, 50], [25, 55]]}),
            shaped("arctic", {"type": "Polygon", "coordinates": square(20, 84, 30, 90)}),
        ],
    )
    both = {"type": "MultiPolygon", "coordinates": [square(178, -19, 180, -16), square(-180, -19, -178, -16)]}
    load(connection, "pacific", [item("fiji", "pacific") | {"geometry": both}])
    connection.commit()
    return connection


@pytest.fixture
def api(database_env: dict[str, str], filled: Any) -> Iterator[Api]:
    with running(browser_url="http://browser.test") as started:
        yield started


@pytest.fixture
def without_tiler(database_env: dict[str, str], filled: psycopg.Connection[tuple[Any, ...]]) -> Iterator[Api]:
    """An application whose tiler does not run."""
    filled.execute(
        "UPDATE pgstac.collections SET content = content || %s WHERE id = 'grid'", (Jsonb({"renders": RENDERS}),)
    )
    filled.commit()
    with running(tiler_url=f"http://127.0.0.1:{free_port()}") as started:
        yield started


def drawn(page: Page, count: int) -> None:
    """Waits until so many footprints are drawn."""
    expect(page.locator(".chart .footprint")).to_have_count(count)
    expect(page.locator(".chart .land")).to_have_count(3)


def boxes(page: Page) -> list[dict[str, float]]:
    """Where the footprints are in the frame of the map, in pixels."""
    found: list[dict[str, float]] = page.evaluate(
        """() => {
            const frame = document.querySelector(".chart").getBoundingClientRect();
            return [...document.querySelectorAll(".chart .footprint")].map((one) => {
                const { x, y, width, height } = one.getBoundingClientRect();
                return { x: x - frame.x, y: y - frame.y, width, height };
            });
        }"""
    )
    return found


def test_a_map_draws_items_where_they_lie_and_asks_no_other_server(api: Api, open_page: OpenPage) -> None:
    page = open_page()
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    page.goto(api.url + GRID)
    drawn(page, 6)
    expect(page.locator("svg.map")).to_be_hidden()
    west, middle, east = sorted({round(one["x"]) for one in boxes(page)})
    assert middle - west == pytest.approx(east - middle, abs=3)
    expect(page.locator(".leaflet-control-attribution")).to_have_text("Coastlines: Natural Earth")
    expect(page.locator(".grid-label.meridian").filter(has_text="10° E")).to_be_visible()
    page.wait_for_timeout(500)
    assert asked == {urlsplit(api.url).netloc}


def test_a_month_is_chosen_without_loading_the_page_anew(api: Api, open_page: OpenPage) -> None:
    page = open_page()
    page.goto(api.url + GRID)
    drawn(page, 6)
    page.evaluate("window.marked = true")
    page.get_by_label("Month").select_option("June 2024")
    drawn(page, 3)
    expect(page).to_have_url(f"{api.url}{GRID}?month=2024-06")
    expect(page.get_by_text("3 items of this month, all on the map.")).to_be_visible()
    expect(page.locator("tr[data-item]")).to_have_count(3)
    page.get_by_label("Month").select_option("All months")
    drawn(page, 6)
    assert page.evaluate("window.marked === true")
    expect(page.locator(".chart")).to_have_count(1)


def test_a_map_takes_up_what_is_loaded_later(
    api: Api, filled: psycopg.Connection[tuple[Any, ...]], open_page: OpenPage
) -> None:
    page = open_page()
    page.goto(api.url + GRID)
    drawn(page, 6)
    load(filled, "grid", [item("new", "grid", west=13)])
    filled.commit()
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Resume").click()
    drawn(page, 7)


def test_a_click_tells_of_all_items_at_that_place(api: Api, open_page: OpenPage) -> None:
    page = open_page()
    page.goto(api.url + GRID)
    drawn(page, 6)
    page.locator(".chart .footprint").first.click(force=True)
    popup = page.locator(".leaflet-popup")
    expect(popup).to_contain_text("2 items here")
    expect(popup.get_by_role("link", name="STAC API")).to_have_count(2)
    link = popup.get_by_role("link", name="Browser").first.get_attribute("href")
    assert str(link).startswith("http://browser.test/collections/grid/items/tile-")
    assert violations(page) == ""


def test_an_item_in_the_table_is_marked_on_the_map(api: Api, open_page: OpenPage) -> None:
    page = open_page()
    page.goto(api.url + GRID)
    drawn(page, 6)
    page.locator("tr[data-item='grid/tile-11-06'] a").first.focus()
    expect(page.locator(".chart .footprint.marked")).to_have_count(1)
    page.locator("tr[data-item='grid/tile-12-06']").hover()
    expect(page.locator(".chart .footprint.marked")).to_have_count(1)


def test_points_lines_and_what_reaches_a_pole_are_drawn(api: Api, open_page: OpenPage) -> None:
    page = open_page()
    page.goto(api.url + EVERYWHERE)
    drawn(page, 3)
    height = page.locator(".chart").evaluate("(one) => one.clientHeight")
    for box in boxes(page):
        assert box["width"] > 0
        assert -1 <= box["y"] <= box["y"] + box["height"] <= height + 1


def test_what_crosses_the_antimeridian_is_drawn_in_one_piece(api: Api, open_page: OpenPage) -> None:
    page = open_page()
    page.goto(f"{api.url}/status/collections/pacific")
    drawn(page, 1)
    [box] = boxes(page)
    # 4° wide and 3° high; cut apart it would reach around the world.
    assert 0.8 < box["width"] / box["height"] < 2
    expect(page.locator(".grid-label.meridian").filter(has_text="180°")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_pages_with_maps(api: Api, open_page: OpenPage, scheme: str) -> None:
    page = open_page(color_scheme=scheme)
    for address, count in ((GRID, 6), (EVERYWHERE, 3)):
        page.goto(api.url + address)
        drawn(page, count)
        assert violations(page) == "", address
    page.goto(f"{api.url}/status/collections")
    assert violations(page) == ""
    page.set_viewport_size(PHONE)
    page.goto(api.url + GRID)
    drawn(page, 6)
    assert violations(page) == "", "on a phone"


def test_nothing_sticks_out_on_a_phone(api: Api, open_page: OpenPage) -> None:
    page = open_page(viewport=PHONE)
    for address in (GRID, EVERYWHERE, "/status/collections"):
        page.goto(api.url + address)
        if address != "/status/collections":
            expect(page.locator(".chart .footprint").first).to_be_attached()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], address


def test_the_keyboard_moves_and_enlarges_the_map(api: Api, open_page: OpenPage) -> None:
    page = open_page()
    page.goto(api.url + GRID)
    drawn(page, 6)
    scale = page.locator(".leaflet-control-scale-line")
    before = scale.text_content()
    page.get_by_role("region", name="Map of the items").focus()
    page.keyboard.press("+")
    expect(scale).not_to_have_text(str(before))


def test_without_a_script_a_picture_says_the_same(api: Api, open_page: OpenPage) -> None:
    page = open_page(java_script_enabled=False)
    page.goto(api.url + GRID)
    expect(page.get_by_role("img", name="Items lie between 10° E and 13° E, 0° and 1° N.")).to_be_visible()
    assert page.locator("svg.map rect").count() == 6
    page.get_by_label("Month").select_option("June 2024")
    page.get_by_role("button", name="Show").click()
    expect(page).to_have_url(f"{api.url}{GRID}?month=2024-06")
    assert page.locator("svg.map rect").count() == 3


def test_without_its_tiler_a_map_keeps_its_footprints_and_says_so(without_tiler: Api, chromium: Browser) -> None:
    # The browser notes on its console that it reached nobody, so nobody listens here.
    page = chromium.new_page()
    page.goto(without_tiler.url + GRID)
    drawn(page, 6)
    note = page.locator(".map-note")
    expect(note).to_contain_text("No tile of the mosaic came")
    page.get_by_label("Mosaic: True colour").uncheck()
    expect(note).to_be_hidden()
    drawn(page, 6)
    page.close()


def test_nothing_that_people_wrote_into_a_collection_runs(
    api: Api, filled: psycopg.Connection[tuple[Any, ...]], open_page: OpenPage
) -> None:
    markup = "\"><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    load(filled, "grid", [item(markup.replace("/", "|"), "grid", west=20)])
    words = {"title": f"Grid {markup}", "description": markup, "keywords": [markup]}
    filled.execute("UPDATE pgstac.collections SET content = content || %s WHERE id = 'grid'", (Jsonb(words),))
    filled.commit()
    page = open_page()
    page.goto(api.url + GRID)
    drawn(page, 7)
    page.locator("tr[data-item]").filter(has_text="script").hover()
    page.locator(".chart .footprint.marked").click(force=True)
    expect(page.locator(".leaflet-popup strong")).to_contain_text("<script>")
    assert not page.title().startswith("owned")
    assert page.locator("img[src=x]").count() == 0


@pytest.mark.stack
def test_the_mosaic_of_the_stacks_tiler_is_on_the_maps(stack: dict[str, Any], open_page: OpenPage) -> None:
    client, now = StackClient(stack), datetime.now(UTC)
    job = DemoJob(Box(0, 10), 2024, 6, Layout.OLDER, tag="maps")
    prefix = job.prefix(now)
    # The catalog last, since it is what tells that the others are there.
    for file in sorted(output_files(job, now), key=lambda one: one.name == "catalog.json"):
        client.put(prefix + file.name, file.data)
    client.await_jobs([prefix], timeout=300)
    with psycopg.connect(stack["database_url"]) as connection:
        [(collection,)] = connection.execute(
            "SELECT collection FROM pgstac.items WHERE content->'properties'->>'maap:job_prefix' = %s", (prefix,)
        ).fetchall()
        connection.execute(
            "UPDATE pgstac.collections SET content = content || %s WHERE id = %s",
            (Jsonb({"renders": RENDERS}), collection),
        )
    page = open_page()
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    for address in (f"/status/{quote(prefix, safe='')}", f"/status/collections/{quote(collection, safe='')}"):
        page.goto(stack["api_url"] + address)
        drawn(page, 1)
        expect(page.locator(".mosaic img.leaflet-tile-loaded[src]").first).to_be_visible(timeout=TILE)
        expect(page.locator(".layers")).not_to_contain_text("being made", timeout=TILE)
        assert colours_in_the_middle(page) > 20, "an image of the ground, not the colour of the map"
        page.get_by_label("Mosaic: True colour").uncheck()
        expect(page.locator(".mosaic")).to_have_count(0)
        assert colours_in_the_middle(page) < 20
        expect(page.locator("img.preview").first).to_be_visible()
    assert hosts == {urlsplit(stack["api_url"]).netloc, urlsplit(stack["tiler_url"]).netloc}
    [tilejson] = [one for one in page.locator(".command code").all_text_contents() if "tilejson" in one]
    assert json.loads(page.request.get(tilejson).text())["tiles"]


def colours_in_the_middle(page: Page) -> int:
    """How many colours there are within the footprint."""
    picture = Image.open(BytesIO(page.locator(".chart").screenshot())).convert("RGB")
    width, height = picture.size
    middle = picture.crop((width // 2 - 50, height // 2 - 50, width // 2 + 50, height // 2 + 50))
    return len(numpy.unique(numpy.asarray(middle).reshape(-1, 3), axis=0))
