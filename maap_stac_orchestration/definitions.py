"""The one place that puts everything together: the Dagster code location.

Here belongs which assets, checks, jobs, sensors and schedules there are, and what stands behind their resources. Not
here: any of those. Importing this module needs neither a database nor a bucket, and is light: the code server and each
run do it first.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.checks import day_checks
from assets.collections import stac_collections, upkeep
from assets.handover import batches
from assets.ingest import dps_catalogs, governance_decisions, ingest, pgstac_items
from assets.retry import retry_job
from assets.still_broken import evaluation, nothing_broken
from maap_stac_orchestration.settings import Settings, settings
from sensors.backfill_history import backfill_history
from sensors.collections_changed import collections_changed
from sensors.ingest_failed import ingest_failed
from sensors.new_catalogs import new_catalogs
from sensors.notifications import notifications
from sensors.registry_watch import registry_watch
from sensors.schedules import reconcile_recent
from sensors.still_broken import still_broken

if TYPE_CHECKING:
    from maap_stac_orchestration.ledger.connection import Connection
    from maap_stac_orchestration.pipeline.discover import Queue
    from maap_stac_orchestration.pipeline.registry import RegistryInForce
    from maap_stac_orchestration.store.objects import ObjectStore


def build_defs(*, resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """The code location; a test puts its own things in the place of some resources."""
    return dg.Definitions(
        assets=[dps_catalogs, governance_decisions, pgstac_items, stac_collections],
        asset_checks=[day_checks, nothing_broken],
        jobs=[ingest, upkeep, retry_job],
        sensors=[new_catalogs, collections_changed, ingest_failed, registry_watch, still_broken, notifications],
        schedules=[reconcile_recent, backfill_history],
        resources=_resources() | dict(resource_overrides or {}),
        # Also for runs that people and backfills start from assets: a process for each step would import everything
        # again, which takes longer than the steps do.
        executor=dg.in_process_executor,
    )


def _resources() -> dict[str, Any]:
    return {
        "settings": settings,
        "ledger": _connect,
        "objects": _open_store,
        "registry": _load_registry,
        "queue": _open_queue,
        "listing": _open_listing,
        "batches": batches(settings),
        "tell_still_broken": evaluation,
    }


def _connect() -> Connection:
    from maap_stac_orchestration.ledger.connection import connect

    return connect(application_name="maap-stac dagster")


def _open_store() -> ObjectStore:
    from maap_stac_orchestration.store.s3 import S3Objects

    return S3Objects.from_environment()


def _load_registry(current: Settings, conn: Connection) -> RegistryInForce:
    from maap_stac_orchestration.pipeline.registry import registry_in_force

    return registry_in_force(current, conn)


@lru_cache(maxsize=1)
def _open_listing() -> Any:
    """Kept for the life of the process: opening a client costs more than a request."""
    from botocore.config import Config

    from maap_stac_orchestration.store.aws import client

    return client("s3", config=Config(max_pool_connections=32))


def _open_queue(current: Settings) -> Queue | None:
    return _queue(current.queue_url) if current.queue_url else None


@lru_cache(maxsize=1)
def _queue(url: str) -> Queue:
    from maap_stac_orchestration.pipeline.discover import Queue
    from maap_stac_orchestration.store.aws import client

    return Queue(url, client("sqs"), _open_listing())


defs = build_defs()
