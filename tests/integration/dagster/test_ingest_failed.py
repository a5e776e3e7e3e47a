"""A run that fails gives its jobs back, and the failure is one event in the log."""

from __future__ import annotations

import json
from typing import Any

import dagster as dg
import pytest

from maap_stac_orchestration.definitions import build_defs
from maap_stac_orchestration.store.objects import StoreUnavailable
from sensors.ingest_failed import ingest_failed
from tests.integration.dagster.conftest import Location
from tests.integration.dagster.jobs import listing_first

DAY = "2025-08-19"
CATALOG = "ana/dps_output/alg/v1/tag/2025/08/19/00/00/00/000001/catalog.json"


def without_store(location: Location) -> None:
    """From now on S3 does not answer."""

    def away() -> Any:
        raise StoreUnavailable("S3 does not answer.")

    location.overrides["objects"] = away


def react(location: Location, result: dg.ExecuteInProcessResult) -> None:
    """The daemon sees the failed run."""
    context = dg.build_run_status_sensor_context(
        sensor_name="ingest_failed",
        dagster_instance=location.instance,
        dagster_run=result.dagster_run,
        dagster_event=result.get_run_failure_event(),
        resources={"ledger": location.connect, "settings": lambda: location.settings},
    ).for_run_failure()
    ingest_failed(context)


def told_in_the_run(location: Location, result: dg.ExecuteInProcessResult) -> tuple[str, dict[str, Any], str]:
    """What the failed run's own events say of its jobs, with the links, and its tag."""
    (event,) = [
        entry.dagster_event
        for entry in location.instance.all_logs(result.run_id)
        if entry.dagster_event is not None and "new_catalogs asks" in (entry.dagster_event.message or "")
    ]
    run = location.instance.get_run_by_id(result.run_id)
    assert run is not None
    links = {name: value.value for name, value in event.engine_event_data.metadata.items()}
    return event.message or "", links, run.tags["maap/jobs"]


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"dagster/backfill": "abc"}, "start the backfill again for the partitions that failed."),
        ({"maap/source": "history"}, "backfill_history asks for it again in a quarter of an hour."),
        ({"maap/source": "reconcile"}, "a day is listed again for three nights."),
    ],
)
def test_a_run_that_could_not_list_its_day_tells_who_does(location: Location, tags: dict[str, str], said: str) -> None:
    location.settings = location.settings.model_copy(update={"buckets": ("gone",)})
    result = location.run(DAY, raises=False, tags=tags, run_config=listing_first())
    react(location, result)
    message, _, _ = told_in_the_run(location, result)
    assert f"The day {DAY} was not listed whole: " in message
    assert said in message


def test_a_run_that_listed_its_day_and_failed_later_says_nothing_of_it(location: Location) -> None:
    location.store.put(CATALOG, b"{}")
    without_store(location)
    result = location.run(DAY, raises=False, tags={"dagster/backfill": "abc"})
    react(location, result)
    message, _, _ = told_in_the_run(location, result)
    assert message.startswith("The run had taken on 1 job.")
    assert "not listed" not in message


def test_the_failed_run_tells_what_became_of_its_jobs_and_links_to_them(location: Location) -> None:
    location.record(CATALOG)
    without_store(location)
    result = location.run(DAY, raises=False)
    react(location, result)
    message, links, tag = told_in_the_run(location, result)
    assert message.startswith("The run had taken on 1 job. Those that it did not end are due again")
    assert links == {"status_of_this_run": f"http://stac.test/status/jobs?run_id={result.run_id}"}
    assert tag == "1"


def test_a_run_that_failed_before_it_took_on_a_job_links_to_its_day(location: Location) -> None:
    location.record(CATALOG)

    def away(settings: Any) -> Any:
        raise StoreUnavailable("SQS does not answer.")

    location.overrides["queue"] = away
    result = location.run(DAY, raises=False)
    react(location, result)
    message, links, tag = told_in_the_run(location, result)
    assert message.startswith("The run failed before it took on a job, so none was touched.")
    assert links == {"status_of_this_day": "http://stac.test/status/jobs?since=2025-08-19&until=2025-08-20"}
    assert tag == "0"


def test_infrastructure_makes_the_run_red_and_the_jobs_due_again(location: Location) -> None:
    location.record(CATALOG)
    without_store(location)
    result = location.run(DAY, raises=False)
    assert not result.success
    assert list(location.states().values()) == ["discovered"]
    with location.connect() as conn:
        reasons = [row[0] for row in conn.execute("SELECT reason FROM ledger.transition ORDER BY id")]
    assert "The run broke before it was done (StoreUnavailable: S3 does not answer)." in reasons
    assert location.tick("new_catalogs").run_requests[0].partition_key == DAY


def test_the_sensor_gives_back_and_logs_one_event(location: Location, capsys: pytest.CaptureFixture[str]) -> None:
    location.record(CATALOG)
    without_store(location)
    result = location.run(DAY, raises=False)
    react(location, result)
    (event,) = [json.loads(line) for line in capsys.readouterr().err.splitlines() if '"run.failed"' in line]
    assert event["run_id"] == result.run_id
    assert (event["job"], event["partition"], event["jobs_given_back"]) == ("ingest", DAY, 0)


def test_the_sensor_is_part_of_the_location() -> None:
    assert build_defs().resolve_sensor_def("ingest_failed").default_status is dg.DefaultSensorStatus.RUNNING
