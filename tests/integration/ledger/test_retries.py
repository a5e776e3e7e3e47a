"""A job that somebody asks to try again is due at once and begins anew; what a run holds is only taken by force."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from maap_stac_orchestration.ledger import claims, retries
from maap_stac_orchestration.ledger.jobs import get_job
from maap_stac_orchestration.ledger.outcomes import finish
from maap_stac_orchestration.ledger.records import Batch, JobFilter, State
from maap_stac_orchestration.ledger.retries import Asked, Skip

from .build import (
    LEASE,
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


def number(connection: Connection, job: str) -> int:
    return int(column(connection, "id", job))


def ask(connection: Connection, *jobs: str, by: str = "ana", reason: str = "", force: bool = False) -> Asked:
    asked = retries.request(connection, [number(connection, job) for job in jobs], by=by, reason=reason, force=force)
    connection.commit()
    return asked


def end(connection: Connection, batch: Batch, state: State) -> None:
    finish(connection, batch, [ended(job, state) for job in batch.jobs])
    connection.commit()


def retried(asked: Asked) -> dict[str, State]:
    return {one.prefix: one.before for one in asked.retried}


def skipped(asked: Asked) -> dict[str, Skip]:
    return {one.prefix: one.why for one in asked.skipped}


@pytest.mark.parametrize("state", [State.PARTIAL, State.REJECTED])
def test_an_ended_job_is_due_at_once_and_begins_anew(connection: Connection, state: State) -> None:
    discover(connection, seen(prefix(), priority=10))
    end(connection, take(connection), state)
    assert prefixes(take(connection)) == []
    assert retried(ask(connection, prefix())) == {prefix(): state}
    assert column(connection, "priority", prefix()) == 0, "it counts as live work"
    (job,) = take(connection, run_id="again").jobs
    assert (job.prefix, job.attempt, job.generation) == (prefix(), 1, 2)


def test_a_job_that_was_given_up_gets_all_its_tries_again(connection: Connection) -> None:
    discover(connection, seen(prefix()))
    for _ in range(2):
        take(connection, max_attempts=2)
        let_leases_run_out(connection)
    take(connection, max_attempts=2)
    assert states(connection) == {prefix(): "failed"}
    assert retried(ask(connection, prefix())) == {prefix(): State.FAILED}
    for attempt in (1, 2):
        assert [job.attempt for job in take(connection, max_attempts=2).jobs] == [attempt]
        let_leases_run_out(connection)


def test_its_history_tells_who_asked_and_why(connection: Connection) -> None:
    discover(connection, seen(prefix()))
    end(connection, take(connection), State.REJECTED)
    ask(connection, prefix(), by="ana", reason="the items\nare there now")
    detail = get_job(connection, prefix())
    assert detail is not None
    assert detail.transitions[-1].state is State.DISCOVERED
    assert detail.transitions[-1].reason == "ana asked to try it again: the items are there now"


def test_a_loaded_job_is_left_alone_unless_it_is_forced(connection: Connection) -> None:
    discover(connection, seen(prefix()))
    end(connection, take(connection), State.LOADED)
    assert skipped(ask(connection, prefix())) == {prefix(): Skip.LOADED}
    assert states(connection) == {prefix(): "loaded"}
    assert retried(ask(connection, prefix(), force=True)) == {prefix(): State.LOADED}
    assert prefixes(take(connection)) == [prefix()]


def test_a_job_that_waits_or_was_put_off_is_hurried(connection: Connection) -> None:
    waiting, put_off = prefix(1), prefix(2)
    discover(connection, seen(waiting), seen(put_off))
    batch = take(connection)
    finish(connection, batch, [ended(job, State.WAITING) for job in batch.jobs if job.prefix == waiting])
    connection.commit()
    for _ in range(3):  # each time later
        claims.release(connection, run_id="run")
        let_time_pass(connection)
        connection.execute("UPDATE ledger.job SET due_at = now() + interval '1 hour' WHERE prefix = %s", (waiting,))
        take(connection)
    claims.release(connection, run_id="run")
    connection.commit()
    assert prefixes(take(connection)) == []
    assert retried(ask(connection, waiting, put_off)) == {waiting: State.WAITING, put_off: State.DISCOVERED}
    assert [(job.prefix, job.attempt) for job in take(connection).jobs] == [(waiting, 1), (put_off, 1)]


def test_what_is_due_anyway_stays_as_it_is(connection: Connection) -> None:
    discover(connection, seen(prefix(1)), seen(prefix(2), priority=10))
    asked = ask(connection, prefix(1), prefix(2))
    assert skipped(asked) == {prefix(1): Skip.DUE}
    assert retried(asked) == {prefix(2): State.DISCOVERED}, "work of a backfill is hurried"
    assert skipped(ask(connection, prefix(1), prefix(2))) == {prefix(1): Skip.DUE, prefix(2): Skip.DUE}


def test_a_job_whose_lease_ran_out_is_taken_from_the_dead_run(connection: Connection) -> None:
    discover(connection, seen(prefix()))
    dead = take(connection, run_id="dead")
    let_leases_run_out(connection)
    assert retried(ask(connection, prefix())) == {prefix(): State.INGESTING}
    late = finish(connection, dead, [ended(dead.jobs[0])])
    connection.commit()
    assert late.lost == {dead.jobs[0].job_id}
    assert prefixes(take(connection)) == [prefix()]


def test_a_job_that_a_run_holds_is_left_to_it_and_told_until_when(connection: Connection) -> None:
    discover(connection, seen(prefix()))
    batch = take(connection)
    (left,) = ask(connection, prefix()).skipped
    assert left.why is Skip.LEASED
    assert left.leased_until == column(connection, "due_at", prefix())
    accepted = finish(connection, batch, [ended(batch.jobs[0])])
    connection.commit()
    assert (accepted.again, accepted.lost) == (frozenset(), frozenset())
    assert states(connection) == {prefix(): "loaded"}


def test_a_forced_retry_takes_the_job_from_a_living_run_whose_result_is_then_refused(connection: Connection) -> None:
    discover(connection, seen(prefix()))
    first = take(connection, run_id="first")
    assert retried(ask(connection, prefix(), force=True)) == {prefix(): State.INGESTING}
    assert not claims.renew(connection, first.batch_id, LEASE), "its lease is gone"
    second = take(connection, run_id="second")
    assert prefixes(second) == [prefix()]
    refused = finish(connection, first, [ended(first.jobs[0], State.REJECTED)])
    connection.commit()
    assert refused.lost == {first.jobs[0].job_id}
    assert states(connection) == {prefix(): "ingesting"}
    assert claims.retake(connection, first, "first again", LEASE).jobs == ()
    assert claims.release(connection, run_id="first") == 0
    assert finish(connection, second, [ended(second.jobs[0])]).lost == frozenset()
    connection.commit()
    assert states(connection) == {prefix(): "loaded"}


def test_between_the_taking_away_and_the_next_claim_the_old_run_cannot_end_the_job(connection: Connection) -> None:
    discover(connection, seen(prefix()))
    first = take(connection)
    ask(connection, prefix(), force=True)
    assert finish(connection, first, [ended(first.jobs[0])]).lost == {first.jobs[0].job_id}
    connection.commit()
    assert states(connection) == {prefix(): "discovered"}


def test_asking_waits_for_a_run_that_is_writing_down_its_result(connection: Connection, database: str) -> None:
    discover(connection, seen(prefix()))
    batch = take(connection)
    job = number(connection, prefix())
    finish(connection, batch, [ended(batch.jobs[0], State.REJECTED)])  # in a transaction that is still open
    with psycopg.connect(database) as other:
        other.execute("SET lock_timeout = '100ms'")
        other.commit()
        with pytest.raises(psycopg.errors.LockNotAvailable):
            retries.request(other, [job], by="ana")
        other.rollback()
        connection.commit()
        assert retried(retries.request(other, [job], by="ana")) == {prefix(): State.REJECTED}


def test_looking_changes_nothing(connection: Connection) -> None:
    discover(connection, seen(prefix(1)), seen(prefix(2)))
    end(connection, take(connection), State.REJECTED)
    ids = [number(connection, prefix(1)), number(connection, prefix(2))]
    looked = retries.look(connection, ids)
    assert retried(looked) == {prefix(1): State.REJECTED, prefix(2): State.REJECTED}
    assert states(connection) == {prefix(1): "rejected", prefix(2): "rejected"}
    assert looked == retries.request(connection, ids, by="ana")


def test_jobs_are_matched_by_every_condition_and_only_in_the_states_that_are_asked_for(connection: Connection) -> None:
    mine, loaded, others = prefix(1), prefix(2), prefix(3, username="ben")
    discover(connection, seen(mine), seen(loaded), seen(others))
    batch = take(connection)
    finish(
        connection, batch, [ended(job, State.LOADED if job.prefix == loaded else State.REJECTED) for job in batch.jobs]
    )
    connection.commit()

    def found(filter: JobFilter, **more: object) -> list[str]:
        return [job.prefix for job in retries.matching(connection, filter, **({"limit": 10} | more))]  # type: ignore[arg-type]

    assert found(JobFilter(username="ana")) == [loaded, mine]
    assert found(JobFilter(username="ana"), states=set(State) - {State.LOADED}) == [mine]
    assert found(JobFilter(state=State.REJECTED)) == [others, mine]
    assert found(JobFilter(state=State.LOADED), states={State.REJECTED}) == []
    assert found(JobFilter(), limit=2) == [loaded, others]
    assert retries.count_by_state(connection, JobFilter(tag="demo")) == {State.LOADED: 1, State.REJECTED: 2}


def test_many_jobs_are_matched_over_several_pages(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [prefix(number) for number in range(7)]
    discover(connection, *(seen(job) for job in jobs))
    monkeypatch.setattr(retries, "_PAGE", 3)
    found = [job.prefix for job in retries.matching(connection, JobFilter(username="ana"), limit=100)]
    assert found == jobs[::-1]


def test_jobs_are_found_by_prefix_in_any_bucket_or_in_the_one_that_is_named(connection: Connection) -> None:
    discover(connection, seen(prefix(1)), seen(prefix(2)))
    first = number(connection, prefix(1))
    assert retries.find(
        connection, [(None, prefix(1)), ("another", prefix(1)), ("maap-ops-workspace", prefix(1)), (None, "a\0")]
    ) == [(first,), (), (first,), ()]


def test_work_that_broke_runs_comes_after_new_work_of_its_priority(connection: Connection) -> None:
    broken, live, backlog = prefix(1), prefix(2), prefix(3)
    discover(connection, seen(broken))
    for _ in range(2):
        take(connection)
        claims.release(connection, run_id="run")
        let_time_pass(connection)
    discover(connection, seen(live), seen(backlog, priority=10))
    connection.execute("UPDATE ledger.job SET due_at = now() - interval '1 hour' WHERE prefix <> %s", (live,))
    connection.commit()
    taken = [prefixes(take(connection, max_jobs=1)) for _ in range(3)]
    assert taken == [[live], [broken], [backlog]]


def test_asking_claiming_and_ending_at_the_same_time_wait_for_one_another_in_one_order(
    connection: Connection, database: str
) -> None:
    jobs = [prefix(number) for number in range(60)]
    discover(connection, *(seen(job) for job in jobs))
    ids = [number(connection, job) for job in jobs]
    connection.commit()

    def work(name: str) -> None:
        with psycopg.connect(database) as own:
            for _ in range(15):
                batch = take(own, run_id=name, max_jobs=25)
                finish(own, batch, [ended(job, State.PARTIAL) for job in batch.jobs])
                own.commit()

    def ask_again() -> None:
        with psycopg.connect(database) as own:
            for turn in range(15):
                # In another order each time; it is locked in that of the numbers all the same.
                retries.request(own, ids[turn:] + ids[:turn], by="ana", force=turn % 3 == 0)
                own.commit()

    with ThreadPoolExecutor() as pool:
        for done in [*(pool.submit(work, f"run {each}") for each in range(3)), *(pool.submit(ask_again) for _ in "ab")]:
            done.result()
    while (batch := take(connection)).jobs:
        end(connection, batch, State.LOADED)
    assert set(states(connection).values()) <= {"loaded", "partial"}
    assert len(states(connection)) == len(jobs)
