"""An export back into the database: what is missing or damaged comes back, what is there stays.

Here belongs which items are written, that the ledger knows whose they are, and that it is on record. Not here: reading
an export (`export_source`), and what jobs write (`load`).

Whoever reaches the database from the command line administers it, so the registry is not asked. The rules that protect
what is there hold as they do for jobs: new wins over old, an item stays with the user whose job wrote it, ids of
deleted collections stay taken, a collection's document that is there is not overwritten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Any

from maap_stac_orchestration import log_events
from maap_stac_orchestration.catalog.curated import NotUsable, curated_collection
from maap_stac_orchestration.catalog.document import printable
from maap_stac_orchestration.catalog.hrefs import web_fault
from maap_stac_orchestration.catalog.item import JobFiles, prepare_item
from maap_stac_orchestration.catalog.provenance import RUN_ID, content_hash
from maap_stac_orchestration.ledger import changes, exported
from maap_stac_orchestration.ledger import collections as known_collections
from maap_stac_orchestration.ledger import items as known_items
from maap_stac_orchestration.ledger.changes import Action, Author
from maap_stac_orchestration.ledger.collections import CollectionIdTaken
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import ItemResult, KnownItem
from maap_stac_orchestration.ledger.texts import storable
from maap_stac_orchestration.pgstac.collections import insert_document, read_document
from maap_stac_orchestration.pgstac.items import load, lock_writers, prepare_partition, unprepared
from maap_stac_orchestration.pgstac.snapshot import find
from maap_stac_orchestration.pipeline import export_layout as layout
from maap_stac_orchestration.pipeline.export_source import Export
from maap_stac_orchestration.pipeline.geoparquet import alike_but_for_form
from maap_stac_orchestration.pipeline.patience import persistently
from maap_stac_orchestration.pipeline.upkeep import refresh_collections
from maap_stac_orchestration.problems import Code, Problem, Severity

#: What is told; the rest is counted.
_MAX_PROBLEMS = 100
#: An export is no job: relative hrefs lead nowhere in it.
_NO_FILES = JobFiles("", "", ())


class RestoreRefused(Exception):
    """An export cannot be brought back as a whole; nothing was written; the message is a sentence."""


class CollectionResult(StrEnum):
    """What became of the collection's document."""

    CREATED = "created"
    UNCHANGED = "unchanged"
    #: What is there is another one, and stays.
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of an export."""

    address: str
    collection: str
    document: CollectionResult
    items: Mapping[ItemResult, int]
    #: At most some hundred.
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was refused."""
        return not self.items[ItemResult.REFUSED]


@dataclass(frozen=True, slots=True)
class _Origin:
    """Which job wrote an item, as the item says."""

    username: str
    job_time: datetime
    job_prefix: str
    bucket: str
    source_key: str
    run_id: str | None


def restore(
    conn: Connection,
    export: Export,
    author: Author,
    progress: Callable[[int], None] = lambda items: None,
) -> Restored:
    """Brings an export back; commits piece by piece, so that one that was stopped goes on when it is called again.

    An item that is in the collection as the export has it is left alone, and where all are, nothing is written at all.
    Others are checked as those of jobs are, and written unless a later job wrote what is there, or the same job since.

    Args:
        conn: a connection with nothing pending.
        export: what to bring back.
        author: who, through which door, why; for the trail.
        progress: told how many items were looked at.

    Raises:
        RestoreRefused: see there.
        ExportBroken, StoreUnavailable: it cannot be read to its end; what was written by then stays.
        psycopg.Error: the database failed; the same.
    """
    work = _Restore(conn, export, author)
    document = work.bring_collection()
    for items in export.items():
        work.bring_items(items)
        progress(len(items))
    if work.written or document is CollectionResult.CREATED:
        refresh_collections(conn, [export.id])
    return Restored(export.address, export.id, document, work.counts, tuple(work.problems))


class _Restore:
    """One restore, with what it needs in every step."""

    def __init__(self, conn: Connection, export: Export, author: Author) -> None:
        self._conn = conn
        self._export = export
        self._author = author
        self._id = export.id
        #: Of a table nulls and the spelling of times come back in another form.
        self._same = _same if export.is_static else alike_but_for_form
        #: The number of the change in the trail, and whether it was told.
        self._change: int | None = None
        self._is_told = False
        self.written = False
        self.counts: Counter[ItemResult] = Counter(dict.fromkeys(ItemResult, 0))
        self.problems: list[Problem] = []

    def bring_collection(self) -> CollectionResult:
        """Makes the collection where it is not there.

        Raises:
            RestoreRefused: it cannot be one.
        """
        document = layout.as_stored(self._export.collection)
        try:
            curated_collection(document)
        except NotUsable as error:
            raise RestoreRefused(f"The collection of {self._export.address} cannot be used. {error}") from error
        present = read_document(self._conn, self._id)
        if present is None:
            self._check_free()
            persistently(partial(self._create, document), f"restoring the collection {self._id}")
            self._tell()
            return CollectionResult.CREATED
        self._conn.rollback()
        same = {**present, "links": layout.kept_links(present)} == document
        return CollectionResult.UNCHANGED if same else CollectionResult.KEPT

    def _check_free(self) -> None:
        stone = known_collections.tombstones(self._conn, [self._id]).get(self._id)
        self._conn.rollback()
        if stone is not None:
            raise RestoreRefused(f"The collection {self._id} cannot be brought back. {stone.sentence}")

    def _create(self, document: Mapping[str, Any]) -> None:
        mark = self._export.mark
        owner, described, by = mark.get("owner"), mark.get("described"), mark.get("described_by")
        with self._conn.transaction():
            try:
                known_collections.register(
                    self._conn, self._id, owner=owner if isinstance(owner, str) else None, job_id=None
                )
            except CollectionIdTaken as error:
                raise RestoreRefused(str(error)) from error
            other = insert_document(self._conn, document)
            if other is not None:
                raise RestoreRefused(f"The collection {self._id} cannot be made, because {printable(other)} is there.")
            if isinstance(described, Mapping):
                moment = _time(by) if isinstance(by, str) else None
                known_collections.describe(self._conn, self._id, described, moment)
            self._record({"before": None, "after": document})

    def bring_items(self, items: Sequence[dict[str, Any]]) -> None:
        """Writes those of some items that are not there as they are."""
        different = self._different(items)
        self._conn.rollback()
        if not different:
            return
        for one in different:
            if one.get("collection") != self._id:
                self._refuse(Problem(Code.ITEM_INVALID, str(one.get("id")), f"It is not of {self._id}."))
        wanted = [one for one in different if one.get("collection") == self._id and self._is_good(one)]
        if unprepared(self._conn, {self._id: wanted}):
            self._conn.rollback()
            with self._conn.transaction():
                prepare_partition(self._conn, self._id, wanted)
        self._conn.rollback()
        if wanted:
            persistently(partial(self._write, wanted), f"restoring items of {self._id}")

    def _different(self, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those that are not in the database as they are; counts the others, and those whose id came before."""
        ids = [id for one in items if isinstance(id := one.get("id"), str) and storable(id, len(id)) == id]
        present = find(self._conn, self._id, ids)
        different = []
        for one in items:
            there = present.get(one.get("id", ""))
            if there is not None and self._same(one, there):
                self.counts[ItemResult.UNCHANGED] += 1
            else:
                different.append(one)
        return different

    def _is_good(self, item: Mapping[str, Any]) -> bool:
        """Checks an item as those of jobs are, but for where its assets lie: settings may be others by now, and an
        export was made from what had passed. Assets of an item that no job wrote never were looked at."""
        prepared = prepare_item(
            item,
            key="",
            files=_NO_FILES,
            username="",
            readable_buckets=(),
            job_buckets=(),
            schemas=None,
        )
        serious = [one for one in prepared.problems if one.severity is Severity.ERROR]
        if prepared.document is not None and _origin(item) is not None:
            faults = (_href_fault(href) for href in _hrefs(item["assets"]))
            fault = next((fault for fault in faults if fault is not None), None)
            if fault is not None:
                serious.append(Problem(Code.ASSET_OUTSIDE, item["id"], fault))
        if serious:
            self._refuse(*serious)
        return not serious

    def _refuse(self, *problems: Problem) -> None:
        self.counts[ItemResult.REFUSED] += 1
        self.problems += problems[: max(0, _MAX_PROBLEMS - len(self.problems))]

    def _write(self, items: Sequence[dict[str, Any]]) -> None:
        """In one transaction, as the one writer of the collection."""
        counts, problems = Counter(self.counts), list(self.problems)
        try:
            with self._conn.transaction():
                lock_writers(self._conn, [self._id])
                rows = self._settle(items)
                if rows is not None:
                    known_items.write(self._conn, rows)
                    known_collections.changed(self._conn, [self._id])
                    if not self._is_told:
                        self._record({"items": self._export.mark.get("items")})
        except BaseException:
            # It may be tried again, and is not to be counted twice.
            self.counts, self.problems = counts, problems
            raise
        if rows is not None:
            self.written = True
            self._tell()

    def _settle(self, items: Sequence[dict[str, Any]]) -> list[KnownItem] | None:
        """Writes those that may be; gives the ledger's rows about them, None where none was written."""
        ids = [one["id"] for one in items]
        there = find(self._conn, self._id, ids)
        known = known_items.known(self._conn, self._id, ids)
        since = exported.written_since(self._conn, self._id, ids, _time(self._export.mark.get("written")))
        origins = {one["id"]: origin for one in items if (origin := _origin(one)) is not None}
        documents: dict[str, dict[str, Any]] = {}
        for item in items:
            id = item["id"]
            before = known.get(id)
            if before is not None and (id not in origins or origins[id].username != before.username):
                self._refuse(Problem(Code.ITEM_OWNED_BY_OTHER, id, f"The collection is {self._id}."))
            elif before is not None and id in there and _is_newer(before, id in since, origins[id]):
                self.counts[ItemResult.OLDER] += 1
            elif id in documents:
                self._refuse(Problem(Code.ITEM_DUPLICATE, id))
            else:
                documents[id] = item
        loaded = load(self._conn, self._id, list(documents.values()))
        for refused in loaded.refused:
            self._refuse(Problem(Code.LOAD_REJECTED, refused.id, refused.reason))
        self.counts[ItemResult.LOADED] += len(loaded.ids)
        if not loaded.ids:
            return None
        written = [documents[id] for id in loaded.ids]
        # Of the same version of an item the ledger knows more than an export tells, and what it knows stays.
        told = {id for id, one in known.items() if id not in since and one.job_time == origins[id].job_time}
        return self._rows([one for one in written if one["id"] in origins.keys() - told], origins)

    def _rows(self, items: Sequence[dict[str, Any]], origins: Mapping[str, _Origin]) -> list[KnownItem]:
        """What the ledger is to know of items that jobs wrote."""
        jobs = exported.job_numbers(self._conn, {(one.bucket, one.job_prefix) for one in origins.values()})
        return [self._row(item, origins[item["id"]], jobs) for item in items]

    def _row(self, item: Mapping[str, Any], origin: _Origin, jobs: Mapping[tuple[str, str], int]) -> KnownItem:
        return KnownItem(
            collection=self._id,
            id=item["id"],
            job_id=jobs.get((origin.bucket, origin.job_prefix)),
            username=origin.username,
            job_time=origin.job_time,
            # An export does not say; the earliest that it can have been, so that the job's own is not older.
            catalog_modified=origin.job_time,
            content_hash=content_hash(item),
            source_key=origin.source_key,
            # Nor which bytes: they come back when the job is read again.
            source_etag="",
            source_sha256="",
            run_id=origin.run_id,
        )

    def _record(self, detail: Mapping[str, Any]) -> None:
        detail = {**detail, "from": self._export.address}
        self._change = changes.record(self._conn, Action.COLLECTION_RESTORED, self._id, self._author, detail)

    def _tell(self) -> None:
        """Once, when what is on record is committed."""
        if self._is_told:
            return
        self._is_told = True
        log_events.emit(
            log_events.Event.COLLECTION_CHANGED,
            change=self._change,
            action=str(Action.COLLECTION_RESTORED),
            collection=self._id,
            by=self._author.by,
            via=str(self._author.via),
        )


def _hrefs(value: Any) -> Iterator[str]:
    """All hrefs in assets, those of alternates too."""
    if isinstance(value, Mapping):
        for name, one in value.items():
            if name == "href" and isinstance(one, str):
                yield one
            else:
                yield from _hrefs(one)


def _href_fault(href: str) -> str | None:
    """Why nobody should be led to where an asset of a job lies, a sentence; ingestion lets no such address pass."""
    if href.startswith("s3://"):
        return None
    fault = web_fault(href) if href.startswith(("http://", "https://")) else "it is no address of S3 or of the web"
    return None if fault is None else f"Of {printable(href[:200])}: {fault}."


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one == {**other, "links": layout.kept_links(other)}


def _is_newer(before: KnownItem, since: bool, origin: _Origin) -> bool:
    """Whether an item that is there is not to be replaced by the export's: a later job wrote it, or the same job wrote
    it again since the export was made."""
    return before.job_time > origin.job_time or (before.job_time == origin.job_time and since)


def _origin(item: Mapping[str, Any]) -> _Origin | None:
    """None where the item does not say, or says what cannot be."""
    properties = item.get("properties")
    if not isinstance(properties, Mapping):
        return None
    username, prefix = properties.get("maap:username"), properties.get("maap:job_prefix")
    time, run_id = _time(properties.get("maap:job_time")), properties.get(RUN_ID)
    if not isinstance(username, str) or not isinstance(prefix, str) or not username or time is None:
        return None
    for link in reversed(layout.kept_links(item)):
        href = link.get("href") if isinstance(link, Mapping) and link.get("rel") == "via" else None
        bucket, _, key = str(href).removeprefix("s3://").partition("/")
        if isinstance(href, str) and href.startswith("s3://") and key.startswith(prefix):
            return _Origin(username, time, prefix, bucket, key, run_id if isinstance(run_id, str) else None)
    return None


def _time(text: Any) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment.astimezone(UTC)
