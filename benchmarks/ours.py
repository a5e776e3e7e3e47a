"""This project's way from a bucket to pgstac as the benchmarks take it: listing, claiming, and all three stages."""

from __future__ import annotations

import os
from uuid import uuid4

import boto3

from benchmarks.job_outputs import BUCKET, DAY
from benchmarks.object_server import Server
from maap_stac_orchestration.governance.registry import Registry
from maap_stac_orchestration.ledger import claims
from maap_stac_orchestration.ledger.connection import connect
from maap_stac_orchestration.pipeline.discover import list_days
from maap_stac_orchestration.pipeline.ingest import ingest_batch
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.store.s3 import S3Objects


def ingest(server: Server, conninfo: str) -> None:
    """Lists the day of the outputs and ingests what is found, until nothing is due, as one run after another would."""
    find(server, conninfo)
    ingest_found(server, conninfo)


def find(server: Server, conninfo: str) -> None:
    """Lists the day of the outputs, into the ledger."""
    os.environ.update(server.environment)
    with connect(conninfo) as conn:
        list_days(conn, boto3.client("s3"), [BUCKET], [DAY])


def ingest_found(server: Server, conninfo: str) -> None:
    """Ingests what the ledger knows of the day, until nothing is due."""
    os.environ.update(server.environment)
    settings = Settings(buckets=[BUCKET])
    store = S3Objects.from_environment()
    with connect(conninfo) as conn:
        while True:
            batch = claims.claim(
                conn,
                day=DAY,
                run_id=str(uuid4()),
                lease=settings.lease,
                max_jobs=settings.max_batch_jobs,
                max_items=settings.max_batch_items,
                wait_deadline=settings.wait_deadline,
                max_attempts=settings.max_attempts,
            )
            conn.commit()
            if not batch.jobs:
                return
            ingest_batch(conn, store, batch, settings, Registry())
