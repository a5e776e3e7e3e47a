"""How much memory ingesting takes at most, against what MAAP runs today.

Each measurement is a process of its own, of which the kernel notes the largest resident size: interpreter, libraries
and work together, which is what a machine must have. Postgres and the server of objects are other processes and not
counted, on neither side. Of today's way a step is left out that takes time and no memory (`transform_hrefs`).
"""

from __future__ import annotations

import statistics
import sys

from benchmarks.database import Databases, databases
from benchmarks.ingest import BASELINE, count_back
from benchmarks.job_outputs import BUCKET, Outputs
from benchmarks.object_server import Server, serving
from benchmarks.peak import peak
from benchmarks.result import Result

_ROUNDS = 3
_MEBIBYTE = 2**20
#: Of 10,000 jobs today's way gets so many. It keeps nothing from batch to batch, so that its peak comes within its
#: first four; were it to come later, the peak that counts here would be too low, which is in its favour.
_TODAYS_JOBS = 2_000


def small() -> Result:
    """10,000 jobs of one item."""
    return _measure("memory_small", Outputs(jobs=10_000), todays_jobs=_TODAYS_JOBS)


def large() -> Result:
    """One job of 10,000 items."""
    return _measure("memory_large", Outputs(jobs=1, items_per_job=10_000), todays_jobs=1)


def _measure(name: str, outputs: Outputs, *, todays_jobs: int) -> Result:
    ratios: list[float] = []
    peaks: list[tuple[int, int]] = []
    with databases() as places, serving({BUCKET: outputs.fill}) as server:
        for number in range(_ROUNDS):
            taken = {}
            for way in ("today", "ours") if number % 2 == 0 else ("ours", "today"):
                jobs = todays_jobs if way == "today" else outputs.jobs
                taken[way] = _peak(way, places, server, outputs, jobs)
            peaks.append((taken["today"], taken["ours"]))
            ratios.append(taken["ours"] / taken["today"])
            print(
                f"{name}: {taken['today'] // _MEBIBYTE} MiB today, {taken['ours'] // _MEBIBYTE} MiB ours",
                file=sys.stderr,
            )
    baseline, we = (round(statistics.median(side) / _MEBIBYTE) for side in zip(*peaks, strict=True))
    part = f" over the first {todays_jobs:,} jobs" if todays_jobs < outputs.jobs else ""
    return Result(
        benchmark=name,
        value=statistics.median(ratios),
        unit="times the memory, less is better",
        must=1.5,
        aim=1,
        baseline=f"{BASELINE}{part}; its process took {baseline} MiB at most, this project's {we} MiB",
        rounds=ratios,
    )


def _peak(way: str, places: Databases, server: Server, outputs: Outputs, jobs: int) -> int:
    """The most memory, in bytes, that ingesting so many of the jobs into a fresh database takes.

    Raises:
        CannotMeasure: it failed, or did not load all items.
    """
    with places.fresh() as conninfo:
        largest = peak(way, server, conninfo, BUCKET, outputs.catalogs[:jobs])
        count_back(conninfo, way, jobs * outputs.items_per_job, outputs.collections)
    return largest
