"""Writing down that jobs were claimed, for every way of claiming them.

Here belongs what a claim leaves: the jobs' history, the batch, and the jobs as a run is given them. Not here: which
jobs are taken (`claims`, `claims_by_prefix`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from uuid import uuid4

from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import Batch, ClaimedJob

#: The end of each statement that claims: it goes on from `taken (id, attempts)`.
NOTED = """,
noted AS (
    INSERT INTO ledger.transition (job_id, state, run_id, attempt, reason)
    SELECT id, 'ingesting', %(run_id)s, attempts, %(reason)s::text
    FROM taken
    ORDER BY id
)
SELECT count(*) FROM taken
"""

_BATCH = """
INSERT INTO ledger.batch (id, run_id, day, jobs) VALUES (%(batch)s, %(run_id)s, %(day)s, %(jobs)s)
"""

# The newest version of each catalog of the batch's jobs, in the order in which the jobs were due.
_CLAIMED = """
SELECT
    job.id, job.bucket, job.prefix, current.catalogs, job.catalog_modified, job.attempts, job.generation,
    job.wait_until, job.day
FROM ledger.job
CROSS JOIN LATERAL (
    SELECT coalesce(jsonb_object_agg(version.key, version.etag), '{}') AS catalogs
    FROM (
        SELECT DISTINCT ON (catalog.key) catalog.key, catalog.etag
        FROM ledger.catalog
        WHERE catalog.job_id = job.id
        ORDER BY catalog.key, catalog.last_modified DESC, catalog.id DESC
    ) AS version
) AS current
WHERE job.batch_id = %(batch)s AND job.state = 'ingesting'
ORDER BY job.priority, job.job_time, job.id
"""


def note_batch(conn: Connection, statement: str, parameters: Mapping[str, object]) -> Batch:
    """Claims jobs of one day as a new batch, in the caller's transaction.

    Args:
        conn: the database.
        statement: the common table expressions that claim them, the last of which is `taken (id, attempts)`.
        parameters: their own, with `run_id` and, for the jobs' history, `reason`; `batch` is added.
    """
    batch_id, run_id = str(uuid4()), str(parameters["run_id"])
    row = conn.execute(statement + NOTED, {**parameters, "batch": batch_id}).fetchone()
    assert row is not None
    (jobs,) = row
    if not jobs:
        return Batch(batch_id, run_id, ())
    claimed = conn.execute(_CLAIMED, {"batch": batch_id}).fetchall()
    day: date = claimed[0][-1]
    conn.execute(_BATCH, {"batch": batch_id, "run_id": run_id, "day": day, "jobs": jobs})
    return Batch(batch_id, run_id, tuple(ClaimedJob(*values) for *values, _ in claimed))
