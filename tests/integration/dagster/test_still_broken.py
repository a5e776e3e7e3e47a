"""The standing check: what is broken on any day, brought up to date when that changes and only then."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import dagster as dg
import pytest

from maap_stac_orchestration.ledger.records import State
from maap_stac_orchestration.problems import WORDINGS, Code
from tests.integration.dagster.conftest import Location
from tests.integration.dagster.test_checks import DAY, catalog, end, rows, spaced

KEY = dg.AssetCheckKey(dg.AssetKey("pgstac_items"), "nothing_broken")
NEXT = DAY + timedelta(days=1)


class Watch:
    """The sensor `still_broken` as the daemon evaluates it, tick by tick."""

    def __init__(self, location: Location) -> None:
        self.location, self.cursor = location, None

    def tick(self) -> list[dg.AssetCheckEvaluation]:
        """What a tick tells."""
        result = self.location.tick("still_broken", self.cursor)
        self.cursor = result.cursor
        assert not result.run_requests
        return list(result.asset_events)

    def told(self) -> dg.AssetCheckEvaluation:
        """The one thing that a tick tells."""
        (one,) = self.tick()
        self.location.instance.report_runless_asset_event(one)
        return one


def break_job(location: Location, number: int, state: State, *codes: Code, day: date = DAY) -> None:
    location.record(catalog(number, day))
    end(location, state, *codes, day=day)


def values(evaluation: dg.AssetCheckEvaluation) -> dict[str, Any]:
    return {name: value.value for name, value in evaluation.metadata.items()}


def fail(location: Location, day: date = DAY) -> None:
    """As if every due job of the day had been tried too often."""
    with location.connect() as conn:
        conn.execute(
            "UPDATE ledger.job SET state = 'failed', due_at = NULL WHERE day = %s AND due_at IS NOT NULL", [day]
        )
        conn.commit()


def test_without_a_broken_job_it_is_green_and_told_once(location: Location) -> None:
    watch = Watch(location)
    first = watch.told()
    assert first.passed
    assert values(first) == {
        "broken_jobs": 0,
        "stuck_jobs": 0,
        "broken_jobs/failed": 0,
        "broken_jobs/rejected": 0,
        "broken_jobs/partial": 0,
    }
    assert watch.tick() == []


def test_it_is_told_again_once_its_asset_is_materialized_since_dagster_takes_it_for_not_evaluated_then(
    location: Location,
) -> None:
    watch = Watch(location)
    break_job(location, 1, State.REJECTED, Code.CATALOG_UNREADABLE)
    assert not watch.told().passed
    location.instance.report_runless_asset_event(dg.AssetMaterialization("pgstac_items", partition=NEXT.isoformat()))
    assert not watch.told().passed
    assert watch.tick() == []


def test_it_counts_what_is_broken_on_any_day_by_state_and_by_code(location: Location) -> None:
    break_job(location, 1, State.REJECTED, Code.CATALOG_UNREADABLE)
    break_job(location, 2, State.PARTIAL, Code.ITEM_INVALID, Code.GEOMETRY_INVALID, day=NEXT)
    break_job(location, 3, State.PARTIAL, Code.ITEM_INVALID, day=NEXT)
    break_job(location, 4, State.LOADED, Code.ASSET_MISSING)
    told = Watch(location).told()
    assert not told.passed
    assert told.severity is dg.AssetCheckSeverity.ERROR
    assert told.partition is None
    assert told.description == "3 jobs of 2 days still broken: 1 rejected, 2 partial."
    found = values(told)
    assert (found["broken_jobs/failed"], found["broken_jobs/rejected"], found["broken_jobs/partial"]) == (0, 1, 2)
    assert [(row["code"], row["jobs"]) for row in rows(told.metadata["how_to_retry"])] == [
        ("item_invalid", 2),
        ("catalog_unreadable", 1),
        ("geometry_invalid", 1),
    ]
    assert found["on_days_since"] == "2025-08-19"
    assert [(row["day"], row["jobs"]) for row in rows(told.metadata["on_days"])] == [
        ("2025-08-20", 2),
        ("2025-08-19", 1),
    ]
    newest = [row["job"] for row in rows(told.metadata["broken_jobs_table"])]
    assert newest == [catalog(n, day).removesuffix("catalog.json") for n, day in ((3, NEXT), (2, NEXT), (1, DAY))]


def test_the_jobs_come_first_then_how_to_retry_and_links_to_lists_for_people(location: Location) -> None:
    location.settings = location.settings.model_copy(update={"dagster_url": "http://dagster.test"})
    location.record(catalog(1))
    fail(location)
    told = Watch(location).told()
    shown = sorted(told.metadata)
    assert shown[:2] == ["broken_jobs", "broken_jobs/failed"]
    assert shown.index("how_to_retry") < shown.index("jobs/failed") < shown.index("on_days")
    (row,) = rows(told.metadata["how_to_retry"])
    assert (row["jobs"], row["code"], row["command"]) == (1, "failed", "maap-stac retry --state failed")
    found = values(told)
    assert found["jobs/failed"] == "http://stac.test/status/jobs?state=failed"
    assert found["retry/failed"].startswith("http://dagster.test/locations/")
    assert found["retry_run_config"] == {"ops": {"retry": {"config": {"state": "failed"}}}}
    (day,) = rows(told.metadata["on_days"])
    assert day["page"] == "http://stac.test/status/jobs?since=2025-08-19&until=2025-08-20"


def test_each_code_comes_with_its_fix(location: Location) -> None:
    break_job(location, 1, State.REJECTED, Code.CATALOG_UNREADABLE)
    (row,) = rows(Watch(location).told().metadata["how_to_retry"])
    assert spaced(row["fix"]) == WORDINGS[Code.CATALOG_UNREADABLE].fix


def test_it_is_told_again_when_something_changed_and_is_green_when_the_last_job_is_mended(location: Location) -> None:
    watch = Watch(location)
    assert watch.told().passed
    break_job(location, 1, State.REJECTED, Code.CATALOG_UNREADABLE)
    assert not watch.told().passed
    assert watch.tick() == []
    # The same job in the same state, for another reason.
    location.record_version(catalog(1), "another")
    assert watch.told().passed, "while it is tried again it is not broken"
    end(location, State.REJECTED, Code.METADATA_INVALID)
    (row,) = rows(watch.told().metadata["how_to_retry"])
    assert row["code"] == "metadata_invalid"
    location.record_version(catalog(1), "a third")
    end(location, State.LOADED)
    assert watch.told().passed
    assert watch.tick() == []


def test_what_was_told_long_ago_is_told_once_more(location: Location) -> None:
    watch = Watch(location)
    watch.told()
    fingerprint, at, after = json.loads(watch.cursor or "")
    watch.cursor = json.dumps([fingerprint, at - 3601, after])  # type: ignore[assignment]
    assert watch.told().passed


def test_it_can_be_evaluated_by_hand(location: Location) -> None:
    break_job(location, 1, State.REJECTED, Code.CATALOG_UNREADABLE)
    job = location.defs.get_repository_def().get_implicit_global_asset_job_def()
    subset = job.get_subset(asset_selection=set(), asset_check_selection={KEY})
    result = subset.execute_in_process(instance=location.instance)
    (one,) = result.get_asset_check_evaluations()
    assert (one.check_name, one.passed, one.partition) == ("nothing_broken", False, None)
    assert one.description == "1 job of 1 day still broken: 1 rejected."


def test_runs_of_a_day_leave_it_to_the_sensor(location: Location) -> None:
    evaluated = {one.check_name for one in location.run(DAY.isoformat()).get_asset_check_evaluations()}
    assert "all_loaded" in evaluated
    assert "nothing_broken" not in evaluated


@pytest.mark.parametrize(("minutes", "stuck"), [(10, 0), (20, 1)])
def test_live_work_that_nobody_takes_on_for_a_quarter_of_an_hour_is_stuck(
    location: Location, minutes: int, stuck: int
) -> None:
    location.record(catalog(1))
    let_wait(location, timedelta(minutes=minutes))
    told = Watch(location).told()
    assert (told.passed, values(told)["stuck_jobs"]) == (not stuck, stuck)
    if stuck:
        assert (told.description or "").startswith("1 job stuck since ")
        assert [row["day"] for row in rows(told.metadata["stuck_jobs_of_days"])] == ["2025-08-19"]
        assert "Dagster daemon" in str(values(told)["stuck_jobs_and_what_to_do"])


@pytest.mark.parametrize(("hours", "stuck"), [(12, 0), (60, 1)])
def test_a_backlog_may_wait_longer(location: Location, hours: int, stuck: int) -> None:
    location.record(catalog(1), priority=10)
    let_wait(location, timedelta(hours=hours))
    assert values(Watch(location).told())["stuck_jobs"] == stuck


def let_wait(location: Location, time: timedelta) -> None:
    """As if every due job had been due for so long."""
    with location.connect() as conn:
        conn.execute("UPDATE ledger.job SET due_at = now() - %s WHERE due_at IS NOT NULL", [time])
        conn.commit()
