"""The local object store as a process of its own: what it remembers, whom it answers, and what reaches its queue."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from boto3.s3.transfer import TransferConfig

from maap_stac_orchestration.stack.object_store import client
from tests.conftest import free_port

BUCKET = "maap-ops-workspace"


@dataclass
class Store:
    """A store that can be started and killed again and again on one folder."""

    folder: Path
    port: int
    arguments: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, service: str) -> Any:
        return client(service, self.endpoint)

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "maap_stac_orchestration.stack.object_store"),
                *("--folder", str(self.folder), "--port", str(self.port), "--bucket", BUCKET),
                *self.arguments,
            ]
        )
        while not self._healthy():
            assert self.process.poll() is None, "the store ended while starting"
            time.sleep(0.05)

    def _healthy(self) -> bool:
        try:
            return bool(requests.get(f"{self.endpoint}/_health", timeout=5).ok)
        except requests.ConnectionError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def restart(self) -> None:
        self.kill()
        self.start()


@pytest.fixture
def make_store(tmp_path: Path) -> Iterator[Any]:
    stores = []

    def make(*arguments: str) -> Store:
        store = Store(tmp_path / "objects", free_port(), list(arguments))
        stores.append(store)
        store.start()
        return store

    yield make
    for store in stores:
        store.kill()


def _head(s3: Any, key: str) -> dict[str, Any]:
    answer = s3.head_object(Bucket=BUCKET, Key=key, ChecksumMode="ENABLED")
    del answer["ResponseMetadata"]
    return dict(answer)


def _messages(store: Store, queue: str = "dps-catalogs") -> list[dict[str, Any]]:
    sqs = store.client("sqs")
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    return [
        json.loads(message["Body"])
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0).get(
            "Messages", []
        )
    ]


def test_objects_outlive_the_process_with_their_metadata(make_store: Any) -> None:
    store = make_store()
    s3 = store.client("s3")
    big = os.urandom(9_000_000)
    keys = {
        "user/plain.json": b"{}",
        "user/../up/./a b+c&é%2F?.json": b"[1]",
        "deep/" + "x" * 900: b"long",
        "empty": b"",
        "user/big.tif": big[:300_000],
    }
    for key, body in keys.items():
        s3.put_object(Bucket=BUCKET, Key=key, Body=body, ContentType="application/json", Metadata={"made-by": "me"})
    s3.upload_fileobj(io.BytesIO(big), BUCKET, "user/parts.tif", Config=TransferConfig(multipart_threshold=6_000_000))
    s3.copy_object(Bucket=BUCKET, Key="copied", CopySource={"Bucket": BUCKET, "Key": "user/plain.json"})
    keys |= {"user/parts.tif": big, "copied": b"{}"}
    before = {key: _head(s3, key) for key in keys}

    store.restart()

    assert {key: _head(s3, key) for key in keys} == before
    assert {key: s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys} == keys
    part = s3.get_object(Bucket=BUCKET, Key="user/parts.tif", Range="bytes=8000000-8000009")["Body"].read()
    assert part == big[8_000_000:8_000_010]
    listed = s3.list_objects_v2(Bucket=BUCKET)["Contents"]
    assert {each["Key"]: each["ETag"] for each in listed} == {key: head["ETag"] for key, head in before.items()}


def test_what_was_deleted_or_replaced_stays_so(make_store: Any) -> None:
    store = make_store()
    s3 = store.client("s3")
    for key in ("one", "two", "three", "replaced"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"first")
    s3.delete_object(Bucket=BUCKET, Key="one")
    s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "two"}]})
    s3.put_object(Bucket=BUCKET, Key="replaced", Body=b"second")
    s3.create_bucket(Bucket="another", CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    s3.put_object(Bucket="another", Key="there", Body=b"too")

    store.restart()

    assert [each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == ["replaced", "three"]
    assert s3.get_object(Bucket=BUCKET, Key="replaced")["Body"].read() == b"second"
    assert s3.get_object(Bucket="another", Key="there")["Body"].read() == b"too"
    s3.delete_object(Bucket=BUCKET, Key="three")
    store.restart()
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == ["replaced"]


def test_what_a_crash_left_half_written_is_cleared_away(make_store: Any) -> None:
    store = make_store()
    s3 = store.client("s3")
    s3.put_object(Bucket=BUCKET, Key="key", Body=b"whole")
    (whole,) = [path for path in store.folder.rglob("*") if path.is_file() and path.name != "bucket.json"]
    half = whole.with_name(whole.name + ".partial")
    half.write_bytes(b'{"key": "ke')
    older = whole.with_name(whole.name.partition(".")[0] + ".0000000000000000001.00000000")
    older.write_bytes(whole.read_bytes().replace(b"whole", b"older"))

    store.restart()

    assert s3.get_object(Bucket=BUCKET, Key="key")["Body"].read() == b"whole"
    assert not half.exists()
    assert not older.exists()


def test_catalogs_are_announced_in_an_envelope(make_store: Any) -> None:
    store = make_store()
    s3 = store.client("s3")
    s3.put_object(Bucket=BUCKET, Key="user/a+b c/catalog.json", Body=b"{}")
    s3.put_object(Bucket=BUCKET, Key="user/item.json", Body=b"{}")
    test_event, event = (json.loads(message["Message"]) for message in _messages(store))
    assert test_event["Event"] == "s3:TestEvent"
    assert [record["s3"]["object"]["key"] for record in event["Records"]] == ["user%2Fa%2Bb+c%2Fcatalog.json"]


def test_catalogs_are_announced_raw_where_wanted_and_again_after_a_restart(make_store: Any) -> None:
    store = make_store("--raw")
    s3 = store.client("s3")
    store.restart()
    s3.put_object(Bucket=BUCKET, Key="user/catalog.json", Body=b"{}")
    _test_event, event = _messages(store)
    assert event["Records"][0]["s3"]["object"]["key"] == "user/catalog.json".replace("/", "%2F")


def test_restoring_sends_no_events(make_store: Any) -> None:
    store = make_store()
    store.client("s3").put_object(Bucket=BUCKET, Key="user/catalog.json", Body=b"{}")
    store.restart()
    assert [json.loads(message["Message"])["Event"] for message in _messages(store)] == ["s3:TestEvent"]


def test_a_message_that_is_never_deleted_ends_in_the_dead_letter_queue(make_store: Any) -> None:
    store = make_store("--raw")
    for _ in range(6):
        _messages(store)
    assert _messages(store) == []
    assert [message["Event"] for message in _messages(store, "dps-catalogs-dead-letter")] == ["s3:TestEvent"]


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example"}, {"Origin": "https://evil.example"}],
)
def test_only_this_machine_is_answered(make_store: Any, headers: dict[str, str]) -> None:
    store = make_store()
    assert requests.get(f"{store.endpoint}/{BUCKET}", headers=headers).status_code == 403
    assert requests.get(f"{store.endpoint}/{BUCKET}").status_code == 200


def test_motos_administration_cannot_be_reached(make_store: Any) -> None:
    store = make_store()
    assert requests.post(f"{store.endpoint}/moto-api/reset").status_code == 404
    assert requests.get(f"{store.endpoint}/{BUCKET}").status_code == 200


def test_catalogs_whose_messages_were_lost_are_in_the_ledger_after_a_restart(
    make_store: Any, database_env: dict[str, str], connection: psycopg.Connection[Any]
) -> None:
    store = make_store("--announce")
    key = "user/dps_output/algorithm/v1/tag/2025/08/19/09/59/01/262274/catalog.json"
    store.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"{}")
    store.client("s3").put_object(Bucket=BUCKET, Key="user/elsewhere.json", Body=b"{}")
    # Nobody has drained the queue, and it forgets.
    store.restart()
    deadline = time.monotonic() + 30
    while not (rows := connection.execute("SELECT key FROM ledger.catalog").fetchall()):
        assert time.monotonic() < deadline
        connection.rollback()
        time.sleep(0.1)
    assert rows == [(key,)]
