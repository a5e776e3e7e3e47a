"""The ten operators of the Query extension, as CQL2."""

from __future__ import annotations

from typing import Any

import pytest

from maap_stac_orchestration.api.query_extension import QueryUnusable, as_filter

CLOUDS = {"property": "eo:cloud_cover"}
TAG = {"property": "maap:tag"}


@pytest.mark.parametrize(
    ("query", "condition"),
    [
        ({"eo:cloud_cover": {"eq": 5}}, {"op": "=", "args": [CLOUDS, 5]}),
        ({"eo:cloud_cover": 5}, {"op": "=", "args": [CLOUDS, 5]}),
        ({"eo:cloud_cover": {"neq": 5}}, {"op": "<>", "args": [CLOUDS, 5]}),
        ({"eo:cloud_cover": {"ne": 5}}, {"op": "<>", "args": [CLOUDS, 5]}),
        ({"eo:cloud_cover": {"lt": 5}}, {"op": "<", "args": [CLOUDS, 5]}),
        ({"eo:cloud_cover": {"lte": 5}}, {"op": "<=", "args": [CLOUDS, 5]}),
        ({"eo:cloud_cover": {"gt": 5}}, {"op": ">", "args": [CLOUDS, 5]}),
        ({"eo:cloud_cover": {"gte": 5}}, {"op": ">=", "args": [CLOUDS, 5]}),
        ({"maap:tag": {"in": ["a", "b"]}}, {"op": "in", "args": [TAG, ["a", "b"]]}),
        ({"maap:tag": {"startsWith": "a"}}, {"op": "like", "args": [TAG, "a%"]}),
        ({"maap:tag": {"endsWith": "a"}}, {"op": "like", "args": [TAG, "%a"]}),
        ({"maap:tag": {"contains": "50%_\\"}}, {"op": "like", "args": [TAG, "%50\\%\\_\\\\%"]}),
    ],
)
def test_each_operator_is_a_condition(query: Any, condition: Any) -> None:
    assert as_filter(query) == {"op": "and", "args": [condition]}


def test_all_conditions_must_hold_and_none_asks_for_nothing() -> None:
    found = as_filter({"eo:cloud_cover": {"gt": 1, "lt": 5}, "maap:tag": {"eq": "a"}})
    assert found is not None
    assert [one["op"] for one in found["args"]] == [">", "<", "="]
    assert as_filter({}) is None
    assert as_filter({"maap:tag": {}}) is None


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ([], "no JSON object"),
        (5, "no JSON object"),
        ({"maap:tag": {"about": 1}}, "'about' of maap:tag is not one of eq, "),
        ({"maap:tag": {"in": "a"}}, "takes an array"),
        ({"maap:tag": {"in": []}}, "takes an array"),
        ({"maap:tag": {"startsWith": 5}}, "compares with a text"),
        ({"maap:tag": {"lt": [1]}}, "compares with one number"),
        ({"maap:tag": [1]}, "compares with one number"),
    ],
)
def test_what_cannot_be_meant_is_told(query: Any, told: str) -> None:
    with pytest.raises(QueryUnusable, match=told):
        as_filter(query)
