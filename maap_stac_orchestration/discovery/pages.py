"""One request to list objects of a bucket, and what it answers.

Here belongs asking S3 for a page of keys. Not here: which pages are asked for (`groups`, `spans`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from maap_stac_orchestration.discovery.found import SourceUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2RequestTypeDef

#: Sorts behind every key that begins with what it is appended to: keys sort by their UTF-8 bytes, and this is the last
#: character there is.
BEHIND = "\U0010ffff"

#: As many as S3 gives at once.
FULL_PAGE = 1000


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object as a listing tells of it."""

    key: str
    #: Without quotes.
    etag: str
    #: Bytes.
    size: int
    #: UTC, whole seconds.
    last_modified: datetime


@dataclass(frozen=True, slots=True)
class Page:
    """What a request answered: in the order of their UTF-8 bytes, which is the order of Python's texts."""

    objects: tuple[ListedObject, ...]
    #: The folders directly below the prefix, by their names without the slash; only where folders were asked for.
    folders: tuple[str, ...]
    #: What to ask for the next page of folders with; None where there is none.
    token: str | None
    #: Whether there is more.
    more: bool


@dataclass(frozen=True, slots=True)
class Pages:
    """Asks a bucket for pages; may be used by several threads, as its client may."""

    client: S3Client
    bucket: str

    def objects(self, prefix: str, *, after: str = "", most: int = FULL_PAGE) -> Page:
        """The first objects below a prefix, however deep, whose keys sort behind `after`.

        Raises:
            SourceUnavailable: the request failed.
        """
        request: ListObjectsV2RequestTypeDef = {"Bucket": self.bucket, "Prefix": prefix, "MaxKeys": most}
        # A start before everything says nothing, and not every S3 knows what to make of one without any key.
        return self._ask({**request, "StartAfter": after} if after > prefix else request)

    def folders(self, prefix: str, *, token: str | None = None) -> Page:
        """The folders directly below a prefix, which is a folder or the root; what lies in them costs nothing.

        Raises:
            SourceUnavailable: the request failed.
        """
        request: ListObjectsV2RequestTypeDef = {"Bucket": self.bucket, "Prefix": prefix, "Delimiter": "/"}
        return self._ask({**request, "ContinuationToken": token} if token else request)

    def _ask(self, request: ListObjectsV2RequestTypeDef) -> Page:
        prefix = request.get("Prefix", "")
        try:
            answer = self.client.list_objects_v2(**request)
        except (ClientError, BotoCoreError) as error:
            raise SourceUnavailable(f"The folder s3://{self.bucket}/{prefix} could not be listed: {error}.") from error
        return Page(
            objects=tuple(
                ListedObject(one["Key"], one["ETag"].strip('"'), one["Size"], one["LastModified"].astimezone(UTC))
                for one in answer.get("Contents", ())
            ),
            folders=tuple(one["Prefix"][len(prefix) : -1] for one in answer.get("CommonPrefixes", ())),
            token=answer.get("NextContinuationToken"),
            more=answer["IsTruncated"],
        )
