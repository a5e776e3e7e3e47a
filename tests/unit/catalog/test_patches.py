"""Patches of documents, as RFC 7386 and RFC 6902 have them, within bounds."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.catalog.patches import (
    MOST_OPERATIONS,
    PatchConflict,
    Patched,
    PatchTooLarge,
    PatchUnusable,
    json_patched,
    merge_patched,
)

SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=4)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abcd"), JSON, max_size=4)
POINTERS = st.one_of(
    st.lists(st.sampled_from(["a", "b", "c", "0", "1", "-", "", "~0", "links"]), max_size=3).map(
        lambda parts: "".join(f"/{part}" for part in parts)
    ),
    st.text(max_size=3),
)
OPERATIONS = st.fixed_dictionaries(
    {},
    optional={
        "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "other"]) | SCALARS,
        "path": POINTERS | SCALARS,
        "from": POINTERS | SCALARS,
        "value": JSON,
    },
)


def merged(target: Any, patch: Any) -> Any:
    """The algorithm of RFC 7386, section 2, as it is printed there."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


@given(OBJECTS, OBJECTS)
def test_a_merge_patch_does_what_its_specification_says(document: dict[str, Any], patch: dict[str, Any]) -> None:
    before = deepcopy(document), deepcopy(patch)
    patched = merge_patched(document, patch)
    assert patched.document == merged(document, patch)
    assert patched.touched == patch.keys()
    assert (document, patch) == before


def patched_or_told(document: dict[str, Any], operations: list[Any]) -> Patched | str:
    try:
        return json_patched(document, operations, 10_000)
    except (PatchUnusable, PatchConflict, PatchTooLarge) as error:
        return str(error)


@given(OBJECTS, st.lists(OPERATIONS | JSON, max_size=4))
def test_any_list_is_a_patch_or_a_sentence(document: dict[str, Any], operations: list[Any]) -> None:
    before = deepcopy(document)
    patched = patched_or_told(document, operations)
    assert document == before
    if isinstance(patched, str):
        assert patched.endswith(".")
        assert patched.isascii()
        assert patched.isprintable()
    else:
        after = patched.document
        changed = {name for name in after.keys() | before.keys() if after.get(name, ...) != before.get(name, ...)}
        assert changed <= patched.touched


def test_fields_that_a_patch_speaks_of_are_touched_even_where_they_stay_as_they_are() -> None:
    document = {"a": 1, "b": {"c": 2}, "d/e": 3}
    operations = [
        {"op": "test", "path": "/b/c", "value": 2},
        {"op": "replace", "path": "/a", "value": 1},
        {"op": "copy", "from": "/b", "path": "/f"},
        {"op": "move", "from": "/d~1e", "path": "/g"},
    ]
    patched = json_patched(document, operations, 1_000)
    assert patched.document == {"a": 1, "b": {"c": 2}, "f": {"c": 2}, "g": 3}
    assert patched.touched == {"a", "f", "d/e", "g"}
    whole = json_patched(document, [{"op": "replace", "path": "", "value": {"x": 1}}], 1_000)
    assert whole.touched == {"a", "b", "d/e", "x"}


@pytest.mark.parametrize("path", ["/links/0", "/links/0/href", "/links/1"])
def test_single_links_are_not_patched_since_their_numbers_differ_from_what_was_read(path: str) -> None:
    with pytest.raises(PatchUnusable, match="replace /links as a whole"):
        json_patched({"links": [{}]}, [{"op": "remove", "path": path}], 1_000)
    assert json_patched({"links": []}, [{"op": "add", "path": "/links/-", "value": {}}], 1_000).document == {
        "links": [{}]
    }


def test_copies_of_copies_end_at_the_limit() -> None:
    operations = [{"op": "copy", "from": "/a", "path": f"/a/{number}"} for number in range(60)]
    with pytest.raises(PatchTooLarge, match="10,000 bytes"):
        json_patched({"a": {"x": "text"}}, operations, 10_000)


def test_there_may_be_only_so_many_operations() -> None:
    test = {"op": "test", "path": "/a", "value": 1}
    assert json_patched({"a": 1}, [test] * MOST_OPERATIONS, 1_000).document == {"a": 1}
    with pytest.raises(PatchUnusable, match="operations"):
        json_patched({"a": 1}, [test] * (MOST_OPERATIONS + 1), 1_000)


def test_what_was_patched_can_be_written() -> None:
    document = {"a": {"b": [1, 2, 3]}}
    patched = json_patched(document, [{"op": "add", "path": "/a/b/1", "value": {"c": None}}], 1_000)
    assert orjson.loads(orjson.dumps(patched.document)) == {"a": {"b": [1, {"c": None}, 2, 3]}}
