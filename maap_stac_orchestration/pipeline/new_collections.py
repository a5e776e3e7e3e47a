"""What costs readers their locks, in short transactions before a load: collections and their partitions.

Here belongs making collections that are missing, and partitions as wide as what is about to come. Not here: who may
have a collection (`governance`), what it says of itself (`pgstac.description`), and the items (`write`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from maap_stac_orchestration.governance.decision import Outcome
from maap_stac_orchestration.governance.default_collection import default_collection_id
from maap_stac_orchestration.ledger import collections as known_collections
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.pgstac.collections import create_missing, existing_ids, extent_of
from maap_stac_orchestration.pgstac.description import NewCollection
from maap_stac_orchestration.pgstac.items import Document, lock_writers, prepare_partition, try_lock_writers, unprepared
from maap_stac_orchestration.pipeline.decide import names_of
from maap_stac_orchestration.pipeline.describe import note_creation
from maap_stac_orchestration.pipeline.lease import Lease
from maap_stac_orchestration.pipeline.patience import persistently
from maap_stac_orchestration.pipeline.plan import Candidate, Plan, candidates_by_collection, decision_of, oldest_of
from maap_stac_orchestration.problems import Code, Problem
from maap_stac_orchestration.settings import Settings

#: After how long the readers that are locked out while partitions are made have their turn, seconds. Making one takes
#: some 25 ms, so it is less than half more than that.
_LOCKED_OUT = 0.1


class CollectionNameTaken(Exception):
    """Between decision and loading somebody made a collection whose id differs in upper and lower case only."""


class CollectionGone(Exception):
    """A collection was deleted, or items were moved, since the last look; what is to be done is planned anew."""


def create_collections(plans: Sequence[Plan], conn: Connection, settings: Settings, lease: Lease) -> dict[str, Problem]:
    """Creates the collections that are missing, and brings all partitions to the times of what is about to come.

    Returns:
        Id -> why there cannot be such a collection.

    Raises:
        CollectionGone: one was deleted a moment ago.
    """
    by_collection = candidates_by_collection(plans)
    if not by_collection:
        return {}
    lease.check()
    there = {id.lower(): id for id in existing_ids(conn, by_collection)}
    conn.commit()
    missing = {id: by_collection[id] for id in sorted(by_collection) if there.get(id.lower()) != id}
    taken: dict[str, Problem] = {}
    for id in missing:
        if other := there.get(id.lower()):
            # No decision checks default collections for that, since nobody chose their ids.
            if any(decision_of(candidate).outcome is Outcome.ACCEPT for candidate in missing[id]):
                raise CollectionNameTaken(_made_meanwhile(id, other))
            taken[id] = Problem(Code.NAME_CONFLICT, id, f"The existing one is {other}.")
    if missing:
        with conn.transaction():
            for id in [id for id in missing if id not in taken]:
                first = oldest_of(missing[id])
                try:
                    with conn.transaction():
                        known_collections.register(
                            conn, id, owner=first.username, job_id=first.plan.decided.read.claim.job_id
                        )
                except known_collections.CollectionDeleted as error:
                    raise CollectionGone(str(error)) from error
                except known_collections.CollectionIdTaken as error:
                    taken[id] = Problem(Code.NAME_CONFLICT, id, str(error))
            creation = create_missing(
                conn, [_new_collection(id, missing[id], settings) for id in missing if id not in taken]
            )
            for new in creation.created:
                note_creation(conn, new, oldest_of(missing[new.id]).order[0])
            for id, other in creation.taken.items():
                raise CollectionNameTaken(_made_meanwhile(id, other))
    documents = {
        collection: [candidate.item.outline for candidate in candidates]
        for collection, candidates in by_collection.items()
        if collection not in taken
    }
    waiting = unprepared(conn, documents)
    conn.commit()
    while waiting:
        lease.check()

        def prepare(waiting: Sequence[str] = waiting) -> int:
            return _prepare_some(conn, waiting, documents)

        waiting = waiting[persistently(prepare, f"preparing the collection {waiting[0]} and the next ones") :]
    return taken


def _prepare_some(conn: Connection, collections: Sequence[str], documents: Mapping[str, Sequence[Document]]) -> int:
    """Prepares partitions one after the other, until readers have been locked out long enough; gives how many."""
    began = time.monotonic()
    with conn.transaction():
        for number, collection in enumerate(collections, 1):
            try:
                # Who waits for another writer while readers are locked out may wait for somebody who waits to read.
                lock_standing(conn, [collection], wait=number == 1)
            except WritersBusy:
                return number - 1
            prepare_partition(conn, collection, documents[collection])
            if time.monotonic() - began > _LOCKED_OUT:
                return number
    return len(collections)


class WritersBusy(Exception):
    """Another one writes to one of the collections at the moment."""


def lock_standing(
    conn: Connection, collections: Iterable[str], others: Iterable[str] = (), *, wait: bool = True
) -> None:
    """Makes this transaction the one writer of collections, which whoever deletes or moves one is too, and of others,
    which need not be there any more.

    Raises:
        CollectionGone: one is not there any more.
        WritersBusy: another one writes to one of them, which is waited for unless `wait` is False.
    """
    wanted = sorted(collections)
    if wait:
        lock_writers(conn, [*wanted, *others])
    elif not try_lock_writers(conn, [*wanted, *others]):
        raise WritersBusy
    for stone in known_collections.tombstones(conn, wanted).values():
        raise CollectionGone(stone.sentence)


def _made_meanwhile(collection: str, other: str) -> str:
    return (
        f"The collection {collection} cannot be created, because there is {other} since a moment ago. "
        "The jobs are decided anew when they are tried again."
    )


def _new_collection(id: str, candidates: Sequence[Candidate], settings: Settings) -> NewCollection:
    """What a new collection is like: by the job that comes first, whose user is its owner."""
    return as_made_by(oldest_of(candidates), extent_of([candidate.item.outline for candidate in candidates]), settings)


def as_made_by(candidate: Candidate, extent: Mapping[str, Any], settings: Settings) -> NewCollection:
    """The candidate's collection as its job would have it made."""
    decision = decision_of(candidate)
    job, read = candidate.plan.job, candidate.plan.decided.read
    assert job is not None
    default = decision.outcome is not Outcome.ACCEPT
    # The names that the template of default ids uses; jobs that differ in the others share the collection.
    owner = default_collection_id(names_of(job), settings.default_collection_template).owner
    return NewCollection(
        id=candidate.collection,
        username=job.username,
        algorithm=owner.algorithm_name if default else job.algorithm,
        version=owner.algorithm_version if default else job.version,
        tag=owner.tag if default else job.tag,
        default=default,
        extent=extent,
        creation=decision.creation or {},
        # While a job waits, a second document may still come, and then neither counts.
        own=() if read.awaiting else read.collections,
    )
