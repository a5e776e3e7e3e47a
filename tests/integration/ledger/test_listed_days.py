"""A day counts as listed where it was listed whole, in every bucket, once it was over."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from maap_stac_orchestration.ledger.listed_days import DayListed, Source, listed, never_listed, note, since

from .build import Connection

ONE, OTHER = "one-bucket", "other-bucket"
FIRST, LAST = date(2024, 2, 27), date(2024, 3, 2)
LATER = datetime(2024, 6, 1, 12, tzinfo=UTC)
DAYS = [FIRST + timedelta(days=number) for number in range(5)]


def noted(
    connection: Connection, *days: date, bucket: str = ONE, at: datetime = LATER, catalogs: int = 3, new: int = 0
) -> None:
    note(connection, bucket, dict.fromkeys(days, DayListed(catalogs, new)), source=Source.DISCOVER, listed_at=at)


def test_days_that_were_not_listed_are_given_newest_first_and_so_many(connection: Connection) -> None:
    noted(connection, DAYS[1], DAYS[4])
    assert listed(connection, [ONE], FIRST, LAST) == {DAYS[1], DAYS[4]}
    assert never_listed(connection, [ONE], FIRST, LAST, 10) == [DAYS[3], DAYS[2], DAYS[0]]
    assert never_listed(connection, [ONE], FIRST, LAST, 2) == [DAYS[3], DAYS[2]]
    assert never_listed(connection, [ONE], FIRST, LAST, 2, newest_first=False) == [DAYS[0], DAYS[2]]


def test_a_day_counts_only_once_every_bucket_was_listed(connection: Connection) -> None:
    noted(connection, *DAYS)
    noted(connection, DAYS[2], bucket=OTHER)
    assert listed(connection, [ONE, OTHER], FIRST, LAST) == {DAYS[2]}
    assert never_listed(connection, [ONE, OTHER], FIRST, LAST, 10) == [DAYS[4], DAYS[3], DAYS[1], DAYS[0]]
    assert since(connection, [ONE, OTHER], DAYS, LATER) == {DAYS[2]}
    # A bucket that is named twice is one bucket.
    assert listed(connection, [ONE, ONE], FIRST, LAST) == set(DAYS)


def test_a_listing_from_before_the_end_of_the_day_leaves_it_to_be_listed_again(connection: Connection) -> None:
    midnight = datetime(2024, 2, 28, tzinfo=UTC)
    noted(connection, FIRST, at=midnight - timedelta(seconds=1))
    assert never_listed(connection, [ONE], FIRST, FIRST, 1) == [FIRST]
    noted(connection, FIRST, at=midnight)
    assert never_listed(connection, [ONE], FIRST, FIRST, 1) == []


def test_today_is_never_asked_for(connection: Connection) -> None:
    today = datetime.now(UTC).date()
    left = never_listed(connection, [ONE], today - timedelta(days=2), today + timedelta(days=2), 10)
    assert left == [today - timedelta(days=1), today - timedelta(days=2)]


def test_going_on_leaves_out_what_was_listed_lately(connection: Connection) -> None:
    noted(connection, DAYS[0], at=LATER - timedelta(hours=1))
    noted(connection, DAYS[1])
    assert since(connection, [ONE], DAYS, LATER) == {DAYS[1]}


@pytest.mark.parametrize("newest_last", [True, False])
def test_the_newest_listing_of_a_day_counts_whichever_ends_first(connection: Connection, newest_last: bool) -> None:
    older, newer = (LATER, 3), (LATER + timedelta(hours=1), 7)
    for at, catalogs in (older, newer) if newest_last else (newer, older):
        noted(connection, FIRST, at=at, catalogs=catalogs, new=1)
    [row] = connection.execute("SELECT listed_at, source, catalogs, new, missed FROM ledger.listed_day").fetchall()
    assert row == (newer[0], "discover", 7, 1, 0)
