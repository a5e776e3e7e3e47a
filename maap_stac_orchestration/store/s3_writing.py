"""Writing to S3: for what people ask to be put there, never in the way of a job.

Here belongs putting, deleting and downloading objects through the client that reads. Not here: which objects
(`pipeline.export_target`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import obstore
from obstore.exceptions import BaseError

from maap_stac_orchestration.store.objects import StoreUnavailable
from maap_stac_orchestration.store.s3 import S3Objects, _is_plain

#: Keys that S3 deletes by one request.
_DELETED_AT_ONCE = 1000


class WritableS3(S3Objects):
    """The buckets of one S3 endpoint, to write to as well."""

    async def put(self, bucket: str, key: str, data: bytes | Path, media_type: str) -> None:
        """Writes an object; a file is sent in parts, so that it need not fit memory.

        Raises:
            StoreUnavailable: it could not be written.
        """
        store = await self._store(bucket)
        with _writing(bucket, key):
            await obstore.put_async(store, key, data, attributes={"Content-Type": media_type})

    async def delete(self, bucket: str, keys: Sequence[str]) -> None:
        """Deletes objects; those that are not there are none.

        Raises:
            StoreUnavailable: they could not be deleted.
        """
        store = await self._store(bucket)
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            some = list(keys[start : start + _DELETED_AT_ONCE])
            with _writing(bucket, some[0]):
                await obstore.delete_async(store, some)

    async def download(self, bucket: str, key: str, path: Path) -> None:
        """Writes an object to a file, piece by piece.

        Raises:
            StoreUnavailable: it could not be read.
        """
        store = await self._store(bucket)
        try:
            answer = await obstore.get_async(store, key)
            with path.open("wb") as file:
                async for piece in answer.stream():
                    file.write(piece)
        except (BaseError, FileNotFoundError, ValueError) as error:
            raise StoreUnavailable(f"s3://{bucket}/{key} cannot be read: {_first_line(error)}.") from error


def is_writable(key: str) -> bool:
    """Whether an object can be written at a key: one without empty, `.` or `..` segments and control characters."""
    return _is_plain(key)


@contextmanager
def _writing(bucket: str, key: str) -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError, ValueError) as error:
        text = str(error)
        if "NoSuchBucket" in text:
            reason = "there is no such bucket; correct its name, AWS_REGION or AWS_ENDPOINT_URL"
        elif "AccessDenied" in text or "403" in text:
            reason = "access is denied; allow these credentials s3:PutObject and s3:DeleteObject there"
        else:
            reason = f"{_first_line(error)}; check that the store answers at AWS_ENDPOINT_URL, then try again"
        raise StoreUnavailable(f"s3://{bucket}/{key} cannot be written: {reason}.") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].strip().rstrip(".")
