"""The STAC API as pystac-client and a browser use it."""

from __future__ import annotations

import gzip
import json
from copy import deepcopy
from datetime import UTC, datetime

import psycopg
import pytest
import requests
from psycopg.types.json import Jsonb
from pystac_client import Client

from maap_stac_orchestration.demo import outputs
from maap_stac_orchestration.demo.jobs import demo_jobs
from tests.integration.api.conftest import Api

COLLECTION = "henrydevseed__HLSCloudFreeTemporalMosaic__v0.1.1__demo"


@pytest.fixture(scope="module")
def api(shared_api: Api) -> Api:
    return shared_api


@pytest.fixture(scope="module", autouse=True)
def mosaics(shared_database: str) -> list[str]:
    """Two collections, one of them with the demo's items of June and July; gives the items' ids."""
    jobs = [job for job in demo_jobs() if job.month in (6, 7)]
    items = []
    for job in jobs:
        files = outputs.output_files(job, datetime(2026, 1, 1, tzinfo=UTC), size=16)
        item = json.loads(next(file.data for file in files if file.name.startswith(job.item_id)))
        items.append({**deepcopy(item), "collection": COLLECTION, "links": []})
    with psycopg.connect(shared_database) as connection:
        for identifier in (COLLECTION, "jsmith--flood-catalog-2025"):
            collection = {
                "type": "Collection",
                "stac_version": "1.1.0",
                "id": identifier,
                "description": f"Outputs in {identifier}",
                "license": "other",
                "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
                "links": [],
            }
            connection.execute("SELECT pgstac.create_collection(%s)", (Jsonb(collection),))
        connection.execute("SELECT pgstac.create_items(%s)", (Jsonb(items),))
    return [job.item_id for job in jobs]


@pytest.fixture
def client(api) -> Client:
    return Client.open(api.url)


def test_a_user_finds_their_collections_by_name(client):
    found = client.collection_search(q="henrydevseed").collections()
    assert [collection.id for collection in found] == [COLLECTION]


def test_a_day_finds_the_items_whose_range_covers_it(client, mosaics):
    found = client.search(collections=[COLLECTION], datetime="2024-06-01").item_collection()
    assert sorted(item.id for item in found) == sorted(mosaics[:12])


def test_pages_follow_one_another_until_the_end(client, mosaics):
    found = client.search(collections=[COLLECTION], limit=5)
    pages = [len(page) for page in found.pages_as_dicts() for page in [page["features"]]]
    assert pages == [5, 5, 5, 5, 4]


@pytest.mark.filterwarnings("error::pystac_client.warnings.DoesNotConformTo")
def test_items_are_filtered_sorted_and_cut_to_fields(client):
    found = list(
        client.search(
            collections=[COLLECTION],
            filter={"op": ">=", "args": [{"property": "start_datetime"}, "2024-07-01T00:00:00Z"]},
            filter_lang="cql2-json",
            sortby="-id",
            fields=["id", "properties.datetime"],
        ).items_as_dicts()
    )
    assert len(found) == 12
    assert [item["id"] for item in found] == sorted((item["id"] for item in found), reverse=True)
    assert "assets" not in found[0]


def test_the_conformance_classes_of_every_extension_are_told(client):
    conformance = client.get_conforms_to()
    for part in (
        "item-search",
        "item-search#filter",
        "item-search#sort",
        "item-search#fields",
        "item-search#query",
        "collection-search",
        "collection-search#free-text",
        "collection-search#filter",
        "collection-search#sort",
        "collection-search#fields",
        "ogcapi-features",
    ):
        assert any(one.endswith(part) for one in conformance), part
    # Of transactions, those of collections alone; see test_collection_transactions.
    (writing,) = [one for one in conformance if "transaction" in one]
    assert writing.endswith("/collections/extensions/transaction")


def test_the_landing_page_says_what_this_is(api):
    landing = api.get("/").json()
    assert (landing["id"], landing["title"]) == ("maap-stac", "MAAP STAC")


@pytest.mark.parametrize(
    ("method", "path", "statuses"),
    [
        ("POST", "/collections", {401}),
        ("PUT", f"/collections/{COLLECTION}", {401}),
        ("PATCH", f"/collections/{COLLECTION}", {401}),
        ("DELETE", f"/collections/{COLLECTION}", {401}),
        ("POST", f"/collections/{COLLECTION}/items", {404, 405}),
        ("POST", f"/collections/{COLLECTION}/bulk_items", {404, 405}),
    ],
)
def test_a_stranger_can_write_nothing_and_nobody_can_write_items(api, method, path, statuses):
    answer = requests.request(method, api.url + path, json={}, timeout=10)
    assert answer.status_code in statuses
    assert api.get(f"/collections/{COLLECTION}").status_code == 200


def test_not_even_where_the_environment_asks_for_it(start_api, monkeypatch):
    monkeypatch.setenv("ENABLE_TRANSACTIONS_EXTENSIONS", "true")
    api = start_api()
    assert requests.post(f"{api.url}/collections", json={}, timeout=10).status_code == 401
    assert requests.post(f"{api.url}/collections/{COLLECTION}/items", json={}, timeout=10).status_code == 405


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/collections/no-such-collection", 404),
        (f"/collections/{COLLECTION}/items/no-such-item", 404),
        ("/no/such/path", 404),
        ("/search?limit=many", 400),
        ("/search?datetime=yesterday", 400),
        ("/search?bbox=1,2", 400),
    ],
)
def test_an_error_is_a_problem_document_that_stac_clients_read_too(api, path, status):
    answer = requests.get(api.url + path, timeout=10)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["instance"] == path.partition("?")[0]
    assert problem["detail"] == problem["description"]
    assert problem["code"]


def test_a_page_of_another_origin_may_read(api):
    answer = requests.get(api.url, headers={"Origin": "https://browser.example"}, timeout=10)
    assert answer.headers["access-control-allow-origin"] == "*"
    asked = requests.options(
        f"{api.url}/search",
        headers={
            "Origin": "https://browser.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
        },
        timeout=10,
    )
    assert asked.status_code == 200


def test_long_answers_are_compressed(api):
    answer = requests.get(f"{api.url}/api", headers={"Accept-Encoding": "gzip"}, stream=True, timeout=10)
    assert answer.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(answer.raw.read()))["info"]["title"] == "MAAP STAC"


def test_links_lead_to_the_address_that_a_proxy_names(api):
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "stac.example"}
    landing = requests.get(api.url, headers=headers, timeout=10).json()
    assert all(link["href"].startswith("https://stac.example") for link in landing["links"] if link["rel"] == "self")


def test_the_openapi_document_describes_every_route(api):
    paths = api.get("/api").json()["paths"]
    for path in ("/search", "/collections", "/jobs", "/jobs/summary", "/jobs/{prefix}", "/_mgmt/health", "/_mgmt/ping"):
        assert path in paths
    assert api.get("/api.html").status_code == 200
