"""From objects in S3 to searchable items, without Dagster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pystac
import pytest
from click.testing import CliRunner, Result

from maap_stac_orchestration.catalog.schema import ExtensionSchemas, core_errors
from maap_stac_orchestration.cli.ingest import command
from maap_stac_orchestration.pipeline.ingest import ingest_batch
from maap_stac_orchestration.pipeline.registry import current_registry
from maap_stac_orchestration.pipeline.upkeep import refresh_collections
from maap_stac_orchestration.store.objects import Fetched, ObjectInfo, StoreUnavailable
from tests.conftest import MotoStore
from tests.integration.pipeline.batches import SETTINGS, Written, claim, document, dump, record
from tests.shared import published_schemas, sample_bucket

Connection = psycopg.Connection[Any]
NOW_OR_NEVER = {"MAAP_STAC_WAIT_DEADLINE": "0s", "MAAP_STAC_ASSET_DEADLINE": "0s"}


@pytest.fixture
def tables(database_env: dict[str, str], database: str) -> Iterator[Connection]:
    """The database that the command uses."""
    with psycopg.connect(database) as connection:
        yield connection


def run(*arguments: str, env: dict[str, str] | None = None) -> tuple[Result, dict[str, Any]]:
    result = CliRunner().invoke(command, [*arguments, "--json"], env=env or {}, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    document: dict[str, Any] = json.loads(result.stdout)
    return result, document


def put_job(store: MotoStore, job: Written, *, without: str = "") -> None:
    """A job as the DPS uploads it; `without` leaves keys out that contain it."""
    metadata = {
        "username": job.username,
        "algorithm_name": job.algorithm,
        "algorithm_version": job.version,
        "tag": job.tag,
    }
    files = {"output-2024-06-01T12:00:00.000000.met.json": json.dumps(metadata)}
    links = [{"rel": "item", "href": f"./{item['id']}.json"} for item in job.items]
    files["catalog.json"] = json.dumps(
        {"type": "Catalog", "stac_version": "1.1.0", "id": "outputs", "description": "x", "links": links}
    )
    for item in job.items:
        collection = job.requests.get(item["id"])
        named = {"collection": collection} if collection else {}
        body = {**item, **named, "assets": {"data": {"href": f"./{item['id']}.tif"}}}
        if collection:
            body["links"] = [{"rel": "collection", "href": "./collection.json"}]
        files[f"{item['id']}.json"] = json.dumps(body)
        files[f"{item['id']}.tif"] = "pixels"
    for name, body in files.items():
        if not without or without not in name:
            store.put(job.prefix + name, body.encode())


def test_a_job_becomes_searchable(object_store: MotoStore, tables: Connection) -> None:
    job = Written([document("a"), document("b", west=30.0)])
    put_job(object_store, job)
    result, told = run(f"s3://{object_store.bucket}/{job.prefix}")
    assert (result.return_value, told["ok"]) == (0, True)
    (one,) = told["jobs"]
    assert (one["state"], one["items"]["loaded"], one["collections"]) == (
        "loaded",
        2,
        ["henrydevseed__mosaic__v1__demo"],
    )
    row = tables.execute("""SELECT pgstac.search('{"ids": ["a"]}')""").fetchone()
    assert row is not None
    (found,) = row[0]["features"]
    assert found["assets"]["data"]["href"] == f"s3://{object_store.bucket}/{job.prefix}a.tif"
    assert found["properties"]["maap:username"] == "henrydevseed"
    assert found["properties"]["maap:run_id"] == told["run_id"]
    row = tables.execute("SELECT content #> '{extent,spatial,bbox,0}' FROM pgstac.collections").fetchone()
    assert row == ([0, 0, 31, 1],)


def test_what_was_mended_stands_in_the_item(object_store: MotoStore, tables: Connection) -> None:
    job = Written([document("a", moment="2024-06-01T02:00:00+02:00")])
    put_job(object_store, job)
    run(f"s3://{object_store.bucket}/{job.prefix}")
    row = tables.execute("""SELECT pgstac.search('{"ids": ["a"]}') #> '{features,0,properties}'""").fetchone()
    assert row is not None
    assert row[0]["datetime"] == "2024-06-01T00:00:00Z"
    assert row[0]["maap:repairs"] == ["The datetime of the item a was written as 2024-06-01T00:00:00Z."]


def test_asking_again_changes_nothing(object_store: MotoStore, tables: Connection) -> None:
    job = Written([document("a"), document("b")])
    put_job(object_store, job)
    address = f"s3://{object_store.bucket}/{job.prefix}catalog.json"
    run(address)
    before = dump(tables)
    _, told = run(address)
    assert told["jobs"][0]["items"] == {"loaded": 0, "unchanged": 2, "fallback": 0, "refused": 0}
    after = dump(tables)
    for name in ("items", "ledger items", "collections", "ledger collections", "partitions"):
        assert after[name] == before[name], name


def test_a_job_without_its_metadata_waits(object_store: MotoStore, tables: Connection) -> None:
    job = Written([document("a")])
    put_job(object_store, job, without=".met.json")
    result, told = run(f"s3://{object_store.bucket}/{job.prefix}")
    assert (result.return_value, told["jobs"][0]["state"]) == (1, "waiting")
    put_job(object_store, job)
    assert run(f"s3://{object_store.bucket}/{job.prefix}")[0].return_value == 0


def test_an_address_without_jobs_is_a_problem(object_store: MotoStore, tables: Connection) -> None:
    result, told = run(f"s3://{object_store.bucket}/nobody/")
    assert result.return_value == 1
    assert [problem["code"] for problem in told["problems"]] == ["catalog_missing"]


def test_the_table_shows_jobs_and_problems(object_store: MotoStore, tables: Connection) -> None:
    job = Written([document("a")], requests={"a": "maap-floods"})
    put_job(object_store, job)
    result = CliRunner().invoke(command, [f"s3://{object_store.bucket}/{job.prefix}"], standalone_mode=False)
    assert result.exception is None
    assert "loaded" in result.stdout
    assert "user_not_authorized" in result.stdout


class AwayStore:
    """A store that does not answer."""

    async def list(self, bucket: str, prefix: str) -> list[ObjectInfo]:
        raise StoreUnavailable("it is away")

    async def get(self, bucket: str, key: str, max_bytes: int) -> Fetched:
        raise StoreUnavailable("it is away")


def test_jobs_are_given_back_when_the_infrastructure_fails(connection: Connection) -> None:
    record(connection, [Written([document("a")])])
    batch = claim(connection)
    with pytest.raises(StoreUnavailable):
        ingest_batch(connection, AwayStore(), batch, SETTINGS, current_registry(SETTINGS))
    assert connection.execute("SELECT state, attempts FROM ledger.job").fetchone() == ("discovered", 1)
    reason = connection.execute("SELECT reason FROM ledger.transition ORDER BY id DESC LIMIT 1").fetchone()
    assert reason == ("The run broke before it was done (StoreUnavailable: it is away).",)


def test_every_job_of_the_sample_bucket_comes_to_an_end(object_store: MotoStore, tables: Connection) -> None:
    object_store.put_folder(sample_bucket())
    _, told = run(f"s3://{object_store.bucket}/", env=NOW_OR_NEVER)
    found = {"/".join(job["prefix"].split("/")[2:-8]): job for job in told["jobs"]}
    ends = {name: (job["state"], job["items"]) for name, job in found.items()}
    assert ends == {
        "run_boreal_biomass_map/v3.1.0/AGB_H30_2020/full_run": ("loaded", counts(loaded=1, fallback=1)),
        "run_boreal_biomass_map/v3.1.0/Ht_H30_2020/full_run": ("loaded", counts(loaded=1, fallback=1)),
        "area-imagery/v0.2/test-20251103": ("loaded", counts(loaded=8, fallback=8)),
        "building-labels/main/mic-check": ("loaded", counts(loaded=62, fallback=62)),
        "sentinel2-stac_12/0.7.0": ("loaded", counts(loaded=2, fallback=2)),
        "sentinel2-dateline/1.0/dateline": ("partial", counts(loaded=8, refused=1)),
    }
    assert told["ok"] is False
    errors = {
        (name, problem["code"])
        for name, job in found.items()
        for problem in job["problems"]
        if problem["severity"] == "error"
    }
    assert errors == {
        ("run_boreal_biomass_map/v3.1.0/AGB_H30_2020/full_run", "invalid_name"),
        ("run_boreal_biomass_map/v3.1.0/Ht_H30_2020/full_run", "invalid_name"),
        ("area-imagery/v0.2/test-20251103", "user_not_authorized"),
        ("building-labels/main/mic-check", "user_not_authorized"),
        ("sentinel2-stac_12/0.7.0", "user_not_authorized"),
        ("sentinel2-dateline/1.0/dateline", "item_duplicate"),
    }
    for (collection,) in tables.execute("SELECT content FROM pgstac.collections").fetchall():
        pystac.Collection.from_dict(collection)
        assert core_errors(collection) == []
        broken = ExtensionSchemas(published_schemas()).check(collection)
        assert [one for one in broken if one.errors] == []
        (upkeep,) = refresh_collections(tables, [collection["id"]])
        assert upkeep.changed == ()


def counts(loaded: int = 0, unchanged: int = 0, fallback: int = 0, refused: int = 0) -> dict[str, int]:
    return {"loaded": loaded, "unchanged": unchanged, "fallback": fallback, "refused": refused}


def test_a_search_across_the_antimeridian_finds_the_sample_items(object_store: MotoStore, tables: Connection) -> None:
    object_store.put_folder(sample_bucket() / "demo-user", "demo-user/")
    run(f"s3://{object_store.bucket}/demo-user/", env=NOW_OR_NEVER)
    crossing = {
        "type": "MultiPolygon",
        "coordinates": [
            [[[179, -90], [180, -90], [180, 90], [179, 90], [179, -90]]],
            [[[-180, -90], [-179, -90], [-179, 90], [-180, 90], [-180, -90]]],
        ],
    }
    row = tables.execute("SELECT pgstac.search(%s::jsonb)", (json.dumps({"intersects": crossing}),)).fetchone()
    assert row is not None
    assert row[0]["features"]
