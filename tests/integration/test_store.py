"""Objects are listed and read from S3 and from folders alike, and errors tell whose they are."""

from __future__ import annotations

import asyncio
import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import boto3
import pytest

from maap_stac_orchestration.store.local import LocalObjects
from maap_stac_orchestration.store.objects import (
    PAGE,
    ObjectMissing,
    ObjectTooLarge,
    ObjectUnreadable,
    StoreUnavailable,
)
from maap_stac_orchestration.store.s3 import S3Objects
from tests.integration.object_store import REGION, bucket, objects, s3_endpoint  # noqa: F401

NAMES = [
    "p/a.json",
    "p/a b.json",
    "p/a%20b.json",
    "p/ä.json",
    "p/a#b?c=d&e.json",
    "p/a+b*~[]^{}|<>'\".json",
    "p/back\\slash.json",
    "p/deep/er/x:y.json",
]
#: Names that obstore cannot spell, and that any job can write.
ODD_NAMES = ["p/tab\there.json", "p/two//slashes.json", "p/control\x01.json"]


async def test_every_name_is_listed_and_read(bucket, objects):  # noqa: F811
    for name in [*NAMES, "q/other.json", "pp.json"]:
        bucket.put(name, name)

    listed = await objects.list(bucket.name, "p/")

    assert [info.key for info in listed] == sorted(NAMES)
    for info in listed:
        fetched = await objects.get(bucket.name, info.key, 1000)
        assert fetched.data == info.key.encode()
        assert fetched.info == info
        assert info.etag == hashlib.md5(info.key.encode()).hexdigest()
        assert info.size == len(info.key.encode())
        assert info.last_modified.utcoffset() is not None


@pytest.mark.parametrize("odd", ODD_NAMES)
async def test_an_odd_name_hides_no_other_object(bucket, objects, odd):  # noqa: F811
    for name in [odd, "p/a.json"]:
        bucket.put(name, name)

    listed = await objects.list(bucket.name, "p/")

    assert [info.key for info in listed] == sorted([odd, "p/a.json"])
    assert (await objects.get(bucket.name, odd, 1000)).data == odd.encode()
    with pytest.raises(ObjectMissing):
        await objects.get(bucket.name, odd + "x", 1000)
    with pytest.raises(ObjectTooLarge):
        await objects.get(bucket.name, odd, 3)


async def test_more_objects_than_fit_a_page_are_all_listed(bucket, objects, monkeypatch):  # noqa: F811
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")
    for number in range(25):
        bucket.put(f"p/{number:05}", b"")

    assert len(await objects.list(bucket.name, "p/")) == 25
    bucket.put("p/tab\t", b"")
    assert len(await objects.list(bucket.name, "")) == 26
    assert await objects.list(bucket.name, "p/0/") == []


async def test_a_prefix_with_an_empty_folder_is_listed(bucket, objects):  # noqa: F811
    bucket.put("p//t/a.json", b"1")

    assert [info.key for info in await objects.list(bucket.name, "p//t/")] == ["p//t/a.json"]


async def test_a_version_is_told(bucket, objects):  # noqa: F811
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    bucket.put("a.json", b"1")

    fetched = await objects.get(bucket.name, "a.json", 10)

    assert fetched.info.version_id == bucket.client.head_object(Bucket=bucket.name, Key="a.json")["VersionId"]


async def test_only_as_many_bytes_as_are_wanted_are_read(bucket, objects):  # noqa: F811
    bucket.put("a.json", b"12345")

    assert (await objects.get(bucket.name, "a.json", 5)).data == b"12345"
    with pytest.raises(ObjectTooLarge, match="has 5 bytes; at most 4 are read"):
        await objects.get(bucket.name, "a.json", 4)


@pytest.mark.parametrize("key", ["missing.json", "dir", "dir/", "/a.json", ""])
async def test_a_missing_object_is_not_the_stores_fault(bucket, objects, key):  # noqa: F811
    bucket.put("dir/a.json", b"1")

    with pytest.raises(ObjectMissing):
        await objects.get(bucket.name, key, 10)


@pytest.mark.parametrize("key", ["a.json", "a\tb"])
async def test_a_missing_bucket_is_the_stores_fault(objects, key):  # noqa: F811
    for call in (objects.get("no-such-bucket", key, 10), objects.list("no-such-bucket", f"{key}/")):
        with pytest.raises(StoreUnavailable, match=r"s3://no-such-bucket/a.*There is no such bucket: correct"):
            await call


def test_a_store_serves_several_event_loops_one_after_another(bucket, objects):  # noqa: F811
    bucket.put("a.json", b"1")

    for _ in range(3):
        assert asyncio.run(objects.get(bucket.name, "a.json", 10)).data == b"1"


async def test_without_credentials_nothing_is_read_anonymously(bucket, monkeypatch, tmp_path):  # noqa: F811
    bucket.client.put_object(Bucket=bucket.name, Key="a.json", Body=b"1", ACL="public-read")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))

    with pytest.raises(StoreUnavailable, match="There are no AWS credentials: set AWS_ACCESS_KEY_ID"):
        await S3Objects.from_environment().get(bucket.name, "a.json", 10)

    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    assert (await S3Objects.from_environment().get(bucket.name, "a.json", 10)).data == b"1"


async def test_nobody_listening_is_told_with_what_to_check(bucket):  # noqa: F811
    unheard = S3Objects(endpoint="http://127.0.0.1:1", region=REGION)

    with pytest.raises(StoreUnavailable, match=r"s3://b-b-b/k cannot be read.*AWS_ENDPOINT_URL"):
        await unheard.get("b-b-b", "k", 10)


class Answers(BaseHTTPRequestHandler):
    """An S3 that answers every request with the status and code named in the key: `403-AccessDenied`."""

    def do_GET(self):
        status, _, code = self.path.rpartition("/")[2].partition("?")[0].partition("-")
        message = "The object was stored using a form of Server Side Encryption." if code == "InvalidRequest" else ""
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        self.send_response(int(status))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def answering(s3_endpoint):  # noqa: F811
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    Thread(target=server.serve_forever, daemon=True).start()
    yield S3Objects(endpoint=f"http://127.0.0.1:{server.server_port}", region=REGION)
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("key", "error", "sentence"),
    [
        ("404-NoSuchKey", ObjectMissing, "There is no object"),
        ("404-NoSuchBucket", StoreUnavailable, "There is no such bucket"),
        ("403-AccessDenied", StoreUnavailable, "allow these credentials s3:ListBucket and s3:GetObject"),
        ("403-ExpiredToken", StoreUnavailable, "have expired"),
        ("403-SignatureDoesNotMatch", StoreUnavailable, "correct AWS_SECRET_ACCESS_KEY"),
        ("401-Whatever", StoreUnavailable, "credentials are not accepted"),
        ("301-PermanentRedirect", StoreUnavailable, "another region: set AWS_REGION"),
        ("400-Whatever", StoreUnavailable, "400 Bad Request"),
        ("403-InvalidObjectState", ObjectUnreadable, "archived"),
        ("400-InvalidRequest", ObjectUnreadable, "encrypted with a key of the customer"),
    ],
)
async def test_each_refusal_is_told_for_what_it_is(answering, key, error, sentence):
    with pytest.raises(error, match=sentence):
        await answering.get("bucket", key, 100)


async def test_a_folder_is_read_like_a_bucket(bucket, objects, tmp_path):  # noqa: F811
    for name in NAMES:
        bucket.put(name, name)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    local = LocalObjects(tmp_path)

    for prefix in ["", "p/", "p/deep/", "q/"]:
        here, there = await local.list("any", prefix), await objects.list(bucket.name, prefix)
        assert [(info.key, info.size) for info in here] == [(info.key, info.size) for info in there]
    for info in await local.list("any", ""):
        fetched = await local.get("any", info.key, 100)
        assert fetched.data == info.key.encode()
        assert fetched.info == info
    for missing in ["x", "p", "p/", "p//a.json", "p/../p/a.json", "/etc/passwd", "p/a\0.json", ""]:
        with pytest.raises(ObjectMissing):
            await local.get("any", missing, 100)
    with pytest.raises(ObjectTooLarge):
        await local.get("any", "p/a.json", 3)


async def test_a_folder_can_stand_for_a_prefix(tmp_path):
    (tmp_path / "items").mkdir()
    (tmp_path / "items" / "a.json").write_text("1")
    local = LocalObjects(tmp_path, "u/dps_output/")

    assert [info.key for info in await local.list("any", "u/dps_output/")] == ["u/dps_output/items/a.json"]
    assert [info.key for info in await local.list("any", "u/")] == ["u/dps_output/items/a.json"]
    assert await local.list("any", "v/") == []
    assert (await local.get("any", "u/dps_output/items/a.json", 9)).data == b"1"
    with pytest.raises(ObjectMissing):
        await local.get("any", "items/a.json", 9)


async def test_links_do_not_lead_out_of_a_folder(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (inside / "a.json").write_text("1")
    (outside / "secret.json").write_text("2")
    (inside / "alias.json").symlink_to(inside / "a.json")
    (inside / "file.json").symlink_to(outside / "secret.json")
    (inside / "folder").symlink_to(outside)
    (inside / "nowhere.json").symlink_to(inside / "gone.json")
    local = LocalObjects(inside)

    assert [info.key for info in await local.list("any", "")] == ["a.json", "alias.json"]
    assert await local.list("any", "folder/") == []
    assert (await local.get("any", "alias.json", 9)).data == b"1"
    for key in ["file.json", "folder/secret.json", "nowhere.json"]:
        with pytest.raises(ObjectMissing):
            await local.get("any", key, 9)


def test_the_environment_is_read(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://one")
    monkeypatch.setenv("AWS_REGION", "r-1")
    monkeypatch.delenv("AWS_SKIP_SIGNATURE", raising=False)
    assert (S3Objects.from_environment().endpoint, S3Objects.from_environment().region) == ("http://one", "r-1")
    assert S3Objects.from_environment().anonymous is False
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://two")
    assert S3Objects.from_environment().endpoint == "http://two"


def test_boto3_is_what_finds_credentials_in_a_profile(bucket, monkeypatch, tmp_path):  # noqa: F811
    bucket.put("a.json", b"1")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    config = tmp_path / "config"
    config.write_text("[profile mine]\naws_access_key_id = testing\naws_secret_access_key = testing\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "mine")
    boto3.DEFAULT_SESSION = None

    assert asyncio.run(S3Objects.from_environment().get(bucket.name, "a.json", 10)).data == b"1"

    monkeypatch.setenv("AWS_PROFILE", "not-there")
    with pytest.raises(StoreUnavailable, match="Correct AWS_PROFILE"):
        asyncio.run(S3Objects.from_environment().get(bucket.name, "a.json", 10))


async def test_a_listing_begins_after_a_key(bucket, objects):  # noqa: F811
    for name in [*NAMES, "q/other.json", "pp.json"]:
        bucket.put(name, name)

    whole = await objects.list(bucket.name, "p/")

    assert await objects.list_after(bucket.name, "p/", "p") == whole
    for number, info in enumerate(whole):
        assert await objects.list_after(bucket.name, "p/", info.key) == whole[number + 1 :]


@pytest.mark.parametrize("odd", ODD_NAMES)
async def test_a_page_with_an_odd_name_cannot_be_had(bucket, objects, odd):  # noqa: F811
    for name in [odd, "p/z.json"]:
        bucket.put(name, name)

    assert await objects.list_after(bucket.name, "p/", "p") is None
    assert await objects.list_after(bucket.name, "p/", odd) is None


async def test_a_listing_after_a_key_gives_one_page(bucket, objects):  # noqa: F811
    for number in range(PAGE + 5):
        bucket.put(f"p/{number:05}", b"")

    first = await objects.list_after(bucket.name, "p/", "p")
    rest = await objects.list_after(bucket.name, "p/", first[-1].key)

    assert [len(first), len(rest)] == [PAGE, 5]
    assert [info.key for info in [*first, *rest]] == [f"p/{number:05}" for number in range(PAGE + 5)]
