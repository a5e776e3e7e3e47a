"""Pages of collections, and maps on pages, as they come over HTTP: what they tell, and what they take for text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, urlsplit

import psycopg
import pytest
import requests
from psycopg.types.json import Jsonb

from maap_stac_orchestration.ledger import collections as ledger_collections
from maap_stac_orchestration.pgstac.collections import create_missing
from maap_stac_orchestration.pgstac.items import load
from tests.conftest import MotoStore
from tests.integration.api.callers import signed_in
from tests.integration.api.conftest import Api, running
from tests.integration.api.ledger_of_jobs import Known, fill
from tests.integration.api.test_pages import POLICY, Reader, path, read
from tests.integration.pgstac.stac import item, new_collection

DEFAULT = "henrydevseed__HLSCloudFreeTemporalMosaic__v0.1.1__demo"
RENDERS = {"colour": {"title": "True colour", "assets": ["red", "green", "blue"], "rescale": [[0, 3000]]}}

MARKUP = "\"><script>document.title='owned'</script><img src=x onerror=alert(1)>"


@dataclass(frozen=True)
class World:
    """What there is to look at."""

    api: Api
    jobs: Known


def describe(connection, id, **fields):
    connection.execute("UPDATE pgstac.collections SET content = content || %s WHERE id = %s", (Jsonb(fields), id))


@pytest.fixture(scope="module")
def world(shared_database: str) -> Iterator[World]:
    with psycopg.connect(shared_database) as connection:
        jobs = fill(connection, more=2, items=3)
        names = (DEFAULT, "pacific", "hostile", "poles", "large", "empty", "plain")
        create_missing(connection, [new_collection(name) for name in names])
        for name in names:
            ledger_collections.register(connection, name, owner="henrydevseed", job_id=None)
        load(
            connection,
            DEFAULT,
            [
                item("mosaic-T34", DEFAULT, west=10, datetime="2024-06-10T00:00:00Z"),
                item("mosaic-T35", DEFAULT, west=12, datetime="2024-07-10T00:00:00Z"),
                item("mosaic-T99", DEFAULT, west=14, datetime="2023-07-10T00:00:00Z"),
            ],
        )
        describe(connection, DEFAULT, renders=RENDERS)
        split = [[[[w, 0], [w + 1, 0], [w + 1, 1], [w, 1], [w, 0]]] for w in (179, -180)]
        load(
            connection,
            "pacific",
            [item("fiji", "pacific") | {"geometry": {"type": "MultiPolygon", "coordinates": split}}],
        )
        north = [[[0, 86], [5, 86], [5, 89], [0, 89], [0, 86]]]
        load(connection, "poles", [item("pole", "poles") | {"geometry": {"type": "Polygon", "coordinates": north}}])
        load(connection, "hostile", [item("plain", "hostile"), item(MARKUP.replace("/", "|"), "hostile", west=5)])
        describe(
            connection,
            "hostile",
            title=MARKUP,
            description=f"# {MARKUP}\n\n[click](javascript:alert(1))",
            keywords=[MARKUP, 5, None],
            providers=[{"name": MARKUP, "url": "javascript:alert(1)", "roles": [MARKUP]}],
            license=MARKUP,
            renders={MARKUP: {"title": MARKUP, "assets": [MARKUP, "{z}"]}},
        )
        load(connection, "large", [item(f"tile-{n:04}", "large", west=n % 170) for n in range(1_200)])
        load(connection, "plain", [item("one", "plain")])
        ledger_collections.register(connection, "gone", owner="ana", job_id=None)
        ledger_collections.delete(connection, "gone", by="ana")
        ledger_collections.register(connection, "old", owner="ana", job_id=None)
        ledger_collections.delete(connection, "old", by="ana", moved_to="plain")
        connection.commit()
    with running(
        browser_url="http://browser.test/",
        tiler_url="https://tiles.test:8443/stac/",
        basemap_url="https://base.test/{z}/{x}/{y}.png",
        basemap_attribution="© <b>Base</b>",
    ) as api:
        yield World(api, jobs)


def footprints(world, **asked):
    answer = world.api.get("/status/footprints", **asked)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/geo+json"
    return answer.json()


# One collection


def test_a_collection_is_told_with_whose_it_is_where_and_when_and_where_to_look_at_it(world):
    page = read(world.api, f"/status/collections/{DEFAULT}")
    assert "HLSCloudFreeTemporalMosaic v0.1.1, demo (henrydevseed)" in page.text
    assert "Belongs to henrydevseed" in page.text
    assert "Where its items lie 3 All are on the map." in page.text
    assert "Items lie between 10° E and 15° E, 0° and 1° N." in page.text
    assert page.all("a", href=f"/collections/{DEFAULT}")
    assert page.all("a", href=f"http://browser.test/collections/{DEFAULT}")
    assert page.all("a", href=f"/status/jobs?collection={DEFAULT}")
    assert page.all(
        "a", href="/status/jobs?username=henrydevseed&algorithm=HLSCloudFreeTemporalMosaic&version=v0.1.1&tag=demo"
    )
    assert page.all("a", href=f"/collections/{DEFAULT}/items/mosaic-T35")
    assert page.all("a", href=f"http://browser.test/collections/{DEFAULT}/items/mosaic-T35")
    assert "True colour" in page.text


def test_its_mosaic_is_there_for_other_maps(world):
    page = read(world.api, f"/status/collections/{DEFAULT}")
    base = f"https://tiles.test:8443/stac/collections/{DEFAULT}"
    query = "?assets=red&assets=green&assets=blue&rescale=0,3000"
    assert f"{base}/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}{query}" in page.text
    assert f"{base}/WebMercatorQuad/tilejson.json{query}" in page.text
    [box] = page.all("input", type="checkbox")
    assert str(box["data-tiles"]).startswith(base)


def test_a_month_is_chosen_for_items_map_and_mosaic_alike(world):
    page = read(world.api, f"/status/collections/{DEFAULT}?month=2024-06")
    months = [one["value"] for one in page.all("option")]
    assert months == ["", "2024-07", "2024-06", "2023-07"]
    assert [one["value"] for one in page.all("option") if "selected" in one] == ["2024-06"]
    assert "1 item of this month, all on the map." in page.text
    assert [one["data-item"] for one in page.all("tr") if "data-item" in one] == [f"{DEFAULT}/mosaic-T34"]
    [box] = page.all("input", type="checkbox")
    query = parse_qs(urlsplit(str(box["data-tiles"])).query)
    assert query["datetime"] == ["2024-06-01T00:00:00Z/2024-06-30T23:59:59Z"]
    [figure] = page.all("figure")
    found = world.api.get(str(figure["data-footprints"])).json()
    assert [one["properties"]["title"] for one in found["features"]] == ["mosaic-T34"]


def test_a_month_without_items_says_so(world):
    page = read(world.api, f"/status/collections/{DEFAULT}?month=1999-01")
    assert "There are none in this month." in page.text
    assert [one["value"] for one in page.all("option") if "selected" in one] == ["1999-01"]
    assert not page.all("figure")


@pytest.mark.parametrize("month", ["2024-13", "0000-01", "2024", "June", "2024-1", "٢٠٢٤-٠٦"])
def test_a_month_that_cannot_be_is_a_page_that_says_how_to_write_one(world, month):
    assert "2024-06" in read(world.api, f"/status/collections/{DEFAULT}?month={quote(month)}", 400).text


def test_a_large_collection_shows_the_newest_and_counts_the_rest(world):
    page = read(world.api, "/status/collections/large")
    assert "The newest 1,000 of 1,200 are on the map." in page.text
    assert "1,150 more items." in page.text
    assert len(page.all("tr")) == 51
    assert len(page.all("rect")) == 250
    assert len(footprints(world, collection="large")["features"]) == 1_000


def test_a_collection_without_items_or_renders_has_neither_map_nor_mosaic(world):
    page = read(world.api, "/status/collections/empty")
    assert "There are none yet." in page.text
    assert not page.all("figure")
    page = read(world.api, "/status/collections/plain")
    assert page.all("figure")
    assert not page.all("input", type="checkbox")
    assert not page.all("img", **{"class": "preview"})


def test_an_unknown_collection_is_a_page_and_a_deleted_one_says_what_became_of_it(world):
    assert "There is no collection nothing-like-it." in read(world.api, "/status/collections/nothing-like-it", 404).text
    assert "gone was deleted by ana" in read(world.api, "/status/collections/gone", 404).text
    assert "The items of old were moved to plain by ana" in read(world.api, "/status/collections/old", 404).text
    assert read(world.api, "/status/collections/%00", 404)


# Maps


def test_footprints_are_geojson_with_where_each_item_is_found(world):
    found = footprints(world, collection=DEFAULT)
    assert found["type"] == "FeatureCollection"
    assert found["view"] == [0, 10, 1, 15]
    newest = found["features"][0]
    assert newest["geometry"]["type"] == "Polygon"
    assert newest["properties"] == {
        "title": "mosaic-T35",
        "time": "2024-07-10",
        "result": None,
        "api": f"/collections/{DEFAULT}/items/mosaic-T35",
        "browser": f"http://browser.test/collections/{DEFAULT}/items/mosaic-T35",
        "preview": f"https://tiles.test:8443/stac/collections/{DEFAULT}/items/mosaic-T35/preview.png"
        "?assets=red&assets=green&assets=blue&rescale=0,3000&max_size=256",
    }


def test_a_job_shows_its_own_items_with_what_became_of_them_and_their_mosaic(world):
    page = read(world.api, path(world.jobs.loaded))
    [figure] = page.all("figure")
    found = world.api.get(str(figure["data-footprints"])).json()
    assert {one["id"]: one["properties"]["result"] for one in found["features"]} == {
        f"{DEFAULT}/mosaic-T34": "loaded",
        f"{DEFAULT}/mosaic-T35": "loaded",
    }
    [box] = page.all("input", type="checkbox")
    query = parse_qs(urlsplit(str(box["data-tiles"])).query)
    assert query["ids"] == ["mosaic-T35,mosaic-T34"]
    assert query["assets"] == ["red", "green", "blue"]
    [drawn] = page.all("svg", role="img")
    assert drawn["aria-label"] == "Items lie between 10° E and 13° E, 0° and 1° N."
    assert page.all("a", href=f"/status/collections/{DEFAULT}")
    assert page.all("img", src=found["features"][0]["properties"]["preview"])


def test_a_list_of_jobs_leads_to_their_collections(world):
    assert read(world.api, "/status/jobs").all("a", href=f"/status/collections/{DEFAULT}")


def test_what_crosses_the_antimeridian_is_shown_in_one_piece(world):
    page = read(world.api, "/status/collections/pacific")
    [drawn] = page.all("svg", role="img")
    assert drawn["aria-label"] == "Items lie between 179° E and 179° W, 0° and 1° N."
    assert len(page.all("rect")) == 1
    assert footprints(world, collection="pacific")["view"] == [0, 179, 1, 181]


def test_what_lies_where_the_map_ends_is_told(world):
    assert "1 footprint so near to a pole" in read(world.api, "/status/collections/poles").text


def test_footprints_that_did_not_change_are_not_sent_again(world):
    address = f"{world.api.url}/status/footprints?collection={DEFAULT}"
    first = requests.get(address, timeout=10)
    again = requests.get(address, headers={"If-None-Match": first.headers["etag"]}, timeout=10)
    assert again.status_code == 304


@pytest.mark.parametrize(
    "query",
    ["", "prefix=a&collection=b", "prefix=a&month=2024-06", "collection=plain&month=2024-13", "collection=plain&x=1"],
)
def test_footprints_of_nobody_are_a_problem_document(world, query):
    headers = {"Accept": "application/geo+json"}
    answer = requests.get(f"{world.api.url}/status/footprints?{query}", headers=headers, timeout=10)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("query", ["collection=nothing-like-it", "prefix=nobody/dps_output/x"])
def test_footprints_of_what_is_not_known_are_not_found(world, query):
    headers = {"Accept": "application/geo+json"}
    answer = requests.get(f"{world.api.url}/status/footprints?{query}", headers=headers, timeout=10)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


# What may be loaded, and what is text


def test_a_page_with_a_map_loads_scripts_and_styles_from_here_and_pictures_from_where_they_are_made(world):
    answer = requests.get(f"{world.api.url}/status/collections/{DEFAULT}", timeout=10)
    policy = dict(part.split(" ", 1) for part in answer.headers[POLICY].split("; "))
    assert policy["default-src"] == "'self'"
    assert policy["img-src"] == "'self' https://tiles.test:8443 https://base.test data:"
    assert not {"script-src", "style-src", "connect-src", "worker-src"} & policy.keys()
    page = Reader(answer.text)
    loaded = [
        *(one.get("src") for one in page.all("script")),
        *(one["href"] for one in page.all("link", rel="stylesheet")),
        *(one["data-land"] for one in page.all("figure")),
    ]
    assert len(loaded) == 6
    for one in loaded:
        assert str(one).startswith("/status/static/")
        file = requests.get(world.api.url + str(one), timeout=10)
        assert file.status_code == 200
        assert "immutable" in file.headers["cache-control"]
    [figure] = page.all("figure")
    assert figure["data-basemap"] == "https://base.test/{z}/{x}/{y}.png"
    assert figure["data-basemap-source"] == "© <b>Base</b>"


def test_the_style_sheet_of_the_map_finds_its_pictures(world):
    [sheet] = [
        str(one["href"])
        for one in read(world.api, f"/status/collections/{DEFAULT}").all("link")
        if "leaflet" in str(one)
    ]
    picture = sheet.rpartition("/")[0] + "/images/layers.png"
    answer = requests.get(world.api.url + picture, timeout=10)
    assert answer.headers["content-type"] == "image/png"
    assert answer.status_code == 200


def test_what_people_wrote_into_a_collection_is_text_and_nothing_else(world):
    page = read(world.api, "/status/collections/hostile")
    assert "<script>document.title='owned'</script>" in page.text
    assert "[click](javascript:alert(1))" in page.text
    assert all(str(script.get("src")).startswith("/status/static/") for script in page.all("script"))
    assert not page.all("img", src="x")
    for _, attributes in page.elements:
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        assert not str(attributes.get("href")).startswith("javascript:")
    for address in ("/status/collections", "/status/collections?q=%22%3E%3Cscript%3E"):
        listed = read(world.api, address)
        assert all(str(script.get("src")).startswith("/status/static/") for script in listed.all("script"))


def test_footprints_of_hostile_items_are_data(world):
    answer = world.api.get("/status/footprints", collection="hostile")
    assert answer.headers["x-content-type-options"] == "nosniff"
    titles = {one["properties"]["title"] for one in json.loads(answer.text)["features"]}
    assert MARKUP.replace("/", "|") in titles
    for one in answer.json()["features"]:
        assert urlsplit(one["properties"]["api"]).path.startswith("/collections/hostile/items/")
        assert "<" not in one["properties"]["preview"]


# All collections


def test_collections_are_listed_with_their_owners_and_filtered(world):
    page = read(world.api, "/status/collections")
    assert "7 collections shown" in page.text
    assert page.all("a", href=f"/status/collections/{DEFAULT}")
    assert "gone" not in page.text
    assert "1 collection shown" in read(world.api, "/status/collections?q=PACIFIC").text
    assert "No collection fits." in read(world.api, "/status/collections?q=nothing").text
    assert "There are no more collections." in read(world.api, "/status/collections?after=zzz").text
    assert read(world.api, "/status/collections?q=a%00b", 400)
    assert read(world.api, "/status/collections?colour=red", 400)


def test_lists_of_collections_lead_on(database_env, connection, object_store: MotoStore, start_api):
    create_missing(connection, [new_collection(f"things-{number:03}") for number in range(60)])
    connection.commit()
    api = start_api(buckets=(object_store.bucket,))
    page = read(api, "/status/collections?q=things")
    assert "50 collections shown, there are more" in page.text
    [following] = page.all("a", rel="next")
    page = read(api, str(following["href"]))
    assert "10 collections shown" in page.text
    assert page.all("a", rel="prev", href="/status/collections?q=things")


# Who may read


def test_maps_are_closed_with_the_rest(database_env, connection, object_store: MotoStore, start_api):
    create_missing(connection, [new_collection("plain")])
    load(connection, "plain", [item("one", "plain")])
    connection.commit()
    api = start_api(buckets=(object_store.bucket,), open_reading=False)
    for address in ("/status/collections", "/status/collections/plain", "/status/footprints?collection=plain"):
        assert requests.get(api.url + address, timeout=10).status_code == 401
    reader = signed_in(api, connection, "ana", admin=False)
    assert reader("GET", "/status/footprints?collection=plain").status_code == 200
