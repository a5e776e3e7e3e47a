"""Which collections this system made, for whom, which need upkeep, and which are gone.

Here belongs who owns a collection, which of its words nobody has touched, when it changed, and that its id stays taken
once it is deleted. Not here: the collections themselves (`pgstac`), and who may do what with them (`governance`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from maap_stac_orchestration.ledger import id_moves
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import KnownCollection, timestamp
from maap_stac_orchestration.ledger.texts import storable

_log = logging.getLogger(__name__)

_REGISTER = """
INSERT INTO ledger.collection (id, owner, job_id) VALUES (%(id)s, %(owner)s, %(job)s) ON CONFLICT DO NOTHING
"""

_BUT_FOR_CASE = """
SELECT id, deleted_at, deleted_by, moved_to FROM ledger.collection WHERE lower(id) = lower(%(id)s)
"""

_DELETED = """
SELECT DISTINCT wanted.id, collection.id, collection.deleted_at, collection.deleted_by, collection.moved_to
FROM unnest(%(ids)s::text[]) AS wanted (id)
JOIN ledger.collection ON lower(collection.id) = lower(wanted.id)
WHERE collection.deleted_at IS NOT NULL
ORDER BY wanted.id
"""

_DELETE = """
INSERT INTO ledger.collection (id, deleted_at, deleted_by, moved_to)
VALUES (%(id)s, clock_timestamp(), %(by)s, %(moved_to)s)
ON CONFLICT (id) DO UPDATE SET
    deleted_at = excluded.deleted_at, deleted_by = excluded.deleted_by, moved_to = excluded.moved_to
WHERE collection.deleted_at IS NULL
"""

_OWNER = "SELECT owner FROM ledger.collection WHERE id = %(id)s AND deleted_at IS NULL"

_TRANSFER = """
UPDATE ledger.collection SET owner = %(owner)s
FROM (
    SELECT id, owner FROM ledger.collection WHERE id = %(id)s AND deleted_at IS NULL FOR NO KEY UPDATE
) AS before
WHERE collection.id = before.id
RETURNING before.owner
"""

_LOCK = """
SELECT owner, described, described_by
FROM ledger.collection
WHERE id = %(id)s AND deleted_at IS NULL
FOR NO KEY UPDATE
"""

_DESCRIBE = """
UPDATE ledger.collection SET described = %(described)s, described_by = %(by)s
WHERE id = %(id)s AND (described, described_by) IS DISTINCT FROM (%(described)s, %(by)s::timestamptz)
"""

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
WHERE collection.changed_at > coalesce(collection.refreshed_at, '-infinity') AND collection.deleted_at IS NULL
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
WHERE collection.id = ANY (%(ids)s) AND collection.deleted_at IS NULL
ORDER BY collection.id
"""


class CollectionIdTaken(Exception):
    """Another collection has this id but for upper and lower case; the message names both."""


class CollectionDeleted(CollectionIdTaken):
    """A collection of this id was deleted, and its id stays taken; the message says when and by whom."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What stays of a deleted collection."""

    #: As it was spelled.
    id: str
    #: UTC.
    deleted_at: datetime
    #: Who deleted it.
    deleted_by: str
    #: The id of the collection that its items were moved to, None where they went with it.
    moved_to: str | None

    @property
    def sentence(self) -> str:
        """What became of it, for a person."""
        if self.moved_to is not None:
            return f"The items of {self.id} were moved to {self.moved_to} by {self.deleted_by} on {self._when}."
        return f"{self.id} was deleted by {self.deleted_by} on {self._when}, and ids of deleted collections stay taken."

    @property
    def _when(self) -> str:
        return timestamp(self.deleted_at.replace(microsecond=0))


@dataclass(frozen=True, slots=True)
class Described:
    """Whose a collection is, and what of its document was written without a person's doing."""

    #: None where it was there before this system.
    owner: str | None
    #: Field -> value as it was written. What differs from it in pgstac, or is not among it, a curator wrote.
    fields: Mapping[str, Any]
    #: The time of the job whose own document they come from, UTC; None where there was none.
    by: datetime | None


def register(conn: Connection, collection: str, *, owner: str | None, job_id: int | None) -> bool:
    """Writes down a collection that is being made; False when it was known already.

    Waits for another one who is just registering the same id. A default collection whose items were moved to another
    one is made again for its owner, as new.

    Raises:
        CollectionIdTaken: see there.
        CollectionDeleted: see there.
    """
    if conn.execute(_REGISTER, {"id": collection, "owner": owner, "job": job_id}).rowcount:
        return True
    # The unique index lets there be one.
    for id, deleted_at, deleted_by, moved_to in conn.execute(_BUT_FOR_CASE, {"id": collection}):
        if id == collection and id_moves.revive(conn, id):
            return True
        if deleted_at is not None:
            what = Tombstone(id, deleted_at, deleted_by, moved_to).sentence
            raise CollectionDeleted(f"The collection {collection} cannot be made. {what} Choose another id.")
        if id != collection:
            raise CollectionIdTaken(
                f"The collection {collection} cannot be made, because {id} is there, which differs from it in upper "
                "and lower case only. Use that id as it is written, or choose another."
            )
    return False


def tombstones(conn: Connection, ids: Iterable[str]) -> dict[str, Tombstone]:
    """Those of these ids that equal a deleted collection's but for case, each with what stays of that collection."""
    wanted = sorted({id for id in ids if storable(id, len(id)) == id})
    if not wanted:
        return {}
    return {row[0]: Tombstone(*row[1:]) for row in conn.execute(_DELETED, {"ids": wanted})}


def moved(conn: Connection, ids: Iterable[str]) -> dict[str, str]:
    """Those of these ids whose items were moved -> the id of the collection that they are in now."""
    targets: dict[str, str] = {}
    looking = {id: id for id in ids}
    # A collection may have been moved more than once; a circle would have no collection in it.
    passed: set[str] = set()
    while looking:
        stones = tombstones(conn, looking.values())
        passed |= stones.keys()
        further = {
            id: stones[at].moved_to for id, at in looking.items() if at in stones and stones[at].moved_to is not None
        }
        looking = {id: to for id, to in further.items() if to is not None and to not in passed}
        targets |= looking
    return targets


def deleted_ids(conn: Connection, ids: Iterable[str]) -> list[str]:
    """The ids, as they were spelled, of all deleted collections that equal one of these but for case."""
    return sorted({one.id for one in tombstones(conn, ids).values()})


def delete(conn: Connection, collection: str, *, by: str, moved_to: str | None = None) -> bool:
    """Notes that a collection is gone, so that its id stays taken; False when that was noted before.

    For the transaction that deletes it from pgstac. One that the ledger did not know is noted too.

    Args:
        conn: that transaction's connection.
        collection: its id.
        by: who deletes it.
        moved_to: the id of the collection that its items are in from now on.
    """
    noted = {"id": collection, "by": storable(by), "moved_to": moved_to}
    return conn.execute(_DELETE, noted).rowcount > 0


def owner_of(conn: Connection, collection: str) -> str | None:
    """The user whose collection it is; None where nobody's, or there is no such collection."""
    row = conn.execute(_OWNER, {"id": collection}).fetchone()
    return None if row is None else row[0]


def transfer(conn: Connection, collection: str, owner: str) -> str | None:
    """Gives a collection another owner, and tells the one before.

    Raises:
        LookupError: the ledger knows no such collection, or it is deleted.
    """
    row = conn.execute(_TRANSFER, {"id": collection, "owner": storable(owner)}).fetchone()
    if row is None:
        raise LookupError(f"The ledger knows no collection {collection}; register it first.")
    before: str | None = row[0]
    return before


def lock(conn: Connection, collection: str) -> Described | None:
    """Makes this transaction the only one that describes, transfers or deletes a collection; None where there is none.

    Whoever writes its document in pgstac locks here first and there second.
    """
    row = conn.execute(_LOCK, {"id": collection}).fetchone()
    return None if row is None else Described(*row)


def describe(conn: Connection, collection: str, fields: Mapping[str, Any], by: datetime | None) -> bool:
    """Notes what of its document was written without a person's doing; see `Described`. False where that was noted."""
    noted = {"id": collection, "described": Jsonb(dict(fields)), "by": by}
    return conn.execute(_DESCRIBE, noted).rowcount > 0


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
