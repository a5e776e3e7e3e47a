"""What is still broken, whichever day it is of: jobs that ended without all their items, and jobs that nobody takes on.

Here belongs what the standing check of the operators is made from. Not here: how one day stands (`days`), and single
jobs and their lists (`jobs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.days import TroubledJob
from maap_stac_orchestration.ledger.records import BROKEN, State

#: How long live work may be due before something is wrong with those who should take it on. Every wait of a job (for
#: its metadata, after a run that broke) is a time at which it becomes due, so a job that waits is not due.
LIVE_STUCK = timedelta(minutes=15)
#: How long a backlog may be due: as long as a day is in the queue behind others, all is well.
BACKLOG_STUCK = timedelta(days=2)
#: How long a run may be at work on one batch. Dagster ends runs after two hours, by its `max_runtime_seconds`.
INGESTING_STUCK = timedelta(hours=3)

# As many rows as there are submissions, and not as there are jobs. Both tables in one statement, so that each
# difference counts exactly once.
_STATES = """
SELECT state, sum(jobs)::bigint, max(updated_at)
FROM (
    SELECT state, jobs, updated_at FROM ledger.submission WHERE state = ANY(%(states)s)
    UNION ALL
    SELECT state, jobs, updated_at FROM ledger.submission_change WHERE state = ANY(%(states)s)
) AS part
GROUP BY state
HAVING sum(jobs) > 0
"""

# By job_in_state: as much work as there are broken jobs.
_CODES = """
SELECT coalesce(code.name, ''), count(*)
FROM ledger.job
LEFT JOIN LATERAL unnest(job.problem_codes) AS code (name) ON true
WHERE job.state = ANY(%(states)s)
GROUP BY 1
ORDER BY count(*) DESC, 1
"""

# From job_in_state alone: a job's day is that of its time.
_DAYS = """
SELECT (job_time AT TIME ZONE 'UTC')::date AS day, count(*)
FROM ledger.job
WHERE state = ANY(%(states)s)
GROUP BY 1
ORDER BY 1 DESC
"""

# By job_in_state, state by state: of several states at once it would not give the newest first.
_NEWEST = """
SELECT job.prefix, job.state, coalesce(problem.code, ''), coalesce(problem.object, ''), coalesce(problem.message, '')
FROM (
    SELECT newest.*
    FROM unnest(%(states)s::text[]) AS asked (state)
    CROSS JOIN LATERAL (
        SELECT id, job_time, prefix, state FROM ledger.job
        WHERE job.state = asked.state
        ORDER BY job_time DESC, id DESC
        LIMIT %(limit)s
    ) AS newest
    ORDER BY newest.job_time DESC, newest.id DESC
    LIMIT %(limit)s
) AS job
LEFT JOIN LATERAL (
    SELECT code, object, message FROM ledger.problem
    WHERE problem.job_id = job.id ORDER BY severity, position LIMIT 1
) AS problem ON true
ORDER BY job.job_time DESC, job.id DESC
"""

# By job_due: jumps from day to day and priority to priority, and looks at the job that is due longest among those that
# broke no run and among those that did; more of them are read only where that one has been due for too long.
_STUCK = """
WITH RECURSIVE groups AS (
    (SELECT day, priority FROM ledger.job WHERE due_at IS NOT NULL ORDER BY day, priority LIMIT 1)
    UNION ALL
    SELECT following.day, following.priority
    FROM groups
    CROSS JOIN LATERAL (
        SELECT job.day, job.priority FROM ledger.job
        WHERE job.due_at IS NOT NULL AND (job.day, job.priority) > (groups.day, groups.priority)
        ORDER BY job.day, job.priority
        LIMIT 1
    ) AS following
),
longest AS (
    SELECT
        day, priority, now() - CASE WHEN priority = 0 THEN %(live)s ELSE %(backlog)s END AS latest,
        (
            SELECT job.due_at FROM ledger.job
            WHERE job.due_at IS NOT NULL AND job.day = groups.day AND job.priority = groups.priority
            -- In the index's order: of those that broke no run where there are any. A condition would not do, since
            -- PostgreSQL turns NOT (attempts > 1) into attempts <= 1, which is not in the index.
            ORDER BY job.attempts > 1, job.due_at, job.id
            LIMIT 1
        ) AS first,
        (
            SELECT job.due_at FROM ledger.job
            WHERE job.due_at IS NOT NULL AND job.day = groups.day AND job.priority = groups.priority
                AND job.attempts > 1
            ORDER BY job.due_at, job.id
            LIMIT 1
        ) AS tried
    FROM groups
)
SELECT longest.day, stuck.jobs, least(longest.first, longest.tried)
FROM longest
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs FROM ledger.job
    WHERE job.day = longest.day AND job.priority = longest.priority AND job.due_at < longest.latest
) AS stuck
WHERE least(longest.first, longest.tried) < longest.latest
ORDER BY longest.day DESC
"""

# By job_batch: as much work as there is under way.
_HANGING = """
SELECT job.day, count(*), min(batch.claimed_at)
FROM ledger.job
JOIN ledger.batch ON batch.id = job.batch_id
WHERE job.state = 'ingesting' AND job.due_at >= now() AND batch.claimed_at < now() - %(ingesting)s
GROUP BY job.day
ORDER BY job.day DESC
"""


@dataclass(frozen=True, slots=True)
class Stuck:
    """Jobs that nobody takes on, or that a run holds without coming to an end."""

    jobs: int
    #: Since when the first of them should have been taken on, or has been held, UTC; None where there is none.
    since: datetime | None
    #: Their UTC days, newest first.
    days: tuple[date, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """The short answer, which is asked for every few seconds."""

    #: Broken jobs by state; states that no job is in are left out.
    states: Mapping[State, int]
    #: When any job last came into one of these states, UTC; None where none is in one.
    changed: datetime | None
    stuck: Stuck

    @property
    def jobs(self) -> int:
        """All broken jobs."""
        return sum(self.states.values())

    @property
    def fingerprint(self) -> str:
        """The same as long as a full answer would say nothing new.

        Of stuck jobs it holds only about how many they are: during an outage they become more from minute to minute,
        and the answer remains that somebody has to look.
        """
        counts = ",".join(f"{state}:{self.states.get(state, 0)}" for state in BROKEN)
        return f"{counts} {self.changed} stuck:{self.stuck.jobs.bit_length()} {self.stuck.since}"


@dataclass(frozen=True, slots=True)
class StillBroken:
    """The full answer."""

    standing: Standing
    #: Broken jobs by problem code, most first; a job may have several. Empty text counts those that have none.
    codes: Mapping[str, int]
    #: Broken jobs by UTC day, newest first.
    days: Mapping[date, int]
    #: The newest of them, each with its first error or else its first problem.
    newest: tuple[TroubledJob, ...]


def standing(conn: Connection) -> Standing:
    """How many jobs are broken and how many are stuck."""
    counted = conn.execute(_STATES, _ASKED).fetchall()
    limits = {"live": LIVE_STUCK, "backlog": BACKLOG_STUCK}
    stuck = [*conn.execute(_STUCK, limits), *conn.execute(_HANGING, {"ingesting": INGESTING_STUCK})]
    return Standing(
        {state: jobs for state in BROKEN for name, jobs, _ in counted if name == state},
        max((changed for _, _, changed in counted), default=None),
        Stuck(
            sum(jobs for _, jobs, _ in stuck),
            min((since for _, _, since in stuck), default=None),
            tuple(sorted({day for day, _, _ in stuck}, reverse=True)),
        ),
    )


def still_broken(conn: Connection, limit: int = 50) -> StillBroken:
    """Everything that the standing check tells, with at most so many of the newest jobs."""
    with conn.transaction():
        # One moment for all of it, or the numbers would contradict one another while runs go on.
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        short = standing(conn)
        if not short.jobs:
            return StillBroken(short, {}, {}, ())
        return StillBroken(
            short,
            dict(conn.execute(_CODES, _ASKED).fetchall()),
            dict(conn.execute(_DAYS, _ASKED).fetchall()),
            tuple(
                TroubledJob(prefix, State(state), code, about, message)
                for prefix, state, code, about, message in conn.execute(_NEWEST, {**_ASKED, "limit": limit})
            ),
        )


_ASKED = {"states": [str(state) for state in BROKEN]}
