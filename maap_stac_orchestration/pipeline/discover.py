"""Puts what discovery finds into the ledger: the queue's events, and listings of days.

Here belongs the way from a found catalog to a recorded one. Not here: how catalogs are found (`discovery`) and what
recording means (`ledger.discovery`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from maap_stac_orchestration.discovery.buckets import list_buckets
from maap_stac_orchestration.discovery.dated_tags import Search
from maap_stac_orchestration.discovery.found import FoundCatalog, SourceUnavailable
from maap_stac_orchestration.discovery.listing import Whole
from maap_stac_orchestration.discovery.queue import Drained, ask_object, drain
from maap_stac_orchestration.dps.output_prefix import find_output_prefix
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.dated_tags import dated_groups
from maap_stac_orchestration.ledger.discovery import record, unknown
from maap_stac_orchestration.ledger.listed_days import DayListed, Source, note
from maap_stac_orchestration.ledger.listings_of_day import clock
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
    recorded = record(conn, [seen(one, source, priority) for one in found])
    conn.commit()
    return recorded


def seen(found: FoundCatalog, source: str, priority: int) -> SeenCatalog:
    """A found catalog as it is recorded."""
    return SeenCatalog(
        bucket=found.bucket,
        key=found.key,
        etag=found.etag,
        size=found.size,
        last_modified=found.last_modified,
        version_id=found.version_id,
        source=source,
        priority=priority,
    )


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
    #: Each of the days, all buckets together, those with nothing on them too.
    by_day: Mapping[date, DayListed]


#: How thoroughly tags that begin like timestamps are looked for. A sensor that lists every minute asks for nothing that
#: it need not ask for. A person's listing of months walks the groups once, so that there it hardly counts.
_SEARCH = {
    Source.SENSOR: Search.KNOWN,
    Source.BACKFILL: Search.APART,
    Source.RECONCILE: Search.APART,
    Source.DISCOVER: Search.AMONG,
}
#: Catalogs of a bucket that are recorded at once: enough that the round trips do not count.
_AT_ONCE = 2_000


def list_days(
    conn: Connection,
    s3: S3Client,
    buckets: Collection[str],
    days: Collection[date],
    *,
    priority: int = LIVE,
    source: Source = Source.DISCOVER,
    dry_run: bool = False,
    told: Callable[[str, Mapping[date, DayListed]], None] = lambda bucket, days: None,
) -> Listed:
    """Lists the catalogs of some days in all buckets into the ledger, committing as it goes; newest month first.

    The days of a month are noted as listed in a bucket as soon as they are, so that one who is interrupted can leave
    them out (`ledger.listed_days`). Memory does not grow with what is found. The connection must be in no transaction.

    Args:
        conn: the ledger.
        s3: reads the buckets, from several threads at once.
        buckets: the buckets, which are listed at the same time.
        days: the days of the output prefixes, UTC.
        priority: of the work that is found.
        source: who asks.
        dry_run: only count, and write nothing.
        told: is given a bucket and what its days came to, as soon as they were listed whole.

    Raises:
        SourceUnavailable: a bucket could not be listed; the others were, what was recorded by then stays, and the rest
            of that bucket is unknown.
    """
    began = time.monotonic()
    listed_at = clock(conn)
    groups = {bucket: dated_groups(conn, bucket) for bucket in buckets}
    conn.commit()
    listings = {bucket: _Listing(conn, priority, dry_run) for bucket in groups}
    failures: list[SourceUnavailable] = []
    try:
        with closing(list_buckets(s3, buckets, days, search=_SEARCH[source], known_groups=groups)) as news_of_buckets:
            for bucket, news in news_of_buckets:
                listing = listings[bucket]
                if isinstance(news, SourceUnavailable):
                    failures.append(news)
                elif isinstance(news, Whole):
                    listing.record()
                    whole = {day: DayListed(listing.catalogs[day], listing.new[day]) for day in news.days}
                    if not dry_run:
                        note(conn, bucket, whole, source=source, listed_at=listed_at)
                        conn.commit()
                    told(bucket, whole)
                else:
                    listing.add(news)
        # What was met in a bucket before it failed is known, whatever is not.
        for listing in listings.values():
            listing.record()
    finally:
        tell_recorded("listing", *(listing.recorded for listing in listings.values()))
    if failures:
        raise SourceUnavailable(" ".join(map(str, failures)))
    by_day = {
        day: DayListed(
            sum(listing.catalogs[day] for listing in listings.values()),
            sum(listing.new[day] for listing in listings.values()),
        )
        for day in days
    }
    return Listed(
        sum(day.catalogs for day in by_day.values()),
        sum(day.new for day in by_day.values()),
        time.monotonic() - began,
        by_day,
    )


class _Listing:
    """What listing a bucket has come to by now."""

    def __init__(self, conn: Connection, priority: int, dry_run: bool) -> None:
        self._conn = conn
        self._priority = priority
        self._dry_run = dry_run
        self._waiting: list[SeenCatalog] = []
        #: Day -> catalogs that were met, and those versions of them that the ledger had not known.
        self.catalogs: Counter[date] = Counter()
        self.new: Counter[date] = Counter()
        self.recorded = Recorded(new=0, known=0, ignored=0)

    def add(self, found: Iterable[FoundCatalog]) -> None:
        """Takes what was met; records when there is enough of it."""
        self._waiting += (seen(one, "listing", self._priority) for one in found)
        if len(self._waiting) >= _AT_ONCE:
            self.record()

    def record(self) -> None:
        """Records what waits, and commits; a dry run only counts."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        # Nearly all is known, and to ask for that keeps nobody else from recording.
        news = unknown(self._conn, waiting)
        self._conn.commit()
        new = 0
        if news and not self._dry_run:
            new = record(self._conn, news).new
            self._conn.commit()
        self.catalogs.update(_days_of(waiting))
        self.new.update(_days_of(news))
        known = len(waiting) - new
        self.recorded = Recorded(self.recorded.new + new, self.recorded.known + known, ignored=0)


def _days_of(catalogs: Iterable[SeenCatalog]) -> Iterator[date]:
    return (output.day for one in catalogs if (output := find_output_prefix(one.key)) is not None)
