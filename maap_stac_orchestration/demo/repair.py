"""The spoiled jobs from beginning to end: submit those that are missing, see what is told of each, repair them.

Here belongs the order of things and what is reported of them. Not here: in which ways they are spoiled (`spoiled`), and
how it is shown (`cli.demo`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from maap_stac_orchestration.demo import follow as following
from maap_stac_orchestration.demo import jobs
from maap_stac_orchestration.demo import submit as submitting
from maap_stac_orchestration.demo.jobs import DemoJob
from maap_stac_orchestration.demo.outputs import SIZE, OutputFile
from maap_stac_orchestration.demo.spoiled import COLLECTION, WAYS, Again, Way, way_of
from maap_stac_orchestration.demo.submit import Submitted
from maap_stac_orchestration.dps.output_prefix import parse_output_prefix
from maap_stac_orchestration.ledger.changes import Author
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.documents import Addresses
from maap_stac_orchestration.ledger.records import TERMINAL, State
from maap_stac_orchestration.pipeline import administer
from maap_stac_orchestration.pipeline.retry import RetryRequest, retry
from maap_stac_orchestration.problems import Severity
from maap_stac_orchestration.settings import Settings

_PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a spoiled job stands, as the status API tells it."""

    way: Way
    prefix: str
    #: None before its catalog has come to notice.
    state: State | None
    #: Its problems as documents, errors and warnings.
    problems: Sequence[Mapping[str, Any]]
    #: The address of its status page.
    page: str

    @property
    def errors(self) -> tuple[Mapping[str, Any], ...]:
        """Its problems that are no mere warnings."""
        return tuple(one for one in self.problems if one["severity"] == Severity.ERROR)

    @property
    def ended(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.state in TERMINAL

    @property
    def as_spoiled(self) -> bool:
        """Whether it ended as its way says, with the one problem of its way."""
        return self.state is self.way.state and {one["code"] for one in self.errors} == {str(self.way.code)}

    @property
    def repaired(self) -> bool:
        """Whether everything of it is loaded where it wanted to be."""
        return self.state is State.LOADED and not self.errors


@dataclass(frozen=True, slots=True)
class Spoiling:
    """What became of the spoiled jobs, in the order of `WAYS`."""

    jobs: tuple[Standing, ...]
    #: How many of them were in the bucket before.
    already_there: int

    @property
    def as_meant(self) -> bool:
        """Whether each ended as its way says, or was repaired since."""
        return all(one.as_spoiled or one.repaired for one in self.jobs)


@dataclass(frozen=True, slots=True)
class Repair:
    """What was done about one job, and where it stands then."""

    standing: Standing
    #: Names of files that were uploaded.
    uploaded: tuple[str, ...]
    #: The collection that was granted now.
    granted: str | None
    #: Whether it was asked to be tried again.
    retried: bool


class NotSpoiled(Exception):
    """There are no spoiled jobs in the bucket; the message says how they come there."""


def spoil(
    *,
    bucket: str,
    api_url: str,
    again: bool,
    day: date | None,
    timeout: timedelta,
    on_submitted: Callable[[], None],
    on_ended: Callable[[], None],
    size: int = SIZE,
) -> Spoiling:
    """Submits those of the spoiled jobs that are not in the bucket yet (all when `again`), and waits for their end.

    Args:
        day: the UTC day that they pretend to have run on; None for now, and for whichever day they are there of.
        timeout: how long to wait once everything is submitted.
        on_submitted: called for each job that is in the bucket.
        on_ended: called for each job that has ended.
        size: pixels along each side of the images.

    Raises:
        ApiUnavailable: the status API does not answer.
        BucketUnavailable: the bucket cannot be listed or written.
    """
    s3 = submitting.s3_client()
    there = {} if again else submitting.find_submitted(s3, bucket, _JOBS, day)
    submitted = dict(there)

    def done(one: Submitted) -> None:
        submitted[one.job] = one
        on_submitted()

    for _ in there:
        on_submitted()
    submitting.submit(
        s3,
        bucket,
        [job for job in _JOBS if job not in there],
        now=_moment(day),
        on_done=done,
        size=size,
        files=lambda job, time, size: way_of(job).spoiled_files(time, size),
    )
    prefixes = {way: submitted[way.job].prefix for way in WAYS}
    return Spoiling(
        _await(api_url, prefixes, lambda one: one.ended, timeout=timeout, on_enough=on_ended), already_there=len(there)
    )


def forget_grant(conn: Connection, settings: Settings, author: Author) -> bool:
    """Takes the grant of an earlier repair out of force, so that the denial can be seen again; whether there was one.

    Raises:
        Refused: the grants that are in force do not go together.
    """
    try:
        administer.revoke(conn, settings, COLLECTION, author)
    except administer.NoSuchEntry:
        return False
    return True


def repair(
    conn: Connection,
    settings: Settings,
    author: Author,
    *,
    bucket: str,
    api_url: str,
    day: date | None,
    timeout: timedelta,
    on_repaired: Callable[[], None],
    size: int = SIZE,
) -> tuple[Repair, ...]:
    """Repairs the spoiled jobs as their authors and an administrator would, and follows until all is loaded.

    What is repaired already is left alone, so a second call does nothing, and one that broke off can be repeated.

    Args:
        conn: the ledger's connection, with nothing pending.
        author: who grants and retries, and why.
        day: only jobs of this UTC day; the newest of each way where it is None.
        timeout: how long to wait once everything is uploaded.
        on_repaired: called for each job that is loaded without an error.
        size: pixels along each side of the images that were submitted.

    Raises:
        NotSpoiled: not all of the spoiled jobs are in the bucket.
        ApiUnavailable: the status API does not answer.
        BucketUnavailable: the bucket cannot be listed or written.
        Refused: the grant cannot be given.
        RegistryUnavailable: the registry cannot be read.
    """
    s3 = submitting.s3_client()
    there = submitting.find_submitted(s3, bucket, _JOBS, day)
    if len(there) < len(WAYS):
        of_day = "" if day is None else f" of {day}"
        raise NotSpoiled(
            f"{len(there)} of the {len(WAYS)} spoiled jobs{of_day} are in the bucket {bucket}; submit them with "
            "`maap-stac demo --spoil`."
        )
    uploaded: dict[Way, tuple[str, ...]] = {}
    granted: dict[Way, str] = {}
    prefixes = {way: there[way.job].prefix for way in WAYS}
    for way, prefix in prefixes.items():
        files: tuple[OutputFile, ...] = way.repaired_files(parse_output_prefix(prefix).time, size)
        uploaded[way] = submitting.replace_files(s3, bucket, prefix, files)
        if way.grants is not None and _grant(conn, settings, way.grants, author):
            granted[way] = way.grants
    retried: set[Way] = set()

    def try_again(standings: Iterable[Standing]) -> None:
        # Only of jobs that have ended: one that is being read may see the repaired files already, or end as before.
        for one in standings:
            if one.ended and not one.repaired and one.way.again is not Again.BY_ITSELF and one.way not in retried:
                retried.add(one.way)
                place = f"s3://{bucket}/{one.prefix}"
                request = RetryRequest(prefixes=(place,), force=one.way.again is Again.FORCED_RETRY)
                retry(conn, request, by=author.by, reason=author.reason or "")

    standings = _await(
        api_url, prefixes, lambda one: one.repaired, timeout=timeout, on_enough=on_repaired, meanwhile=try_again
    )
    return tuple(Repair(one, uploaded[one.way], granted.get(one.way), one.way in retried) for one in standings)


_JOBS: tuple[DemoJob, ...] = tuple(way.job for way in WAYS)


def _moment(day: date | None) -> datetime:
    now = datetime.now(UTC)
    return now if day is None else datetime.combine(day, now.timetz())


def _grant(conn: Connection, settings: Settings, collection: str, author: Author) -> bool:
    """Lets the demo's user write to a collection; whether that is new."""
    document = {
        "collection": collection,
        "users": [jobs.USERNAME],
        "algorithms": [f"{jobs.ALGORITHM}@{jobs.VERSION}"],
        "create": True,
    }
    try:
        administer.grant(conn, settings, "grants", document, author)
    except administer.AlreadyThere:
        return False
    return True


def _await(
    api_url: str,
    prefixes: Mapping[Way, str],
    enough: Callable[[Standing], bool],
    *,
    timeout: timedelta,
    on_enough: Callable[[], None],
    meanwhile: Callable[[Iterable[Standing]], None] = lambda _standings: None,
) -> tuple[Standing, ...]:
    """Looks at the jobs again and again until it is enough of each, or the time is over; gives the last looks."""
    deadline = time.monotonic() + timeout.total_seconds()
    last: dict[Way, Standing] = {}
    while True:
        for way, prefix in prefixes.items():
            if way in last and enough(last[way]):
                continue
            last[way] = _look(api_url, way, prefix)
            if enough(last[way]):
                on_enough()
        if all(enough(one) for one in last.values()) or time.monotonic() >= deadline:
            return tuple(last.values())
        meanwhile(last.values())
        time.sleep(_PAUSE)


def _look(api_url: str, way: Way, prefix: str) -> Standing:
    document = following.job_document(api_url, prefix)
    [page] = Addresses(api=api_url.rstrip("/")).page(prefix)
    return Standing(
        way,
        prefix,
        None if document is None else State(document["state"]),
        () if document is None else tuple(document["problems"]),
        page["href"],
    )
