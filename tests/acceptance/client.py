"""What a user of a running stack does: put objects, announce them, ask what became of jobs, search.

Here belong the few calls that acceptance tests share. Not here: starting the stack (`conftest`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

import boto3
from pystac_client import Client

T = TypeVar("T")
TERMINAL = {"loaded", "partial", "rejected", "failed"}


@dataclass(frozen=True, slots=True)
class StackClient:
    """A client of the stack that a `stack.json` describes."""

    stack: dict[str, Any]

    @property
    def env(self) -> dict[str, str]:
        """What a client must export."""
        return dict(self.stack["env"])

    def aws(self, service: str) -> Any:
        """A boto3 client of the stack's S3, SQS or SNS."""
        return boto3.client(  # type: ignore[call-overload]
            service,
            endpoint_url=self.stack["s3_endpoint"],
            region_name=self.env["AWS_REGION"],
            aws_access_key_id=self.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.env["AWS_SECRET_ACCESS_KEY"],
        )

    def put(self, key: str, body: bytes | dict[str, Any]) -> str:
        """Writes an object and gives its etag."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self.aws("s3").put_object(Bucket=self.stack["bucket"], Key=key, Body=data)
        return str(answer["ETag"]).strip('"')

    def put_folder(self, folder: Path) -> dict[str, str]:
        """Writes every file of a folder in the shape of a bucket; gives key -> etag."""
        s3 = self.aws("s3")
        etags = {}
        for path in sorted(one for one in folder.rglob("*") if one.is_file()):
            key = path.relative_to(folder).as_posix()
            answer = s3.put_object(Bucket=self.stack["bucket"], Key=key, Body=path.read_bytes())
            etags[key] = str(answer["ETag"]).strip('"')
        return etags

    def announce(self, catalogs: Iterable[tuple[str, str]]) -> None:
        """Sends an S3 event for each (key, etag) to the queue, as S3 would once more."""
        sqs = self.aws("sqs")
        for key, etag in catalogs:
            record = {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "awsRegion": self.env["AWS_REGION"],
                "eventTime": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
                "eventName": "ObjectCreated:Put",
                "s3": {
                    "bucket": {"name": self.stack["bucket"]},
                    "object": {"key": quote(key), "eTag": etag, "size": 1},
                },
            }
            sqs.send_message(QueueUrl=self.stack["queue_url"], MessageBody=json.dumps({"Records": [record]}))

    def get(self, path: str) -> dict[str, Any] | None:
        """A JSON document of the API, None where there is none."""
        try:
            with urlopen(f"{self.stack['api_url']}{path}", timeout=30) as answer:
                document = json.load(answer)
        except HTTPError as error:
            if error.code == 404:
                return None
            raise
        assert isinstance(document, dict)
        return document

    def job(self, prefix: str) -> dict[str, Any] | None:
        """What became of a job; None before it came to notice."""
        return self.get(f"/jobs/{quote(prefix, safe='')}")

    def await_jobs(self, prefixes: Collection[str], timeout: float = 120) -> dict[str, dict[str, Any]]:
        """Waits until every job has ended; gives prefix -> document."""

        def ended() -> dict[str, dict[str, Any]] | None:
            jobs = {prefix: self.job(prefix) for prefix in prefixes}
            return (
                {p: j for p, j in jobs.items() if j}
                if all(j and j["state"] in TERMINAL for j in jobs.values())
                else None
            )

        return eventually(ended, timeout, lambda: {p: (self.job(p) or {}).get("state") for p in prefixes})

    def stac(self) -> Client:
        """A pystac-client of the STAC API."""
        return Client.open(self.stack["api_url"])


def eventually(look: Callable[[], T | None], timeout: float, tell: Callable[[], object] = lambda: "") -> T:
    """What `look` gives once it gives something; fails with what `tell` says."""
    deadline = time.monotonic() + timeout
    while True:
        found = look()
        if found is not None:
            return found
        assert time.monotonic() < deadline, f"nothing within {timeout} s: {tell()}"
        time.sleep(1)
