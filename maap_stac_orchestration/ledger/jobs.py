"""Looking at jobs: lists, one job in full, groups.

Here belongs every question about jobs that people and programs ask. Not here: how a page of them is found quickly
(`job_lists`), and anything that changes a job.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from psycopg import sql

from maap_stac_orchestration.ledger import job_lists
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.decisions import recorded_decision
from maap_stac_orchestration.ledger.records import (
    GroupSummary,
    ItemResult,
    JobDetail,
    JobFilter,
    JobItem,
    JobPage,
    JobSummary,
    Pin,
    RecordedCatalog,
    State,
    Transition,
)
from maap_stac_orchestration.ledger.texts import storable

#: What jobs can be grouped by.
GROUP_FIELDS = ("username", "algorithm", "version", "tag")

_GET = sql.SQL("""
SELECT {columns}, job.generation, job.wait_until
FROM ledger.job
WHERE job.prefix = %(prefix)s AND (%(bucket)s::text IS NULL OR job.bucket = %(bucket)s)
ORDER BY job.id DESC
LIMIT 1
""").format(columns=job_lists.JOB_COLUMNS)

_TRANSITIONS = """
SELECT state, at, run_id, attempt, reason FROM ledger.transition WHERE job_id = %(job)s ORDER BY id
"""

_DECISIONS = """
SELECT
    code, outcome, collection, requested, rule, message, registry_version, username, algorithm, version, tag, at, run_id
FROM ledger.decision
WHERE job_id = %(job)s
ORDER BY id
"""

_PROBLEMS = """
SELECT code, severity, object, message, fix FROM ledger.problem WHERE job_id = %(job)s ORDER BY position
"""

_ITEMS = """
SELECT item_id, result, source_key, collection, requested_collection
FROM ledger.job_item
WHERE job_id = %(job)s
ORDER BY position
"""

_CATALOGS = """
SELECT
    key, etag, version_id, size, last_modified, source, seen_at,
    row_number() OVER (PARTITION BY key ORDER BY last_modified DESC, id DESC) = 1 AS current
FROM ledger.catalog
WHERE job_id = %(job)s
ORDER BY key, last_modified, id
"""

_DOCUMENTS = """
SELECT key, etag, version_id, sha256, size, last_modified FROM ledger.document WHERE job_id = %(job)s ORDER BY key
"""

_SUMMARY = sql.SQL("""
SELECT
    {fields}, jsonb_object_agg(state, jobs ORDER BY state), sum(jobs)::bigint, sum(loaded)::bigint,
    sum(unchanged)::bigint, sum(fallback)::bigint, sum(refused)::bigint, max(updated_at) AS updated
FROM (
    SELECT
        {job_fields}, job.state, count(*) AS jobs, sum(job.loaded) AS loaded, sum(job.unchanged) AS unchanged,
        sum(job.fallback) AS fallback, sum(job.refused) AS refused, max(job.updated_at) AS updated_at
    FROM {source}
    WHERE {conditions}
    GROUP BY {job_fields}, job.state
) AS counted
GROUP BY {fields}
ORDER BY updated DESC, {fields}
""")

# From the counts of submissions, where nothing else is asked.
_SUMMARY_OF_SUBMISSIONS = sql.SQL("""
SELECT
    {fields}, jsonb_object_agg(state, jobs ORDER BY state) FILTER (WHERE jobs > 0), sum(jobs)::bigint,
    sum(loaded)::bigint, sum(unchanged)::bigint, sum(fallback)::bigint, sum(refused)::bigint,
    max(updated_at) AS updated
FROM (
    SELECT
        {fields}, state, sum(jobs) AS jobs, sum(items_loaded) AS loaded, sum(items_unchanged) AS unchanged,
        sum(items_fallback) AS fallback, sum(items_refused) AS refused, max(updated_at) AS updated_at
    FROM (
        SELECT
            {fields}, state, jobs, items_loaded, items_unchanged, items_fallback, items_refused, updated_at
        FROM ledger.submission
        WHERE {conditions}
        UNION ALL
        SELECT
            {fields}, state, jobs, items_loaded, items_unchanged, items_fallback, items_refused, updated_at
        FROM ledger.submission_change
        WHERE {conditions}
    ) AS part
    GROUP BY {fields}, state
) AS counted
GROUP BY {fields}
HAVING sum(jobs) > 0
ORDER BY updated DESC, {fields}
""")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LARGEST_ID = 2**63 - 1


class TokenInvalid(ValueError):
    """A page token was not made by `list_jobs`."""


def list_jobs(
    conn: Connection, filter: JobFilter | None = None, *, limit: int = 50, token: str | None = None
) -> JobPage:
    """Jobs newest first, a page at a time.

    Pages go by time and number of a job, so that jobs that come or change meanwhile neither repeat nor hide others.

    Raises:
        TokenInvalid: see there.
    """
    asked = filter or JobFilter()
    after = None if token is None else _position(token, asked)
    # One more than asked for tells whether there is another page.
    rows = job_lists.find(conn, asked, limit=limit + 1, after=after)
    jobs = tuple(job_summary(row) for row in rows[:limit])
    return JobPage(jobs, page_token(jobs[-1].time, jobs[-1].job_id, asked) if len(rows) > limit and jobs else None)


def find_job(conn: Connection, prefix: str, *, bucket: str | None = None) -> JobSummary | None:
    """One job as lists show it; None where the ledger does not know it. See `get_job` for the prefix."""
    row = _row(conn, prefix, bucket)
    return None if row is None else job_summary(row[:-2])


def get_job(conn: Connection, prefix: str, *, bucket: str | None = None) -> JobDetail | None:
    """One job in full; None where the ledger does not know it. The prefix's final slash may be left out.

    Where several buckets hold the prefix and none is named, it is the job that came to notice last.
    """
    row = _row(conn, prefix, bucket)
    if row is None:
        return None
    summary = job_summary(row[:-2])
    of_job = {"job": summary.job_id}
    transitions = tuple(
        Transition(State(state), *rest) for state, *rest in conn.execute(_TRANSITIONS, of_job).fetchall()
    )
    return JobDetail(
        summary=summary,
        transitions=transitions,
        decisions=tuple(recorded_decision(summary.prefix, row) for row in conn.execute(_DECISIONS, of_job)),
        problems=tuple(
            {"code": code, "severity": severity, "object": about, "message": message, "fix": fix}
            for code, severity, about, message, fix in conn.execute(_PROBLEMS, of_job)
        ),
        items=tuple(JobItem(id, ItemResult(result), *rest) for id, result, *rest in conn.execute(_ITEMS, of_job)),
        catalogs=tuple(RecordedCatalog(*row) for row in conn.execute(_CATALOGS, of_job)),
        documents=tuple(Pin(*row) for row in conn.execute(_DOCUMENTS, of_job)),
        # The job itself counts those only that did not come to an end.
        attempt=transitions[-1].attempt if transitions else 0,
        generation=row[-2],
        wait_until=row[-1],
    )


def summary(
    conn: Connection, *, by: Sequence[str] = GROUP_FIELDS, filter: JobFilter | None = None
) -> list[GroupSummary]:
    """Counts by state for each group of jobs, latest change first; `by` names the fields that make a group.

    Raises:
        ValueError: `by` is empty or names a field that is none of `GROUP_FIELDS`.
    """
    names = list(dict.fromkeys(by))
    unknown = [name for name in names if name not in GROUP_FIELDS]
    if unknown or not names:
        raise ValueError(
            f"Jobs cannot be grouped by {', '.join(unknown) or 'nothing'}; use some of {', '.join(GROUP_FIELDS)}."
        )
    parameters = job_lists.question(filter or JobFilter())
    fields = sql.SQL(", ").join(sql.Identifier(name) for name in names)
    if parameters.keys() <= job_lists.COUNTED:
        statement = _SUMMARY_OF_SUBMISSIONS.format(fields=fields, conditions=job_lists.counted(parameters))
    else:
        source, conditions = job_lists.source(parameters)
        statement = _SUMMARY.format(
            fields=fields,
            job_fields=sql.SQL(", ").join(sql.Identifier("job", name) for name in names),
            source=source,
            conditions=conditions,
        )
    return [
        GroupSummary(dict(zip(names, row[: len(names)], strict=True)), *row[len(names) :])
        for row in conn.execute(statement, parameters)
    ]


def _row(conn: Connection, prefix: str, bucket: str | None) -> tuple[Any, ...] | None:
    whole = storable(prefix if prefix.endswith("/") else f"{prefix}/")
    return conn.execute(_GET, {"prefix": whole, "bucket": bucket}).fetchone()


def job_summary(row: Sequence[Any]) -> JobSummary:
    """The job in a row of `job_lists.JOB_COLUMNS`."""
    job_id, bucket, prefix, username, algorithm, version, tag, time, state, *rest = row
    *counts, codes, collections, run_id, discovered, updated, due = rest
    loaded, unchanged, fallback, refused = counts
    return JobSummary(
        job_id=job_id,
        bucket=bucket,
        prefix=prefix,
        username=username,
        algorithm=algorithm,
        version=version,
        tag=tag,
        time=time,
        state=State(state),
        loaded=loaded,
        unchanged=unchanged,
        fallback=fallback,
        refused=refused,
        problem_codes=tuple(codes),
        collections=tuple(collections),
        run_id=run_id,
        discovered=discovered,
        updated=updated,
        due=due,
    )


def page_token(time: datetime, job_id: int, asked: JobFilter) -> str:
    """The token of the page of a list that begins after a job, by its time (UTC) and its number in the ledger."""
    position = f"{(time - _EPOCH) // _MICROSECOND} {job_id} {_mark(asked)}"
    return urlsafe_b64encode(position.encode()).decode().rstrip("=")


def _mark(asked: JobFilter) -> str:
    """Tells lists apart, so that nobody goes on in another one in whose middle they never were."""
    return sha256(repr(sorted(job_lists.question(asked).items())).encode()).hexdigest()[:8]


def _position(token: str, asked: JobFilter) -> job_lists.Position:
    """Time and number of the last job of the page before."""
    try:
        text = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4)).decode("ascii")
        first, second, mark = text.split(" ")
        number = int(second)
        time = _EPOCH + int(first) * _MICROSECOND
    except (ValueError, OverflowError) as error:
        raise TokenInvalid(
            "The page token was not made by a list of jobs; begin without one, or take the one that a page names."
        ) from error
    if not 0 <= number <= _LARGEST_ID:
        raise TokenInvalid("The page token names a job that cannot be; begin without one.")
    if mark != _mark(asked):
        raise TokenInvalid("The page token is of a list with other filters; begin without one.")
    return job_lists.Position(time, number)
