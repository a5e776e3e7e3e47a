"""Jobs, sightings and outcomes as the ledger's tests need them, in a word each.

Here belongs what several of these tests say about their world. Not here: what they expect of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg

from maap_stac_orchestration.governance.decision import Decision, DecisionCode, Outcome
from maap_stac_orchestration.ledger.claims import claim
from maap_stac_orchestration.ledger.discovery import record
from maap_stac_orchestration.ledger.records import Batch, ClaimedJob, FinishedJob, Pin, Recorded, SeenCatalog, State

Connection = psycopg.Connection[tuple[Any, ...]]

BUCKET = "maap-ops-workspace"
DAY = date(2025, 8, 7)
LEASE = timedelta(minutes=1)
WAIT = timedelta(minutes=15)
MAX_ATTEMPTS = 5
WRITTEN = datetime(2025, 8, 7, 12, tzinfo=UTC)


def prefix(number: int = 0, *, day: date = DAY, username: str = "ana", tag: str | None = "demo") -> str:
    """The output prefix of the job with this number, one second after the job before."""
    time = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=number)
    return f"{username}/dps_output/flood/v1/{f'{tag}/' if tag else ''}{time:%Y/%m/%d/%H/%M/%S}/000000/"


def seen(
    job: str,
    etag: str = "a",
    *,
    name: str = "catalog.json",
    at: datetime = WRITTEN,
    size: int = 500,
    source: str = "event",
    priority: int = 0,
) -> SeenCatalog:
    """A sighting of a catalog of the job with this prefix."""
    return SeenCatalog(BUCKET, job + name, etag, size, at, None, source, priority)


def discover(conn: Connection, *sightings: SeenCatalog) -> Recorded:
    """Records and commits."""
    recorded = record(conn, sightings)
    conn.commit()
    return recorded


def take(
    conn: Connection,
    *,
    run_id: str = "run",
    day: date = DAY,
    max_jobs: int = 1000,
    max_items: int = 100_000,
    max_attempts: int = MAX_ATTEMPTS,
) -> Batch:
    """Claims and commits."""
    batch = claim(
        conn,
        day=day,
        run_id=run_id,
        lease=LEASE,
        max_jobs=max_jobs,
        max_items=max_items,
        wait_deadline=WAIT,
        max_attempts=max_attempts,
    )
    conn.commit()
    return batch


def ended(
    job: ClaimedJob, state: State = State.LOADED, *, read: Sequence[Pin] | None = None, **more: Any
) -> FinishedJob:
    """The job's end, with the catalogs that were claimed as what was read unless something else is said."""
    pins = tuple(pin(key, etag) for key, etag in job.catalogs.items()) if read is None else tuple(read)
    return FinishedJob(job, state, pins=pins, **more)


def pin(key: str, etag: str, at: datetime | None = None) -> Pin:
    """A document that was read."""
    return Pin(key, etag, None, "0" * 64, 500, at)


def decision(requested: str | None = None, code: DecisionCode = DecisionCode.DEFAULT_ASSIGNED) -> Decision:
    """A decision for the collection that was asked for."""
    outcome = Outcome.ACCEPT if code is DecisionCode.GRANTED else Outcome.DEFAULT
    return Decision(code, outcome, requested or "ana__flood__v1__demo", requested, "the rule", "The message.", "r1")


def prefixes(batch: Batch) -> list[str]:
    """The jobs of a batch."""
    return [job.prefix for job in batch.jobs]


def let_leases_run_out(conn: Connection) -> None:
    """As if their time had passed."""
    conn.execute("UPDATE ledger.job SET due_at = now() - interval '1 second' WHERE state = 'ingesting'")
    conn.commit()


def let_time_pass(conn: Connection) -> None:
    """Everything that will be due some time is due now."""
    conn.execute("UPDATE ledger.job SET due_at = least(due_at, now()) WHERE due_at IS NOT NULL")
    conn.commit()


def states(conn: Connection) -> dict[str, str]:
    """Prefix -> state of all jobs."""
    return dict(conn.execute("SELECT prefix, state FROM ledger.job ORDER BY prefix").fetchall())


def column(conn: Connection, name: str, job: str) -> Any:
    """What stands in a column of a job's row."""
    row = conn.execute(
        psycopg.sql.SQL("SELECT {} FROM ledger.job WHERE prefix = %s").format(psycopg.sql.Identifier(name)), (job,)
    ).fetchone()
    assert row is not None
    return row[0]


def plan(conn: Connection, statement: Any, parameters: dict[str, Any]) -> dict[str, Any]:
    """PostgreSQL's plan of a statement, by the parameters' values."""
    text = statement if isinstance(statement, str) else statement.as_string(conn)
    row = conn.execute("EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) " + text, parameters, prepare=False).fetchone()
    assert row is not None
    found: dict[str, Any] = row[0][0]["Plan"]
    return found


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """All nodes of a plan."""
    return [plan, *(node for child in plan.get("Plans", ()) for node in nodes(child))]
