"""End to end: from a bucket full of job outputs to items counted back in pgstac, against what MAAP runs today.

Here belong the sizes and the comparison. Not here: the two ways (`ours`, `today`), the outputs (`job_outputs`).
Dagster takes no part; `dagster_ms_per_catalog` measures what it adds.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import psycopg

from benchmarks import ours, today
from benchmarks.database import Databases, databases
from benchmarks.job_outputs import BUCKET, Outputs
from benchmarks.object_server import Server, serving
from benchmarks.result import CannotMeasure, Result

_ROUNDS = 3
#: Before anything is measured, both ways have imported what they need and the server has its code in memory.
_WARM = Outputs(jobs=20)
#: What ingesting is compared with, a phrase.
BASELINE = (
    "what MAAP runs today, modelled: jobs one after another, pystac with a client opened for each read, stac-pydantic, "
    f"pypgstac's Loader in batches of {today.BATCH} with a connection for each collection"
)


def small() -> Result:
    """1,000 jobs of one item into one collection."""
    return _measure("ingest_small", Outputs(jobs=1000), must=8, aim=15)


def small_latency() -> Result:
    """The same with 20 ms before each answer of S3."""
    return _measure("ingest_small_latency", Outputs(jobs=1000), must=15, aim=30, latency=0.02)


def large() -> Result:
    """20 jobs of 500 items into one collection."""
    return _measure("ingest_large", Outputs(jobs=20, items_per_job=500), must=8, aim=15)


def many_collections() -> Result:
    """1,000 jobs of one item into 200 new collections."""
    return _measure("ingest_many_collections", Outputs(jobs=1000, collections=200), must=3, aim=5)


def _measure(name: str, outputs: Outputs, *, must: float, aim: float, latency: float = 0.0) -> Result:
    ratios, seconds = [], []
    with databases() as places:
        with serving({BUCKET: _WARM.fill}) as server:
            _seconds(_today, places, server, _WARM)
            _seconds(_ours, places, server, _WARM)
        with serving({BUCKET: outputs.fill}, latency=latency) as server:
            for number in range(_ROUNDS):
                ways = (_today, _ours) if number % 2 == 0 else (_ours, _today)
                taken = {way: _seconds(way, places, server, outputs) for way in ways}
                ratios.append(taken[_today] / taken[_ours])
                seconds.append(taken)
                print(f"{name}: {taken[_today]:.2f} s today, {taken[_ours]:.2f} s ours", file=sys.stderr)
    ours_took = statistics.median(taken[_ours] for taken in seconds)
    baseline_took = statistics.median(taken[_today] for taken in seconds)
    return Result(
        benchmark=name,
        value=statistics.median(ratios),
        unit="times as fast, more is better",
        must=must,
        aim=aim,
        baseline=f"{BASELINE}; it took {baseline_took:.3g} s, this project {ours_took:.3g} s",
        rounds=ratios,
    )


Way = Callable[[Server, str, Outputs], None]


def _today(server: Server, conninfo: str, outputs: Outputs) -> None:
    today.ingest(server.endpoint, BUCKET, outputs.catalogs, conninfo)


def _ours(server: Server, conninfo: str, outputs: Outputs) -> None:
    ours.ingest(server, conninfo)


def _seconds(way: Way, places: Databases, server: Server, outputs: Outputs) -> float:
    """How long one way takes into a fresh database, once it is known that all items are there.

    Raises:
        CannotMeasure: they are not.
    """
    with places.fresh() as conninfo:
        began = time.perf_counter()
        way(server, conninfo, outputs)
        taken = time.perf_counter() - began
        count_back(conninfo, way.__name__, outputs.items, outputs.collections)
    return taken


def count_back(conninfo: str, way: str, items: int, collections: int) -> None:
    """Makes sure that so many items lie in so many collections.

    Raises:
        CannotMeasure: they do not.
    """
    with psycopg.connect(conninfo) as connection:
        row = connection.execute("SELECT count(*), count(DISTINCT collection) FROM pgstac.items").fetchone()
    if row != (items, collections):
        raise CannotMeasure(f"{way} loaded {row} items and collections, not {items} and {collections}.")
