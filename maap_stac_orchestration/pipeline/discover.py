"""Puts what discovery finds into the ledger: the queue's events, and listings of days.

Here belongs the way from a found catalog to a recorded one. Not here: how catalogs are found (`discovery`) and what
recording means (`ledger.discovery`).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from maap_stac_orchestration.discovery.found import FoundCatalog
from maap_stac_orchestration.discovery.listing import list_catalogs
from maap_stac_orchestration.discovery.queue import Drained, ask_object, drain
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.discovery import record
from maap_stac_orchestration.ledger.records import Recorded, SeenCatalog
from maap_stac_orchestration.pipeline.metrics import tell_recorded

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

#: Priorities of work; the smaller number goes first.
LIVE, BACKFILL = 0, 10


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue with the clients to read it, which their owner keeps: opening one costs more than a drain."""

    url: str
    sqs: SQSClient
    #: Asks for the objects of events that lack their etag.
    s3: S3Client


def record_found(conn: Connection, found: Iterable[FoundCatalog], *, source: str, priority: int = LIVE) -> Recorded:
    """Records found catalogs and commits."""
    recorded = record(
        conn,
        [
            SeenCatalog(
                bucket=one.bucket,
                key=one.key,
                etag=one.etag,
                size=one.size,
                last_modified=one.last_modified,
                version_id=one.version_id,
                source=source,
                priority=priority,
            )
            for one in found
        ],
    )
    conn.commit()
    return recorded


def drain_queue(
    conn: Connection, queue: Queue, buckets: Collection[str], *, deadline: float, wait_seconds: int = 1
) -> Drained:
    """Takes the queue's events into the ledger, until it is empty or `deadline` (of `time.monotonic`) has passed.

    Take the connection first and the messages then: a message that is received while the database is away counts as
    a try, and after a few of those it would be moved to the dead-letter queue.

    Raises:
        SourceUnavailable: the queue could not be read.
    """

    recorded: list[Recorded] = []

    def commit(found: Sequence[FoundCatalog]) -> None:
        recorded.append(record_found(conn, found, source="event"))

    try:
        return drain(
            queue.sqs,
            queue.url,
            buckets=buckets,
            record=commit,
            ask=lambda event: ask_object(queue.s3, event),
            deadline=deadline,
            wait_seconds=wait_seconds,
        )
    finally:
        tell_recorded("event", *recorded)


@dataclass(frozen=True, slots=True)
class Listed:
    """What listing came to."""

    #: Catalogs that stand in the buckets.
    catalogs: int
    #: Of those, the versions that the ledger had not known.
    new: int
    seconds: float


def list_days(
    conn: Connection, s3: S3Client, buckets: Collection[str], days: Collection[date], *, priority: int = LIVE
) -> Listed:
    """Lists the catalogs of some days in all buckets into the ledger, committing as it goes.

    Raises:
        SourceUnavailable: a bucket could not be listed; what was recorded by then stays, the rest is unknown.
    """
    began = time.monotonic()
    catalogs = 0
    recorded: list[Recorded] = []
    try:
        for bucket in buckets:
            for found in list_catalogs(s3, bucket, days):
                catalogs += len(found)
                recorded.append(record_found(conn, found, source="listing", priority=priority))
    finally:
        tell_recorded("listing", *recorded)
    return Listed(catalogs, sum(one.new for one in recorded), time.monotonic() - began)
