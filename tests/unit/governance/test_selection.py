"""Which entries a list shows that is asked about a user or an id."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.governance.patterns import Pattern, PatternError
from maap_stac_orchestration.governance.registry_file import EntryKind
from maap_stac_orchestration.governance.selection import Selection, teams_of


def entry(collection: str, *users: str) -> dict[str, Any]:
    return {"collection": collection, "users": list(users)}


@pytest.mark.parametrize(
    ("selection", "kind", "document", "picked"),
    [
        (Selection(), "grants", entry("maap-*", "ana"), True),
        (Selection(kind="deny"), "grants", entry("maap-*", "ana"), False),
        (Selection(kind="grants"), "grants", entry("maap-*", "ana"), True),
        (Selection(username="ana"), "grants", entry("maap-*", "ana"), True),
        (Selection(username="ANA"), "grants", entry("maap-*", "ana"), False),
        (Selection(username="ana"), "deny", entry("maap-*", "*"), True),
        (Selection(username="ana"), "grants", entry("{username}--*", "{username}"), True),
        (Selection(username="ana"), "grants", entry("maap-*", "@fire"), True),
        (Selection(username="ana"), "grants", entry("maap-*", "@water"), False),
        (Selection(username="ana"), "teams", {"team": "fire", "users": ["ana"]}, True),
        (Selection(username="bob"), "teams", {"team": "fire", "users": ["ana"]}, False),
        (Selection(username="ana"), "reserved", {"collection": "esa-*"}, False),
        (Selection(collection="esa-one"), "reserved", {"collection": "esa-*"}, True),
        (Selection(collection="esa-one"), "teams", {"team": "esa-one", "users": ["ana"]}, False),
        (Selection(collection="MAAP-x"), "grants", entry("maap-*", "ana"), True),
        (Selection(collection="maap"), "grants", entry("maap-*", "ana"), False),
        (Selection(collection="maap-*"), "grants", entry("MAAP-*", "ana"), True),
        (Selection(collection="maap-*"), "grants", entry("maap-x", "ana"), False),
        (Selection(collection="ana--x"), "grants", entry("{username}--*", "*"), True),
        (Selection(collection="--x"), "grants", entry("{username}--*", "*"), False),
        (Selection(collection="ana--x", username="ana"), "grants", entry("{username}--*", "*"), True),
        (Selection(collection="ana--x", username="bob"), "grants", entry("{username}--*", "*"), False),
        (Selection(collection="ana-end"), "grants", entry("{username}-end", "*"), True),
        (Selection(collection="ana-end-"), "grants", entry("{username}-end", "*"), False),
        (Selection(collection="{username}--*"), "grants", entry("{username}--*", "*"), True),
        (Selection(collection="a b"), "grants", entry("maap-*", "*"), False),
        (Selection(collection=""), "grants", entry("maap-*", "*"), False),
    ],
)
def test_an_entry_is_picked_by_whom_it_names_and_what_it_speaks_of(
    selection: Selection, kind: EntryKind, document: dict[str, Any], picked: bool
) -> None:
    assert selection.picks(kind, document, {"fire"}) is picked


def test_the_teams_of_a_user_are_those_that_name_the_user() -> None:
    teams = [{"team": "fire", "users": ["ana", "bob"]}, {"team": "water", "users": ["bob"]}]
    assert teams_of("ana", teams) == {"fire"}
    assert teams_of("bob", teams) == {"fire", "water"}
    assert teams_of(None, teams) == frozenset()


texts = st.text("ab-", max_size=4)
patterns = st.builds(
    lambda before, user, after, star: f"{before}{user}{after}{star}",
    texts,
    st.sampled_from(["", "{username}"]),
    texts,
    st.sampled_from(["", "*"]),
)


@given(pattern=patterns, collection=st.text("abAB-", max_size=8), username=st.text("abAB-", min_size=1, max_size=3))
def test_who_asks_about_an_id_sees_every_entry_that_matches_it_for_anyone(
    pattern: str, collection: str, username: str
) -> None:
    try:
        parsed = Pattern.parse(pattern)
    except PatternError:
        return
    if parsed.matches(collection, username):
        assert Selection(collection=collection).picks("grants", entry(pattern, "*"), ())
