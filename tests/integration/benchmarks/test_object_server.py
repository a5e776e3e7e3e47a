"""The in-memory S3 of the benchmarks answers the clients that the project uses as S3 does."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import boto3
import pytest
from botocore.exceptions import ClientError

from benchmarks.object_server import Server, no_objects, serving
from maap_stac_orchestration.store.objects import ObjectMissing, ObjectTooLarge
from maap_stac_orchestration.store.s3 import S3Objects

KEYS = ["a/1/x.json", "a/1/y.json", "a/2/x.json", "a/b c+d%20ä&<>.json", "a/top.json", "b/other.json"]


def filled() -> Iterable[tuple[str, bytes]]:
    return [(key, key.encode()) for key in KEYS]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving({"filled": filled, "empty": no_objects}) as running:
        yield running


@pytest.fixture(autouse=True)
def _environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def listed(**asked: object) -> dict[str, object]:
    answer = boto3.client("s3").list_objects_v2(Bucket="filled", **asked)
    return {
        "keys": [one["Key"] for one in answer.get("Contents", [])],
        "folders": [one["Prefix"] for one in answer.get("CommonPrefixes", [])],
        "more": answer["IsTruncated"],
    }


def test_a_prefix_is_listed_whole():
    assert listed(Prefix="a/") == {"keys": sorted(KEYS[:5]), "folders": [], "more": False}


def test_folders_are_listed_by_the_delimiter():
    assert listed(Prefix="a/", Delimiter="/") == {
        "keys": sorted(KEYS[3:5]),
        "folders": ["a/1/", "a/2/"],
        "more": False,
    }
    assert listed(Delimiter="/") == {"keys": [], "folders": ["a/", "b/"], "more": False}


def test_a_listing_begins_after_a_key():
    assert listed(Prefix="a/", StartAfter="a/1/y.json")["keys"] == sorted(KEYS[2:5])
    assert listed(Prefix="a/", Delimiter="/", StartAfter="a/1/y.json")["folders"] == ["a/2/"]


@pytest.mark.parametrize("delimiter", ["", "/"])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_pages_come_to_the_same_as_one_page(size, delimiter):
    arguments = {"Prefix": "a/", "Delimiter": delimiter} if delimiter else {"Prefix": "a/"}
    pages = list(
        boto3.client("s3")
        .get_paginator("list_objects_v2")
        .paginate(Bucket="filled", PaginationConfig={"PageSize": size}, **arguments)
    )
    assert all(page["KeyCount"] <= size for page in pages)
    whole = listed(**arguments)
    assert [one["Key"] for page in pages for one in page.get("Contents", [])] == whole["keys"]
    assert [one["Prefix"] for page in pages for one in page.get("CommonPrefixes", [])] == whole["folders"]


async def test_the_store_reads_every_key_and_tells_what_is_missing():
    store = S3Objects.from_environment()
    infos = await store.list("filled", "a/")
    assert [info.key for info in infos] == sorted(KEYS[:5])
    for info in infos:
        fetched = await store.get("filled", info.key, 1000)
        assert fetched.data == info.key.encode()
        assert (fetched.info.etag, fetched.info.size) == (info.etag, info.size)
    with pytest.raises(ObjectMissing):
        await store.get("filled", "a/3/x.json", 1000)
    with pytest.raises(ObjectTooLarge):
        await store.get("filled", KEYS[0], 3)
    assert await store.list("empty", "a/") == []


@pytest.mark.parametrize(("bucket", "code"), [("filled", "NoSuchKey"), ("not-there", "NoSuchBucket")])
def test_what_is_not_there_is_404(bucket, code):
    with pytest.raises(ClientError) as refused:
        boto3.client("s3").get_object(Bucket=bucket, Key="nothing")
    assert refused.value.response["Error"]["Code"] == code
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_what_is_written_is_read_and_listed():
    s3 = boto3.client("s3")
    s3.put_object(Bucket="empty", Key="new/key.json", Body=b"new")
    assert s3.get_object(Bucket="empty", Key="new/key.json")["Body"].read() == b"new"
    assert [one["Key"] for one in s3.list_objects_v2(Bucket="empty", Prefix="new/")["Contents"]] == ["new/key.json"]


def test_a_delay_passes_before_each_answer(monkeypatch):
    with serving({"filled": filled}, latency=0.2) as slow:
        s3 = boto3.client("s3", endpoint_url=slow.endpoint)
        began = time.monotonic()
        s3.get_object(Bucket="filled", Key=KEYS[0])
        assert time.monotonic() - began >= 0.2
