"""Boxes across the antimeridian mean the narrow strip, and items with a range of time are valid STAC."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
import requests
from psycopg.types.json import Jsonb
from pystac_client import Client

from maap_stac_orchestration.catalog.schema import core_errors
from tests.integration.api.conftest import Api

PLACES = {"fiji": (179.5, -17.0), "samoa": (-172.0, -13.8), "greenwich": (0.0, 51.5), "antimeridian": (180.0, -16.5)}


@pytest.fixture(scope="module")
def client(shared_api: Api, shared_database: str) -> Iterator[Client]:
    collection = {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": "islands",
        "description": "Points near the antimeridian, and one far from it",
        "license": "other",
        "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
        "links": [],
    }
    items = [
        {
            "type": "Feature",
            "stac_version": "1.1.0",
            "id": name,
            "collection": "islands",
            "geometry": {"type": "Point", "coordinates": [x, y]},
            "bbox": [x, y, x, y],
            "properties": {"datetime": "2024-06-01T00:00:00Z"},
            "links": [],
            "assets": {},
        }
        for name, (x, y) in PLACES.items()
    ]
    items[0]["properties"] = {
        "datetime": None,
        "start_datetime": "2024-06-01T00:00:00Z",
        "end_datetime": "2024-06-30T00:00:00Z",
    }
    with psycopg.connect(shared_database) as connection:
        connection.execute("SELECT pgstac.create_collection(%s)", (Jsonb(collection),))
        connection.execute("SELECT pgstac.create_items(%s)", (Jsonb(items),))
    try:
        yield Client.open(shared_api.url)
    finally:
        with psycopg.connect(shared_database) as connection:
            connection.execute("SELECT pgstac.delete_collection('islands')")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("bbox", "found"),
    [
        ([179, -20, -170, -10], {"fiji", "samoa", "antimeridian"}),
        ([179, -20, -179, -10], {"fiji", "antimeridian"}),
        ([179, -20, 0, -179, -10, 100], {"fiji", "antimeridian"}),
        ([-179, -20, 179, 60], {"samoa", "greenwich"}),
        ([10, 40, -10, 60], set()),
    ],
)
def test_a_box_across_the_antimeridian_finds_what_lies_in_the_strip(
    client: Client, method: str, bbox: list[float], found: set[str]
) -> None:
    search = client.search(method=method, collections=["islands"], bbox=bbox)
    assert {item.id for item in search.items()} == found


def test_pages_of_such_a_search_follow_each_other(client: Client) -> None:
    search = client.search(collections=["islands"], bbox=[179, -20, -170, -10], limit=1)
    assert sorted(item.id for item in search.items()) == ["antimeridian", "fiji", "samoa"]


def test_the_items_of_a_collection_are_filtered_alike(client: Client, shared_api: Api) -> None:
    answer = requests.get(
        f"{shared_api.url}/collections/islands/items", params={"bbox": "179,-20,-179,-10"}, timeout=30
    ).json()
    assert {item["id"] for item in answer["features"]} == {"fiji", "antimeridian"}


@pytest.mark.parametrize("path", ["/collections/islands/items/fiji", "/search?ids=fiji", "/collections/islands/items"])
def test_an_item_with_a_range_of_time_keeps_the_null_that_stac_requires(
    client: Client, shared_api: Api, path: str
) -> None:
    document = requests.get(shared_api.url + path, timeout=30).json()
    (item,) = [one for one in document.get("features", [document]) if one["id"] == "fiji"]
    assert item["properties"]["datetime"] is None
    assert core_errors(item) == []


def test_who_names_fields_gets_those(client: Client) -> None:
    search = client.search(ids=["fiji"], fields=["id", "properties.end_datetime"])
    (item,) = search.items_as_dicts()
    assert "datetime" not in item["properties"]
