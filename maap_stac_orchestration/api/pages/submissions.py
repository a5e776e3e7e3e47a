"""What the page of submissions tells: a row for each (user, algorithm, version, tag).

Here belongs the page's view of the ledger's counts. Not here: the counts (`ledger.submissions`) and the HTML.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from maap_stac_orchestration.api.pages.pictures import Segment, bar
from maap_stac_orchestration.api.pages.rendering import ROOT, address
from maap_stac_orchestration.api.pages.words import item_notes, progress
from maap_stac_orchestration.ledger.submissions import Submission


@dataclass(frozen=True, slots=True)
class SubmissionRow:
    """A submission as the page shows it."""

    username: str
    algorithm: str
    version: str
    tag: str | None
    #: The page of its jobs, and of all submissions of its user.
    jobs_page: str
    user_page: str
    segments: tuple[Segment, ...]
    #: `3 of 4 jobs ended`.
    progress: str
    #: In their collection.
    items: int
    notes: tuple[str, ...]
    latest: datetime
    updated: datetime


def submission_row(submission: Submission, base: str) -> SubmissionRow:
    """The row of a submission; `base` is the path under which the application is served."""
    names = {
        "username": submission.username,
        "algorithm": submission.algorithm,
        "version": submission.version,
        "tag": submission.tag,
    }
    return SubmissionRow(
        username=submission.username,
        algorithm=submission.algorithm,
        version=submission.version,
        tag=submission.tag,
        jobs_page=address(f"{base}{ROOT}/jobs", names),
        user_page=address(base + ROOT, {"username": submission.username}),
        segments=bar(submission.states),
        progress=progress(submission.states),
        items=submission.loaded + submission.unchanged,
        notes=tuple(item_notes(submission)),
        latest=submission.latest,
        updated=submission.updated,
    )
