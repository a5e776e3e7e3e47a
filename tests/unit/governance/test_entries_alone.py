"""An entry that stands in no file is read by the rules of the file, and refused in its words."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from maap_stac_orchestration.governance.decision import OnDenied
from maap_stac_orchestration.governance.entries import Entry, Kind, Reserved
from maap_stac_orchestration.governance.lines import MAX_DEPTH
from maap_stac_orchestration.governance.registry import RegistryError, load_registry
from maap_stac_orchestration.governance.registry_file import MAX_PROBLEMS, EntryError, EntryKind, Team, read_entry

LABEL = 'grant 17 "maap-*" (by ana, 2026-11-21)'


def refused(kind: EntryKind, document: Any, *, teams: tuple[str, ...] | None = ()) -> tuple[str, ...]:
    with pytest.raises(EntryError) as caught:
        read_entry(kind, document, label="the entry", teams=teams)
    assert str(caught.value) == " ".join(caught.value.sentences)
    return caught.value.sentences


def test_a_grant() -> None:
    document = {
        "collection": "maap-*",
        "users": ["@boreal", "ana"],
        "algorithms": ["flood@v1.*"],
        "create": True,
        "on_denied": "reject",
        "template": {"title": "Floods", "keywords": ["water"]},
    }
    entry = read_entry("grants", document, label=LABEL, teams={"boreal"})
    assert isinstance(entry, Entry)
    assert (entry.kind, entry.pattern.text, entry.users) == (Kind.GRANT, "maap-*", ("@boreal", "ana"))
    assert [one.text for one in entry.algorithms] == ["flood@v1.*"]
    assert (entry.create, entry.on_denied) == (True, OnDenied.REJECT)
    assert entry.template == {"title": "Floods", "keywords": ["water"]}
    assert entry.label == LABEL


def test_a_denial() -> None:
    entry = read_entry("deny", {"collection": "maap-x", "users": ["*"]}, label=LABEL, teams=())
    assert isinstance(entry, Entry)
    assert (entry.kind, entry.users, entry.label) == (Kind.DENY, ("*",), LABEL)


def test_a_team() -> None:
    team = read_entry("teams", {"team": "boreal", "users": ["ana", "bob", "ana"]}, label=LABEL, teams=())
    assert team == Team("boreal", frozenset({"ana", "bob"}))
    assert read_entry("teams", {"team": "empty", "users": []}, label=LABEL, teams=()) == Team("empty", frozenset())


def test_a_reserved_pattern() -> None:
    reserved = read_entry("reserved", {"collection": "esa-*"}, label=LABEL, teams=())
    assert isinstance(reserved, Reserved)
    assert (reserved.pattern.text, reserved.pattern.is_prefix, reserved.label) == ("esa-*", True, LABEL)


@pytest.mark.parametrize(
    ("kind", "document", "sentences"),
    [
        (
            "grants",
            {"collection": "ma*p", "users": ["@gone"], "until": "2027"},
            (
                'the entry has the unknown key "until"; there are collection, users, algorithms, create, on_denied, '
                "template.",
                'the entry: the collection "ma*p" has a * elsewhere than at its end; write a whole id, or a prefix '
                "with one * at its end.",
                'the entry: there is no team "@gone"; define it under teams.',
            ),
        ),
        (
            "grants",
            {},
            (
                "the entry has no collection; name the id, or the prefix with a * at its end.",
                'the entry has no users; name them in a list, or write ["*"] for everyone.',
            ),
        ),
        (
            "grants",
            {"collection": 7, "users": "ana", "create": "yes", "on_denied": False},
            (
                "the entry: collection must be a text, and this is a number (7); put it in quotes.",
                'the entry: users must be a list, and this is the text "ana".',
                'the entry: create must be true or false, and this is the text "yes".',
                "the entry: on_denied must be fallback or reject, and this is true or false (false).",
            ),
        ),
        ("grants", ["maap-*"], ("the entry must be an object; this is a list.",)),
        (
            "deny",
            {"collection": "maap-x", "users": ["*"], "template": {}},
            ('the entry has the unknown key "template"; there are collection, users, algorithms, create, on_denied.',),
        ),
        (
            "teams",
            {"team": "bo real", "users": ["@others"]},
            (
                'The team name "bo real" must be of letters, digits and . _ - (at most 128 of them).',
                'the team "bo real": "@others" is not a username; usernames are written out, without * ? { } / and '
                "without @ before them.",
            ),
        ),
        ("teams", {"team": "boreal"}, ("the entry has no users; a team has a name and a list of users.",)),
        ("teams", {"team": "boreal", "users": None}, ("the entry: users must be a list, and this is nothing (null).",)),
        ("reserved", {}, ("the entry has no collection; name the id, or the prefix with a * at its end.",)),
        ("reserved", {"collection": "{username}--x"}, ("the entry contains {username}, which means nothing there.",)),
        (
            "grants",
            {"collection": "maap-x", "users": ["*"], "template": {"title": "a\x7fb", "license": "\ud800"}},
            (
                "the entry: template.title has a character in it that is no text, 'a\\x7fb'; take it out.",
                "the entry: template.license has a character in it that is no text, '\\ud800'; take it out.",
            ),
        ),
    ],
)
def test_what_is_refused(kind: EntryKind, document: Any, sentences: tuple[str, ...]) -> None:
    assert refused(kind, document) == sentences


def test_teams_need_not_be_known_when_an_entry_is_read() -> None:
    entry = read_entry("deny", {"collection": "maap-x", "users": ["@gone"]}, label=LABEL, teams=None)
    assert isinstance(entry, Entry)
    assert entry.users == ("@gone",)


def test_a_kind_that_there_is_not() -> None:
    assert refused("grant", {}) == (  # type: ignore[arg-type]
        "the entry: 'grant' is not a kind of entry; there are grants, deny, teams, reserved.",
    )


def test_what_is_nested_without_end_is_refused() -> None:
    document: dict[str, Any] = {}
    for _ in range(MAX_DEPTH):
        document = {"template": document}
    assert refused("grants", document) == ("the entry: lists and objects are nested too deeply.",)


def test_a_long_list_of_problems_is_cut() -> None:
    sentences = refused("grants", {"collection": "maap-x", "users": ["a b"] * (MAX_PROBLEMS + 3)})
    assert len(sentences) == MAX_PROBLEMS + 1
    assert sentences[-1] == "There are 3 more problems."


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
values = st.sampled_from(["maap-*", "ana", "@boreal", ["ana"], ["@boreal"], ["f@v1"], True, "reject"]) | plain
keys = st.sampled_from(["collection", "users", "algorithms", "create", "on_denied", "template", "team", "x"])
kinds: st.SearchStrategy[EntryKind] = st.sampled_from(["grants", "deny", "teams", "reserved"])


@given(kind=kinds, document=plain | st.dictionaries(keys, values))
def test_any_value_is_read_or_refused(kind: EntryKind, document: Any) -> None:
    try:
        read_entry(kind, document, label="the entry", teams=("boreal",))
    except EntryError as error:
        assert error.sentences  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99) | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=5), inner, max_size=3),
    max_leaves=5,
)
alike = st.sampled_from(["maap-*", ["ana"], ["@boreal"], ["f@v1"], True, "reject", {"title": "x"}]) | json_values


def mostly(value: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([True] * 7 + [False]).flatmap(lambda usual: st.just(value) if usual else alike)


entries = st.fixed_dictionaries(
    {"collection": mostly("maap-*"), "users": mostly(["ana", "@boreal"])},
    optional={
        "algorithms": mostly(["f@v1"]),
        "create": mostly(True),
        "on_denied": mostly("reject"),
        "template": mostly({"title": "x"}),
    },
)


@settings(max_examples=300)
@given(kind=st.sampled_from(["grants", "deny"]), document=entries)
def test_what_a_file_refuses_is_refused_alone_and_the_other_way_round(kind: EntryKind, document: Any) -> None:
    text = json.dumps({"version": 1, "teams": {"boreal": []}, kind: [document]})
    try:
        alone = read_entry(kind, document, label="the entry", teams=("boreal",))
    except EntryError:
        event("refused")
        with pytest.raises(RegistryError):
            load_registry(text, "registry.json")
    else:
        event("read")
        (of_file,) = load_registry(text, "registry.json").entries
        assert alone == replace(of_file, label="the entry")
