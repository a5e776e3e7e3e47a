"""What the page of jobs tells: a row for each, and the form of its filters.

Here belongs the page's view of a list of jobs. Not here: how jobs are found (`ledger.jobs`), which filters there are
(`api.jobs`), and the HTML.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

from maap_stac_orchestration.api.jobs import JobQuery
from maap_stac_orchestration.api.pages.collection import collection_page
from maap_stac_orchestration.api.pages.rendering import job_page
from maap_stac_orchestration.api.pages.words import STATES, item_notes
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import JobSummary, State
from maap_stac_orchestration.ledger.submissions import list_submissions

#: Filters that are texts, with what they are called; the others have inputs of their own kind.
TEXT_FILTERS = {
    "username": "User",
    "algorithm": "Algorithm",
    "version": "Version",
    "tag": "Tag",
    "collection": "Collection",
    "run_id": "Dagster run",
}

#: Problems and collections that a row names; the job's page names all.
_MOST = 3

#: Submissions of one user, algorithm and version that are added up.
_MOST_COUNTED = 1_000


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as a list shows it."""

    prefix: str
    page: str
    username: str
    algorithm: str
    version: str
    tag: str | None
    time: datetime
    state: State
    label: str
    #: In their collection.
    items: int
    notes: tuple[str, ...]
    problems: tuple[str, ...]
    more_problems: int
    #: Ids and pages.
    collections: tuple[tuple[str, str], ...]
    more_collections: int
    updated: datetime


def job_row(job: JobSummary, base: str) -> JobRow:
    """The row of a job; `base` is the path under which the application is served."""
    return JobRow(
        prefix=job.prefix,
        page=job_page(base, job.prefix),
        username=job.username,
        algorithm=job.algorithm,
        version=job.version,
        tag=job.tag,
        time=job.time,
        state=job.state,
        label=STATES[job.state].label,
        items=job.loaded + job.unchanged,
        notes=tuple(item_notes(job)),
        problems=job.problem_codes[:_MOST],
        more_problems=len(job.problem_codes[_MOST:]),
        collections=tuple((id, collection_page(base, id)) for id in job.collections[:_MOST]),
        more_collections=len(job.collections[_MOST:]),
        updated=job.updated,
    )


def given(query: JobQuery) -> dict[str, str]:
    """The filters that are set, as they stand in an address and in inputs of a form."""
    texts = {}
    for name in JobQuery.model_fields:
        value = getattr(query, name)
        if value is not None:
            texts[name] = _input_time(value) if isinstance(value, datetime) else str(value)
    return texts


def states_of(conn: Connection, query: JobQuery) -> dict[State, int]:
    """How many jobs of a submission are in which state, where the filters name one; otherwise nothing, since only
    submissions are counted beforehand. Without a tag it is all of them that have the other names."""
    beyond = set(given(query)) - {"username", "algorithm", "version", "tag", "state"}
    if beyond or not (query.username and query.algorithm and query.version):
        return {}
    names = (query.username, query.algorithm, query.version)
    # What stands in the names may stand in those of other submissions too.
    found = list_submissions(
        conn, username=query.username, text=" ".join([*names, query.tag or ""]), limit=_MOST_COUNTED
    )
    counted: Counter[State] = Counter()
    for one in found.submissions:
        if (one.username, one.algorithm, one.version) == names and query.tag in (None, one.tag):
            counted.update(one.states)
    return dict(counted)


def _input_time(value: datetime) -> str:
    """As inputs of type datetime-local take it, UTC."""
    utc = value.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}"
