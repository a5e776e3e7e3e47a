"""How a batch passes from step to step: an IO manager that keeps one file a step for as long as its run may need it.

Here belongs where batches lie in between. Not here: what is in them (`maap_stac_orchestration.pipeline.batch`).

The files are pickles. Unpickling runs what the file says, so a batch store must be writable by the runs only; nothing
that a job wrote is ever unpickled, and nothing of it names the path.
"""

from __future__ import annotations

import pickle
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import dagster as dg
from upath import UPath

from maap_stac_orchestration.pipeline.batch import Batch, DecidedJob, ReadJob

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagster_aws.s3.io_manager import PickledObjectS3IOManager

#: Seconds after which files of runs that never succeeded are removed; until then such a run can be re-executed.
_KEPT = 7 * 86_400


@dataclass(frozen=True, slots=True)
class DayListing:
    """What listing its day came to, in a run that did."""

    #: Catalogs that lie in the buckets.
    found: int
    #: Of those, the versions that the ledger had not known.
    new: int
    #: Of those, the ones that events should have told of; None where that was not compared.
    missed: int | None


@dataclass(frozen=True, slots=True)
class ReadBatch:
    """What `dps_catalogs` hands over."""

    batch: Batch
    jobs: tuple[ReadJob, ...]
    #: None in a run that did not list its day.
    listing: DayListing | None = None


@dataclass(frozen=True, slots=True)
class DecidedBatch:
    """What `governance_decisions` hands over."""

    batch: Batch
    jobs: tuple[DecidedJob, ...]
    listing: DayListing | None = None


class BatchMissing(Exception):
    """A step was asked for without the one before it; the message says what to start instead."""


class BatchStore(Protocol):
    """What the assets ask of the IO manager."""

    def forget(self, run: dg.DagsterRun) -> None:
        """Removes what a run and its re-executions handed over."""
        ...


def root_run_id(run: dg.DagsterRun) -> str:
    """The run that a chain of re-executions began with: a re-execution finds what its parents handed over."""
    return run.root_run_id or run.run_id


class _ByRun(dg.UPathIOManager):
    """The path of a batch: the root run's id, the asset, the day.

    Two runs of one day share its work, so their batches differ although asset and partition are the same.
    """

    extension = ".pickle"

    def get_asset_relative_path(self, context: dg.InputContext | dg.OutputContext) -> UPath:
        return UPath(root_run_id(context.step_context.dagster_run), *context.asset_key.path)

    def load_input(self, context: dg.InputContext) -> Any:
        try:
            return super().load_input(context)
        except FileNotFoundError as error:
            run_id = root_run_id(context.step_context.dagster_run)
            raise BatchMissing(
                f"There is no batch of {context.asset_key.to_user_string()} for the run {run_id}. A batch is passed on"
                " within one run and removed when it is loaded: start all three assets of the day together, by the job"
                " `ingest`."
            ) from error


class FolderBatches(_ByRun):
    """Batches in a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        super().__init__(base_path=UPath(folder))
        self.folder = folder

    def dump_to_path(self, context: dg.OutputContext, obj: Any, path: UPath) -> None:
        self._sweep()
        # Written beside and renamed: a step that dies while writing leaves no half file for a re-execution to read.
        beside = path.with_suffix(".part")
        with beside.open("wb") as file:
            pickle.dump(obj, file, pickle.HIGHEST_PROTOCOL)
        beside.rename(path)

    def load_from_path(self, context: dg.InputContext, path: UPath) -> Any:
        with path.open("rb") as file:
            return pickle.load(file)  # noqa: S301  # see the module's docstring

    def forget(self, run: dg.DagsterRun) -> None:
        """Removes what a run and its re-executions handed over."""
        shutil.rmtree(self.folder / root_run_id(run), ignore_errors=True)

    def _sweep(self) -> None:
        """Removes what runs left behind that never succeeded."""
        for left in self.folder.iterdir() if self.folder.is_dir() else ():
            if left.stat().st_mtime < time.time() - _KEPT:
                shutil.rmtree(left, ignore_errors=True)


def s3_batches(address: str) -> PickledObjectS3IOManager:
    """Batches below an s3:// address, through dagster-aws. What failed runs leave there, a lifecycle rule removes."""
    # Two seconds to import, which runs without S3 need not wait for.
    from dagster_aws.s3.io_manager import PickledObjectS3IOManager

    from maap_stac_orchestration.store.aws import client

    class S3Batches(_ByRun, PickledObjectS3IOManager):
        def forget(self, run: dg.DagsterRun) -> None:
            """Removes what a run and its re-executions handed over."""
            prefix = f"{prefix_of_store}{root_run_id(run)}/"
            pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
            for page in pages:
                for listed in page.get("Contents", []):
                    self.s3.delete_object(Bucket=self.bucket, Key=listed["Key"])

    split = urlsplit(address)
    folder = split.path.strip("/")
    prefix_of_store = f"{folder}/" if folder else ""
    return S3Batches(s3_bucket=split.netloc, s3_session=client("s3"), s3_prefix=folder or None)


def batches(load_settings: Callable[[], Any]) -> dg.IOManagerDefinition:
    """The IO manager that the settings ask for, made when a run needs it."""

    @dg.io_manager(description="Passes batches from step to step, and forgets them when they are loaded.")
    def make(context: dg.InitResourceContext) -> dg.IOManager:
        store: str | None = load_settings().batch_store
        if store and store.startswith("s3://"):
            return s3_batches(store)
        if store:
            return FolderBatches(Path(store))
        assert context.instance is not None
        return FolderBatches(Path(context.instance.storage_directory()) / "batches")

    return make
