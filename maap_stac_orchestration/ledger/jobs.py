"""Looking at jobs: lists, one job in full, groups.

Here belongs every question about jobs that people and programs ask. Not here: anything that changes a job.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import sql

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

_JOB_COLUMNS = sql.SQL("""
    job.id, job.bucket, job.prefix, job.username, job.algorithm, job.version, job.tag, job.job_time, job.state,
    job.loaded, job.unchanged, job.fallback, job.refused, job.problem_codes, job.collections, job.run_id,
    job.discovered_at, job.updated_at, job.due_at
""")

# What a list walks along, each with an index in the list's order.
_ALL = sql.SQL("ledger.job")
_OF_COLLECTION = sql.SQL("ledger.job_collection AS listed JOIN ledger.job ON job.id = listed.job_id")
_OF_CODE = sql.SQL("ledger.job_code AS listed JOIN ledger.job ON job.id = listed.job_id")

_NAMES = {
    "username": sql.SQL("job.username = %(username)s"),
    "algorithm": sql.SQL("job.algorithm = %(algorithm)s"),
    "version": sql.SQL("job.version = %(version)s"),
    "tag": sql.SQL("job.tag = %(tag)s"),
}
_CONDITIONS = _NAMES | {
    "state": sql.SQL("job.state = %(state)s"),
    "since": sql.SQL("{time} >= %(since)s"),
    "until": sql.SQL("{time} < %(until)s"),
    # As an array: few jobs to be looked up, never a condition to be checked along the list of all jobs.
    "run_id": sql.SQL("""job.id = ANY (ARRAY(
        SELECT DISTINCT transition.job_id FROM ledger.transition WHERE transition.run_id = %(run_id)s
    ))"""),
}
_LISTED_COLLECTION = sql.SQL("listed.collection = %(collection)s")
_LISTED_CODE = sql.SQL("listed.code = %(code)s")
_LEFT_IN = sql.SQL("listed.left_in = %(state)s")
_HAS_CODE = sql.SQL("%(code)s = ANY (job.problem_codes)")
# Not by the job's own list: a collection that was deleted still stands there.
_HAS_COLLECTION = sql.SQL("""%(collection)s = ANY (ARRAY(
        SELECT holding.collection FROM ledger.job_collection AS holding WHERE holding.job_id = job.id
    ))""")
# Known of all jobs that the names and the state of a filter pick.
_NOT_AFTER = sql.SQL("{time} <= %(latest)s")

_LIST = sql.SQL("""
SELECT {columns}
FROM {source}
WHERE {conditions}
ORDER BY {time} DESC, {id} DESC
LIMIT %(limit)s
""")
_AFTER = sql.SQL("({time}, {id}) < (%(after_time)s, %(after_id)s)")

# Where submissions have the names and the state of a filter. Names that are each frequent may together be rare or old,
# of which PostgreSQL knows nothing; along one of their lists it would look for the others in vain. The counts tell: by
# them the newest jobs of each submission are looked up, and the newest of those are the page.
_PARTS = sql.SQL("""
    SELECT key, state, jobs, latest FROM ledger.submission WHERE jobs <> 0 AND {conditions}
    UNION ALL
    SELECT key, state, greatest(jobs, 0), latest FROM ledger.submission_change WHERE {conditions}
""")
_PART_CONDITIONS = {
    "username": sql.SQL("username = %(username)s"),
    "algorithm": sql.SQL("algorithm = %(algorithm)s"),
    "version": sql.SQL("version = %(version)s"),
    "tag": sql.SQL("tag = %(tag)s"),
    "state": sql.SQL("state = %(state)s"),
}
_PART_KEY = sql.SQL("key = ledger.submission_key(%(username)s, %(algorithm)s, %(version)s, %(tag)s)")
_WEIGH = sql.SQL("""
SELECT count(*), coalesce(sum(jobs), 0)::bigint, max(latest) FROM ({parts} LIMIT %(parts)s) AS part
""")
_LIST_OF_SUBMISSIONS = sql.SQL("""
SELECT {columns}
FROM (
    SELECT found.id
    FROM (SELECT DISTINCT key, state FROM ({parts}) AS part) AS part
    CROSS JOIN LATERAL (
        SELECT {id} AS id, {time} AS time
        FROM {source}
        WHERE {conditions}
        ORDER BY {time} DESC, {id} DESC
        LIMIT %(limit)s
    ) AS found
    ORDER BY found.time DESC, found.id DESC
    LIMIT %(limit)s
) AS page
JOIN ledger.job ON job.id = page.id
ORDER BY job.job_time DESC, job.id DESC
""")
_OF_PART = sql.SQL("job.submission = part.key AND job.state = part.state")
_LISTED_OF_PART = sql.SQL("listed.submission = part.key AND job.state = part.state")

#: Submissions that are looked into for one page; of more, which then hold many jobs, a list is walked along.
_MOST_PARTS = 1000
#: Rows that are looked at for one page before walking along a list is thought better, beside some for each of its jobs.
_MOST_ROWS = 4000

_GET = sql.SQL("""
SELECT {columns}, job.generation, job.wait_until
FROM ledger.job
WHERE job.prefix = %(prefix)s AND (%(bucket)s::text IS NULL OR job.bucket = %(bucket)s)
ORDER BY job.id DESC
LIMIT 1
""").format(columns=_JOB_COLUMNS)

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
    walk = _walk(conn, filter or JobFilter(), limit)
    parameters = walk.parameters
    conditions = list(walk.conditions)
    if token is not None:
        parameters["after_time"], parameters["after_id"] = _position(token)
        conditions.append(_AFTER.format(**walk.order))
    parts = {} if walk.parts is None else {"parts": walk.parts}
    statement = (_LIST if walk.parts is None else _LIST_OF_SUBMISSIONS).format(
        columns=_JOB_COLUMNS,
        source=walk.source,
        conditions=sql.SQL("\n    AND ").join(conditions or [sql.SQL("true")]),
        **walk.order,
        **parts,
    )
    # One more than asked for tells whether there is another page.
    rows = conn.execute(statement, {**parameters, "limit": limit + 1}).fetchall()
    jobs = tuple(_summary(row) for row in rows[:limit])
    return JobPage(jobs, _token(jobs[-1]) if len(rows) > limit and jobs else None)


def get_job(conn: Connection, prefix: str, *, bucket: str | None = None) -> JobDetail | None:
    """One job in full; None where the ledger does not know it. The prefix's final slash may be left out.

    Where several buckets hold the prefix and none is named, it is the job that came to notice last.
    """
    whole = storable(prefix if prefix.endswith("/") else f"{prefix}/")
    row = conn.execute(_GET, {"prefix": whole, "bucket": bucket}).fetchone()
    if row is None:
        return None
    summary = _summary(row[:-2])
    of_job = {"job": summary.job_id}
    transitions = tuple(
        Transition(State(state), *rest) for state, *rest in conn.execute(_TRANSITIONS, of_job).fetchall()
    )
    return JobDetail(
        summary=summary,
        transitions=transitions,
        decisions=tuple(recorded_decision(whole, row) for row in conn.execute(_DECISIONS, of_job)),
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
    asked = filter or JobFilter()
    parameters = _parameters(asked)
    fields = sql.SQL(", ").join(sql.Identifier(name) for name in names)
    if parameters.keys() <= _PART_CONDITIONS.keys():
        statement = _SUMMARY_OF_SUBMISSIONS.format(fields=fields, conditions=_part_conditions(parameters))
    else:
        walk = _along_job(parameters) if "run_id" in parameters else _along_list(asked, parameters)
        statement = _SUMMARY.format(
            fields=fields,
            job_fields=sql.SQL(", ").join(sql.Identifier("job", name) for name in names),
            source=walk.source,
            conditions=sql.SQL("\n        AND ").join(walk.conditions),
        )
    return [
        GroupSummary(dict(zip(names, row[: len(names)], strict=True)), *row[len(names) :])
        for row in conn.execute(statement, parameters)
    ]


@dataclass(frozen=True, slots=True)
class _Walk:
    """How the jobs of a filter are found."""

    #: What to walk along, under which conditions, in the order of which columns.
    source: sql.SQL
    conditions: list[sql.Composable]
    order: Mapping[str, sql.SQL]
    parameters: dict[str, Any]
    #: The submissions to walk through one by one; None to walk once.
    parts: sql.Composed | None = None


_BY_JOB = {"time": sql.SQL("job.job_time"), "id": sql.SQL("job.id")}
_BY_LISTED = {"time": sql.SQL("listed.job_time"), "id": sql.SQL("listed.job_id")}

#: What has a list of its own, with nothing left to be looked for in it.
_LISTS = (
    {"username"},
    {"username", "state"},
    {"algorithm"},
    {"algorithm", "version"},
    {"version"},
    {"tag"},
    {"state"},
    set[str](),
)
#: States that only the end of a run's work on a job gives.
_LEFT = frozenset({State.LOADED, State.PARTIAL, State.REJECTED, State.WAITING})


def _walk(conn: Connection, asked: JobFilter, limit: int) -> _Walk:
    """The shortest way to a page of jobs, which depends on how many jobs have the names that are asked for."""
    parameters = _parameters(asked)
    narrowing = parameters.keys() & {*_NAMES, "state"}
    listed = parameters.keys() & {"collection", "code"}
    along_job = _along_job(parameters)
    if "run_id" in parameters or (not listed and narrowing in _LISTS):
        return along_job
    if not parameters.keys() & _NAMES.keys():
        return _along_list(asked, parameters)
    parts = _parts(parameters)
    row = conn.execute(_WEIGH.format(parts=parts), {**parameters, "parts": _MOST_PARTS + 1}).fetchone()
    assert row is not None
    count, jobs, latest = row
    most = _MOST_ROWS + 4 * limit
    if count <= _MOST_PARTS:
        if jobs <= most or (not listed and count * limit <= most):
            return replace(along_job, conditions=[_OF_PART, *along_job.conditions], parts=parts)
        along = _along_list(asked, parameters) if listed else along_job
        if listed and count * limit <= most:
            return replace(along, conditions=[_LISTED_OF_PART, *along.conditions], parts=parts)
        bounded = [_NOT_AFTER.format(**along.order), *along.conditions]
        return replace(along, conditions=bounded, parameters={**parameters, "latest": latest})
    return _along_list(asked, parameters) if listed else along_job


def _along_job(parameters: dict[str, Any]) -> _Walk:
    """Along an index of the table of jobs."""
    conditions = _conditions(parameters, _BY_JOB)
    if "code" in parameters:
        conditions.append(_HAS_CODE)
    if "collection" in parameters:
        conditions.append(_HAS_COLLECTION)
    return _Walk(_ALL, conditions, _BY_JOB, parameters)


def _along_list(asked: JobFilter, parameters: dict[str, Any]) -> _Walk:
    """Along the jobs with a code or in a collection."""
    if asked.collection is not None:
        conditions = [_LISTED_COLLECTION, *_conditions(parameters, _BY_LISTED)]
        if asked.code is not None:
            conditions.append(_HAS_CODE)
        return _Walk(_OF_COLLECTION, conditions, _BY_LISTED, parameters)
    if asked.code is None or (asked.state is not None and asked.state not in _LEFT):
        return _along_job(parameters)
    left = [_LEFT_IN] if asked.state is not None else []
    return _Walk(_OF_CODE, [_LISTED_CODE, *left, *_conditions(parameters, _BY_LISTED)], _BY_LISTED, parameters)


def _conditions(parameters: Mapping[str, Any], order: Mapping[str, sql.SQL]) -> list[sql.Composable]:
    return [condition.format(**order) for name, condition in _CONDITIONS.items() if name in parameters]


def _parts(parameters: Mapping[str, Any]) -> sql.Composed:
    """The submissions, by state, that have the names and the state of a filter."""
    return _PARTS.format(conditions=_part_conditions(parameters))


def _part_conditions(parameters: Mapping[str, Any]) -> sql.Composed:
    conditions: list[sql.Composable] = [one for name, one in _PART_CONDITIONS.items() if name in parameters]
    if parameters.keys() >= _NAMES.keys():
        conditions.append(_PART_KEY)
    return sql.SQL(" AND ").join(conditions or [sql.SQL("true")])


def _parameters(asked: JobFilter) -> dict[str, Any]:
    return {
        # What the ledger cannot hold, no job is called; the comparison must not fail on it either.
        name: storable(str(value)) if isinstance(value, str) else value
        for name in JobFilter.__dataclass_fields__
        if (value := getattr(asked, name)) is not None
    }


def _summary(row: tuple[Any, ...]) -> JobSummary:
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


def _token(job: JobSummary) -> str:
    position = f"{(job.time - _EPOCH) // _MICROSECOND} {job.job_id}"
    return urlsafe_b64encode(position.encode()).decode().rstrip("=")


def _position(token: str) -> tuple[datetime, int]:
    """Time and number of the last job of the page before."""
    try:
        text = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4)).decode("ascii")
        microseconds, number = (int(part) for part in text.split(" "))
        time = _EPOCH + microseconds * _MICROSECOND
    except (ValueError, OverflowError) as error:
        raise TokenInvalid(
            "The page token was not made by a list of jobs; begin without one, or take the one that a page names."
        ) from error
    if not 0 <= number <= _LARGEST_ID:
        raise TokenInvalid("The page token names a job that cannot be; begin without one.")
    return time, number
