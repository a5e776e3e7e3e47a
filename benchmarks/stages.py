"""`python -m benchmarks.stages`: where the time of ingesting goes, as the table of docs/performance.md.

Here belongs dividing it by stages, and each stage by who worked: CPU of this process, of all of Postgres, and of the
server of objects (which stands for S3). What is left of the elapsed time was waiting, or belongs to other processes of
the machine. The log events of a run are on, as they are in a deployment, and tell where a stage ends.
Jobs are read while others are loaded: what is loaded until the last is read stands with `read`.
"""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg

from benchmarks import ours
from benchmarks.database import Databases, databases
from benchmarks.job_outputs import BUCKET, Outputs
from benchmarks.object_server import Server, serving
from maap_stac_orchestration.log_events import LOGGER, Event

_CASES = {
    "1,000 jobs of 1 item": Outputs(jobs=1000),
    "20 jobs of 500 items": Outputs(jobs=20, items_per_job=500),
    "1,000 jobs into 200 new collections": Outputs(jobs=1000, collections=200),
}


@dataclass(frozen=True, slots=True)
class _Clocks:
    """Seconds: elapsed, and CPU of each who works."""

    elapsed: float
    python: float
    postgres: float
    objects: float

    def __add__(self, other: _Clocks) -> _Clocks:
        return _Clocks(
            self.elapsed + other.elapsed,
            self.python + other.python,
            self.postgres + other.postgres,
            self.objects + other.objects,
        )

    def __sub__(self, earlier: _Clocks) -> _Clocks:
        return _Clocks(
            self.elapsed - earlier.elapsed,
            self.python - earlier.python,
            self.postgres - earlier.postgres,
            self.objects - earlier.objects,
        )


class _Stages(logging.Handler):
    """Reads the clocks at the end of each stage; `taken` is what each took, over all batches."""

    def __init__(self, postgres: int, objects: int) -> None:
        super().__init__()
        self._postgres, self._objects = postgres, objects
        self.taken: dict[str, _Clocks] = {}
        self._last = self._now()

    def emit(self, record: logging.LogRecord) -> None:
        told = json.loads(record.getMessage())
        if told["event"] == Event.STAGE_ENDED:
            self.ended(told["stage"])

    def ended(self, stage: str) -> None:
        now = self._now()
        before = self.taken.get(stage, _Clocks(0.0, 0.0, 0.0, 0.0))
        self.taken[stage] = before + (now - self._last)
        self._last = now

    def _now(self) -> _Clocks:
        return _Clocks(
            time.perf_counter(), time.process_time(), _seconds_of_tree(self._postgres), _seconds_of_tree(self._objects)
        )


def main() -> None:
    """Prints a table for each case, in Markdown."""
    with databases() as places:
        warm = Outputs(jobs=20)
        with serving({BUCKET: warm.fill}) as server:
            _stages(places, server)
        for title, outputs in _CASES.items():
            with serving({BUCKET: outputs.fill}) as server:
                taken = _stages(places, server)
            print(f"\n{title}\n\n| stage | elapsed | Python | Postgres | objects |\n| --- | --- | --- | --- | --- |")
            for stage, one in taken.items():
                print(f"| {stage} | {one.elapsed:.2f} | {one.python:.2f} | {one.postgres:.2f} | {one.objects:.2f} |")


def _stages(places: Databases, server: Server) -> dict[str, _Clocks]:
    logger = logging.getLogger(LOGGER)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    with places.fresh() as conninfo:
        with psycopg.connect(conninfo) as connection:
            # A session's parent is the server.
            postgres = _process(connection.info.backend_pid).parent
        stages = _Stages(postgres, server.pid)
        logger.addHandler(stages)
        try:
            ours.find(server, conninfo)
            stages.ended("list")
            ours.ingest_found(server, conninfo)
        finally:
            logger.removeHandler(stages)
    return stages.taken


@dataclass(frozen=True, slots=True)
class _Process:
    parent: int
    #: CPU seconds, of children that ended and of itself.
    seconds: float


def _process(pid: int) -> _Process:
    """What Linux tells of a process.

    Raises:
        FileNotFoundError, ProcessLookupError: it is gone.
    """
    # The second field is the name, which may hold spaces.
    values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return _Process(int(values[1]), sum(int(value) for value in values[11:15]) / os.sysconf("SC_CLK_TCK"))


def _seconds_of_tree(root: int) -> float:
    """CPU seconds of a process and its children, those that ended included."""
    seconds = _process(root).seconds
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                one = _process(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
            seconds += one.seconds if one.parent == root else 0.0
    return seconds


if __name__ == "__main__":
    main()
