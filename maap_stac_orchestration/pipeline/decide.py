"""The second stage: one decision for each collection that a job's items ask for.

Here belongs bringing together what `governance.decide` needs to know about a batch. Not here: the rules themselves, and
what follows from a decision for the items (`load`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from maap_stac_orchestration.dps.job import Job
from maap_stac_orchestration.governance.decide import ExistingCollections, decide
from maap_stac_orchestration.governance.decision import Request
from maap_stac_orchestration.governance.default_collection import default_collection_id
from maap_stac_orchestration.governance.registry import Registry
from maap_stac_orchestration.ledger import collections as known_collections
from maap_stac_orchestration.ledger import default_ids
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.pgstac.collections import existing_ids
from maap_stac_orchestration.pipeline.batch import DecidedJob, ReadJob
from maap_stac_orchestration.settings import Settings

Names = tuple[str, str, str, str | None]


def decide_jobs(reads: Sequence[ReadJob], registry: Registry, settings: Settings, conn: Connection) -> list[DecidedJob]:
    """Decides for every job of a batch; jobs of which nobody knows whose they are have no decisions.

    A job without items gets the decision for no requested collection, which also checks its identity. Which ids of
    default collections belong to whom is written to the ledger; that is committed.
    """
    defaults = _default_collections(reads, settings, conn)
    wanted = {collection for read in reads for collection in _requested(read) if collection}
    existing = existing_collections(conn, wanted)
    conn.commit()
    decided = []
    for read in reads:
        decisions = {}
        if read.job is not None:
            for collection in _requested(read):
                request = Request(
                    username=read.job.username,
                    algorithm=read.job.algorithm,
                    version=read.job.version,
                    tag=read.job.tag,
                    collection=collection,
                    default_collection=defaults[names_of(read.job)],
                    metadata_username=read.metadata_username,
                )
                decisions[collection] = decide(request, registry, existing, settings.on_denied)
        decided.append(DecidedJob(read, decisions))
    return decided


def existing_collections(conn: Connection, ids: Iterable[str]) -> ExistingCollections:
    """What governance has to know about these ids: which collections there are, and which there were."""
    wanted = list(ids)
    return ExistingCollections.of(existing_ids(conn, wanted), known_collections.deleted_ids(conn, wanted))


def default_collections_told(conn: Connection, every: Iterable[Names], template: str) -> dict[Names, str]:
    """Raw names -> the id of the default collection that their jobs would get now. For those who only ask: nothing is
    taken, so that somebody else may be first."""
    would_own = default_ids.would_own(conn, {names: default_collection_id(names, template) for names in every})
    moved = known_collections.moved(conn, would_own.values())
    return {names: moved.get(id, id) for names, id in would_own.items()}


def names_of(job: Job) -> Names:
    """The raw names that the id of a job's default collection is made of."""
    return (job.username, job.algorithm, job.version, job.tag)


def requested(collection: str | None) -> str | None:
    """The key of `DecidedJob.decisions` for what an item asks for: an empty id asks for nothing."""
    return collection or None


def _requested(read: ReadJob) -> list[str | None]:
    """What the items of a job ask for, each once, in their order."""
    return list(dict.fromkeys(requested(item.requested_collection) for item in read.items)) or [None]


def _default_collections(reads: Sequence[ReadJob], settings: Settings, conn: Connection) -> dict[Names, str]:
    """Names -> the id of their default collection, for all jobs of a batch; where the items of one were moved, the id
    that they were moved to."""
    every = {names_of(read.job) for read in reads if read.job is not None}
    template = settings.default_collection_template
    owned = default_ids.own_all(conn, {names: default_collection_id(names, template) for names in every})
    moved = known_collections.moved(conn, owned.values())
    return {names: moved.get(id, id) for names, id in owned.items()}
