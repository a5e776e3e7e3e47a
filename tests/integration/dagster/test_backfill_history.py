"""The schedule `backfill_history`, tick by tick, over a real ledger."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from tests.integration.dagster.conftest import Location
from tests.integration.dagster.jobs import put_job
from tests.integration.dagster.test_new_catalogs import begin

TODAY = datetime.now(UTC).date()


def back(days: int) -> date:
    return TODAY - timedelta(days=days)


@pytest.fixture
def history(location: Location) -> Location:
    """A location whose outputs go back a week, three days at a time."""
    location.settings = location.settings.model_copy(update={"first_day": back(7), "backfill_days": 3})
    return location


def tick(location: Location) -> tuple[list[date], str]:
    """The days that a tick asks for, and what it says where there are none."""
    data: Any = location.scheduled("backfill_history")
    requests = data.run_requests or []
    return [date.fromisoformat(request.partition_key) for request in requests], data.skip_message or ""


def run_what_is_asked_for(location: Location) -> list[date]:
    data: Any = location.scheduled("backfill_history")
    for request in data.run_requests or []:
        assert location.run(request.partition_key, run_config=request.run_config, tags=request.tags).success
    return [date.fromisoformat(request.partition_key) for request in data.run_requests or []]


def test_it_works_back_to_the_first_day_newest_first_ingests_what_lies_there_and_stops(history: Location) -> None:
    prefix = f"ana/dps_output/alg/v1/tag/{back(6):%Y/%m/%d}/00/00/00/000001/"
    put_job(history, prefix)
    assert run_what_is_asked_for(history) == [back(1), back(2), back(3)]
    assert history.states() == {}
    assert run_what_is_asked_for(history) == [back(4), back(5), back(6)]
    assert history.states() == {prefix: "loaded"}
    assert run_what_is_asked_for(history) == [back(7)]
    assert tick(history) == ([], f"Every day since {back(7)} was listed.")


def test_its_runs_come_last_and_in_the_lane_of_what_may_wait(history: Location) -> None:
    (request, *_) = history.scheduled("backfill_history").run_requests
    assert (request.tags["maap/source"], request.tags["dagster/priority"]) == ("history", "-10")
    assert request.tags["maap/lane"] == "low"


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED])
def test_while_former_days_are_not_done_no_more_are_asked_for(history: Location, status: dg.DagsterRunStatus) -> None:
    begin(history, back(1), status, **{"maap/source": "history"})
    assert tick(history) == ([], "1 of the days that were asked for last are not done.")


def test_days_that_a_backfill_of_a_person_is_at_are_left_to_it(history: Location) -> None:
    for days in (1, 3):
        begin(history, back(days), dg.DagsterRunStatus.QUEUED, **{"dagster/backfill": "abc"})
    assert tick(history)[0] == [back(2), back(4), back(5)]
    for days in (2, 4, 5, 6, 7):
        begin(history, back(days), dg.DagsterRunStatus.QUEUED, **{"dagster/backfill": "abc"})
    assert tick(history) == ([], "All days that were never listed have a run on its way.")


def test_after_a_run_that_failed_it_waits_and_says_where_to_look(history: Location) -> None:
    run_id = begin(history, back(1), dg.DagsterRunStatus.FAILURE, **{"maap/source": "history"})
    days, said = tick(history)
    assert days == []
    assert said.startswith(f"The run {run_id} of {back(1)} failed at ")
    later: Any = history.scheduled("backfill_history", datetime.now(UTC) + timedelta(minutes=16))
    assert later.run_requests[0].partition_key == back(1).isoformat()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"first_day": None}, "MAAP_STAC_FIRST_DAY is not set. Set it to the day of the oldest outputs"),
        ({"backfill_days": 0}, "MAAP_STAC_BACKFILL_DAYS is 0, which switches it off."),
        ({"buckets": ()}, "MAAP_STAC_BUCKETS names no bucket"),
    ],
)
def test_it_says_why_it_does_nothing(history: Location, changed: dict[str, Any], said: str) -> None:
    history.settings = history.settings.model_copy(update=changed)
    days, told = tick(history)
    assert days == []
    assert told.startswith(said)
