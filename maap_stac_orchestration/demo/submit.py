"""Sending the demo's jobs: finding out which are in the bucket already, and uploading the others as a DPS would.

Here belongs the talk with the bucket. Not here: what the files hold (`outputs`) and what becomes of them (`follow`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from maap_stac_orchestration.demo.jobs import DemoJob, folder
from maap_stac_orchestration.demo.outputs import SIZE, OutputFile, output_files
from maap_stac_orchestration.dps.output_prefix import find_output_prefix

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

#: Jobs that are made and uploaded at the same time.
_WORKERS = 3
#: Jobs of one call are this far apart, so that no two share a prefix.
_SPACING = timedelta(milliseconds=7, microseconds=13)
#: Objects that a whole job has: three images, catalog, item, metadata and two logs.
_FILES = 8


class BucketUnavailable(Exception):
    """The bucket cannot be read or written; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A demo job that is in the bucket."""

    job: DemoJob
    #: Its output prefix, ending in `/`.
    prefix: str


def s3_client() -> S3Client:
    """A client for whatever the AWS_* variables of the environment point at, that gives up in seconds."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        # Other AWS clients read AWS_REGION; boto3 knows only AWS_DEFAULT_REGION.
        region_name=os.environ.get("AWS_REGION"),
        config=Config(
            connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 4}, max_pool_connections=_WORKERS + 1
        ),
    )


def find_submitted(
    client: S3Client, bucket: str, jobs: Iterable[DemoJob], day: date | None = None
) -> dict[DemoJob, Submitted]:
    """Which of the jobs are in the bucket already, whole; of several runs of one job the newest.

    Args:
        day: only runs of this UTC day count; of any day where it is None.

    Raises:
        BucketUnavailable: the bucket cannot be listed.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    jobs = tuple(jobs)
    items = {job.item_id for job in jobs}
    files: dict[str, int] = {}
    item_of: dict[str, str] = {}
    try:
        for root in sorted({folder(job.layout, job.tag) for job in jobs}):
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=root):
                for entry in page.get("Contents", ()):
                    prefix = find_output_prefix(entry["Key"])
                    if prefix is None or (day is not None and prefix.time.date() != day):
                        continue
                    files[prefix.key] = files.get(prefix.key, 0) + 1
                    parts = entry["Key"].removeprefix(prefix.key).split("/")
                    if len(parts) == 2 and parts[0] in items and parts[1] == f"{parts[0]}.json":
                        item_of[prefix.key] = parts[0]
    except (BotoCoreError, ClientError) as error:
        raise BucketUnavailable(f"The bucket {bucket} cannot be listed: {error}") from error
    newest: dict[str, str] = {}
    # An interrupted upload leaves a job with fewer files: that one is submitted again.
    for prefix_key in sorted((key for key in item_of if files[key] >= _FILES), key=_time):
        newest[item_of[prefix_key]] = prefix_key
    return {job: Submitted(job, newest[job.item_id]) for job in jobs if job.item_id in newest}


def submit(
    client: S3Client,
    bucket: str,
    jobs: Iterable[DemoJob],
    *,
    now: datetime,
    on_done: Callable[[Submitted], None],
    stop: Callable[[], bool] = lambda: False,
    size: int = SIZE,
    files: Callable[[DemoJob, datetime, int], Iterable[OutputFile]] = output_files,
) -> None:
    """Makes and uploads jobs, a few at a time; `on_done` is called for each that is whole, from the calling thread.

    Args:
        now: the time of the first job, UTC; the others follow within a second.
        size: pixels along each side of the images.
        files: what a job writes, by its time and that size, in the order of the upload.
        stop: asked after each job; when it says so, jobs that have not begun are left out.

    Raises:
        BucketUnavailable: an object could not be written; jobs that have not begun are left out.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    with ThreadPoolExecutor(_WORKERS) as pool:
        futures = [
            pool.submit(_upload, client, bucket, job, now.astimezone(UTC) + place * _SPACING, size, files)
            for place, job in enumerate(jobs)
        ]
        try:
            for future in as_completed(futures):
                on_done(future.result())
                if stop():
                    break
        except (BotoCoreError, ClientError) as error:
            raise BucketUnavailable(f"The bucket {bucket} cannot be written: {error}") from error
        finally:
            # After an error or Ctrl-C the rest is not worth waiting for.
            pool.shutdown(wait=True, cancel_futures=True)


def replace_files(client: S3Client, bucket: str, prefix: str, files: Iterable[OutputFile]) -> tuple[str, ...]:
    """Uploads files of a job that are not in the bucket as they are here; gives the names of those.

    Raises:
        BucketUnavailable: an object could not be read or written.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    replaced = []
    try:
        for file in files:
            if _read(client, bucket, prefix + file.name) != file.data:
                _put(client, bucket, prefix, file)
                replaced.append(file.name)
    except (BotoCoreError, ClientError) as error:
        raise BucketUnavailable(f"The files of {prefix} in the bucket {bucket} cannot be replaced: {error}") from error
    return tuple(replaced)


def _read(client: S3Client, bucket: str, key: str) -> bytes | None:
    try:
        return client.get_object(Bucket=bucket, Key=key)["Body"].read()
    except client.exceptions.NoSuchKey:
        return None


def _put(client: S3Client, bucket: str, prefix: str, file: OutputFile) -> None:
    client.put_object(Bucket=bucket, Key=prefix + file.name, Body=file.data, ContentType=file.content_type)


def _upload(
    client: S3Client,
    bucket: str,
    job: DemoJob,
    time: datetime,
    size: int,
    files: Callable[[DemoJob, datetime, int], Iterable[OutputFile]],
) -> Submitted:
    prefix = job.prefix(time)
    for file in files(job, time, size):
        _put(client, bucket, prefix, file)
    return Submitted(job, prefix)


def _time(prefix: str) -> datetime:
    found = find_output_prefix(prefix)
    assert found is not None, prefix
    return found.time
