"""Where an item comes from: item -> source document -> catalog -> job -> decision -> run, as the ledger wrote it down.

Here belongs following that chain back. Not here: how it is written (`items`, `outcomes`), its form when it leaves
the system (`documents`), and what pgstac and S3 hold by now.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.jobs import get_job
from maap_stac_orchestration.ledger.records import (
    ItemResult,
    JobDetail,
    JobItem,
    KnownItem,
    Pin,
    RecordedCatalog,
    RecordedDecision,
    State,
    Transition,
)
from maap_stac_orchestration.ledger.texts import storable

# Along the primary key.
_ITEM = """
SELECT
    item.collection, item.id, item.job_id, item.username, item.job_time, item.catalog_modified, item.content_hash,
    item.source_key, item.source_etag, item.source_sha256, item.run_id, item.written_at, job.bucket, job.prefix
FROM ledger.item
LEFT JOIN ledger.job ON job.id = item.job_id
WHERE item.collection = %(collection)s AND item.id = %(id)s
"""

# There is no index of job_item by item: it would cost each load more than this question, which is asked by hand, is
# worth. So it goes along the jobs of the collection, newest first, as far as their items are not too many.
_NEAR = """
SELECT job.id, job.loaded + job.unchanged + job.refused
FROM ledger.job_collection AS listed
JOIN ledger.job ON job.id = listed.job_id
WHERE listed.collection = %(collection)s
ORDER BY listed.job_time DESC, listed.job_id DESC
LIMIT %(limit)s
"""
_OTHERS = """
SELECT job.prefix, job.bucket, job.job_time, job.state, job_item.result, job_item.source_key
FROM ledger.job_item
JOIN ledger.job ON job.id = job_item.job_id
WHERE job_item.job_id = ANY (%(jobs)s)
    AND job_item.item_id = %(id)s AND job_item.collection = %(collection)s AND job_item.result <> 'refused'
ORDER BY job.job_time DESC, job.id DESC
"""

#: Jobs of the collection, and items of theirs, that are looked through for others that brought the item.
MOST_JOBS = 5_000
MOST_ITEMS = 200_000


@dataclass(frozen=True, slots=True)
class OtherJob:
    """Another job that brought an item of this id to the collection, when it was read last."""

    prefix: str
    bucket: str
    #: UTC.
    time: datetime
    state: State
    #: What became of its item then.
    result: ItemResult
    source_key: str


@dataclass(frozen=True, slots=True)
class Lineage:
    """Everything that led to an item. What is None is not known (any more)."""

    item: KnownItem
    #: When the ledger wrote that down, UTC.
    written: datetime
    job: JobDetail | None
    #: The document that the item was read from; None where the job has been read again since and the document is
    #: another one by now. Its etag and SHA-256 are with the item in any case.
    document: Pin | None
    #: The catalogs of the job as they were when the item was written, the one at the root of the job first.
    catalogs: tuple[RecordedCatalog, ...]
    #: The last decision about what the item asked for.
    decision: RecordedDecision | None
    #: When the run that wrote it took the job on, and when it was done with it.
    began: Transition | None
    ended: Transition | None
    #: Other jobs that brought it, newest first.
    others: tuple[OtherJob, ...]
    #: Whether those are all; jobs from long ago are not looked for in a collection of very many.
    others_complete: bool


def lineage(conn: Connection, collection: str, item_id: str) -> Lineage | None:
    """Where an item of a collection comes from; None where the ledger does not know it."""
    asked = {"collection": storable(collection), "id": storable(item_id)}
    row = conn.execute(_ITEM, asked).fetchone()
    if row is None:
        return None
    *known, written, bucket, prefix = row
    item = KnownItem(*known)
    job = None if prefix is None else get_job(conn, prefix, bucket=bucket)
    others, complete = _others(conn, item)
    return Lineage(
        item=item,
        written=written,
        job=job,
        document=None if job is None else _document(job, item),
        catalogs=() if job is None else _catalogs(job, item),
        decision=None if job is None else _decision(job, item),
        began=None if job is None else _transition(job, item, {State.INGESTING}),
        ended=None if job is None else _transition(job, item, frozenset(State) - {State.INGESTING}),
        others=others,
        others_complete=complete,
    )


def _document(job: JobDetail, item: KnownItem) -> Pin | None:
    return next((one for one in job.documents if (one.key, one.etag) == (item.source_key, item.source_etag)), None)


def _catalogs(job: JobDetail, item: KnownItem) -> tuple[RecordedCatalog, ...]:
    """Of each key the version that was the newest when the item was written."""
    newest: dict[str, RecordedCatalog] = {}
    for one in sorted(job.catalogs, key=lambda one: one.last_modified):
        if one.last_modified <= item.catalog_modified:
            newest[one.key] = one
    return tuple(sorted(newest.values(), key=lambda one: (one.key.count("/"), one.key)))


def _decision(job: JobDetail, item: KnownItem) -> RecordedDecision | None:
    """By what the item asked for; its collection may have been moved since the decision."""
    requested = {one.requested_collection for one in job.items if one.id == item.id and _of(one, item)}
    # A denial of items of other users is about those, and not about this one, which is there.
    accepted = [one for one in job.decisions if one.decision.collection is not None]
    by_request = [one for one in accepted if one.decision.requested in requested]
    by_target = [one for one in accepted if one.decision.collection == item.collection]
    both = [one for one in by_request if one in by_target]
    return next((found[-1] for found in (both, by_request, by_target) if found), None)


def _of(one: JobItem, item: KnownItem) -> bool:
    return one.source_key == item.source_key


def _transition(job: JobDetail, item: KnownItem, states: frozenset[State] | set[State]) -> Transition | None:
    """The last time that the run brought the job into one of the states."""
    found = [one for one in job.transitions if one.run_id == item.run_id and one.state in states]
    return found[-1] if found else None


def _others(conn: Connection, item: KnownItem) -> tuple[tuple[OtherJob, ...], bool]:
    """Other jobs that brought it, and whether those are all."""
    near = conn.execute(_NEAR, {"collection": item.collection, "limit": MOST_JOBS + 1}).fetchall()
    looked: list[int] = []
    items = 0
    for job_id, number in near[:MOST_JOBS]:
        items += number
        if items > MOST_ITEMS and looked:
            break
        looked.append(job_id)
    rows = conn.execute(
        _OTHERS,
        {"jobs": [one for one in looked if one != item.job_id], "collection": item.collection, "id": item.id},
    ).fetchall()
    others = tuple(
        OtherJob(prefix, bucket, time, State(state), ItemResult(result), source)
        for prefix, bucket, time, state, result, source in rows
    )
    return others, len(looked) == len(near)
