"""A job's own Collection document: whether it can be used, and what of it is mended."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.catalog.collection import prepare_collection
from maap_stac_orchestration.catalog.document import kind_of, parse_json
from maap_stac_orchestration.catalog.schema import core_errors
from maap_stac_orchestration.problems import Code
from tests.shared import sample_bucket
from tests.unit.catalog.items import BUCKET, PREFIX, USER, files, json_values

KEY = f"{PREFIX}collection.json"


def a_collection(**changes: Any) -> dict[str, Any]:
    collection: dict[str, Any] = {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": "floods",
        "description": "Where the water went",
        "license": "CC-BY-4.0",
        "extent": {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [["2024-06-01T00:00:00Z", None]]}},
        "links": [],
    }
    return {name: value for name, value in (collection | changes).items() if value is not ...}


def test_words_that_would_break_the_search_over_all_collections_are_refused() -> None:
    document, [problem] = prepare_collection(a_collection(description="water " * 20_000), KEY, files(), USER)
    assert document is None
    assert (problem.code, problem.object) == (Code.CATALOG_INVALID, KEY)
    assert "take 120,000 bytes together, and 100,000 are allowed" in problem.message
    longest = a_collection(description="w" * 100_000)
    assert prepare_collection(longest, KEY, files(), USER)[0] is not None


def test_a_good_collection_passes_without_structural_links() -> None:
    document = a_collection(
        links=[{"rel": "root", "href": "./catalog.json"}, {"rel": "item", "href": "./items/one.json"},
               {"rel": "license", "href": "./LICENSE"}],
        assets={"thumbnail": {"href": "./items/one.tif"}, "local": {"href": "/tmp/x.png"}},
    )  # fmt: skip
    before = copy.deepcopy(document)
    prepared, problems = prepare_collection(document, KEY, files(), USER)
    assert document == before
    assert prepared is not None
    assert prepared["links"] == [{"rel": "license", "href": f"s3://{BUCKET}/{PREFIX}LICENSE"}]
    assert prepared["assets"] == {"thumbnail": {"href": f"s3://{BUCKET}/{PREFIX}items/one.tif"}}
    assert [(problem.code, problem.object) for problem in problems] == [(Code.ASSET_LOCAL_PATH, f"{KEY}#local")]


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"type": "Catalog"}, "not a STAC Collection"),
        ({"id": ...}, "Its id is missing"),
        ({"id": "a/b"}, "Its id contains /"),
        ({"license": ...}, '"license" is a required property'),
        ({"extent": {}}, "extent"),
        ({"description": "\0"}, "NUL"),
        ({"stac_version": "3.0.0"}, "versions 0.8 to 1.1"),
        ({"links": ["x"]}, "links/0"),
    ],
)
def test_a_collection_that_cannot_be_used_is_told(changes: dict[str, Any], part: str) -> None:
    prepared, problems = prepare_collection(a_collection(**changes), KEY, files(), USER)
    assert prepared is None
    (problem,) = problems
    assert (problem.code, problem.object) == (Code.CATALOG_INVALID, KEY)
    assert part in problem.detail


def test_published_collections_pass() -> None:
    bucket = sample_bucket()
    passed = 0
    for path in sorted(bucket.rglob("*.json")):
        document = parse_json(path.read_bytes())
        if kind_of(document) == "collection":
            prepared, _ = prepare_collection(document, path.relative_to(bucket).as_posix(), files(), USER)
            assert prepared is not None, path
            assert core_errors(prepared) == []
            passed += 1
    assert passed == 14


@given(
    st.dictionaries(st.sampled_from([*a_collection(), "assets", "summaries", "item_assets"]), json_values, max_size=3),
    st.sampled_from(["0.9.0", "1.0.0", "1.1.0"]),
)
def test_no_document_breaks_the_checks(changes: dict[str, Any], version: str) -> None:
    prepared, problems = prepare_collection({**a_collection(stac_version=version), **changes}, KEY, files(), USER)
    assert (prepared is None) == any(problem.code is Code.CATALOG_INVALID for problem in problems)
