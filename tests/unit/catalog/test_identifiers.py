"""Item ids that can stand in an address."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.catalog.identifiers import MAX_LENGTH, id_fault
from tests.unit.catalog.items import json_values


@pytest.mark.parametrize(
    "value",
    [
        "a",
        "S2A_T01LAC_20200717T221944_L1C",
        "boreal_agb_2020_202508191755618683_0036023",
        "a b",
        "a,b;c:d+e@f",
        "日本語",
        "Ærø",
        "..a",
        "a" * MAX_LENGTH,
    ],
)
def test_ids_that_pass(value: str) -> None:
    assert id_fault(value) is None


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (None, "its id is missing"),
        (5, "its id is not a text"),
        (["a"], "its id is not a text"),
        ("", "its id is empty"),
        ("a/b", "its id contains /"),
        ("a\\b", "its id contains \\"),
        ("a?b", "its id contains ?"),
        ("a#b", "its id contains #"),
        ("a%2Fb", "its id contains %"),
        (".", "its id means a folder in an address"),
        ("..", "its id means a folder in an address"),
        (" a", "its id begins or ends with a space"),
        ("a ", "its id begins or ends with a space"),
        (" ", "its id begins or ends with a space"),
        ("a\0b", "its id contains the character U+0000, which cannot be printed"),
        ("a\nb", "its id contains the character U+000A, which cannot be printed"),
        ("a\u202eb", "its id contains the character U+202E, which cannot be printed"),
        ("a\u00a0b", "its id contains the character U+00A0, which cannot be printed"),
        ("a\ud800", "its id contains the character U+D800, which cannot be printed"),
        ("a" * 256, "its id has 256 characters, and 255 are allowed"),
    ],
)
def test_ids_that_are_refused_with_a_reason(value: Any, fault: str) -> None:
    assert id_fault(value) == fault


@given(json_values | st.text())
def test_what_passes_is_one_printable_segment_of_an_address(value: Any) -> None:
    if id_fault(value) is None:
        assert isinstance(value, str)
        assert value.isprintable()
        assert value == value.strip() != ""
        assert not set(value) & set("/\\?#%\0")
