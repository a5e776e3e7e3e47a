"""The sensor `collections_changed`: new collections become partitions, and changed ones get their upkeep.

A sensor in Dagster's sense. Here belongs when upkeep is asked for. Not here: what it does (`assets.collections`).

No `from __future__ import annotations` in this module: Dagster reads the annotations of a sensor's arguments.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from sensors.choice import ASKED_FOR_AGAIN
from sensors.resources import Connect

JOB = "upkeep"
#: The name of the dynamic partitions; `assets.partitions` defines them.
PARTITIONS = "stac_collections"
#: A collection that is being written to is left alone until it was quiet for so long…
_QUIET = timedelta(seconds=30)
#: … unless it has waited so long for its upkeep.
_WAITED = timedelta(minutes=5)
#: Collections that a tick looks at, and runs that it asks for.
_MOST_COLLECTIONS = 200
_MOST_RUNS = 2

_ON_THE_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
#: Dagster's tags for a run of several partitions; the range is in the order in which partitions were added.
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


@dg.sensor(
    job_name=JOB,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Makes a partition of each collection that items were written to, and asks for the upkeep of those that changed"
        " when they have been quiet for half a minute or have waited for five."
    ),
)
def collections_changed(context: dg.SensorEvaluationContext, ledger: dg.ResourceParam[Connect]) -> dg.SensorResult:
    """One tick."""
    from maap_stac_orchestration.ledger.collections import to_refresh

    with ledger() as conn:
        changed = to_refresh(conn, _MOST_COLLECTIONS)
    partitions = context.instance.get_dynamic_partitions(PARTITIONS)
    new = sorted({one.id for one in changed} - set(partitions))
    now = datetime.now(UTC)
    ready = {
        one.id
        for one in changed
        if one.changed_at is not None
        and (now - one.changed_at > _QUIET or now - (one.refreshed_at or one.created_at) > _WAITED)
    }
    # A second run of upkeep would do the same over again.
    under_way = context.instance.get_runs(dg.RunsFilter(job_name=JOB, statuses=_ON_THE_WAY), limit=1)
    # What becomes a partition in this tick is asked for in the next: only then is its place in the order known.
    ranges = [] if under_way else ranges_of(partitions, ready)[:_MOST_RUNS]
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                tags={
                    RANGE_START: first,
                    RANGE_END: last,
                    "maap/work": "upkeep",
                    # Extents may lag a little; items may not.
                    "dagster/priority": "-5",
                    **ASKED_FOR_AGAIN,
                }
            )
            for first, last in ranges
        ],
        dynamic_partitions_requests=[dg.AddDynamicPartitionsRequest(PARTITIONS, new)] if new else [],
        skip_reason=None if ranges else f"{len(changed)} collections changed, none of them is to be looked after now.",
    )


def ranges_of(partitions: Sequence[str], wanted: Collection[str], longest: int = 50) -> list[tuple[str, str]]:
    """The wanted partitions as ranges of neighbours: pure.

    A run takes one range, and a run costs seconds where a collection costs milliseconds; collections that were created
    together stand together.
    """
    ranges: list[list[str]] = []
    previous = -2
    for position in _positions(partitions, wanted):
        if position == previous + 1 and len(ranges[-1]) < longest:
            ranges[-1].append(partitions[position])
        else:
            ranges.append([partitions[position]])
        previous = position
    return [(one[0], one[-1]) for one in ranges]


def _positions(partitions: Sequence[str], wanted: Collection[str]) -> Iterable[int]:
    among = frozenset(wanted)
    return (position for position, partition in enumerate(partitions) if partition in among)
