"""Jobs as the first stage would hand them on, without S3: for tests of deciding and loading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import orjson
import psycopg
from psycopg.rows import dict_row

from maap_stac_orchestration.dps.job import Job
from maap_stac_orchestration.dps.output_prefix import parse_output_prefix
from maap_stac_orchestration.governance.registry import Registry
from maap_stac_orchestration.ledger import claims, discovery
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import Batch, ClaimedJob, SeenCatalog
from maap_stac_orchestration.pipeline.batch import DecidedJob, JobOutcome, Pin, ReadItem, ReadJob
from maap_stac_orchestration.pipeline.decide import decide_jobs
from maap_stac_orchestration.pipeline.load import load_jobs
from maap_stac_orchestration.problems import Problem
from maap_stac_orchestration.settings import Settings

BUCKET = "maap-ops-workspace"
START = datetime(2024, 6, 1, 12, tzinfo=UTC)
SETTINGS = Settings(_env_file=None)  # type: ignore[call-arg]


def document(id: str, *, moment: str = "2024-06-01T00:00:00Z", west: float = 0.0, **properties: Any) -> dict[str, Any]:
    """A small valid item, without a collection."""
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": id,
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[west, 0], [west + 1, 0], [west + 1, 1], [west, 1], [west, 0]]],
        },
        "bbox": [west, 0, west + 1, 1],
        "properties": {"datetime": moment, **properties},
        "assets": {"data": {"href": f"s3://{BUCKET}/{id}.tif"}},
        "links": [],
    }


@dataclass(frozen=True)
class Written:
    """A job as a test tells it."""

    #: Items by id; with what each asks for, see `requests`.
    items: Sequence[Mapping[str, Any]] = ()
    username: str = "henrydevseed"
    algorithm: str = "mosaic"
    version: str = "v1"
    tag: str | None = "demo"
    #: Minutes after the first job.
    minute: int = 0
    #: Minutes after the job, when its catalog was written.
    catalog_minute: int = 1
    #: Item id -> requested collection.
    requests: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    metadata_username: str | None = None
    awaiting: bool = False
    collections: tuple[Mapping[str, Any], ...] = ()

    @property
    def time(self) -> datetime:
        return START + timedelta(minutes=self.minute)

    @property
    def prefix(self) -> str:
        tag = f"{self.tag}/" if self.tag else ""
        return f"{self.username}/dps_output/{self.algorithm}/{self.version}/{tag}{self.time:%Y/%m/%d/%H/%M/%S/%f}/"

    def seen(self) -> SeenCatalog:
        """Its catalog, with an etag that changes with the content."""
        content = orjson.dumps([list(self.items), dict(self.requests), self.catalog_minute])
        return SeenCatalog(
            bucket=BUCKET,
            key=f"{self.prefix}catalog.json",
            etag=sha256(content).hexdigest()[:32],
            size=1000,
            last_modified=self.time + timedelta(minutes=self.catalog_minute),
            version_id=None,
            source="event",
        )

    def read(self, claim: ClaimedJob) -> ReadJob:
        """What reading it gives."""
        items = []
        for item in self.items:
            raw = orjson.dumps(item)
            pin = Pin(f"{self.prefix}{item['id']}.json", sha256(raw).hexdigest()[:32], None, sha256(raw).hexdigest(), 9)
            items.append(ReadItem(item["id"], self.requests.get(item["id"]), raw, pin))
        return ReadJob(
            claim=claim,
            job=Job(BUCKET, parse_output_prefix(self.prefix), self.algorithm, self.version, self.tag),
            metadata_username=self.metadata_username or self.username,
            items=tuple(items),
            collections=self.collections,
            pins=tuple(item.source for item in items),
            problems=self.problems,
            awaiting=self.awaiting,
        )


def record(conn: Connection, jobs: Sequence[Written]) -> None:
    """Puts jobs into the ledger."""
    discovery.record(conn, [job.seen() for job in jobs])
    conn.commit()


def claim(conn: Connection, run_id: str = "run-1", settings: Settings = SETTINGS) -> Batch:
    """Claims everything that is due."""
    batch = claims.claim(
        conn,
        day=START.date(),
        run_id=run_id,
        lease=settings.lease,
        max_jobs=1000,
        max_items=100_000,
        wait_deadline=settings.wait_deadline,
        max_attempts=settings.max_attempts,
    )
    conn.commit()
    return batch


def decided(
    conn: Connection,
    jobs: Sequence[Written],
    batch: Batch,
    registry: Registry | None = None,
    settings: Settings = SETTINGS,
) -> list[DecidedJob]:
    """The jobs of a batch, read and decided."""
    by_prefix = {job.prefix: job for job in jobs}
    reads = [by_prefix[one.prefix].read(one) for one in batch.jobs]
    return decide_jobs(reads, registry or Registry.empty(), settings, conn)


def ingest(
    conn: Connection,
    jobs: Sequence[Written],
    registry: Registry | None = None,
    run_id: str = "run-1",
    settings: Settings = SETTINGS,
) -> dict[str, JobOutcome]:
    """Records, claims, decides and loads; gives the outcomes by output prefix."""
    record(conn, jobs)
    batch = claim(conn, run_id, settings)
    outcomes = load_jobs(decided(conn, jobs, batch, registry, settings), batch, conn, settings, START)
    return {outcome.claim.prefix: outcome for outcome in outcomes}


def dump(conn: psycopg.Connection[Any]) -> dict[str, list[Any]]:
    """Everything in the database that should not depend on which run did the work, or how often it was tried."""
    questions = {
        "items": """
            SELECT pgstac.get_item(id, collection) #- '{properties,maap:run_id}' AS item
            FROM pgstac.items ORDER BY collection, id
        """,
        "collections": "SELECT content - '{created,updated}'::text[] AS content FROM pgstac.collections ORDER BY id",
        "partitions": """
            SELECT collection, partition_dtrange::text, dtrange::text FROM pgstac.partition_stats ORDER BY collection
        """,
        "ledger items": """
            SELECT item.collection, item.id, job.prefix, item.username, item.job_time, item.catalog_modified,
                item.content_hash, item.source_key
            FROM ledger.item JOIN ledger.job ON job.id = item.job_id ORDER BY 1, 2
        """,
        "jobs": """
            SELECT bucket, prefix, state, loaded, unchanged, fallback, refused, problem_codes, collections
            FROM ledger.job ORDER BY prefix
        """,
        "decisions": """
            SELECT DISTINCT job.prefix, requested, code, outcome, collection
            FROM ledger.decision JOIN ledger.job ON job.id = job_id ORDER BY 1, 2
        """,
        "ledger collections": "SELECT id, owner FROM ledger.collection ORDER BY id",
    }
    with conn.cursor(row_factory=dict_row) as cursor:
        found = {name: cursor.execute(sql).fetchall() for name, sql in questions.items()}
    conn.rollback()
    return found
