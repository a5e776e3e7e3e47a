"""What people write into a search box becomes a query that pgstac reads as it was meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.api.free_text import DEEPEST, LONGEST, TextUnusable, for_pgstac


@pytest.mark.parametrize(
    ("written", "query"),
    [
        ("flood", '"flood"'),
        ("flood map", '"flood map"'),
        ("ana.lee", '"ana.lee"'),
        ("jo-ann", '"jo-ann"'),
        ("flood OR fire", '"flood" | "fire"'),
        ("flood,fire", '"flood" | "fire"'),
        (["flood map", "fire"], '"flood map" | "fire"'),
        ("flood and fire", '"flood" & "fire"'),
        ("+flood +fire", '"flood" & "fire"'),
        ("flood -fire", '"flood" & ! "fire"'),
        ('-"forest fire" flood', '! "forest fire flood"'),
        ("a AND b OR c", '"a" & "b" | "c"'),
        ("(a OR b) -c", '("a" | "b") & ! "c"'),
        ("-(a OR b)", '! ("a" | "b")'),
        # An operator with nothing to work on, and brackets without their others.
        ("OR flood AND", '"flood"'),
        ("flood OR OR fire", '"flood" | "fire"'),
        ("((flood", '(("flood"))'),
        ("flood)", '"flood"'),
        ('"flood', '"flood"'),
        # What would end the phrase, or be an operator of the database.
        ("o'brien", '"o brien"'),
        ("a\\b", '"a b"'),
        ("@QUOTE@1@QUOTE@", '"QUOTE 1 QUOTE"'),
        ("flood\x00map", '"flood map"'),
        ("OR or AND", '"-"'),
        ("'", '"-"'),
        ("", None),
        (" , ", None),
        (None, None),
        ([], None),
    ],
)
def test_what_is_written_becomes_a_query(written: str | list[str] | None, query: str | None) -> None:
    assert for_pgstac(written) == query


@given(st.text(max_size=200))
def test_every_query_is_phrases_with_operators_between_them(text: str) -> None:
    """Outside of its phrases nothing is left that the database could stumble over."""
    try:
        query = for_pgstac(text)
    except TextUnusable:
        assert text.count("(") > DEEPEST
        return
    if query is None:
        assert not text.strip(" ,")
        return
    outside, inside = query.split('"')[::2], query.split('"')[1::2]
    assert len(outside) == len(inside) + 1
    assert not set("".join(outside)) - set("()&|! ")
    assert not set("".join(inside)) & set("'\\@\x00")
    # Each is a phrase, or a group, with an operator before the next one.
    assert all(set(between) & set("&|") for between in outside[1:-1])
    assert query.count("(") == query.count(")")


def test_what_is_too_long_or_too_deep_is_refused_with_a_sentence() -> None:
    assert for_pgstac("a" * LONGEST) == f'"{"a" * LONGEST}"'
    with pytest.raises(TextUnusable, match="1,001 characters, and 1,000 are allowed"):
        for_pgstac("a" * (LONGEST + 1))
    assert for_pgstac("(" * DEEPEST + "a") is not None
    with pytest.raises(TextUnusable, match="more than 10 brackets"):
        for_pgstac("(" * (DEEPEST + 1) + "a")
