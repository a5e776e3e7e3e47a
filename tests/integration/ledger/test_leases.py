"""A job has one holder at a time, and somebody who died holds nothing for long."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any

import psycopg
import pytest

from maap_stac_orchestration.ledger.claims import batches_of, claim, due_days, release, renew, retake
from maap_stac_orchestration.ledger.jobs import get_job
from maap_stac_orchestration.ledger.outcomes import finish
from maap_stac_orchestration.ledger.records import State

from .build import (
    DAY,
    LEASE,
    MAX_ATTEMPTS,
    WAIT,
    WRITTEN,
    Connection,
    column,
    discover,
    ended,
    let_leases_run_out,
    let_time_pass,
    prefix,
    prefixes,
    seen,
    states,
    take,
)

#: What most claims here ask for alike.
TERMS: dict[str, Any] = {
    "day": DAY,
    "lease": LEASE,
    "max_items": 100_000,
    "wait_deadline": WAIT,
    "max_attempts": MAX_ATTEMPTS,
}


def test_a_claim_tells_what_a_run_needs(connection: Connection) -> None:
    job = prefix()
    discover(connection, seen(job))
    batch = take(connection, run_id="r1")
    [claimed] = batch.jobs
    assert batch.run_id == "r1"
    assert (claimed.prefix, claimed.catalogs, claimed.catalog_modified) == (job, {f"{job}catalog.json": "a"}, WRITTEN)
    assert (claimed.attempt, claimed.generation, claimed.wait_until) == (1, 1, WRITTEN + WAIT)


def test_an_empty_batch_says_that_nothing_is_due(connection: Connection) -> None:
    assert take(connection).jobs == ()
    assert connection.execute("SELECT count(*) FROM ledger.batch").fetchone() == (0,)


def test_only_the_day_that_is_asked_for_is_taken(connection: Connection) -> None:
    yesterday = DAY - timedelta(days=1)
    discover(connection, seen(prefix(1)), seen(prefix(1, day=yesterday)))
    assert prefixes(take(connection)) == [prefix(1)]


def test_no_more_jobs_are_taken_than_asked_for(connection: Connection) -> None:
    discover(connection, *(seen(prefix(number)) for number in range(10)))
    assert [len(take(connection, max_jobs=4).jobs) for _ in range(4)] == [4, 4, 2, 0]


def test_no_more_items_are_taken_than_asked_for_but_always_a_job(connection: Connection) -> None:
    discover(connection, *(seen(prefix(number), size=150_400) for number in range(5)))  # some 1,000 links each
    assert [len(take(connection, max_items=2_000).jobs) for _ in range(3)] == [2, 2, 1]
    discover(connection, seen(prefix(9), size=1_000_000))
    assert len(take(connection, max_items=10).jobs) == 1


def test_many_who_claim_at_once_never_share_a_job(connection: Connection, database: str) -> None:
    jobs = [prefix(number) for number in range(500)]
    discover(connection, *map(seen, jobs))
    start = threading.Barrier(8)

    def work(number: int) -> list[str]:
        mine: list[str] = []
        with psycopg.connect(database) as own:
            start.wait()
            idle = 0
            # What another claim is just looking at counts as taken, so an empty hand is no proof that nothing is left.
            while idle < 20:
                taken = prefixes(take(own, run_id=f"run-{number}", max_jobs=17))
                idle = 0 if taken else idle + 1
                mine += taken
        return mine

    with ThreadPoolExecutor(8) as pool:
        taken = Counter(job for mine in pool.map(work, range(8)) for job in mine)
    assert taken == Counter(jobs)


def test_a_claim_does_not_wait_for_one_that_is_not_committed(connection: Connection, database: str) -> None:
    discover(connection, *(seen(prefix(number)) for number in range(4)))
    with connection.transaction(), psycopg.connect(database, options="-c lock_timeout=2s") as other:
        first = claim(connection, run_id="first", max_jobs=2, **TERMS)
        second = [job for _ in range(3) for job in prefixes(take(other, run_id="second", max_jobs=2))]
    assert {*prefixes(first), *second} == {prefix(number) for number in range(4)}
    assert len(first.jobs) == len(second) == 2


def test_a_claim_that_is_never_committed_holds_nothing(connection: Connection, database: str) -> None:
    discover(connection, seen(prefix()))
    with psycopg.connect(database) as dying:
        dying.execute("SELECT 1")
        assert claim(dying, run_id="dies", max_jobs=1, **TERMS).jobs
        dying.rollback()
    assert [job.attempt for job in take(connection).jobs] == [1]


def test_where_no_transaction_is_open_a_claim_holds_at_once(connection: Connection, database: str) -> None:
    discover(connection, seen(prefix()))
    claim(connection, run_id="r", max_jobs=1, **TERMS)
    with psycopg.connect(database) as other:
        assert take(other).jobs == ()


class TestLease:
    """Who holds a job, until when."""

    def test_what_is_held_is_not_due(self, connection: Connection) -> None:
        discover(connection, seen(prefix()))
        take(connection)
        assert take(connection).jobs == ()
        assert due_days(connection) == []

    def test_when_the_lease_runs_out_the_next_run_takes_over_and_the_try_counts(self, connection: Connection) -> None:
        discover(connection, seen(prefix()))
        take(connection, run_id="dies")
        let_leases_run_out(connection)
        assert [day.day for day in due_days(connection)] == [DAY]
        [job] = take(connection, run_id="lives").jobs
        assert (job.attempt, job.generation) == (2, 1)

    def test_who_lost_the_lease_changes_nothing_any_more(self, connection: Connection) -> None:
        discover(connection, seen(prefix()))
        old = take(connection, run_id="old")
        let_leases_run_out(connection)
        new = take(connection, run_id="new")
        finished = finish(connection, old, [ended(old.jobs[0], State.REJECTED)])
        connection.commit()
        assert (finished.accepted, finished.lost) == (frozenset(), {old.jobs[0].job_id})
        assert renew(connection, old.batch_id, LEASE) is False
        assert release(connection, batch_id=old.batch_id) == 0
        assert states(connection) == {prefix(): "ingesting"}
        assert finish(connection, new, [ended(new.jobs[0])]).accepted == {new.jobs[0].job_id}

    def test_who_is_late_but_was_not_missed_still_holds_the_job(self, connection: Connection) -> None:
        discover(connection, seen(prefix()))
        batch = take(connection)
        let_leases_run_out(connection)
        assert finish(connection, batch, [ended(batch.jobs[0])]).lost == frozenset()

    def test_renewing_keeps_what_is_held(self, connection: Connection) -> None:
        discover(connection, seen(prefix()))
        batch = take(connection)
        let_leases_run_out(connection)
        assert renew(connection, batch.batch_id, LEASE) is True
        connection.commit()
        assert take(connection).jobs == ()
        finish(connection, batch, [ended(batch.jobs[0])])
        connection.commit()
        assert renew(connection, batch.batch_id, LEASE) is False

    def test_the_state_and_the_run_are_on_record_for_each_try(self, connection: Connection) -> None:
        discover(connection, seen(prefix()))
        take(connection, run_id="dies")
        let_leases_run_out(connection)
        batch = take(connection, run_id="lives")
        finish(connection, batch, [ended(batch.jobs[0])])
        detail = get_job(connection, prefix())
        assert detail is not None
        assert [(one.state, one.run_id, one.attempt) for one in detail.transitions] == [
            (State.DISCOVERED, None, 0),
            (State.INGESTING, "dies", 1),
            (State.INGESTING, "lives", 2),
            (State.LOADED, "lives", 2),
        ]


class TestGivingBack:
    """A run that failed in an orderly way."""

    def test_what_is_given_back_is_due_at_once_and_the_try_counts(self, connection: Connection) -> None:
        discover(connection, *(seen(prefix(number)) for number in range(3)))
        take(connection, run_id="fails")
        assert release(connection, run_id="fails", reason="The bucket did not answer.") == 3
        connection.commit()
        batch = take(connection)
        assert [job.attempt for job in batch.jobs] == [2, 2, 2]
        detail = get_job(connection, prefix(0))
        assert detail is not None
        assert detail.transitions[2].reason == "The bucket did not answer."

    def test_only_what_is_still_held_is_given_back(self, connection: Connection) -> None:
        discover(connection, seen(prefix(1)), seen(prefix(2)))
        batch = take(connection)
        finish(connection, batch, [ended(batch.jobs[0])])
        assert release(connection, batch_id=batch.batch_id) == 1
        assert sorted(states(connection).values()) == ["discovered", "loaded"]

    def test_after_more_tries_there_is_a_pause(self, connection: Connection) -> None:
        discover(connection, seen(prefix()))
        for attempt in (1, 2, 3):
            let_time_pass(connection)
            assert [job.attempt for job in take(connection, run_id="fails").jobs] == [attempt]
            release(connection, run_id="fails")
            connection.commit()
        assert take(connection).jobs == ()

    def test_too_many_tries_are_a_failure_with_its_reason(self, connection: Connection) -> None:
        discover(connection, seen(prefix()))
        for _ in range(MAX_ATTEMPTS):
            assert len(take(connection, run_id="dies").jobs) == 1
            let_leases_run_out(connection)
        assert take(connection).jobs == ()
        assert states(connection) == {prefix(): "failed"}
        assert due_days(connection) == []
        detail = get_job(connection, prefix())
        assert detail is not None
        assert detail.transitions[-1].state is State.FAILED
        assert "tried 5 times" in str(detail.transitions[-1].reason)

    def test_a_new_version_of_a_failed_job_has_all_its_tries(self, connection: Connection) -> None:
        discover(connection, seen(prefix()))
        take(connection, max_attempts=1)
        let_leases_run_out(connection)
        take(connection, max_attempts=1)
        assert states(connection) == {prefix(): "failed"}
        discover(connection, seen(prefix(), "b", at=WRITTEN + timedelta(seconds=5)))
        assert [job.attempt for job in take(connection, max_attempts=1).jobs] == [1]

    def test_waiting_is_no_failed_try(self, connection: Connection) -> None:
        discover(connection, seen(prefix()))
        for _ in range(MAX_ATTEMPTS + 2):
            batch = take(connection)
            assert [job.attempt for job in batch.jobs] == [1]
            finish(connection, batch, [ended(batch.jobs[0], State.WAITING)])
            let_time_pass(connection)

    def test_a_job_that_kills_its_runs_fails_alone(self, connection: Connection) -> None:
        jobs = [prefix(number) for number in range(60)]
        poison = jobs[13]
        discover(connection, *map(seen, jobs))
        for _ in range(100):
            let_time_pass(connection)
            batch = take(connection, max_jobs=50)
            if not batch.jobs:
                break
            if poison in prefixes(batch):
                let_leases_run_out(connection)
            else:
                finish(connection, batch, [ended(job) for job in batch.jobs])
                connection.commit()
        assert {job for job, state in states(connection).items() if state != "loaded"} == {poison}
        assert states(connection)[poison] == "failed"


class TestStepsThatAreRunAgain:
    """An operator re-executes a failed run from the step that failed, with the batch of the step before."""

    def test_what_nobody_else_took_is_taken_and_the_former_run_holds_nothing(self, connection: Connection) -> None:
        discover(connection, seen(prefix(1)), seen(prefix(2)))
        former = take(connection, run_id="fails")
        again = retake(connection, former, "again", LEASE)
        connection.commit()
        assert prefixes(again) == prefixes(former)
        assert [job.attempt for job in again.jobs] == [2, 2]
        assert finish(connection, former, [ended(job) for job in former.jobs]).accepted == frozenset()
        assert len(finish(connection, again, [ended(job) for job in again.jobs]).accepted) == 2

    def test_also_after_it_was_given_back(self, connection: Connection) -> None:
        discover(connection, seen(prefix()))
        former = take(connection, run_id="fails")
        release(connection, run_id="fails")
        assert len(retake(connection, former, "again", LEASE).jobs) == 1

    def test_what_ended_or_is_taken_or_has_a_newer_catalog_is_left_alone(self, connection: Connection) -> None:
        discover(connection, *(seen(prefix(number)) for number in range(4)))
        former = take(connection, run_id="fails")
        finish(connection, former, [ended(former.jobs[0])])
        release(connection, run_id="fails")
        connection.commit()
        other = take(connection, run_id="other", max_jobs=1)
        changed, left = [job.prefix for job in former.jobs[1:] if job.prefix not in prefixes(other)]
        discover(connection, seen(changed, "b", at=WRITTEN + timedelta(seconds=5)))
        assert prefixes(retake(connection, former, "again", LEASE)) == [left]

    def test_it_can_be_done_again_with_what_it_gave(self, connection: Connection) -> None:
        discover(connection, seen(prefix()))
        former = take(connection, run_id="1")
        second = retake(connection, former, "2", LEASE)
        assert retake(connection, former, "3", LEASE).jobs == ()
        assert len(retake(connection, second, "3", LEASE).jobs) == 1


class TestWhatIsDue:
    """What the sensor asks."""

    def test_days_with_due_jobs_are_told_most_urgent_first(self, connection: Connection) -> None:
        old, older = date(2023, 3, 1), date(2022, 3, 1)
        discover(connection, seen(prefix(day=old), priority=10), seen(prefix(1, day=old), priority=10))
        discover(connection, seen(prefix(day=older), priority=20))
        discover(connection, seen(prefix()))
        assert [(day.day, day.jobs, day.priority) for day in due_days(connection)] == [
            (DAY, 1, 0),
            (old, 2, 10),
            (older, 1, 20),
        ]

    def test_days_whose_jobs_wait_or_are_held_or_ended_are_not(self, connection: Connection) -> None:
        discover(connection, *(seen(prefix(number)) for number in range(3)))
        batch = take(connection)
        waiting, loaded, _ = batch.jobs
        finish(connection, batch, [ended(waiting, State.WAITING), ended(loaded)])
        connection.commit()
        assert due_days(connection) == []
        let_time_pass(connection)
        assert [(day.day, day.jobs) for day in due_days(connection)] == [(DAY, 2)]

    def test_runs_tell_what_they_claimed(self, connection: Connection) -> None:
        discover(connection, *(seen(prefix(number)) for number in range(3)))
        first, second = take(connection, run_id="a", max_jobs=2), take(connection, run_id="a")
        found = batches_of(connection, ["a", "b"])
        assert {run: [(one.batch_id, one.jobs, one.day) for one in some] for run, some in found.items()} == {
            "a": [(first.batch_id, 2, DAY), (second.batch_id, 1, DAY)]
        }


@pytest.mark.parametrize("lease", [timedelta(seconds=1), timedelta(hours=2)])
def test_a_lease_lasts_as_long_as_was_asked_for(connection: Connection, lease: timedelta) -> None:
    discover(connection, seen(prefix()))
    claim(connection, run_id="r", max_jobs=1, **{**TERMS, "lease": lease})
    left = column(connection, "due_at", prefix()) - column(connection, "updated_at", prefix())
    assert lease <= left < lease + timedelta(seconds=30)
