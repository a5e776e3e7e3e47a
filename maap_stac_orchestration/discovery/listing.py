"""Listing the catalogs of given days, where no queue tells of them, or to see whether a queue has told of all.

Here belongs how a bucket is walked with few requests. Not here: what becomes of the catalogs (`pipeline.discover`).

A bucket lists keys in the order of their bytes, and a day lies below each group (username, algorithm, version, tag).
So the groups are walked folder by folder, which costs some requests a group and none a job; below `…/YYYY/MM/DD/` keys
come a thousand a request, and what is left of a job whose root catalog was met is jumped over. A job that wrote a
hundred thousand files costs about as much as one that wrote ten.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, date
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from maap_stac_orchestration.discovery.found import CATALOG_NAME, FoundCatalog, SourceUnavailable, is_storable
from maap_stac_orchestration.dps.job import OutputPrefix
from maap_stac_orchestration.dps.output_prefix import OUTPUT_FOLDER, find_output_prefix

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef, ListObjectsV2RequestTypeDef

_YEAR = re.compile(r"[0-9]{4}")
_TWO_DIGITS = re.compile(r"[0-9]{2}/")
#: Folders of a tag. Tags have two or three; what lies deeper is no layout of the DPS, and a walk has to end somewhere.
_MAX_TAG_FOLDERS = 12
#: Sorts behind every key that begins with what it is appended to: keys sort by their UTF-8 bytes, and this is the last
#: character there is.
_BEHIND = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder still to be listed."""

    #: Ends in a slash, unless it is the bucket's root.
    prefix: str
    #: Folders above and with it: 0 the bucket's root, 1 a user, 2 dps_output, 3 an algorithm, 4 a version, 5… of a tag.
    level: int


@dataclass(frozen=True, slots=True)
class _Step:
    """What one task found: folders to go down into, days to list, catalogs."""

    folders: tuple[_Folder, ...] = ()
    day_prefixes: tuple[str, ...] = ()
    catalogs: tuple[FoundCatalog, ...] = ()


_USER, _VERSION = 1, 4


def list_catalogs(
    store: S3Client, bucket: str, days: Collection[date], *, concurrency: int = 16
) -> Iterator[tuple[FoundCatalog, ...]]:
    """The catalogs of the jobs of `days` (UTC), together for each (group, day) that has any, as they are met.

    Of a job with a catalog.json at its root only that one is given, otherwise every catalog.json in it. A tag that is
    itself spelled like the beginning of a date and goes on (`2024/07/run/…`) is not looked into: events find such jobs.

    Raises:
        SourceUnavailable: a request failed; what has not been given by then is unknown.
    """
    wanted = frozenset(days)
    with ThreadPoolExecutor(concurrency, thread_name_prefix="listing") as pool:
        pending: set[Future[_Step]] = {pool.submit(_walk, store, bucket, _Folder("", 0), wanted)}
        try:
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    step = future.result()
                    pending |= {pool.submit(_walk, store, bucket, folder, wanted) for folder in step.folders}
                    pending |= {pool.submit(_list_day, store, bucket, day, wanted) for day in step.day_prefixes}
                    if step.catalogs:
                        yield step.catalogs
        finally:
            for future in pending:
                future.cancel()


def _walk(store: S3Client, bucket: str, folder: _Folder, days: Collection[date]) -> _Step:
    """Lists the folders of one folder and says where to go on."""
    names = _folders(store, bucket, folder.prefix)
    if folder.level == _USER:
        names = [name for name in names if name == f"{OUTPUT_FOLDER}/"]
    day_prefixes: tuple[str, ...] = ()
    year = folder.prefix[:-1].rpartition("/")[2]
    if folder.level > _VERSION and _YEAR.fullmatch(year):
        # A year, or a part of a tag that looks like one: what has two digits is a month, the rest goes on with a tag.
        months = {name for name in names if _TWO_DIGITS.fullmatch(name)}
        day_prefixes = tuple(
            f"{folder.prefix}{day:%m/%d}/" for day in sorted(days) if f"{day:%Y}" == year and f"{day:%m}/" in months
        )
        names = [name for name in names if name not in months]
    if folder.level >= _VERSION + _MAX_TAG_FOLDERS:
        names = []
    return _Step(tuple(_Folder(folder.prefix + name, folder.level + 1) for name in names), day_prefixes)


def _folders(store: S3Client, bucket: str, prefix: str) -> list[str]:
    """The names of the folders directly below a prefix, each with its slash."""
    names: list[str] = []
    position: ListObjectsV2RequestTypeDef = {"Bucket": bucket, "Prefix": prefix, "Delimiter": "/"}
    while True:
        answer = _list(store, position)
        names += [common["Prefix"].removeprefix(prefix) for common in answer.get("CommonPrefixes", [])]
        if not answer["IsTruncated"]:
            return names
        position = {**position, "ContinuationToken": answer["NextContinuationToken"]}


def _list_day(store: S3Client, bucket: str, prefix: str, days: Collection[date]) -> _Step:
    """The catalogs below one `…/YYYY/MM/DD/`, page by page; jumps over the rest of a job whose root catalog was met."""
    catalogs: list[FoundCatalog] = []
    #: Those of the job that the listing is in: nothing else is given of a job that has a root catalog.
    in_job: list[FoundCatalog] = []
    job: OutputPrefix | None = None
    has_root = False
    position: ListObjectsV2RequestTypeDef = {"Bucket": bucket, "Prefix": prefix}
    while True:
        answer = _list(store, position)
        for listed in answer.get("Contents", []):
            key = listed["Key"]
            if job is None or not key.startswith(job.key):
                catalogs += in_job
                in_job, has_root, job = [], False, find_output_prefix(key)
            if job is None or job.day not in days or has_root or not key.endswith(f"/{CATALOG_NAME}"):
                continue
            if not is_storable(key):
                continue
            has_root = key == job.key + CATALOG_NAME
            found = FoundCatalog(
                bucket, key, listed["ETag"].strip('"'), listed["Size"], listed["LastModified"].astimezone(UTC)
            )
            in_job = [found] if has_root else [*in_job, found]
        if not answer["IsTruncated"]:
            return _Step(catalogs=(*catalogs, *in_job))
        if job is not None and has_root:
            position = {"Bucket": bucket, "Prefix": prefix, "StartAfter": job.key + _BEHIND}
        else:
            position = {"Bucket": bucket, "Prefix": prefix, "ContinuationToken": answer["NextContinuationToken"]}


def _list(store: S3Client, request: ListObjectsV2RequestTypeDef) -> ListObjectsV2OutputTypeDef:
    try:
        return store.list_objects_v2(**request)
    except (ClientError, BotoCoreError) as error:
        raise SourceUnavailable(
            f"The folder s3://{request['Bucket']}/{request.get('Prefix', '')} could not be listed: {error}."
        ) from error
