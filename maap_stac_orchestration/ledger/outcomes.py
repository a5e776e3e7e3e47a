"""Writing down how jobs ended in a run.

Here belongs the end of a lease. Not here: taking it (`claims`), and who wrote which item (`items`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from maap_stac_orchestration.ledger.arrays import EMPTY, array, columns
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import Batch, Finished, FinishedJob, Pin, State
from maap_stac_orchestration.ledger.texts import LONGEST_NAME, storable, storable_or_none

#: How a job can end in a run. `failed` is for `claims` to say.
_ENDS = frozenset({State.LOADED, State.PARTIAL, State.REJECTED, State.WAITING})

_CATALOG = "catalog.json"

_HOLD = """
SELECT id, generation
FROM ledger.job
WHERE id = ANY (%(ids)s::bigint[]) AND batch_id = %(batch)s AND state = 'ingesting'
ORDER BY id
FOR NO KEY UPDATE
"""

# A document whose date the store did not give is dated by the claim, which lies before it was read: a version that was
# written in between then still counts as newer. What was read lay there after the claim, so it is no older than the
# version that was known then, whatever the dates say: those of events are later than the store's.
_READ_CATALOGS = """
INSERT INTO ledger.catalog (job_id, bucket, key, etag, version_id, size, last_modified, source)
SELECT read.job_id, job.bucket, read.key, read.etag, read.version_id, read.size,
    greatest(coalesce(read.last_modified, batch.claimed_at), claimed.last_modified), 'read'
FROM unnest(
    %(job)s::bigint[], %(key)s::text[], %(etag)s::text[], %(version_id)s::text[], %(size)s::bigint[],
    %(last_modified)s::timestamptz[], %(claimed)s::text[]
) AS read (job_id, key, etag, version_id, size, last_modified, claimed)
JOIN ledger.job ON job.id = read.job_id
JOIN ledger.batch ON batch.id = %(batch)s
LEFT JOIN ledger.catalog AS claimed
    ON claimed.bucket = job.bucket AND claimed.key = read.key AND claimed.etag = read.claimed
ON CONFLICT (bucket, key, etag) DO NOTHING
"""

_CURRENT_CATALOGS = """
SELECT DISTINCT ON (job_id, key) job_id, key, etag
FROM ledger.catalog
WHERE job_id = ANY (%(ids)s::bigint[])
ORDER BY job_id, key, last_modified DESC, id DESC
"""

# Delays of 5, 10, 20, 40, 80 and 160 s, then 300 s; the last try is at the deadline. While a job waits, the estimate by
# the size of its catalog may be better than the number of the items that are there already.
_FINISH = """
WITH outcome AS (
    SELECT * FROM unnest(
        %(job)s::bigint[], %(state)s::text[], %(again)s::boolean[], %(loaded)s::integer[], %(unchanged)s::integer[],
        %(fallback)s::integer[], %(refused)s::integer[], %(items)s::integer[], %(algorithm)s::text[],
        %(version)s::text[], %(tag)s::text[], %(named)s::boolean[], %(modified)s::timestamptz[],
        %(attempt)s::smallint[], %(awaiting_until)s::timestamptz[], %(told)s::text[]
    ) AS o (
        job_id, state, again, loaded, unchanged, fallback, refused, items, algorithm, version, tag, named, modified,
        attempt, awaiting_until, told
    )
),
code AS (
    SELECT job_id, array_agg(DISTINCT code ORDER BY code) AS codes
    FROM unnest(%(problem_job)s::bigint[], %(problem_code)s::text[]) AS p (job_id, code)
    GROUP BY job_id
),
target AS (
    SELECT job_id, array_agg(DISTINCT collection ORDER BY collection) AS collections
    FROM unnest(%(target_job)s::bigint[], %(target)s::text[]) AS t (job_id, collection)
    GROUP BY job_id
),
ended AS (
    UPDATE ledger.job SET
        state = CASE WHEN outcome.again THEN 'discovered' ELSE outcome.state END,
        due_at = CASE
            WHEN outcome.again THEN now()
            WHEN outcome.state = 'waiting' THEN least(
                now() + CASE WHEN job.waits < 6 THEN 5 * power(2, job.waits) ELSE 300 END * interval '1 second',
                CASE WHEN job.wait_until > now() THEN job.wait_until END,
                CASE WHEN outcome.awaiting_until > now() THEN outcome.awaiting_until END
            )
        END,
        waits = CASE WHEN outcome.state = 'waiting' AND NOT outcome.again THEN job.waits + 1 ELSE 0 END,
        attempts = 0,
        loaded = outcome.loaded,
        unchanged = outcome.unchanged,
        fallback = outcome.fallback,
        refused = outcome.refused,
        estimated_items = CASE
            WHEN outcome.state = 'waiting' OR outcome.items = 0 THEN greatest(job.estimated_items, outcome.items)
            ELSE outcome.items
        END,
        algorithm = CASE WHEN outcome.named THEN outcome.algorithm ELSE job.algorithm END,
        version = CASE WHEN outcome.named THEN outcome.version ELSE job.version END,
        tag = CASE WHEN outcome.named THEN outcome.tag ELSE job.tag END,
        catalog_modified = greatest(job.catalog_modified, outcome.modified),
        problem_codes = coalesce(code.codes, '{}'),
        collections = coalesce(target.collections, '{}'),
        updated_at = now(),
        ended_at = CASE WHEN outcome.state <> 'waiting' AND NOT outcome.again THEN now() END
    FROM outcome
    LEFT JOIN code USING (job_id)
    LEFT JOIN target USING (job_id)
    WHERE job.id = outcome.job_id
    RETURNING job.id, job.state, outcome.again, outcome.attempt, outcome.told
)
INSERT INTO ledger.transition (job_id, state, run_id, attempt, reason)
SELECT
    id, state, %(run_id)s, attempt,
    nullif(
        concat_ws(
            ' ',
            told,
            CASE WHEN again THEN 'A catalog of the job got a new version while a run was at work on it.' END
        ),
        ''
    )
FROM ended
ORDER BY id
"""

_FORGET = (
    "DELETE FROM ledger.problem WHERE job_id = ANY (%(ids)s::bigint[])",
    "DELETE FROM ledger.job_code WHERE job_id = ANY (%(ids)s::bigint[])",
    "DELETE FROM ledger.job_collection WHERE job_id = ANY (%(ids)s::bigint[])",
    "DELETE FROM ledger.job_item WHERE job_id = ANY (%(ids)s::bigint[])",
    "DELETE FROM ledger.document WHERE job_id = ANY (%(ids)s::bigint[])",
)

_PROBLEMS = """
INSERT INTO ledger.problem (job_id, position, code, severity, object, message, fix)
SELECT * FROM unnest(
    %(job)s::bigint[], %(position)s::integer[], %(code)s::text[], %(severity)s::text[], %(object)s::text[],
    %(message)s::text[], %(fix)s::text[]
)
"""

_JOB_CODES = """
INSERT INTO ledger.job_code (code, job_time, job_id, submission, left_in)
SELECT DISTINCT p.code, job.job_time, job.id, job.submission, job.state
FROM unnest(%(job)s::bigint[], %(code)s::text[]) AS p (job_id, code)
JOIN ledger.job ON job.id = p.job_id
"""

_JOB_COLLECTIONS = """
INSERT INTO ledger.job_collection (collection, job_time, job_id, submission)
SELECT DISTINCT t.collection, job.job_time, job.id, job.submission
FROM unnest(%(target_job)s::bigint[], %(target)s::text[]) AS t (job_id, collection)
JOIN ledger.job ON job.id = t.job_id
"""

_JOB_ITEMS = """
INSERT INTO ledger.job_item (job_id, position, item_id, result, source_key, collection, requested_collection)
SELECT * FROM unnest(
    %(job)s::bigint[], %(position)s::integer[], %(id)s::text[], %(result)s::text[], %(source_key)s::text[],
    %(collection)s::text[], %(requested)s::text[]
)
"""

_DOCUMENTS = """
INSERT INTO ledger.document (job_id, key, etag, version_id, sha256, size, last_modified)
SELECT * FROM unnest(
    %(job)s::bigint[], %(key)s::text[], %(etag)s::text[], %(version_id)s::text[], %(sha256)s::text[],
    %(size)s::bigint[], %(last_modified)s::timestamptz[]
)
"""

# Only what is new: a job that waits is decided again and again, and to the same end. That a job may write to a
# collection, and that items in it are another user's, are two decisions about one collection.
_DECISIONS = """
INSERT INTO ledger.decision (
    job_id, username, algorithm, version, tag, requested, code, outcome, collection, rule, message, registry_version,
    run_id
)
SELECT
    job.id, job.username, job.algorithm, job.version, job.tag, taken.requested, taken.code, taken.outcome,
    taken.collection, taken.rule, taken.message, taken.registry_version, %(run_id)s
FROM unnest(
    %(job)s::bigint[], %(requested)s::text[], %(code)s::text[], %(outcome)s::text[], %(collection)s::text[],
    %(rule)s::text[], %(message)s::text[], %(registry_version)s::text[]
) WITH ORDINALITY AS taken (
    job_id, requested, code, outcome, collection, rule, message, registry_version, number
)
JOIN ledger.job ON job.id = taken.job_id
LEFT JOIN LATERAL (
    SELECT decision.*
    FROM ledger.decision
    WHERE decision.job_id = taken.job_id AND decision.requested IS NOT DISTINCT FROM taken.requested
        AND (decision.code = 'item_owned_by_other') = (taken.code = 'item_owned_by_other')
    ORDER BY decision.id DESC
    LIMIT 1
) AS latest ON true
WHERE latest.id IS NULL
   OR (
        latest.algorithm, latest.version, latest.tag, latest.code, latest.outcome, latest.collection, latest.rule,
        latest.message, latest.registry_version
   ) IS DISTINCT FROM (
        job.algorithm, job.version, job.tag, taken.code, taken.outcome, taken.collection, taken.rule,
        taken.message, taken.registry_version
   )
ORDER BY taken.number
"""


def finish(
    conn: Connection, batch: Batch, outcomes: Iterable[FinishedJob], told: Mapping[int, str] | None = None
) -> Finished:
    """Writes down how jobs of a batch ended and ends their leases, in the caller's transaction if one is open.

    Problems, items and documents of a job replace those of the run before; decisions are added to the audit trail
    where they differ from the last one of the job about the same collection. A job of which another catalog became
    known since it was claimed is due again at once, with what was found so far written down. Jobs that the batch holds
    no longer are left as they are.

    Args:
        conn: the database; what the run wrote elsewhere for these jobs should stand in the same transaction.
        batch: who held them.
        outcomes: each job at most once, in a state in which a run can leave it.
        told: the ledger's number of a job -> a sentence for its history.

    Raises:
        ValueError: a job is not the ledger's, stands there twice, or its state is none of loaded, partial, rejected
            and waiting. Nothing was written.
    """
    ended = _by_number(outcomes)
    if not ended:
        return Finished(frozenset(), frozenset(), frozenset())
    with conn.transaction():
        held: dict[int, int] = dict(conn.execute(_HOLD, {"ids": array(ended), "batch": batch.batch_id}).fetchall())
        lost = frozenset(ended.keys() - held.keys())
        # In the order of their numbers, in which all that lock several jobs lock them.
        jobs = {number: ended[number] for number in held}
        _record_read_catalogs(conn, batch, jobs)
        again = _changed_meanwhile(
            conn, {number: jobs[number] for number, now in held.items() if now != jobs[number].claim.generation}
        )
        if jobs:
            _write(conn, batch, jobs, again, told or {})
    return Finished(frozenset(held), again, lost)


def _by_number(outcomes: Iterable[FinishedJob]) -> dict[int, FinishedJob]:
    ended: dict[int, FinishedJob] = {}
    for one in outcomes:
        number = one.claim.job_id
        if number is None:
            raise ValueError(f"The job {one.claim.prefix} was not claimed from the ledger; its end cannot be recorded.")
        if number in ended:
            raise ValueError(f"The job {one.claim.prefix} ends twice in one batch; hand in one outcome for each job.")
        if one.state not in _ENDS:
            raise ValueError(
                f"The job {one.claim.prefix} cannot end as {one.state}; it is one of {', '.join(sorted(_ENDS))}."
            )
        ended[number] = one
    return ended


def _record_read_catalogs(conn: Connection, batch: Batch, jobs: Mapping[int, FinishedJob]) -> None:
    """Records the catalogs that were read, so that their late events change nothing."""
    read = {(number, pin.key): pin for number, job in jobs.items() for pin in _catalogs(job)}
    if read:
        versions = columns(
            ("job", "key", "etag", "version_id", "size", "last_modified", "claimed"),
            (
                (number, key, *_version(pin), pin.last_modified, jobs[number].claim.catalogs.get(key))
                for (number, key), pin in read.items()
            ),
        )
        conn.execute(_READ_CATALOGS, versions | {"batch": batch.batch_id})


def _version(pin: Pin) -> tuple[str, str | None, int]:
    return pin.etag, pin.version_id, pin.size


def _changed_meanwhile(conn: Connection, jobs: Mapping[int, FinishedJob]) -> frozenset[int]:
    """Those of the jobs, which all got a new version of a catalog since they were claimed, of which one was not read.

    Events of nested catalogs often come while the job is being read on account of its root; what they tell of is then
    what was read, and reading it again would find nothing but unchanged items.
    """
    if not jobs:
        return frozenset()
    covered = {
        number: {**job.claim.catalogs, **{pin.key: pin.etag for pin in _catalogs(job)}} for number, job in jobs.items()
    }
    return frozenset(
        number
        for number, key, etag in conn.execute(_CURRENT_CATALOGS, {"ids": array(jobs)})
        if covered[number].get(key) != etag
    )


def _catalogs(job: FinishedJob) -> list[Pin]:
    return [pin for pin in job.pins if pin.key.rpartition("/")[2] == _CATALOG]


def _write(
    conn: Connection,
    batch: Batch,
    jobs: Mapping[int, FinishedJob],
    again: frozenset[int],
    told: Mapping[int, str],
) -> None:
    run = {"run_id": batch.run_id}
    problems = _problems(jobs)
    targets = columns(
        ("target_job", "target"),
        ((number, storable(collection)) for number, job in jobs.items() for collection in job.collections),
    )
    counted = {"problem_job": problems["job"], "problem_code": problems["code"]}
    conn.execute(_FINISH, _ends(jobs, again, told) | counted | targets | run)
    for statement in _FORGET:
        conn.execute(statement, {"ids": array(jobs)})
    if problems["job"] != EMPTY:
        conn.execute(_PROBLEMS, problems)
        conn.execute(_JOB_CODES, {"job": problems["job"], "code": problems["code"]})
    if targets["target"] != EMPTY:
        conn.execute(_JOB_COLLECTIONS, targets)
    for statement, rows in (
        (_JOB_ITEMS, _items(jobs)),
        (_DOCUMENTS, _documents(jobs)),
        (_DECISIONS, _decisions(jobs)),
    ):
        if rows["job"] != EMPTY:
            # After the names of the jobs, which stand in the audit trail, were brought up to date.
            conn.execute(statement, rows | run)


def _ends(jobs: Mapping[int, FinishedJob], again: frozenset[int], told: Mapping[int, str]) -> dict[str, str]:
    def row(number: int, job: FinishedJob) -> tuple[object, ...]:
        names = job.names
        dates: list[datetime] = [pin.last_modified for pin in _catalogs(job) if pin.last_modified is not None]
        return (
            number,
            str(job.state),
            number in again,
            job.loaded,
            job.unchanged,
            job.fallback,
            job.refused,
            job.loaded + job.unchanged + job.refused,
            None if names is None else storable(names.algorithm, LONGEST_NAME),
            None if names is None else storable(names.version, LONGEST_NAME),
            None if names is None else storable_or_none(names.tag, LONGEST_NAME),
            names is not None,
            max(dates, default=None),
            job.claim.attempt,
            job.awaiting_until,
            storable_or_none(told.get(number)),
        )

    names_of_columns = (
        *("job", "state", "again", "loaded", "unchanged", "fallback", "refused", "items"),
        *("algorithm", "version", "tag", "named", "modified", "attempt", "awaiting_until"),
        "told",
    )
    return columns(names_of_columns, (row(number, job) for number, job in jobs.items()))


def _problems(jobs: Mapping[int, FinishedJob]) -> dict[str, str]:
    return columns(
        ("job", "position", "code", "severity", "object", "message", "fix"),
        (
            (
                number,
                position,
                str(problem.code),
                str(problem.severity),
                storable(problem.object),
                storable(problem.message),
                storable(problem.fix),
            )
            for number, job in jobs.items()
            for position, problem in enumerate(job.problems)
        ),
    )


def _items(jobs: Mapping[int, FinishedJob]) -> dict[str, str]:
    return columns(
        ("job", "position", "id", "result", "source_key", "collection", "requested"),
        (
            (
                number,
                position,
                storable(item.id),
                str(item.result),
                storable(item.source_key),
                storable_or_none(item.collection),
                storable_or_none(item.requested_collection),
            )
            for number, job in jobs.items()
            for position, item in enumerate(job.items)
        ),
    )


def _documents(jobs: Mapping[int, FinishedJob]) -> dict[str, str]:
    read = {(number, storable(pin.key)): pin for number, job in jobs.items() for pin in job.pins}
    return columns(
        ("job", "key", "etag", "version_id", "sha256", "size", "last_modified"),
        (
            (number, key, pin.etag, pin.version_id, pin.sha256, pin.size, pin.last_modified)
            for (number, key), pin in read.items()
        ),
    )


def _decisions(jobs: Mapping[int, FinishedJob]) -> dict[str, str]:
    return columns(
        ("job", "requested", "code", "outcome", "collection", "rule", "message", "registry_version"),
        (
            (
                number,
                storable_or_none(decision.requested),
                str(decision.code),
                str(decision.outcome),
                storable_or_none(decision.collection),
                storable(decision.rule),
                storable(decision.message),
                decision.registry_version,
            )
            for number, job in jobs.items()
            for decision in job.decisions
        ),
    )
