"""The job `ingest` in this process, over real objects, a real ledger and a real pgstac."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from maap_stac_orchestration.pipeline import load as load_module
from tests.integration.dagster.conftest import Location
from tests.integration.dagster.jobs import PREFIX, listing_first, metadata_of, put_job
from tests.shared import sample_bucket

DAY = "2025-08-19"


def test_a_listed_day_ends_in_pgstac_with_provenance_and_metadata(location: Location) -> None:
    put_job(location)
    result = location.run(DAY, run_config=listing_first())
    assert result.success
    assert location.states() == {PREFIX: "loaded"}
    with psycopg.connect(location.database) as conn:
        found = conn.execute("SELECT collection, pgstac.get_item(id, collection) FROM pgstac.items").fetchone()
    assert found is not None
    assert found[0] == "ana__alg__v1__tag"
    assert found[1]["properties"]["maap:run_id"] == result.run_id
    read, decided, loaded = (
        metadata_of(result, name) for name in ("dps_catalogs", "governance_decisions", "pgstac_items")
    )
    assert (read["found"], read["found_new"], read["jobs"], read["items"]) == (1, 1, 1, 1)
    assert (decided["default"], decided["reject"]) == (1, 0)
    (group,) = decided["decisions_by_collection"].records
    assert group.data == {
        "decision": "default_assigned",
        "outcome": "default",
        "collection": "ana__alg__v1__tag",
        "jobs": 1,
        "items": 1,
    }
    assert (loaded["loaded"], loaded["unchanged"], loaded["jobs_loaded"]) == (1, 0, 1)
    assert loaded["jobs_of_this_run"] == f"http://stac.test/jobs?run_id={result.run_id}"
    assert all(one.passed for one in result.get_asset_check_evaluations())


def test_a_run_of_a_backfill_lists_its_day_and_another_run_does_not(location: Location) -> None:
    put_job(location)
    assert location.run(DAY).success
    assert location.states() == {}
    assert location.run(DAY, tags={"dagster/backfill": "abc"}).success
    assert location.states() == {PREFIX: "loaded"}


def test_nothing_due_is_a_quick_success(location: Location) -> None:
    result = location.run(DAY)
    assert result.success
    assert [metadata_of(result, name)["jobs"] for name in ("dps_catalogs", "pgstac_items")] == [0, 0]


def test_a_second_run_takes_on_what_came_later_and_only_that(location: Location) -> None:
    put_job(location)
    location.record(PREFIX + "catalog.json")
    location.run(DAY)
    other = PREFIX.replace("000001", "000002")
    put_job(location, other, item_id="two")
    location.record(other + "catalog.json")
    second = location.run(DAY)
    assert metadata_of(second, "pgstac_items")["jobs"] == 1
    assert location.item_ids() == ["one", "two"]


def test_bad_data_is_a_red_check_and_a_green_run(location: Location) -> None:
    location.store.put(PREFIX + "catalog.json", b"no json")
    location.store.put(
        PREFIX + "output-2025-08-19T00:00:00.000001.met.json",
        b'{"username": "ana", "algorithm_name": "alg", "algorithm_version": "v1", "tag": "tag"}',
    )
    result = location.run(DAY, run_config=listing_first())
    assert result.success
    red = {one.check_name for one in result.get_asset_check_evaluations() if not one.passed}
    assert red == {"catalogs_readable", "all_loaded"}
    problems = metadata_of(result, "dps_catalogs")["problems_table"]
    assert result.asset_materializations_for_node("dps_catalogs")[0].metadata["problems"].value == 1
    assert problems is not None


def test_loading_that_fails_is_run_again_from_the_decisions(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_job(location)
    reads = 0
    real_objects = location.defs.resources["objects"]  # type: ignore[index]

    def counted() -> Any:
        nonlocal reads
        reads += 1
        return real_objects()

    location.overrides["objects"] = counted

    def fails(*arguments: Any, **named: Any) -> Any:
        raise psycopg.OperationalError("the server closed the connection unexpectedly")

    with monkeypatch.context() as broken:
        broken.setattr(load_module, "load_jobs", fails)
        failed = location.run(DAY, raises=False, run_config=listing_first())
    assert not failed.success
    assert location.states() == {PREFIX: "discovered"}

    again = location.again_from_failure(failed.run_id, DAY)
    assert again
    assert location.states() == {PREFIX: "loaded"}
    assert location.item_ids() == ["one"]
    assert reads == 1


def test_a_re_execution_leaves_alone_what_another_run_has_done_since(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_job(location)

    def fails(*arguments: Any, **named: Any) -> Any:
        raise psycopg.OperationalError("the server closed the connection unexpectedly")

    with monkeypatch.context() as broken:
        broken.setattr(load_module, "load_jobs", fails)
        failed = location.run(DAY, raises=False, run_config=listing_first())
    assert location.run(DAY).success
    assert location.states() == {PREFIX: "loaded"}
    assert location.again_from_failure(failed.run_id, DAY)
    with location.connect() as conn:
        batches = conn.execute("SELECT run_id FROM ledger.batch").fetchall()
    assert len(batches) == 2, "the re-execution held nothing"


@pytest.mark.parametrize(
    ("day", "items"), [("2025-08-19", 1), ("2025-11-03", None), ("2025-11-06", None), ("2026-02-28", None)]
)
def test_days_of_the_sample_bucket_end(location: Location, day: str, items: int | None) -> None:
    location.store.put_folder(sample_bucket())
    result = location.run(day, run_config=listing_first())
    assert result.success
    states = set(location.states().values())
    assert states <= {"loaded", "partial", "rejected", "waiting"}
    if items is not None:
        assert len(location.item_ids()) == items
