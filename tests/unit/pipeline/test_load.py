"""Which jobs are loaded together, and what a job's end is called: the pure part of loading."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.governance.decision import Decision, DecisionCode, Outcome
from maap_stac_orchestration.ledger.records import ClaimedJob, State
from maap_stac_orchestration.pipeline.batch import DecidedJob, Pin, ReadItem, ReadJob
from maap_stac_orchestration.pipeline.endings import refused_reading, state_of
from maap_stac_orchestration.pipeline.plan import Plan, following, groups_of, plan_of, refuse
from maap_stac_orchestration.problems import Code, Problem

NOW = datetime(2024, 6, 1, tzinfo=UTC)


def decision(code: DecisionCode, outcome: Outcome, requested: str | None = None) -> Decision:
    collection = None if outcome is Outcome.REJECT else "default" if outcome is Outcome.FALLBACK else requested
    return Decision(
        code,
        outcome,
        collection or ("default" if outcome is Outcome.DEFAULT else collection),
        requested,
        "a rule",
        "a sentence",
        "none",
    )


def plan(
    *collections: str,
    index: int = 0,
    decisions: tuple[Decision, ...] = (),
    problems: tuple[Problem, ...] = (),
    awaiting: bool = False,
) -> Plan:
    items = tuple(
        ReadItem(f"{collection}-{number}", collection, b"{}", Pin(f"{collection}.json", "e", None, "s", 1))
        for number, collection in enumerate(collections)
    )
    read = ReadJob(
        claim=ClaimedJob(index, "b", f"prefix-{index}/", {}, NOW),
        job=None,
        metadata_username=None,
        items=items,
        collections=(),
        pins=(),
        problems=problems,
        awaiting=awaiting,
    )
    decided = {one.requested: one for one in decisions} or {
        collection: decision(DecisionCode.GRANTED, Outcome.ACCEPT, collection) for collection in collections
    }
    return plan_of(index, DecidedJob(read, decided), "run")


@given(st.lists(st.sets(st.sampled_from("abcdefgh"), max_size=3), max_size=12))
def test_groups_share_no_collection_and_hold_every_job_once(jobs: list[set[str]]) -> None:
    plans = [plan(*sorted(collections), index=index) for index, collections in enumerate(jobs)]
    groups = list(groups_of(plans))
    assert sorted(one.index for group in groups for one in group) == list(range(len(plans)))
    touched = [{candidate.collection for one in group for candidate in one.candidates} for group in groups]
    assert sum(len(collections) for collections in touched) == len(set().union(*touched))


@given(st.lists(st.sets(st.sampled_from("abcdefgh"), min_size=1, max_size=3), min_size=1, max_size=12))
def test_a_group_is_no_larger_than_it_has_to_be(jobs: list[set[str]]) -> None:
    plans = [plan(*sorted(collections), index=index) for index, collections in enumerate(jobs)]
    for group in groups_of(plans):
        reached = {candidate.collection for candidate in group[0].candidates}
        for _ in group:
            for one in group:
                names = {candidate.collection for candidate in one.candidates}
                if names & reached:
                    reached |= names
        assert reached == {candidate.collection for one in group for candidate in one.candidates}


DENIED = decision(DecisionCode.USER_NOT_AUTHORIZED, Outcome.FALLBACK, "maap-floods")
REJECTED = decision(DecisionCode.USER_NOT_AUTHORIZED, Outcome.REJECT, "maap-floods")
MISMATCH = decision(DecisionCode.IDENTITY_MISMATCH, Outcome.REJECT)
ERROR = Problem(Code.ITEM_INVALID, "x")
WARNING = Problem(Code.ASSET_MISSING, "x")


@pytest.mark.parametrize(
    ("decisions", "problems", "awaiting", "kept", "state"),
    [
        ((), (), False, True, State.LOADED),
        ((), (), False, False, State.LOADED),
        ((), (WARNING,), False, True, State.LOADED),
        ((), (ERROR,), False, True, State.PARTIAL),
        ((), (ERROR,), False, False, State.REJECTED),
        ((), (ERROR,), True, False, State.WAITING),
        ((), (ERROR,), True, True, State.WAITING),
        ((DENIED,), (), False, True, State.LOADED),
        ((DENIED,), (ERROR,), False, True, State.PARTIAL),
        ((REJECTED,), (), False, True, State.PARTIAL),
        ((REJECTED,), (), False, False, State.REJECTED),
        ((MISMATCH,), (), False, False, State.REJECTED),
        ((MISMATCH,), (), True, False, State.REJECTED),
    ],
)
def test_the_end_of_a_job_has_one_name(
    decisions: tuple[Decision, ...], problems: tuple[Problem, ...], awaiting: bool, kept: bool, state: State
) -> None:
    one = plan(decisions=decisions, problems=problems, awaiting=awaiting)
    assert state_of(one, [*problems, *one.denials], kept=kept) is state


def test_an_identity_is_denied_once_however_many_collections_are_asked_for() -> None:
    mismatches = tuple(decision(DecisionCode.IDENTITY_MISMATCH, Outcome.REJECT, name) for name in ("a", "b", "c"))
    assert [(problem.code, problem.object) for problem in plan(decisions=mismatches).denials] == [
        (Code.IDENTITY_MISMATCH, "prefix-0/")
    ]


def test_refused_items_are_counted_by_item_not_by_fault() -> None:
    assert refused_reading([ERROR, ERROR, Problem(Code.DATETIME_INVALID, "x"), WARNING]) == 1
    assert refused_reading([Problem(Code.ITEM_DUPLICATE, "x")] * 2) == 2


def test_items_follow_collections_that_were_moved_and_no_others() -> None:
    decided = plan("a", "b", "c").decided
    followed = following(decided, {"b": "new", "z": "other"})
    assert {wanted: one.collection for wanted, one in followed.decisions.items()} == {"a": "a", "b": "new", "c": "c"}
    assert followed.decisions["a"] == decided.decisions["a"]
    assert followed.decisions["b"].message.endswith("b was moved meanwhile, so they go to new.")


def test_a_job_for_collections_that_were_not_moved_is_as_it_was() -> None:
    decided = plan("a").decided
    assert following(decided, {"b": "new"}) is decided


def test_items_for_a_collection_that_there_cannot_be_are_refused_and_no_others() -> None:
    one, other = plan("a", "b", "a"), plan("b", index=1)
    gone = Problem(Code.COLLECTION_NOT_FOUND, "a", "It was deleted.")
    refuse([one, other], {"a": gone})
    assert [candidate.collection for candidate in one.candidates] == ["b"]
    assert [item.requested_collection for item in one.denied] == ["a", "a"]
    assert one.denials == [gone]
    assert (len(other.candidates), other.denied, other.denials) == (1, [], [])
