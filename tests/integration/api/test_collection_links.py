"""Links that collections are served with: to pages, jobs, mosaic and licence, made anew for each answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import requests
from psycopg.types.json import Jsonb

from maap_stac_orchestration.api.collection_links import served_links
from maap_stac_orchestration.catalog.curated import SERVED, curated_collection
from tests.integration.api.conftest import Api

ID = "ana__flood map__v1"
TILER = "https://tiles.example/tiler"
ALGORITHM = "https://repo.example/{algorithm}/-/tree/{version}"


def collection(**changed: Any) -> dict[str, Any]:
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": ID,
        "description": "Floods",
        "license": "CC-BY-4.0",
        "extent": {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [[None, None]]}},
        "links": [],
        "maap:username": "ana",
        "maap:algorithm": "flood map",
        "maap:algorithm_version": "v1",
        "renders": {
            "nbr": {"assets": ["nir"]},
            "true-color": {"title": "True colour", "assets": ["red", "green", "blue"], "rescale": [[0, 3000]] * 3},
        },
        **changed,
    }


def links(**changed: Any) -> dict[str, str]:
    served = served_links(collection(**changed), "https://stac.example/root/", tiler=TILER, algorithm=ALGORITHM)
    return {link["rel"]: link["href"] for link in served}


def test_a_collection_leads_to_its_pages_jobs_algorithm_mosaic_and_licence() -> None:
    tiles = f"{TILER}/collections/ana__flood%20map__v1"
    query = "assets=red&assets=green&assets=blue&rescale=0,3000&rescale=0,3000&rescale=0,3000"
    assert links() == {
        "related": "https://stac.example/root/status/collections/ana__flood%20map__v1",
        "via": "https://stac.example/root/status/jobs?username=ana&algorithm=flood+map&version=v1",
        "processing-software": "https://repo.example/flood%20map/-/tree/v1",
        "xyz": f"{tiles}/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}?{query}",
        "tilejson": f"{tiles}/WebMercatorQuad/tilejson.json?{query}",
        "license": "https://creativecommons.org/licenses/by/4.0/",
    }


@pytest.mark.parametrize(
    ("changed", "missing"),
    [
        ({"renders": {}}, {"xyz", "tilejson"}),
        ({"renders": [7]}, {"xyz", "tilejson"}),
        ({"license": "other"}, {"license"}),
        ({"license": "My-Licence"}, {"license"}),
        ({"links": [{"rel": "license", "href": "https://example.org/terms"}]}, {"license"}),
        ({"maap:username": None}, {"via"}),
        ({"maap:algorithm": None}, {"via", "processing-software"}),
        ({"maap:algorithm_version": None}, {"processing-software"}),
    ],
)
def test_what_is_not_known_is_no_link(changed: dict[str, Any], missing: set[str]) -> None:
    assert links().keys() - links(**changed).keys() == missing


def test_a_band_of_an_image_is_shown_alone() -> None:
    shown = links(renders={"mean": {"assets": ["cog"], "bidx": [2], "rescale": [[0, 1]]}})["tilejson"]
    assert shown.endswith("?assets=cog%7Cbidx%3D2&rescale=0,1")


def test_links_that_a_client_sends_back_are_not_kept() -> None:
    document = collection()
    own = {"rel": "tilejson", "href": "https://example.org/own.json"}
    served = [own, *served_links(document, "https://stac.example/", tiler=TILER, algorithm=None)]
    assert curated_collection({**document, "id": "floods", "links": served})["links"] == [own]


@pytest.fixture
def stored(shared_database: str) -> Iterator[None]:
    with psycopg.connect(shared_database) as connection:
        connection.execute("SELECT pgstac.create_collection(%s)", (Jsonb(collection()),))
    try:
        yield
    finally:
        with psycopg.connect(shared_database) as connection:
            connection.execute("SELECT pgstac.delete_collection(%s)", (ID,))


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("tiler", [None, TILER])
def test_the_api_serves_them_with_each_collection(start_api: Callable[..., Api], tiler: str | None) -> None:
    api = start_api(tiler_url=tiler)
    one = api.get(f"/collections/{ID}").json()
    (listed,) = [each for each in api.get("/collections").json()["collections"] if each["id"] == ID]
    for document in (one, listed):
        served = {link["rel"]: link["href"] for link in document["links"] if SERVED in link}
        assert served.keys() >= {"related", "via", "license"}
        assert ("xyz" in served) is (tiler is not None)
        assert requests.get(served["related"], timeout=30).status_code == 200
        assert requests.get(served["via"], timeout=30).status_code == 200
    assert api.get("/collections", fields="id").status_code == 200
