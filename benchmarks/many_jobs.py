"""A ledger with a million jobs, and the questions that are asked of it.

Here belongs what such a ledger looks like: one user with half of all jobs, others with fewer and fewer, two years of
submissions one after the other, nearly all jobs loaded, codes both frequent and rare, collections of one submission and
of many users. Not here: the measuring (`jobs_page_p95_ms`).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

#: Jobs in the ledger.
JOBS = 1_000_000
#: Who has half of them.
BIG_USER = "biomass"
#: Two years of jobs, evenly, the last one at the end.
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
END = BEGIN + timedelta(days=730)
#: Jobs that one run takes on.
_BATCH = 200

# The big user's submissions hold 250 jobs each, the others' last for a month or so. Each algorithm is another's
# successor, so that names which are frequent are seldom frequent at the same time.
_FILL_JOBS = """
INSERT INTO ledger.job (
    bucket, prefix, day, job_time, username, algorithm, version, tag, state, due_at, catalog_modified, batch_id, run_id,
    loaded, refused, problem_codes, collections, discovered_at, updated_at, ended_at
)
SELECT
    'maap-ops-workspace',
    username || '/dps_output/' || algorithm || '/' || version || '/' || coalesce(tag || '/', '')
        || to_char(time AT TIME ZONE 'UTC', 'YYYY/MM/DD/HH24/MI/SS/US') || '/',
    (time AT TIME ZONE 'UTC')::date, time, username, algorithm, version, tag, state,
    CASE WHEN state IN ('discovered', 'ingesting', 'waiting') THEN %(end)s::timestamptz END,
    time, CASE WHEN state <> 'discovered' THEN gen_random_uuid() END,
    CASE WHEN state <> 'discovered' THEN 'run-' || n / %(batch)s END,
    CASE WHEN state IN ('loaded', 'partial') THEN 3 ELSE 0 END,
    CASE WHEN state IN ('partial', 'rejected') THEN 1 ELSE 0 END,
    CASE
        WHEN n BETWEEN 40000 AND 40060 THEN '{link_cycle}'
        WHEN state = 'rejected' AND chance < 0.6 THEN '{metadata_missing}'
        WHEN state = 'rejected' THEN '{link_missing}'
        WHEN state = 'partial' AND chance < 0.7 THEN '{item_invalid}'
        WHEN state = 'partial' THEN '{item_invalid,link_missing}'
        WHEN state IN ('loaded', 'waiting') AND username <> 'user-3' AND chance < 0.2 THEN '{asset_missing}'
        ELSE '{}'
    END::text[],
    CASE
        WHEN state NOT IN ('loaded', 'partial') THEN '{}'
        WHEN username <> %(big)s AND chance > 0.6 THEN '{shared-biomass}'
        ELSE ARRAY[username || '__' || algorithm || '__' || version || coalesce('__' || tag, '')]
    END,
    time, time + interval '1 minute', CASE WHEN state IN ('loaded', 'partial', 'rejected', 'failed') THEN time END
FROM (
    SELECT
        n, username, chance,
        %(begin)s::timestamptz + n * (%(end)s::timestamptz - %(begin)s::timestamptz) / %(jobs)s AS time,
        CASE
            WHEN username = %(big)s THEN CASE WHEN n < 600000 THEN 'mosaic' ELSE 'flood' END
            ELSE 'algorithm-' || (hashtext(username) + n / 300000) %% 7
        END AS algorithm,
        'v' || 1 + n / 150000 AS version,
        CASE
            WHEN username = %(big)s THEN 'tile-' || n / 500
            WHEN chance < 0.1 THEN NULL
            WHEN chance < 0.3 THEN 'demo'
            ELSE 'campaign-' || n / 50000
        END AS tag,
        CASE
            WHEN n > %(jobs)s - 500 THEN 'discovered'
            WHEN n > %(jobs)s - 900 THEN 'ingesting'
            WHEN n > %(jobs)s - 5000 AND n %% 40 = 0 THEN 'waiting'
            WHEN state < 0.02 THEN 'rejected'
            WHEN state < 0.06 THEN 'partial'
            WHEN state < 0.063 THEN 'failed'
            ELSE 'loaded'
        END AS state
    FROM (
        SELECT
            n, CASE WHEN random() < 0.5 THEN %(big)s ELSE 'user-' || floor(500 * power(random(), 3)) END AS username,
            random() AS chance, random() AS state
        FROM generate_series(1, %(jobs)s) AS n
    ) AS drawn
) AS job
"""

_FILL = (
    """
    INSERT INTO ledger.job_code (code, job_time, job_id, submission, left_in)
    SELECT code, job_time, id, submission, state FROM ledger.job CROSS JOIN unnest(problem_codes) AS code
    """,
    """
    INSERT INTO ledger.job_collection (collection, job_time, job_id, submission)
    SELECT collection, job_time, id, submission FROM ledger.job CROSS JOIN unnest(collections) AS collection
    """,
    """
    INSERT INTO ledger.transition (job_id, state, at, run_id, attempt)
    SELECT id, part.state, job_time, run_id, 1
    FROM ledger.job CROSS JOIN LATERAL (VALUES ('ingesting'), (state)) AS part (state)
    WHERE run_id IS NOT NULL
    ORDER BY id
    """,
    """
    INSERT INTO ledger.decision (
        job_id, username, algorithm, version, tag, requested, code, outcome, collection, rule, message,
        registry_version, at, run_id
    )
    SELECT
        id, username, algorithm, version, tag, CASE WHEN collections = '{shared-biomass}' THEN 'shared-biomass' END,
        CASE
            WHEN collections = '{shared-biomass}' THEN 'granted'
            WHEN id % 50 = 0 THEN 'user_not_authorized'
            ELSE 'default_assigned'
        END,
        CASE
            WHEN collections = '{shared-biomass}' THEN 'accept'
            WHEN id % 50 = 0 THEN 'fallback'
            ELSE 'default'
        END,
        collections[1], 'nothing was asked for',
        'The job asked for no collection, so its items go to the default collection of its names.',
        'registry-' || id / 100000, job_time + interval '1 minute', run_id
    FROM ledger.job
    WHERE state IN ('loaded', 'partial')
    ORDER BY id
    """,
    """
    INSERT INTO ledger.submission
    SELECT
        submission, username, algorithm, version, tag, state, count(*), sum(loaded), sum(unchanged), sum(fallback),
        sum(refused), max(job_time), max(updated_at)
    FROM ledger.job
    GROUP BY submission, username, algorithm, version, tag, state
    """,
)

# What happens between two times that the counts are brought together, with the triggers that count it.
_WORK = """
UPDATE ledger.job SET state = 'ingesting', updated_at = now() WHERE id IN (
    SELECT id FROM ledger.job WHERE state = 'discovered' ORDER BY job_time LIMIT 20
)
"""


def fill(conn: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Fills an empty ledger; the connection commits by itself."""
    # Neither triggers nor foreign keys, row by row: what they would write is written below at once.
    conn.execute("SET session_replication_role = replica")
    conn.execute("SELECT setseed(0.5)")
    values = {"jobs": JOBS, "big": BIG_USER, "begin": BEGIN, "end": END, "batch": _BATCH}
    conn.execute(_FILL_JOBS, values)
    for statement in _FILL:
        conn.execute(statement)
    conn.execute("SET session_replication_role = origin")
    for _ in range(10):
        conn.execute(_WORK)
    conn.execute("VACUUM ANALYZE")


def _day(number: int, days: int = 1) -> dict[str, str]:
    begin = BEGIN + timedelta(days=number)
    return {"since": begin.isoformat(), "until": (begin + timedelta(days=days)).isoformat()}


def _job_day(number: int) -> dict[str, str]:
    return {f"job_{name}": value for name, value in _day(number).items()}


_JOB_QUESTIONS: tuple[dict[str, str], ...] = (
    {},
    {"username": BIG_USER},
    {"username": "user-3"},
    {"username": "user-499"},
    {"algorithm": "mosaic"},
    {"version": "v2"},
    {"tag": "demo"},
    {"tag": "tile-77"},
    {"state": "loaded"},
    {"state": "failed"},
    {"state": "waiting"},
    {"collection": "shared-biomass"},
    {"collection": f"{BIG_USER}__mosaic__v1__tile-77"},
    {"code": "asset_missing"},
    {"code": "link_cycle"},
    {"run_id": "run-4000"},
    _day(400),
    _day(100, days=90),
    {"until": (BEGIN + timedelta(days=10)).isoformat()},
    {"username": BIG_USER, "state": "failed"},
    {"username": BIG_USER, "algorithm": "mosaic"},
    {"username": BIG_USER, "algorithm": "mosaic", "version": "v7"},
    {"username": BIG_USER, "version": "v1"},
    {"username": BIG_USER, "tag": "demo"},
    {"username": BIG_USER, "tag": "tile-77"},
    {"username": BIG_USER, "tag": "tile-77", "state": "failed"},
    {"username": BIG_USER, "algorithm": "mosaic", "version": "v1", "tag": "tile-77", "state": "loaded"},
    {"username": "user-499", "state": "rejected"},
    {"username": "user-3", "algorithm": "algorithm-3"},
    {"algorithm": "mosaic", "version": "v6"},
    {"algorithm": "mosaic", "version": "v1", "tag": "tile-77", "state": "rejected"},
    {"version": "v1", "tag": "demo"},
    {"version": "v1", "state": "failed"},
    {"tag": "demo", "state": "failed"},
    {"tag": "demo", "algorithm": "flood"},
    {"code": "asset_missing", "username": "user-3"},
    {"code": "asset_missing", "username": "user-499"},
    {"code": "asset_missing", "username": BIG_USER},
    {"code": "link_cycle", "username": BIG_USER},
    {"code": "link_missing", "username": BIG_USER, "tag": "tile-1900"},
    {"code": "asset_missing", "state": "loaded"},
    {"code": "asset_missing", "state": "rejected"},
    {"code": "asset_missing", "state": "failed"},
    {"code": "item_invalid", "state": "loaded"},
    {"code": "link_missing", "state": "rejected"},
    {"code": "link_missing", "version": "v1"},
    {"code": "metadata_missing", "algorithm": "flood", "version": "v7"},
    {"code": "asset_missing", "run_id": "run-4000"},
    {"code": "item_invalid", "collection": "shared-biomass"},
    {"code": "link_cycle", "collection": "shared-biomass"},
    {"collection": "shared-biomass", "username": BIG_USER},
    {"collection": "shared-biomass", "username": "user-499"},
    {"collection": "shared-biomass", "state": "partial"},
    {"collection": "shared-biomass", "state": "failed"},
    {"collection": "shared-biomass", "username": "user-3", "tag": "demo"},
    {"username": BIG_USER, **_day(400, days=30)},
    {"state": "failed", **_day(400)},
    {"username": "user-499", **_day(10)},
    {"code": "asset_missing", **_day(400)},
    {"username": BIG_USER, "state": "loaded", "code": "link_missing"},
)

_DECISION_QUESTIONS: tuple[dict[str, str], ...] = (
    {},
    {"username": "user-3"},
    {"username": BIG_USER, "tag": "tile-77"},
    {"decision": "user_not_authorized"},
    {"outcome": "fallback", "username": "user-499"},
    {"collection": "shared-biomass"},
    {"run_id": "run-4000"},
    _day(400),
    {"outcome": "fallback", **_day(400)},
    _job_day(400),
    {"outcome": "fallback", **_job_day(400)},
    {"outcome": "reject", **_job_day(400)},
    {"decision": "granted", "username": "user-3", **_job_day(400)},
)

_SUMMARY_QUESTIONS: tuple[dict[str, str], ...] = (
    {"username": BIG_USER, "algorithm": "mosaic", "version": "v1", "tag": "tile-77"},
    {"username": BIG_USER, "tag": "tile-77"},
    {"username": "user-3"},
    {"tag": "tile-1900", "by": "username,version"},
)


def questions() -> list[tuple[str, str, dict[str, str]]]:
    """What is asked: a name, a path, its parameters."""
    return [
        (f"{path} {' '.join(f'{name}={value}' for name, value in asked.items()) or '(all)'}", path, asked)
        for path, several in (
            ("/jobs", _JOB_QUESTIONS),
            ("/jobs/summary", _SUMMARY_QUESTIONS),
            ("/decisions", _DECISION_QUESTIONS),
        )
        for asked in several
    ]
