"""Collections that changed become partitions and get their upkeep, several by one run."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg
import pytest

from maap_stac_orchestration.ledger import collections as known
from maap_stac_orchestration.pgstac import limits
from sensors import collections_changed as module
from tests.integration.dagster.conftest import Location
from tests.integration.pipeline.batches import Written, ingest
from tests.integration.pipeline.test_upkeep import DEFAULT, mosaic


@pytest.fixture
def no_debounce(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits half a minute in a test."""
    monkeypatch.setattr(module, "_QUIET", timedelta(0))


def change(location: Location, *collections: str) -> None:
    with location.connect() as conn:
        known.changed(conn, collections)
        conn.commit()


def partitions(location: Location) -> list[str]:
    return list(location.instance.get_dynamic_partitions("stac_collections"))


def tick(location: Location) -> list[tuple[str, str]]:
    """Evaluates the sensor, adds partitions as the daemon does, gives the ranges that were asked for."""
    result = location.tick("collections_changed")
    for request in result.dynamic_partitions_requests or []:
        location.instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
    return [(one.tags[module.RANGE_START], one.tags[module.RANGE_END]) for one in result.run_requests]


@pytest.mark.usefixtures("no_debounce")
def test_a_new_collection_becomes_a_partition_and_then_gets_its_upkeep(location: Location) -> None:
    change(location, "b", "a")
    assert tick(location) == []
    assert partitions(location) == ["a", "b"]
    assert tick(location) == [("a", "b")]


def test_a_collection_that_is_being_written_to_is_left_alone(location: Location) -> None:
    location.instance.add_dynamic_partitions("stac_collections", ["a"])
    change(location, "a")
    assert tick(location) == []


@pytest.mark.usefixtures("no_debounce")
def test_no_second_run_of_upkeep_is_asked_for(location: Location) -> None:
    location.instance.add_dynamic_partitions("stac_collections", ["a"])
    change(location, "a")
    location.instance.create_run_for_job(location.defs.resolve_job_def("upkeep"), status=dg.DagsterRunStatus.STARTED)
    assert tick(location) == []


@pytest.mark.usefixtures("no_debounce")
def test_one_run_looks_after_a_range_of_collections(location: Location) -> None:
    change(location, "a", "b", "c")
    tick(location)
    ((first, last),) = tick(location)
    job = location.defs.resolve_job_def("upkeep")
    result = job.execute_in_process(
        instance=location.instance, tags={module.RANGE_START: first, module.RANGE_END: last}
    )
    assert result.success
    events = result.asset_materializations_for_node("stac_collections")
    assert sorted(event.partition or "" for event in events) == ["a", "b", "c"]
    assert tick(location) == []
    with location.connect() as conn:
        assert known.to_refresh(conn) == []


def test_the_upkeep_of_a_collection_reports_its_items(location: Location) -> None:
    location.instance.add_dynamic_partitions("stac_collections", ["a"])
    job = location.defs.resolve_job_def("upkeep")
    result = job.execute_in_process(instance=location.instance, partition_key="a")
    (event,) = result.asset_materializations_for_node("stac_collections")
    assert event.metadata["items"].value == 0


@pytest.mark.usefixtures("no_debounce")
def test_upkeep_tells_what_it_changed_of_each_collection_and_whose_its_fields_are(location: Location) -> None:
    with location.connect() as conn:
        ingest(conn, [Written([mosaic("a")]), Written([mosaic("b")], minute=1, tag="other")])
    tick(location)
    ((first, last),) = tick(location)
    job = location.defs.resolve_job_def("upkeep")
    tags = {module.RANGE_START: first, module.RANGE_END: last}
    result = job.execute_in_process(instance=location.instance, tags=tags)
    told = {one.partition: one.metadata for one in result.asset_materializations_for_node("stac_collections")}
    assert len(told) == 2
    for metadata in told.values():
        assert metadata["items"].value == metadata["items_looked_at"].value == 1
        assert metadata["number_of_item_assets"].value == 3
        assert metadata["number_of_renders"].value == 1
        assert "renders" in metadata["changed"].value
        fields = {row.data["field"]: row.data for row in metadata["fields"].records}
        assert (fields["renders"]["written_by"], fields["renders"]["holds"]) == ("its items", "true-color")
    again = job.execute_in_process(instance=location.instance, partition_key=DEFAULT)
    (event,) = again.asset_materializations_for_node("stac_collections")
    assert event.metadata["changed"].value == "nothing"


@pytest.mark.usefixtures("no_debounce")
def test_upkeep_tells_when_the_server_has_little_room_for_more_collections(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    location.instance.add_dynamic_partitions("stac_collections", ["a", "b"])
    job = location.defs.resolve_job_def("upkeep")
    tags = {module.RANGE_START: "a", module.RANGE_END: "b"}

    (told,) = job.execute_in_process(instance=location.instance, tags=tags).get_asset_check_evaluations()
    assert (told.check_name, told.passed) == ("room_for_more", True)

    monkeypatch.setattr(limits, "WARN_BELOW", 10**9)
    (told,) = job.execute_in_process(instance=location.instance, tags=tags).get_asset_check_evaluations()
    assert (told.passed, told.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "Set max_locks_per_transaction to" in (told.description or "")
