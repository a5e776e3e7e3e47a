"""Writing `stac-ingest-report.json` beside a job's catalog.

Here belongs the object, and that no other is overwritten. Not here: what the report says (`messages`).
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from maap_stac_orchestration.pipeline.notification.answer import Answer
from maap_stac_orchestration.pipeline.notification.messages import GENERATOR

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: The name of the report, at the root of the output prefix.
NAME = "stac-ingest-report.json"
#: The object's own metadata, by which a report is known as ours.
_MARK = "generator"

#: S3's words for an object that is not the one that was looked at.
_CHANGED = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
_ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a report goes, as it was looked at before the report was made."""

    bucket: str
    key: str
    #: Of the report that is there; None where none is.
    etag: str | None


class Reports:
    """Writes reports, over a client that is kept; may be used from several threads."""

    def __init__(self) -> None:
        self._s3: S3Client | None = None
        self._lock = Lock()

    def look(self, bucket: str, prefix: str) -> Place | Answer:
        """What is there: the place of a report, or why none is to be written."""
        from botocore.exceptions import BotoCoreError, ClientError

        key = prefix + NAME
        try:
            head = self._client().head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _ABSENT:
                return Place(bucket, key, None)
            return _refused(bucket, key, error)
        except BotoCoreError as error:
            return Answer(False, f"S3 did not answer: {error}")
        if head.get("Metadata", {}).get(_MARK) != GENERATOR:
            return Answer(
                True, f"Not written: s3://{bucket}/{key} was written by somebody else, and is left as it is; rename it."
            )
        return Place(bucket, key, head["ETag"])

    def write(self, place: Place, body: bytes) -> Answer:
        """Writes a report, unless something else was written there since the place was looked at."""
        from botocore.exceptions import BotoCoreError, ClientError

        condition = {"IfNoneMatch": "*"} if place.etag is None else {"IfMatch": place.etag}
        try:
            self._client().put_object(
                Bucket=place.bucket,
                Key=place.key,
                Body=body,
                ContentType="application/json",
                Metadata={_MARK: GENERATOR},
                **condition,  # type: ignore[arg-type]
            )
        except ClientError as error:
            return _refused(place.bucket, place.key, error)
        except BotoCoreError as error:
            return Answer(False, f"S3 did not answer: {error}")
        return Answer(True, f"Written: s3://{place.bucket}/{place.key}")

    def _client(self) -> S3Client:
        from botocore.config import Config

        from maap_stac_orchestration.store.aws import client

        with self._lock:  # boto3's default session is not for several threads at once
            if self._s3 is None:
                # What fails is tried again by the outbox.
                config = Config(
                    connect_timeout=4, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2}
                )
                self._s3 = client("s3", config=config)
            return self._s3


def _refused(bucket: str, key: str, error: Exception) -> Answer:
    told = getattr(error, "response", {}).get("Error", {})
    code = str(told.get("Code", "unknown"))
    if code in _CHANGED:
        return Answer(
            False, f"s3://{bucket}/{key} was written by somebody else at the same moment; it is looked at again."
        )
    advice = " Allow these credentials s3:GetObject and s3:PutObject there." if code in {"403", "AccessDenied"} else ""
    return Answer(False, f"s3://{bucket}/{key} cannot be written: {code}: {told.get('Message', error)}.{advice}")
