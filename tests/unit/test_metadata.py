"""Job metadata is one file of a certain name with three names in it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.dps.job import JobMetadata
from maap_stac_orchestration.dps.metadata import is_metadata_name, parse_metadata
from maap_stac_orchestration.problems import Code, Problem

GOOD = {"username": "u", "algorithm_name": "a", "algorithm_version": "v1"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("output-2025-08-19T09:59:01.262274.met.json", True),
        ("outputs_result-20260105T134402118203.met.json", True),
        ("outputs_result.met.json", True),
        ("output-.met.json", False),
        ("output.met.json", False),
        ("my.met.json", False),
        ("met.json", False),
        ("output-1.met.json.bak", False),
        ("x-output-1.met.json", False),
        ("output-1xmet.json", False),
        ("output-1/2.met.json", False),
        ("OUTPUT-1.met.json", False),
        ("output-1.context.json", False),
    ],
)
def test_only_the_names_that_the_dps_gives_are_metadata(name, expected):
    assert is_metadata_name(name) is expected


@pytest.mark.parametrize("tag", [{}, {"tag": None}, {"tag": ""}])
def test_no_tag_is_one_thing_however_it_is_written(tag):
    found = parse_metadata(json.dumps(GOOD | tag).encode(), "k")

    assert found == JobMetadata("u", "a", "v1", None, {})


def test_other_keys_are_kept_as_they_are():
    found = parse_metadata(b"\xef\xbb\xbf" + json.dumps(GOOD | {"tag": "a/b", "x": [1, {"y": None}]}).encode(), "k")

    assert found == JobMetadata("u", "a", "v1", "a/b", {"x": [1, {"y": None}]})


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe{}", "UTF-8"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"[" * 200_000, "nested"),
        (json.dumps({k: v for k, v in GOOD.items() if k != "username"}).encode(), "no username"),
        (json.dumps(GOOD | {"algorithm_version": 1.0}).encode(), "algorithm_version is not a text"),
        (json.dumps(GOOD | {"algorithm_name": None}).encode(), "algorithm_name is not a text"),
        (json.dumps(GOOD | {"username": " "}).encode(), "username is empty"),
        (json.dumps(GOOD | {"username": "u\0"}).encode(), "cannot be printed"),
        (json.dumps(GOOD | {"username": "\ud800"}).encode(), "cannot be printed"),
        (json.dumps(GOOD | {"tag": 3}).encode(), "tag is not a text"),
        (json.dumps(GOOD | {"tag": False}).encode(), "tag is not a text"),
    ],
)
def test_what_cannot_be_used_says_why(raw, detail):
    found = parse_metadata(raw, "k")

    assert isinstance(found, Problem)
    assert found.code is Code.METADATA_INVALID
    assert found.object == "k"
    assert detail in found.detail


@given(st.binary())
def test_no_bytes_make_it_fail(raw):
    assert isinstance(parse_metadata(raw, "k"), Problem)
