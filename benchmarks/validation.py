"""How fast items are checked against STAC's core schemas, against pystac's `validate()` with the schemas at hand.

Both take the demo's items, as the real algorithm writes them, and a broken one that both must refuse. Extensions are
left out on both sides, since pystac would fetch their schemas from the network. What is done once (compiling schemas,
reading them) is done before the clock starts, on both sides.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pystac
from pystac.errors import STACValidationError
from pystac.validation import JsonSchemaSTACValidator

from benchmarks.result import CannotMeasure, Result
from maap_stac_orchestration.catalog.schema import core_errors
from maap_stac_orchestration.demo.jobs import demo_jobs
from maap_stac_orchestration.demo.outputs import documents

_ROUNDS = 5
_ITEMS = 10
#: Times that a round checks all items: so many that either side takes some half a second.
_PYSTAC_TIMES, _OUR_TIMES = 3, 3_000


def measure() -> Result:
    """How many times as fast; the median of the rounds."""
    items = demo_items()
    validator = JsonSchemaSTACValidator()
    stac = [pystac.Item.from_dict(item) for item in items]
    _agree(items, validator)

    def pystac_way() -> None:
        for one in stac:
            one.validate(validator)

    def our_way() -> None:
        for item in items:
            if core_errors(item):
                raise CannotMeasure(f"The item {item['id']} is not valid.")

    times = []
    for number in range(_ROUNDS):
        if number % 2 == 0:
            baseline, ours = _seconds(pystac_way, _PYSTAC_TIMES), _seconds(our_way, _OUR_TIMES)
        else:
            ours, baseline = _seconds(our_way, _OUR_TIMES), _seconds(pystac_way, _PYSTAC_TIMES)
        times.append((baseline / len(items), ours / len(items)))
    baseline_took, we_took = (statistics.median(side) * 1000 for side in zip(*times, strict=True))
    ratios = [baseline / ours for baseline, ours in times]
    return Result(
        benchmark="validation",
        value=statistics.median(ratios),
        unit="times as fast, more is better",
        must=100,
        aim=500,
        baseline=(
            f"pystac's Item.validate() with the core schemas of STAC {pystac.get_stac_version()} that pystac brings, "
            f"one validator kept; it took {baseline_took:.3g} ms an item, this project {we_took:.3g} ms"
        ),
        rounds=ratios,
    )


def demo_items() -> list[dict[str, Any]]:
    """Some items of the demo's jobs, without extensions."""
    found = []
    for job in demo_jobs()[:_ITEMS]:
        for file in documents(job, job.end):
            if file.name.endswith(f"{job.item_id}.json"):
                found.append(json.loads(file.data) | {"stac_extensions": []})
    return found


def _agree(items: list[dict[str, Any]], validator: JsonSchemaSTACValidator) -> None:
    """Makes sure that both find every item valid, and refuse one that is broken deep inside."""
    broken = deepcopy(items[0])
    broken["assets"][next(iter(broken["assets"]))]["roles"] = ["data", 7]
    for item, valid in [*((item, True) for item in items), (broken, False)]:
        try:
            pystac.Item.from_dict(item).validate(validator)
            theirs = True
        except STACValidationError:
            theirs = False
        ours = not core_errors(item)
        if theirs is not valid or ours is not valid:
            raise CannotMeasure(f"An item should be {'valid' if valid else 'refused'}: pystac {theirs}, ours {ours}.")


def _seconds(way: Callable[[], None], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        way()
    return (time.perf_counter() - began) / times
