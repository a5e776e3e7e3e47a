"""Whatever the order in which catalogs are written, seen, claimed and finished, in the end each job stands on what was
written last, and was read once more at most for each version that was not read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maap_stac_orchestration.ledger.discovery import record
from maap_stac_orchestration.ledger.outcomes import finish
from maap_stac_orchestration.ledger.records import Batch, SeenCatalog, State
from maap_stac_orchestration.ledger.retries import find, request

from .build import WRITTEN, Connection, ended, let_leases_run_out, let_time_pass, pin, prefix, seen, take

_numbers = itertools.count(1)

#: What can happen at any time: the author writes, the newest event or an older one arrives (again), a listing is made,
#: somebody asks to try the job again.
_EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(["catalog.json", "tiles/catalog.json"]), st.sampled_from("abc")),
        st.tuples(st.just("deliver"), st.sampled_from([-1, -1, -1, -2, 0])),
        st.tuples(st.just("deliver"), st.sampled_from([-1, -2, 1, 2, 3])),
        st.tuples(st.just("list_")),
        st.tuples(st.just("retry"), st.booleans()),
    ),
    max_size=4,
)
#: A run comes, between and after the steps of which anything can happen, and ends well or dies.
_RUN = st.tuples(
    _EVENTS,
    st.just([("claim",)]),
    _EVENTS,
    st.just([("read",)]),
    _EVENTS,
    st.sampled_from([[("finish",)], [("finish",)], [("die",)], [("later",)]]),
)
STEPS = st.lists(_RUN, min_size=1, max_size=4).map(lambda runs: [step for run in runs for part in run for step in part])


class World:
    """A bucket with one job, its events that are under way, and a run that may be at work on it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.job = prefix(next(_numbers))
        self.clock = WRITTEN
        self.bucket: dict[str, SeenCatalog] = {}
        self.events: list[SeenCatalog] = []
        self.run: Batch | None = None
        self.found: dict[str, SeenCatalog] | None = None
        #: What the run that ended last had read.
        self.ended_with: dict[str, SeenCatalog] = {}
        #: Whether a retry took the job from the run, and whether the job was claimed since it was asked for.
        self.taken = False
        self.answered = True

    def write(self, name: str, etag: str) -> None:
        self.clock += timedelta(seconds=2)
        self.bucket[name] = seen(self.job, etag, name=name, at=self.clock)
        self.events.append(self.bucket[name])

    def deliver(self, number: int) -> None:
        if self.events:
            record(self.connection, [self.events[number % len(self.events)]])

    def list_(self) -> None:
        found = [
            seen(self.job, one.etag, name=name, at=one.last_modified, source="listing")
            for name, one in self.bucket.items()
        ]
        record(self.connection, found)

    def claim(self) -> None:
        batch = take(self.connection)
        if batch.jobs:
            self.run, self.found = batch, None
            self.taken, self.answered = False, True

    def retry(self, force: bool) -> None:
        (numbers,) = find(self.connection, [(None, self.job)])
        if request(self.connection, numbers, by="ana", force=force).retried:
            assert force or self.run is None or self.taken, "the job was taken from a living run"
            self.taken, self.answered = self.run is not None, False
        self.connection.commit()

    def read(self) -> None:
        if self.run is not None and self.found is None:
            self.found = dict(self.bucket)

    def finish(self) -> None:
        if self.run is None or self.found is None:
            return
        pins = [pin(one.key, one.etag, one.last_modified) for one in self.found.values()]
        finished = finish(self.connection, self.run, [ended(job, State.LOADED, read=pins) for job in self.run.jobs])
        self.connection.commit()
        assert len(finished.lost if self.taken else finished.accepted) == len(self.run.jobs)
        if not self.taken:
            self.ended_with = self.found
        self.run, self.found, self.taken = None, None, False

    def die(self) -> None:
        self.run, self.found, self.taken = None, None, False
        let_leases_run_out(self.connection)

    def later(self) -> None:
        if self.run is None:
            let_time_pass(self.connection)

    def step(self, what: str, *arguments: object) -> None:
        getattr(self, what)(*arguments)

    def settle(self) -> int:
        """Delivers every event, lets runs come as long as there is work; gives their number."""
        if self.run is not None:
            self.read()
            self.finish()
        for event in (*reversed(self.events), *self.events):
            record(self.connection, [event])
        for runs in range(50):
            let_time_pass(self.connection)
            self.claim()
            if self.run is None:
                return runs
            self.read()
            self.finish()
        raise AssertionError("there is no end to the work")


@pytest.fixture
def one_connection(database: str) -> Iterator[Connection]:
    """Shared by all examples, each of which has a job of its own."""
    with psycopg.connect(database) as connection:
        yield connection


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_in_the_end_a_job_stands_on_what_was_written_last(
    one_connection: Connection, steps: list[tuple[Any, ...]]
) -> None:
    world = World(one_connection)
    for step in steps:
        world.step(*step)
    runs = world.settle()
    assert {name: one.etag for name, one in world.ended_with.items()} == {
        name: one.etag for name, one in world.bucket.items()
    }
    assert world.answered, "nobody took the job on after it was asked to be tried again"
    # Every version was read by the first of these runs; events of what was read bring no further one.
    assert runs <= 1
    row = one_connection.execute("SELECT state FROM ledger.job WHERE prefix = %s", (world.job,)).fetchone()
    assert row == (None if not world.bucket else ("loaded",))
    catalogs = one_connection.execute(
        "SELECT count(*), count(DISTINCT (key, etag)) FROM ledger.catalog JOIN ledger.job ON job.id = job_id"
        " WHERE prefix = %s",
        (world.job,),
    ).fetchone()
    assert catalogs is not None
    assert catalogs[0] == catalogs[1] == len({(one.key, one.etag) for one in world.events})
