"""S3 and what speaks its protocol, through obstore's asynchronous client.

Here belongs how a bucket is reached and what its errors mean. Not here: events and listings over many jobs
(`discovery`). A client that is opened for each read costs 7 ms, a read on one that is kept 0.2 ms: one is kept for
each bucket.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar

import obstore
from obstore.exceptions import BaseError, InvalidPathError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from maap_stac_orchestration.store.objects import (
    PAGE,
    Fetched,
    ObjectInfo,
    ObjectMissing,
    ObjectTooLarge,
    ObjectUnreadable,
    StoreUnavailable,
)

if TYPE_CHECKING:
    import boto3
    from obstore import ObjectMeta
    from obstore.auth.boto3 import Boto3CredentialProvider
    from obstore.store import ClientConfig, RetryConfig, S3Config

_T = TypeVar("_T")

#: botocore renews what expires long before its time; asking it again every few minutes is enough to see that.
_CREDENTIALS_LIFE = timedelta(minutes=5)

# Six tries in some ten seconds: a restart of the store is waited out, an outage is told soon.
_RETRY: RetryConfig = {
    "max_retries": 5,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=4), "base": 2},
}

#: Bytes of an object that are there when its head is.
_COMES_AT_ONCE = 64 * 1024

#: An empty segment, `.` or `..`.
_ODD_SEGMENT = re.compile(r"(?:^|/)\.{0,2}(?:/|\Z)")

# S3's words for an object that is there and that nobody can read now; they say nothing about the bucket.
_UNREADABLE = {
    "InvalidObjectState": "It is archived; restore it, or upload it again.",
    "using a form of Server Side Encryption": "It is encrypted with a key of the customer; upload it without.",
}


class S3Objects:
    """The buckets of one S3 endpoint. Requests are signed, unless `anonymous` was asked for.

    Args:
        endpoint: Where S3 is; None for AWS itself.
        region: The buckets' region; None for what the AWS configuration says, else us-east-1.
        anonymous: Do not sign requests, for public buckets.
        connections: How many idle connections are kept for each bucket.
    """

    def __init__(
        self,
        *,
        endpoint: str | None = None,
        region: str | None = None,
        anonymous: bool = False,
        connections: int = 256,
    ) -> None:
        self.endpoint = endpoint
        self.region = region
        self.anonymous = anonymous
        self._connections = connections
        self._stores: dict[str, S3Store] = {}
        self._session: boto3.Session | None = None
        self._credentials: Boto3CredentialProvider | None = None
        self._client: Any = None
        self._lock = threading.RLock()

    @classmethod
    def from_environment(cls) -> Self:
        """Reads AWS's own variables: `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_SKIP_SIGNATURE`.

        Credentials come from wherever boto3 finds them: variables, a profile, a role of the machine or container.
        """
        return cls(
            endpoint=os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None,
            region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or None,
            anonymous=os.environ.get("AWS_SKIP_SIGNATURE", "").lower() in {"1", "true", "yes"},
        )

    async def list(self, bucket: str, prefix: str) -> list[ObjectInfo]:
        """See `ObjectStore.list`."""
        if prefix and not _is_plain(prefix.removesuffix("/")):
            return await asyncio.to_thread(self._with_boto3, _list_any_names, bucket, prefix)
        store = await self._store(bucket)
        with _telling(bucket, prefix):
            try:
                found = await obstore.list(store, prefix or None).collect_async()
            except InvalidPathError:
                # One key with `//` or a control character, which any job can write, and obstore gives nothing at all.
                return await asyncio.to_thread(self._with_boto3, _list_any_names, bucket, prefix)
        listed = [_info(one) for one in found]
        listed.sort(key=lambda info: info.key)
        return listed

    async def list_after(self, bucket: str, prefix: str, after: str) -> Sequence[ObjectInfo] | None:
        """See `ListsInPages.list_after`."""
        if not (_is_plain(prefix.removesuffix("/")) and _is_plain(after)):
            return None
        store = await self._store(bucket)
        with _telling(bucket, prefix):
            pages = obstore.list(store, prefix or None, offset=after, chunk_size=PAGE)
            try:
                found = await anext(pages)
            except StopAsyncIteration:
                return []
            except InvalidPathError:
                return None
        return [_info(one) for one in found]

    async def get(self, bucket: str, key: str, max_bytes: int) -> Fetched:
        """See `ObjectStore.get`."""
        if not _is_plain(key):
            return await asyncio.to_thread(self._with_boto3, _get_any_name, bucket, key, max_bytes)
        store = await self._store(bucket)
        with _telling(bucket, key):
            answer = await obstore.get_async(store, key)
            meta = answer.meta
            if meta["size"] > max_bytes:
                raise ObjectTooLarge(bucket, key, meta["size"], max_bytes)
            # The bytes of a small object come with its head: waiting for them through the event loop costs more than
            # the request did.
            small = meta["size"] <= _COMES_AT_ONCE
            data = bytes(answer.bytes() if small else await answer.bytes_async())
        info = ObjectInfo(key, len(data), _unquoted(meta["e_tag"]), meta["last_modified"], meta["version"])
        return Fetched(info, data)

    async def _store(self, bucket: str) -> S3Store:
        store = self._stores.get(bucket)
        if store is None:
            # Looking for credentials may ask the machine's metadata service, which takes seconds where there is none.
            store = await asyncio.to_thread(self._open, bucket)
        return store

    def _open(self, bucket: str) -> S3Store:
        with self._lock:
            if bucket in self._stores:
                return self._stores[bucket]
            config: S3Config = {
                # A bucket's name is a host name on AWS, except with dots, which its certificate does not cover.
                "virtual_hosted_style_request": self.endpoint is None and "." not in bucket,
                "skip_signature": self.anonymous,
            }
            if self.endpoint is not None:
                config["endpoint"] = self.endpoint
            region = self.region or self._aws().region_name
            if region:
                config["region"] = region
            client: ClientConfig = {
                "allow_http": (self.endpoint or "").startswith("http://"),
                "connect_timeout": timedelta(seconds=5),
                "timeout": timedelta(seconds=60),
                "pool_max_idle_per_host": str(self._connections),
            }
            try:
                store = S3Store(
                    bucket,
                    config=config,
                    client_options=client,
                    retry_config=_RETRY,
                    credential_provider=None if self.anonymous else self._credential_provider(),
                )
            except (BaseError, ValueError) as error:
                raise StoreUnavailable(
                    f"The bucket {bucket} cannot be opened: {_first_line(error)}."
                    " Correct AWS_ENDPOINT_URL, AWS_REGION or the bucket's name."
                ) from error
            self._stores[bucket] = store
            return store

    def _aws(self) -> boto3.Session:
        if self._session is None:
            import boto3
            from botocore.exceptions import BotoCoreError

            try:
                self._session = boto3.Session(region_name=self.region)
            except BotoCoreError as error:
                raise StoreUnavailable(
                    f"The AWS configuration cannot be used: {error}. Correct AWS_PROFILE."
                ) from error
        return self._session

    def _credential_provider(self) -> Boto3CredentialProvider:
        if self._credentials is None:
            from botocore.exceptions import BotoCoreError
            from obstore.auth.boto3 import Boto3CredentialProvider

            session = self._aws()
            try:
                found = session.get_credentials()
            except BotoCoreError as error:
                raise StoreUnavailable(f"The AWS credentials cannot be used: {error}. Correct them.") from error
            if found is None:
                raise StoreUnavailable(
                    "There are no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or"
                    " give the machine a role. AWS_SKIP_SIGNATURE=true reads public buckets without any."
                )
            self._credentials = Boto3CredentialProvider(session, ttl=_CREDENTIALS_LIFE)
        return self._credentials

    def _with_boto3(self, read: Callable[..., _T], bucket: str, key: str, *arguments: int) -> _T:
        """Reads one of the few keys that obstore's paths cannot spell."""
        return read(self._boto3_client(), bucket, key, *arguments)

    def _boto3_client(self) -> Any:
        with self._lock:
            if self._client is None:
                from botocore import UNSIGNED
                from botocore.config import Config

                if not self.anonymous:
                    self._credential_provider()  # tells missing credentials in our words
                self._client = self._aws().client(
                    "s3",
                    endpoint_url=self.endpoint,
                    region_name=self.region or self._aws().region_name or "us-east-1",
                    config=Config(
                        signature_version=UNSIGNED if self.anonymous else None,
                        s3={"addressing_style": "path" if self.endpoint else "auto"},
                        connect_timeout=5,
                        read_timeout=60,
                        retries={"mode": "standard", "total_max_attempts": 4},
                    ),
                )
            return self._client


def _info(listed: ObjectMeta) -> ObjectInfo:
    return ObjectInfo(
        listed["path"], listed["size"], _unquoted(listed["e_tag"]), listed["last_modified"], listed["version"]
    )


def _list_any_names(client: Any, bucket: str, prefix: str) -> list[ObjectInfo]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [
            ObjectInfo(one["Key"], one["Size"], _unquoted(one["ETag"]), one["LastModified"].astimezone(UTC))
            for page in pages
            for one in page.get("Contents", ())
            # A folder's marker, which obstore leaves out as well.
            if one["Key"] != prefix
        ]
    except (BotoCoreError, ClientError) as error:
        raise _unavailable(bucket, prefix, str(error)) from error


def _get_any_name(client: Any, bucket: str, key: str, max_bytes: int) -> Fetched:
    from botocore.exceptions import BotoCoreError, ClientError

    if not key:
        raise ObjectMissing(bucket, key)
    try:
        answer = client.get_object(Bucket=bucket, Key=key)
        with answer["Body"] as body:
            size = answer["ContentLength"]
            data = b"" if size > max_bytes else body.read()
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code")
        if code in {"NoSuchKey", "404"}:
            raise ObjectMissing(bucket, key) from None
        _raise_if_unreadable(bucket, key, str(error))
        raise _unavailable(bucket, key, str(error)) from error
    except BotoCoreError as error:
        raise _unavailable(bucket, key, str(error)) from error
    if size > max_bytes:
        raise ObjectTooLarge(bucket, key, size, max_bytes)
    modified = answer["LastModified"].astimezone(UTC)
    return Fetched(ObjectInfo(key, size, _unquoted(answer["ETag"]), modified, answer.get("VersionId")), data)


def _is_plain(key: str) -> bool:
    """Whether obstore addresses this very key: it refuses some spellings and quietly mends others (`a/` to `a`)."""
    return key.isprintable() and _ODD_SEGMENT.search(key) is None


def _unquoted(etag: str | None) -> str:
    return (etag or "").removeprefix("W/").strip('"')


@contextmanager
def _telling(bucket: str, key: str) -> Iterator[None]:
    """Turns obstore's errors into ours."""
    try:
        yield
    except FileNotFoundError as error:
        # obstore says the same of a bucket that is not there.
        if "NoSuchBucket" in str(error):
            raise _unavailable(bucket, key, "NoSuchBucket") from error
        raise ObjectMissing(bucket, key) from None
    except InvalidPathError:
        raise
    except (BaseError, OSError, ValueError) as error:
        text = str(error)
        _raise_if_unreadable(bucket, key, text)
        if isinstance(error, PermissionDeniedError):
            text = f"AccessDenied: {text}"
        elif isinstance(error, UnauthenticatedError):
            text = f"InvalidAccessKeyId: {text}"
        raise _unavailable(bucket, key, text) from error


def _raise_if_unreadable(bucket: str, key: str, text: str) -> None:
    for mark, advice in _UNREADABLE.items():
        if mark in text:
            raise ObjectUnreadable(bucket, key, advice)


#: S3's words -> what to do; the first that an error holds is told.
_ADVICE = {
    "NoSuchBucket": "There is no such bucket: correct its name, AWS_REGION or AWS_ENDPOINT_URL.",
    "ExpiredToken": "The credentials have expired: renew them.",
    "InvalidAccessKeyId": "The credentials are not accepted: renew or correct them.",
    "SignatureDoesNotMatch": "The credentials are not accepted: correct AWS_SECRET_ACCESS_KEY.",
    "AccessDenied": "Access is denied: allow these credentials s3:ListBucket and s3:GetObject there.",
    "redirect without LOCATION": "The bucket lies in another region: set AWS_REGION to the bucket's.",
    "PermanentRedirect": "The bucket lies in another region: set AWS_REGION to the bucket's.",
    "SlowDown": "The store asks for fewer requests: try again later, or lower MAAP_STAC_MAX_CONCURRENCY.",
}


def _unavailable(bucket: str, key: str, text: str) -> StoreUnavailable:
    advice = next((words for mark, words in _ADVICE.items() if mark in text), None)
    if advice is None:
        reason = text.partition("\n")[0].strip().rstrip(".")
        advice = f"{reason}. Check that the store answers at AWS_ENDPOINT_URL, then try again."
    return StoreUnavailable(f"s3://{bucket}/{key} cannot be read. {advice}")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].strip().rstrip(".")
