"""How a job ended is written down whole, once, and by who holds it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from maap_stac_orchestration.governance.decision import DecisionCode
from maap_stac_orchestration.ledger.jobs import get_job
from maap_stac_orchestration.ledger.outcomes import finish
from maap_stac_orchestration.ledger.records import (
    Batch,
    FinishedJob,
    ItemResult,
    JobDetail,
    JobItem,
    JobNames,
    State,
)
from maap_stac_orchestration.problems import Code, Problem

from .build import (
    WRITTEN,
    Connection,
    column,
    decision,
    discover,
    ended,
    let_time_pass,
    pin,
    prefix,
    seen,
    states,
    take,
)

JOB = prefix()
ROOT = f"{JOB}catalog.json"


@pytest.fixture
def batch(connection: Connection) -> Batch:
    """One job that this run holds."""
    discover(connection, seen(JOB))
    return take(connection)


def end(connection: Connection, batch: Batch, job: FinishedJob) -> JobDetail:
    """Finishes the job, commits, and reads it back."""
    finished = finish(connection, batch, [job])
    connection.commit()
    assert finished.lost == frozenset()
    detail = get_job(connection, JOB)
    assert detail is not None
    return detail


def again(connection: Connection) -> Batch:
    """A new version of the catalog, claimed."""
    number = column(connection, "generation", JOB)
    discover(connection, seen(JOB, f"v{number}", at=WRITTEN + timedelta(minutes=number)))
    return take(connection)


@pytest.mark.parametrize("state", [State.LOADED, State.PARTIAL, State.REJECTED])
def test_an_ended_job_is_not_due_any_more(connection: Connection, batch: Batch, state: State) -> None:
    detail = end(connection, batch, ended(batch.jobs[0], state))
    assert (detail.summary.state, detail.summary.due) == (state, None)
    let_time_pass(connection)
    assert take(connection).jobs == ()


def test_everything_about_a_job_is_kept(connection: Connection, batch: Batch) -> None:
    items = (
        JobItem("one", ItemResult.LOADED, f"{JOB}one.json", "c", "c"),
        JobItem("two", ItemResult.REFUSED, f"{JOB}two.json", None, None),
    )
    problems = (Problem(Code.ITEM_INVALID, f"{JOB}two.json", "No id."), Problem(Code.ASSET_MISSING, "one#red"))
    pins = (pin(ROOT, "a"), pin(f"{JOB}one.json", "x", WRITTEN))
    detail = end(
        connection,
        batch,
        ended(
            batch.jobs[0],
            State.PARTIAL,
            read=pins,
            loaded=1,
            refused=1,
            problems=problems,
            decisions=(decision("c", DecisionCode.GRANTED),),
            collections=("c",),
            items=items,
        ),
    )
    found = detail.summary
    assert (found.loaded, found.unchanged, found.fallback, found.refused) == (1, 0, 0, 1)
    assert found.problem_codes == ("asset_missing", "item_invalid")
    assert found.collections == ("c",)
    assert detail.items == items
    assert detail.documents == tuple(sorted(pins, key=lambda one: one.key))
    assert detail.problems == tuple(problem.to_document() for problem in problems)
    [recorded] = detail.decisions
    assert recorded.decision == decision("c", DecisionCode.GRANTED)
    assert (recorded.username, recorded.job_prefix, recorded.run_id) == ("ana", JOB, "run")


def test_what_a_run_says_replaces_what_the_run_before_said(connection: Connection, batch: Batch) -> None:
    first = ended(
        batch.jobs[0],
        State.REJECTED,
        problems=(Problem(Code.LINK_MISSING, "x"),),
        items=(JobItem("one", ItemResult.REFUSED, "k"),),
        collections=("c",),
    )
    end(connection, batch, first)
    batch = again(connection)
    detail = end(connection, batch, ended(batch.jobs[0], State.LOADED))
    assert (detail.problems, detail.items, detail.summary.collections) == ((), (), ())
    for table in ("job_code", "job_collection"):
        name = psycopg.sql.Identifier("ledger", table)
        assert connection.execute(psycopg.sql.SQL("SELECT count(*) FROM {}").format(name)).fetchone() == (0,)


def test_the_names_in_the_job_metadata_win_over_those_in_the_prefix(connection: Connection, batch: Batch) -> None:
    detail = end(
        connection, batch, ended(batch.jobs[0], names=JobNames("flood-detector", "1.0", None), decisions=(decision(),))
    )
    assert (detail.summary.algorithm, detail.summary.version, detail.summary.tag) == ("flood-detector", "1.0", None)
    assert detail.decisions[0].algorithm == "flood-detector"


def test_where_the_metadata_were_not_read_the_names_stay(connection: Connection, batch: Batch) -> None:
    detail = end(connection, batch, ended(batch.jobs[0], State.WAITING))
    assert (detail.summary.algorithm, detail.summary.tag) == ("flood", "demo")


class TestWaiting:
    """What is not there yet is waited for, with growing pauses, until the deadline."""

    def test_pauses_grow_from_5_seconds_to_5_minutes(self, connection: Connection) -> None:
        discover(connection, seen(JOB, at=WRITTEN + timedelta(days=100_000)))
        pauses = []
        for _ in range(8):
            batch = take(connection)
            end(connection, batch, ended(batch.jobs[0], State.WAITING))
            pause = column(connection, "due_at", JOB) - column(connection, "updated_at", JOB)
            pauses.append(round(pause.total_seconds()))
            let_time_pass(connection)
        assert pauses == [5, 10, 20, 40, 80, 160, 300, 300]

    def test_the_last_try_is_at_the_deadline(self, connection: Connection, batch: Batch) -> None:
        connection.execute("UPDATE ledger.job SET wait_until = now() + interval '2 seconds'")
        detail = end(connection, batch, ended(batch.jobs[0], State.WAITING))
        assert detail.summary.due == detail.wait_until

    def test_what_is_awaited_for_a_shorter_time_is_looked_for_when_that_ends(
        self, connection: Connection, batch: Batch
    ) -> None:
        soon = datetime.now(UTC) + timedelta(seconds=2)
        detail = end(connection, batch, ended(batch.jobs[0], State.WAITING, awaiting_until=soon))
        assert detail.summary.due == soon

    def test_a_new_version_begins_with_short_pauses(self, connection: Connection, batch: Batch) -> None:
        end(connection, batch, ended(batch.jobs[0], State.WAITING))
        batch = again(connection)
        end(connection, batch, ended(batch.jobs[0], State.WAITING))
        pause = column(connection, "due_at", JOB) - column(connection, "updated_at", JOB)
        assert round(pause.total_seconds()) == 5


class TestMeanwhile:
    """Catalogs that come while a run is at work."""

    def test_a_version_that_was_not_read_makes_the_job_due_again_at_once(
        self, connection: Connection, batch: Batch
    ) -> None:
        discover(connection, seen(JOB, "b", at=WRITTEN + timedelta(seconds=5)))
        finished = finish(connection, batch, [ended(batch.jobs[0], loaded=3)])
        connection.commit()
        assert finished.again == finished.accepted == {batch.jobs[0].job_id}
        assert states(connection) == {JOB: "discovered"}
        [job] = take(connection).jobs
        assert (job.generation, job.attempt, job.catalogs) == (2, 1, {ROOT: "b"})

    def test_a_version_that_was_read_already_does_not(self, connection: Connection, batch: Batch) -> None:
        discover(connection, seen(JOB, "b", at=WRITTEN + timedelta(seconds=5)))
        finished = finish(connection, batch, [ended(batch.jobs[0], read=[pin(ROOT, "b")])])
        assert finished.again == frozenset()
        assert states(connection) == {JOB: "loaded"}

    def test_events_of_nested_catalogs_that_were_read_do_not(self, connection: Connection, batch: Batch) -> None:
        nested = f"{JOB}tiles/catalog.json"
        discover(connection, seen(JOB, "n", name="tiles/catalog.json"))
        finished = finish(connection, batch, [ended(batch.jobs[0], read=[pin(ROOT, "a"), pin(nested, "n")])])
        assert finished.again == frozenset()
        assert states(connection) == {JOB: "loaded"}

    def test_a_nested_catalog_that_was_not_read_does_once(self, connection: Connection, batch: Batch) -> None:
        discover(connection, seen(JOB, "n", name="aside/catalog.json"))
        assert finish(connection, batch, [ended(batch.jobs[0], read=[pin(ROOT, "a")])]).again
        batch = take(connection)
        assert not finish(connection, batch, [ended(batch.jobs[0], read=[pin(ROOT, "a")])]).again

    def test_a_version_that_was_replaced_after_it_was_read_comes_back_as_news(
        self, connection: Connection, batch: Batch
    ) -> None:
        # The run read b; then a was put back, and its event came before the run ended.
        discover(connection, seen(JOB, "b", at=WRITTEN + timedelta(seconds=5)))
        discover(connection, seen(JOB, "a", at=WRITTEN + timedelta(seconds=10)))
        assert finish(connection, batch, [ended(batch.jobs[0], read=[pin(ROOT, "b")])]).again

    def test_the_late_event_of_what_was_read_is_no_news(self, connection: Connection, batch: Batch) -> None:
        # Between the claim and the reading the catalog was written anew.
        finish(connection, batch, [ended(batch.jobs[0], read=[pin(ROOT, "b", WRITTEN + timedelta(seconds=5))])])
        connection.commit()
        assert discover(connection, seen(JOB, "b", at=WRITTEN + timedelta(seconds=5))).new == 0
        assert states(connection) == {JOB: "loaded"}


class TestAuditTrail:
    """Decisions are added, never changed."""

    def test_the_same_decision_of_a_later_run_is_not_repeated(self, connection: Connection, batch: Batch) -> None:
        end(connection, batch, ended(batch.jobs[0], decisions=(decision(), decision("c"))))
        batch = again(connection)
        detail = end(connection, batch, ended(batch.jobs[0], decisions=(decision(), decision("c"))))
        assert len(detail.decisions) == 2

    def test_a_change_of_mind_is_on_record_and_the_change_back_too(self, connection: Connection, batch: Batch) -> None:
        told = [
            decision("c", DecisionCode.GRANTED),
            decision("c", DecisionCode.USER_NOT_AUTHORIZED),
            decision("c", DecisionCode.GRANTED),
            replace(decision("c", DecisionCode.GRANTED), registry_version="r2"),
        ]
        for one in told:
            detail = end(connection, batch, ended(batch.jobs[0], decisions=(one,)))
            batch = again(connection)
        assert [recorded.decision for recorded in detail.decisions] == told

    @pytest.mark.parametrize(
        "statement", ["UPDATE ledger.decision SET code = 'granted'", "DELETE FROM ledger.decision"]
    )
    def test_nobody_changes_what_is_on_record(self, connection: Connection, batch: Batch, statement: str) -> None:
        end(connection, batch, ended(batch.jobs[0], decisions=(decision(),)))
        with pytest.raises(psycopg.errors.RaiseException, match="only ever added to"):
            connection.execute(statement)


class TestWhatJobsCannotBreak:
    """Texts come from jobs, so anything can be in them."""

    @pytest.mark.parametrize("text", ["a\0b", "\ud800", "x" * 1_000_000, "%s ' \" \\ \t\n", "💧"])
    def test_any_text_can_be_an_id_an_object_and_a_name(self, connection: Connection, batch: Batch, text: str) -> None:
        detail = end(
            connection,
            batch,
            ended(
                batch.jobs[0],
                State.REJECTED,
                problems=(Problem(Code.ITEM_ID_UNSAFE, text, text),),
                items=(JobItem(text, ItemResult.REFUSED, JOB, None, text),),
                decisions=(replace(decision(), requested=text, message=text, rule=text),),
                names=JobNames(text, text, text),
            ),
        )
        assert len(detail.problems) == len(detail.items) == len(detail.decisions) == 1

    def test_a_job_with_many_items_and_problems_is_written_whole(self, connection: Connection, batch: Batch) -> None:
        items = tuple(JobItem(f"i{number}", ItemResult.REFUSED, f"{JOB}{number}.json") for number in range(5_000))
        problems = tuple(Problem(Code.ITEM_INVALID, item.source_key) for item in items)
        detail = end(connection, batch, ended(batch.jobs[0], State.REJECTED, items=items, problems=problems))
        assert detail.items == items
        assert [problem["object"] for problem in detail.problems] == [problem.object for problem in problems]


def test_nothing_is_written_when_the_caller_does_not_commit(connection: Connection, batch: Batch) -> None:
    connection.execute("SELECT 1")
    finish(connection, batch, [ended(batch.jobs[0], problems=(Problem(Code.LINK_MISSING, "x"),))])
    connection.rollback()
    detail = get_job(connection, JOB)
    assert detail is not None
    assert (detail.summary.state, detail.problems) == (State.INGESTING, ())


def test_a_run_cannot_leave_a_job_as_it_took_it(connection: Connection, batch: Batch) -> None:
    with pytest.raises(ValueError, match=JOB):
        finish(connection, batch, [ended(batch.jobs[0], State.INGESTING)])


def test_a_job_that_the_ledger_does_not_know_cannot_end_in_it(connection: Connection, batch: Batch) -> None:
    with pytest.raises(ValueError, match=JOB):
        finish(connection, batch, [ended(replace(batch.jobs[0], job_id=None))])
