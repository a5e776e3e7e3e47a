"""The demo as a user sees it: jobs are submitted and their items become searchable, each exactly once."""

from __future__ import annotations

import json
import subprocess
from urllib.request import Request, urlopen

import pytest

from tests.acceptance.client import StackClient, eventually
from tests.acceptance.conftest import MAAP_STAC, clean_environment

COLLECTION = "henrydevseed__HLSCloudFreeTemporalMosaic__v0.1.1__demo"

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def client(stack: dict) -> StackClient:
    return StackClient(stack)


def demo(client: StackClient, *arguments: str) -> dict:
    """Runs `maap-stac demo --json` against the stack; gives its document."""
    ran = subprocess.run(
        [MAAP_STAC, "demo", "--json", *arguments],
        env=clean_environment() | client.env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(ran.stdout)


def test_submitted_jobs_become_searchable_and_a_second_call_submits_nothing(client):
    first = demo(client, "--jobs", "6")
    assert first["searchable"] == len(first["jobs"]) == 6
    assert COLLECTION in first["collections"]
    assert {job["item"] for job in first["jobs"]} <= set(first["search"]["items"])

    second = demo(client, "--jobs", "6")
    assert second["already_there"] == 6
    assert {job["prefix"] for job in second["jobs"]} == {job["prefix"] for job in first["jobs"]}

    for job in first["jobs"]:
        document = client.job(job["prefix"])
        assert (document["state"], document["problems"]) == ("loaded", [])
        (item,) = document["items"]
        assert (item["id"], item["collection"]) == (job["item"], COLLECTION)


def test_the_item_of_a_demo_job_names_its_images_in_the_bucket_and_its_job(client):
    (job,) = demo(client, "--jobs", "1")["jobs"]
    item = client.get(f"/collections/{COLLECTION}/items/{job['item']}")
    assert {name: asset["href"] for name, asset in item["assets"].items()} == {
        band: f"s3://{client.stack['bucket']}/{job['prefix']}{band}.tif" for band in ("red", "green", "blue")
    }
    assert item["properties"]["maap:username"] == "henrydevseed"
    assert item["properties"]["maap:tag"] == "demo"
    assert item["properties"]["maap:job_prefix"] == job["prefix"]


MATERIALIZATIONS = """
query ($asset: String!, $day: String!) {
  assetNodeOrError(assetKey: {path: [$asset]}) {
    ... on AssetNode { assetMaterializations(partitions: [$day], limit: 50) { runId partition } }
  }
}
"""


@pytest.mark.parametrize("asset", ["dps_catalogs", "governance_decisions", "pgstac_items"])
def test_the_day_of_a_job_is_a_materialised_partition_and_its_runs_tell_the_jobs(client, asset):
    (job,) = demo(client, "--jobs", "1")["jobs"]
    day = "-".join(job["prefix"].removesuffix("/").split("/")[-7:-4])

    def materialised():
        request = Request(
            f"{client.stack['dagster_url']}/graphql",
            json.dumps({"query": MATERIALIZATIONS, "variables": {"asset": asset, "day": day}}).encode(),
            {"Content-Type": "application/json"},
        )
        with urlopen(request, timeout=30) as answer:
            return json.load(answer)["data"]["assetNodeOrError"]["assetMaterializations"] or None

    found = eventually(materialised, 60)
    assert {one["partition"] for one in found} == {day}
    jobs = [client.get(f"/jobs?run_id={run_id}")["jobs"] for run_id in {one["runId"] for one in found}]
    assert job["prefix"] in [one["prefix"] for page in jobs for one in page]
