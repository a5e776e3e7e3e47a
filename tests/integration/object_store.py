"""A real S3 protocol over HTTP: moto's server in this process, on a free port of 127.0.0.1."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from maap_stac_orchestration.store.s3 import S3Objects

REGION = "us-west-2"


@dataclass(frozen=True)
class Bucket:
    """A bucket of its own, to put objects into."""

    name: str
    client: Any
    endpoint: str

    def put(self, key: str, data: bytes | str) -> None:
        body = data.encode() if isinstance(data, str) else data
        self.client.put_object(Bucket=self.name, Key=key, Body=body)

    def put_folder(self, folder: Path) -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(path.relative_to(folder).as_posix(), path.read_bytes())


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Where S3 answers; the environment holds what AWS's clients need while the tests run."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ENDPOINT_URL", endpoint)
        patch.setenv("AWS_REGION", REGION)
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        yield endpoint
    server.stop()


@pytest.fixture
def bucket(s3_endpoint: str) -> Bucket:
    """An empty bucket."""
    client = boto3.client("s3", endpoint_url=s3_endpoint, region_name=REGION)
    name = f"test-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return Bucket(name, client, s3_endpoint)


@pytest.fixture
def objects(s3_endpoint: str) -> S3Objects:
    """The store under test."""
    return S3Objects.from_environment()
