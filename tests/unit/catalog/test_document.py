"""Reading JSON, telling documents apart, and lifting them to STAC 1.1.0."""

from __future__ import annotations

import copy
import json
import warnings
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pystac.serialization import identify_stac_object, migrate_to_latest

from maap_stac_orchestration.catalog.document import (
    STAC_VERSION,
    NotJson,
    NotMigrated,
    kind_of,
    migrate,
    parse_json,
    unwritable,
)
from maap_stac_orchestration.catalog.schema import core_errors
from tests.shared import sample_bucket
from tests.unit.catalog.items import SQUARE, an_item, json_values


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_what_is_json_is_read_as_it_is(document: dict[str, Any]) -> None:
    if unwritable(document) is None:
        assert parse_json(orjson.dumps(document)) == orjson.loads(orjson.dumps(document))


@pytest.mark.parametrize(
    ("raw", "document"),
    [
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"a": NaN, "b": [Infinity, -Infinity, 1e999]}', {"a": None, "b": [None, None, None]}),
        (b'{"nodata": NaN, "bands": [{"nodata": -Infinity}, {"nodata": Infinity}]}',
         {"nodata": "nan", "bands": [{"nodata": "-inf"}, {"nodata": "inf"}]}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'{"a": NaN, "big": 123456789012345678901234567890, "n": 18446744073709551615}',
         {"a": None, "big": 1.2345678901234568e29, "n": 18446744073709551615}),
        (b'{"a": NaN, "huge": 1' + b"0" * 5000 + b"}", {"a": None, "huge": None}),
        (b'{"a": "\\ud800"}', {"a": "\ud800"}),
        (b'{"a": "\\u0000"}', {"a": "\0"}),
    ],
)  # fmt: skip
def test_what_producers_write_beside_the_rules_is_read_too(raw: bytes, document: dict[str, Any]) -> None:
    assert parse_json(raw) == document


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"", "It is empty."),
        (b" \n", "It is empty."),
        (b"[]", "It holds an array where a JSON object is wanted."),
        (b"null", "It holds null where a JSON object is wanted."),
        (b"true", "It holds true or false where a JSON object is wanted."),
        (b"NaN", "It holds a number where a JSON object is wanted."),
        (b'{"a": 1', "It is not JSON: Expecting ',' delimiter in line 1, column 8."),
        (b'{"a": "\xff"}', "It is not UTF-8 text: byte 7 cannot be read."),
        ('{"a": 1}'.encode("utf-16"), "It is not UTF-8 text: byte 0 cannot be read."),
        (b'{"a": ' + b"[" * 100_000, "It is nested too deeply to be read."),
        (b'{"a": ' + b'{"a": ' * 100_000, "It is nested too deeply to be read."),
        (b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}", "It is nested too deeply to be read."),
    ],
)
def test_what_is_no_json_object_is_told_in_a_sentence(raw: bytes, sentence: str) -> None:
    with pytest.raises(NotJson) as told:
        parse_json(raw)
    assert str(told.value) == sentence


@given(st.binary(max_size=200))
def test_bytes_are_a_document_or_no_json_and_never_anything_else(raw: bytes) -> None:
    try:
        document = parse_json(raw)
    except NotJson:
        return
    assert isinstance(document, dict)


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"stac_version": "1.1.0", "type": "Feature"}, "item"),
        ({"stac_version": "1.0.0", "type": "Catalog"}, "catalog"),
        ({"stac_version": "1.0.0", "type": "Collection"}, "collection"),
        ({"stac_version": "1.0.0", "type": "FeatureCollection"}, "item_collection"),
        ({"type": "Feature"}, "item"),
        ({"stac_version": "0.9.0", "type": "Feature"}, "item"),
        ({"stac_version": "0.9.0", "id": "a"}, "catalog"),
        ({"stac_version": "0.9.0", "id": "a", "license": "MIT"}, "collection"),
        ({"stac_version": "0.9.0", "id": "a", "extent": {}}, "collection"),
        ({"stac_version": "1.0.0-beta.2", "id": "a"}, "catalog"),
        ({"stac_version": "1.0.0-rc.1", "id": "a"}, None),
        ({"stac_version": "1.0.0", "id": "a"}, None),
        ({"stac_version": "1.0.0", "type": "Point"}, None),
        ({"stac_version": 1, "type": 5}, None),
        ({"stac_version": ["0.9.0"]}, None),
        ({"username": "jsmith", "algorithm_name": "flood"}, None),
        ({}, None),
    ],
)
def test_what_a_document_is(document: dict[str, Any], kind: str | None) -> None:
    assert kind_of(document) == kind


@given(st.dictionaries(st.sampled_from(["type", "stac_version", "extent", "license", "id"]), json_values))
def test_telling_a_kind_never_fails(document: dict[str, Any]) -> None:
    assert kind_of(document) in (None, "item", "catalog", "collection", "item_collection")


def test_a_document_of_today_is_given_back_as_it_is() -> None:
    document = an_item(stac_extensions=["https://stac-extensions.github.io/projection/v1.1.0/schema.json"])
    document["properties"]["proj:epsg"] = 32633
    lifted = migrate(document)
    assert lifted == document
    assert lifted is not document


def old_item(**changes: Any) -> dict[str, Any]:
    return an_item(stac_version="0.9.0", **changes)


def test_an_item_of_09_is_lifted_with_its_extensions() -> None:
    document = old_item(
        stac_extensions=["eo", "projection", "view", "checksum"],
        properties={
            "datetime": "2019-01-01T00:00:00Z",
            "eo:bands": [{"name": "B1"}, {"name": "B2"}],
            "eo:gsd": 30,
            "proj:epsg": 32633,
            "license": "proprietary",
            "checksum:multihash": "abc",
        },
        assets={"data": {"href": "a.tif", "eo:bands": [1], "checksum:multihash": "def"}},
    )
    before = copy.deepcopy(document)
    lifted = migrate(document)
    assert document == before
    assert lifted["stac_version"] == STAC_VERSION
    assert lifted["properties"]["gsd"] == 30
    assert lifted["properties"]["proj:code"] == "EPSG:32633"
    assert lifted["properties"]["license"] == "other"
    assert lifted["properties"]["file:checksum"] == "abc"
    assert lifted["assets"]["data"]["eo:bands"] == [{"name": "B2"}]
    assert lifted["assets"]["data"]["file:checksum"] == "def"
    assert all(uri.startswith("https://stac-extensions.github.io/") for uri in lifted["stac_extensions"])
    assert core_errors(lifted) == []


def test_a_projection_without_a_code_stays_known_as_such() -> None:
    uri = "https://stac-extensions.github.io/projection/v1.1.0/schema.json"
    document = an_item(
        stac_version="1.0.0",
        stac_extensions=[uri],
        properties={"datetime": "2019-01-01T00:00:00Z", "proj:epsg": None},
        assets={"a": {"href": "a.tif", "proj:epsg": None}, "b": {"href": "b.tif", "proj:epsg": 4326}},
    )
    lifted = migrate(document)
    assert lifted["properties"]["proj:code"] is None
    assert lifted["assets"]["a"]["proj:code"] is None
    assert lifted["assets"]["b"]["proj:code"] == "EPSG:4326"


def test_a_collection_of_09_is_lifted() -> None:
    document = {
        "stac_version": "0.9.0",
        "stac_extensions": ["asset", "commons"],
        "id": "old",
        "description": "Of before",
        "license": "various",
        "extent": {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [["2019-01-01T00:00:00Z", None]]}},
        "summaries": {"gsd": {"min": 10, "max": 30}},
        "links": [],
        "assets": {"data": {"title": "Data", "type": "image/tiff"}},
        "properties": {"platform": "x"},
    }
    lifted = migrate(document)
    assert lifted["type"] == "Collection"
    assert type(lifted["type"]) is str
    assert lifted["license"] == "other"
    assert lifted["summaries"]["gsd"] == {"minimum": 10, "maximum": 30}
    assert lifted["item_assets"] == {"data": {"title": "Data", "type": "image/tiff"}}
    assert lifted["properties"] == {"platform": "x"}
    assert core_errors(lifted) == []


def test_a_catalog_of_09_is_lifted() -> None:
    lifted = migrate({"stac_version": "0.9.0", "id": "old", "description": "Of before", "links": []})
    assert lifted["type"] == "Catalog"
    assert core_errors(lifted) == []


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"type": "Feature"}, "The stac_version is missing."),
        ({"type": "Feature", "stac_version": 1.0}, "The stac_version is 1.0, where a text such as '1.1.0' is wanted."),
        (
            {"type": "Feature", "stac_version": "new"},
            "The stac_version is 'new', where a text such as '1.1.0' is wanted.",
        ),
        ({"type": "Feature", "stac_version": "0.6.0"}, "The stac_version is 0.6.0; versions 0.8 to 1.1 can be read."),
        ({"type": "Feature", "stac_version": "2.0.0"}, "The stac_version is 2.0.0; versions 0.8 to 1.1 can be read."),
        ({"type": "Point", "stac_version": "1.0.0"}, "It is neither an Item nor a Catalog nor a Collection."),
    ],
)
def test_what_cannot_be_lifted_is_told(document: dict[str, Any], sentence: str) -> None:
    with pytest.raises(NotMigrated) as told:
        migrate(document)
    assert str(told.value) == sentence


@given(
    st.fixed_dictionaries(
        {"stac_version": st.sampled_from(["0.8.1", "0.9.0", "1.0.0-beta.2", "1.0.0-rc.1", "1.0.0", "1.1.0"])},
        optional={
            "type": st.sampled_from(["Feature", "Catalog", "Collection"]),
            "properties": st.none()
            | json_values
            | st.fixed_dictionaries({"eo:bands": json_values, "license": json_values}),
            "assets": json_values
            | st.dictionaries(st.text(), json_values | st.fixed_dictionaries({"eo:bands": json_values}), max_size=2),
            "stac_extensions": json_values | st.lists(st.sampled_from(["eo", "checksum", "label", "asset"])),
            "summaries": json_values,
            "license": json_values,
            "geometry": st.just(SQUARE),
        },
    )
)
def test_no_document_breaks_the_lifting(document: dict[str, Any]) -> None:
    try:
        lifted = migrate(document)
    except NotMigrated:
        return
    assert lifted["stac_version"] == STAC_VERSION
    assert lifted.get("geometry") == document.get("geometry")


def test_published_documents_are_lifted_without_losing_what_they_say() -> None:
    for path in sorted(sample_bucket().rglob("*.json")):
        document = parse_json(path.read_bytes())
        if kind_of(document) is None:
            continue
        before = copy.deepcopy(document)
        lifted = migrate(document)
        assert document == before
        assert kind_of(lifted) == kind_of(document)
        renamed = {"proj:epsg"}
        for old, new in (
            (document, lifted),
            (document.get("properties", {}), lifted.get("properties", {})),
            *((asset, lifted["assets"][name]) for name, asset in document.get("assets", {}).items()),
        ):
            assert set(old) - renamed <= set(new), path
        if "invalid" not in path.name:
            without = {name: value for name, value in lifted.items() if name != "collection" or "extent" in lifted}
            without["links"] = [link for link in lifted["links"] if link["rel"] != "collection"]
            assert core_errors(without) == [], path


def test_an_item_is_lifted_to_what_pystac_makes_of_it() -> None:
    for path in sorted(sample_bucket().rglob("*.json")):
        published = parse_json(path.read_bytes())
        if kind_of(published) != "item" or not isinstance(published.get("properties"), dict):
            continue
        # What it says of projections without a code is kept, as another test has it.
        properties = {name: value for name, value in published["properties"].items() if name != "proj:epsg"}
        document = {**published, "stac_version": "1.0.0", "properties": properties}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = migrate_to_latest(document, identify_stac_object(document))
        assert migrate(document) == made, path


@pytest.mark.parametrize(
    ("document", "part"),
    [
        ({"a": {"b": ["x\0y"]}}, "at /a/b/0 holds the character NUL"),
        ({"a\0": 1}, "at the top holds the character NUL"),
        ({"a": "\ud800"}, "at /a holds half a character"),
        ({"a": 2**64}, "64-bit"),
        ({1: "a"}, "what JSON cannot"),
    ],
)
def test_what_no_database_takes_is_told_with_its_place(document: dict[str, Any], part: str) -> None:
    assert part in (unwritable(document) or "")


def test_text_that_spells_an_escape_is_harmless() -> None:
    assert unwritable({"a": "\\u0000", "b": "\\\\u0000"}) is None


def test_deep_nesting_is_told() -> None:
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    assert unwritable({"a": deep}) == "It is nested deeper than 250 levels."
    raw = json.dumps({"a": deep}).encode()
    assert unwritable(parse_json(raw)) is not None
