"""Listing several buckets at once, each with an outcome of its own.

Here belongs that one bucket neither waits for another nor suffers from it. Not here: how a bucket is walked
(`listing`).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Collection, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from maap_stac_orchestration.discovery.dated_tags import Search
from maap_stac_orchestration.discovery.found import SourceUnavailable
from maap_stac_orchestration.discovery.listing import News, list_catalogs

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: News that wait for who takes them, before the buckets wait too.
_WAITING = 64
#: Requests that are under way at once, all buckets together.
_CONCURRENCY = 16
#: Seconds after which a bucket's thread looks whether anybody still listens.
_PATIENCE = 0.5


@dataclass(frozen=True, slots=True)
class Through:
    """A bucket's end: it was listed whole, or it failed."""

    #: A SourceUnavailable says what could not be listed; anything else is a fault of this program.
    failure: Exception | None = None


def list_buckets(
    client: S3Client,
    buckets: Collection[str],
    days: Collection[date],
    *,
    search: Search,
    known_groups: Mapping[str, Collection[str]],
) -> Generator[tuple[str, News | SourceUnavailable], None, None]:
    """What listing each bucket gives, as `list_catalogs` does, with the bucket before it; a failure ends its bucket.

    Args:
        client: reads the buckets, from several threads at once.
        buckets: the buckets.
        days: the days of the output prefixes.
        search: how thoroughly to look for tags that begin like timestamps.
        known_groups: bucket -> what output prefixes with such tags begin with, where it is known already.
    """
    unique = sorted(set(buckets))
    if not unique or not days:
        return
    # No queue.Queue: Ctrl-C can hit the thread that listens where it has taken its lock and not yet noted that, and all
    # others then wait for ever, as seen once. These hold no lock that an interrupt could leave behind.
    told: queue.SimpleQueue[tuple[str, News | Through]] = queue.SimpleQueue()
    room: queue.SimpleQueue[None] = queue.SimpleQueue()
    for _ in range(_WAITING):
        room.put(None)
    gone = threading.Event()

    def tell(bucket: str, news: News | Through) -> bool:
        while not gone.is_set():
            try:
                room.get(timeout=_PATIENCE)
            except queue.Empty:
                continue
            told.put((bucket, news))
            return True
        return False

    def walk(bucket: str) -> None:
        failure: Exception | None = None
        try:
            for news in list_catalogs(
                client,
                bucket,
                days,
                concurrency=max(1, _CONCURRENCY // len(unique)),
                search=search,
                known_groups=known_groups.get(bucket, ()),
            ):
                if not tell(bucket, news):
                    return
        except Exception as error:  # noqa: BLE001 - told to who listens, who raises what is no failure of the bucket
            failure = error
        tell(bucket, Through(failure))

    with ThreadPoolExecutor(len(unique), thread_name_prefix="bucket") as pool:
        try:
            for bucket in unique:
                pool.submit(walk, bucket)
            left = len(unique)
            while left:
                bucket, news = told.get()
                room.put(None)
                if not isinstance(news, Through):
                    yield bucket, news
                    continue
                left -= 1
                if isinstance(news.failure, SourceUnavailable):
                    yield bucket, news.failure
                elif news.failure is not None:
                    raise news.failure
        finally:
            gone.set()
