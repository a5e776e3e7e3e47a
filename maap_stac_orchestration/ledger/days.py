"""How a day stands: the jobs of one UTC day by state, and what is wrong with those that have ended.

Here belongs what the asset checks of a day's partition are made from. They ask the ledger rather than a run, so that a
run which finds nothing new to do never turns a red day green. Not here: single jobs and their lists (`jobs`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import TERMINAL, State
from maap_stac_orchestration.problems import Code

_ALONE = "SELECT pg_advisory_xact_lock(hashtextextended('maap-stac checks of ' || %(day)s::date, 0))"

_STATES = """
SELECT state, count(*) FROM ledger.job WHERE job_time >= %(begin)s AND job_time < %(end)s GROUP BY state
"""

# An item that was unchanged when its job was last read is in pgstac as much as one that was loaded then.
_STANDING = """
SELECT state, count(*), sum(loaded + unchanged), sum(refused)
FROM ledger.job
WHERE job_time >= %(begin)s AND job_time < %(end)s
GROUP BY state
"""

# By the primary key of job_code (code, job_time, job_id): as much work as there are such jobs on that day.
_COUNT_OF_CODES = """
SELECT count(DISTINCT job.id)
FROM ledger.job_code
JOIN ledger.job ON job.id = job_code.job_id
WHERE job_code.code = ANY(%(codes)s) AND job_code.job_time >= %(begin)s AND job_code.job_time < %(end)s
    AND job.state = ANY(%(states)s)
"""

# By the same key.
_COUNT_BY_CODE = """
SELECT job_code.code, count(*)
FROM ledger.job_code
JOIN ledger.job ON job.id = job_code.job_id
WHERE job_code.code = ANY(%(codes)s) AND job_code.job_time >= %(begin)s AND job_code.job_time < %(end)s
    AND job.state = ANY(%(states)s)
GROUP BY job_code.code
ORDER BY count(*) DESC, job_code.code
"""

_JOBS_OF_CODES = """
SELECT job.prefix, job.state, problem.code, problem.object, problem.message
FROM (
    SELECT DISTINCT job.id, job.job_time, job.prefix, job.state
    FROM ledger.job_code
    JOIN ledger.job ON job.id = job_code.job_id
    WHERE job_code.code = ANY(%(codes)s) AND job_code.job_time >= %(begin)s AND job_code.job_time < %(end)s
        AND job.state = ANY(%(states)s)
    ORDER BY job.job_time DESC, job.id DESC
    LIMIT %(limit)s
) AS job
CROSS JOIN LATERAL (
    SELECT code, object, message FROM ledger.problem
    WHERE problem.job_id = job.id AND problem.code = ANY(%(codes)s) ORDER BY position LIMIT 1
) AS problem
ORDER BY job.job_time DESC, job.id DESC
"""

_JOBS_IN_STATES = """
SELECT job.prefix, job.state, coalesce(problem.code, ''), coalesce(problem.object, ''), coalesce(problem.message, '')
FROM (
    SELECT id, job_time, prefix, state FROM ledger.job
    WHERE job_time >= %(begin)s AND job_time < %(end)s AND state = ANY(%(states)s)
    ORDER BY job_time DESC, id DESC
    LIMIT %(limit)s
) AS job
LEFT JOIN LATERAL (
    SELECT code, object, message FROM ledger.problem
    WHERE problem.job_id = job.id ORDER BY severity, position LIMIT 1
) AS problem ON true
ORDER BY job.job_time DESC, job.id DESC
"""


@dataclass(frozen=True, slots=True)
class TroubledJob:
    """An ended job with the first of its problems that was asked about."""

    prefix: str
    state: State
    #: Empty where the job has no problem of its own (a failed one need not have any).
    code: str
    object: str
    message: str


@dataclass(frozen=True, slots=True)
class Troubled:
    """How many ended jobs of a day are troubled, and the newest of them."""

    jobs: int
    sample: tuple[TroubledJob, ...]


@dataclass(frozen=True, slots=True)
class DayStanding:
    """How the jobs of a day stand, whichever runs took them on."""

    #: Jobs by state; states that no job is in are left out.
    states: Mapping[State, int]
    #: Items of theirs that are in pgstac, by what each job wrote when it was last read.
    items: int
    #: Items of theirs that were refused.
    refused: int


def look_alone(conn: Connection, day: date) -> None:
    """Waits until nobody else looks at the day in this way, and keeps others waiting until the transaction ends."""
    conn.execute(_ALONE, {"day": day})


def states_of_day(conn: Connection, day: date) -> Mapping[State, int]:
    """Jobs of the day by state; states that no job is in are left out."""
    return {State(state): count for state, count in conn.execute(_STATES, _span(day))}


def standing_of_day(conn: Connection, day: date) -> DayStanding:
    """How all jobs of the day stand, and their items."""
    rows = conn.execute(_STANDING, _span(day)).fetchall()
    return DayStanding(
        {State(state): count for state, count, _, _ in rows},
        sum(int(items) for _, _, items, _ in rows),
        sum(int(refused) for _, _, _, refused in rows),
    )


def troubled_by_code(conn: Connection, day: date, codes: Collection[Code], limit: int = 50) -> Troubled:
    """Ended jobs of the day with a problem of one of these codes, newest first."""
    asked = {**_span(day), "codes": [str(code) for code in codes], "states": _ENDED, "limit": limit}
    counted = conn.execute(_COUNT_OF_CODES, asked).fetchone()
    assert counted is not None
    return Troubled(counted[0], _sample(conn, _JOBS_OF_CODES, asked) if counted[0] else ())


def jobs_by_code(conn: Connection, day: date, codes: Collection[Code]) -> Mapping[Code, int]:
    """How many ended jobs of the day have a problem of each of these codes, most first; a job may have several, and
    codes that none has are left out."""
    asked = {**_span(day), "codes": [str(code) for code in codes], "states": _ENDED}
    return {Code(code): count for code, count in conn.execute(_COUNT_BY_CODE, asked)}


def troubled_by_state(conn: Connection, day: date, states: Collection[State], limit: int = 50) -> Troubled:
    """Jobs of the day in one of these states, newest first, each with its first error or else its first problem."""
    asked = {**_span(day), "states": [str(state) for state in states], "limit": limit}
    counts = states_of_day(conn, day)
    count = sum(counts.get(state, 0) for state in states)
    return Troubled(count, _sample(conn, _JOBS_IN_STATES, asked) if count else ())


_ENDED = sorted(str(state) for state in TERMINAL)


def _sample(conn: Connection, query: str, asked: Mapping[str, object]) -> tuple[TroubledJob, ...]:
    return tuple(
        TroubledJob(prefix, State(state), code, about, message)
        for prefix, state, code, about, message in conn.execute(query, asked)
    )


def _span(day: date) -> dict[str, datetime]:
    begin = datetime.combine(day, time(), UTC)
    return {"begin": begin, "end": begin + timedelta(days=1)}
