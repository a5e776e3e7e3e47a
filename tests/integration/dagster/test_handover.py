"""Batches between steps: found by a re-execution, never mixed up between runs of one day, gone when they are loaded.

No `from __future__ import annotations` in this module: Dagster reads the annotations of an asset's arguments.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from assets.handover import BatchMissing, batches
from assets.partitions import DAYS
from maap_stac_orchestration.settings import Settings

if TYPE_CHECKING:
    from tests.conftest import MotoStore

DAY = "2025-08-19"


class Stages:
    """What the three assets below do in the present test. Dagster re-executes only what it can find by name again."""

    store: str
    fails: bool
    began: int
    loaded: list[Any]

    def reset(self, store: str) -> None:
        """A new test begins."""
        self.store, self.fails, self.began, self.loaded = store, True, 0, []

    def run(self, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
        """Runs all three steps."""
        return stages_job().execute_in_process(partition_key=DAY, instance=instance, raise_on_error=False)

    def again_from_failure(self, instance: dg.DagsterInstance, run_id: str) -> bool:
        """Runs the failed step again, as "Re-execute from failure" in the UI does."""
        options = dg.ReexecutionOptions.from_failure(run_id, instance)
        job = dg.reconstructable(stages_job)
        tags = {"dagster/partition": DAY}
        with dg.execute_job(job, instance, reexecution_options=options, tags=tags) as result:
            return result.success


_stages = Stages()


@dg.asset(partitions_def=DAYS, io_manager_key="batches")
def first() -> Any:
    """Takes a batch."""
    _stages.began += 1
    return {"batch": _stages.began}


@dg.asset(partitions_def=DAYS, io_manager_key="batches")
def second(first: Any) -> Any:
    """Adds to it."""
    return first | {"decided": True}


@dg.asset(partitions_def=DAYS, required_resource_keys={"batches"})
def third(context: dg.AssetExecutionContext, second: Any) -> None:
    """Fails for as long as it is told to."""
    if _stages.fails:
        raise ConnectionError("the database went away")
    _stages.loaded.append(second)
    context.resources.batches.forget(context.run)


def stages_job() -> dg.JobDefinition:
    """The job of the three."""
    definitions = dg.Definitions(
        assets=[first, second, third],
        jobs=[dg.define_asset_job("stages", executor_def=dg.in_process_executor)],
        resources={"batches": batches(lambda: Settings(batch_store=_stages.store))},
    )
    return definitions.resolve_job_def("stages")


@pytest.fixture(params=["folder", "s3"])
def stages(request: pytest.FixtureRequest, object_store: "MotoStore", tmp_path: Path) -> Stages:
    """The stages over a folder and over S3."""
    _stages.reset(str(tmp_path / "batches") if request.param == "folder" else f"s3://{object_store.bucket}/batches")
    return _stages


def test_a_failed_step_is_run_again_from_what_its_parent_handed_over(
    stages: Stages, instance: dg.DagsterInstance
) -> None:
    failed = stages.run(instance)
    assert not failed.success
    assert not stages.again_from_failure(instance, failed.run_id)
    stages.fails = False
    assert stages.again_from_failure(instance, failed.run_id)
    assert stages.loaded == [{"batch": 1, "decided": True}]
    assert stages.began == 1


def test_two_runs_of_one_day_keep_their_own_batches(stages: Stages, instance: dg.DagsterInstance) -> None:
    one = stages.run(instance)
    other = stages.run(instance)
    stages.fails = False
    assert stages.again_from_failure(instance, one.run_id)
    assert stages.again_from_failure(instance, other.run_id)
    assert [batch["batch"] for batch in stages.loaded] == [1, 2]


def test_what_was_loaded_is_gone_and_a_step_alone_says_what_to_start(
    stages: Stages, instance: dg.DagsterInstance, object_store: "MotoStore", tmp_path: Path
) -> None:
    stages.fails = False
    assert stages.run(instance).success
    assert object_store.client().list_objects_v2(Bucket=object_store.bucket).get("KeyCount") == 0
    assert not list((tmp_path / "batches").glob("*"))
    with pytest.raises(BatchMissing, match="by the job `ingest`"):
        stages_job().execute_in_process(partition_key=DAY, instance=instance, asset_selection=[dg.AssetKey("third")])
