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

DAY = "2025-08-19"
CATALOG = "ana/dps_output/alg/v1/tag/2025/08/19/00/00/00/000001/catalog.json"


def without_store(location: Location) -> None:
    """From now on S3 does not answer."""

    def away() -> Any:
        raise StoreUnavailable("S3 does not answer.")

    location.overrides["objects"] = away


def test_infrastructure_makes_the_run_red_and_the_jobs_due_again(location: Location) -> None:
    location.record(CATALOG)
    without_store(location)
    result = location.run(DAY, raises=False)
    assert not result.success
    assert list(location.states().values()) == ["discovered"]
    with location.connect() as conn:
        reasons = [row[0] for row in conn.execute("SELECT reason FROM ledger.transition ORDER BY id")]
    assert "StoreUnavailable: S3 does not answer." in reasons
    assert location.tick("new_catalogs").run_requests[0].partition_key == DAY


def test_the_sensor_gives_back_and_logs_one_event(location: Location, capsys: pytest.CaptureFixture[str]) -> None:
    location.record(CATALOG)
    without_store(location)
    result = location.run(DAY, raises=False)
    context = dg.build_run_status_sensor_context(
        sensor_name="ingest_failed",
        dagster_instance=location.instance,
        dagster_run=result.dagster_run,
        dagster_event=result.get_run_failure_event(),
        resources={"ledger": location.connect},
    ).for_run_failure()
    ingest_failed(context)
    (event,) = [json.loads(line) for line in capsys.readouterr().err.splitlines() if '"run.failed"' in line]
    assert event["run_id"] == result.run_id
    assert (event["job"], event["partition"], event["jobs_given_back"]) == ("ingest", DAY, 0)


def test_the_sensor_is_part_of_the_location() -> None:
    assert build_defs().resolve_sensor_def("ingest_failed").default_status is dg.DefaultSensorStatus.RUNNING
