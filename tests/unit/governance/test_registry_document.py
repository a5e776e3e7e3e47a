"""What is exported can be loaded again, and decides the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.governance.decide import decide
from maap_stac_orchestration.governance.decision import Decision, OnDenied, Request
from maap_stac_orchestration.governance.entries import Entry
from maap_stac_orchestration.governance.registry import Registry, load_registry
from maap_stac_orchestration.governance.registry_document import entry_document, registry_document
from maap_stac_orchestration.governance.registry_file import EntryError, EntryKind, Team, read_entry
from tests.unit.governance.generated import (
    Collections,
    Document,
    documents,
    ids,
    loaded,
    patterns,
    questions,
    requests,
    settings_values,
)

FULL = {
    "version": 1,
    "on_denied": "reject",
    "reserved": ["esa-*", "nasa"],
    "teams": {"boreal": ["hrodmn", "jjfrench"], "nobody": []},
    "grants": [
        {
            "collection": "maap-*",
            "users": ["@boreal", "*"],
            "algorithms": ["my-flood-detector@v1.*"],
            "create": True,
            "on_denied": "fallback",
            "template": {"title": "Floods", "providers": [{"name": "NASA", "roles": ["producer"]}]},
        },
        {"collection": "{username}--*", "users": ["{username}"]},
    ],
    "deny": [{"collection": "maap-floods", "users": ["hrodmn"]}],
}


def told(decision: Decision) -> tuple[object, ...]:
    return decision.code, decision.outcome, decision.collection, decision.creation


def same(one: Registry, other: Registry) -> None:
    """Alike but for the names that rules and messages call the entries by."""
    assert [entry_document(entry) for entry in one.entries] == [entry_document(entry) for entry in other.entries]
    assert [(entry.kind, entry.pattern) for entry in one.entries] == [
        (entry.kind, entry.pattern) for entry in other.entries
    ]
    assert [each.pattern for each in one.reserved] == [each.pattern for each in other.reserved]
    assert (one.teams, one.on_denied) == (other.teams, other.on_denied)


def test_the_full_form_comes_out_as_it_went_in() -> None:
    assert registry_document(load_registry(json.dumps(FULL), "registry.json")) == FULL


def test_a_registry_of_nothing_is_a_version_alone() -> None:
    assert registry_document(Registry.empty()) == {"version": 1}
    assert load_registry(json.dumps({"version": 1}), "registry.json").entries == ()


def test_the_flat_form_comes_out_in_the_full_form_without_entries_that_name_nobody() -> None:
    flat = load_registry('{"maap-*": ["ana", "bob"], "ana--x": ["ana"], "nobody-*": []}', "flat.json")
    assert registry_document(flat) == {
        "version": 1,
        "grants": [
            {"collection": "maap-*", "users": ["ana", "bob"], "create": True},
            {"collection": "ana--x", "users": ["ana"], "create": True},
        ],
    }


def test_what_happens_to_the_document_does_not_happen_to_the_registry() -> None:
    registry = load_registry(json.dumps(FULL), "registry.json")
    document = registry_document(registry)
    document["grants"][0]["template"]["providers"][0]["name"] = "ESA"
    document["grants"][0]["users"].clear()
    assert registry_document(registry) == FULL


@pytest.mark.parametrize("dump", [json.dumps, yaml.safe_dump])
@given(question=questions(), setting=settings_values)
def test_what_is_exported_decides_the_same(
    dump: Any, question: tuple[Document, Request, Collections], setting: OnDenied
) -> None:
    document, request, collections = question
    registry = loaded(document)
    again = load_registry(dump(registry_document(registry)), "export")
    same(registry, again)
    existing = collections.known()
    assert told(decide(request, registry, existing, setting)) == told(decide(request, again, existing, setting))


@given(
    flat=st.dictionaries(patterns, st.lists(st.sampled_from(["ana", "bob", "*", "an"]), max_size=2), max_size=5),
    request=requests(),
    existing=st.lists(ids, max_size=3),
)
def test_what_is_exported_of_the_flat_form_decides_the_same(
    flat: dict[str, list[str]], request: Request, existing: list[str]
) -> None:
    registry = load_registry(json.dumps(flat), "flat.json")
    again = load_registry(json.dumps(registry_document(registry)), "export")
    known = Collections(tuple(existing)).known()
    assert told(decide(request, registry, known)) == told(decide(request, again, known))


any_text = st.text(st.characters(codec=None), min_size=1, max_size=8)


@pytest.mark.parametrize("dump", [json.dumps, yaml.safe_dump])
@given(
    collection=any_text | st.just("maap-*"),
    users=st.lists(any_text, min_size=1, max_size=2) | st.just(["ana"]),
    algorithm=any_text | st.just("flood"),
    template=st.fixed_dictionaries({}, optional={"title": any_text, "keywords": st.lists(any_text, max_size=2)}),
)
def test_every_text_that_an_entry_may_hold_survives_in_a_file(
    dump: Any, collection: str, users: list[str], algorithm: str, template: dict[str, Any]
) -> None:
    document = {"collection": collection, "users": users, "algorithms": [f"{algorithm}@v1"], "template": template}
    try:
        entry = read_entry("grants", document, label="the entry", teams=())
    except EntryError:
        return
    assert isinstance(entry, Entry)
    registry = Registry(entries=(entry,))
    same(registry, load_registry(dump(registry_document(registry)), "export"))


@given(document=documents())
def test_entries_survive_by_themselves(document: Document) -> None:
    registry = loaded(document)
    for entry in (*registry.entries, *registry.reserved):
        kind: EntryKind = entry.kind.value if isinstance(entry, Entry) else "reserved"
        assert read_entry(kind, entry_document(entry), label=entry.label, teams=registry.teams) == entry


def test_a_team_survives_by_itself() -> None:
    team = Team("boreal", frozenset({"bob", "ana"}))
    assert entry_document(team) == {"team": "boreal", "users": ["ana", "bob"]}
    assert read_entry("teams", entry_document(team), label="", teams=()) == team
