"""Patterns mean what an administrator reads in them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.governance.patterns import AlgorithmPattern, Pattern, PatternError, fold


@pytest.mark.parametrize(
    ("pattern", "collection", "username", "matches"),
    [
        ("maap-floods", "maap-floods", "ana", True),
        ("maap-floods", "maap-floods-2", "ana", False),
        ("maap-*", "maap-floods", "ana", True),
        ("maap-*", "maap-", "ana", True),
        ("maap-*", "maap", "ana", False),
        ("MAAP-*", "maap-floods", "ana", True),
        ("icesat2-boreal-v3.0-agb", "icesat2-boreal-v3.0-agb", "ana", True),
        ("icesat2-boreal-v3.0-agb", "icesat2-boreal-v3x0-agb", "ana", False),
        ("{username}--*", "ana--x", "ana", True),
        ("{username}--*", "anna--x", "ana", False),
        ("{username}--*", "ana--x", "ANA", False),
        ("{username}--main", "ana--main", "ana", True),
        ("{username}--main", "ana--main-2", "ana", False),
        ("Team-{username}-*", "team-ana-x", "ana", True),
        ("team-{username}-*", "team-ana", "ana", False),
        ("{username}--*", ".*--x", ".*", True),
    ],
)
def test_which_ids_a_pattern_means(pattern: str, collection: str, username: str, matches: bool) -> None:
    assert Pattern.parse(pattern).matches(collection, username) is matches


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("", "empty"),
        ("*", "fewer than 3"),
        ("ab*", "fewer than 3"),
        ("a*b", "elsewhere"),
        ("*-floods", "elsewhere"),
        ("maap-**", "elsewhere"),
        ("maap-?", "means nothing"),
        ("maap-[ab]", "means nothing"),
        ("maap floods", "space"),
        ("maap\n", "control"),
        ("{user}--*", "braces"),
        ("{username}{username}", "braces"),
        ("{username", "braces"),
        ("a" * 257, "longer"),
    ],
)
def test_what_is_no_pattern(pattern: str, reason: str) -> None:
    with pytest.raises(PatternError, match=reason):
        Pattern.parse(pattern)


@pytest.mark.parametrize(
    ("pattern", "name", "version", "matches"),
    [
        ("flood@v1", "flood", "v1", True),
        ("flood@v1", "Flood", "v1", False),
        ("flood@v1.*", "flood", "v1.2", True),
        ("flood@v1.*", "flood", "v10", False),
        ("flood@*", "flood", "", True),
        ("*@v1", "anything at all", "v1", True),
        ("*-flood-*@v*.0", "my-flood-map", "v2.0", True),
        ("*-flood-*@v*.0", "my-flood-map", "v2.1", False),
        ("a*a@v1", "a", "v1", False),
        ("a*a@v1", "aa", "v1", True),
        ("a*b*b@v1", "ab", "v1", False),
        ("scope@name@v1", "scope@name", "v1", True),
        ("flood.@v1", "floods", "v1", False),
    ],
)
def test_which_algorithms_a_pattern_means(pattern: str, name: str, version: str, matches: bool) -> None:
    assert AlgorithmPattern.parse(pattern).matches(name, version) is matches


@pytest.mark.parametrize("pattern", ["flood", "@v1", "flood@", "", "flo\nod@v1", "a" * 600 + "@v1"])
def test_what_is_no_algorithm_pattern(pattern: str) -> None:
    with pytest.raises(PatternError):
        AlgorithmPattern.parse(pattern)


@given(
    pattern=st.text("ab*", min_size=1, max_size=8).filter(bool),
    name=st.text("ab", max_size=10),
)
def test_a_star_is_any_characters(pattern: str, name: str) -> None:
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name) is not None
    assert AlgorithmPattern.parse(f"{pattern}@v1").matches(name, "v1") is expected


def test_many_stars_do_not_make_a_search_of_all_ways() -> None:
    """A matcher that tried all ways would need longer than the universe has."""
    assert not AlgorithmPattern.parse("*a" * 200 + "b@v1").matches("a" * 100_000, "v1")


@given(text=st.text())
def test_folding_moves_no_position(text: str) -> None:
    assert len(fold(text)) == len(text)
    assert fold(text.encode("ascii", "ignore").decode()) == text.encode("ascii", "ignore").decode().lower()
