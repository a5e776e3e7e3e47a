"""The items of some collections, settled one by one: written, unchanged, older than what is there, or refused.

Here belongs which of several items with one id is written, in the transaction of the collections' one writer. Not here:
how items are written (`pgstac.items`), and the transaction (`load`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from maap_stac_orchestration.catalog.provenance import content_hash
from maap_stac_orchestration.ledger import items as known_items
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import ItemResult, KnownItem
from maap_stac_orchestration.pgstac.items import load_all, present_in
from maap_stac_orchestration.pipeline.plan import Candidate
from maap_stac_orchestration.problems import Code, Problem

#: A collection and the id of an item in it.
Place = tuple[str, str]


@dataclass(slots=True)
class Settled:
    """What became of candidates, by the identity of the item's record."""

    results: dict[int, ItemResult] = field(default_factory=dict)
    problems: dict[int, Problem] = field(default_factory=dict)
    #: Collections with changed items.
    written: set[str] = field(default_factory=set)

    def settle(self, candidate: Candidate, result: ItemResult, problem: Problem | None = None) -> None:
        """Notes what became of one."""
        self.results[id(candidate)] = result
        if problem is not None:
            self.problems[id(candidate)] = problem


def write_collections(by_collection: Mapping[str, Sequence[Candidate]], conn: Connection, settled: Settled) -> None:
    """Settles every candidate for these collections, of which this transaction is the one writer."""
    waiting: dict[Place, list[Candidate]] = defaultdict(list)
    for collection, candidates in by_collection.items():
        for candidate in candidates:
            waiting[collection, candidate.item.id].append(candidate)
    known = known_items.known_in(conn, waiting)
    there = present_in(conn, _by_collection(known, by_collection))
    for place, some in waiting.items():
        waiting[place] = _owned(some, known.get(place), settled)
    rows: list[KnownItem] = []
    # Each round writes the newest candidate of each id; where the database refuses it, the next one has its turn, as
    # it would have had if it had come alone.
    while waiting := {place: some for place, some in waiting.items() if some}:
        documents: dict[str, list[dict[str, Any]]] = defaultdict(list)
        writing: dict[Place, tuple[Candidate, KnownItem]] = {}
        for place, some in waiting.items():
            collection, id = place
            candidate = some.pop()
            before = known.get(place) if id in there[collection] else None
            if before is not None and not _supersedes(candidate, before):
                for one in (candidate, *some):
                    settled.settle(one, ItemResult.OLDER)
                some.clear()
                continue
            document = candidate.document()
            row = _row(candidate, content_hash(document))
            if before is not None and row.content_hash == before.content_hash:
                settled.settle(candidate, ItemResult.UNCHANGED)
                if _moved_on(before, row):
                    rows.append(row)
                _settle_older(some, settled)
            else:
                documents[collection].append(document)
                writing[place] = candidate, row
        loaded = load_all(conn, documents, there)
        refusals = {(collection, one.id): one.reason for collection, done in loaded.items() for one in done.refused}
        for place, (candidate, row) in writing.items():
            collection, id = place
            if place in refusals:
                settled.settle(candidate, ItemResult.REFUSED, Problem(Code.LOAD_REJECTED, id, refusals[place]))
            else:
                settled.settle(candidate, ItemResult.LOADED)
                settled.written.add(collection)
                rows.append(row)
                _settle_older(waiting[place], settled)
    known_items.write(conn, rows)


def _by_collection(places: Iterable[Place], collections: Iterable[str]) -> dict[str, list[str]]:
    """Collection -> ids, of all these collections."""
    found: dict[str, list[str]] = {collection: [] for collection in collections}
    for collection, id in places:
        found[collection].append(id)
    return found


def _owned(candidates: list[Candidate], known: KnownItem | None, settled: Settled) -> list[Candidate]:
    """The candidates of the user whose item it is, oldest first: whose job wrote it before, or who comes first now."""
    ordered = sorted(candidates, key=lambda one: one.order)
    owner = known.username if known is not None else ordered[0].username
    for candidate in ordered:
        if candidate.username != owner:
            problem = Problem(Code.ITEM_OWNED_BY_OTHER, candidate.item.id, f"The collection is {candidate.collection}.")
            settled.settle(candidate, ItemResult.REFUSED, problem)
    return [candidate for candidate in ordered if candidate.username == owner]


def _supersedes(candidate: Candidate, known: KnownItem) -> bool:
    """Whether a candidate is as new as what is there, or newer. Where two jobs ran at the same microsecond, the one
    whose key comes later wins, whichever is loaded first."""
    job_time, modified, key = candidate.order
    if (job_time, modified) != (known.job_time, known.catalog_modified):
        return (job_time, modified) > (known.job_time, known.catalog_modified)
    return known.source_key.startswith(candidate.plan.decided.read.claim.prefix) or key > known.source_key


def _moved_on(before: KnownItem, row: KnownItem) -> bool:
    """Whether an unchanged item comes from another version of its catalog or document than the ledger says."""
    return replace(before, run_id=row.run_id, job_id=row.job_id) != row


def _settle_older(candidates: list[Candidate], settled: Settled) -> None:
    for candidate in candidates:
        settled.settle(candidate, ItemResult.OLDER)
    candidates.clear()


def _row(candidate: Candidate, hashed: str) -> KnownItem:
    job_time, modified, key = candidate.order
    source = candidate.item.source
    return KnownItem(
        collection=candidate.collection,
        id=candidate.item.id,
        job_id=candidate.plan.decided.read.claim.job_id,
        username=candidate.username,
        job_time=job_time,
        catalog_modified=modified,
        content_hash=hashed,
        source_key=key,
        source_etag=source.etag,
        source_sha256=source.sha256,
        run_id=candidate.plan.run_id or None,
    )
