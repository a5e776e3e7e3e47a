"""Moving items from default collections to others in the ledger, when the template of default ids changes.

Here belongs which raw names stand behind the items of a default collection, and what has to follow an item in the
ledger when it moves. Not here: which item goes where (`pipeline.migrate_ids`), and the items themselves (`pgstac`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from psycopg import errors

from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.texts import LONGEST_NAME


class RawNames(NamedTuple):
    """Username, algorithm, version and tag of a job, as the ledger has them."""

    username: str
    algorithm: str
    version: str
    tag: str | None

    @property
    def complete(self) -> bool:
        """Whether none of them was cut to fit into the ledger: a cut name gives another id than the job's own."""
        return all(len(name) < LONGEST_NAME for name in self if name is not None)


@dataclass(frozen=True, slots=True)
class DefaultCollection:
    """A default collection and whose it is."""

    id: str
    #: Empty or None where the template that made the id does not use the name.
    owner: RawNames

    def holds(self, names: RawNames) -> bool:
        """Whether outputs of jobs of these names go there by themselves; others need a grant that names the id."""
        owner = self.owner
        return (
            names.username == owner.username
            and owner.algorithm in ("", names.algorithm)
            and owner.version in ("", names.version)
            and owner.tag in (None, names.tag)
        )


@dataclass(frozen=True, slots=True)
class WrittenItem:
    """An item of which the ledger knows who wrote it."""

    id: str
    #: Of its job; None where that is no longer known.
    names: RawNames | None
    content_hash: str
    source_key: str


@dataclass(frozen=True, slots=True)
class Origin:
    """What a collection that takes over another one's items takes over from its row."""

    owner: str | None
    job_id: int | None
    #: See `ledger.collection.described`.
    described: Mapping[str, Any]
    described_by: datetime | None


_PATIENCE = "SELECT set_config('lock_timeout', %(patience)s, true)"

# A lock of the session, since a migration is many transactions.
_ALONE = "SELECT pg_advisory_lock(hashtextextended('maap-stac migration of default ids', 0))"

_NOT_ALONE = "SELECT pg_advisory_unlock(hashtextextended('maap-stac migration of default ids', 0))"

_DEFAULT_COLLECTIONS = "SELECT id, username, algorithm, version, tag FROM ledger.default_collection ORDER BY id"

# Reads the ledger's items once: some seconds for a million.
_NAMES_BY_COLLECTION = """
SELECT DISTINCT item.collection, job.username, job.algorithm, job.version, job.tag
FROM ledger.default_collection
JOIN ledger.item ON item.collection = default_collection.id
JOIN ledger.job ON job.id = item.job_id
"""

_NAMES_OF_JOBS = """
SELECT DISTINCT job.username, job.algorithm, job.version, job.tag
FROM ledger.job_collection
JOIN ledger.job ON job.id = job_collection.job_id
WHERE job_collection.collection = %(collection)s
"""

_WRITTEN = """
SELECT item.id, job.username, job.algorithm, job.version, job.tag, item.content_hash, item.source_key
FROM ledger.item
LEFT JOIN ledger.job ON job.id = item.job_id
WHERE item.collection = %(collection)s AND item.id = ANY (%(ids)s)
"""

# Through the primary key, collection by collection; ids that stand in one of them only are not handed out.
_CONTESTED = """
WITH coming AS (
    SELECT
        item.id, item.collection, item.job_time, item.catalog_modified, item.source_key,
        count(*) OVER (PARTITION BY item.id) AS rivals
    FROM unnest(
        %(collection)s::text[], %(username)s::text[], %(algorithm)s::text[], %(version)s::text[], %(tag)s::text[]
    ) AS source (collection, username, algorithm, version, tag)
    JOIN ledger.item ON item.collection = source.collection
    JOIN ledger.job
        ON job.id = item.job_id
        AND (job.username, job.algorithm, job.version) = (source.username, source.algorithm, source.version)
        AND job.tag IS NOT DISTINCT FROM source.tag
)
SELECT DISTINCT ON (id) id, collection
FROM coming
WHERE rivals > 1
ORDER BY id, job_time DESC, catalog_modified DESC, source_key DESC, collection DESC
"""

_ORIGIN = "SELECT owner, job_id, described, described_by FROM ledger.collection WHERE id = %(id)s"

# Its tombstone is that of a move where both have the same time; one that a person set stays.
_MOVED = """
SELECT id
FROM ledger.collection
WHERE id = ANY (%(ids)s)
    AND deleted_at IS NOT NULL
    AND EXISTS (
        SELECT FROM ledger.id_move WHERE id_move.source = collection.id AND finished_at = collection.deleted_at
    )
ORDER BY id
"""

_REVIVE = """
UPDATE ledger.collection
SET deleted_at = NULL, deleted_by = NULL, moved_to = NULL
WHERE id = %(id)s
    AND deleted_at IS NOT NULL
    AND EXISTS (
        SELECT FROM ledger.id_move WHERE id_move.source = collection.id AND finished_at = collection.deleted_at
    )
"""

# A row of the target whose item is no longer in pgstac would be in the way.
_FORGET_ITEMS = "DELETE FROM ledger.item WHERE collection = %(collection)s AND id = ANY (%(ids)s)"

# They are of a collection that is empty.
_FORGET_ALL = "DELETE FROM ledger.item WHERE collection = %(collection)s"

_MOVE_ITEMS = """
UPDATE ledger.item SET collection = %(target)s WHERE collection = %(source)s AND id = ANY (%(ids)s)
"""

_COUNT = """
INSERT INTO ledger.id_move (source, target, items) VALUES (%(source)s, %(target)s, %(items)s)
ON CONFLICT (source, target) WHERE finished_at IS NULL DO UPDATE SET items = id_move.items + excluded.items
"""

_UNDER_WAY = """
SELECT source, target, items FROM ledger.id_move WHERE finished_at IS NULL ORDER BY source, target
"""

_FINISHED = """
UPDATE ledger.id_move
SET finished_at = coalesce(
    (SELECT deleted_at FROM ledger.collection WHERE collection.id = id_move.source), clock_timestamp()
)
WHERE source = %(source)s AND finished_at IS NULL
"""

_JOBS = """
SELECT job_id
FROM ledger.job_collection
WHERE collection = %(collection)s AND job_id > %(after)s
ORDER BY job_id
LIMIT %(limit)s
"""

# In the order of their numbers, in which all that lock several jobs lock them.
_LOCK_JOBS = """
SELECT id, username, algorithm, version, tag
FROM ledger.job
WHERE id = ANY (%(ids)s)
ORDER BY id
FOR NO KEY UPDATE
"""

# Where jobs of the same names have their items now.
_FOLLOW = """
UPDATE ledger.job_item SET collection = going.target
FROM unnest(%(job)s::bigint[], %(target)s::text[]) AS going (job_id, target)
WHERE job_item.job_id = going.job_id
    AND job_item.collection = %(source)s
    AND EXISTS (SELECT FROM ledger.item WHERE item.collection = going.target AND item.id = job_item.item_id)
    AND NOT EXISTS (SELECT FROM ledger.item WHERE item.collection = %(source)s AND item.id = job_item.item_id)
"""

# What another job wrote after them, and what went with that one.
_FOLLOW_OTHERS = """
UPDATE ledger.job_item SET collection = now_in.collection
FROM (
    SELECT job_item.job_id, job_item.position, min(item.collection) AS collection
    FROM ledger.job_item
    JOIN ledger.item ON item.collection = ANY (%(targets)s) AND item.id = job_item.item_id
    WHERE job_item.job_id = ANY (%(ids)s)
        AND job_item.collection = %(source)s
        AND NOT EXISTS (
            SELECT FROM ledger.item AS still WHERE still.collection = %(source)s AND still.id = job_item.item_id
        )
    GROUP BY job_item.job_id, job_item.position
) AS now_in
WHERE job_item.job_id = now_in.job_id AND job_item.position = now_in.position
"""

_JOB_COLLECTIONS = """
UPDATE ledger.job SET collections = coalesce(holding.collections, '{}'), updated_at = now()
FROM unnest(%(ids)s::bigint[]) AS wanted (id)
LEFT JOIN (
    SELECT job_id, array_agg(DISTINCT collection ORDER BY collection) AS collections
    FROM ledger.job_item
    WHERE job_id = ANY (%(ids)s) AND result <> 'refused' AND collection IS NOT NULL
    GROUP BY job_id
) AS holding ON holding.job_id = wanted.id
WHERE job.id = wanted.id AND job.collections IS DISTINCT FROM coalesce(holding.collections, '{}')
"""

_FORGET_JOB_COLLECTIONS = """
DELETE FROM ledger.job_collection
USING ledger.job
WHERE job_collection.job_id = ANY (%(ids)s)
    AND job.id = job_collection.job_id
    AND job_collection.collection <> ALL (job.collections)
"""

_ADD_JOB_COLLECTIONS = """
INSERT INTO ledger.job_collection (collection, job_time, job_id, submission)
SELECT held.collection, job.job_time, job.id, job.submission
FROM ledger.job
CROSS JOIN unnest(job.collections) AS held (collection)
WHERE job.id = ANY (%(ids)s)
ORDER BY 1, 2, 3
ON CONFLICT DO NOTHING
"""

_WAITING_FOR_UPKEEP = """
SELECT collection.id
FROM ledger.collection
JOIN ledger.default_collection USING (id)
WHERE collection.changed_at > coalesce(collection.refreshed_at, '-infinity') AND collection.deleted_at IS NULL
ORDER BY collection.id
"""


def alone(conn: Connection, patience: float) -> bool:
    """Makes this session the only one that moves items; False when another one is at it for `patience` seconds more.

    The session of a process that was killed lives a little longer than the process. Commits.
    """
    try:
        with conn.transaction():
            conn.execute(_PATIENCE, {"patience": f"{max(1, round(patience * 1000))}ms"})
            conn.execute(_ALONE)
    except errors.LockNotAvailable:
        return False
    return True


def not_alone(conn: Connection) -> None:
    """Lets others move items again; a session that ends does that too."""
    conn.execute(_NOT_ALONE)


def default_collections(conn: Connection) -> list[DefaultCollection]:
    """Every default collection that there ever was, by id."""
    return [DefaultCollection(row[0], RawNames(*row[1:])) for row in conn.execute(_DEFAULT_COLLECTIONS)]


def names_by_collection(conn: Connection) -> dict[str, set[RawNames]]:
    """Default collection -> the names of the jobs that wrote its items."""
    found: dict[str, set[RawNames]] = {}
    for collection, *names in conn.execute(_NAMES_BY_COLLECTION):
        found.setdefault(collection, set()).add(RawNames(*names))
    return found


def names_of_jobs(conn: Connection, collection: str) -> set[RawNames]:
    """The names of all jobs that have, or had, items in a collection."""
    return {RawNames(*row) for row in conn.execute(_NAMES_OF_JOBS, {"collection": collection})}


def written(conn: Connection, collection: str, ids: Sequence[str]) -> dict[str, WrittenItem]:
    """Who wrote these items of a collection; those of which the ledger knows nothing are not in it."""
    found = conn.execute(_WRITTEN, {"collection": collection, "ids": list(ids)})
    return {
        id: WrittenItem(id, None if names[0] is None else RawNames(*names), hashed, source_key)
        for id, *names, hashed, source_key in found
    }


def contested(conn: Connection, sources: Iterable[tuple[str, RawNames]]) -> dict[str, str]:
    """Ids of items that come from several of these collections into one -> the collection of the newest of them.

    Args:
        conn: an open connection.
        sources: collection and names of the jobs whose items in it are coming.
    """
    rows = list(sources)
    found = conn.execute(
        _CONTESTED,
        {
            "collection": [collection for collection, _ in rows],
            "username": [names.username for _, names in rows],
            "algorithm": [names.algorithm for _, names in rows],
            "version": [names.version for _, names in rows],
            "tag": [names.tag for _, names in rows],
        },
    )
    return dict(found.fetchall())


def origin(conn: Connection, collection: str) -> Origin:
    """What the ledger says of a collection, deleted or not; nothing where it does not know it."""
    row = conn.execute(_ORIGIN, {"id": collection}).fetchone()
    return Origin(None, None, {}, None) if row is None else Origin(*row)


def moved(conn: Connection, collections: Iterable[str]) -> set[str]:
    """Those of these collections that are gone because all their items were moved, and by nobody's wish."""
    return {id for (id,) in conn.execute(_MOVED, {"ids": sorted(set(collections))})}


def revive(conn: Connection, collection: str) -> bool:
    """Lets a collection that is gone because its items were moved be made again; False where it is not such a one.

    Its id belongs to the same names as before, and their jobs write to it again once the template is the old one.
    """
    return conn.execute(_REVIVE, {"id": collection}).rowcount > 0


def move(conn: Connection, source: str, target: str, ids: Sequence[str]) -> None:
    """Who wrote these items is known under the other collection from now on."""
    conn.execute(_FORGET_ITEMS, {"collection": target, "ids": list(ids)})
    conn.execute(_MOVE_ITEMS, {"source": source, "target": target, "ids": list(ids)})


def forget(conn: Connection, collection: str, ids: Sequence[str]) -> None:
    """Nobody wrote these items of a collection any more."""
    conn.execute(_FORGET_ITEMS, {"collection": collection, "ids": list(ids)})


def forget_all(conn: Connection, collection: str) -> None:
    """Nobody wrote any item of this collection, which has none."""
    conn.execute(_FORGET_ALL, {"collection": collection})


def count(conn: Connection, source: str, target: str, items: int) -> None:
    """Notes that so many items went from one collection to the other, and that the source is not finished."""
    conn.execute(_COUNT, {"source": source, "target": target, "items": items})


def under_way(conn: Connection) -> dict[str, dict[str, int]]:
    """Sources that are not finished -> target -> items that went there so far."""
    found: dict[str, dict[str, int]] = {}
    for source, target, items in conn.execute(_UNDER_WAY):
        found.setdefault(source, {})[target] = items
    return found


def finished(conn: Connection, source: str) -> None:
    """Notes that a source is done; after its tombstone, where it gets one."""
    conn.execute(_FINISHED, {"source": source})


def jobs_of(conn: Connection, collection: str, after: int, limit: int) -> list[int]:
    """The numbers of jobs with items in a collection, from the first one above `after` on."""
    found = conn.execute(_JOBS, {"collection": collection, "after": after, "limit": limit})
    return [number for (number,) in found]


def lock_jobs(conn: Connection, ids: Sequence[int]) -> dict[int, RawNames]:
    """Keeps others from changing these jobs until the transaction ends, and gives their names."""
    return {row[0]: RawNames(*row[1:]) for row in conn.execute(_LOCK_JOBS, {"ids": list(ids)})}


def follow(
    conn: Connection, source: str, targets: Mapping[int, str], jobs: Sequence[int], every: Sequence[str]
) -> None:
    """Lets jobs, which the caller has locked, say where those of their items are that left a collection.

    Args:
        conn: the connection that holds the locks.
        source: the collection that items left.
        targets: number of a job -> where items of jobs of its names went.
        jobs: the numbers of all jobs to look at.
        every: all collections that items of the source went to.
    """
    ids = list(jobs)
    conn.execute(_FOLLOW, {"job": list(targets), "target": list(targets.values()), "source": source})
    conn.execute(_FOLLOW_OTHERS, {"ids": ids, "source": source, "targets": list(every)})
    conn.execute(_JOB_COLLECTIONS, {"ids": ids})
    conn.execute(_FORGET_JOB_COLLECTIONS, {"ids": ids})
    conn.execute(_ADD_JOB_COLLECTIONS, {"ids": ids})


def waiting_for_upkeep(conn: Connection) -> list[str]:
    """Default collections that changed since their extents were computed."""
    return [id for (id,) in conn.execute(_WAITING_FOR_UPKEEP)]
