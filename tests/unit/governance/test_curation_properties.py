"""What holds of changes by hand for every registry, person and collection."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from maap_stac_orchestration.governance.curation import Person, may_change, may_create
from maap_stac_orchestration.governance.decide import RESERVED_NAMES, decide
from maap_stac_orchestration.governance.decision import Decision, DecisionCode, Outcome, Request
from maap_stac_orchestration.governance.patterns import MIN_PREFIX
from maap_stac_orchestration.problems import Code
from tests.unit.governance.generated import (
    USERS,
    Collections,
    Document,
    documents,
    entries,
    existing_ids,
    grants,
    ids,
    loaded,
    questions_of_creators,
)
from tests.unit.governance.table import code_for, denied, means, names_user

Question = tuple[Document, Request, Collections]

users = st.sampled_from(USERS)


def created(document: Document, request: Request, collections: Collections, *, admin: bool = False) -> Decision:
    assert request.collection is not None
    decision = may_create(Person(request.username, admin), request.collection, loaded(document), collections.known())
    event(decision.code.value)
    return decision


@settings(max_examples=600)
@given(question=questions_of_creators())
def test_a_user_may_create_what_the_table_says(question: Question) -> None:
    document, request, collections = question
    assert request.collection is not None
    taken = request.collection.lower() in [one.lower() for one in collections.existing + collections.deleted]
    expected = "name_conflict" if taken else code_for(document, request, collections, by_hand=True)
    assert created(document, request, collections).code.value == expected


@given(question=questions_of_creators(), admin=st.booleans())
def test_the_answer_is_yes_or_no(question: Question, admin: bool) -> None:
    document, request, collections = question
    decision = created(document, request, collections, admin=admin)
    assert decision == created(document, request, collections, admin=admin)
    assert decision.rule
    assert decision.message
    assert decision.requested == request.collection
    if decision.code is DecisionCode.GRANTED:
        assert (decision.outcome, decision.collection) == (Outcome.ACCEPT, request.collection)
        assert decision.creation is not None
    else:
        assert Code(decision.code.value)
        assert (decision.outcome, decision.collection, decision.creation) == (Outcome.REJECT, None, None)


any_text = st.text() | st.text(st.characters(codec=None), max_size=20)


@given(
    document=documents(),
    username=any_text,
    admin=st.booleans(),
    collection=any_text,
    owner=st.none() | any_text,
    existing=st.builds(Collections, *[st.lists(any_text, max_size=3).map(tuple)] * 2),
)
def test_every_input_is_answered_on_one_line(
    document: Document, username: str, admin: bool, collection: str, owner: str | None, existing: Collections
) -> None:
    person, registry = Person(username, admin), loaded(document)
    decision = may_create(person, collection, registry, existing.known())
    assert len((decision.rule + decision.message).splitlines()) == 1
    refusal = may_change(person, collection, owner, registry)
    assert refusal is None or len((refusal.rule + refusal.message).splitlines()) == 1


@settings(max_examples=300)
@given(question=questions_of_creators())
def test_a_user_creates_nothing_in_the_namespace_of_another(question: Question) -> None:
    """Unless an administrator grants exactly that id."""
    document, request, collections = question
    prefixes = [grant for grant in document["grants"] if grant["collection"].endswith("*")]
    assert request.collection is not None
    if len(request.collection) >= MIN_PREFIX:
        prefixes.append({"collection": f"{request.collection}*", "users": ["*"], "create": True})
    decision = created({**document, "grants": prefixes}, request, collections)
    if decision.outcome is Outcome.ACCEPT:
        assert "--" not in request.collection or request.collection.split("--")[0] == request.username


@settings(max_examples=300)
@given(question=questions_of_creators(), admin=st.booleans())
def test_nobody_creates_what_is_reserved_or_taken_or_a_default_collection(question: Question, admin: bool) -> None:
    document, request, collections = question
    assert request.collection is not None
    exact = {"collection": request.collection, "users": ["*"], "create": True}
    more = {**document, "grants": [*document["grants"], exact]}
    if created(more, request, collections, admin=admin).outcome is Outcome.ACCEPT:
        taken = [one.lower() for one in collections.existing + collections.deleted]
        assert request.collection.lower() not in taken
        assert request.collection.lower() not in RESERVED_NAMES
        assert "__" not in request.collection


@given(question=questions_of_creators())
def test_an_administrator_creates_what_a_user_may_create(question: Question) -> None:
    document, request, collections = question
    by_user = created(document, request, collections)
    by_admin = created(document, request, collections, admin=True)
    if by_user.outcome is Outcome.ACCEPT:
        assert by_admin == by_user


@settings(max_examples=300)
@given(question=questions_of_creators())
def test_whoever_creates_could_create_it_by_a_job_whatever_it_ran(question: Question) -> None:
    document, request, collections = question
    decision = created(document, request, collections)
    if decision.outcome is not Outcome.ACCEPT:
        return
    # What is denied to certain algorithms is not denied to a person.
    document = {**document, "deny": [denial for denial in document["deny"] if "algorithms" not in denial]}
    job = replace(request, algorithm="unheard-of", version="0", metadata_username=None)
    by_job = decide(job, loaded(document), collections.known())
    assert (by_job.outcome, by_job.creation) == (Outcome.ACCEPT, decision.creation)


@settings(max_examples=300)
@given(question=questions_of_creators())
def test_no_user_creates_without_a_creating_grant_that_names_them(question: Question) -> None:
    document, request, collections = question
    assert request.collection is not None
    wanted, user = request.collection, request.username
    if created(document, request, collections).outcome is Outcome.ACCEPT:
        assert any(
            grant["create"]
            and "algorithms" not in grant
            and names_user(grant, user)
            and means(grant["collection"], wanted, user)
            for grant in document["grants"]
        )


@settings(max_examples=300)
@given(question=questions_of_creators(), grant=grants(), denial=entries())
def test_grants_only_add_and_denials_only_take_away(question: Question, grant: Document, denial: Document) -> None:
    document, request, collections = question
    more = {**document, "grants": [*document["grants"], grant]}
    less = {**document, "deny": [*document["deny"], denial]}
    outcomes = [created(one, request, collections).outcome for one in (less, document, more)]
    assert outcomes == sorted(outcomes, key=[Outcome.REJECT, Outcome.ACCEPT].index)


@given(question=questions_of_creators())
def test_a_denial_of_all_algorithms_wins(question: Question) -> None:
    document, request, collections = question
    denial = {"collection": request.collection, "users": ["*"]}
    assert created({**document, "deny": [denial]}, request, collections).outcome is Outcome.REJECT


@given(question=questions_of_creators(), order=st.randoms(use_true_random=False))
def test_neither_order_nor_case_of_entries_matters(question: Question, order: Any) -> None:
    document, request, collections = question
    other = {**document, "reserved": [pattern.swapcase() for pattern in document["reserved"]]}
    for key in ("grants", "deny"):
        other[key] = [
            {**entry, "collection": entry["collection"].swapcase().replace("{USERNAME}", "{username}")}
            for entry in order.sample(document[key], len(document[key]))
        ]
    one, same = created(document, request, collections), created(other, request, collections)
    assert (one.code, one.outcome, one.creation) == (same.code, same.outcome, same.creation)


@settings(max_examples=300)
@given(document=documents(), username=users, owner=st.none() | users, collection=ids, grant=grants())
def test_only_the_owner_changes_a_collection_whatever_the_grants(
    document: Document, username: str, owner: str | None, collection: str, grant: Document
) -> None:
    person = Person(username, admin=False)
    refused = may_change(person, collection, owner, loaded(document)) is not None
    asked = Request(username, "", "", None, collection, "")
    assert refused == (owner != username or denied(document, asked, by_hand=True))
    more = {**document, "grants": [*document["grants"], grant]}
    assert refused == (may_change(person, collection, owner, loaded(more)) is not None)


@given(document=documents(), username=users, owner=st.none() | users, collection=ids)
def test_an_administrator_changes_any_collection(
    document: Document, username: str, owner: str | None, collection: str
) -> None:
    assert may_change(Person(username, admin=True), collection, owner, loaded(document)) is None


@given(document=documents(), one=users.filter(lambda name: name != "*"), other=users, existing=existing_ids)
def test_the_default_collection_of_one_user_is_neither_created_nor_changed_by_another(
    document: Document, one: str, other: str, existing: list[str]
) -> None:
    assume(one != other)
    default = f"{one}__flood__v1"
    registry = loaded({**document, "grants": [{"collection": default, "users": ["*"], "create": True}]})
    person = Person(other, admin=False)
    assert may_create(person, default, registry, Collections(tuple(existing)).known()).outcome is Outcome.REJECT
    assert may_change(person, default, one, registry) is not None
