"""Finding a page of jobs quickly, whatever is asked and however many jobs there are.

Here belongs how the jobs of a filter are come by. Not here: what a job or a page of them is for those who ask (`jobs`),
and single jobs.

Each name, a state, a code and a collection has an index in the order of lists, so that a page by one of them alone is
read off. Several together may be frequent each and yet rare, or long ago, together, of which PostgreSQL's statistics
know nothing: with a million jobs, looking along one index for the others took up to half a second. So it goes by steps,
each of which either gives the exact page or gives up after a bounded number of rows: a short way along each of the
lists, which is enough where what is asked for is dense, or where one of the lists is short; then by the counts of
submissions, which tell how many jobs have these names in this state and where they are; then further along the lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql

from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import JobFilter, State
from maap_stac_orchestration.ledger.texts import storable

#: What a row of a page holds, in this order.
JOB_COLUMNS = sql.SQL("""
    job.id, job.bucket, job.prefix, job.username, job.algorithm, job.version, job.tag, job.job_time, job.state,
    job.loaded, job.unchanged, job.fallback, job.refused, job.problem_codes, job.collections, job.run_id,
    job.discovered_at, job.updated_at, job.due_at
""")

#: The names that make a submission.
NAMES = ("username", "algorithm", "version", "tag")
#: What the counts of submissions tell apart.
COUNTED = frozenset({*NAMES, "state"})
_TIMES = frozenset({"since", "until"})
#: States that only the end of a run's work on a job gives it.
_LEFT = frozenset({State.LOADED, State.PARTIAL, State.REJECTED, State.WAITING})

_JOBS = sql.SQL("ledger.job")
_BY_JOB = {"time": sql.SQL("job.job_time"), "id": sql.SQL("job.id")}
_BY_LISTED = {"time": sql.SQL("listed.job_time"), "id": sql.SQL("listed.job_id")}
_AND = sql.SQL("\n    AND ")
_TRUE = sql.SQL("true")

# Each a condition on a job.
_CONDITIONS = {
    "username": sql.SQL("job.username = %(username)s"),
    "algorithm": sql.SQL("job.algorithm = %(algorithm)s"),
    "version": sql.SQL("job.version = %(version)s"),
    "tag": sql.SQL("job.tag = %(tag)s"),
    "state": sql.SQL("job.state = %(state)s"),
    "since": sql.SQL("job.job_time >= %(since)s"),
    "until": sql.SQL("job.job_time < %(until)s"),
    # As an array: few jobs to be looked up, never a condition to be checked along the list of all jobs.
    "run_id": sql.SQL("""job.id = ANY (ARRAY(
        SELECT DISTINCT transition.job_id FROM ledger.transition WHERE transition.run_id = %(run_id)s
    ))"""),
    "code": sql.SQL("%(code)s = ANY (job.problem_codes)"),
    # In the job's own array a collection that was deleted still stands; it is looked at first because it costs nothing.
    "collection": sql.SQL("""%(collection)s = ANY (job.collections) AND %(collection)s = ANY (ARRAY(
        SELECT holding.collection FROM ledger.job_collection AS holding WHERE holding.job_id = job.id
    ))"""),
}

# Conditions on whatever a list goes along.
_PLACES = {
    "since": sql.SQL("{time} >= %(since)s"),
    "until": sql.SQL("{time} < %(until)s"),
    "after_id": sql.SQL("({time}, {id}) < (%(after_time)s, %(after_id)s)"),
    # No job with these names in this state is newer.
    "latest": sql.SQL("{time} <= %(latest)s"),
}

# The whole list, where nothing else is asked or nothing else helped.
_ALONG = sql.SQL("""
SELECT {columns}
FROM {source}
WHERE {own}
    AND {conditions}
ORDER BY {time} DESC, {id} DESC
LIMIT %(limit)s
""")

# A part of a list, with how long the part is: where it is shorter than it might be, the list ended.
_SHORT_WAY = sql.SQL("""
WITH listed_job AS MATERIALIZED (
    SELECT {id} AS id
    FROM {table}
    WHERE {own}
    ORDER BY {time} DESC, {id} DESC
    LIMIT %(rows)s
)
SELECT walked.rows, page.*
FROM (SELECT count(*) AS rows FROM listed_job) AS walked
LEFT JOIN (
    SELECT {columns}
    FROM listed_job
    JOIN ledger.job ON job.id = listed_job.id
    WHERE {conditions}
    ORDER BY job.job_time DESC, job.id DESC
    LIMIT %(limit)s
) AS page ON true
ORDER BY page.job_time DESC, page.id DESC
""")

# Both tables in one statement, so that no submission is missed while the counts are brought together. What the second
# says may since have been taken back; then there is a submission with no such job in it to be looked into.
_PARTS = sql.SQL("""
    SELECT key, state, jobs, latest FROM ledger.submission WHERE jobs <> 0 AND {conditions}
    UNION ALL
    SELECT key, state, greatest(jobs, 0), latest FROM ledger.submission_change WHERE {conditions}
""")
_WEIGH = sql.SQL("""
SELECT count(*), coalesce(sum(jobs), 0)::bigint, max(latest) FROM ({parts} LIMIT %(parts)s) AS part
""")

# The newest jobs of each submission, by state; the newest of those are the page.
_OF_SUBMISSIONS = sql.SQL("""
SELECT {columns}
FROM (
    SELECT found.id
    FROM (SELECT DISTINCT key, state FROM ({parts}) AS part) AS part
    CROSS JOIN LATERAL (
        SELECT job.id, job.job_time
        FROM ledger.job
        WHERE job.submission = part.key AND job.state = part.state
            AND {own}
            AND {conditions}
        ORDER BY job.job_time DESC, job.id DESC
        LIMIT %(limit)s
    ) AS found
    ORDER BY found.job_time DESC, found.id DESC
    LIMIT %(limit)s
) AS page
JOIN ledger.job ON job.id = page.id
ORDER BY job.job_time DESC, job.id DESC
""")

# The same along the part of a list that is a submission's.
_OF_SUBMISSIONS_LISTED = sql.SQL("""
SELECT {columns}
FROM (
    SELECT found.id
    FROM (SELECT DISTINCT key FROM ({parts}) AS part) AS part
    CROSS JOIN LATERAL (
        SELECT {id} AS id, {time} AS job_time
        FROM {narrowest}
        WHERE listed.submission = part.key
            AND {own}
            AND {other_than_names}
        ORDER BY {time} DESC, {id} DESC
        LIMIT %(limit)s
    ) AS found
    ORDER BY found.job_time DESC, found.id DESC
    LIMIT %(limit)s
) AS page
JOIN ledger.job ON job.id = page.id
ORDER BY job.job_time DESC, job.id DESC
""")

#: Rows of each list that are looked at in each round, for each job of a page.
_ROUNDS = (10, 80, 640)
#: Submissions that are looked into, by state, before it is known whether they have what is asked for.
_MOST_PARTS = 1000
#: Rows that are looked at there, for each job of a page.
_MOST_ROWS = 80


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the order of lists: that of a job."""

    time: datetime
    id: int


@dataclass(frozen=True, slots=True)
class _List:
    """Jobs in an index, in the order of lists."""

    #: The parameters that are answered by all jobs being in it.
    answers: frozenset[str] = frozenset()
    own: tuple[sql.Composable, ...] = ()
    #: The table that is listed, None for that of the jobs.
    table: str | None = None

    @property
    def source(self) -> sql.Composable:
        """The listed jobs, with the table of jobs."""
        if self.table is None:
            return _JOBS
        return sql.SQL("{} AS listed JOIN ledger.job ON job.id = listed.job_id").format(self._listed)

    @property
    def _listed(self) -> sql.Identifier:
        return sql.Identifier("ledger", self.table or "job")

    def fill(self, parameters: Mapping[str, Any]) -> dict[str, sql.Composable]:
        """The placeholders of a statement along this list."""
        order = _BY_JOB if self.table is None else _BY_LISTED
        places = [one.format(**order) for name, one in _PLACES.items() if name in parameters]
        table = _JOBS if self.table is None else sql.SQL("{} AS listed").format(self._listed)
        known = self.answers | _TIMES | set(NAMES)
        return {
            **order,
            "columns": JOB_COLUMNS,
            "table": table,
            # Without the jobs, where the list by itself says all.
            "narrowest": self.source if parameters.keys() & _CONDITIONS.keys() - known else table,
            "other_than_names": conditions(parameters, without=known),
            "source": self.source,
            "own": _AND.join([*self.own, *places] or [_TRUE]),
            "conditions": conditions(parameters, without=self.answers | _TIMES),
        }


def question(asked: JobFilter) -> dict[str, Any]:
    """What is asked for, as the parameters of statements."""
    return {
        # What the ledger cannot hold, no job is called; the comparison must not fail on it either.
        name: storable(str(value)) if isinstance(value, str) else value
        for name in JobFilter.__dataclass_fields__
        if (value := getattr(asked, name)) is not None
    }


def conditions(parameters: Mapping[str, Any], *, without: frozenset[str] = frozenset()) -> sql.Composable:
    """What must hold of a job (the table `job` of the statement), but for some of it."""
    return _AND.join(
        [one for name, one in _CONDITIONS.items() if name in parameters and name not in without] or [_TRUE]
    )


def counted(parameters: Mapping[str, Any]) -> sql.Composable:
    """The names and the state, as conditions on the counts of submissions."""
    found: list[sql.Composable] = [
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name))
        for name in (*NAMES, "state")
        if name in parameters
    ]
    if parameters.keys() >= set(NAMES):
        found.append(sql.SQL("key = ledger.submission_key(%(username)s, %(algorithm)s, %(version)s, %(tag)s)"))
    return sql.SQL(" AND ").join(found or [_TRUE])


def source(parameters: Mapping[str, Any]) -> tuple[sql.Composable, sql.Composable]:
    """Where all jobs of a filter are to be found, with which conditions, for counting them."""
    first = _lists(parameters)[0]
    return first.source, _AND.join([*first.own, conditions(parameters, without=first.answers)])


def find(conn: Connection, asked: JobFilter, *, limit: int, after: Position | None = None) -> list[tuple[Any, ...]]:
    """The newest jobs of a filter, newest first, as rows of `JOB_COLUMNS`.

    Args:
        conn: the database.
        asked: what must hold.
        limit: at most so many.
        after: those that come after this place.
    """
    parameters = question(asked)
    sought = parameters.keys() - _TIMES
    lists = _lists(parameters)
    parameters["limit"] = limit
    if after is not None:
        parameters |= {"after_time": after.time, "after_id": after.id}
    if "run_id" in sought or sought <= lists[0].answers:
        return _rows(conn, _ALONG, lists[0], parameters)
    for step in _steps(conn, lists, parameters):
        if step is not None:
            return step
    return _rows(conn, _ALONG, lists[0], parameters)


def _steps(conn: Connection, lists: list[_List], parameters: dict[str, Any]) -> Iterator[list[tuple[Any, ...]] | None]:
    """Tries, each dearer than the one before; None where one did not come to the end of the page."""
    limit = parameters["limit"]
    listed = next((one for one in lists if one.table is not None), None)
    by_names = bool(parameters.keys() & set(NAMES))
    parts = _PARTS.format(conditions=counted(parameters))
    for number, rows in enumerate(_ROUNDS):
        for one in lists:
            yield _short_way(conn, one, parameters | {"rows": rows * limit})
        if not by_names:
            continue
        if number == 0:
            row = conn.execute(_WEIGH.format(parts=parts), parameters | {"parts": _MOST_PARTS + 1}).fetchone()
            assert row is not None
            count, jobs, latest = row
            if not count:
                yield []
            if listed is not None and (count > _MOST_PARTS or jobs > _MOST_ROWS * limit):
                # What is not dense enough for a short way is little, in however many submissions.
                yield _rows(conn, _OF_SUBMISSIONS_LISTED, listed, parameters, parts=parts)
            if count > _MOST_PARTS:
                continue
            if jobs <= _MOST_ROWS * limit or count <= _MOST_ROWS:
                yield _rows(conn, _OF_SUBMISSIONS, _List(), parameters, parts=parts)
            parameters["latest"] = latest


def _rows(
    conn: Connection, statement: sql.SQL, along: _List, parameters: Mapping[str, Any], **more: sql.Composable
) -> list[tuple[Any, ...]]:
    return conn.execute(statement.format(**along.fill(parameters), **more), parameters).fetchall()


def _short_way(conn: Connection, along: _List, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]] | None:
    """The page, where it was found within so many rows; None where it goes on behind them."""
    found = _rows(conn, _SHORT_WAY, along, parameters)
    page = [row[1:] for row in found if row[1] is not None]
    return page if len(page) == parameters["limit"] or found[0][0] < parameters["rows"] else None


def _lists(parameters: Mapping[str, Any]) -> list[_List]:
    """The indexes along which the jobs of a filter stand, those first that are likely to be short."""
    found: list[_List] = []
    if "run_id" in parameters:
        return [_List()]
    if "code" in parameters:
        own: tuple[sql.Composable, ...] = (sql.SQL("listed.code = %(code)s"),)
        if parameters.get("state") in _LEFT:
            # The job is asked for its state too: it may be at work again.
            own = (*own, sql.SQL("listed.left_in = %(state)s"))
        found.append(_List(frozenset({"code"}), own, "job_code"))
    if "collection" in parameters:
        own = (sql.SQL("listed.collection = %(collection)s"),)
        found.append(_List(frozenset({"collection"}), own, "job_collection"))
    if "username" in parameters:
        names = [name for name in ("username", "state") if name in parameters]
        found.append(_List(frozenset(names), tuple(_CONDITIONS[name] for name in names)))
    for name in ("tag", "state", "algorithm", "version"):
        if name in parameters and not (name == "state" and "username" in parameters):
            found.append(_List(frozenset({name}), (_CONDITIONS[name],)))
    return found or [_List()]
