"""How a discovery tick grows with the bucket: a million objects against a thousand, with as many active groups in both.

A tick lists the day into a ledger that knows all of it but a few new catalogs, as the sensor does where there is no
queue. The large bucket has three years of other days and what else users keep beside their outputs. Each round has
fresh databases, and takes ticks of both buckets in turns.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date, timedelta
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from benchmarks.database import Databases, databases
from benchmarks.object_server import serving
from benchmarks.result import CannotMeasure, Result
from maap_stac_orchestration.ledger.connection import Connection, connect
from maap_stac_orchestration.ledger.listed_days import Source
from maap_stac_orchestration.pipeline.discover import list_days

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ROUNDS = 5
#: Of each bucket in a round.
_TICKS = 10
_DAY = date(2025, 11, 21)
_SMALL, _LARGE = "small", "large"
_OBJECTS = {_SMALL: 1_000, _LARGE: 1_000_000}
#: Objects that a job writes.
_FILES = 4
#: Catalogs that the ledger does not know when a tick is taken.
_NEW = 5
#: Of each group, on the day: together with those before, nine tenths of the small bucket.
_JOBS = 9
_GROUPS = [
    f"user-{user}/dps_output/algorithm-{algorithm}/v1/{tag}"
    for user, algorithm, tag in product(range(5), range(2), ("", "demo/", "demo/large/"))
][:25]


def measure() -> Result:
    """The median of the ratios of times, large bucket over small."""
    with serving({name: partial(_bucket, count) for name, count in _OBJECTS.items()}) as server, databases() as fresh:
        os.environ.update(server.environment)
        rounds = [_round(fresh, number) for number in range(_ROUNDS)]
    for name in (_SMALL, _LARGE):
        median = statistics.median(seconds[name] for seconds in rounds)
        print(f"{1000 * median:8.1f} ms with {_OBJECTS[name]:,} objects", file=sys.stderr)
    ratios = [seconds[_LARGE] / seconds[_SMALL] for seconds in rounds]
    return Result(
        benchmark="discovery_growth",
        value=statistics.median(ratios),
        unit="x",
        must=1.5,
        aim=1.1,
        baseline=(
            f"the same tick over {_OBJECTS[_SMALL]:,} objects instead of {_OBJECTS[_LARGE]:,}, with {len(_GROUPS)} "
            "active groups in both, from an S3 in memory over HTTP; less is better"
        ),
        rounds=ratios,
    )


def _round(fresh: Databases, number: int) -> dict[str, float]:
    """Bucket -> the median of the seconds of ticks that are taken in turns, each bucket into a database of its own."""
    client = boto3.client("s3", config=Config(max_pool_connections=32))
    taken: dict[str, list[float]] = {_SMALL: [], _LARGE: []}
    with ExitStack() as stack:
        ledgers = {name: stack.enter_context(connect(stack.enter_context(fresh.fresh()))) for name in taken}
        for name, conn in ledgers.items():
            known = list_days(conn, client, [name], [_DAY], source=Source.SENSOR)
            if known.catalogs < len(_GROUPS) * _JOBS:
                raise CannotMeasure(f"The first listing of {name} found {known.catalogs} catalogs only.")
        for tick in range(_TICKS):
            for name in (_SMALL, _LARGE) if tick % 2 else (_LARGE, _SMALL):
                taken[name].append(_tick(ledgers[name], client, name, f"{number:02}/{tick:02}"))
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def _tick(conn: Connection, client: S3Client, bucket: str, minute: str) -> float:
    """Seconds of a listing that finds a few new catalogs among those that are known."""
    for new in range(_NEW):
        job = f"{_GROUPS[new]}{_DAY:%Y/%m/%d}/20/{minute}/000000/"
        client.put_object(Bucket=bucket, Key=f"{job}catalog.json", Body=b"{}")
    began = time.perf_counter()
    found = list_days(conn, client, [bucket], [_DAY], source=Source.SENSOR)
    taken = time.perf_counter() - began
    if found.new != _NEW:
        raise CannotMeasure(f"The tick found {found.new} new catalogs instead of {_NEW}.")
    return taken


def _bucket(objects: int) -> Iterator[tuple[str, bytes]]:
    """So many objects: a day of jobs, and for the rest jobs of other days, and a tenth that are no outputs of jobs."""
    given = 0
    for group, job in product(_GROUPS, range(_JOBS)):
        for name in ("catalog.json", "item.json", "image.tif", "output-1.met.json"):
            yield f"{group}{_DAY:%Y/%m/%d}/{job:02}/00/00/000000/{name}", b"{}"
            given += 1
    number = 0
    while given < objects:
        number += 1
        given += 1
        if number % 10 == 0:
            yield f"user-{number % 5}/notebooks/{number}/data.nc", b"{}"
            continue
        group = _GROUPS[number // _FILES % len(_GROUPS)]
        day = _DAY - timedelta(days=1 + number // _FILES % 1000)
        yield f"{group}{day:%Y/%m/%d}/00/00/00/{number // _FILES:06}/{number % _FILES}.tif", b"{}"
