"""Items that a job wrote before, in whatever collections, and forgetting them there.

Here belongs where copies of a job's items may lie, which of them are still the job's, and who wrote them being
forgotten. Not here: which of them are to go (`pipeline.moved`), and moving items for a new template of default ids
(`id_moves`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from maap_stac_orchestration.ledger.arrays import array, columns
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.id_moves import DefaultCollection, RawNames


class Place(NamedTuple):
    """An item of a job in a collection."""

    #: The ledger's number.
    job_id: int
    collection: str
    item_id: str


@dataclass(frozen=True, slots=True)
class WrittenCopy:
    """An item that a job wrote, and that nobody wrote since."""

    place: Place
    #: The default collection that the place is in; None where it is another collection.
    default: DefaultCollection | None


# The trail of decisions knows all collections that a job was ever sent to, its last result only those of one reading.
# Both by indexes that begin with the job. Items that were moved by a migration are where that one took them.
_COLLECTIONS = """
WITH RECURSIVE named (job_id, collection) AS (
    (
        SELECT job.id, held.collection
        FROM ledger.job
        CROSS JOIN unnest(job.collections) AS held (collection)
        WHERE job.id = ANY (%(ids)s::bigint[])
        UNION
        SELECT job_id, collection
        FROM ledger.decision
        WHERE job_id = ANY (%(ids)s::bigint[]) AND collection IS NOT NULL
    )
    UNION
    SELECT named.job_id, id_move.target
    FROM named
    JOIN ledger.id_move ON id_move.source = named.collection
)
SELECT job_id, array_agg(collection ORDER BY collection) FROM named GROUP BY job_id
"""

# Through the primary key of items: each item is looked up in each of the few collections of its job.
_ELSEWHERE = """
SELECT item.job_id, item.collection, item.id, own.id, own.username, own.algorithm, own.version, own.tag
FROM unnest(%(job)s::bigint[], %(collection)s::text[], %(id)s::text[]) AS going (job_id, collection, id)
JOIN unnest(%(named_job)s::bigint[], %(named)s::text[]) AS named (job_id, collection)
    ON named.job_id = going.job_id AND named.collection <> going.collection
JOIN ledger.item
    ON item.collection = named.collection AND item.id = going.id AND item.job_id = going.job_id
LEFT JOIN ledger.default_collection AS own ON own.id = item.collection
ORDER BY item.collection, item.id
"""

_FORGET = """
DELETE FROM ledger.item
USING unnest(%(job)s::bigint[], %(collection)s::text[], %(id)s::text[]) AS asked (job_id, collection, id)
WHERE item.collection = asked.collection AND item.id = asked.id AND item.job_id = asked.job_id
RETURNING item.job_id, item.collection, item.id
"""


def collections_of(conn: Connection, jobs: Sequence[int]) -> dict[int, list[str]]:
    """Number of a job -> all collections that items of it may have been written to; jobs without any are not in it."""
    return dict(conn.execute(_COLLECTIONS, {"ids": array(jobs)}).fetchall()) if jobs else {}


def elsewhere(conn: Connection, going: Sequence[Place], collections: Mapping[int, Sequence[str]]) -> list[WrittenCopy]:
    """Items that their job was the last to write, and wrote elsewhere than to where they are going; by collection, id.

    Args:
        conn: an open connection.
        going: items of jobs, and the collections that they go to now.
        collections: number of a job -> the collections to look into.
    """
    named = [(job, collection) for job, some in collections.items() for collection in some]
    asked = _columns(going) | columns(("named_job", "named"), named)
    return [
        WrittenCopy(Place(*row[:3]), None if row[3] is None else DefaultCollection(row[3], RawNames(*row[4:])))
        for row in conn.execute(_ELSEWHERE, asked)
    ]


def forget(conn: Connection, places: Iterable[Place]) -> list[Place]:
    """Forgets who wrote the items in these places, where it was the job; gives those places.

    For the transaction that deletes the items, which is the one writer of their collections.
    """
    return [Place(*row) for row in conn.execute(_FORGET, _columns(places))]


def _columns(places: Iterable[Place]) -> dict[str, str]:
    return columns(("job", "collection", "id"), places)
