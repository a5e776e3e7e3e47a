"""The two ways of ingesting that are compared do the same work: the same items come out, in the same collections."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from benchmarks import ours, today
from benchmarks.database import Databases
from benchmarks.ingest import count_back
from benchmarks.job_outputs import BUCKET, Outputs
from benchmarks.object_server import serving
from benchmarks.result import CannotMeasure

OUTPUTS = Outputs(jobs=5, items_per_job=2, collections=2)

#: What this project says of an item beyond what the job wrote, and what pystac rewrites when it reads an item.
_DIFFERS = ("maap:", "processing:", "proj:epsg", "proj:code")


#: Collection and id.
Key = tuple[str, str]


@pytest.fixture
def loaded(postgres_server, migrated, aws_environment) -> dict[str, dict[Key, dict[str, Any]]]:
    """Way -> key -> the item as it is in pgstac."""
    found = {}
    places = Databases(postgres_server)
    with serving({BUCKET: OUTPUTS.fill}) as server:
        for way in ("today", "ours"):
            with places.fresh() as conninfo:
                if way == "today":
                    today.ingest(server.endpoint, BUCKET, OUTPUTS.catalogs, conninfo)
                else:
                    ours.ingest(server, conninfo)
                count_back(conninfo, way, OUTPUTS.items, OUTPUTS.collections)
                found[way] = _items(conninfo)
    return found


def _items(conninfo: str) -> dict[Key, dict[str, Any]]:
    with psycopg.connect(conninfo, options="-c search_path=pgstac,public") as connection:
        rows = connection.execute("SELECT collection, id, pgstac.content_hydrate(items) FROM pgstac.items").fetchall()
    return {(collection, id): item for collection, id, item in rows}


def test_both_ways_load_the_same_items(loaded):
    assert loaded["today"].keys() == loaded["ours"].keys()
    for key, theirs in loaded["today"].items():
        mine = loaded["ours"][key]
        assert mine["geometry"] == theirs["geometry"]
        assert mine["bbox"] == pytest.approx(theirs["bbox"])
        assert _as_written(mine["properties"]) == _as_written(theirs["properties"])
        assert _hrefs(mine) == _hrefs(theirs)


def test_items_that_are_missing_are_noticed(database):
    with pytest.raises(CannotMeasure, match=r"ours loaded \(0, 0\)"):
        count_back(database, "ours", 1, 1)


def _as_written(properties: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in properties.items() if not name.startswith(_DIFFERS) and value is not None}


def _hrefs(item: dict[str, Any]) -> dict[str, str]:
    return {name: asset["href"] for name, asset in item["assets"].items()}
