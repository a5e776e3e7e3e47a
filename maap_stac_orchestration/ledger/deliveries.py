"""Deliveries: what endpoints are told of ends of jobs, and whether they were.

Here belongs the outbox: ends become deliveries in one transaction, deliveries are claimed before they are sent and
noted after. Not here: sending (`pipeline.notify`), and who is told (`endpoints`).

An end stands in `ledger.job_end` from the transaction that ended the job on. A claimed delivery is due again after its
lease unless an answer is noted, so that whoever dies between sending and noting makes it be sent again, and never
makes it be forgotten.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.jobs import job_summary
from maap_stac_orchestration.ledger.records import JobSummary, State, timestamp
from maap_stac_orchestration.ledger.texts import storable, storable_or_none
from maap_stac_orchestration.problems import ProblemDocument

#: How long ended deliveries are kept.
KEPT = timedelta(days=30)

#: Characters of an answer that are kept.
_LONGEST_ANSWER = 500


class DeliveryState(StrEnum):
    """How a delivery is doing."""

    #: It is to be sent, or sent again.
    PENDING = "pending"
    #: The endpoint took it.
    DELIVERED = "delivered"
    #: It was given up; it can be sent again by hand.
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class JobEnd:
    """A job ended, and deliveries are to be made."""

    transition_id: int
    #: In which state it ended; the job itself may have been tried again since.
    state: State
    #: UTC.
    at: datetime
    run_id: str | None
    reason: str | None
    #: The job as it is now.
    job: JobSummary


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """An endpoint is to be told of an end."""

    message_id: UUID
    #: None for the report beside the catalog.
    endpoint_id: int | None
    job_id: int
    transition_id: int
    #: The very characters that are sent at each try; empty for a report, which is made when it is written.
    body: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that the caller sends now, and nobody else until the lease ends."""

    id: int
    message_id: UUID
    endpoint_id: int | None
    body: str
    #: 1 for the first try.
    attempt: int
    bucket: str
    #: The output prefix of the job.
    prefix: str
    username: str
    algorithm: str
    #: The state in which the job ended.
    state: State


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery, as lists show it."""

    id: int
    message_id: UUID
    #: None for the report beside the catalog.
    endpoint_id: int | None
    prefix: str
    username: str
    #: The state in which the job ended.
    job_state: State
    state: DeliveryState
    attempts: int
    #: UTC; None for one that ended.
    due: datetime | None
    created: datetime
    ended: datetime | None
    #: What the last try came to.
    answer: str | None

    def to_document(self) -> dict[str, Any]:
        """As `webhook deliveries --json` gives it."""
        return {
            "id": self.id,
            "message_id": str(self.message_id),
            "endpoint": self.endpoint_id,
            "prefix": self.prefix,
            "username": self.username,
            "job_state": str(self.job_state),
            "state": str(self.state),
            "attempts": self.attempts,
            "due": None if self.due is None else timestamp(self.due),
            "created": timestamp(self.created),
            "ended": None if self.ended is None else timestamp(self.ended),
            "answer": self.answer,
        }


# The oldest first; ends that another process is taking are left to it.
_TAKE_ENDS = """
WITH taken AS (
    DELETE FROM ledger.job_end
    WHERE transition_id IN (
        SELECT transition_id FROM ledger.job_end ORDER BY transition_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    )
    RETURNING transition_id, job_id
)
SELECT
    transition.id, transition.state, transition.at, transition.run_id, transition.reason,
    job.id, job.bucket, job.prefix, job.username, job.algorithm, job.version, job.tag, job.job_time, job.state,
    job.loaded, job.unchanged, job.fallback, job.refused, job.problem_codes, job.collections, job.run_id,
    job.discovered_at, job.updated_at, job.due_at
FROM taken
JOIN ledger.transition ON transition.id = taken.transition_id
JOIN ledger.job ON job.id = taken.job_id
ORDER BY transition.id
"""

_DROP_ENDS = """
DELETE FROM ledger.job_end
WHERE transition_id IN (
    SELECT transition_id FROM ledger.job_end ORDER BY transition_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
"""

_PROBLEMS = """
SELECT asked.job_id, problem.code, problem.severity, problem.object, problem.message, problem.fix
FROM unnest(%(ids)s::bigint[]) AS asked (job_id)
CROSS JOIN LATERAL (
    SELECT * FROM ledger.problem WHERE problem.job_id = asked.job_id ORDER BY position LIMIT %(limit)s
) AS problem
ORDER BY asked.job_id, problem.position
"""

_COUNT_PROBLEMS = """
SELECT job_id, count(*) FROM ledger.problem WHERE job_id = ANY (%(ids)s) GROUP BY job_id
"""

_MAKE = """
INSERT INTO ledger.delivery (message_id, endpoint_id, job_id, transition_id, body)
SELECT * FROM unnest(
    %(message)s::uuid[], %(endpoint)s::bigint[], %(job)s::bigint[], %(transition)s::bigint[], %(body)s::text[]
)
ON CONFLICT (transition_id, coalesce(endpoint_id, 0)) DO NOTHING
"""

_WAITING = """
SELECT
    EXISTS (SELECT FROM ledger.job_end),
    EXISTS (SELECT FROM ledger.delivery WHERE due_at <= clock_timestamp())
"""

# For each endpoint one look into the index of what is due there, however many deliveries wait at another. In any order,
# so that none comes last each time.
_DUE_TARGETS = """
SELECT target.id
FROM (
    SELECT id FROM ledger.endpoint WHERE removed_in IS NULL
    UNION ALL
    SELECT 0
) AS target
WHERE EXISTS (
    SELECT FROM ledger.delivery
    WHERE coalesce(delivery.endpoint_id, 0) = target.id AND delivery.due_at <= clock_timestamp()
)
ORDER BY random()
"""

_CLAIM = """
WITH chosen AS (
    SELECT id
    FROM ledger.delivery
    WHERE coalesce(endpoint_id, 0) = %(target)s AND due_at <= clock_timestamp()
    ORDER BY due_at, id
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
),
claimed AS (
    UPDATE ledger.delivery
    SET due_at = clock_timestamp() + %(lease)s, attempts = least(attempts + 1, 32767)
    FROM chosen
    WHERE delivery.id = chosen.id
    RETURNING delivery.*
)
SELECT
    claimed.id, claimed.message_id, claimed.endpoint_id, claimed.body, claimed.attempts, job.bucket, job.prefix,
    job.username, job.algorithm, transition.state
FROM claimed
JOIN ledger.job ON job.id = claimed.job_id
JOIN ledger.transition ON transition.id = claimed.transition_id
ORDER BY claimed.id
"""

# Whoever delivered it did, also where somebody else has claimed it meanwhile.
_DELIVERED = """
UPDATE ledger.delivery
SET state = 'delivered', due_at = NULL, ended_at = clock_timestamp(), answer = %(answer)s
WHERE id = %(id)s AND state <> 'delivered'
"""

_AGAIN = """
UPDATE ledger.delivery
SET due_at = clock_timestamp() + %(delay)s, answer = %(answer)s
WHERE id = %(id)s AND state = 'pending' AND attempts = %(attempt)s
"""

_DEAD = """
UPDATE ledger.delivery
SET state = 'dead', due_at = NULL, ended_at = clock_timestamp(), answer = %(answer)s
WHERE id = %(id)s AND state = 'pending' AND attempts = %(attempt)s
"""

_LIST = """
SELECT
    delivery.id, delivery.message_id, delivery.endpoint_id, job.prefix, job.username, transition.state, delivery.state,
    delivery.attempts, delivery.due_at, delivery.created_at, delivery.ended_at, delivery.answer
FROM ledger.delivery
JOIN ledger.job ON job.id = delivery.job_id
JOIN ledger.transition ON transition.id = delivery.transition_id
WHERE (%(endpoint)s::bigint IS NULL OR delivery.endpoint_id = %(endpoint)s)
    AND (%(state)s::text IS NULL OR delivery.state = %(state)s)
    AND (%(prefix)s::text IS NULL OR delivery.job_id IN (SELECT id FROM ledger.job WHERE prefix = %(prefix)s))
ORDER BY delivery.id DESC
LIMIT %(limit)s
"""

_REDELIVER = """
UPDATE ledger.delivery
SET state = 'pending', attempts = 0, due_at = clock_timestamp(), ended_at = NULL
WHERE id IN (
    SELECT id
    FROM ledger.delivery
    WHERE state <> 'pending'
        AND (%(ids)s::bigint[] IS NULL OR id = ANY (%(ids)s))
        AND (%(ids)s::bigint[] IS NOT NULL OR state = 'dead')
        AND (%(endpoint)s::bigint IS NULL OR endpoint_id = %(endpoint)s)
        AND (endpoint_id IS NULL OR endpoint_id IN (SELECT id FROM ledger.endpoint WHERE removed_in IS NULL FOR SHARE))
    ORDER BY id
    FOR UPDATE
)
RETURNING id
"""

# A newer end of the same job has a report of its own to write, or has written it.
_IS_LATEST_REPORT = """
SELECT NOT EXISTS (
    SELECT FROM ledger.delivery AS newer
    JOIN ledger.delivery AS this ON this.job_id = newer.job_id
    WHERE this.id = %(id)s AND newer.id > this.id AND newer.endpoint_id IS NULL
)
"""

_LEFT = """
SELECT
    (SELECT count(*) FROM (SELECT FROM ledger.job_end LIMIT %(most)s) AS an_end)
    + (SELECT count(*) FROM (
        SELECT FROM ledger.delivery WHERE due_at <= clock_timestamp() LIMIT %(most)s
    ) AS one)
"""

_PRUNE = """
DELETE FROM ledger.delivery
WHERE id IN (
    SELECT id
    FROM ledger.delivery
    WHERE ended_at < clock_timestamp() - %(kept)s
    ORDER BY ended_at, id
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
"""


def waiting(conn: Connection) -> tuple[bool, bool]:
    """Whether there are ends of jobs to make deliveries of, and whether deliveries are due; two looks into an index."""
    row = conn.execute(_WAITING).fetchone()
    assert row is not None
    return bool(row[0]), bool(row[1])


def take_ends(conn: Connection, limit: int) -> list[JobEnd]:
    """Ends of jobs, the oldest first, which are gone from the outbox when the caller's transaction is committed."""
    ends = []
    for transition_id, state, at, run_id, reason, *job in conn.execute(_TAKE_ENDS, {"limit": limit}):
        ends.append(JobEnd(transition_id, State(state), at, run_id, reason, job_summary(job)))
    return ends


def drop_ends(conn: Connection, limit: int) -> int:
    """Forgets ends of jobs that nobody is to be told of, in the caller's transaction; gives how many."""
    return conn.execute(_DROP_ENDS, {"limit": limit}).rowcount


def problems_of(
    conn: Connection, job_ids: Collection[int], limit: int
) -> Mapping[int, tuple[tuple[ProblemDocument, ...], int]]:
    """Of each job its first problems, and how many it has; jobs without any are left out."""
    asked = {"ids": sorted(job_ids), "limit": limit}
    shown: dict[int, list[ProblemDocument]] = {}
    for job_id, code, severity, about, message, fix in conn.execute(_PROBLEMS, asked):
        shown.setdefault(job_id, []).append(
            {"code": code, "severity": severity, "object": about, "message": message, "fix": fix}
        )
    return {job_id: (tuple(shown[job_id]), total) for job_id, total in conn.execute(_COUNT_PROBLEMS, asked)}


def make(conn: Connection, deliveries: Sequence[NewDelivery]) -> int:
    """Writes deliveries down, due at once, in the caller's transaction; gives how many were not there already."""
    if not deliveries:
        return 0
    columns = {
        "message": [one.message_id for one in deliveries],
        "endpoint": [one.endpoint_id for one in deliveries],
        "job": [one.job_id for one in deliveries],
        "transition": [one.transition_id for one in deliveries],
        "body": [one.body for one in deliveries],
    }
    return conn.execute(_MAKE, columns).rowcount


def due_targets(conn: Connection) -> list[int | None]:
    """Endpoints in force at which deliveries are due, in any order; None stands for the reports."""
    return [id or None for (id,) in conn.execute(_DUE_TARGETS)]


def claim(conn: Connection, endpoint_id: int | None, *, limit: int, lease: timedelta) -> list[Claimed]:
    """Takes some deliveries that are due at an endpoint, in the caller's transaction, which is to be committed before
    any of them is sent."""
    rows = conn.execute(_CLAIM, {"target": endpoint_id or 0, "limit": limit, "lease": lease})
    return [
        Claimed(id, message_id, endpoint_id, body, attempt, bucket, prefix, username, algorithm, State(state))
        for id, message_id, endpoint_id, body, attempt, bucket, prefix, username, algorithm, state in rows
    ]


def note_delivered(conn: Connection, claimed: Claimed, answer: str) -> None:
    """The endpoint took it."""
    conn.execute(_DELIVERED, {"id": claimed.id, "answer": storable(answer, _LONGEST_ANSWER)})


def note_failed(conn: Connection, claimed: Claimed, answer: str, *, again_in: timedelta | None) -> bool:
    """It was not taken; it is tried again after a while, or given up where that is None.

    Gives whether that was noted: false where it has been claimed again or has ended meanwhile.
    """
    values = {"id": claimed.id, "attempt": claimed.attempt, "answer": storable(answer, _LONGEST_ANSWER)}
    if again_in is None:
        return conn.execute(_DEAD, values).rowcount == 1
    return conn.execute(_AGAIN, {**values, "delay": again_in}).rowcount == 1


def is_latest_report(conn: Connection, claimed: Claimed) -> bool:
    """Whether no newer end of the job has a report to write."""
    row = conn.execute(_IS_LATEST_REPORT, {"id": claimed.id}).fetchone()
    assert row is not None
    return bool(row[0])


def list_deliveries(
    conn: Connection,
    *,
    endpoint_id: int | None = None,
    state: DeliveryState | None = None,
    prefix: str | None = None,
    limit: int = 50,
) -> list[Delivery]:
    """Deliveries, newest first. What is None is not asked about; everything that is given must hold."""
    asked = {
        "endpoint": endpoint_id,
        "state": None if state is None else str(state),
        "prefix": storable_or_none(prefix),
        "limit": limit,
    }
    return [
        Delivery(id, message_id, endpoint_id, prefix, username, State(job_state), DeliveryState(state), *rest)
        for id, message_id, endpoint_id, prefix, username, job_state, state, *rest in conn.execute(_LIST, asked)
    ]


def redeliver(conn: Connection, ids: Collection[int] | None = None, *, endpoint_id: int | None = None) -> list[int]:
    """Makes deliveries due again with all their tries, in the caller's transaction; gives their numbers.

    Args:
        conn: an open connection.
        ids: these, whether they were given up or taken; without it all that were given up.
        endpoint_id: only those of this endpoint.

    Those of endpoints that are not in force, and those that are still pending, are left as they are.
    """
    asked = {"ids": None if ids is None else list(ids), "endpoint": endpoint_id}
    return sorted(id for (id,) in conn.execute(_REDELIVER, asked))


def left(conn: Connection, most: int) -> int:
    """How many ends and due deliveries wait; each counted up to `most`."""
    row = conn.execute(_LEFT, {"most": most}).fetchone()
    assert row is not None
    return int(row[0])


def prune(conn: Connection, limit: int) -> int:
    """Forgets deliveries that ended long ago (`KEPT`), in the caller's transaction; gives how many."""
    return conn.execute(_PRUNE, {"kept": KEPT, "limit": limit}).rowcount
