"""Whatever is wrong with a document, its author is told which part, in words; no check ever fails on it."""

from __future__ import annotations

from typing import Any

import pytest

from maap_stac_orchestration.catalog.document import NotMigrated, migrate
from tests.unit.catalog.items import an_item

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
