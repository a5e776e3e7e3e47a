"""Taking on jobs that somebody names, whether they are due or not.

Here belongs claiming by output prefix, for a person who asks for just these jobs. Not here: claiming what is due and
what a lease is (`claims`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from maap_stac_orchestration.ledger.batches import note_batch
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import Batch

#: Bucket and output prefix.
Place = tuple[str, str]

_DAYS = """
SELECT job.day, array_agg(job.bucket ORDER BY job.id), array_agg(job.prefix ORDER BY job.id)
FROM unnest(%(bucket)s::text[], %(prefix)s::text[]) AS wanted (bucket, prefix)
JOIN ledger.job USING (bucket, prefix)
GROUP BY job.day
ORDER BY job.day
"""

# A job that ended or waits begins anew, as when a new catalog came; one that is due, or whose run died, goes on
# counting its tries.
_CLAIM = """
WITH named AS (
    SELECT job.id
    FROM unnest(%(bucket)s::text[], %(prefix)s::text[]) AS wanted (bucket, prefix)
    JOIN ledger.job USING (bucket, prefix)
    WHERE NOT (job.state = 'ingesting' AND job.due_at > clock_timestamp())
    ORDER BY job.id
    FOR NO KEY UPDATE OF job SKIP LOCKED
),
taken AS (
    UPDATE ledger.job SET
        state = 'ingesting',
        batch_id = %(batch)s,
        run_id = %(run_id)s,
        attempts = CASE WHEN job.state IN ('discovered', 'ingesting') THEN job.attempts + 1 ELSE 1 END,
        waits = CASE WHEN job.state IN ('discovered', 'ingesting', 'waiting') THEN job.waits ELSE 0 END,
        due_at = clock_timestamp() + %(lease)s,
        wait_until = job.catalog_modified + %(wait_deadline)s,
        updated_at = now(),
        ended_at = NULL
    FROM named
    WHERE job.id = named.id
    RETURNING job.id, job.attempts
)
"""


@dataclass(frozen=True, slots=True)
class ClaimedByName:
    """What asking for jobs by name gave."""

    #: One for each day of output prefixes.
    batches: tuple[Batch, ...]
    #: Jobs that another run holds now.
    held: tuple[Place, ...]
    #: Jobs of which the ledger knows nothing.
    unknown: tuple[Place, ...]


def claim_jobs(
    conn: Connection, places: Iterable[Place], *, run_id: str, lease: timedelta, wait_deadline: timedelta
) -> ClaimedByName:
    """Takes on jobs by bucket and output prefix, ended ones too; commit to make it hold. Waits for nobody.

    Args:
        places: buckets and output prefixes.
        run_id: who claims.
        lease: for how long, unless renewed.
        wait_deadline: how long after its catalog what a job lacks may still arrive.
    """
    wanted = sorted(set(places))
    batches: list[Batch] = []
    known: set[Place] = set()
    with conn.transaction():
        for _, buckets, prefixes in _days(conn, wanted):
            known |= set(zip(buckets, prefixes, strict=True))
            batch = note_batch(
                conn,
                _CLAIM,
                {
                    "bucket": buckets,
                    "prefix": prefixes,
                    "run_id": run_id,
                    "lease": lease,
                    "wait_deadline": wait_deadline,
                    "reason": "Somebody asked for this job.",
                },
            )
            if batch.jobs:
                batches.append(batch)
    taken = {(job.bucket, job.prefix) for batch in batches for job in batch.jobs}
    return ClaimedByName(
        tuple(batches),
        tuple(place for place in wanted if place in known and place not in taken),
        tuple(place for place in wanted if place not in known),
    )


def _days(conn: Connection, places: list[Place]) -> list[tuple[date, list[str], list[str]]]:
    return conn.execute(
        _DAYS, {"bucket": [bucket for bucket, _ in places], "prefix": [prefix for _, prefix in places]}
    ).fetchall()
