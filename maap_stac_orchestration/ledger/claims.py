"""Taking on work under a lease, keeping it, giving it back.

Here belongs who holds which job and until when. Not here: how a job ended (`outcomes`).

A lease is a job's state `ingesting`, its `batch_id`, which no other claim has and which therefore is the fencing token,
and its `due_at`, which is when the lease runs out. Somebody who died is thus found by the same index as everything that
is due.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta

from maap_stac_orchestration.ledger.arrays import columns
from maap_stac_orchestration.ledger.batches import note_batch
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import Batch, DueDay, GivenUp, RunBatch

# Those that were tried too often, and whose last try did not come to an end.
_GIVE_UP = """
WITH broken AS (
    SELECT id
    FROM ledger.job
    WHERE day = %(day)s AND due_at <= now() AND attempts >= %(max_attempts)s
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
),
failed AS (
    UPDATE ledger.job
    SET state = 'failed', due_at = NULL, ended_at = now(), updated_at = now()
    FROM broken
    WHERE job.id = broken.id
    RETURNING job.id, job.prefix, job.username, job.algorithm, job.version, job.tag, job.attempts, job.run_id
),
noted AS (
    INSERT INTO ledger.transition (job_id, state, run_id, attempt, reason)
    SELECT
        id, 'failed', run_id, attempts,
        format(
            'It was tried %%s times and no try came to an end; see the run for what broke, then try it again.', attempts
        )
    FROM failed
    ORDER BY id
)
SELECT prefix, username, algorithm, version, tag, attempts, run_id FROM failed ORDER BY id
"""

# A job that broke its run before takes up more of the batch the more often it did, up to all of it: what breaks runs
# ends up alone, and does not drag others along until they count as failed. Such jobs come after all others of their
# priority, since some dozens of them, each in a run of its own, would keep live work waiting for minutes.
_CLAIM = """
WITH due AS (
    SELECT id, priority, due_at, estimated_items, attempts
    FROM ledger.job
    WHERE day = %(day)s AND due_at <= now()
    ORDER BY priority, attempts > 1, due_at, id
    LIMIT %(max_jobs)s
    FOR NO KEY UPDATE SKIP LOCKED
),
weighed AS (
    SELECT
        id,
        row_number() OVER running AS number,
        sum(estimated_items) OVER running AS items,
        sum(
            CASE WHEN attempts <= 1 THEN 1
            ELSE ceil(power(%(max_jobs)s, least(1.0, (attempts - 1)::float / greatest(%(max_attempts)s - 2, 1))))
            END
        ) OVER running AS weight
    FROM due
    WINDOW running AS (ORDER BY priority, attempts > 1, due_at, id)
),
taken AS (
    UPDATE ledger.job SET
        state = 'ingesting',
        batch_id = %(batch)s,
        run_id = %(run_id)s,
        attempts = job.attempts + 1,
        due_at = clock_timestamp() + %(lease)s,
        wait_until = job.catalog_modified + %(wait_deadline)s,
        updated_at = now(),
        ended_at = NULL
    FROM weighed
    WHERE job.id = weighed.id
      AND (weighed.number = 1 OR (weighed.items <= %(max_items)s AND weighed.weight <= %(max_jobs)s))
    RETURNING job.id, job.attempts
)
"""

_RENEW = """
WITH held AS (
    SELECT id FROM ledger.job WHERE batch_id = %(batch)s AND state = 'ingesting' ORDER BY id FOR NO KEY UPDATE
)
UPDATE ledger.job SET due_at = clock_timestamp() + %(lease)s FROM held WHERE job.id = held.id
"""

# What was released counts as nobody's, and so does what failed since; a later claim would have another batch_id, a
# finished job another state, a changed catalog another generation.
_RETAKE = """
WITH free AS (
    SELECT job.id
    FROM unnest(%(job)s::bigint[], %(generation)s::integer[]) AS former (id, generation)
    JOIN ledger.job USING (id, generation)
    WHERE job.batch_id = %(former)s AND job.state IN ('ingesting', 'discovered', 'failed')
    ORDER BY job.id
    FOR NO KEY UPDATE OF job
),
taken AS (
    UPDATE ledger.job SET
        state = 'ingesting',
        batch_id = %(batch)s,
        run_id = %(run_id)s,
        attempts = job.attempts + 1,
        due_at = clock_timestamp() + %(lease)s,
        updated_at = now(),
        ended_at = NULL
    FROM free
    WHERE job.id = free.id
    RETURNING job.id, job.attempts
)
"""

# At once after the first try; after more of them with pauses of 30 s, 4 min, 13 min …, so that an hour in which a
# bucket or a database does not answer does not make thousands of jobs fail.
_RELEASE = """
WITH held AS (
    SELECT job.id
    FROM ledger.job
    WHERE job.state = 'ingesting'
      AND job.batch_id IN (
        SELECT id FROM ledger.batch WHERE id = %(batch)s::uuid OR run_id = %(run_id)s
      )
    ORDER BY job.id
    FOR NO KEY UPDATE OF job
),
released AS (
    UPDATE ledger.job SET
        state = 'discovered',
        due_at = now() + least(power(greatest(job.attempts - 1, 0), 3) * 30, 3600) * interval '1 second',
        updated_at = now()
    FROM held
    WHERE job.id = held.id
    RETURNING job.id, job.attempts, job.run_id
),
noted AS (
    INSERT INTO ledger.transition (job_id, state, run_id, attempt, reason)
    SELECT id, 'discovered', run_id, attempts, nullif(%(reason)s::text, '')
    FROM released
    ORDER BY id
)
SELECT count(*) FROM released
"""

# Jumps from day to day along the index instead of reading every due job; days with more are told as that many.
_COUNTED = 10_000
_DUE_DAYS = """
WITH RECURSIVE days AS (
    (SELECT day FROM ledger.job WHERE due_at IS NOT NULL ORDER BY day LIMIT 1)
    UNION ALL
    SELECT (
        SELECT job.day FROM ledger.job WHERE job.due_at IS NOT NULL AND job.day > days.day ORDER BY job.day LIMIT 1
    )
    FROM days
    WHERE days.day IS NOT NULL
)
SELECT days.day, due.jobs, due.priority, due.since
FROM days
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs, min(claimable.priority) AS priority, min(claimable.due_at) AS since
    FROM (
        SELECT job.priority, job.due_at
        FROM ledger.job
        WHERE job.day = days.day AND job.due_at <= now()
        ORDER BY job.priority, job.attempts > 1, job.due_at
        LIMIT %(counted)s
    ) AS claimable
) AS due
WHERE due.jobs > 0
ORDER BY due.priority, due.since, days.day
"""

_BATCHES_OF = """
SELECT id, run_id, day, claimed_at, jobs FROM ledger.batch WHERE run_id = ANY (%(run_ids)s) ORDER BY claimed_at, id
"""


def claim(
    conn: Connection,
    *,
    day: date,
    run_id: str,
    lease: timedelta,
    max_jobs: int,
    max_items: int,
    wait_deadline: timedelta,
    max_attempts: int,
) -> Batch:
    """Takes on due jobs of a day. An empty batch says that nothing is due.

    Holds once the caller's transaction is committed; where none is open, at once.

    Never waits for another claim, and never takes what another holds. Jobs whose lease ran out are due; those of them
    that were tried `max_attempts` times become `failed` instead.

    Args:
        day: UTC day of the output prefixes.
        run_id: who claims.
        lease: for how long, unless renewed.
        max_jobs: at most so many jobs.
        max_items: at most so many items by estimate, but always one job.
        wait_deadline: how long after its catalog what a job lacks may still arrive.
        max_attempts: tries before a job that never comes to an end is given up.
    """
    with conn.transaction():
        given_up = tuple(
            GivenUp(*row) for row in conn.execute(_GIVE_UP, {"day": day, "max_attempts": max_attempts}).fetchall()
        )
        batch = note_batch(
            conn,
            _CLAIM,
            {
                "day": day,
                "run_id": run_id,
                "lease": lease,
                "max_jobs": max_jobs,
                "max_items": max_items,
                "wait_deadline": wait_deadline,
                "max_attempts": max_attempts,
                "reason": None,
            },
        )
        return replace(batch, given_up=given_up)


def renew(conn: Connection, batch_id: str, lease: timedelta) -> bool:
    """Extends the lease of what a batch still holds, also when it has run out and nobody took over.

    Commit to make it hold, over a connection of its own where another one is in the middle of a load.

    Returns:
        False when the batch holds nothing any more: all of it ended, was released or was taken over.
    """
    return conn.execute(_RENEW, {"batch": batch_id, "lease": lease}).rowcount > 0


def retake(conn: Connection, batch: Batch, run_id: str, lease: timedelta) -> Batch:
    """For a step that is run again: takes those jobs of a former batch that nobody else took since, as a new batch.

    From then on the former batch holds nothing, so that a run that was thought dead changes nothing. Jobs that ended,
    that another run claimed, or of which a newer catalog is known are left out.
    """
    with conn.transaction():
        return note_batch(
            conn,
            _RETAKE,
            {
                **columns(("job", "generation"), ((job.job_id, job.generation) for job in batch.jobs)),
                "former": batch.batch_id,
                "run_id": run_id,
                "lease": lease,
                "reason": "A step of an earlier run is run again.",
            },
        )


def release(conn: Connection, *, run_id: str | None = None, batch_id: str | None = None, reason: str = "") -> int:
    """Gives back what a run or a batch holds, so that it is due again: at once after a first try, later after more.

    The try counts. `reason` is a sentence for the job's history.

    Returns:
        The number of jobs.
    """
    with conn.transaction():
        row = conn.execute(_RELEASE, {"run_id": run_id, "batch": batch_id, "reason": reason}).fetchone()
    assert row is not None
    return int(row[0])


def due_days(conn: Connection) -> list[DueDay]:
    """Days that have work to be claimed now, most urgent first. Days with more than 10,000 jobs count as that many."""
    return [DueDay(*row) for row in conn.execute(_DUE_DAYS, {"counted": _COUNTED})]


def batches_of(conn: Connection, run_ids: Sequence[str]) -> Mapping[str, tuple[RunBatch, ...]]:
    """What each of these runs claimed, oldest first; runs that claimed nothing (yet) are not in it."""
    found: dict[str, tuple[RunBatch, ...]] = {}
    for batch_id, run_id, day, claimed_at, jobs in conn.execute(_BATCHES_OF, {"run_ids": list(run_ids)}):
        found[run_id] = (*found.get(run_id, ()), RunBatch(str(batch_id), run_id, day, claimed_at, jobs))
    return found
