"""Real jobs of the sample bucket, each event delivered three times in any order, end where they belong."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from maap_stac_orchestration.dps.output_prefix import find_output_prefix
from tests.acceptance.client import StackClient
from tests.shared import sample_bucket

pytestmark = pytest.mark.stack

BOREAL = "aliz237/dps_output/run_boreal_biomass_map/v3.1.0"
AGB = f"{BOREAL}/AGB_H30_2020/full_run/2025/08/19/09/59/01/262274/"
HEIGHT = f"{BOREAL}/Ht_H30_2020/full_run/2025/08/20/14/01/56/204100/"
BUILDINGS = "demo-user/dps_output/building-labels/main/mic-check/2025/11/06/07/30/59/900001/"
DATELINE = "demo-user/dps_output/sentinel2-dateline/1.0/dateline/2026/02/28/23/59/59/999999/"
SENTINEL = "demo-user/dps_output/sentinel2-stac_12/0.7.0/2026/01/05/13/44/02/118203/"
AREAS = "other-user/dps_output/area-imagery/v0.2/test-20251103/2025/11/03/22/10/00/000417/"

#: Prefix -> state, collection, number of items in it.
EXPECTED = {
    AGB: ("loaded", "aliz237__run_boreal_biomass_map__v3.1.0__AGB_H30_2020-full_run", 1),
    HEIGHT: ("loaded", "aliz237__run_boreal_biomass_map__v3.1.0__Ht_H30_2020-full_run", 1),
    BUILDINGS: ("loaded", "demo-user__building-labels__main__mic-check", 62),
    DATELINE: ("partial", "demo-user__sentinel2-dateline__1.0__dateline", 8),
    SENTINEL: ("loaded", "demo-user__sentinel2-stac__0.7.0", 2),
    AREAS: ("loaded", "other-user__area-imagery__v0.2__test-20251103", 8),
}


def _linked_items(folder: Path, prefix: str) -> int:
    """Items below a job that are not the invalid twins, which no link leads to."""
    items = [
        path
        for path in (folder / prefix).rglob("*.json")
        if b'"Feature"' in path.read_bytes() and not path.stem.endswith("-invalid")
    ]
    return len(items)


@pytest.fixture(scope="module")
def ingested(stack: dict[str, Any]) -> tuple[StackClient, dict[str, dict[str, Any]]]:
    """The stack's client, and what became of each job of the sample bucket."""
    client = StackClient(stack)
    etags = client.put_folder(sample_bucket())
    catalogs = [(key, etag) for key, etag in etags.items() if key.endswith("/catalog.json")] * 2
    random.Random(7).shuffle(catalogs)
    # S3 itself has sent each event once.
    client.announce(catalogs)
    jobs = {found.key for key in etags if (found := find_output_prefix(key))}
    assert jobs == set(EXPECTED)
    return client, client.await_jobs(jobs, timeout=240)


@pytest.mark.parametrize("prefix", EXPECTED)
def test_every_job_ends_in_its_state_with_its_items_in_its_default_collection(
    ingested: tuple[StackClient, dict[str, dict[str, Any]]], prefix: str
) -> None:
    client, jobs = ingested
    state, collection, count = EXPECTED[prefix]
    assert jobs[prefix]["state"] == state, jobs[prefix]["problems"]
    items = list(client.stac().search(collections=[collection]).items_as_dicts())
    assert len(items) == count
    assert {item["properties"]["maap:job_prefix"] for item in items} == {prefix}
    assert jobs[prefix]["counts"]["loaded"] + jobs[prefix]["counts"]["unchanged"] == count
    assert jobs[prefix]["collections"] == [collection]


def test_nothing_linked_is_lost(ingested: tuple[StackClient, dict[str, dict[str, Any]]]) -> None:
    _, jobs = ingested
    for prefix in EXPECTED:
        counts = jobs[prefix]["counts"]
        assert counts["loaded"] + counts["unchanged"] + counts["refused"] == _linked_items(sample_bucket(), prefix)


def test_items_that_ask_for_a_collection_without_a_grant_fall_back_with_the_denial_on_record(
    ingested: tuple[StackClient, dict[str, dict[str, Any]]],
) -> None:
    _, jobs = ingested
    (decision,) = jobs[AGB]["decisions"]
    assert (decision["decision"], decision["outcome"]) == ("invalid_name", "fallback")
    assert decision["requested"] == "icesat2-boreal-v3.1-agb"
    assert jobs[AGB]["counts"]["fallback"] == 1
    decisions = Counter(one["decision"] for one in jobs[BUILDINGS]["decisions"])
    assert decisions == {"user_not_authorized": 7}


def test_the_second_item_of_an_id_is_a_problem_and_the_first_is_kept(
    ingested: tuple[StackClient, dict[str, dict[str, Any]]],
) -> None:
    client, jobs = ingested
    errors = [problem for problem in jobs[DATELINE]["problems"] if problem["severity"] == "error"]
    assert [(one["code"], one["object"].rsplit("/", 1)[-1]) for one in errors] == [
        ("item_duplicate", "S2A_T01WCP_20230625T234624_L2A_2.json")
    ]
    collection = EXPECTED[DATELINE][1]
    item = client.get(f"/collections/{collection}/items/S2A_T01WCP_20230625T234624_L2A")
    assert item is not None
    via = [link["href"] for link in item["links"] if link["rel"] == "via"]
    assert [href.rsplit("/", 1)[-1] for href in via] == ["S2A_T01WCP_20230625T234624_L2A.json"]


def test_items_at_the_date_line_are_found_by_a_box_across_it(
    ingested: tuple[StackClient, dict[str, dict[str, Any]]],
) -> None:
    client, _ = ingested
    found = client.stac().search(collections=[EXPECTED[DATELINE][1]], bbox=[179.5, -17.2, -179.8, -15.5])
    assert {item.id for item in found.items()} == {
        "S2A_T01LAC_20200717T221944_L1C",
        "S2A_T01KAB_20230821T221944_L2A",
    }
    # At 15 degrees east there is one at this latitude, which the box around the rest of the world would hold.
    nothing = client.stac().search(collections=[EXPECTED[DATELINE][1]], bbox=[170, 80, -170, 81])
    assert list(nothing.items()) == []


def test_the_extent_of_items_at_the_date_line_is_no_belt_around_the_earth(
    ingested: tuple[StackClient, dict[str, dict[str, Any]]],
) -> None:
    client, _ = ingested
    extent = client.stac().get_collection(EXPECTED[DATELINE][1]).extent
    assert all(-90 <= box[1] <= box[3] <= 90 for box in extent.spatial.bboxes)
    assert all(-180 <= side <= 180 for box in extent.spatial.bboxes for side in (box[0], box[2]))


def test_nested_catalogs_are_part_of_their_job(ingested: tuple[StackClient, dict[str, dict[str, Any]]]) -> None:
    client, jobs = ingested
    listed = client.get("/jobs?username=other-user")
    assert listed is not None
    assert [job["prefix"] for job in listed["jobs"]] == [AREAS]
    assert {one["href"].split(AREAS)[1] for one in jobs[AREAS]["catalogs"]} == {
        "catalog.json",
        "country-1/catalog.json",
        "country-2/catalog.json",
    }


def test_items_carry_their_provenance(ingested: tuple[StackClient, dict[str, dict[str, Any]]]) -> None:
    client, _ = ingested
    (item,) = client.stac().search(collections=[EXPECTED[HEIGHT][1]]).items_as_dicts()
    properties = item["properties"]
    assert properties["maap:username"] == "aliz237"
    assert properties["maap:algorithm"] == "run_boreal_biomass_map"
    assert properties["maap:algorithm_version"] == "v3.1.0"
    assert properties["maap:tag"] == "Ht_H30_2020/full_run"
    assert properties["maap:job_time"].startswith("2025-08-20T14:01:56.204100")
    assert properties["processing:software"] == {"run_boreal_biomass_map": "v3.1.0"}
    assert all(asset["href"].startswith("s3://") for asset in item["assets"].values())
    runs = client.get(f"/jobs?run_id={properties['maap:run_id']}")
    assert runs is not None
    assert HEIGHT in [job["prefix"] for job in runs["jobs"]]
