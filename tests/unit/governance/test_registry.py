"""Registries from several sources are one; what grants less than it seems is told."""

from __future__ import annotations

import pickle

import pytest

from maap_stac_orchestration.governance.decide import ExistingCollections, decide
from maap_stac_orchestration.governance.decision import OnDenied, Outcome, Request
from maap_stac_orchestration.governance.entries import Entry, Kind
from maap_stac_orchestration.governance.patterns import Pattern
from maap_stac_orchestration.governance.registry import Registry, RegistryError, load_registry

FILE = load_registry('version: 1\nteams: {boreal: [ana]}\ngrants: [{collection: "maap-*", users: ["@boreal"]}]', "file")
NO_COLLECTIONS = ExistingCollections.of(())


def test_the_empty_registry_lets_nobody_choose() -> None:
    request = Request("ana", "flood", "v1", None, "ana--x", "ana__flood__v1")
    assert decide(request, Registry.empty(), NO_COLLECTIONS).outcome is Outcome.FALLBACK


def test_merging_with_nothing_changes_nothing() -> None:
    assert Registry.empty().merged(FILE) == FILE
    assert FILE.merged(Registry.empty()) == FILE
    assert Registry.empty().merged() == Registry.empty()


def test_grants_kept_elsewhere_name_the_teams_of_the_file() -> None:
    grant = Entry(Kind.GRANT, Pattern.parse("floods"), ("@boreal",), create=True, label="grant 17 in the database")
    merged = FILE.merged(Registry(entries=(grant,), version="17", source="the database"))
    decision = decide(Request("ana", "flood", "v1", None, "floods", "ana__flood__v1"), merged, NO_COLLECTIONS)
    assert (decision.outcome, decision.rule) == (Outcome.ACCEPT, "grant 17 in the database")
    assert merged.source == "file and the database"


def test_the_version_of_a_merged_registry_is_that_of_its_parts() -> None:
    parts = [Registry(version=one, source=one, entries=()) for one in ("a", "b")]
    assert parts[0].merged(parts[1]).version == parts[0].merged(parts[1]).version
    assert parts[0].merged(parts[1]).version != parts[1].merged(parts[0]).version


def test_a_team_is_the_same_people_everywhere() -> None:
    other = load_registry("version: 1\nteams: {boreal: [bob]}", "other")
    with pytest.raises(RegistryError, match=r"^other: the team boreal"):
        FILE.merged(other)


DENIAL = Entry(Kind.DENY, Pattern.parse("maap-*"), ("bob", "@gone"), label='denial 9 "maap-*" (by ana, 2026-11-21)')


@pytest.mark.parametrize("file", [FILE, Registry.empty()])
def test_an_entry_that_names_a_team_which_nobody_defines_is_never_passed_over(file: Registry) -> None:
    """The file may have dropped the team: a denial that then spoke of nobody would open what it closed."""
    database = Registry(entries=(DENIAL,), version="9", source="the database")
    for merge in (lambda: file.merged(database), lambda: database.merged(file)):
        with pytest.raises(RegistryError) as caught:
            merge()
        assert str(caught.value) == (
            'the database: denial 9 "maap-*" (by ana, 2026-11-21) names the team "@gone", which is not defined (any '
            "more); define it again, or take the entry out."
        )


def test_a_registry_of_teams_alone_defines_them_for_the_others() -> None:
    merged = Registry(entries=(DENIAL,)).merged(Registry(teams={"gone": frozenset({"ana"})}))
    assert merged.names_of("ana") == ("ana", "*", "@gone")


def test_a_registry_that_only_says_what_becomes_of_denied_items_says_so_merged() -> None:
    assert FILE.merged(Registry(on_denied=OnDenied.REJECT)).on_denied is OnDenied.REJECT


def test_a_registry_passes_between_processes() -> None:
    assert pickle.loads(pickle.dumps(FILE)) == FILE


@pytest.mark.parametrize(
    ("grant", "note"),
    [
        ('{collection: "bob--*", users: [ana]}', "anyone but a user called bob"),
        ('{collection: "bob--floods-*", users: [bob, ana]}', "anyone but a user called bob"),
        ('{collection: "maap--*", users: ["*"]}', "anyone but a user called maap"),
        ('{collection: "bob__*", users: [ana]}', "ids with __"),
        ('{collection: "bob--*", users: [bob]}', None),
        ('{collection: "bob--floods", users: [ana]}', None),
        ('{collection: "{username}--*", users: ["*"]}', None),
        ('{collection: "maap-*", users: ["*"]}', None),
    ],
)
def test_a_prefix_that_reaches_less_than_it_seems_is_noted(grant: str, note: str | None) -> None:
    notes = load_registry(f"version: 1\ngrants: [{grant}]", "file").notes()
    assert len(notes) == (note is not None)
    assert all(note is not None and note in one for one in notes)
