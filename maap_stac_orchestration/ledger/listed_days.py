"""Which days of the output prefixes (UTC) were listed whole in which bucket.

Here belongs noting that, and asking which days are left: a backfill that was broken off goes on by it, and one that
works back through the years knows where to look next. Not here: listing itself (`discovery.listing`), and what a
listing says about the queue (`listings_of_day`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from maap_stac_orchestration.ledger.connection import Connection

# A listing that began later than another may end before it; what it saw is the newer. Days go in order, so that two
# who note the same ones do not wait for each other.
_NOTE = """
INSERT INTO ledger.listed_day (bucket, day, listed_at, source, catalogs, new)
SELECT %(bucket)s, day, %(listed_at)s, %(source)s, catalogs, new
FROM unnest(%(day)s::date[], %(catalogs)s::integer[], %(new)s::integer[]) AS listed (day, catalogs, new)
ORDER BY day
ON CONFLICT (bucket, day) DO UPDATE SET
    listed_at = EXCLUDED.listed_at, source = EXCLUDED.source, catalogs = EXCLUDED.catalogs, new = EXCLUDED.new
WHERE listed_day.listed_at <= EXCLUDED.listed_at
"""

# What was listed before the day was over may lack what was written later on that day.
_LISTED = """
SELECT day FROM ledger.listed_day
WHERE bucket = ANY(%(buckets)s) AND day BETWEEN %(first)s AND %(last)s
    AND listed_at >= (day + 1)::timestamp AT TIME ZONE 'UTC'
GROUP BY day
HAVING count(*) = %(count)s
"""

_NEVER_LISTED = """
SELECT asked::date AS day
FROM generate_series(
    %(first)s::date, least(%(last)s::date, (now() AT TIME ZONE 'UTC')::date - 1), interval '1 day'
) AS asked
WHERE %(count)s > (
    SELECT count(*) FROM ledger.listed_day
    WHERE bucket = ANY(%(buckets)s) AND day = asked::date
        AND listed_at >= (day + 1)::timestamp AT TIME ZONE 'UTC'
)
ORDER BY CASE WHEN %(newest_first)s THEN %(last)s::date - asked::date ELSE asked::date - %(first)s::date END
LIMIT %(limit)s
"""

_SINCE = """
SELECT day FROM ledger.listed_day
WHERE bucket = ANY(%(buckets)s) AND day = ANY(%(days)s) AND listed_at >= %(at)s
GROUP BY day
HAVING count(*) = %(count)s
"""


class Source(StrEnum):
    """Who asked for a listing."""

    #: A run of a backfill, for its own day.
    BACKFILL = "backfill"
    #: The nightly look at the last days.
    RECONCILE = "reconcile"
    #: A person, by `maap-stac discover`.
    DISCOVER = "discover"
    #: The sensor, where there is no queue.
    SENSOR = "sensor"


@dataclass(frozen=True, slots=True)
class DayListed:
    """What listing a day came to."""

    #: Catalogs that stand in the bucket.
    catalogs: int
    #: Of those, the versions that the ledger had not known.
    new: int


def note(conn: Connection, bucket: str, days: Mapping[date, DayListed], *, source: Source, listed_at: datetime) -> None:
    """Notes that days were listed whole in a bucket; commit to make it hold.

    Args:
        conn: the ledger.
        bucket: the bucket.
        days: what listing each came to, also where nothing was found.
        source: who asked for it.
        listed_at: when the listing began, by the database's clock, UTC; what was uploaded later it need not have seen.
    """
    ordered = sorted(days)
    conn.execute(
        _NOTE,
        {
            "bucket": bucket,
            "listed_at": listed_at,
            "source": str(source),
            "day": ordered,
            "catalogs": [days[day].catalogs for day in ordered],
            "new": [days[day].new for day in ordered],
        },
    )


def listed(conn: Connection, buckets: Collection[str], first: date, last: date) -> set[date]:
    """The days from `first` to `last` that were listed whole, once they were over, in each of the buckets."""
    asked = {**_buckets(buckets), "first": first, "last": last}
    return {day for (day,) in conn.execute(_LISTED, asked)}


def never_listed(
    conn: Connection, buckets: Collection[str], first: date, last: date, limit: int, newest_first: bool = True
) -> list[date]:
    """The days from `first` to `last` that are over (UTC) and of which some bucket was not listed since they were.

    Args:
        conn: the ledger.
        buckets: the buckets to be listed.
        first: the earliest day.
        last: the latest; of today and later days none is given.
        limit: at most so many.
        newest_first: the order of the days, and which of them are left out beyond `limit`.
    """
    asked = {**_buckets(buckets), "first": first, "last": last, "limit": limit, "newest_first": newest_first}
    return [day for (day,) in conn.execute(_NEVER_LISTED, asked)]


def since(conn: Connection, buckets: Collection[str], days: Collection[date], at: datetime) -> set[date]:
    """Those of the days of which a listing that began at `at` or later was whole in each of the buckets."""
    asked = {**_buckets(buckets), "days": list(days), "at": at}
    return {day for (day,) in conn.execute(_SINCE, asked)}


def _buckets(buckets: Collection[str]) -> dict[str, object]:
    unique = set(buckets)
    return {"buckets": sorted(unique), "count": len(unique)}
