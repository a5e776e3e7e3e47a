"""What listings of a day came to, and what events had missed by then.

Here belongs what the asset checks and the metadata of a day's partition tell of listings. Not here: which days were
listed at all, and noting that they were (`listed_days`).

A queue tells of each catalog within seconds. One that lies in the bucket for minutes and was told of by a listing first
was missed: its event was lost, was given up, or was never sent.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from maap_stac_orchestration.ledger.connection import Connection

#: How long an event may be on its way. SQS delivers within seconds; a sensor that stood still, or a message that a
#: killed tick held (`discovery.queue` hides it for 90 seconds), takes minutes.
ON_ITS_WAY = timedelta(minutes=10)

# By the index job_newest and the jobs' catalogs: as much work as the day has catalogs.
_COMPARE = """
WITH missed AS (
    SELECT catalog.bucket, count(*) AS catalogs
    FROM ledger.job
    JOIN ledger.catalog ON catalog.job_id = job.id
    WHERE job.job_time >= %(begin)s AND job.job_time < %(end)s
        AND catalog.bucket = ANY(%(buckets)s)
        AND catalog.source = 'listing' AND catalog.seen_at >= %(since)s
        AND catalog.last_modified < %(since)s - %(on_its_way)s
    GROUP BY catalog.bucket
),
compared AS (
    UPDATE ledger.listed_day SET
        compared_at = listed_day.listed_at,
        missed_then = coalesce(missed.catalogs, 0),
        missed = listed_day.missed + coalesce(missed.catalogs, 0)
    FROM unnest(%(buckets)s::text[]) AS asked (bucket)
    LEFT JOIN missed USING (bucket)
    WHERE listed_day.bucket = asked.bucket AND listed_day.day = %(day)s
    RETURNING listed_day.missed_then
)
SELECT coalesce(sum(missed_then), 0) FROM compared
"""

_LISTED = """
SELECT
    min(listed_at), sum(catalogs), sum(missed), min(compared_at),
    coalesce(sum(missed_then) FILTER (WHERE compared_at = listed_at), 0)
FROM ledger.listed_day
WHERE day = %(day)s AND bucket = ANY(%(buckets)s)
HAVING count(*) = cardinality(%(buckets)s::text[])
"""

_SAMPLE = """
SELECT job.prefix, catalog.last_modified, catalog.seen_at
FROM ledger.job
JOIN ledger.catalog ON catalog.job_id = job.id
JOIN ledger.listed_day ON listed_day.bucket = catalog.bucket AND listed_day.day = %(day)s
WHERE job.job_time >= %(begin)s AND job.job_time < %(end)s
    AND catalog.bucket = ANY(%(buckets)s)
    AND catalog.source = 'listing' AND catalog.seen_at >= listed_day.compared_at
    AND catalog.last_modified < listed_day.compared_at - %(on_its_way)s
ORDER BY catalog.last_modified, catalog.id
LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class ListingsOfDay:
    """What the ledger knows of a day's listings, all buckets together."""

    #: When the last whole listing began, UTC.
    listed_at: datetime
    #: Catalogs that it saw.
    catalogs: int
    #: Catalogs that events had missed, in all listings that were compared.
    missed: int
    #: When the last listing began that was compared, UTC; None where none was.
    compared_at: datetime | None
    #: Catalogs that events had missed by then; 0 where the day was listed again since.
    missed_now: int


@dataclass(frozen=True, slots=True)
class MissedCatalog:
    """A catalog that no event told of in time."""

    #: Output prefix of its job.
    prefix: str
    #: When it was written, UTC.
    written_at: datetime
    #: When the listing found it, UTC.
    found_at: datetime


def clock(conn: Connection) -> datetime:
    """The database's time, UTC, by which sightings are dated."""
    row = conn.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    return row[0].astimezone(UTC)  # type: ignore[no-any-return]


def compare(conn: Connection, buckets: Collection[str], day: date, since: datetime) -> int:
    """Writes down what events of the day had missed, by a whole listing that began at `since` (of `clock`).

    Only for a listing before which the queue was emptied: what waits there was not missed.

    Returns:
        The number of catalogs that the listing was the first to tell of, and that had lain there for longer than an
        event is on its way.
    """
    row = conn.execute(_COMPARE, {**_asked(buckets, day), "since": since, "on_its_way": ON_ITS_WAY}).fetchone()
    assert row is not None
    return int(row[0])


def listings_of_day(conn: Connection, buckets: Collection[str], day: date) -> ListingsOfDay | None:
    """What listings of the day came to; None where it was not listed whole in each of the buckets."""
    row = conn.execute(_LISTED, _asked(buckets, day)).fetchone()
    if row is None:
        return None
    listed_at, catalogs, missed, compared_at, missed_now = row
    return ListingsOfDay(
        listed_at.astimezone(UTC),
        int(catalogs),
        int(missed),
        None if compared_at is None else compared_at.astimezone(UTC),
        int(missed_now),
    )


def missed_catalogs(conn: Connection, buckets: Collection[str], day: date, limit: int) -> tuple[MissedCatalog, ...]:
    """Those that events had missed at the last comparison, the longest missed first."""
    asked = {**_asked(buckets, day), "on_its_way": ON_ITS_WAY, "limit": limit}
    return tuple(
        MissedCatalog(prefix, written.astimezone(UTC), found.astimezone(UTC))
        for prefix, written, found in conn.execute(_SAMPLE, asked)
    )


def _asked(buckets: Collection[str], day: date) -> dict[str, object]:
    begin = datetime.combine(day, time(), UTC)
    return {"day": day, "buckets": sorted(buckets), "begin": begin, "end": begin + timedelta(days=1)}
