"""What Dagster adds to ingesting: a run of the job `ingest` with 1,000 catalogs against the same library calls without.

The run is executed in this process, as the stack's runs are in theirs: the code location as it is deployed, steps in
one process, a Dagster instance with the stack's dagster.yaml on PostgreSQL, batches handed over in files, the checks of
the day. Not in it: how a run's process comes to be (in the stack a fork of a warm one), and the sensor before it.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path

import dagster as dg

from benchmarks import ours
from benchmarks.database import Databases, databases
from benchmarks.ingest import count_back
from benchmarks.job_outputs import BUCKET, DAY, Outputs
from benchmarks.object_server import Server, serving
from benchmarks.result import CannotMeasure, Result
from maap_stac_orchestration.definitions import build_defs
from maap_stac_orchestration.ledger.connection import connect
from maap_stac_orchestration.settings import Settings

CATALOGS = 1_000
_ROUNDS = 5
_OUTPUTS = Outputs(jobs=CATALOGS)


def measure() -> Result:
    """Milliseconds a catalog that the run takes longer; the median of the rounds."""
    rounds, seconds = [], []
    with databases() as places, serving({BUCKET: _OUTPUTS.fill}) as server, _instance(places, server) as instance:
        # Before anything is measured, both have imported what they need.
        _seconds(places, server, None)
        _seconds(places, server, instance)
        for number in range(_ROUNDS):
            ways = (None, instance) if number % 2 == 0 else (instance, None)
            taken = {way: _seconds(places, server, way) for way in ways}
            without, run = taken[None], taken[instance]
            rounds.append((run - without) * 1000 / CATALOGS)
            seconds.append((without, run))
            print(f"dagster_ms_per_catalog: {without:.2f} s without, {run:.2f} s with Dagster", file=sys.stderr)
    without, run = (statistics.median(side) for side in zip(*seconds, strict=True))
    return Result(
        benchmark="dagster_ms_per_catalog",
        value=statistics.median(rounds),
        unit="ms a catalog, less is better",
        must=10,
        aim=3,
        baseline=(
            f"the same library calls without Dagster for {CATALOGS:,} catalogs of one item; they took {without:.3g} s, "
            f"the run {run:.3g} s"
        ),
        rounds=rounds,
    )


@contextmanager
def _instance(places: Databases, server: Server) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance with the stack's settings, and a database and a folder of its own."""
    former = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="maap-stac-bench-") as folder, places.empty() as storage:
        with as_file(files("maap_stac_orchestration.stack") / "dagster.yaml") as settings:
            shutil.copy(settings, Path(folder, "dagster.yaml"))
        os.environ.update(server.environment | {"DAGSTER_HOME": folder, "DAGSTER_POSTGRES_URL": storage})
        try:
            with dg.DagsterInstance.get() as instance:
                yield instance
        finally:
            os.environ.clear()
            os.environ.update(former)


def _seconds(places: Databases, server: Server, instance: dg.DagsterInstance | None) -> float:
    """How long the catalogs take that the ledger knows already, without Dagster where there is no instance.

    Raises:
        CannotMeasure: the run failed, or not all items are there.
    """
    with places.fresh() as conninfo:
        ours.find(server, conninfo)
        with _without_log_lines():
            began = time.perf_counter()
            if instance is None:
                ours.ingest_found(server, conninfo)
            else:
                _run(conninfo, instance)
            taken = time.perf_counter() - began
        count_back(conninfo, "The library" if instance is None else "The run", CATALOGS, 1)
    return taken


@contextmanager
def _without_log_lines() -> Iterator[None]:
    """Sends to nowhere what is written to stderr: some thousand lines a run, which a deployment sends to a file."""
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)


def _run(conninfo: str, instance: dg.DagsterInstance) -> None:
    # Putting the code location together is part of it: each run does that in its process.
    defs = build_defs(
        resource_overrides={
            "settings": lambda: Settings(buckets=[BUCKET]),
            "ledger": lambda: connect(conninfo, application_name="maap-stac dagster"),
        }
    )
    job = defs.resolve_job_def("ingest")
    result = job.execute_in_process(partition_key=DAY.isoformat(), instance=instance, raise_on_error=False)
    if not result.success:
        raise CannotMeasure(f"The run {result.run_id} failed; {_why(instance, result.run_id)}")


def _why(instance: dg.DagsterInstance, run_id: str) -> str:
    events = (
        entry.get_dagster_event() for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    )
    errors = [event.step_failure_data.error_display_string for event in events]
    return errors[0] if errors else "no step says why"
