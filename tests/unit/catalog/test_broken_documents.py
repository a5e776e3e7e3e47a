"""Whatever is wrong with a document, its author is told which part, in words; no check ever fails on it."""

from __future__ import annotations

from typing import Any

import pytest

from maap_stac_orchestration.catalog.document import NotMigrated, migrate
from maap_stac_orchestration.catalog.schema import core_errors
from tests.unit.catalog.items import an_item, prepared

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


ESCAPE = "\x1b[31m\u202e\n"


@pytest.mark.parametrize(
    "changes",
    [
        {"id": f"a{ESCAPE}"},
        {"id": f"a{ESCAPE}/"},
        {"stac_version": f"1.0.0{ESCAPE}"},
        {"stac_version": "1.0.0", "assets": {ESCAPE: []}},
        {"collection": [ESCAPE]},
        {"geometry": {"type": ESCAPE, "coordinates": []}},
        {"geometry": {"type": "Point", "coordinates": [ESCAPE, 0]}},
        {"bbox": [ESCAPE, 0, 0, 0]},
        {"properties": {"datetime": ESCAPE}},
        {"properties": {"datetime": "2024-06-01T00:00:00Z", ESCAPE: "\0"}},
        {"properties": {"datetime": "2024-06-01T00:00:00Z", "gsd": ESCAPE}},
        {"properties": {"datetime": "2024-06-01T00:00:00Z", "created": ESCAPE}},
        {"assets": {ESCAPE: {"href": 5}}},
        {"assets": {ESCAPE: {"href": "file:x"}}},
        {"assets": {ESCAPE: {"href": "gone.tif"}}},
        {"assets": {ESCAPE: {"href": "/gone.tif"}}},
        {"assets": {"a": {"href": f"file:{ESCAPE}"}}},
        {"assets": {"a": {"href": f"gone{ESCAPE}.tif"}}},
        {"assets": {"a": {"href": f"/{ESCAPE}.tif"}}},
        {"assets": {"a" * 10_000: {"href": f"/{'b' * 10_000}.tif"}}},
        {"assets": {"a": {"href": "b" * 10_000}}},
        {"assets": {ESCAPE: {"href": "/tmp/one.tif"}}},
        {"links": [{"rel": ESCAPE, "href": f"javascript:{ESCAPE}"}]},
        {"links": [{"rel": "about", "href": f"file:{'b' * 10_000}"}]},
    ],
)
def test_whatever_is_told_of_an_item_can_be_printed_and_is_a_sentence(changes: dict[str, Any]) -> None:
    result = prepared(an_item(**changes))
    sentences = [*(problem.message for problem in result.problems), *result.repairs]
    assert sentences
    for text in sentences:
        assert text.isprintable(), ascii(text)
        assert text.endswith((".", "…"))
        assert len(text) < 3000
    assert all(problem.object.isprintable() and len(problem.object) <= 501 for problem in result.problems)
