"""The audit trail of decisions: who asked for which collection, what was answered, by which rule, when.

Here belongs looking at the trail. Not here: how decisions come into it (`outcomes`, in the transaction that loads what
was decided), and changes of the registry, which have a trail of their own (`changes`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from psycopg import sql

from maap_stac_orchestration.governance.decision import Decision, DecisionCode, Outcome
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import RecordedDecision
from maap_stac_orchestration.ledger.texts import storable


@dataclass(frozen=True, slots=True)
class DecisionFilter:
    """Which decisions. Everything that is given must hold; names are compared exactly."""

    username: str | None = None
    algorithm: str | None = None
    version: str | None = None
    tag: str | None = None
    #: The collection id that was asked for.
    requested: str | None = None
    #: Where the items go.
    collection: str | None = None
    code: DecisionCode | None = None
    outcome: Outcome | None = None
    registry_version: str | None = None
    #: The output prefix of the job; its final slash may be left out.
    prefix: str | None = None
    run_id: str | None = None
    #: Taken at this time or later.
    since: datetime | None = None
    #: Taken before this time, so that a day, or a month, ends where the next one begins.
    until: datetime | None = None
    #: About jobs that ran at this time (UTC, by their output prefix) or later.
    job_since: datetime | None = None
    #: About jobs that ran before this time.
    job_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class DecisionPage:
    """Some of the decisions that were asked for, newest first."""

    decisions: tuple[RecordedDecision, ...]
    #: For the page after this one; None on the last.
    next_token: str | None


class DecisionTokenInvalid(ValueError):
    """A page token was not made by `list_decisions`."""


_CONDITIONS = {
    "username": sql.SQL("decision.username = %(username)s"),
    "algorithm": sql.SQL("decision.algorithm = %(algorithm)s"),
    "version": sql.SQL("decision.version = %(version)s"),
    "tag": sql.SQL("decision.tag = %(tag)s"),
    # The first condition is the one that has an index, the second the one that is meant.
    "requested": sql.SQL(
        "left(decision.requested, 300) = left(%(requested)s, 300) AND decision.requested = %(requested)s"
    ),
    "collection": sql.SQL("decision.collection = %(collection)s"),
    "code": sql.SQL("decision.code = %(code)s"),
    "outcome": sql.SQL("decision.outcome = %(outcome)s"),
    "registry_version": sql.SQL("decision.registry_version = %(registry_version)s"),
    # As an array: one job, or one in each bucket, looked up first.
    "prefix": sql.SQL("""decision.job_id = ANY (ARRAY(
            SELECT job.id FROM ledger.job WHERE job.prefix = %(prefix)s
        ))"""),
    "run_id": sql.SQL("decision.run_id = %(run_id)s"),
    "since": sql.SQL("decision.at >= %(since)s"),
    "until": sql.SQL("decision.at < %(until)s"),
    "job_since": sql.SQL("job.job_time >= %(job_since)s"),
    "job_until": sql.SQL("job.job_time < %(job_until)s"),
}

#: Conditions for which the trail is walked along by time.
_TIMES = {"since", "until"}

_COLUMNS = sql.SQL("""
    decision.id, job.prefix, decision.code, decision.outcome, decision.collection, decision.requested, decision.rule,
    decision.message, decision.registry_version, decision.username, decision.algorithm, decision.version, decision.tag,
    decision.at, decision.run_id
""")

_LIST = sql.SQL("""
SELECT {columns}
FROM (
    SELECT decision.*
    FROM ledger.decision
    WHERE {conditions}
    ORDER BY {order}
    LIMIT %(limit)s
) AS decision
JOIN ledger.job ON job.id = decision.job_id
ORDER BY {order}
""")

#: Conditions for which it is walked along by the time of the jobs, from each job to its decisions.
_JOB_TIMES = {"job_since", "job_until"}

_LIST_OF_JOBS = sql.SQL("""
SELECT {columns}
FROM ledger.job
JOIN ledger.decision ON decision.job_id = job.id
WHERE {conditions}
ORDER BY job.job_time DESC, job.id DESC, decision.id DESC
LIMIT %(limit)s
""")
_AFTER_OF_JOBS = sql.SQL("""(job.job_time, job.id) <= (%(after_job_time)s, %(after_job)s)
    AND (job.job_time, job.id, decision.id) < (%(after_job_time)s, %(after_job)s, %(after_id)s)""")

# Decisions are numbered as they are taken. Asked for nothing but a time, the trail is walked along by time: by number
# everything that is newer than the time's end, or older than its beginning, would be read too.
_BY_NUMBER = sql.SQL("decision.id DESC")
_BY_TIME = sql.SQL("decision.at DESC, decision.id DESC")
_AFTER_NUMBER = sql.SQL("decision.id < %(after_id)s")
_AFTER_TIME = sql.SQL("(decision.at, decision.id) < (%(after_time)s, %(after_id)s)")

_PLACE_OF = """
SELECT decision.at, job.job_time, job.id
FROM ledger.decision
JOIN ledger.job ON job.id = decision.job_id
WHERE decision.id = %(id)s
"""

_LARGEST_ID = 2**63 - 1


def list_decisions(
    conn: Connection, filter: DecisionFilter | None = None, limit: int = 50, token: str | None = None
) -> DecisionPage:
    """Decisions newest first, a page at a time; those of the newest job first where a time of jobs is asked for.

    Pages go by the number of a decision, so that decisions that come meanwhile neither repeat nor hide others.

    Args:
        conn: an open connection.
        filter: which ones; without it, all.
        limit: at most that many.
        token: the `next_token` of the page before, asked for with the same filter.

    Raises:
        DecisionTokenInvalid: see there.
    """
    parameters = _parameters(filter or DecisionFilter())
    conditions: list[sql.Composable] = [_CONDITIONS[name] for name in parameters]
    of_jobs = not parameters.keys().isdisjoint(_JOB_TIMES)
    by_time = parameters.keys() <= _TIMES
    if token is not None:
        parameters |= _position(conn, token)
        conditions.append(_AFTER_OF_JOBS if of_jobs else _AFTER_TIME if by_time else _AFTER_NUMBER)
    statement = (_LIST_OF_JOBS if of_jobs else _LIST).format(
        columns=_COLUMNS,
        conditions=sql.SQL("\n        AND ").join(conditions or [sql.SQL("true")]),
        order=_BY_TIME if by_time else _BY_NUMBER,
    )
    # One more than asked for tells whether there is another page.
    rows = conn.execute(statement, {**parameters, "limit": limit + 1}).fetchall()
    more = len(rows) > limit and limit > 0
    return DecisionPage(
        tuple(recorded_decision(row[1], row[2:]) for row in rows[:limit]), str(rows[limit - 1][0]) if more else None
    )


def _parameters(asked: DecisionFilter) -> dict[str, Any]:
    parameters = {
        # As it was written down: what is longer than the ledger keeps was cut.
        one.name: storable(str(value)) if isinstance(value, str) else value
        for one in fields(asked)
        if (value := getattr(asked, one.name)) is not None
    }
    if asked.prefix is not None:
        parameters["prefix"] = asked.prefix if asked.prefix.endswith("/") else f"{asked.prefix}/"
    return parameters


def _position(conn: Connection, token: str) -> dict[str, Any]:
    """Where the page before ended, by its last decision. None is ever removed, so its number suffices."""
    number = int(token) if token.isascii() and token.isdigit() and len(token) <= len(str(_LARGEST_ID)) else 0
    row = conn.execute(_PLACE_OF, {"id": number}).fetchone() if 0 < number <= _LARGEST_ID else None
    if row is None:
        raise DecisionTokenInvalid(
            "The page token was not made by a list of decisions; begin without one, or take the one that a page names."
        )
    at, job_time, job = row
    return {"after_id": number, "after_time": at, "after_job_time": job_time, "after_job": job}


def recorded_decision(prefix: str, row: tuple[Any, ...]) -> RecordedDecision:
    """A decision about the job with this output prefix.

    Args:
        prefix: the job's.
        row: code, outcome, collection, requested, rule, message, registry version, username, algorithm, version, tag,
            time, run.
    """
    code, outcome, collection, requested, rule, message, registry_version, *rest = row
    username, algorithm, version, tag, at, run_id = rest
    return RecordedDecision(
        decision=Decision(DecisionCode(code), Outcome(outcome), collection, requested, rule, message, registry_version),
        username=username,
        algorithm=algorithm,
        version=version,
        tag=tag,
        job_prefix=prefix,
        at=at,
        run_id=run_id,
    )
