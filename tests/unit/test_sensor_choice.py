"""Which days get a run, as a table."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensors.choice import STARTING, DueWork, PendingRun, days_to_ask_for, days_without_run
from sensors.collections_changed import ranges_of

NOW = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
DAY = date(2026, 2, 3)
LIVE, LATER = DueWork(DAY, 0), DueWork(DAY, 10)


def run(*, queued: bool = False, age: timedelta = timedelta(0), low: bool = False, day: date = DAY) -> PendingRun:
    return PendingRun("run", day.isoformat(), queued, None if queued else NOW - age, low)


@pytest.mark.parametrize(
    ("work", "pending", "claimed", "asked"),
    [
        pytest.param(LIVE, None, False, True, id="no run: one is asked for"),
        pytest.param(LIVE, run(queued=True), False, False, id="one in the queue will claim it"),
        pytest.param(LIVE, run(), False, False, id="one that starts will claim it"),
        pytest.param(LIVE, run(), True, True, id="one that has claimed does not come back for more"),
        pytest.param(LIVE, run(age=STARTING), False, True, id="one that hangs before its claim does not count"),
        pytest.param(LIVE, run(queued=True, low=True), False, True, id="live work does not wait for a backfill's turn"),
        pytest.param(LATER, run(queued=True, low=True), False, False, id="work that may wait waits for it"),
        pytest.param(LIVE, run(low=True), False, False, id="a backfill's run that starts now claims live work too"),
        pytest.param(LIVE, run(day=DAY - timedelta(days=1)), False, True, id="a run of another day"),
    ],
)
def test_a_day_gets_a_run_unless_one_is_on_its_way(
    work: DueWork, pending: PendingRun | None, claimed: bool, asked: bool
) -> None:
    pendings = [pending] if pending else []
    chosen = days_to_ask_for([work], pendings, {"run"} if claimed else set(), now=NOW, at_most=10)
    assert chosen == ([work] if asked else [])


def test_urgent_days_come_first_then_new_ones_and_not_too_many() -> None:
    days = [DueWork(DAY - timedelta(days=back), 10 if back % 2 else 0) for back in range(6)]
    chosen = days_to_ask_for(reversed(days), [], set(), now=NOW, at_most=4)
    assert chosen == [days[0], days[2], days[4], days[1]]
    assert days_to_ask_for(days, [], set(), now=NOW, at_most=0) == []


def test_days_that_have_a_run_are_passed_over_in_the_order_given() -> None:
    days = [DAY - timedelta(days=back) for back in range(5)]
    assert days_without_run(days, {days[0].isoformat(), days[2].isoformat()}, at_most=2) == [days[1], days[3]]
    assert days_without_run(days, {day.isoformat() for day in days}, at_most=2) == []


names = st.lists(st.text("abcdefgh", min_size=1, max_size=3), unique=True)


@given(partitions=names, data=st.data(), longest=st.integers(1, 5))
def test_ranges_hold_the_wanted_partitions_and_no_others(
    partitions: list[str], data: st.DataObject, longest: int
) -> None:
    wanted = set(data.draw(st.lists(st.sampled_from(partitions)))) if partitions else set()
    covered = []
    for first, last in ranges_of(partitions, wanted | {"not a partition"}, longest):
        one = partitions[partitions.index(first) : partitions.index(last) + 1]
        assert 1 <= len(one) <= longest
        covered += one
    assert covered == [name for name in partitions if name in wanted]


def test_collections_made_together_share_a_run() -> None:
    assert ranges_of(list("abcdef"), set("abdef")) == [("a", "b"), ("d", "f")]
