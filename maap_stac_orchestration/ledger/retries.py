"""Trying jobs again because somebody asks for it: finding them, and making them due.

Here belongs what such a request does to a job, and to which jobs nothing is done. Not here: who may ask and how
(`pipeline.retry` and the doors), and taking on what is due (`claims`).

A job that is tried again begins anew: a new generation, no tries and no waiting counted, due at once, as urgent as live
work. Whoever holds it still, because its lease ran out or because it was taken away, is refused as `lost` when they
hand in their result (`outcomes.finish`), and the job is read once more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from itertools import islice

from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.jobs import list_jobs, summary
from maap_stac_orchestration.ledger.records import JobFilter, JobSummary, State
from maap_stac_orchestration.ledger.texts import storable

#: Jobs on a page while looking for those to be tried again.
_PAGE = 1_000

#: Characters of the sentence in a job's history.
_LONGEST_REASON = 500


class Skip(StrEnum):
    """Why a job is not tried again."""

    #: Every item is in its collection; only a forced retry does it all the same.
    LOADED = "loaded"
    #: A run is at work on it and its lease holds; only a forced retry takes it away.
    LEASED = "leased"
    #: It is due already, like new work, and waits for a run.
    DUE = "due"


@dataclass(frozen=True, slots=True)
class Retried:
    """A job that is tried again."""

    job_id: int
    bucket: str
    #: The output prefix.
    prefix: str
    #: The state that it was in.
    before: State


@dataclass(frozen=True, slots=True)
class Skipped:
    """A job that is not tried again."""

    job_id: int
    bucket: str
    prefix: str
    why: Skip
    #: Until when its lease holds, UTC; None where it has none that holds.
    leased_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of a request."""

    retried: tuple[Retried, ...]
    skipped: tuple[Skipped, ...]


# By the prefix, in all buckets where none is named.
_NAMED = """
SELECT wanted.number - 1 AS number, job.id
FROM unnest(%(bucket)s::text[], %(prefix)s::text[]) WITH ORDINALITY AS wanted (bucket, prefix, number)
JOIN ledger.job ON job.prefix = wanted.prefix AND (wanted.bucket IS NULL OR job.bucket = wanted.bucket)
ORDER BY wanted.number, job.id
"""

_LOOK = """
SELECT
    id, bucket, prefix, state,
    CASE
        WHEN %(force)s AND state IN ('loaded', 'ingesting') THEN NULL
        WHEN state = 'loaded' THEN 'loaded'
        WHEN state = 'ingesting' AND due_at > clock_timestamp() THEN 'leased'
        WHEN state = 'discovered' AND due_at <= clock_timestamp() AND attempts = 0 AND priority = 0 THEN 'due'
    END AS why,
    CASE WHEN state = 'ingesting' AND due_at > clock_timestamp() THEN due_at END AS leased_until
FROM ledger.job
WHERE id = ANY (%(ids)s)
ORDER BY id
"""
# In the order of their numbers, in which all that lock several jobs lock them.
_HOLD = f"{_LOOK}FOR NO KEY UPDATE\n"

_RETRY = """
WITH due AS (
    UPDATE ledger.job SET
        state = 'discovered',
        generation = generation + 1,
        attempts = 0,
        waits = 0,
        priority = 0,
        due_at = now(),
        updated_at = now(),
        ended_at = NULL
    WHERE id = ANY (%(ids)s)
    RETURNING id
)
INSERT INTO ledger.transition (job_id, state, run_id, reason)
SELECT id, 'discovered', %(run_id)s, %(reason)s
FROM due
ORDER BY id
"""


def matching(
    conn: Connection, filter: JobFilter, *, states: Collection[State] | None = None, limit: int
) -> Iterator[JobSummary]:
    """Jobs that match, newest first within each state; at most so many.

    Args:
        conn: the database.
        filter: what must hold.
        states: the states that are looked at; None for all. A state that the filter names must be among them.
        limit: at most so many jobs.
    """
    return islice(_matching(conn, filter, states), limit)


def _matching(conn: Connection, filter: JobFilter, states: Collection[State] | None) -> Iterator[JobSummary]:
    wanted = set(State if states is None else states) & ({filter.state} if filter.state else set(State))
    # State by state, along the index of lists by state: hardly any of a million jobs are to be tried again.
    for state in (each for each in State if each in wanted):
        token: str | None = None
        while True:
            page = list_jobs(conn, replace(filter, state=state), limit=_PAGE, token=token)
            yield from page.jobs
            token = page.next_token
            if token is None:
                break


def count_by_state(conn: Connection, filter: JobFilter) -> dict[State, int]:
    """How many jobs match, by the state that they are in; states that none is in are left out."""
    counts: dict[State, int] = {}
    for group in summary(conn, by=("username",), filter=filter):
        for name, jobs in group.states.items():
            counts[State(name)] = counts.get(State(name), 0) + jobs
    return counts


def find(conn: Connection, places: Sequence[tuple[str | None, str]]) -> list[tuple[int, ...]]:
    """The numbers of the jobs with these buckets (None for any) and output prefixes, for each place those found."""
    found: list[list[int]] = [[] for _ in places]
    columns = {
        "bucket": [None if bucket is None else storable(bucket) for bucket, _ in places],
        "prefix": [storable(prefix) for _, prefix in places],
    }
    for number, job_id in conn.execute(_NAMED, columns):
        found[number].append(job_id)
    return [tuple(numbers) for numbers in found]


def look(conn: Connection, job_ids: Sequence[int], *, force: bool = False) -> Asked:
    """What `request` would do, without doing it."""
    return _sorted_out(conn.execute(_LOOK, {"ids": list(job_ids), "force": force}).fetchall())


def request(
    conn: Connection,
    job_ids: Sequence[int],
    *,
    by: str,
    reason: str = "",
    force: bool = False,
    run_id: str | None = None,
) -> Asked:
    """Makes jobs due at once, in the caller's transaction if one is open; waits for those who are writing to them.

    Args:
        conn: the database.
        job_ids: their numbers; some thousands at most, since all stay locked until the transaction ends.
        by: who asks, for the jobs' history.
        reason: why, in their words, or nothing.
        force: whether jobs that are loaded, and jobs that a run holds at this moment, are tried again too. From the
            run they are taken away.
        run_id: the Dagster run in which it is asked.
    """
    with conn.transaction():
        asked = _sorted_out(conn.execute(_HOLD, {"ids": list(job_ids), "force": force}).fetchall())
        if asked.retried:
            told = storable(_sentence(by, reason), _LONGEST_REASON)
            ids = [one.job_id for one in asked.retried]
            conn.execute(_RETRY, {"ids": ids, "run_id": run_id, "reason": told})
    return asked


def _sorted_out(rows: Sequence[tuple[int, str, str, str, str | None, datetime | None]]) -> Asked:
    return Asked(
        tuple(Retried(id, bucket, prefix, State(state)) for id, bucket, prefix, state, why, _ in rows if why is None),
        tuple(Skipped(id, bucket, prefix, Skip(why), until) for id, bucket, prefix, _, why, until in rows if why),
    )


def _sentence(by: str, reason: str) -> str:
    """One line for the job's history."""
    words = " ".join(reason.split())
    return f"{by} asked to try it again: {words}" if words else f"{by} asked to try it again."
