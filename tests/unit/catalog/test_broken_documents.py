"""Whatever is wrong with a document, its author is told which part, in words; no check ever fails on it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.catalog.document import NotMigrated, migrate
from maap_stac_orchestration.catalog.schema import core_errors
from tests.unit.catalog.items import an_item, json_values, prepared

OLD = ["0.9.0", "1.0.0-beta.2", "1.0.0-rc.1", "1.0.0"]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("version", OLD)
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"properties": None}, "Its properties are not an object."),
        ({"properties": []}, "Its properties are not an object."),
        ({"assets": None}, "Its assets are not an object."),
        ({"assets": ["a.tif"]}, "Its assets are not an object."),
        ({"assets": {"a": "a.tif"}}, "What stands at assets/a is not an object."),
        ({"links": ["x.json"]}, "Its links are not an array of objects."),
        ({"links": {"self": "x.json"}}, "Its links are not an array of objects."),
        ({"stac_extensions": [1, None]}, "Its stac_extensions are not an array of texts."),
        ({"stac_extensions": "eo"}, "Its stac_extensions are not an array of texts."),
        ({"stac_extensions": {"eo": 1}}, "Its stac_extensions are not an array of texts."),
        ({"properties": {"x": nested(5000)}}, "It is nested too deeply to be read."),
    ],
)
def test_a_document_of_before_is_told_what_it_cannot_be_lifted_for(
    version: str, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(NotMigrated) as caught:
        migrate(an_item(stac_version=version, **changes))
    assert str(caught.value) == told


def test_digits_of_other_scripts_are_no_version() -> None:
    with pytest.raises(NotMigrated, match="The stac_version is"):
        migrate(an_item(stac_version="１.０.０"))


def test_a_catalog_nested_too_deeply_is_told() -> None:
    catalog = {"type": "Catalog", "stac_version": "1.1.0", "id": "c", "description": "d", "links": [nested(3000)]}
    (sentence,) = core_errors(catalog)
    assert sentence.startswith("The document cannot be checked: ")


odd_text = st.text(st.sampled_from('a\x1b\x7f\n\t\u202e\u2028\x00\ud800 "{}%/'), max_size=8)
odd_values = json_values | odd_text | st.lists(odd_text) | st.dictionaries(odd_text, odd_text)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "id": odd_text,
            "type": odd_text | st.just("Feature"),
            "stac_version": odd_text | st.sampled_from(["0.9.0", "1.0.0"]),
            "collection": odd_values,
            "bbox": odd_values,
            "geometry": odd_values | st.fixed_dictionaries({"type": odd_text, "coordinates": odd_values}),
            "properties": odd_values | st.fixed_dictionaries({"datetime": odd_text}, optional={"gsd": odd_values}),
            "assets": odd_values
            | st.dictionaries(odd_text, st.fixed_dictionaries({"href": odd_text | st.sampled_from(["file:", "/x"])})),
            "links": odd_values | st.lists(st.fixed_dictionaries({"rel": odd_text, "href": odd_text})),
            "stac_extensions": odd_values,
        },
    )
)
def test_whatever_is_told_of_an_item_can_be_printed_and_is_a_sentence(changes: dict[str, Any]) -> None:
    result = prepared(an_item(**changes))
    told = [problem.message for problem in result.problems] + [problem.object for problem in result.problems]
    for text in [*told, *result.repairs]:
        assert text.isprintable(), ascii(text)
        assert 0 < len(text) < 3000
    for text in [*(problem.message for problem in result.problems), *result.repairs]:
        assert text.endswith("."), text
