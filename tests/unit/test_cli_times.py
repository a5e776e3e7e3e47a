"""Times as people type them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.cli.times import MOMENT

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def read(text: str) -> datetime:
    moment: datetime = MOMENT.convert(text, None, None)
    return moment


@given(st.integers(0, 1000), st.sampled_from(sorted(_SECONDS)))
def test_a_length_of_time_is_so_long_ago(number: int, unit: str) -> None:
    earliest = datetime.now(UTC)
    moment = read(f"{number}{unit}") + timedelta(seconds=number * _SECONDS[unit])
    assert earliest <= moment <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        (" 2026-03-01T12:30:00 ", datetime(2026, 3, 1, 12, 30, tzinfo=UTC)),
        ("2026-03-01T12:30:00Z", datetime(2026, 3, 1, 12, 30, tzinfo=UTC)),
        ("2026-03-01T12:30:00.5+02:00", datetime(2026, 3, 1, 10, 30, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_a_date_or_time_is_that_time_in_utc(text: str, moment: datetime) -> None:
    assert read(text) == moment
    assert read(text).tzinfo is UTC


@given(st.datetimes(timezones=st.just(timezone(timedelta(hours=5)))).filter(lambda moment: moment.year > 1))
def test_every_time_that_is_written_by_the_rules_is_read(moment: datetime) -> None:
    assert read(moment.isoformat()) == moment


@pytest.mark.parametrize(
    "text", ["", "d", "2", "-2d", "2 d", "2D", "2y", "999999999w", "٢d", "tomorrow", "2026-02-31", "2026-13-01", "2026"]
)
def test_what_is_no_time_is_told_with_examples(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"is no time\. Write how long ago \(30m, 3h, 2d\)"):
        read(text)
