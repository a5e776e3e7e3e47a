"""Trying jobs again: those that somebody names, or all that match a filter.

Here belongs what the command line, the HTTP API and Dagster have in common when they ask for it: which jobs are meant,
what is too much at once, what is committed when, and what is told afterwards. Not here: what happens to a job
(`ledger.retries`), and who may ask for which jobs (the doors).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from maap_stac_orchestration import log_events
from maap_stac_orchestration.dps.output_prefix import find_output_prefix
from maap_stac_orchestration.ledger import retries
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import JobFilter, State, timestamp
from maap_stac_orchestration.ledger.retries import Retried, Skip, Skipped
from maap_stac_orchestration.pipeline.request import NotAnAddress, parse_address

#: Jobs that one request does at most, where it does not say otherwise.
DEFAULT_LIMIT = 10_000
#: Jobs that are written with one commit: as long as they are locked, nobody ends or claims them.
_CHUNK = 1_000

#: States that are looked at where nothing else is asked for: whatever is not as it should be, or not yet.
_NOT_LOADED = frozenset(State) - {State.LOADED}


class RetryRefused(ValueError):
    """Nothing was done; the message is a sentence for who asked."""


class NothingPicked(RetryRefused):
    """The request names no job and no condition; nobody means all jobs of all users of all years."""


class TooManyMatch(RetryRefused):
    """More jobs match than one request may do."""

    def __init__(self, matched: int, limit: int) -> None:
        super().__init__(
            f"{matched:,} jobs match, and at most {limit:,} are tried again at once. Nothing was done: pick fewer, or "
            "raise the limit."
        )
        self.matched = matched
        self.limit = limit


@dataclass(frozen=True, slots=True)
class RetryRequest:
    """Which jobs are to be tried again: some that are named, or all that match."""

    #: Output prefixes, also as `s3://bucket/prefix` and with a final catalog.json.
    prefixes: tuple[str, ...] = ()
    filter: JobFilter | None = None
    #: The states that are looked at; None for all but `loaded`, or all where it is forced.
    states: Collection[State] | None = None
    #: Whether jobs that are loaded, and jobs that a run holds at this moment, are tried again too.
    force: bool = False
    #: So many jobs at most.
    limit: int = DEFAULT_LIMIT


@dataclass(frozen=True, slots=True)
class RetryResult:
    """What became of a request, or what would become of it."""

    jobs: tuple[Retried, ...]
    #: Why jobs that were meant are not tried again -> how many of them.
    skipped: Mapping[Skip, int]
    #: Those of the skipped jobs that were looked at one by one; loaded ones that match a filter only count.
    left: tuple[Skipped, ...]
    #: What was named and is no job that the ledger knows.
    unknown: tuple[str, ...]
    dry_run: bool
    #: Where no job matched in the states that were asked for: how many would in others.
    in_other_states: Mapping[State, int] = field(default_factory=dict)

    @property
    def matched(self) -> int:
        """How many jobs were meant."""
        return len(self.jobs) + sum(self.skipped.values())

    @property
    def leased_until(self) -> datetime | None:
        """When the last lease of the jobs that were left to their runs ends unless it is renewed, UTC."""
        return max((one.leased_until for one in self.left if one.leased_until is not None), default=None)

    def to_document(self) -> dict[str, Any]:
        """The result as the HTTP API and `--json` give it."""
        until = self.leased_until
        return {
            "dry_run": self.dry_run,
            "matched": self.matched,
            "retried": [{"bucket": one.bucket, "prefix": one.prefix, "before": str(one.before)} for one in self.jobs],
            "skipped": {str(why): self.skipped[why] for why in Skip if self.skipped.get(why)},
            "leased_until": None if until is None else timestamp(until),
            "unknown": list(self.unknown),
            "in_other_states": {str(state): jobs for state, jobs in self.in_other_states.items()},
        }


def retry(
    conn: Connection,
    asked: RetryRequest,
    *,
    by: str,
    dry_run: bool = False,
    reason: str = "",
    run_id: str | None = None,
) -> RetryResult:
    """Makes the jobs that are meant due at once; commits some thousand at a time, so what was done stays done.

    Safe to be repeated, and beside runs that claim and end the same jobs.

    Args:
        conn: the database; its work so far is committed.
        asked: which jobs.
        by: who asks; stands in the history of each job.
        dry_run: look only, write nothing.
        reason: why, in their words.
        run_id: the Dagster run in which it is asked; jobs can then be listed by it.

    Raises:
        NothingPicked, TooManyMatch: see there.
        RetryRefused: jobs are both named and picked by conditions, or a name cannot be one.
    """
    picked = asked.states is not None or (asked.filter is not None and asked.filter != JobFilter())
    if asked.prefixes and picked:
        raise RetryRefused("Either name jobs or pick them by conditions; both at once is not understood.")
    if not asked.prefixes and not picked:
        raise NothingPicked(
            "Name jobs by their output prefixes, or pick them by username, algorithm, version, tag, state, collection, "
            "code, since, until or run id."
        )
    unknown: tuple[str, ...] = ()
    others: dict[State, int] = {}
    if asked.prefixes:
        ids, unknown = _named(conn, asked)
    else:
        ids, others = _matching(conn, asked)
    conn.commit()
    jobs, left = _carry_out(conn, ids, asked.force, None if dry_run else (by, reason, run_id))
    skipped = Counter(one.why for one in left)
    if asked.states is None and (asked.filter is None or asked.filter.state is None):
        # Nobody asked for some states only, so these were meant too.
        skipped.update({Skip.LOADED: others[State.LOADED]} if State.LOADED in others else {})
        others = {}
    result = RetryResult(jobs, dict(skipped), left, unknown, dry_run, {} if ids else others)
    if jobs and not dry_run:
        log_events.emit(
            log_events.Event.JOB_RETRIED,
            by=by,
            reason=reason,
            picked=_words(asked),
            forced="yes" if asked.force else "no",
            jobs=len(jobs),
            skipped=sum(skipped.values()),
        )
    return result


def _named(conn: Connection, asked: RetryRequest) -> tuple[list[int], tuple[str, ...]]:
    names = list(dict.fromkeys(asked.prefixes))
    found = retries.find(conn, [_place(name) for name in names])
    ids = sorted({number for numbers in found for number in numbers})
    if len(ids) > asked.limit:
        raise TooManyMatch(len(ids), asked.limit)
    return ids, tuple(name for name, numbers in zip(names, found, strict=True) if not numbers)


def _place(name: str) -> tuple[str | None, str]:
    """Bucket, if one is named, and output prefix; a key inside a job means the job."""
    if name.startswith("s3://"):
        try:
            address = parse_address(name)
        except NotAnAddress as error:
            raise RetryRefused(str(error)) from error
        return address.bucket, address.prefix
    whole = name if name.endswith("/") else f"{name}/"
    output = find_output_prefix(whole)
    return None, whole if output is None else output.key


def _matching(conn: Connection, asked: RetryRequest) -> tuple[list[int], dict[State, int]]:
    """The numbers of the jobs that match, and how many more would in the states that are not looked at."""
    filter = asked.filter or JobFilter()
    counts = retries.count_by_state(conn, replace(filter, state=None))
    states = _states(asked)
    matched = sum(jobs for state, jobs in counts.items() if state in states)
    if matched > asked.limit:
        raise TooManyMatch(matched, asked.limit)
    found = retries.matching(conn, filter, states=states, limit=asked.limit) if matched else ()
    # A job that comes into another state meanwhile may be found in both.
    ids = sorted({job.job_id for job in found})
    return ids, {state: jobs for state, jobs in counts.items() if state not in states}


def _states(asked: RetryRequest) -> Collection[State]:
    named = None if asked.filter is None else asked.filter.state
    if asked.states is not None:
        return [state for state in asked.states if named in (None, state)]
    if named is not None:
        return {named}
    return frozenset(State) if asked.force else _NOT_LOADED


def _carry_out(
    conn: Connection, ids: Sequence[int], force: bool, author: tuple[str, str, str | None] | None
) -> tuple[tuple[Retried, ...], tuple[Skipped, ...]]:
    jobs: list[Retried] = []
    left: list[Skipped] = []
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        if author is None:
            done = retries.look(conn, chunk, force=force)
        else:
            by, reason, run_id = author
            done = retries.request(conn, chunk, by=by, reason=reason, force=force, run_id=run_id)
        conn.commit()
        jobs += done.retried
        left += done.skipped
    return tuple(jobs), tuple(left)


def _words(asked: RetryRequest) -> str:
    """What was picked, on one line for the log."""
    if asked.prefixes:
        return f"{len(asked.prefixes)} by name" if len(asked.prefixes) > 1 else asked.prefixes[0]
    conditions: dict[str, Any] = {} if asked.filter is None else asdict(asked.filter)
    if asked.states is not None:
        conditions["state"] = ",".join(sorted(asked.states))
    told = {
        # As it was given: the first of January of the year 1 cannot be told in every other time zone.
        name: value.isoformat() if isinstance(value, datetime) else str(value)
        for name, value in conditions.items()
        if value is not None
    }
    return " ".join(f"{name}={value}" for name, value in told.items())
