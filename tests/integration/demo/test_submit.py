"""Submitting demo jobs to a real S3 API."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from maap_stac_orchestration.demo import submit as submitting
from maap_stac_orchestration.demo.jobs import demo_jobs
from maap_stac_orchestration.demo.submit import BucketUnavailable, find_submitted, s3_client, submit

JOBS = demo_jobs()[:4]
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


SMALL = 64


def test_what_was_submitted_is_found_again(object_store):
    client = s3_client()
    assert find_submitted(client, object_store.bucket, JOBS) == {}
    done = []
    submit(client, object_store.bucket, JOBS, now=NOW, on_done=done.append, size=SMALL)
    assert {one.job: one for one in done} == find_submitted(client, object_store.bucket, JOBS)
    assert len({one.prefix for one in done}) == 4
    assert all("/2026/03/04/05/06/07/" in one.prefix for one in done)


def test_a_job_that_was_uploaded_in_part_counts_as_not_submitted(object_store):
    client = s3_client()
    done = []
    submit(client, object_store.bucket, JOBS[:1], now=NOW, on_done=done.append, size=SMALL)
    client.delete_object(Bucket=object_store.bucket, Key=done[0].prefix + "green.tif")
    assert find_submitted(client, object_store.bucket, JOBS) == {}


def test_of_several_runs_of_a_job_the_newest_counts(object_store):
    client = s3_client()
    for hour in (7, 9, 8):
        submit(client, object_store.bucket, JOBS[:1], now=NOW.replace(hour=hour), on_done=lambda _one: None, size=SMALL)
    found = find_submitted(client, object_store.bucket, JOBS)
    assert "/2026/03/04/09/" in found[JOBS[0]].prefix


def test_a_job_has_as_many_objects_as_a_whole_one_is_recognised_by(object_store):
    client = s3_client()
    done = []
    submit(client, object_store.bucket, JOBS[:1], now=NOW, on_done=done.append, size=SMALL)
    listed = client.list_objects_v2(Bucket=object_store.bucket, Prefix=done[0].prefix)["Contents"]
    assert len(listed) == submitting._FILES


def test_asked_to_stop_it_leaves_out_jobs_that_have_not_begun(object_store):
    client = s3_client()
    done = []
    submit(client, object_store.bucket, demo_jobs()[:30], now=NOW, on_done=done.append, size=SMALL, stop=lambda: True)
    assert len(done) == 1
    assert len(find_submitted(client, object_store.bucket, demo_jobs())) < 10


def test_a_bucket_that_is_not_there_is_named(object_store):
    with pytest.raises(BucketUnavailable, match="no-such-bucket"):
        find_submitted(s3_client(), "no-such-bucket", JOBS)
    with pytest.raises(BucketUnavailable, match="no-such-bucket"):
        submit(s3_client(), "no-such-bucket", JOBS, now=NOW, on_done=lambda _one: None, size=SMALL)
