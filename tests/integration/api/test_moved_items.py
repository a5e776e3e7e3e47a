"""Items that moved to the id of another template, as clients find them, before and after."""

from __future__ import annotations

from urllib.parse import quote

import psycopg

from maap_stac_orchestration.ledger.changes import Author, Via
from maap_stac_orchestration.pipeline.migrate_ids import migrate
from tests.integration.api.conftest import Api
from tests.integration.pipeline.batches import Written, document, ingest

TEMPLATE = "{username}__{algorithm_name}__{algorithm_version}"
MERGED = "henrydevseed__mosaic__v1"
JOBS = [
    Written([document(f"{tag}-{number}") for number in range(3)], tag=tag, minute=minute)
    for minute, tag in enumerate(("first", "second"))
]


def test_a_search_finds_every_item_under_its_new_id(api: Api, database: str) -> None:
    with psycopg.connect(database) as conn:
        ingest(conn, JOBS)
        before = {item["id"]: item for item in api.get("/search", limit=100).json()["features"]}
        migrate(conn, TEMPLATE, Author("ada", Via.CLI, "No tags in ids"))
    found = api.get("/search", limit=100).json()["features"]
    assert {item["id"] for item in found} == before.keys()
    for item in found:
        assert item["collection"] == MERGED
        old = before[item["id"]]
        assert {name: item[name] for name in item.keys() - {"collection", "links"}} == {
            name: old[name] for name in old.keys() - {"collection", "links"}
        }
        assert [link for link in item["links"] if link["rel"] == "via"] == [
            link for link in old["links"] if link["rel"] == "via"
        ]
    inside = api.get("/search", limit=100, collections=MERGED).json()["features"]
    assert len(inside) == len(before)
    assert [one["id"] for one in api.get("/collections").json()["collections"]] == [MERGED]
    assert api.get("/collections/henrydevseed__mosaic__v1__first").status_code == 404


def test_a_job_leads_to_its_items_where_they_are_now(api: Api, database: str) -> None:
    with psycopg.connect(database) as conn:
        ingest(conn, JOBS)
        migrate(conn, TEMPLATE, Author("ada", Via.CLI, "No tags in ids"))
    for job in JOBS:
        told = api.get(f"/jobs/{quote(job.prefix, safe='')}").json()
        assert {item["collection"] for item in told["items"]} == {MERGED}
        for item in told["items"]:
            (link,) = (link for link in item["links"] if link["rel"] == "item")
            assert api.get(link["href"].removeprefix(api.url)).json()["collection"] == MERGED
    listed = api.get("/jobs", collection=MERGED).json()["jobs"]
    assert {job["prefix"] for job in listed} == {job.prefix for job in JOBS}
    assert api.get("/jobs", collection="henrydevseed__mosaic__v1__first").json()["jobs"] == []
