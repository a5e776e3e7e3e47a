"""The code location loads anywhere, and what it holds keeps the names that the outside depends on."""

from __future__ import annotations

import os
import subprocess
import sys

import dagster as dg
import pytest

from assets import ingest
from assets.checks import _CHECKS
from assets.denials import DENIALS
from maap_stac_orchestration.definitions import build_defs, defs
from maap_stac_orchestration.governance.decision import DecisionCode
from maap_stac_orchestration.problems import Code
from sensors import backfill_history, choice, registry_watch

#: What takes long to import, or what only a run needs.
HEAVY = ("rasterio", "pystac", "pypgstac", "psycopg", "obstore", "shapely", "numpy", "pandas", "fastapi", "dagster_aws")

_LOAD = f"""
import sys
import maap_stac_orchestration.definitions
print(",".join(name for name in {HEAVY!r} if name in sys.modules))
"""


def load(**environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
    return subprocess.run(
        [sys.executable, "-c", _LOAD], env=kept | environment, capture_output=True, text=True, check=False
    )


def test_loading_needs_no_environment_and_imports_nothing_heavy() -> None:
    loaded = load()
    assert loaded.returncode == 0, loaded.stderr
    assert loaded.stdout.strip() == ""


def test_a_wrong_setting_is_told_when_the_code_is_loaded() -> None:
    loaded = load(MAAP_STAC_FIRST_DAY="yesterday")
    assert loaded.returncode != 0
    assert "MAAP_STAC_FIRST_DAY is 'yesterday', which cannot be used" in loaded.stderr


def test_the_location_is_valid() -> None:
    dg.Definitions.validate_loadable(defs)


def test_names_of_the_contract() -> None:
    repository = defs.get_repository_def()
    assert {key.to_user_string() for key in repository.assets_defs_by_key} == {
        "dps_catalogs",
        "governance_decisions",
        "pgstac_items",
        "stac_collections",
    }
    assert {sensor.name for sensor in repository.sensor_defs} == {
        "new_catalogs",
        "collections_changed",
        "ingest_failed",
        "registry_watch",
        "still_broken",
        "notifications",
    }
    assert {schedule.name for schedule in repository.schedule_defs} == {"reconcile_recent", "backfill_history"}
    checks = {(key.asset_key.to_user_string(), key.name) for key in repository.asset_graph.asset_check_keys}
    assert checks == {
        ("dps_catalogs", "catalogs_readable"),
        ("dps_catalogs", "items_valid"),
        ("dps_catalogs", "assets_present"),
        ("dps_catalogs", "events_complete"),
        ("governance_decisions", "no_denials"),
        ("governance_decisions", "registry_loads"),
        ("pgstac_items", "all_loaded"),
        ("pgstac_items", "nothing_broken"),
        ("stac_collections", "room_for_more"),
    }


def test_the_job_has_the_three_stages_their_checks_and_daily_partitions_up_to_today() -> None:
    job = defs.resolve_job_def("ingest")
    assert {node.name for node in job.graph.nodes} == {
        "dps_catalogs",
        "governance_decisions",
        "pgstac_items",
        "day_checks",
    }
    assert job.partitions_def is not None
    from datetime import UTC, datetime

    keys = job.partitions_def.get_partition_keys()
    assert keys[0] == "2020-01-01"
    assert keys[-1] == datetime.now(UTC).date().isoformat()


@pytest.mark.parametrize("job", ["ingest", "upkeep", "__ASSET_JOB"])
def test_one_process_runs_all_steps_of_a_run(job: str) -> None:
    assert defs.get_repository_def().get_job(job).executor_def is dg.in_process_executor


def test_every_code_makes_one_check_red_or_is_named_here() -> None:
    covered = [code for check in _CHECKS for code in check.codes or ()]
    assert len(covered) == len(set(covered))
    # A refused load makes its job end partial or rejected, which all_loaded tells; the other is only a note.
    assert set(Code) - set(covered) == {Code.LOAD_REJECTED, Code.SCHEMA_UNAVAILABLE}


def test_every_code_that_makes_the_check_of_denials_red_is_the_code_of_a_decision() -> None:
    assert {str(code) for code in DENIALS} == set(DecisionCode) - {DecisionCode.GRANTED, DecisionCode.DEFAULT_ASSIGNED}


def test_the_sensor_evaluates_the_check_that_runs_evaluate() -> None:
    key = dg.AssetCheckKey(dg.AssetKey(registry_watch.ASSET), registry_watch.CHECK)
    assert key in defs.get_repository_def().asset_graph.asset_check_keys


def test_resources_can_be_put_in_the_place_of_others() -> None:
    assert build_defs(resource_overrides={"queue": 7}).resources is not None
    assert build_defs(resource_overrides={"queue": 7}).resources["queue"] == 7  # type: ignore[index]


def test_the_schedule_lists_the_last_days_first() -> None:
    from datetime import UTC, datetime

    from sensors.schedules import reconcile_recent

    context = dg.build_schedule_context(
        scheduled_execution_time=datetime(2026, 3, 2, 2, 30, tzinfo=UTC), repository_def=defs.get_repository_def()
    )
    requests = reconcile_recent.evaluate_tick(context).run_requests
    assert requests is not None
    assert [request.partition_key for request in requests] == ["2026-03-01", "2026-02-28", "2026-02-27"]
    job = defs.resolve_job_def("ingest")
    for request in requests:
        assert dg.validate_run_config(job, request.run_config)["ops"]["dps_catalogs"]["config"] == {"list_first": True}
        assert request.tags[ingest.SOURCE_TAG] == ingest.RECONCILE, "which has the run compare it with the events"


def test_runs_of_old_days_are_told_by_the_tag_that_the_stage_looks_at() -> None:
    assert choice.SOURCE_TAG == ingest.SOURCE_TAG
    assert backfill_history.SOURCE == ingest.HISTORY


@pytest.mark.parametrize("first", ["2019-05-06", "2024-01-01"])
def test_an_earlier_first_day_makes_earlier_partitions_and_a_later_one_takes_none_away(first: str) -> None:
    from maap_stac_orchestration.discovery.days import first_day
    from maap_stac_orchestration.settings import Settings

    assert first_day(Settings(first_day=first)).isoformat() == min(first, "2020-01-01")  # type: ignore[arg-type]
