"""What monitoring is told: sums over the whole ledger, cheap enough to be asked for every few seconds.

Here belongs reading them, and keeping what is read small. Not here: counting as things happen, which triggers do
(migration v0003), and the forms in which metrics are told (`api.metrics`, `pipeline.metrics`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import TERMINAL, State

#: Due jobs are counted up to so many.
MOST_DUE = 10_000


@dataclass(frozen=True, slots=True)
class Due:
    """Work that is due and that nobody has taken on."""

    #: At most `MOST_DUE`.
    jobs: int
    #: Since when the longest waiting of them is due, in seconds; 0 where none is.
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class Lag:
    """From the writing of a catalog to the end of its job, over all live jobs since the ledger was made."""

    #: Upper bound in seconds -> how many took as long or less; the last bound is infinity.
    within: Mapping[float, int]
    #: Seconds of all of them together.
    seconds: float


@dataclass(frozen=True, slots=True)
class Measures:
    """The ledger in numbers. Everything is bounded by codes and states, and nothing by what users name."""

    #: Every state has a number.
    jobs: Mapping[State, int]
    #: Of live work, and of backfills.
    due: Due
    due_backlog: Due
    #: Ends of jobs ever, by state: a job that was tried again ended more than once.
    ends: Mapping[State, int]
    #: Items ever, by what became of them: loaded, unchanged, refused; `fallback` counts some of the first two.
    items: Mapping[str, int]
    #: Decisions ever, by code and outcome.
    decisions: Mapping[tuple[str, str], int]
    #: Jobs that have a problem of a code at present.
    problems: Mapping[str, int]
    #: Notifications by state at present, pending and dead.
    deliveries: Mapping[str, int]
    #: Notifications that were delivered ever.
    delivered: int
    lag: Lag
    collections: int
    #: Whether the registry file could be loaded when it was tried last; None where there is none.
    registry_loads: bool | None


# Both tables in one statement, so that each difference counts once.
_JOBS = """
SELECT state, sum(jobs)::bigint
FROM (
    SELECT state, jobs FROM ledger.submission
    UNION ALL
    SELECT state, jobs FROM ledger.submission_change
) AS part
GROUP BY state
"""

_TALLY = "SELECT name, labels, sum(amount) FROM ledger.tally GROUP BY name, labels"

_BOUNDS = "SELECT ledger.lag_bounds()"

# Along the index of due jobs, from one (day, priority, whether it broke runs) to the next: as much work as there are
# days with work, and of those as many jobs as are counted.
_DUE = """
WITH RECURSIVE step AS (
    (
        SELECT day, priority, attempts > 1 AS broke
        FROM ledger.job
        WHERE due_at IS NOT NULL
        ORDER BY day, priority, (attempts > 1)
        LIMIT 1
    )
    UNION ALL
    SELECT next.day, next.priority, next.broke
    FROM step
    CROSS JOIN LATERAL (
        SELECT job.day, job.priority, job.attempts > 1 AS broke
        FROM ledger.job
        WHERE job.due_at IS NOT NULL
            AND (job.day, job.priority, (job.attempts > 1)) > (step.day, step.priority, step.broke)
        ORDER BY job.day, job.priority, (job.attempts > 1)
        LIMIT 1
    ) AS next
),
oldest AS (
    SELECT step.*, first.due_at
    FROM step
    CROSS JOIN LATERAL (
        SELECT job.due_at
        FROM ledger.job
        WHERE job.day = step.day AND job.priority = step.priority AND (job.attempts > 1) = step.broke
            AND job.due_at <= now()
        ORDER BY job.due_at
        LIMIT 1
    ) AS first
)
SELECT
    of_kind.backlog,
    (
        SELECT count(*)
        FROM (
            SELECT
            FROM oldest
            CROSS JOIN LATERAL (
                SELECT
                FROM ledger.job
                WHERE job.day = oldest.day AND job.priority = oldest.priority AND (job.attempts > 1) = oldest.broke
                    AND job.due_at <= now()
                LIMIT %(most)s
            ) AS due
            WHERE (oldest.priority > 0) = of_kind.backlog
            LIMIT %(most)s
        ) AS counted
    ),
    extract(epoch FROM now() - of_kind.due_at)::double precision
FROM (SELECT priority > 0 AS backlog, min(due_at) AS due_at FROM oldest GROUP BY backlog) AS of_kind
"""

# By the primary key of collections.
_COLLECTIONS = "SELECT count(*) FROM pgstac.collections"

# By the index on source and id.
_REGISTRY = "SELECT ok FROM ledger.registry_version WHERE source = %(source)s ORDER BY id DESC LIMIT 1"

#: Serialises those who compact ("tally" in ASCII); who comes second has nothing to do.
_TRY = "SELECT pg_try_advisory_xact_lock(499967814777)"

# Everything that is committed by now, sums of earlier times included; what comes later is for the next time.
_COMPACT = """
WITH taken AS (
    DELETE FROM ledger.tally WHERE (SELECT count(*) FROM ledger.tally) > %(few)s RETURNING name, labels, amount
),
written AS (
    INSERT INTO ledger.tally (name, labels, amount)
    SELECT name, labels, sum(amount) FROM taken GROUP BY name, labels HAVING sum(amount) <> 0
)
SELECT count(*) FROM taken
"""

#: Rows that are left as they are: there are some dozens of names and labels.
_FEW = 500

_CLAIMED = """
SELECT extract(epoch FROM clock_timestamp() - claimed_at)::double precision FROM ledger.batch WHERE id = %(batch)s
"""

_LAGS = """
SELECT lag.seconds FROM ledger.lag WHERE lag.job_id = ANY (%(jobs)s) AND lag.run_id = %(run_id)s ORDER BY lag.seconds
"""


def measure(conn: Connection, *, registry: str | None = None, within: timedelta = timedelta(seconds=3)) -> Measures:
    """The ledger in numbers, as it is at one moment.

    Args:
        conn: the database, with no transaction open.
        registry: the path or address of the registry file, as it is set.
        within: what each question may take.

    Raises:
        psycopg.errors.QueryCanceled: a question took longer than that.
        psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName: the database has no ledger.
    """
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        milliseconds = str(round(within.total_seconds() * 1000))
        conn.execute("SELECT set_config('statement_timeout', %s, true)", (milliseconds,))
        jobs: dict[str, int] = dict(conn.execute(_JOBS).fetchall())
        tally: dict[str, dict[tuple[str, ...], float]] = {}
        for name, labels, amount in conn.execute(_TALLY):
            tally.setdefault(name, {})[tuple(labels)] = amount
        bounds = next(row[0] for row in conn.execute(_BOUNDS))
        due = {backlog: Due(*rest) for backlog, *rest in conn.execute(_DUE, {"most": MOST_DUE})}
        collections = conn.execute(_COLLECTIONS).fetchone()
        tried = conn.execute(_REGISTRY, {"source": registry}).fetchone()
    assert collections is not None

    def whole(name: str) -> dict[tuple[str, ...], int]:
        return {labels: round(amount) for labels, amount in tally.get(name, {}).items()}

    ends, items, deliveries = whole("end"), whole("item"), whole("delivery")
    return Measures(
        jobs={state: jobs.get(state, 0) for state in State},
        due=due.get(False, Due(0, 0.0)),
        due_backlog=due.get(True, Due(0, 0.0)),
        ends={state: ends.get((state,), 0) for state in State if state in TERMINAL},
        items={result: items.get((result,), 0) for result in ("loaded", "unchanged", "fallback", "refused")},
        decisions={(code, outcome): n for (code, outcome), n in sorted(whole("decision").items())},
        problems={code: n for (code,), n in sorted(whole("problem").items())},
        deliveries={state: deliveries.get((state,), 0) for state in ("pending", "dead")},
        delivered=whole("delivered").get((), 0),
        lag=_lag(bounds, whole("lag"), tally.get("lag_sum", {}).get((), 0.0)),
        collections=collections[0],
        registry_loads=None if tried is None else tried[0],
    )


def compact(conn: Connection) -> int:
    """Brings the parts of each sum together, in the caller's transaction; gives how many there were.

    Nobody waits for it, and it waits for nobody; called every few seconds while there is work, it keeps reading fast.
    """
    with conn.transaction():
        row = conn.execute(_TRY).fetchone()
        if row is None or not row[0]:
            return 0
        row = conn.execute(_COMPACT, {"few": _FEW}).fetchone()
    assert row is not None
    return int(row[0])


def seconds_since_claim(conn: Connection, batch_id: str) -> float | None:
    """How long ago a batch was claimed; None for one that the ledger does not know."""
    row = conn.execute(_CLAIMED, {"batch": batch_id}).fetchone()
    return None if row is None else float(row[0])


def lags(conn: Connection, job_ids: Collection[int], run_id: str) -> list[float]:
    """Seconds from catalog to end of those of the jobs that ended in this run and count, smallest first; see `Lag`."""
    return [row[0] for row in conn.execute(_LAGS, {"jobs": list(job_ids), "run_id": run_id})]


def _lag(bounds: Sequence[float], buckets: Mapping[tuple[str, ...], int], seconds: float) -> Lag:
    within: dict[float, int] = {}
    so_far = 0
    for number, bound in enumerate([*bounds, math.inf]):
        so_far += buckets.get((str(number),), 0)
        within[bound] = so_far
    return Lag(within, seconds)
