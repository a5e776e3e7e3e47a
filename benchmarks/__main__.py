"""`python -m benchmarks [NAME]…`: takes the benchmarks and prints a JSON line for each, as soon as it is there.

Here belongs the table of names. Exit code 0 when all that was asked for was measured, whatever the numbers say.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from importlib import import_module

from benchmarks.result import CannotMeasure, Result

#: Name -> module of this package and a function of it that gives a `Result`.
BENCHMARKS = {
    "ingest_small": "ingest:small",
    "ingest_small_latency": "ingest:small_latency",
    "ingest_large": "ingest:large",
    "ingest_many_collections": "ingest:many_collections",
    "validation": "validation:measure",
    "memory_small": "memory:small",
    "memory_large": "memory:large",
    "dagster_ms_per_catalog": "dagster_ms_per_catalog:measure",
    "load_vs_copy_1000": "load:vs_copy_1000",
    "load_vs_copy_100": "load:vs_copy_100",
    "load_growth": "load:growth",
    "discovery_growth": "discovery_growth:measure",
    "lag_p95_seconds": "lag_p95_seconds:measure",
    "decisions_per_second": "decisions_per_second:measure",
    "jobs_page_p95_ms": "jobs_page_p95_ms:measure",
}


def find(name: str) -> Callable[[], Result]:
    """The function that takes a benchmark of the table."""
    module, _, function = BENCHMARKS[name].partition(":")
    found: Callable[[], Result] = getattr(import_module(f"benchmarks.{module}"), function)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Takes the benchmarks that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}; without any: all")
    names: list[str] = parser.parse_args(arguments).names
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    failed = 0
    for name in names or BENCHMARKS:
        try:
            print(find(name)().to_line(), flush=True)
        except CannotMeasure as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
