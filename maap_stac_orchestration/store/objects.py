"""What every object store gives: listing a prefix and reading an object whole, with a bound.

Here belong the interface and its errors, which tell apart what a job did (an object is missing, or too large) and what
is nobody's fault in the job (the store does not answer). Not here: how a store is reached (`s3`, `local`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol, runtime_checkable

#: Objects of one page of a listing, which is what S3 gives at most.
PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a listing, or the head of an answer, tells about an object."""

    key: str
    #: Bytes.
    size: int
    #: Without quotes.
    etag: str
    #: UTC.
    last_modified: datetime
    #: None in a bucket without versions; listings never tell it.
    version_id: str | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """An object with its bytes; `info` describes exactly these bytes."""

    info: ObjectInfo
    data: bytes


class ObjectError(Exception):
    """An object cannot be had because of what it is; other objects are not touched by it."""

    def __init__(self, bucket: str, key: str, message: str) -> None:
        super().__init__(message)
        self.bucket = bucket
        self.key = key


class ObjectMissing(ObjectError):
    """There is no object at this key."""

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__(bucket, key, f"There is no object at s3://{bucket}/{key}.")


class ObjectTooLarge(ObjectError):
    """The object has more bytes than the reader accepts; none of them were kept."""

    def __init__(self, bucket: str, key: str, size: int, max_bytes: int) -> None:
        super().__init__(bucket, key, f"s3://{bucket}/{key} has {size} bytes; at most {max_bytes} are read.")
        self.size = size
        self.max_bytes = max_bytes


class ObjectUnreadable(ObjectError):
    """The object is there and its store refuses its bytes to everyone, for example because it is archived."""


class StoreUnavailable(Exception):
    """The store failed, not the object: no answer, no bucket, no permission. A run that meets it should be retried."""


class ObjectStore(Protocol):
    """A store of objects in buckets. Implementations may be used from several event loops, one after another."""

    async def list(self, bucket: str, prefix: str) -> list[ObjectInfo]:
        """Every object whose key begins with `prefix`, a text that is empty or ends in `/`; in the order of the keys.

        Raises:
            StoreUnavailable: the listing could not be had.
        """
        ...

    async def get(self, bucket: str, key: str, max_bytes: int) -> Fetched:
        """The object's bytes, at most `max_bytes` of them.

        Raises:
            ObjectMissing: there is no such object.
            ObjectTooLarge: it has more bytes.
            ObjectUnreadable: the store has it and does not give it.
            StoreUnavailable: the store failed.
        """
        ...


@runtime_checkable
class ListsInPages(Protocol):
    """A store of objects that can begin a listing anywhere."""

    async def list_after(self, bucket: str, prefix: str, after: str) -> Sequence[ObjectInfo] | None:
        """The first objects whose key begins with `prefix`, a text that is empty or ends in `/`, and comes after
        `after`: as many as `PAGE`, fewer only where there are no more. They come in the order in which the store has
        them, which in S3 is that of the keys, except in directory buckets. None where there is a key among them that
        cannot be told in a page; `list` tells it.

        Raises:
            StoreUnavailable: the listing could not be had.
        """
        ...
