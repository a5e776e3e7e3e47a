"""Whatever a search holds, it is answered with what was found or with what is wrong with it, never with our failure."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.api import small_world
from tests.integration.api.conftest import Api
from tests.integration.api.small_world import FLOODS

PATHS = ("/search", f"/collections/{FLOODS}/items", "/collections")


@pytest.fixture(scope="module")
def api(shared_api: Api, shared_database: str) -> Api:
    small_world.fill(shared_database)
    return shared_api


def check(answer: requests.Response) -> None:
    """It is an answer, or a problem document that says in words what to change."""
    if answer.status_code == 200:
        assert "features" in answer.json() or "collections" in answer.json()
        return
    assert answer.status_code == 400, f"{answer.status_code}: {answer.text[:300]}"
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert len(answer.json()["detail"]) > 10


@pytest.mark.parametrize(
    "q",
    [
        "'",
        '"',
        "\\",
        "\x00",
        "(",
        ")",
        "(" * 9,
        "a & & b",
        "a:*",
        "!",
        "@QUOTE@1@QUOTE@",
        "<->",
        "a <-> b",
        "🛰",
        "-",
        "+-",
        "a" * 1000,
        "' OR '1'='1",
        "'; DROP TABLE pgstac.items; --",
        "%",
        "ana.lee\x00",
        "\u202e",
        "a OR",
        "OR",
        "-(",
        "\t",
    ],
)
def test_free_text_is_never_too_much_for_the_database(api: Api, q: str) -> None:
    assert api.get("/collections", q=q).status_code == 200


@pytest.mark.parametrize("q", ["a" * 10_000, "a " * 501, "(" * 11 + "a"])
def test_free_text_that_is_too_much_is_refused_with_a_sentence(api: Api, q: str) -> None:
    answer = api.get("/collections", q=q)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["parameter"] == "q"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(q=st.text(alphabet=st.sampled_from("ab .,-+&|!()<>:*'\"\\@\x00\u00e9ORAND"), max_size=30))
def test_no_text_breaks_the_search(api: Api, q: str) -> None:
    assert api.get("/collections", q=q, limit=1).status_code == 200


PARAMETERS = {
    "query": ["{", "[]", "null", "5", '{"a": 1}', '{"a": {"about": 1}}', '{"id": {"in": "x"}}', '{"a": {"eq": {}}}'],
    "filter": [
        "(",
        "nope",
        "id = 'x\x00'",
        "about(1) = 2",
        "1/0 = 1",
        "a_contains(x, 1)",
        "t_after(datetime, TIMESTAMP('2020-13-45T00:00:00Z'))",
    ],
    "sortby": ["+", "-nope", "\x00", "'; DROP TABLE pgstac.items"],
    "fields": ["", ",", "-", "\x00", "a.b.c.'"],
    "limit": ["0", "-1", "x", "100000000000"],
    "token": ["x", "next:x", "next:a:b", "prev:", "next:'\x00"],
    "offset": ["-1", "99999999999999"],
    "bbox": ["a,b,c,d", "1,2,3", "nan,nan,nan,nan", "1e400,0,1,1", "-200,-100,200,100"],
    "datetime": ["x", "../..", "2024-01-01/2020-01-01", "0000-01-01T00:00:00Z", "\x00"],
    "ids": ["\x00", ","],
    "collections": ["\x00"],
    "intersects": ["{", "null", "[]", '{"type": "Point"}', '{"type": "Point", "coordinates": ["a", 1]}'],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in PARAMETERS.items() for value in values])
def test_parameters_that_make_no_sense_are_answered(api: Api, name: str, value: str) -> None:
    for path in PATHS:
        check(api.get(path, **{name: value}))
    if name == "filter":
        check(api.get("/search", **{"filter": json.dumps({"op": value, "args": []}), "filter-lang": "cql2-json"}))


@pytest.mark.parametrize(
    "body",
    [
        [1],
        "x",
        None,
        5,
        {"fields": {"include": ["\x00"]}},
        {"sortby": [{"field": "\x00", "direction": "asc"}]},
        {"sortby": [{"field": "a b'", "direction": "desc"}]},
        {"query": {"a": {"in": [{}]}}},
        {"query": {"a": {"startsWith": 5}}},
        {"query": {"eo:cloud_cover": {"lt": "x"}}},
        {"filter": {"a": 1}},
        {"filter": []},
        {"filter": {"op": "between", "args": [1]}},
        {"filter": {"op": "in", "args": [{"property": "id"}, "x"]}},
        {"filter": {"op": "s_intersects", "args": [{"property": "geometry"}, {"type": "Point"}]}},
        {"filter": {"op": "=", "args": [{"property": "\x00"}, 1]}},
        {"filter": {"op": "and", "args": [{"op": "=", "args": [{"property": "id"}, "x"]}] * 3000}},
        {"ids": ["\x00"]},
        {"token": "next:abc"},
        {"intersects": {"type": "Point", "coordinates": [1, 2, 3, 4]}},
    ],
    ids=repr,
)
def test_bodies_that_make_no_sense_are_answered(api: Api, body: Any) -> None:
    check(requests.post(f"{api.url}/search", json=body, timeout=60))


@pytest.mark.parametrize(
    "raw", ['{"ids": ["\\ud800"]}', '{"limit": 1e999}', "{", "", '{"filter": ' + "[" * 5000 + "]" * 5000 + "}"]
)
def test_bodies_that_are_hardly_json_are_answered(api: Api, raw: str) -> None:
    check(requests.post(f"{api.url}/search", data=raw, headers={"Content-Type": "application/json"}, timeout=60))
