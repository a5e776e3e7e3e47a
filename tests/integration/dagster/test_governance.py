"""What Dagster and the log show of decisions, and of the registry that takes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from maap_stac_orchestration.governance.decision import DecisionCode
from tests.integration.dagster.conftest import Location
from tests.integration.dagster.jobs import PREFIX, listing_first, metadata_of, put_job

DAY = "2025-08-19"
CHECK = dg.AssetCheckKey(dg.AssetKey("governance_decisions"), "registry_loads")

GOOD = 'version: 1\ngrants:\n  - collection: "maap-*"\n    users: [bea]\n    create: true\n'
BETTER = GOOD.replace("[bea]", "[bea, ana]")
BROKEN = GOOD.replace("collection:", "colection:")


@pytest.fixture
def registry(location: Location, tmp_path: Path) -> Path:
    """A registry file, in force."""
    file = tmp_path / "registry.yaml"
    file.write_text(GOOD)
    location.settings = location.settings.model_copy(update={"registry": str(file)})
    return file


def events(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The log events on stderr since the last call."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith('{"event":')]


def registry_check(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    (found,) = [one for one in result.get_asset_check_evaluations() if one.asset_check_key == CHECK]
    return found


@pytest.mark.usefixtures("registry")
def test_a_run_shows_each_decision_and_counts_them_by_code_and_collection(location: Location) -> None:
    put_job(location, collections=[None, "maap-floods", "maap-floods", "Bad Name"])
    put_job(location, PREFIX.replace("ana", "bea"), collections=["maap-floods"])
    result = location.run(DAY, run_config=listing_first())
    assert result.success
    shown = metadata_of(result, "governance_decisions")
    found = {
        DecisionCode.DEFAULT_ASSIGNED: 1,
        DecisionCode.INVALID_NAME: 1,
        DecisionCode.USER_NOT_AUTHORIZED: 1,
        DecisionCode.GRANTED: 1,
    }
    codes = {name: value for name, value in shown.items() if name.startswith("decisions/")}
    assert codes == {f"decisions/{code}": found.get(code, 0) for code in DecisionCode}
    items = {name: value for name, value in shown.items() if name.startswith("items/")}
    assert items == {"items/ana__alg__v1__tag": 4, "items/maap-floods": 1}
    assert (shown["other_collections"], shown["items_in_other_collections"]) == (0, 0)
    rows = [record.data for record in shown["decisions_table"].records]
    assert [row["outcome"] for row in rows] == ["fallback", "fallback", "accept", "default"]
    denied = next(row for row in rows if row["decision"] == "user_not_authorized")
    assert (denied["requested"], denied["collection"], denied["items"], denied["job"]) == (
        "maap-floods",
        "ana__alg__v1__tag",
        2,
        PREFIX,
    )
    assert shown["decisions_not_shown"] == 0
    assert shown["decisions_of_this_run"] == f"http://stac.test/decisions?run_id={result.run_id}"


def test_the_51st_decision_is_counted_instead_of_shown(location: Location) -> None:
    put_job(location, collections=[f"other-{number}" for number in range(51)])
    result = location.run(DAY, run_config=listing_first())
    shown = metadata_of(result, "governance_decisions")
    assert shown["decisions"] == shown["decisions/user_not_authorized"] == 51
    assert len(shown["decisions_table"].records) == 50
    assert shown["decisions_not_shown"] == 1


def test_items_that_belong_to_others_are_counted_where_they_are_loaded(location: Location, registry: Path) -> None:
    registry.write_text(BETTER)
    put_job(location, PREFIX.replace("ana", "bea"), collections=["maap-floods"])
    location.run(DAY, run_config=listing_first())
    put_job(location, collections=["maap-floods", "maap-floods"])
    result = location.run(DAY, run_config=listing_first())
    loaded = metadata_of(result, "pgstac_items")
    assert (loaded["items_owned_by_other"], loaded["refused"], loaded["loaded"]) == (1, 1, 1)
    (check,) = [one for one in result.get_asset_check_evaluations() if one.check_name == "no_denials"]
    assert check.description == f"1 job of {DAY}: item_owned_by_other 1"


def test_denials_make_the_check_of_their_day_red_and_the_run_green(location: Location) -> None:
    put_job(location, collections=["maap-floods"])
    put_job(location, PREFIX.replace("/19/", "/20/"))
    denied = location.run(DAY, run_config=listing_first())
    fine = location.run("2025-08-20", run_config=listing_first())
    assert denied.success
    checks = {
        one.partition: one
        for result in (denied, fine)
        for one in result.get_asset_check_evaluations()
        if one.check_name == "no_denials"
    }
    assert {day: one.passed for day, one in checks.items()} == {DAY: False, "2025-08-20": True}
    assert checks[DAY].description == f"1 job of {DAY}: user_not_authorized 1"
    assert list(location.states().values()) == ["loaded", "loaded"]


def test_a_run_is_tagged_with_the_version_of_the_registry_that_decides(location: Location, registry: Path) -> None:
    versions = []
    for content in (GOOD, BETTER):
        registry.write_text(content)
        result = location.run(DAY)
        run = location.instance.get_run_by_id(result.run_id)
        assert run is not None
        version = metadata_of(result, "governance_decisions")["registry_version"]
        assert run.tags["maap/registry_version"] == version
        versions.append(version)
    assert len(set(versions)) == 2


def test_without_a_registry_the_tag_says_so_and_the_check_is_green(location: Location) -> None:
    result = location.run(DAY)
    run = location.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags["maap/registry_version"] == "none"
    assert registry_check(result).passed


def test_a_registry_that_does_not_load_is_a_red_check_until_it_is_mended(location: Location, registry: Path) -> None:
    good = location.run(DAY)
    assert registry_check(good).passed
    version = metadata_of(good, "governance_decisions")["registry_version"]

    registry.write_text(BROKEN)
    put_job(location, PREFIX.replace("ana", "bea"), collections=["maap-floods"])
    broken = location.run(DAY, run_config=listing_first())
    assert broken.success
    evaluation = registry_check(broken)
    assert not evaluation.passed
    assert evaluation.severity is dg.AssetCheckSeverity.ERROR
    assert not evaluation.blocking
    assert evaluation.partition is None
    metadata = {name: value.value for name, value in evaluation.metadata.items()}
    assert metadata["registry_version"] == version
    assert metadata["file"] == str(registry)
    assert 'unknown key "colection"' in metadata["message"]
    assert f"The registry {version} of" in metadata["message"]
    assert metadata_of(broken, "governance_decisions")["decisions/granted"] == 1

    registry.write_text(BETTER)
    assert registry_check(location.run("2024-01-02")).passed
    assert latest(location) is dg_status("SUCCEEDED")


def dg_status(name: str) -> Any:
    from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

    return AssetCheckExecutionRecordStatus[name]


def latest(location: Location) -> Any:
    """How the check of the registry stands, as the UI shows it."""
    records = location.instance.event_log_storage.get_latest_asset_check_execution_by_key([CHECK])
    return records[CHECK].status if CHECK in records else None


class Watch:
    """The sensor `registry_watch` as the daemon evaluates it, tick by tick."""

    def __init__(self, location: Location) -> None:
        self.location, self.cursor = location, None

    def tick(self) -> list[dg.AssetCheckEvaluation]:
        """What a tick tells, which is then told to the instance."""
        result = self.location.tick("registry_watch", self.cursor)
        self.cursor = result.cursor
        assert not result.run_requests
        evaluations = [one for one in result.asset_events if isinstance(one, dg.AssetCheckEvaluation)]
        for one in evaluations:
            self.location.instance.report_runless_asset_event(one)
        return evaluations


def test_the_watch_tells_of_the_registry_when_it_changes_and_only_then(location: Location, registry: Path) -> None:
    watch = Watch(location)
    assert [one.passed for one in watch.tick()] == [True]
    assert watch.tick() == []

    registry.write_text(BROKEN)
    (broken,) = watch.tick()
    assert not broken.passed
    assert broken.severity is dg.AssetCheckSeverity.ERROR
    assert 'unknown key "colection"' in str(broken.metadata["message"].value)
    assert latest(location) is dg_status("FAILED")
    assert watch.tick() == []

    registry.write_text(BETTER)
    assert [one.passed for one in watch.tick()] == [True]
    assert latest(location) is dg_status("SUCCEEDED")


def test_the_watch_tells_that_nothing_can_be_decided(location: Location, registry: Path) -> None:
    registry.unlink()
    watch = Watch(location)
    (evaluation,) = watch.tick()
    assert not evaluation.passed
    assert evaluation.metadata["registry_version"].value == "none is in force"
    assert str(registry) in str(evaluation.metadata["message"].value)
    registry.write_text(GOOD)
    assert [one.passed for one in watch.tick()] == [True]


def test_each_decision_is_a_line_on_stderr_that_names_the_run(
    location: Location, registry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_job(location, collections=[None, "maap-floods"])
    result = location.run(DAY, run_config=listing_first())
    lines = events(capsys)
    decisions = [line for line in lines if line["event"] == "governance.decision"]
    assert {(line["requested"], line["decision"], line["collection"]) for line in decisions} == {
        (None, "default_assigned", "ana__alg__v1__tag"),
        ("maap-floods", "user_not_authorized", "ana__alg__v1__tag"),
    }
    assert len(decisions) == 2
    assert {line["job"] for line in decisions} == {PREFIX}
    loaded = [line for line in lines if line["event"] == "registry.loaded"]
    assert [line["source"] for line in loaded] == [str(registry)]
    assert {line["run_id"] for line in lines} == {result.run_id}

    location.run(DAY)
    assert events(capsys) == [], "nothing was decided, and no other registry came into force"


def test_a_refused_registry_is_one_line_on_stderr_whoever_meets_it_first(
    location: Location, registry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Watch(location).tick()
    registry.write_text(BROKEN)
    capsys.readouterr()
    Watch(location).tick()
    location.run(DAY)
    (refused,) = events(capsys)
    assert (refused["event"], refused["level"], refused["source"]) == ("registry.refused", "error", str(registry))
    assert "run_id" not in refused
