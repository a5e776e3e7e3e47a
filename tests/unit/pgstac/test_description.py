"""Whose words stand in a collection's document: the pure part of describing it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.catalog.schema import core_errors
from maap_stac_orchestration.pgstac.description import (
    DERIVED,
    NewCollection,
    automatic_fields,
    collection_document,
    derive,
    derived_untouched,
    fill,
    own_document,
    whose,
    written_automatically,
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


RENDER = "https://stac-extensions.github.io/render/v2.0.0/schema.json"
RASTER = "https://stac-extensions.github.io/raster/v1.1.0/schema.json"
ABOUT = {"rel": "about", "href": "https://example.org/algorithm"}
#: What follows from items, as a collection's items come and go.
FOUND = st.fixed_dictionaries(
    {},
    optional={
        "summaries": st.sampled_from([{"gsd": [10]}, {"gsd": [30]}]),
        "item_assets": st.just({"red": {"title": "Red", "type": "image/tiff"}}),
        "renders": st.sampled_from([{"one": {"assets": ["red"]}}, {"two": {"assets": ["red"]}}]),
        "stac_extensions": st.sampled_from([[RENDER], [RASTER, RENDER]]),
        "links": st.just([ABOUT]),
    },
)
SAID = st.fixed_dictionaries(
    {},
    optional={
        "title": st.sampled_from(["A", "B"]),
        "summaries": st.sampled_from([{"gsd": [1]}, {"gsd": [10]}]),
        "renders": st.just({"mine": {"assets": ["red"]}}),
        "stac_extensions": st.sampled_from([[], [RASTER], ["https://example.org/x"]]),
        "links": st.sampled_from([[], [ABOUT]]),
    },
)


def followed(document: dict[str, Any], fields: dict[str, Any], found: dict[str, Any]) -> tuple[Any, Any]:
    """After an upkeep."""
    derived = derive(document, fields, found, NOW)
    assert derived is not None
    return stored(derived.document), stored(derived.fields)


def told(document: dict[str, Any], fields: dict[str, Any], words: dict[str, Any]) -> tuple[Any, Any]:
    """After a job with these words."""
    filled = fill(document, fields, new(own(**words)), NOW)
    assert filled is not None
    return stored(filled.document), stored(filled.fields)


@given(SAID, st.lists(FOUND, min_size=1, max_size=3))
def test_upkeep_leaves_what_follows_from_the_items_as_they_are_now(words: Any, every: list[dict[str, Any]]) -> None:
    document, fields = first_document, first_fields = described(own(**words))
    for found in every:
        document, fields = followed(document, fields, found)
    alone, noted = followed(first_document, first_fields, every[-1])
    assert without_times(document) == without_times(alone)
    assert fields == noted
    again = derive(document, fields, every[-1], "2030-01-01T00:00:00Z")
    assert again is not None
    assert (again.changed, again.document) == ((), document)


@given(SAID, SAID, FOUND)
def test_a_jobs_words_stand_over_its_items_in_whatever_order_they_come(before: Any, words: Any, found: Any) -> None:
    items_first, noted = followed(*described(own(**before)), found)
    items_first, noted = followed(*told(items_first, noted, words), found)
    words_first, fields = followed(*described(own(**before), own(**words)), found)
    assert without_times(items_first) == without_times(words_first)
    assert noted == fields
    for field in ("summaries", "renders"):
        if field in words:
            assert items_first[field] == words[field]


@given(SAID, FOUND, FOUND, st.sets(st.sampled_from(["summaries", "item_assets", "renders", "links"]), min_size=1))
def test_what_a_person_wrote_stays_whatever_the_items_say(words: Any, before: Any, after: Any, touched: Any) -> None:
    document, fields = followed(*described(own(**words)), before)
    theirs = {
        "summaries": {"x": ["by hand"]},
        "item_assets": {"red": {"title": "By hand", "type": "image/png"}},
        "renders": {"by-hand": {"assets": ["red"]}},
        "links": [{"rel": "about", "href": "https://example.org/by-hand"}],
    }
    document |= {field: theirs[field] for field in touched}
    assert {whose(document, fields, field) for field in touched} == {"person"}
    document, fields = followed(document, fields, after)
    document, fields = told(document, fields, {"summaries": {"gsd": [7]}, "renders": {"job": {"assets": ["red"]}}})
    document, fields = followed(document, fields, after)
    assert {field: document[field] for field in touched} == {field: theirs[field] for field in touched}


def test_what_the_items_no_longer_say_goes() -> None:
    found = {"summaries": {"gsd": [10]}, "stac_extensions": [RASTER], "links": [ABOUT]}
    plain, fields = described(own(stac_extensions=["https://example.org/x"]))
    document, noted = followed(plain, fields, found)
    assert document["stac_extensions"] == ["https://example.org/x", RASTER]
    assert (document["summaries"], document["links"]) == ({"gsd": [10]}, [ABOUT])
    assert whose(document, noted, "summaries") == "items"
    document, noted = followed(document, noted, {})
    assert without_times(document) == without_times(plain)
    assert noted == fields


def test_no_renders_are_told_of_assets_that_a_person_took_out() -> None:
    found = {
        "item_assets": {"red": {"title": "Red", "type": "image/tiff"}},
        "renders": {"one": {"assets": ["red"]}},
        "stac_extensions": [RENDER],
    }
    document, fields = followed(*described(own()), found)
    assert document["stac_extensions"] == [RENDER]
    taken_out = {field: value for field, value in document.items() if field != "item_assets"}
    document, _ = followed(taken_out, fields, found)
    assert "renders" not in document
    assert document["stac_extensions"] == []


def test_what_a_person_touched_no_longer_follows_from_the_items() -> None:
    _, fields = followed(*described(own()), {"summaries": {"gsd": [10]}, "links": [ABOUT]})
    assert fields[DERIVED] == {"summaries": {"gsd": [10]}, "links": [ABOUT]}
    assert derived_untouched(fields, {"summaries": {"gsd": [10]}, "links": []}, {"links"}) == {
        DERIVED: {"summaries": {"gsd": [10]}}
    }
    assert derived_untouched(fields, {"links": []}, {"links", "summaries"}) == {}
    automatic = written_automatically(fields)
    assert (automatic["summaries"], automatic["links"]) == ({"gsd": [10]}, [ABOUT])
    assert DERIVED not in automatic


def test_a_document_that_would_not_be_valid_is_not_written() -> None:
    document, fields = described(own())
    assert derive(document, fields, {"summaries": 7}, NOW) is None
