"""Whose words stand in a collection's document: the pure part of describing it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.catalog.schema import core_errors
from maap_stac_orchestration.pgstac.description import (
    NewCollection,
    automatic_fields,
    collection_document,
    fill,
    own_document,
)

EXTENT = {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [[None, None]]}}
THEN, NOW = "2024-06-01T00:00:00Z", "2024-06-02T00:00:00Z"


def new(*documents: dict[str, Any], **changed: Any) -> NewCollection:
    values: dict[str, Any] = {
        "id": "floods",
        "username": "ana",
        "algorithm": "flood",
        "version": "v1",
        "tag": None,
        "default": False,
        "extent": EXTENT,
        "creation": {},
        "own": documents,
    }
    return NewCollection(**(values | changed))


def own(**words: Any) -> dict[str, Any]:
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": "floods",
        "description": "Floods",
        "license": "MIT",
        "extent": EXTENT,
        "links": [],
        **words,
    }


#: Values that the database gives back in another form are among them.
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False, allow_infinity=False) | st.text("ab"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab"), inner, max_size=2),
    max_leaves=4,
)
WORDS = st.fixed_dictionaries(
    {},
    optional={
        "title": st.sampled_from(["A", "B"]),
        "description": st.sampled_from(["C", "D"]),
        "keywords": st.lists(st.sampled_from(["k", "ana", "MAAP"]), max_size=2, unique=True),
        "x:one": VALUES,
        "x:two": VALUES,
    },
)
TOUCHED = st.fixed_dictionaries({}, optional={"title": st.just("By hand"), "x:one": VALUES, "x:three": VALUES})


def stored(document: Any) -> Any:
    """As the database gives it back: numbers without a fraction are whole ones, however large."""

    def whole(number: str) -> int | float:
        value = float(number)
        return int(value) if value.is_integer() else value

    return json.loads(json.dumps(document), parse_float=whole)


def described(*documents: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A collection and what is noted of it after jobs with these documents came, one after another."""
    first, *others = documents
    document = stored(collection_document(new(first), THEN))
    fields = stored(automatic_fields(new(first)))
    for one in others:
        filled = fill(document, fields, new(one), NOW)
        assert filled is not None
        document, fields = stored(filled.document), stored(filled.fields)
    return document, fields


def without_times(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in {"created", "updated"}}


@given(st.lists(WORDS, min_size=1, max_size=4))
def test_only_the_last_document_counts(every: list[dict[str, Any]]) -> None:
    document, fields = described(*(own(**words) for words in every))
    alone, noted = described(own(**every[-1]))
    assert without_times(document) == without_times(alone)
    assert fields == noted


@given(WORDS, WORDS)
def test_the_same_document_again_changes_nothing(before: dict[str, Any], words: dict[str, Any]) -> None:
    document, fields = described(own(**before), own(**words))
    filled = fill(document, fields, new(own(**words)), "2030-01-01T00:00:00Z")
    assert filled is not None
    assert filled.changed == ()
    assert filled.document == document


@given(WORDS, TOUCHED, st.sets(st.sampled_from(["title", "x:one", "x:two", "keywords"])), st.lists(WORDS, max_size=3))
def test_what_a_person_wrote_or_took_out_is_left_alone(
    before: dict[str, Any], touched: dict[str, Any], taken_out: set[str], later: list[dict[str, Any]]
) -> None:
    document, fields = described(own(**before))
    edited = {name: value for name, value in {**document, **touched}.items() if name not in taken_out}
    theirs = {
        name
        for name in (*touched, *taken_out)
        if json.dumps(stored(edited.get(name, "absent"))) != json.dumps(fields.get(name, "absent"))
    }
    now = stored(edited)
    for words in later:
        filled = fill(now, fields, new(own(**words)), NOW)
        assert filled is not None
        now, fields = stored(filled.document), stored(filled.fields)
    for name in theirs:
        assert (name in now) == (name in edited)
        assert now.get(name) == stored(edited).get(name)


@given(WORDS, WORDS)
def test_what_is_filled_is_valid_and_keeps_its_identity(before: dict[str, Any], words: dict[str, Any]) -> None:
    document, _ = described(own(**before), own(**words, type="Catalog", created="x", **{"maap:username": "eve"}))
    assert core_errors(document) == []
    assert (document["type"], document["id"], document["extent"]) == ("Collection", "floods", EXTENT)
    assert (document["created"], document["maap:username"]) == (THEN, "ana")


@pytest.mark.parametrize(
    "collection",
    [
        new(),
        new(own(id="other")),
        new(own(title=7)),
        new(own(), own()),
        new(own(license=7)),
    ],
)
def test_what_does_not_describe_the_collection_changes_nothing(collection: NewCollection) -> None:
    document, fields = described(own(title="A"))
    assert own_document(collection) is None
    assert fill(document, fields, collection, NOW) is None


def test_a_document_of_any_name_describes_the_jobs_default_collection() -> None:
    assert own_document(new(own(id="other"), default=True)) == own(id="other")


def test_a_document_that_does_not_go_with_what_a_person_wrote_changes_nothing() -> None:
    document, fields = described(own())
    document["summaries"] = 7
    assert fill(document, fields, new(own(title="A")), NOW) is None


def test_what_the_registry_says_is_no_field_of_a_job() -> None:
    creation = {"title": "T", "description": "D", "license": "MIT", "keywords": ["k"], "providers": [{"name": "P"}]}
    collection = new(own(title="A", description="B", summaries={"gsd": [30]}), creation=creation)
    document, fields = collection_document(collection, THEN), automatic_fields(collection)
    assert (document["title"], document["description"], document["license"]) == ("T", "D", "MIT")
    assert (document["keywords"], document["providers"]) == (["k", "ana", "flood", "MAAP", "DPS"], [{"name": "P"}])
    assert fields == {"stac_extensions": [], "links": [], "summaries": {"gsd": [30]}}


def test_true_is_not_one_and_one_is_one_point_zero() -> None:
    document, fields = described(own(**{"x:one": 1, "x:two": 1}))
    document |= {"x:one": True, "x:two": 1.0}
    filled = fill(document, fields, new(own(**{"x:one": 2, "x:two": 2})), NOW)
    assert filled is not None
    assert (filled.document["x:one"], filled.document["x:two"]) == (True, 2)
