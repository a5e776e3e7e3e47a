"""Looking at jobs: lists, one job in full, groups.

Here belongs every question about jobs that people and programs ask. Not here: anything that changes a job.
"""

from __future__ import annotations

from collections.abc import Sequence

from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import GroupSummary, JobDetail, JobFilter, JobPage

#: What jobs can be grouped by.
GROUP_FIELDS = ("username", "algorithm", "version", "tag")


class TokenInvalid(ValueError):
    """A page token was not made by `list_jobs`."""


def list_jobs(
    conn: Connection, filter: JobFilter | None = None, *, limit: int = 50, token: str | None = None
) -> JobPage:
    """Jobs newest first, a page at a time.

    Raises:
        TokenInvalid: see there.
    """
    raise NotImplementedError


def get_job(conn: Connection, prefix: str, *, bucket: str | None = None) -> JobDetail | None:
    """One job in full; None where the ledger does not know it. The prefix's final slash may be left out."""
    raise NotImplementedError


def summary(
    conn: Connection, *, by: Sequence[str] = GROUP_FIELDS, filter: JobFilter | None = None
) -> list[GroupSummary]:
    """Counts by state for each group of jobs, latest change first; `by` names the fields that make a group."""
    raise NotImplementedError
