"""The stand-in for maap-py's client: its jobs write what the demo's algorithm writes, to a real S3 API."""

from __future__ import annotations

import json

import pytest

from maap_stac_orchestration.demo.client import JobRefused, SimulatedMAAP
from maap_stac_orchestration.demo.jobs import demo_jobs
from maap_stac_orchestration.demo.submit import find_submitted
from maap_stac_orchestration.dps.output_prefix import find_output_prefix

SMALL = 64
INPUTS = {
    "identifier": "my-campaign",
    "algo_id": "HLSCloudFreeTemporalMosaic",
    "version": "v0.1.1",
    "queue": "maap-dps-worker-16gb",
    "start_datetime": "2024-06-01T00:00:00Z",
    "end_datetime": "2024-06-30T23:59:59Z",
    "bbox": "-245760 2211840 0 2457600",
    "crs": "epsg:5070",
}


@pytest.fixture
def maap(object_store):
    return SimulatedMAAP(object_store.bucket, size=SMALL)


def test_a_job_that_has_succeeded_names_the_prefix_that_holds_its_catalog_item_images_and_metadata(maap, object_store):
    job = maap.submitJob(**INPUTS).wait_for_completion()
    assert (job.status, job.error_details) == ("Succeeded", None)
    (output,) = job.outputs
    bucket, _, prefix = output.removeprefix("s3://").partition("/")
    assert bucket == object_store.bucket
    assert find_output_prefix(prefix).key == prefix

    listed = object_store.client().list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    names = {entry["Key"].removeprefix(prefix) for entry in listed}
    item = "-245760_2211840_0_2457600-20240601-20240630"
    assert names >= {"catalog.json", f"{item}/{item}.json", "red.tif", "green.tif", "blue.tif"}
    (metadata,) = [name for name in names if name.endswith(".met.json")]
    told = json.loads(object_store.client().get_object(Bucket=bucket, Key=prefix + metadata)["Body"].read())
    assert (told["username"], told["algorithm_name"], told["algorithm_version"], told["tag"]) == (
        "henrydevseed",
        "HLSCloudFreeTemporalMosaic",
        "v0.1.1",
        "my-campaign",
    )


def test_jobs_that_are_submitted_at_once_have_ids_and_prefixes_of_their_own(maap):
    jobs = [maap.submitJob(**INPUTS) for _ in range(8)]
    assert {job.retrieve_status() for job in jobs} <= {"Accepted", "Running", "Succeeded"}
    for job in jobs:
        job.wait_for_completion()
    assert {job.retrieve_status() for job in jobs} == {"Succeeded"}
    assert len({job.id for job in jobs}) == len({job.outputs[0] for job in jobs}) == 8


def test_they_are_not_taken_for_those_of_the_demo(maap, object_store):
    job = maap.submitJob(**INPUTS).wait_for_completion()
    assert job.status == "Succeeded"
    assert find_submitted(object_store.client(), object_store.bucket, demo_jobs()) == {}


def test_a_job_that_cannot_write_to_the_bucket_has_failed_and_says_why(object_store):
    job = SimulatedMAAP("no-such-bucket", size=SMALL).submitJob(**INPUTS).wait_for_completion()
    assert (job.status, job.outputs) == ("Failed", [])
    assert "The bucket no-such-bucket cannot be written" in job.error_details


def test_the_status_is_asked_for_at_once_where_that_is_wanted(maap):
    job = maap.submitJob(**INPUTS, retrieve_attributes=True)
    assert job.status in {"Accepted", "Running", "Succeeded"}
    assert job.id in repr(job)
    # What it still writes would be found by the next test.
    job.wait_for_completion()


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"algo_id": "boreal"}, "There is no algorithm boreal v0.1.1 here"),
        ({"version": "main"}, "There is no algorithm HLSCloudFreeTemporalMosaic main here"),
        ({"identifier": ""}, "give the jobs a tag"),
        ({"username": "jjfrench"}, "Jobs run as henrydevseed here, not as jjfrench"),
        ({"resolution": 30}, "look at resolution"),
        ({"crs": "epsg:32615"}, "is in epsg:5070, not in epsg:32615"),
        ({"start_datetime": "2024-06-01"}, "start_datetime is '2024-06-01'; write it as"),
        ({"end_datetime": "2024-06-15T23:59:59Z"}, "end_datetime 2024-06-30T23:59:59Z; other spans"),
        ({"bbox": "-94 45 -93 46 47"}, "write four whole metres"),
        ({"bbox": "0 0 245761 245760"}, "no square of the grid"),
        ({"bbox": "0 0 491520 491520"}, "no square of the grid"),
    ],
)
def test_a_job_that_cannot_be_simulated_is_refused_with_what_can_be(maap, object_store, other, sentence):
    with pytest.raises(JobRefused, match=sentence):
        maap.submitJob(**INPUTS | other)
    assert "Contents" not in object_store.client().list_objects_v2(Bucket=object_store.bucket)


def test_an_input_that_is_missing_is_named(maap):
    with pytest.raises(JobRefused, match="The inputs are bbox, crs, end_datetime, start_datetime; look at bbox"):
        maap.submitJob(**{name: value for name, value in INPUTS.items() if name != "bbox"})
