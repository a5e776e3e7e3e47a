"""Which days get a run: pure, from what is due and what runs there are.

Here belong the rules by which a sensor asks for runs. Not here: asking the ledger and Dagster what there is (sensors).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice

#: The tag of a run with who asked for it: live or backlog (`new_catalogs`), reconcile, history, retry.
SOURCE_TAG = "maap/source"
#: Runs of work that may wait, of which few at a time are let in (`dagster.yaml`): live work always finds room.
LOW_LANE: Mapping[str, str] = {"maap/lane": "low"}
#: For runs that a sensor asks for again as long as their work is due: Dagster's own retry would be a second one.
ASKED_FOR_AGAIN: Mapping[str, str] = {"dagster/max_retries": "0"}

#: How long a run may take from its start to its claim. One that has started and not claimed by then hangs; another is
#: asked for, and whichever claims first does the work. Warm runs claim within seconds, at a load of eight a core within
#: twenty; a run whose start a power cut interrupted keeps live work waiting for no longer than this.
STARTING = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class DueWork:
    """A day that has work to be claimed now."""

    day: date
    #: The smaller the more urgent; 0 is live work.
    priority: int


@dataclass(frozen=True, slots=True)
class PendingRun:
    """A run of a day that has not ended."""

    run_id: str
    day: str
    #: Waits for its turn, so it will claim whatever is due by then.
    queued: bool
    #: When it left the queue, UTC; None while it has not.
    started: datetime | None
    #: Whether its turn comes after everything live.
    low_priority: bool


def days_to_ask_for(
    due: Iterable[DueWork],
    pending: Collection[PendingRun],
    claimed: Collection[str],
    *,
    now: datetime,
    at_most: int,
) -> list[DueWork]:
    """The days that get a run, most urgent and then newest first.

    A day has its run already when one is on its way that has not claimed yet: it will claim this work too. A run that
    has claimed (`claimed` holds run ids) never comes back for more. One of low priority in the queue may wait for
    hours, so it serves only work that may wait as well.
    """
    coming: Mapping[str, list[PendingRun]] = _by_day(run for run in pending if run.run_id not in claimed)
    wanted = sorted(due, key=lambda work: (work.priority, -work.day.toordinal()))
    chosen: list[DueWork] = []
    for work in wanted:
        if len(chosen) == at_most:
            break
        if not any(_serves(run, work, now) for run in coming.get(work.day.isoformat(), [])):
            chosen.append(work)
    return chosen


def days_without_run(days: Iterable[date], under_way: Collection[str], *, at_most: int) -> list[date]:
    """The first of these days that no run is on its way for, in the order given; `under_way` holds partitions."""
    return list(islice((day for day in days if day.isoformat() not in under_way), at_most))


def _serves(run: PendingRun, work: DueWork, now: datetime) -> bool:
    if run.queued:
        return work.priority > 0 or not run.low_priority
    return run.started is None or now - run.started < STARTING


def _by_day(runs: Iterable[PendingRun]) -> dict[str, list[PendingRun]]:
    days: dict[str, list[PendingRun]] = {}
    for run in runs:
        days.setdefault(run.day, []).append(run)
    return days
