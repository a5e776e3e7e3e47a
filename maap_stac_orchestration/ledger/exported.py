"""What the ledger knows of a collection that does not stand in its document, for exports of it, and back.

Here belongs whose a collection is and which of its words nobody has touched, read without keeping anybody waiting, and
which jobs items came from. Not here: what an export looks like (`pipeline.export_layout`).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from maap_stac_orchestration.ledger.collections import Described
from maap_stac_orchestration.ledger.connection import Connection

_DESCRIBED = """
SELECT owner, described, described_by FROM ledger.collection WHERE id = %(id)s AND deleted_at IS NULL
"""

# By the unique index of the two.
_JOBS = """
SELECT job.bucket, job.prefix, job.id
FROM unnest(%(buckets)s::text[], %(prefixes)s::text[]) AS wanted (bucket, prefix)
JOIN ledger.job ON job.bucket = wanted.bucket AND job.prefix = wanted.prefix
"""


# By the beginning of the primary key.
_LAST_WRITTEN = "SELECT max(written_at) FROM ledger.item WHERE collection = %(collection)s"

_WRITTEN_SINCE = """
SELECT id FROM ledger.item
WHERE collection = %(collection)s AND id = ANY (%(ids)s)
    AND (%(moment)s::timestamptz IS NULL OR written_at > %(moment)s::timestamptz)
"""


def last_written(conn: Connection, collection: str) -> datetime | None:
    """When a job last wrote an item of a collection, UTC, by the database's clock; None where none did."""
    row = conn.execute(_LAST_WRITTEN, {"collection": collection}).fetchone()
    return None if row is None else row[0]


def written_since(conn: Connection, collection: str, ids: Collection[str], moment: datetime | None) -> set[str]:
    """Which of these items jobs wrote after a moment; all that jobs wrote where there is none."""
    asked = {"collection": collection, "ids": list(ids), "moment": moment}
    return {id for (id,) in conn.execute(_WRITTEN_SINCE, asked)}


def described(conn: Connection, collection: str) -> Described | None:
    """Whose a collection is, and what of its document was written without a person's doing; None where the ledger does
    not know it."""
    row = conn.execute(_DESCRIBED, {"id": collection}).fetchone()
    return None if row is None else Described(*row)


def job_numbers(conn: Connection, places: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """The ledger's numbers of the jobs at these pairs of a bucket and an output prefix; those it does not know are not
    in it."""
    if not places:
        return {}
    asked = {"buckets": [bucket for bucket, _ in places], "prefixes": [prefix for _, prefix in places]}
    return {(bucket, prefix): number for bucket, prefix, number in conn.execute(_JOBS, asked)}
