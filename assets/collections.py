"""The upkeep of collections as an asset: `stac_collections`, one partition for each collection.

Here belongs when upkeep is done and what is reported of it. Not here: what it does
(`maap_stac_orchestration.pipeline.upkeep`) and which collections need it (the sensor `collections_changed`).

No `from __future__ import annotations` in this module: Dagster reads the annotations of an asset's arguments.
"""

import json
from typing import TYPE_CHECKING

import dagster as dg

from assets import collection_limits
from assets.ingest import pgstac_items
from assets.partitions import COLLECTIONS
from assets.reporting import Metadata, table
from assets.resources import Connect

if TYPE_CHECKING:
    from maap_stac_orchestration.pipeline.upkeep import Upkeep

#: Who wrote a field of a collection, as people read it.
_WRITERS = {"items": "its items", "job": "a job of its owner", "person": "a person"}


@dg.asset(
    partitions_def=COLLECTIONS,
    # In one group with the others: the UI folds each of several groups, and one click more lies before their checks.
    group_name="ingest",
    kinds={"postgres", "stac"},
    deps=[dg.AssetDep(pgstac_items, partition_mapping=dg.LastPartitionMapping())],
    description="A STAC collection: its extent, summaries, assets and renders made what its items are.",
    check_specs=[collection_limits.spec("stac_collections")],
)
def stac_collections(context: dg.AssetExecutionContext, ledger: dg.ResourceParam[Connect]) -> dg.MaterializeResult:  # type: ignore[type-arg]  # with checks, Dagster knows it without parameter only
    """Refreshes one or several collections, one after another, so that none waits for a run of its own."""
    from maap_stac_orchestration.pgstac.limits import locks
    from maap_stac_orchestration.pipeline.upkeep import refresh_collections

    with ledger() as conn:
        for name in context.partition_keys:
            (upkeep,) = refresh_collections(conn, [name])
            changed = f"changed: {', '.join(upkeep.changed)}" if upkeep.changed else "nothing changed"
            context.log.info(f"{name}: {upkeep.items} items, {changed}")
            context.add_asset_metadata(_metadata(upkeep), partition_key=name)
        room = collection_limits.result(locks(conn))
    return dg.MaterializeResult(check_results=[room])


def _metadata(upkeep: "Upkeep") -> Metadata:
    """What is shown of a collection: numbers, so that they are plotted, and whose each of its fields is."""
    document = upkeep.document or {}
    metadata: Metadata = {
        "items": upkeep.items,
        "items_looked_at": upkeep.looked_at,
        "extent_changed": "extent" in upkeep.changed,
        "changed": ", ".join(upkeep.changed) or "nothing",
        **{f"number_of_{field}": len(document.get(field) or ()) for field in ("summaries", "item_assets", "renders")},
    }
    if "extent" in document:
        metadata["extent"] = dg.MetadataValue.json(json.loads(json.dumps(document["extent"])))
    if upkeep.written_by:
        metadata["fields"] = table(
            ("field", "written_by", "holds"),
            (
                {"field": field, "written_by": _WRITERS[writer], "holds": ", ".join(map(_named, document[field]))}
                for field, writer in upkeep.written_by.items()
            ),
        )
    return metadata


def _named(member: object) -> str:
    """A key, an address, or where a link leads."""
    return str(member.get("href", "")) if isinstance(member, dict) else str(member)


#: A single run takes all collections that changed: each run costs seconds, each collection milliseconds.
upkeep = dg.define_asset_job(
    "upkeep",
    selection=dg.AssetSelection.assets(stac_collections),
    executor_def=dg.in_process_executor,
    description="Brings collections up to date with their items.",
)
