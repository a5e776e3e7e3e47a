"""Taking on work under a lease, keeping it, giving it back.

Here belongs who holds which job and until when. Not here: how a job ended (`outcomes`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import Batch, DueDay, RunBatch


def claim(
    conn: Connection,
    *,
    day: date,
    run_id: str,
    lease: timedelta,
    max_jobs: int,
    max_items: int,
    wait_deadline: timedelta,
    max_attempts: int,
) -> Batch:
    """Takes on due jobs of a day; commit to make it hold. An empty batch says that nothing is due."""
    raise NotImplementedError


def renew(conn: Connection, batch_id: str, lease: timedelta) -> bool:
    """Extends the lease of what a batch still holds; False when it holds nothing any more. Commit to make it hold."""
    raise NotImplementedError


def retake(conn: Connection, batch: Batch, run_id: str, lease: timedelta) -> Batch:
    """For a step that is run again: takes those jobs of a former batch that nobody else took since, as a new batch."""
    raise NotImplementedError


def release(conn: Connection, *, run_id: str | None = None, batch_id: str | None = None, reason: str = "") -> int:
    """Gives back what a run or batch holds, so that it is due again; the try counts. Returns the number of jobs."""
    raise NotImplementedError


def due_days(conn: Connection) -> list[DueDay]:
    """Days that have work to be claimed now, most urgent first."""
    raise NotImplementedError


def batches_of(conn: Connection, run_ids: Sequence[str]) -> Mapping[str, tuple[RunBatch, ...]]:
    """What each of these runs claimed; runs that claimed nothing (yet) are not in it."""
    raise NotImplementedError
