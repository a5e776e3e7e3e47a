"""The first stage: from claimed jobs to checked items.

Here belongs the order of things when a job is read: list its objects, find its metadata and its catalogs, walk them,
and bring together what was found. Not here: the rules (`dps`, `catalog`), the walking (`walk`), and who may write where
(`decide`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache, partial
from typing import Any

import orjson

from maap_stac_orchestration.catalog.collection import prepare_collection
from maap_stac_orchestration.catalog.document import Kind, NotJson, NotMigrated, kind_of, migrate, parse_json
from maap_stac_orchestration.catalog.item import JobFiles, prepare_item
from maap_stac_orchestration.catalog.links import Relation, follow, shown
from maap_stac_orchestration.catalog.schema import ExtensionSchemas, core_errors
from maap_stac_orchestration.dps.job import Job, JobMetadata, OutputPrefix
from maap_stac_orchestration.dps.metadata import is_metadata_name, parse_metadata
from maap_stac_orchestration.dps.output_prefix import parse_output_prefix
from maap_stac_orchestration.pipeline.batch import ClaimedJob, Pin, ReadItem, ReadJob
from maap_stac_orchestration.pipeline.listings import Listings
from maap_stac_orchestration.pipeline.walk import Document, Node, Reader, Walk, for_each, pin
from maap_stac_orchestration.problems import Code, Problem
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.store.objects import (
    Fetched,
    ObjectInfo,
    ObjectMissing,
    ObjectStore,
    ObjectTooLarge,
    ObjectUnreadable,
)

_log = logging.getLogger(__name__)

CATALOG_NAME = "catalog.json"

#: What may still arrive until the claim's deadline.
_NOT_YET = frozenset({Code.METADATA_MISSING, Code.LINK_MISSING})
#: What may still arrive until the shorter deadline of assets. A path of the job's machine is repaired with the help of
#: an object of the same name, which may be on its way too.
_ASSET_NOT_YET = frozenset({Code.ASSET_MISSING, Code.ASSET_LOCAL_PATH})

_KINDS: Mapping[Kind, str] = {
    "item": "a STAC Item",
    "catalog": "a STAC Catalog",
    "collection": "a STAC Collection",
    "item_collection": "a GeoJSON FeatureCollection",
}


def read_jobs(claims: Sequence[ClaimedJob], store: ObjectStore, settings: Settings, now: datetime) -> list[ReadJob]:
    """Reads the jobs of a batch, all their documents concurrently, and checks them.

    Args:
        claims: the jobs.
        store: where their objects are.
        settings: bounds and deadlines.
        now: the time against which deadlines are measured, UTC.

    Returns:
        One result for each claim, in the same order. What is wrong with a job is in its problems.

    Raises:
        StoreUnavailable: the infrastructure failed; nothing is told about any job.
    """
    return asyncio.run(read_all(claims, store, settings, now))


async def read_all(
    claims: Sequence[ClaimedJob], store: ObjectStore, settings: Settings, now: datetime
) -> list[ReadJob]:
    """`read_jobs` for callers that have an event loop already."""
    results: dict[int, ReadJob] = {}

    async def keep(number: int, result: ReadJob) -> None:
        results[number] = result

    await read_each(claims, store, settings, now, keep)
    return [results[number] for number in range(len(claims))]


async def read_each(
    claims: Sequence[ClaimedJob],
    store: ObjectStore,
    settings: Settings,
    now: datetime,
    give: Callable[[int, ReadJob], Awaitable[None]],
) -> None:
    """`read_all` for callers that go on with a job as soon as it was read.

    Args:
        claims, store, settings, now: as for `read_jobs`.
        give: is given each result with its place among the claims; until it returns, no other job is begun in its
            stead.
    """
    reader = Reader(store, settings.max_concurrency)
    readings = [_JobReading(claim, reader, settings, now) for claim in claims]
    listings = Listings((reading.place for reading in readings), reader, settings.max_job_seconds)
    # As many jobs as slots keep every slot busy; only the documents of fewer are read side by side from the start.
    few = len(claims) < settings.max_concurrency

    async def read(number: int) -> None:
        await give(number, await readings[number].read(listings, side_by_side=few))

    # Neighbours one after another, so that what is listed of them together need not be kept for long.
    order = sorted(range(len(claims)), key=lambda number: (claims[number].bucket, claims[number].prefix))
    await for_each(order, read, settings.max_concurrency)


@lru_cache(maxsize=4)
def _schemas(folder: str | None) -> ExtensionSchemas | None:
    """Compiled schemas are kept from batch to batch."""
    return ExtensionSchemas(folder) if folder else None


@dataclass(frozen=True, slots=True)
class _Metadata:
    """What the sidecar gave: the metadata or the problem with it."""

    found: JobMetadata | Problem
    pin: Pin | None = None


class _JobReading:
    """One job on its way from a claim to a result."""

    def __init__(self, claim: ClaimedJob, reader: Reader, settings: Settings, now: datetime) -> None:
        self._claim = claim
        self._reader = reader
        self._settings = settings
        self._now = now
        self._prefix: OutputPrefix = parse_output_prefix(claim.prefix)
        self._root = f"{self._prefix.key}{CATALOG_NAME}"

    @property
    def place(self) -> tuple[str, OutputPrefix]:
        return self._claim.bucket, self._prefix

    async def read(self, listings: Listings, *, side_by_side: bool) -> ReadJob:
        try:
            listed = await listings.of(self._claim.bucket, self._prefix.key)
        except TimeoutError:
            detail = f"Listing its objects took longer than {self._settings.max_job_seconds:g} s."
            return self._result(None, problems=[Problem(Code.TOO_MANY_ITEMS, self._root, detail)])
        files = {info.key: info for info in listed}
        sidecars = [key for key in files if is_metadata_name(key.removeprefix(self._prefix.key))]
        if not sidecars and self._may_still_arrive():
            # Nothing can be loaded yet, and the next try is seconds away: documents are not read for nothing.
            return self._result(None, problems=[Problem(Code.METADATA_MISSING, self._prefix.key)])
        catalogs = self._catalogs(files)
        walk = Walk(
            bucket=self._claim.bucket,
            files=files,
            reader=self._reader,
            settings=self._settings,
            understand=self._checks(files).understand,
        )
        metadata: list[_Metadata] = []

        async def read_metadata() -> None:
            metadata.append(await self._read_metadata(sidecars))

        async def read_documents() -> None:
            await walk.read_from(catalogs)

        await for_each((read_metadata, read_documents), lambda do: do(), 2 if side_by_side else 1)
        return self._assemble(metadata[0], walk, catalogs)

    def _catalogs(self, files: Mapping[str, ObjectInfo]) -> list[str]:
        """The root catalog or, where there is none, every catalog of the job, those nearest to the root first."""
        if self._root in files:
            return [self._root]
        nested = [key for key in files if key.endswith(f"/{CATALOG_NAME}")]
        return sorted(nested, key=lambda key: (key.count("/"), key))

    async def _read_metadata(self, sidecars: Sequence[str]) -> _Metadata:
        if not sidecars:
            return _Metadata(Problem(Code.METADATA_MISSING, self._prefix.key))
        if len(sidecars) > 1:
            names = ", ".join(shown(key.rpartition("/")[2]) for key in sidecars[:3])
            more = f" and {len(sidecars) - 3} more" if len(sidecars) > 3 else ""
            return _Metadata(Problem(Code.METADATA_AMBIGUOUS, self._prefix.key, f"There are {names}{more}."))
        [key] = sidecars
        try:
            async with self._reader.slots:
                fetched = await self._reader.store.get(self._claim.bucket, key, self._settings.max_document_bytes)
        except ObjectMissing:
            return _Metadata(Problem(Code.METADATA_MISSING, self._prefix.key))
        except (ObjectTooLarge, ObjectUnreadable) as error:
            return _Metadata(Problem(Code.METADATA_INVALID, key, str(error)))
        return _Metadata(parse_metadata(fetched.data, key), pin(fetched))

    def _checks(self, files: Mapping[str, ObjectInfo]) -> _Checks:
        bucket = self._claim.bucket
        return _Checks(
            JobFiles(bucket, self._prefix.key, files),
            self._prefix.username,
            self._settings.readable_buckets,
            frozenset({*self._settings.buckets, bucket}),
            _schemas(self._settings.schemas),
        )

    def _assemble(self, metadata: _Metadata, walk: Walk, catalogs: Sequence[str]) -> ReadJob:
        problems: list[Problem] = []
        pins: list[Pin] = [metadata.pin] if metadata.pin else []
        items: list[ReadItem] = []
        collections: list[Mapping[str, Any]] = []
        first_of_id: dict[str, str] = {}
        if isinstance(metadata.found, Problem):
            problems.append(metadata.found)
        if not catalogs:
            missing = sorted(self._claim.catalogs) or [self._root]
            problems += [Problem(Code.CATALOG_MISSING, key) for key in missing]
        roots = catalogs if len(catalogs) <= 1 else walk.led_to_by_none(catalogs)
        for met in walk.in_link_order(roots):
            if isinstance(met, Problem):
                problems.append(met)
                continue
            node, parent = met
            if node.document is None:
                problems += _obstacle(node, parent)
                continue
            assert node.pin is not None
            pins.append(node.pin)
            problems += node.document.problems
            if node.document.collection is not None:
                collections.append(node.document.collection)
            item = node.document.item
            if item is None:
                continue
            first = first_of_id.setdefault(item.id, node.key)
            if first != node.key:
                detail = f"The id is {shown(item.id)}; the item at {first} is kept."
                problems.append(Problem(Code.ITEM_DUPLICATE, node.key, detail))
                continue
            problems += item.problems
            items.append(item)
        problems += walk.exceeded(roots[0] if roots else self._root)
        job = self._job(metadata.found) if isinstance(metadata.found, JobMetadata) else None
        return self._result(
            job,
            metadata_username=metadata.found.username if isinstance(metadata.found, JobMetadata) else None,
            items=items if job else (),
            collections=collections,
            pins=pins,
            problems=problems,
        )

    def _job(self, metadata: JobMetadata) -> Job:
        return Job(self._claim.bucket, self._prefix, metadata.algorithm_name, metadata.algorithm_version, metadata.tag)

    def _result(
        self,
        job: Job | None,
        *,
        problems: Sequence[Problem],
        metadata_username: str | None = None,
        items: Sequence[ReadItem] = (),
        collections: Sequence[Mapping[str, Any]] = (),
        pins: Sequence[Pin] = (),
    ) -> ReadJob:
        codes = {problem.code for problem in problems}
        until = self._awaiting_until(codes)
        return ReadJob(
            claim=self._claim,
            job=job,
            metadata_username=metadata_username,
            items=tuple(items),
            collections=tuple(collections),
            pins=tuple(pins),
            problems=tuple(problems),
            awaiting=until is not None,
            awaiting_until=until,
        )

    def _awaiting_until(self, codes: Collection[Code]) -> datetime | None:
        """Until when what is missing may still arrive; None where nothing is, or where its time is over."""
        if self._may_still_arrive() and not _NOT_YET.isdisjoint(codes):
            return self._claim.wait_until
        assets_until = self._claim.catalog_modified + self._settings.asset_deadline
        return assets_until if self._now < assets_until and not _ASSET_NOT_YET.isdisjoint(codes) else None

    def _may_still_arrive(self) -> bool:
        return self._claim.wait_until is not None and self._now < self._claim.wait_until


def _obstacle(node: Node, parent: str | None) -> list[Problem]:
    """Why nothing was read, with where it was linked; a root is not linked but known, and may be gone."""
    obstacle = node.obstacle
    if obstacle is None:
        return []
    if parent is None:
        return [replace(obstacle, code=Code.CATALOG_MISSING)] if obstacle.code is Code.LINK_MISSING else [obstacle]
    return [replace(obstacle, detail=f"{obstacle.detail} It is linked in {parent}.".strip())]


@dataclass(frozen=True, slots=True)
class _Checks:
    """What checking a document of the job needs to know."""

    files: JobFiles
    username: str
    readable_buckets: Sequence[str]
    job_buckets: frozenset[str]
    schemas: ExtensionSchemas | None

    def understand(self, fetched: Fetched, relation: Relation, source: Pin) -> Document:
        """Parses a document and checks it for what its link says that it is."""
        key = fetched.info.key
        is_item = relation == "item"
        try:
            document = parse_json(fetched.data)
        except NotJson as error:
            code = Code.ITEM_UNREADABLE if is_item else Code.CATALOG_UNREADABLE
            return Document(problems=[Problem(code, key, str(error))])
        kind = kind_of(document)
        if is_item:
            return self._guarded(partial(self._item, source=source), document, key, kind)
        if kind not in {"catalog", "collection"}:
            return Document(problems=[Problem(Code.NOT_A_CATALOG, key, _what_it_is(document, kind))])
        understood = self._guarded(self._catalog, document, key, kind)
        # What is wrong with a catalog keeps nobody from following its links.
        understood.links = follow(document, key, bucket=self.files.bucket, prefix=self.files.prefix)
        return understood

    def _guarded(
        self,
        check: Callable[[dict[str, Any], str, Kind | None], Document],
        document: dict[str, Any],
        key: str,
        kind: Kind | None,
    ) -> Document:
        """Checks a document; an unforeseen failure of the check is told about this document only."""
        try:
            return check(document, key, kind)
        except Exception as error:  # noqa: BLE001 - else one document that nobody thought of stops every job beside it
            _log.exception("Checking s3://%s/%s failed", self.files.bucket, key)
            code = Code.CATALOG_INVALID if kind in {"catalog", "collection"} else Code.ITEM_INVALID
            detail = f"Checking it failed with {type(error).__name__}, which is a defect of the check: report it."
            return Document(problems=[Problem(code, key, detail)])

    def _item(self, document: dict[str, Any], key: str, kind: Kind | None, source: Pin) -> Document:
        if kind != "item":
            advice = {
                "item_collection": " Write each of its features as an Item of its own, and link them.",
                "catalog": " Link it with rel=child.",
                "collection": " Link it with rel=child.",
            }.get(kind or "", "")
            return Document(problems=[Problem(Code.ITEM_INVALID, key, _what_it_is(document, kind) + advice)])
        prepared = prepare_item(
            document,
            key=key,
            files=self.files,
            username=self.username,
            readable_buckets=self.readable_buckets,
            job_buckets=self.job_buckets,
            schemas=self.schemas,
        )
        if prepared.document is None:
            return Document(problems=prepared.problems)
        packed = orjson.dumps(prepared.document)
        item_id, requested = prepared.document["id"], prepared.requested_collection
        return Document(item=ReadItem(item_id, requested, packed, source, prepared.problems, prepared.repairs))

    def _catalog(self, document: dict[str, Any], key: str, kind: Kind | None) -> Document:
        if kind == "collection":
            prepared, problems = prepare_collection(document, key, self.files, self.username)
            return Document(collection=prepared, problems=problems)
        try:
            errors = core_errors(migrate(document))
        except NotMigrated as error:
            errors = [str(error)]
        return Document(problems=[Problem(Code.CATALOG_INVALID, key, " ".join(errors))] if errors else [])


def _what_it_is(document: Mapping[str, Any], kind: Kind | None) -> str:
    if kind is not None:
        return f"It is {_KINDS[kind]}."
    if "type" not in document:
        return "It has no type."
    return f"Its type is {shown(repr(document['type']))}."
