"""What holds of decisions for every registry and every request, not only for those that somebody thought of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from maap_stac_orchestration.governance.decide import RESERVED_NAMES, decide
from maap_stac_orchestration.governance.decision import Decision, DecisionCode, OnDenied, Outcome, Request
from maap_stac_orchestration.governance.patterns import MIN_PREFIX
from maap_stac_orchestration.governance.registry import Registry
from maap_stac_orchestration.problems import Code
from tests.unit.governance.generated import (
    Collections,
    Document,
    documents,
    entries,
    existing_ids,
    grants,
    loaded,
    questions,
    requests,
    settings_values,
)
from tests.unit.governance.table import means, names_algorithm, names_user, table


def answer(
    document: Document, request: Request, collections: Collections, setting: OnDenied = OnDenied.FALLBACK
) -> Decision:
    decision = decide(request, loaded(document), collections.known(), setting)
    event(decision.code.value)
    return decision


def consequences(decision: Decision) -> tuple[object, ...]:
    """What two decisions that are the same have in common, whatever their words."""
    return decision.code, decision.outcome, decision.collection, decision.creation


@settings(max_examples=1000)
@given(question=questions())
def test_the_decision_is_that_of_the_table(question: tuple[Document, Request, Collections]) -> None:
    assert answer(*question).code.value == table(*question)


@given(question=questions(), setting=settings_values)
def test_a_decision_is_whole(question: tuple[Document, Request, Collections], setting: OnDenied) -> None:
    document, request, collections = question
    decision = answer(document, request, collections, setting)
    assert decision == answer(document, request, collections, setting)
    assert decision.rule
    assert decision.message
    assert decision.requested == (request.collection or None)
    if decision.code is DecisionCode.GRANTED:
        assert (decision.outcome, decision.collection) == (Outcome.ACCEPT, request.collection)
        assert (decision.creation is None) == (request.collection in collections.existing)
    elif decision.code is DecisionCode.DEFAULT_ASSIGNED:
        assert (decision.outcome, decision.collection) == (Outcome.DEFAULT, request.default_collection)
    else:
        assert Code(decision.code.value)
        assert decision.outcome in (Outcome.FALLBACK, Outcome.REJECT)
        expected = request.default_collection if decision.outcome is Outcome.FALLBACK else None
        assert decision.collection == expected


any_text = st.text() | st.text(st.characters(codec=None), max_size=20)


@given(
    document=documents(),
    names=st.tuples(any_text, any_text, any_text, st.none() | any_text),
    collection=st.none() | any_text,
    default=any_text,
    metadata_username=st.none() | st.none() | st.none() | any_text,
    existing=st.builds(Collections, *[st.lists(any_text, max_size=3).map(tuple)] * 2),
)
def test_no_input_is_without_a_decision(
    document: Document,
    names: tuple[str, str, str, str | None],
    collection: str | None,
    default: str,
    metadata_username: str | None,
    existing: Collections,
) -> None:
    decision = answer(document, Request(*names, collection, default, metadata_username), existing)
    assert "\n" not in decision.rule


@settings(max_examples=300)
@given(question=questions())
def test_nobody_is_accepted_without_a_grant_that_names_them_and_the_id(
    question: tuple[Document, Request, Collections],
) -> None:
    document, request, collections = question
    if answer(document, request, collections).outcome is not Outcome.ACCEPT:
        return
    assert request.collection is not None
    assert any(
        means(grant["collection"], request.collection, request.username)
        and names_user(grant, request.username)
        and names_algorithm(grant, request)
        for grant in document["grants"]
    )


@given(question=questions())
def test_deny_wins(question: tuple[Document, Request, Collections]) -> None:
    document, request, collections = question
    assume(request.collection)
    pattern = {"collection": request.collection, "users": ["*"]}
    assert answer({**document, "deny": [pattern]}, request, collections).outcome is not Outcome.ACCEPT


@settings(max_examples=300)
@given(question=questions(), grant=grants())
def test_adding_a_grant_never_takes_access_away(
    question: tuple[Document, Request, Collections], grant: Document
) -> None:
    document, request, collections = question
    if answer(document, request, collections).outcome is Outcome.ACCEPT:
        more = {**document, "grants": [*document["grants"], grant]}
        assert answer(more, request, collections).outcome is Outcome.ACCEPT


@settings(max_examples=300)
@given(question=questions(), denial=entries())
def test_adding_a_deny_never_gives_access(question: tuple[Document, Request, Collections], denial: Document) -> None:
    document, request, collections = question
    more = {**document, "deny": [*document["deny"], denial]}
    if answer(more, request, collections).outcome is Outcome.ACCEPT:
        assert answer(document, request, collections).outcome is Outcome.ACCEPT


@given(question=questions(), order=st.randoms(use_true_random=False), setting=settings_values)
def test_neither_order_nor_case_of_entries_matters(
    question: tuple[Document, Request, Collections], order: Any, setting: OnDenied
) -> None:
    document, request, collections = question
    other = {**document}
    for key in ("grants", "deny", "reserved"):
        other[key] = order.sample(document[key], len(document[key]))
    for key in ("grants", "deny"):
        other[key] = [{**entry, "collection": other_case(entry["collection"])} for entry in other[key]]
    other["reserved"] = [other_case(pattern) for pattern in other["reserved"]]
    one, same = answer(document, request, collections, setting), answer(other, request, collections, setting)
    assert consequences(one) == consequences(same)


def other_case(pattern: str) -> str:
    return pattern.swapcase().replace("{USERNAME}", "{username}")


@given(document=documents(), asking=requests(), owner=requests(), other=existing_ids)
def test_the_fallback_of_one_user_is_not_written_to_by_another(
    document: Document, asking: Request, owner: Request, other: list[str]
) -> None:
    """Unless an administrator grants exactly that id: a prefix, whoever it names, never does it."""
    assume(asking.username.lower() != owner.username.lower())
    document["grants"] = [
        *(grant for grant in document["grants"] if grant["collection"].endswith("*")),
        {"collection": owner.default_collection[:3] + "*", "users": ["*"], "create": True},
        {"collection": owner.default_collection[:-1] + "*", "users": [asking.username], "create": True},
    ]
    for collections in (
        Collections((*other, owner.default_collection)),
        Collections(tuple(other), (owner.default_collection,)),
        Collections(tuple(other)),
    ):
        for spelling in (owner.default_collection, owner.default_collection.lower()):
            decision = answer(document, replace(asking, collection=spelling), collections)
            assert decision.collection not in (owner.default_collection, owner.default_collection.lower())


@settings(max_examples=300)
@given(question=questions())
def test_no_prefix_gives_what_belongs_to_others(question: tuple[Document, Request, Collections]) -> None:
    document, request, collections = question
    prefixes = [grant for grant in document["grants"] if grant["collection"].endswith("*")]
    if request.collection and len(request.collection) >= MIN_PREFIX:
        prefixes.append({"collection": f"{request.collection}*", "users": ["*"], "create": True})
    if answer({**document, "grants": prefixes}, request, collections).outcome is not Outcome.ACCEPT:
        return
    assert request.collection is not None
    assert "__" not in request.collection
    assert request.collection not in RESERVED_NAMES
    assert request.collection.split("--")[0] == request.username or "--" not in request.collection


@given(question=questions(), kept=documents(), defines_teams=st.booleans())
def test_registries_that_are_merged_decide_like_one_with_all_their_entries(
    question: tuple[Document, Request, Collections], kept: Document, defines_teams: bool
) -> None:
    """Also where the entries of one name the teams of the other."""
    one, request, collections = question
    together = {**one, **{key: [*one[key], *kept[key]] for key in ("grants", "deny", "reserved")}}
    on_denied = one.get("on_denied") or kept.get("on_denied")
    if on_denied:
        together["on_denied"] = on_denied
    parts = [loaded(one), loaded(kept)]
    parts[defines_teams] = replace(parts[defines_teams], teams={})
    merged = parts[0].merged(parts[1], Registry.empty())
    decision = decide(request, merged, collections.known(), OnDenied.FALLBACK)
    expected = answer(together, request, collections)
    assert consequences(decision) == consequences(expected)
    assert decision.registry_version == merged.version != loaded(one).version
