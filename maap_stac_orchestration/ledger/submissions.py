"""How submissions are doing: the jobs of one (username, algorithm, version, tag), counted by state.

Here belongs reading the counts, and bringing them together. Not here: keeping them, which triggers of the table of jobs
do (migration v0003), and single jobs (`jobs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import State
from maap_stac_orchestration.ledger.texts import storable


@dataclass(frozen=True, slots=True)
class Submission:
    """The jobs of one (username, algorithm, version, tag)."""

    username: str
    algorithm: str
    version: str
    tag: str | None
    #: Jobs by state; states that no job is in are left out.
    states: Mapping[State, int]
    jobs: int
    #: Counts of items, as in `JobSummary`.
    loaded: int
    unchanged: int
    fallback: int
    refused: int
    #: The time of its newest job, by the output prefix, UTC.
    latest: datetime
    #: When any of its jobs changed last, UTC.
    updated: datetime


@dataclass(frozen=True, slots=True)
class SubmissionPage:
    """Some submissions, those with the newest jobs first."""

    submissions: tuple[Submission, ...]
    #: How many there are on all pages.
    total: int


# Both tables in one statement, so that each difference counts exactly once, wherever it stands at that moment.
_LIST = """
WITH counted AS (
    SELECT
        key, min(username) AS username, min(algorithm) AS algorithm, min(version) AS version, min(tag) AS tag, state,
        sum(jobs)::bigint AS jobs, sum(items_loaded)::bigint AS loaded, sum(items_unchanged)::bigint AS unchanged,
        sum(items_fallback)::bigint AS fallback, sum(items_refused)::bigint AS refused, max(latest) AS latest,
        max(updated_at) AS updated_at
    FROM (
        SELECT
            key, username, algorithm, version, tag, state, jobs, items_loaded, items_unchanged, items_fallback,
            items_refused, latest, updated_at
        FROM ledger.submission
        UNION ALL
        SELECT
            key, username, algorithm, version, tag, state, jobs, items_loaded, items_unchanged, items_fallback,
            items_refused, latest, updated_at
        FROM ledger.submission_change
    ) AS part
    WHERE (%(username)s::text IS NULL OR username = %(username)s)
        AND (%(text)s::text IS NULL OR strpos(
            lower(username || ' ' || algorithm || ' ' || version || ' ' || coalesce(tag, '')), lower(%(text)s)
        ) > 0)
    GROUP BY key, state
)
SELECT
    min(username), min(algorithm), min(version), min(tag),
    jsonb_object_agg(state, jobs ORDER BY state) FILTER (WHERE jobs > 0),
    sum(jobs)::bigint, sum(loaded)::bigint, sum(unchanged)::bigint, sum(fallback)::bigint, sum(refused)::bigint,
    max(latest) AS newest, max(updated_at), count(*) OVER () AS total
FROM counted
GROUP BY key
HAVING sum(jobs) > 0
ORDER BY newest DESC, key
LIMIT %(limit)s OFFSET %(offset)s
"""

#: Serialises those who compact ("compact" in ASCII); who comes second has nothing to do.
_TRY = "SELECT pg_try_advisory_xact_lock(27991158178603892)"

# Everything that is committed by now; what comes later is for the next time.
_COMPACT = """
WITH taken AS (
    DELETE FROM ledger.submission_change
    WHERE id IN (SELECT id FROM ledger.submission_change ORDER BY id LIMIT %(limit)s)
    RETURNING *
),
added AS (
    INSERT INTO ledger.submission AS known (
        key, username, algorithm, version, tag, state, jobs, items_loaded, items_unchanged, items_fallback,
        items_refused, latest, updated_at
    )
    SELECT
        key, min(username), min(algorithm), min(version), min(tag), state, sum(jobs), sum(items_loaded),
        sum(items_unchanged), sum(items_fallback), sum(items_refused), max(latest), max(updated_at)
    FROM taken
    GROUP BY key, state
    ON CONFLICT (key, state) DO UPDATE SET
        jobs = known.jobs + excluded.jobs,
        items_loaded = known.items_loaded + excluded.items_loaded,
        items_unchanged = known.items_unchanged + excluded.items_unchanged,
        items_fallback = known.items_fallback + excluded.items_fallback,
        items_refused = known.items_refused + excluded.items_refused,
        latest = greatest(known.latest, excluded.latest),
        updated_at = greatest(known.updated_at, excluded.updated_at)
)
SELECT count(*) FROM taken
"""

#: Differences that one call takes over.
_MOST = 50_000


def list_submissions(
    conn: Connection, *, username: str | None = None, text: str | None = None, limit: int = 50, offset: int = 0
) -> SubmissionPage:
    """Submissions, those with the newest jobs first.

    Args:
        conn: the database.
        username: those of this user.
        text: those in whose names this stands, whatever the case of its letters.
        limit: at most so many.
        offset: after so many; submissions are few enough to be sorted each time.
    """
    asked = {
        "username": None if username is None else storable(username),
        "text": None if not text else storable(text),
        "limit": limit,
        "offset": offset,
    }
    rows = conn.execute(_LIST, asked).fetchall()
    return SubmissionPage(
        tuple(
            Submission(username, algorithm, version, tag, {State(name): n for name, n in states.items()}, *rest)
            for username, algorithm, version, tag, states, *rest, _ in rows
        ),
        rows[0][-1] if rows else 0,
    )


def compact(conn: Connection) -> int:
    """Takes over what was counted since the last time, in the caller's transaction; gives how many differences.

    Nobody waits for it, and it waits for nobody; called every few seconds while there is work, it keeps the differences
    few, which every reading adds up.
    """
    with conn.transaction():
        row = conn.execute(_TRY).fetchone()
        if row is None or not row[0]:
            return 0
        row = conn.execute(_COMPACT, {"limit": _MOST}).fetchone()
    assert row is not None
    return int(row[0])
