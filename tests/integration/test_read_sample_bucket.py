"""The sample bucket is read from S3 over HTTP and from its folder, with the same result."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from maap_stac_orchestration.dps.output_prefix import find_output_prefix
from maap_stac_orchestration.ledger.records import ClaimedJob
from maap_stac_orchestration.pipeline.batch import ReadJob
from maap_stac_orchestration.pipeline.read import read_jobs
from maap_stac_orchestration.problems import Code, Severity
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.store.local import LocalObjects
from tests.integration.object_store import bucket, objects, s3_endpoint  # noqa: F401
from tests.shared import sample_bucket

NOW = datetime(2026, 11, 1, tzinfo=UTC)

DATELINE = "demo-user/dps_output/sentinel2-dateline/1.0/dateline/2026/02/28/23/59/59/999999/"
AREA = "other-user/dps_output/area-imagery/v0.2/test-20251103/2025/11/03/22/10/00/000417/"
BUILDINGS = "demo-user/dps_output/building-labels/main/mic-check/2025/11/06/07/30/59/900001/"
UNTAGGED = "demo-user/dps_output/sentinel2-stac_12/0.7.0/2026/01/05/13/44/02/118203/"
BOREAL = "aliz237/dps_output/run_boreal_biomass_map/v3.1.0/AGB_H30_2020/full_run/2025/08/19/09/59/01/262274/"


def claims(name: str = "bucket") -> list[ClaimedJob]:
    """One claim for each output prefix of the sample bucket, with all the catalogs in it."""
    folder = sample_bucket()
    found: dict[str, dict[str, str]] = {}
    for path in sorted(folder.rglob("catalog.json")):
        key = path.relative_to(folder).as_posix()
        prefix = find_output_prefix(key)
        assert prefix is not None
        found.setdefault(prefix.key, {})[key] = "etag"
    return [ClaimedJob(1, name, prefix, catalogs, catalog_modified=NOW) for prefix, catalogs in found.items()]


@pytest.fixture(scope="module")
def jobs() -> dict[str, ReadJob]:
    """The jobs of the sample bucket, read from its folder."""
    read = read_jobs(claims(), LocalObjects(sample_bucket()), Settings(), NOW)
    return {job.claim.prefix: job for job in read}


def test_every_job_is_read(jobs):
    assert len(jobs) == 6
    for prefix, job in jobs.items():
        assert job.job is not None
        assert job.metadata_username == job.job.username == prefix.partition("/")[0]
        assert job.items
        errors = [problem.code for problem in job.problems if problem.severity is Severity.ERROR]
        assert errors == ([Code.ITEM_DUPLICATE] if prefix == DATELINE else [])
        assert len({pin.key for pin in job.pins}) == len(job.pins)
        assert all(pin.key.startswith(prefix) for pin in job.pins)


def test_of_the_duplicate_id_the_first_is_kept(jobs):
    job = jobs[DATELINE]
    twice = "S2A_T01WCP_20230625T234624_L2A"

    [kept] = [item for item in job.items if item.id == twice]
    assert kept.source.key == f"{DATELINE}items/{twice}.json"
    [duplicate] = [problem for problem in job.problems if problem.code is Code.ITEM_DUPLICATE]
    assert duplicate.object == f"{DATELINE}items/{twice}_2.json"
    assert twice in duplicate.detail
    assert len(job.items) == 8


def test_nested_catalogs_are_part_of_the_root_and_what_is_not_linked_is_not_read(jobs):
    job = jobs[AREA]
    read = [pin.key.removeprefix(AREA) for pin in job.pins]

    assert "country-1/catalog.json" in read
    assert "country-2/catalog.json" in read
    assert not [key for key in read if "invalid" in key]
    assert len(job.items) == 8
    assert [document["id"] for document in job.collections] == ["area-1-1", "area-1-2", "area-2-1", "area-2-2"]
    assert [item.id for item in job.items][:2] == ["area-1-1-imagery", "area-1-1-labels"]


def test_tags_hold_slashes_or_are_absent(jobs):
    assert jobs[UNTAGGED].job.tag is None
    assert jobs[UNTAGGED].job.algorithm == "sentinel2-stac"
    assert jobs[UNTAGGED].job.prefix.algorithm == "sentinel2-stac_12"
    assert jobs[BOREAL].job.tag == "AGB_H30_2020/full_run"
    assert jobs[BUILDINGS].job.version == "main"


def test_s3_and_a_folder_give_the_same(jobs, bucket, objects):  # noqa: F811
    bucket.put_folder(sample_bucket())

    read = read_jobs(claims(bucket.name), objects, Settings(max_concurrency=16), NOW)

    assert [job.claim.prefix for job in read] == list(jobs)
    for job in read:
        here = jobs[job.claim.prefix]
        assert [replace(pin, etag="") for pin in job.pins] == [replace(pin, etag="") for pin in here.pins]
        assert [item.id for item in job.items] == [item.id for item in here.items]
        for there, local in zip(job.items, here.items, strict=True):
            assert str(there.document).replace(bucket.name, "bucket") == str(local.document)
        assert [str(one).replace(bucket.name, "bucket") for one in job.problems] == [str(one) for one in here.problems]
        assert len(job.collections) == len(here.collections)


def test_cut_off_and_lost_documents_touch_nothing_else(jobs, bucket, objects):  # noqa: F811
    bucket.put_folder(sample_bucket())
    first, second, third = (item.source.key for item in jobs[DATELINE].items[:3])
    data = (sample_bucket() / first).read_bytes()
    bucket.put(first, data[: len(data) // 2])
    bucket.client.delete_object(Bucket=bucket.name, Key=second)
    bucket.put(f"{DATELINE}odd//name\x01.json", b"")

    by_prefix = {job.claim.prefix: job for job in read_jobs(claims(bucket.name), objects, Settings(), NOW)}

    broken = by_prefix.pop(DATELINE)
    told = {(problem.code, problem.object) for problem in broken.problems}
    assert {(Code.ITEM_UNREADABLE, first), (Code.LINK_MISSING, second)} <= told
    assert third in {item.source.key for item in broken.items}
    for prefix, job in by_prefix.items():
        assert [item.id for item in job.items] == [item.id for item in jobs[prefix].items]
