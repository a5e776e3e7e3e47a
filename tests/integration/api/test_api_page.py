"""The examples of docs/api.md run as they stand there, and print what it says."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from maap_stac_orchestration.api.free_text import LONGEST
from maap_stac_orchestration.demo import outputs
from maap_stac_orchestration.demo.jobs import demo_jobs
from maap_stac_orchestration.pgstac.queryables import register_queryables
from maap_stac_orchestration.settings import Settings
from tests.integration.api import small_world
from tests.integration.api.callers import signed_in
from tests.integration.api.conftest import Api, running

PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text()
ADDRESS = "http://127.0.0.1:8603"
COLLECTION = "henrydevseed__HLSCloudFreeTemporalMosaic__v0.1.1__demo"


@pytest.fixture(scope="module")
def api(shared_database: str) -> Iterator[Api]:
    """The demo's outputs of July behind a STAC API."""
    items = []
    for job in (one for one in demo_jobs() if one.month == 7):
        files = outputs.output_files(job, datetime(2026, 1, 1, tzinfo=UTC), size=16)
        item = json.loads(next(file.data for file in files if file.name.startswith(job.item_id)))
        item["properties"] |= {
            "maap:username": "henrydevseed",
            "maap:algorithm": "HLSCloudFreeTemporalMosaic",
            "maap:algorithm_version": "v0.1.1",
            "maap:tag": "demo",
            "maap:job_time": "2026-01-01T00:00:00Z",
            "maap:job_prefix": f"henrydevseed/dps_output/{job.item_id}/",
        }
        items.append({**item, "collection": COLLECTION, "links": []})
    with psycopg.connect(shared_database) as connection:
        register_queryables(connection)
        document = {**small_world.collection(COLLECTION), "keywords": ["henrydevseed"], "maap:username": "henrydevseed"}
        connection.execute("SELECT pgstac.create_collection(%s)", (Jsonb(document),))
        connection.execute("SELECT pgstac.create_items(%s)", (Jsonb(items),))
    with running(buckets=("maap-ops-workspace",)) as started:
        yield started


def test_the_examples_print_what_the_page_says(api: Api, shared_database: str) -> None:
    with psycopg.connect(shared_database) as connection:
        token = signed_in(api, connection, "root", admin=True).token
    known: dict[str, Any] = {"token": token}
    examples = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) == 7
    for example in examples:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(example.replace(ADDRESS, api.url), known)
        assert printed.getvalue().splitlines() == re.findall(r"^# > (.*)$", example, re.MULTILINE), example


@pytest.mark.parametrize(
    "asked",
    [
        {"filter": "maap:tag='demo'"},
        {"query": '{"eo:cloud_cover":{"lt":10}}'},
        {"collections": COLLECTION, "datetime": "2024-07-01T00:00:00Z/2024-07-31T23:59:59Z"},
        {"filter": "maap:tag='demo'", "query": '{"maap:username": {"eq": "nobody"}}'},
    ],
)
def test_what_is_to_be_asked_by_hand_is_answered(api: Api, asked: dict[str, str]) -> None:
    answer = api.get("/search", **asked)
    assert answer.status_code == 200
    assert bool(answer.json()["features"]) == ("query" not in asked)


def test_the_page_names_settings_that_there_are() -> None:
    for name in set(re.findall(r"MAAP_STAC_([A-Z_]+)", PAGE)):
        assert name.lower() in Settings.model_fields, name
    assert f"{LONGEST:,} characters" in PAGE


def test_a_registered_property_is_sorted_as_the_page_says(api: Api, shared_database: str) -> None:
    statement = re.search(r"SELECT pgstac.upsert_queryable\(.*?\)(?=`)", PAGE)
    assert statement is not None
    items = [small_world.point(f"cloud-{cover}", COLLECTION) for cover in (9, 10)]
    for item, cover in zip(items, (9, 10), strict=True):
        item["properties"]["eo:cloud_cover"] = cover
    with psycopg.connect(shared_database) as connection:
        connection.execute("SELECT pgstac.create_items(%s)", (Jsonb(items),))

    def sorted_ids() -> list[str]:
        found = api.get("/search", filter="eo:cloud_cover > 8", sortby="+properties.eo:cloud_cover").json()
        return [item["id"] for item in found["features"]]

    assert sorted_ids() == ["cloud-10", "cloud-9"]
    with psycopg.connect(shared_database) as connection:
        connection.execute(statement[0])
    assert sorted_ids() == ["cloud-9", "cloud-10"]
