"""Which collections this system made, for whom, and which need upkeep.

Here belongs who owns a collection and when it changed. Not here: the collections themselves (`pgstac`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime

from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import KnownCollection

_log = logging.getLogger(__name__)

_REGISTER = """
INSERT INTO ledger.collection (id, owner, job_id) VALUES (%(id)s, %(owner)s, %(job)s) ON CONFLICT DO NOTHING
"""

_BUT_FOR_CASE = "SELECT id FROM ledger.collection WHERE lower(id) = lower(%(id)s)"

# Those that were there before this system, and whose id no other one has but for case.
_ADOPT = """
INSERT INTO ledger.collection (id)
SELECT wanted.id
FROM unnest(%(ids)s::text[]) AS wanted (id)
WHERE NOT EXISTS (SELECT FROM ledger.collection AS known WHERE known.id = wanted.id)
ORDER BY wanted.id
ON CONFLICT DO NOTHING
"""

# Never back in time, or upkeep that is under way would count as covering this change.
_CHANGED = """
WITH wanted AS (
    SELECT id FROM ledger.collection WHERE id = ANY (%(ids)s) ORDER BY id FOR NO KEY UPDATE
)
UPDATE ledger.collection
SET changed_at = greatest(clock_timestamp(), collection.changed_at + interval '1 microsecond')
FROM wanted
WHERE collection.id = wanted.id
RETURNING collection.id
"""

_TO_REFRESH = """
SELECT collection.id, collection.owner, job.prefix, collection.created_at, collection.changed_at,
    collection.refreshed_at
FROM ledger.collection
LEFT JOIN ledger.job ON job.id = collection.job_id
WHERE collection.changed_at > coalesce(collection.refreshed_at, '-infinity')
ORDER BY collection.changed_at, collection.id
LIMIT %(limit)s
"""

_REFRESHED = """
UPDATE ledger.collection SET refreshed_at = greatest(refreshed_at, %(as_of)s) WHERE id = %(id)s
"""

_FIND = """
SELECT collection.id, collection.owner, job.prefix, collection.created_at, collection.changed_at,
    collection.refreshed_at
FROM ledger.collection
LEFT JOIN ledger.job ON job.id = collection.job_id
WHERE collection.id = ANY (%(ids)s)
ORDER BY collection.id
"""


class CollectionIdTaken(Exception):
    """Another collection has this id but for upper and lower case; the message names both."""


def register(conn: Connection, collection: str, *, owner: str | None, job_id: int | None) -> bool:
    """Writes down a collection that is being made; False when it was known already.

    Waits for another one who is just registering the same id.

    Raises:
        CollectionIdTaken: see there.
    """
    if conn.execute(_REGISTER, {"id": collection, "owner": owner, "job": job_id}).rowcount:
        return True
    there = [id for (id,) in conn.execute(_BUT_FOR_CASE, {"id": collection})]
    if there and collection not in there:
        raise CollectionIdTaken(
            f"The collection {collection} cannot be made, because {there[0]} is or was there, which differs from it "
            "in upper and lower case only. Use that id as it is written, or choose another."
        )
    return False


def changed(conn: Connection, collections: Iterable[str]) -> None:
    """Notes that items were written to collections, registering those that were not known, without an owner.

    A collection that was there before this system, and whose id differs from a known one in case only, cannot be
    registered; it gets no upkeep, and the log says so.
    """
    ids = sorted(set(collections))
    if not ids:
        return
    conn.execute(_ADOPT, {"ids": ids})
    noted = {id for (id,) in conn.execute(_CHANGED, {"ids": ids})}
    for id in ids:
        if id not in noted:
            _log.warning(
                "The collection %s gets no upkeep, because the ledger knows one whose id differs in case only.", id
            )


def to_refresh(conn: Connection, limit: int = 100) -> list[KnownCollection]:
    """Collections that changed since they were refreshed, longest waiting first."""
    return [KnownCollection(*row) for row in conn.execute(_TO_REFRESH, {"limit": limit})]


def refreshed(conn: Connection, collection: str, as_of: datetime) -> None:
    """Notes that a collection's upkeep covers all changes up to `as_of` (its `changed_at` when the upkeep began)."""
    conn.execute(_REFRESHED, {"id": collection, "as_of": as_of})


def find(conn: Connection, collections: Iterable[str]) -> dict[str, KnownCollection]:
    """What is known of these collections."""
    ids = sorted(set(collections))
    if not ids:
        return {}
    return {row[0]: KnownCollection(*row) for row in conn.execute(_FIND, {"ids": ids})}
