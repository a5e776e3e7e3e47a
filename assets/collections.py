"""The upkeep of collections as an asset: `stac_collections`, one partition for each collection.

Here belongs when upkeep is done and what is reported of it. Not here: what it does (`maap_stac_orchestration.pgstac`)
and which collections need it (the sensor `collections_changed`).

No `from __future__ import annotations` in this module: Dagster reads the annotations of an asset's arguments.
"""

import json

import dagster as dg

from assets import collection_limits
from assets.ingest import pgstac_items
from assets.partitions import COLLECTIONS
from assets.reporting import Metadata
from assets.resources import Connect


@dg.asset(
    partitions_def=COLLECTIONS,
    # In one group with the others: the UI folds each of several groups, and one click more lies before their checks.
    group_name="ingest",
    kinds={"postgres", "stac"},
    deps=[dg.AssetDep(pgstac_items, partition_mapping=dg.LastPartitionMapping())],
    description="A STAC collection, its extent made what its items are.",
    check_specs=[collection_limits.spec("stac_collections")],
)
def stac_collections(context: dg.AssetExecutionContext, ledger: dg.ResourceParam[Connect]) -> dg.MaterializeResult:  # type: ignore[type-arg]  # with checks, Dagster knows it without parameter only
    """Refreshes one or several collections, one after another, so that none waits for a run of its own."""
    from maap_stac_orchestration.ledger import collections as known
    from maap_stac_orchestration.pgstac.collections import refresh_collection
    from maap_stac_orchestration.pgstac.limits import locks

    metadata: Metadata = {}
    with ledger() as conn:
        for name in context.partition_keys:
            # Read before the upkeep: what is written meanwhile is not covered by it.
            before = known.find(conn, [name]).get(name)
            conn.commit()
            refreshed = refresh_collection(conn, name)
            if before is not None and before.changed_at is not None:
                known.refreshed(conn, name, before.changed_at)
            conn.commit()
            context.log.info(
                f"{name}: {refreshed.items} items, extent {'changed' if refreshed.changed else 'unchanged'}"
            )
            metadata = {"items": refreshed.items, "extent_changed": refreshed.changed}
            if refreshed.extent is not None:
                metadata["extent"] = dg.MetadataValue.json(json.loads(json.dumps(refreshed.extent)))
        room = collection_limits.result(locks(conn))
    return dg.MaterializeResult(metadata=metadata if len(context.partition_keys) == 1 else {}, check_results=[room])


#: A single run takes all collections that changed: each run costs seconds, each collection milliseconds.
upkeep = dg.define_asset_job(
    "upkeep",
    selection=dg.AssetSelection.assets(stac_collections),
    executor_def=dg.in_process_executor,
    description="Brings the extent of collections up to date.",
)
