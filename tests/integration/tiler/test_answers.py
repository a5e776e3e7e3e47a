"""What the tiler answers when something is not as it should be, and what every answer carries."""

from __future__ import annotations

import json

import pytest
import requests

from tests.integration.tiler.conftest import BUCKET, CACHE_SECONDS, COLLECTION, eventually, job

TILE = f"/collections/{COLLECTION}/tiles/WebMercatorQuad/9/126/181.png"

pytestmark = pytest.mark.usefixtures("demo")


def problem(answer: requests.Response, status: int) -> str:
    """That it is a problem document of that status; gives its detail."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    document = answer.json()
    assert document["status"] == status
    assert "Traceback" not in answer.text
    return document["detail"]


@pytest.fixture
def item(demo):
    """The path of an item."""
    return f"/collections/{COLLECTION}/items/{demo[1, 10, 7]['id']}"


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/collections/no-such/tiles/WebMercatorQuad/0/0/0.png?assets=red", 404, "no-such"),
        ("/collections/no-such/WebMercatorQuad/tilejson.json?assets=red", 404, "no-such"),
        (f"/collections/{COLLECTION}/items/no-such/preview.png?assets=red", 404, "no-such"),
        ("{item}/preview.png?assets=infrared", 404, "infrared"),
        ("{item}/preview.png", 400, "assets"),
        ("{item}/point/0,0?assets=red", 404, "outside"),
        (f"{TILE}?assets=infrared", 404, "there are: blue, green, red"),
        (TILE, 400, "assets"),
        (f"{TILE}?assets=red&datetime=yesterday", 400, "datetime"),
        (f"{TILE}?assets=red&datetime=2024-07-01", 400, "datetime"),
        (f"{TILE}?assets=red&filter=((", 400, ""),
        (f"{TILE}?assets=red&ids=%00", 400, "search"),
        (f"{TILE}?assets=red&bbox=1,2", 400, "bbox"),
        (f"{TILE}?assets=red&rescale=low,high", 400, "rescale"),
        (f"{TILE}?assets=red&expression=b1**", 400, "expression"),
        (f"{TILE}?assets=red&colormap_name=no-such", 400, "colormap_name"),
        (f'{TILE}?assets=red&colormap=%7B"low":"black"%7D', 400, "colormap"),
        ("{item}/preview.png?assets=red|bidx=9", 400, "band"),
        ("{item}/bbox/nan,46,-92,45.png?assets=red", 400, "area"),
        ("{item}/bbox/-92,46,-92,46.png?assets=red", 400, "area"),
        ("{item}/statistics?assets=red&histogram_bins=9999999999", 400, "histogram_bins"),
        ("{item}/statistics?assets=red&p=999", 400, "p is 999"),
        ("/external/info?url=s3://x/y.tif", 404, "/external/info"),
        ("/external/tiles/WebMercatorQuad/0/0/0?url=file:///etc/hostname", 404, "nothing"),
        ("/searches/list", 404, "nothing"),
        ("/no-such", 404, "/no-such"),
    ],
)
def test_a_mistake_is_told(tiler, item, path, status, said):
    assert said in problem(tiler.get(path.replace("{item}", item)), status)


@pytest.mark.parametrize(
    "path",
    [
        "{item}/preview.png?assets=red&max_size=100000",
        "{item}/preview.png?assets=red&width=100000&height=100000",
        "{item}/preview.png?assets=red&height=2000",
        "{item}/preview.png?assets=red&max_size=-1",
        f"{TILE}?assets=red&tilesize=100000",
        f"{TILE}?assets=red&time_limit=3600",
        f"{TILE}?assets=red&buffer=100000",
        f"/collections/{COLLECTION}/bbox/-180,-80,180,80/30000x30000.png?assets=red",
        f"/collections/{COLLECTION}/bbox/-180,-80,180,80.png?assets=red&max_size=100000",
    ],
)
def test_what_would_fill_the_memory_is_refused(tiler, item, path):
    assert " at most" in (said := problem(tiler.get(path.replace("{item}", item)), 400)) or "together" in said


def test_the_whole_world_is_drawn_small(tiler):
    image = tiler.image(f"/collections/{COLLECTION}/bbox/-180,-80,180,80.png")
    assert max(image.shape) == 1024


def test_a_file_that_is_not_there_is_told(tiler):
    collection = tiler.new_collection()
    item = tiler.put_outputs(job(1, 10, 8), collection, folder="gone")
    item["assets"]["red"]["href"] = f"s3://{BUCKET}/no/such.tif"
    tiler.put_item(item)
    said = problem(tiler.get(f"/collections/{collection}/items/{item['id']}/preview.png", assets="red"), 404)
    assert f"s3://{BUCKET}/no/such.tif" in said


def test_it_started_before_its_database_and_said_so(tiler):
    assert tiler.first_health.status_code == 503
    assert "MAAP_STAC_TILER_PGUSER" in tiler.first_health.json()["database"]
    assert tiler.get("/healthz").json()["status"] == "well"


def test_it_outlives_a_restart_of_its_database(tiler):
    tiler.get(TILE, assets="red")
    tiler.database_gate.close()
    try:
        assert tiler.get("/healthz").status_code == 503
        assert tiler.get("/_mgmt/ping").status_code == 200
        # What is remembered is still shown for a second.
        (answer,) = eventually(lambda: [got for got in [tiler.get(TILE, assets="red")] if got.status_code != 200])
        assert "database" in problem(answer, 503)
        assert answer.headers["Retry-After"]
    finally:
        tiler.database_gate.open = True
    assert tiler.get("/healthz").status_code == 200
    eventually(lambda: tiler.get(TILE, assets="red").status_code == 200)


def test_it_outlives_an_outage_of_the_store(tiler, item):
    tiler.store_gate.close()
    try:
        assert "store" in problem(tiler.get(f"{item}/preview.png", assets="red"), 503)
        # Nothing would be a picture of nothing, and be kept.
        assert "store" in problem(tiler.get(TILE, assets="red"), 503)
    finally:
        tiler.store_gate.open = True
    assert tiler.get(f"{item}/preview.png", assets="red").status_code == 200
    assert tiler.get(TILE, assets="red").status_code == 200


def test_pictures_may_be_kept_for_a_while(tiler):
    assert tiler.get(TILE, assets="red").headers["Cache-Control"] == f"public, max-age={CACHE_SECONDS}"
    assert tiler.get("/healthz").headers["Cache-Control"] == "no-store"


def test_pages_of_other_addresses_may_show_it(tiler):
    answer = requests.get(tiler.url + TILE, {"assets": "red"}, headers={"Origin": "https://map.example"}, timeout=60)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_links_lead_to_where_people_came_from(tiler):
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "tiles.example.org"}
    path = f"/collections/{COLLECTION}/WebMercatorQuad/tilejson.json"
    answer = requests.get(tiler.url + path, {"assets": "red"}, headers=headers, timeout=60).json()
    assert answer["tiles"][0].startswith(f"https://tiles.example.org/collections/{COLLECTION}/tiles/")


def test_each_line_of_its_log_is_an_event(tiler):
    answer = requests.get(tiler.url + TILE, {"assets": "red"}, headers={"X-Request-ID": "from-me"}, timeout=60)
    assert answer.headers["X-Request-ID"] == "from-me"
    lines = eventually(
        lambda: (
            (read := [json.loads(line) for line in tiler.log.read_text().splitlines()])
            and any(line.get("request_id") == "from-me" for line in read)
            and read
        )
    )
    (line,) = [line for line in lines if line.get("request_id") == "from-me"]
    assert (line["event"], line["status"], line["path"]) == ("http.request", 200, TILE)
