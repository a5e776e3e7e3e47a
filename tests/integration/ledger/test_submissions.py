"""Counts of submissions are what counting the jobs would give, whatever happened to them."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maap_stac_orchestration.ledger.claims import release, retake
from maap_stac_orchestration.ledger.jobs import summary
from maap_stac_orchestration.ledger.outcomes import finish
from maap_stac_orchestration.ledger.records import Batch, JobFilter, JobNames, State
from maap_stac_orchestration.ledger.submissions import compact, list_submissions
from tests.integration.ledger.build import (
    LEASE,
    Connection,
    discover,
    ended,
    let_leases_run_out,
    let_time_pass,
    prefix,
    seen,
    take,
)


def test_jobs_are_counted_by_state_and_the_newest_submission_stands_first(connection: Connection) -> None:
    discover(connection, *(seen(prefix(number)) for number in range(3)))
    discover(connection, seen(prefix(9, username="ben", tag=None)))
    take(connection)
    for compacted in (False, True, True):
        page = list_submissions(connection)
        assert page.total == 2
        assert [(one.username, one.tag, dict(one.states)) for one in page.submissions] == [
            ("ben", None, {State.INGESTING: 1}),
            ("ana", "demo", {State.INGESTING: 3}),
        ]
        assert [one.jobs for one in page.submissions] == [1, 3]
        assert bool(compact(connection)) is not compacted
    assert [one.username for one in list_submissions(connection, text="DEMO").submissions] == ["ana"]
    assert [one.username for one in list_submissions(connection, limit=1, offset=1).submissions] == ["ana"]


_USERS, _TAGS = ("ana", "ben"), (None, "demo", "a/b")
_NAMES = st.none() | st.builds(JobNames, st.sampled_from(["flood", "fire"]), st.just("v1"), st.sampled_from(_TAGS))
_ENDS = st.tuples(
    st.sampled_from([State.LOADED, State.PARTIAL, State.REJECTED, State.WAITING]),
    st.integers(0, 3),
    st.integers(0, 3),
    _NAMES,
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("discover"), st.sampled_from(_USERS), st.sampled_from(_TAGS), st.integers(0, 3)),
        st.tuples(st.just("discover"), st.sampled_from(_USERS), st.sampled_from(_TAGS), st.integers(0, 3)),
        st.tuples(st.just("claim"), st.integers(1, 3), st.integers(1, 5)),
        st.tuples(st.just("finish"), _ENDS),
        st.tuples(st.just("finish"), _ENDS),
        st.tuples(st.just("release")),
        st.tuples(st.just("retake")),
        st.tuples(st.just("die")),
        st.tuples(st.just("wait")),
        st.tuples(st.just("compact")),
    ),
    max_size=25,
)

# What the counts are to be, by counting.
_COUNTED = """
SELECT
    username, algorithm, version, tag, jsonb_object_agg(state, jobs), sum(jobs)::bigint, sum(loaded)::bigint,
    sum(refused)::bigint, max(updated)
FROM (
    SELECT
        username, algorithm, version, tag, state, count(*) AS jobs, sum(loaded) AS loaded, sum(refused) AS refused,
        max(updated_at) AS updated
    FROM ledger.job
    GROUP BY username, algorithm, version, tag, state
) AS counted
GROUP BY username, algorithm, version, tag
"""


class World:
    """A ledger to which things happen."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.etags = itertools.count()
        self.run: Batch | None = None

    def discover(self, username: str, tag: str | None, number: int) -> None:
        discover(self.connection, seen(prefix(number, username=username, tag=tag), f"etag-{next(self.etags)}"))

    def claim(self, most: int, attempts: int) -> None:
        batch = take(self.connection, max_jobs=most, max_attempts=attempts)
        if batch.jobs:
            self.run = batch

    def finish(self, end: tuple[State, int, int, JobNames | None]) -> None:
        """Metadata that was read wins over the names of the prefix, so that a job may go to another submission."""
        if self.run is not None:
            state, loaded, refused, names = end
            outcomes = [ended(job, state, loaded=loaded, refused=refused, names=names) for job in self.run.jobs]
            finish(self.connection, self.run, outcomes)
            self.connection.commit()
            self.run = None

    def release(self) -> None:
        if self.run is not None:
            release(self.connection, batch_id=self.run.batch_id)
            self.connection.commit()
            self.run = None

    def retake(self) -> None:
        if self.run is not None:
            self.run = retake(self.connection, self.run, "again", LEASE)
            self.connection.commit()

    def die(self) -> None:
        let_leases_run_out(self.connection)

    def wait(self) -> None:
        let_time_pass(self.connection)

    def compact(self) -> None:
        compact(self.connection)
        self.connection.commit()


def assert_counts_are_right(connection: Connection) -> None:
    counted: dict[tuple[Any, ...], tuple[Any, ...]] = {
        row[:4]: row[4:] for row in connection.execute(_COUNTED).fetchall()
    }
    page = list_submissions(connection, limit=1000)
    assert page.total == len(counted)
    assert {
        (one.username, one.algorithm, one.version, one.tag): (dict(one.states), one.jobs, one.loaded, one.refused)
        for one in page.submissions
    } == {names: row[:4] for names, row in counted.items()}
    for one in page.submissions:
        assert one.updated >= counted[one.username, one.algorithm, one.version, one.tag][4]
    assert {
        tuple(group.group.values()): (group.states, group.jobs, group.loaded, group.refused)
        for group in summary(connection)
    } == {names: row[:4] for names, row in counted.items()}
    # By counting the jobs: no run is called so, and everything ran after that time.
    for state in (None, State.LOADED):
        of_counts = summary(connection, by=("username", "tag"), filter=JobFilter(algorithm="flood", state=state))
        of_jobs = summary(
            connection,
            by=("username", "tag"),
            filter=JobFilter(algorithm="flood", state=state, since=datetime(2000, 1, 1, tzinfo=UTC)),
        )
        assert {tuple(one.group.items()): (one.states, one.jobs, one.loaded) for one in of_counts} == {
            tuple(one.group.items()): (one.states, one.jobs, one.loaded) for one in of_jobs
        }


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=STEPS)
def test_counts_are_what_counting_gives_whatever_happens_to_the_jobs(
    connection: Connection, steps: list[tuple[Any, ...]]
) -> None:
    # All examples go on with the same ledger: the counts are right wherever they begin.
    world = World(connection)
    for name, *arguments in steps:
        getattr(world, name)(*arguments)
    assert_counts_are_right(connection)
    world.compact()
    assert_counts_are_right(connection)
