"""Jobs in a bucket in memory, and reading them, for tests of what reading gives."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from maap_stac_orchestration.ledger.records import ClaimedJob
from maap_stac_orchestration.pipeline.batch import ReadJob
from maap_stac_orchestration.pipeline.read import read_jobs
from maap_stac_orchestration.problems import Code
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.store.objects import (
    Fetched,
    ObjectInfo,
    ObjectTooLarge,
)

BUCKET = "bucket"


PREFIX = "u/dps_output/a/v1/tag/2025/08/19/09/59/01/262274/"


NOW = datetime(2025, 8, 19, 10, tzinfo=UTC)


SIDECAR = "output-2025-08-19T09:59:01.262274.met.json"


METADATA = {"username": "u", "algorithm_name": "a", "algorithm_version": "v1", "tag": "tag", "more": 1}


@dataclass
class Memory:
    """A bucket in memory that answers in any order, and counts what it is asked."""

    objects: dict[str, bytes]
    #: Keys that are listed and gone when they are fetched, or that raise something else.
    broken: dict[str, Exception] = field(default_factory=dict)
    seed: int | None = None
    listed: Counter[str] = field(default_factory=Counter)
    fetched: Counter[str] = field(default_factory=Counter)
    now: int = 0
    most: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    async def list(self, bucket: str, prefix: str) -> list[ObjectInfo]:
        self.listed[prefix] += 1
        async with self.under_way():
            return [self.info(key) for key in sorted(self.objects) if key.startswith(prefix)]

    async def get(self, bucket: str, key: str, max_bytes: int) -> Fetched:
        self.fetched[key] += 1
        async with self.under_way():
            if key in self.broken:
                raise self.broken[key]
            info = self.info(key)
            if info.size > max_bytes:
                raise ObjectTooLarge(bucket, key, info.size, max_bytes)
            return Fetched(info, self.objects[key])

    def info(self, key: str) -> ObjectInfo:
        return ObjectInfo(key, len(self.objects[key]), f"etag-of-{key}", NOW, "version")

    def under_way(self) -> Memory:
        return self

    async def __aenter__(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(0 if self.seed is None else self.random.randrange(4)):
            await asyncio.sleep(0)

    async def __aexit__(self, *_: object) -> None:
        self.now -= 1


def item(id: str, **changes: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": id,
        "geometry": {"type": "Point", "coordinates": [1, 2]},
        "bbox": [1, 2, 1, 2],
        "properties": {"datetime": "2025-01-01T00:00:00Z"},
        "links": [],
        "assets": {},
        **changes,
    }


def catalog(*links: tuple[str, str], **changes: Any) -> dict[str, Any]:
    return {
        "type": "Catalog",
        "stac_version": "1.1.0",
        "id": "c",
        "description": "d",
        "links": [{"rel": rel, "href": href} for rel, href in links],
        **changes,
    }


def collection(*links: tuple[str, str], **changes: Any) -> dict[str, Any]:
    extent = {"spatial": {"bbox": [[1, 2, 3, 4]]}, "temporal": {"interval": [["2025-01-01T00:00:00Z", None]]}}
    return catalog(*links, type="Collection", license="CC0-1.0", extent=extent, **changes)


def memory(documents: dict[str, Any], *, metadata: Any = METADATA, prefix: str = PREFIX, **how: Any) -> Memory:
    objects = {
        prefix + name: json.dumps(one).encode() if not isinstance(one, bytes) else one
        for name, one in documents.items()
    }
    if metadata is not None:
        objects[prefix + SIDECAR] = json.dumps(metadata).encode()
    return Memory(objects, **how)


def claim(prefix: str = PREFIX, **changes: Any) -> ClaimedJob:
    return ClaimedJob(
        **{
            "job_id": 1,
            "bucket": BUCKET,
            "prefix": prefix,
            "catalogs": {f"{prefix}catalog.json": "etag"},
            "catalog_modified": NOW - timedelta(hours=1),
            "wait_until": None,
            **changes,
        }
    )


def read(store: Memory, *, job: ClaimedJob | None = None, now: datetime = NOW, **settings: Any) -> ReadJob:
    [result] = read_jobs([job or claim()], store, Settings(**settings), now)
    return result


def ids(job: ReadJob) -> list[str]:
    return [one.id for one in job.items]


def problems(job: ReadJob) -> list[tuple[Code, str]]:
    return [(problem.code, problem.object.removeprefix(PREFIX)) for problem in job.problems]
