"""Schemas: the core always, offline; extensions from a folder, and only from there."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from maap_stac_orchestration.catalog.document import kind_of, migrate, parse_json
from maap_stac_orchestration.catalog.schema import MAX_ERRORS, ExtensionErrors, ExtensionSchemas, core_errors
from tests.shared import published_schemas, sample_bucket
from tests.unit.catalog.items import an_item

PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
HOME = "https://schemas.example.com/flood/v1"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever opens a connection fails: checking never asks the network."""

    def refuse(*_: Any) -> None:
        raise AssertionError("a check opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two schemas that refer to each other, one that refers to what is not there, and one that is no JSON."""
    home = tmp_path / "schemas.example.com" / "flood" / "v1"
    home.mkdir(parents=True)
    depth = {"type": "object", "properties": {"flood:depth": {"type": "number", "minimum": 0}}}
    item = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": f"{HOME}/schema.json#",
        "type": "object",
        "properties": {"properties": {"allOf": [{"$ref": "depth.json"}, {"required": ["flood:depth"]}]}},
    }
    lacking = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "properties": {
            "properties": {
                "properties": {
                    "flood:gauge": {"$ref": "https://elsewhere.example.com/gauge.json"},
                    "flood:name": {"type": "string"},
                }
            }
        },
    }
    core = {"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "https://geojson.org/schema/Feature.json"}
    for name, schema in (("schema", item), ("depth", depth), ("lacking", lacking), ("core", core)):
        (home / f"{name}.json").write_text(json.dumps(schema))
    (home / "broken.json").write_text("{")
    (home / "odd.json").write_text('{"type": 5}')
    (tmp_path.parent / "secret.json").write_text("{}")
    return tmp_path


def named(*names: str, **properties: Any) -> dict[str, Any]:
    return an_item(stac_extensions=[f"{HOME}/{name}.json" for name in names], properties=properties)


def test_a_valid_item_has_no_errors() -> None:
    assert core_errors(an_item()) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"assets": {"a": {}}}, 'assets/a: "href" is a required property.'),
        ({"assets": {"a": "x.tif"}}, 'assets/a: "x.tif" is not of type "object".'),
        ({"assets": ...}, 'The document: "assets" is a required property.'),
        ({"links": [{"rel": "x"}]}, 'links/0: "href" is a required property.'),
        ({"links": [{"rel": 5, "href": "x"}]}, 'links/0/rel: 5 is not of type "string".'),
        ({"stac_version": "1.0.0"}, 'stac_version: "1.1.0" was expected.'),
        ({"stac_extensions": "x"}, 'stac_extensions: "x" is not of type "array".'),
        ({"stac_extensions": ["x", "x"]}, 'stac_extensions: ["x","x"] has non-unique elements.'),
        ({"assets": {"a": {"href": "x", "gsd": 0}}}, 'assets/a/gsd: 0 is less than or equal to the minimum of 0.'),
    ],
)  # fmt: skip
def test_an_error_is_a_short_sentence_with_its_place(changes: dict[str, Any], sentence: str) -> None:
    assert core_errors(an_item(**changes)) == [sentence]


def test_at_most_five_errors_are_told_and_each_is_short() -> None:
    assets = {f"asset{number}": {"title": [number] * 1000} for number in range(50)}
    told = core_errors(an_item(assets=assets))
    assert len(told) == MAX_ERRORS
    assert all(len(sentence) < 400 for sentence in told)


def test_catalogs_and_collections_are_checked_by_their_own_schema() -> None:
    catalog = {"type": "Catalog", "stac_version": "1.1.0", "id": "c", "description": "d", "links": []}
    assert core_errors(catalog) == []
    assert core_errors({**catalog, "description": ""}) != []
    assert any("license" in error for error in core_errors({**catalog, "type": "Collection"}))


@pytest.mark.parametrize("kind", [None, 5, "Point", ["Feature"]])
def test_another_type_is_told(kind: Any) -> None:
    (sentence,) = core_errors({"type": kind})
    assert "none of Feature, Catalog and Collection" in sentence


def test_published_documents_follow_the_core() -> None:
    for path in sorted(sample_bucket().rglob("*.json")):
        document = parse_json(path.read_bytes())
        if kind_of(document) in ("catalog", "collection"):
            assert core_errors(migrate(document)) == [], path


def test_an_item_that_follows_its_extension_has_no_entry(folder: Path) -> None:
    assert ExtensionSchemas(folder).check(named("schema", **{"flood:depth": 1.5})) == []


def test_an_item_that_does_not_is_told_where(folder: Path) -> None:
    (found,) = ExtensionSchemas(folder).check(named("schema", **{"flood:depth": -1}))
    assert found == ExtensionErrors(
        f"{HOME}/schema.json", None, ("properties/flood:depth: -1 is less than the minimum of 0.",)
    )


def test_a_schema_may_refer_to_the_core_that_comes_along(folder: Path) -> None:
    schemas = ExtensionSchemas(folder)
    assert schemas.check(named("core", datetime="2024-06-01T00:00:00Z")) == []
    (found,) = schemas.check({**named("core"), "geometry": {"type": "Circle"}})
    assert found.unavailable is None


def test_what_refers_to_an_absent_schema_is_checked_as_far_as_it_goes(folder: Path) -> None:
    schemas = ExtensionSchemas(folder)
    assert schemas.check(named("lacking", **{"flood:name": "x"})) == []
    (wrong,) = schemas.check(named("lacking", **{"flood:name": 5}))
    assert wrong.unavailable is None
    (unknown,) = schemas.check(named("lacking", **{"flood:name": "x", "flood:gauge": {}}))
    assert unknown.unavailable == "it refers to https://elsewhere.example.com/gauge.json, which is not at hand"


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        (f"{HOME}/absent.json", "not in the folder of schemas"),
        (f"{HOME}/", "not in the folder of schemas"),
        (f"{HOME}/broken.json", "not JSON"),
        (f"{HOME}/odd.json", "cannot be used"),
        ("eo", "none of a published schema"),
        ("file:///etc/passwd", "none of a published schema"),
        ("https://schemas.example.com/../../secret.json", "none of a published schema"),
        ("https://../secret.json", "none of a published schema"),
        ("https://[/x.json", "none of a published schema"),
        ("https://schemas.example.com/\0", "none of a published schema"),
    ],
)
def test_a_schema_that_is_not_at_hand_is_told_and_nothing_else_is_opened(folder: Path, uri: str, reason: str) -> None:
    (found,) = ExtensionSchemas(folder).check(an_item(stac_extensions=[uri]))
    assert found.uri == uri
    assert reason in (found.unavailable or "")


def test_a_schema_that_comes_later_is_used_then(folder: Path) -> None:
    schemas, document = ExtensionSchemas(folder), named("late", **{"flood:depth": -1})
    (absent,) = schemas.check(document)
    (folder / "schemas.example.com/flood/v1/late.json").write_text('{"properties": {"id": {"type": "number"}}}')
    (checked,) = schemas.check(document)
    assert absent.unavailable is not None
    assert checked.errors == ('id: "one" is not of type "number".',)


def test_each_extension_is_looked_at_once(folder: Path) -> None:
    found = ExtensionSchemas(folder).check(named("absent", "absent", "schema"))
    assert [one.uri for one in found] == [f"{HOME}/absent.json", f"{HOME}/schema.json"]


@pytest.mark.parametrize("extensions", [..., None, [], [5, None]])
def test_without_extensions_there_is_nothing_to_check(folder: Path, extensions: Any) -> None:
    assert ExtensionSchemas(folder).check(an_item(stac_extensions=extensions)) == []


def test_published_items_follow_the_published_schemas_of_their_extensions() -> None:
    schemas = ExtensionSchemas(published_schemas())
    checked = 0
    for path in sorted(sample_bucket().rglob("*.json")):
        document = parse_json(path.read_bytes())
        found = schemas.check(document)
        assert all(one.unavailable == "its schema is not in the folder of schemas" for one in found), path
        checked += len(document.get("stac_extensions", [])) - len(found)
    assert checked > 40


def test_the_published_projection_schema_works_without_the_one_of_projjson() -> None:
    schemas = ExtensionSchemas(published_schemas())
    properties = {"datetime": "2024-06-01T00:00:00Z", "proj:code": "EPSG:32633"}
    assert schemas.check(an_item(stac_extensions=[PROJECTION], properties=properties)) == []
    (wrong,) = schemas.check(an_item(stac_extensions=[PROJECTION], properties={**properties, "proj:code": 32633}))
    assert wrong.errors == ('properties/proj:code: 32633 is not of types "null", "string".',)
