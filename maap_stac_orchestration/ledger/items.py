"""Which job wrote which item last, from which document, with what content.

Here belongs ownership and lineage of items. Not here: the items themselves (`pgstac`), and what became of each item of
a job, which stands with the job (`outcomes`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import islice

from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import KnownItem

#: Rows that are written at once.
CHUNK = 10_000

_KNOWN = """
SELECT
    collection, id, job_id, username, job_time, catalog_modified, content_hash, source_key, source_etag, source_sha256,
    run_id
FROM ledger.item
WHERE collection = %(collection)s AND id = ANY (%(ids)s)
"""

# By the primary key, one look for each pair.
_KNOWN_IN = """
SELECT
    item.collection, item.id, job_id, username, job_time, catalog_modified, content_hash, source_key, source_etag,
    source_sha256, run_id
FROM unnest(%(collections)s::text[], %(ids)s::text[]) AS wanted (collection, id)
JOIN ledger.item ON item.collection = wanted.collection AND item.id = wanted.id
"""

# In one order, so that two who write the same items wait for one another instead of for ever.
_WRITE = """
INSERT INTO ledger.item (
    collection, id, job_id, username, job_time, catalog_modified, content_hash, source_key, source_etag, source_sha256,
    run_id
)
SELECT * FROM unnest(
    %(collection)s::text[], %(id)s::text[], %(job_id)s::bigint[], %(username)s::text[], %(job_time)s::timestamptz[],
    %(catalog_modified)s::timestamptz[], %(content_hash)s::text[], %(source_key)s::text[], %(source_etag)s::text[],
    %(source_sha256)s::text[], %(run_id)s::text[]
) AS w (collection, id)
ORDER BY w.collection, w.id
ON CONFLICT (collection, id) DO UPDATE SET
    job_id = excluded.job_id,
    username = excluded.username,
    job_time = excluded.job_time,
    catalog_modified = excluded.catalog_modified,
    content_hash = excluded.content_hash,
    source_key = excluded.source_key,
    source_etag = excluded.source_etag,
    source_sha256 = excluded.source_sha256,
    run_id = excluded.run_id,
    written_at = clock_timestamp()
"""

_COLUMNS = (
    *("collection", "id", "job_id", "username", "job_time", "catalog_modified", "content_hash"),
    *("source_key", "source_etag", "source_sha256", "run_id"),
)


def known(conn: Connection, collection: str, ids: Sequence[str]) -> dict[str, KnownItem]:
    """Who wrote these items of a collection; ids that nobody wrote are not in it."""
    if not ids:
        return {}
    found = conn.execute(_KNOWN, {"collection": collection, "ids": list(ids)})
    return {row[1]: KnownItem(*row) for row in found}


def known_in(conn: Connection, places: Collection[tuple[str, str]]) -> dict[tuple[str, str], KnownItem]:
    """Who wrote the items of these pairs of a collection and an id; what nobody wrote is not in it."""
    if not places:
        return {}
    asked = {"collections": [collection for collection, _ in places], "ids": [id for _, id in places]}
    return {(row[0], row[1]): KnownItem(*row) for row in conn.execute(_KNOWN_IN, asked)}


def write(conn: Connection, rows: Iterable[KnownItem]) -> int:
    """Writes down who wrote items now; overwrites who did before. Returns the number of rows.

    Of several rows for one item the last one counts.
    """
    written = 0
    iterator = iter(rows)
    while chunk := list(islice(iterator, CHUNK)):
        last = {(row.collection, row.id): row for row in chunk}
        conn.execute(_WRITE, {column: [getattr(row, column) for row in last.values()] for column in _COLUMNS})
        written += len(last)
    return written
