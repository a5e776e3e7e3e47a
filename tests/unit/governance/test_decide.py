"""The decision table, case by case."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from maap_stac_orchestration.governance.decide import (
    RESERVED_NAMES,
    ExistingCollections,
    decide,
    is_valid_name,
    namespace_owner,
    owned_by_other,
    problem_of,
)
from maap_stac_orchestration.governance.decision import Decision, DecisionCode, OnDenied, Outcome, Request
from maap_stac_orchestration.governance.registry import Registry, load_registry
from maap_stac_orchestration.problems import Code

REGISTRY = load_registry(
    """\
version: 1
reserved: ["esa-*"]
teams:
  boreal: [hrodmn, jjfrench]
grants:
  - {collection: jsmith--flood-catalog-2025, users: [jsmith, ana]}
  - {collection: "maap-*", users: ["@boreal"], algorithms: ["flood@v1.*"], create: true}
  - {collection: "maap-shared-*", users: [ana]}
  - {collection: "{username}--*", users: ["{username}"], create: true}
  - {collection: icesat2-boreal-v3.0-agb, users: [ana], algorithms: ["agb@*"]}
  - {collection: esa-worldcover, users: [ana], create: true}
  - {collection: "esa-wor*", users: [bob], create: true}
  - {collection: "col*", users: [ana, bob], create: true}
  - {collection: search, users: [ana], create: true}
  - {collection: carol__agb__v1, users: [ana]}
  - {collection: "bob--*", users: [ana, bob], create: true}
deny:
  - {collection: "maap-closed-*", users: ["*"], on_denied: reject}
  - {collection: maap-v2, users: ["@boreal"], algorithms: ["flood@v1.2"]}
""",
    "registry.yaml",
)


def asked(
    collection: str | None,
    *,
    username: str = "hrodmn",
    algorithm: str = "flood",
    version: str = "v1.0",
    existing: Collection[str] = (),
    deleted: Collection[str] = (),
    registry: Registry = REGISTRY,
    on_denied: OnDenied = OnDenied.FALLBACK,
    metadata_username: str | None = None,
) -> Decision:
    default = f"{username}__Flood__{version}"
    request = Request(username, algorithm, version, None, collection, default, metadata_username)
    return decide(request, registry, ExistingCollections.of(existing, deleted), on_denied)


@pytest.mark.parametrize(
    ("collection", "about", "code", "rule"),
    [
        # identity
        (None, {"metadata_username": "bob"}, "identity_mismatch", "folder"),
        ("maap-x", {"metadata_username": "Hrodmn"}, "identity_mismatch", "folder"),
        ("maap-x", {"metadata_username": ""}, "identity_mismatch", "folder"),
        ("maap-x", {"metadata_username": "hrodmn"}, "granted", '"maap-*" (line 7)'),
        # nothing requested, or the default itself
        (None, {}, "default_assigned", "no collection requested"),
        ("", {}, "default_assigned", "no collection requested"),
        ("hrodmn__Flood__v1.0", {}, "default_assigned", "own default"),
        ("HRODMN__flood__V1.0", {}, "default_assigned", "own default"),
        ("bob__Flood__v1.0", {}, "invalid_name", "names are"),
        # the grammar
        (" ", {}, "invalid_name", "names are"),
        ("ma", {}, "invalid_name", "names are"),
        ("m" * 65, {}, "invalid_name", "names are"),
        ("m" * 64, {}, "user_not_authorized", "no grant"),
        ("Maap-x", {}, "invalid_name", "names are"),
        ("maap-x-", {}, "invalid_name", "names are"),
        ("_maap-x", {}, "invalid_name", "names are"),
        ("maap-x\n", {}, "invalid_name", "names are"),
        ("maap x", {}, "invalid_name", "names are"),
        ("maap/x", {}, "invalid_name", "names are"),
        ("maap-é", {}, "invalid_name", "names are"),
        ("maap-٣x", {}, "invalid_name", "names are"),
        ("maap-\x00x", {}, "invalid_name", "names are"),
        # reserved names
        ("search", {"username": "ana"}, "reserved_name", "API"),
        ("api", {}, "reserved_name", "API"),
        ("collections", {"username": "ana", "existing": ["collections"]}, "reserved_name", "API"),
        ("esa-x", {"username": "bob"}, "reserved_name", 'reserved[1] "esa-*" (line 2)'),
        ("esa-world", {"username": "bob"}, "reserved_name", "reserved[1]"),
        ("esa-worldcover", {"username": "ana"}, "granted", "esa-worldcover"),
        ("esa-worldcover", {"username": "bob"}, "user_not_authorized", "does not cover"),
        # the spelling of default collections
        ("maap-x__y", {}, "reserved_pattern", "__"),
        ("maap-x__y", {"existing": ["maap-x__y"]}, "reserved_pattern", "__"),
        # an existing collection that an exact grant names may be called anything
        ("icesat2-boreal-v3.0-agb", {"username": "ana", "algorithm": "agb"}, "invalid_name", "names are"),
        (
            "icesat2-boreal-v3.0-agb",
            {"username": "ana", "algorithm": "agb", "existing": ["icesat2-boreal-v3.0-agb"]},
            "granted",
            "icesat2",
        ),
        (
            "icesat2-boreal-v3.0-agb",
            {"username": "bob", "existing": ["icesat2-boreal-v3.0-agb"]},
            "user_not_authorized",
            "does not name bob",
        ),
        ("search", {"username": "ana", "existing": ["search"]}, "granted", '"search"'),
        ("carol__agb__v1", {"username": "ana", "existing": ["carol__agb__v1"]}, "granted", "carol__agb__v1"),
        ("carol__agb__v1", {"username": "ana"}, "reserved_pattern", "__"),
        # case
        ("maap-x", {"existing": ["MAAP-X"]}, "name_conflict", "MAAP-X"),
        ("maap-x", {"existing": ["MAAP-X", "maap-x"]}, "granted", "maap-*"),
        ("MAAP-X", {"existing": ["maap-x"]}, "invalid_name", "names are"),
        # who
        ("maap-x", {"username": "bob"}, "user_not_authorized", '"maap-*" (line 7) does not name bob'),
        ("maap-x", {"username": "HRODMN"}, "user_not_authorized", "does not name HRODMN"),
        ("maap-x", {"username": "@boreal"}, "user_not_authorized", "does not name @boreal"),
        ("maap-x", {"username": "*"}, "user_not_authorized", "does not name *"),
        ("other-x", {}, "user_not_authorized", "no grant is for this id"),
        ("maap-closed-x", {}, "user_not_authorized", "deny[1]"),
        ("maap-v2", {"version": "v1.2"}, "user_not_authorized", "deny[2]"),
        ("maap-v2", {"version": "v1.3"}, "granted", "maap-*"),
        ("jsmith--flood-catalog-2025", {"username": "bob"}, "user_not_authorized", "does not name bob"),
        # namespaces
        ("hrodmn--x", {}, "granted", "{username}--*"),
        ("hrodmn--x--y", {}, "granted", "{username}--*"),
        ("hrodmn--flood", {"username": "HRODMN"}, "user_not_authorized", "no grant"),
        ("jsmith--x", {"username": "ana"}, "user_not_authorized", "no grant"),
        ("maap-bob--x", {}, "user_not_authorized", "does not cover this id: ids that begin with maap-bob--"),
        ("maap--x", {}, "user_not_authorized", "does not cover this id: ids that begin with maap--"),
        ("bob--x", {"username": "ana"}, "user_not_authorized", '"bob--*" (line 16) does not cover'),
        ("bob--x", {"username": "bob"}, "granted", "grants["),
        ("jsmith--flood-catalog-2025", {"username": "ana"}, "collection_not_found", "jsmith--flood"),
        ("ana--b--x", {"username": "ana--b"}, "user_not_authorized", "does not cover"),
        ("ana--b--x", {"username": "ana"}, "granted", "{username}--*"),
        # with what
        ("maap-x", {"algorithm": "fire"}, "algorithm_not_approved", '"maap-*" (line 7)'),
        ("maap-x", {"version": "v2.0"}, "algorithm_not_approved", '"maap-*" (line 7)'),
        ("maap-x", {"version": "V1.0"}, "algorithm_not_approved", '"maap-*" (line 7)'),
        # creation
        ("maap-shared-x", {"username": "ana"}, "collection_not_found", "maap-shared-*"),
        ("maap-shared-x", {"username": "ana", "existing": ["maap-shared-x"]}, "granted", "maap-shared-*"),
        ("maap-x", {}, "granted", "maap-*"),
        # deleted
        ("maap-x", {"deleted": ["maap-x"]}, "collection_not_found", "the collection maap-x was deleted"),
        ("maap-x", {"deleted": ["MAAP-X"]}, "name_conflict", "the collection MAAP-X was deleted"),
        ("maap-x", {"deleted": ["MAAP-X"], "existing": ["maap-x"]}, "granted", "maap-*"),
        ("maap-x", {"deleted": ["maap-x"], "existing": ["maap-x"]}, "granted", "maap-*"),
        ("maap-x", {"deleted": ["maap-x"], "existing": ["Maap-x"]}, "name_conflict", "the collection Maap-x exists"),
        ("maap-x", {"deleted": ["maap-x"], "username": "bob"}, "user_not_authorized", "does not name bob"),
        ("maap-x", {"deleted": ["maap-y"]}, "granted", "maap-*"),
        ("icesat2-boreal-v3.0-agb", {"username": "ana", "deleted": ["icesat2-boreal-v3.0-agb"]}, "invalid_name", ""),
        ("HRODMN__Flood__v1.0", {"deleted": ["hrodmn__Flood__v1.0"]}, "default_assigned", "own default"),
    ],
)
def test_the_table(collection: str | None, about: dict[str, object], code: str, rule: str) -> None:
    decision = asked(collection, **about)  # type: ignore[arg-type]
    assert decision.code.value == code, decision
    assert rule in decision.rule
    assert "\n" not in decision.rule + decision.message
    assert decision.registry_version == REGISTRY.version
    assert decision.requested == (collection or None)


def test_what_becomes_of_the_items() -> None:
    for decision, outcome, collection in [
        (asked("maap-x"), Outcome.ACCEPT, "maap-x"),
        (asked(None), Outcome.DEFAULT, "hrodmn__Flood__v1.0"),
        (asked("HRODMN__flood__v1.0"), Outcome.DEFAULT, "hrodmn__Flood__v1.0"),
        (asked("other-x"), Outcome.FALLBACK, "hrodmn__Flood__v1.0"),
        (asked("other-x", on_denied=OnDenied.REJECT), Outcome.REJECT, None),
        (asked(None, on_denied=OnDenied.REJECT), Outcome.DEFAULT, "hrodmn__Flood__v1.0"),
        (asked("maap-x", metadata_username="bob"), Outcome.REJECT, None),
    ]:
        assert (decision.outcome, decision.collection) == (outcome, collection)


ON_DENIED = """\
version: 1
{registry}
grants:
  - {{collection: "maap-*", users: [ana]{prefix}}}
  - {{collection: "maap-floods-*", users: [ana]{longer}}}
deny:
  - {{collection: maap-floods-x, users: [bob]{exact}}}
"""


@pytest.mark.parametrize(
    ("exact", "longer", "prefix", "registry", "setting", "outcome"),
    [
        ("reject", "fallback", "fallback", "fallback", "fallback", "reject"),
        (None, "reject", "fallback", "fallback", "fallback", "reject"),
        (None, "fallback", "reject", "reject", "reject", "fallback"),
        (None, None, "reject", "fallback", "fallback", "reject"),
        (None, None, None, "reject", "fallback", "reject"),
        (None, None, None, "fallback", "reject", "fallback"),
        (None, None, None, None, "reject", "reject"),
        (None, None, None, None, "fallback", "fallback"),
    ],
)
def test_the_most_specific_entry_that_says_so_decides_what_becomes_of_denied_items(
    exact: str | None, longer: str | None, prefix: str | None, registry: str | None, setting: str, outcome: str
) -> None:
    entries = {
        name: f", on_denied: {value}" if value else ""
        for name, value in [("exact", exact), ("longer", longer), ("prefix", prefix)]
    }
    text = ON_DENIED.format(registry=f"on_denied: {registry}" if registry else "", **entries)
    loaded = load_registry(text, "registry.yaml")
    for username in ("bob", "carol"):
        decision = asked("maap-floods-x", username=username, registry=loaded, on_denied=OnDenied(setting))
        assert (decision.code.value, decision.outcome.value) == ("user_not_authorized", outcome)


def test_of_contradicting_entries_of_one_pattern_the_stricter_decides() -> None:
    grants = [f'  - {{collection: "maap-*", users: [ana], on_denied: {one}}}\n' for one in ("fallback", "reject")]
    for order in (grants, grants[::-1]):
        registry = load_registry("version: 1\ngrants:\n" + "".join(order), "registry.yaml")
        assert asked("maap-x", registry=registry).outcome is Outcome.REJECT


def test_a_collection_is_created_as_the_most_specific_entry_that_describes_it_says() -> None:
    registry = load_registry(
        """\
version: 1
grants:
  - {collection: "maap-*", users: ["*"], create: true, template: {title: All}}
  - {collection: "maap-floods-*", users: ["*"], create: true, template: {title: Floods}}
  - {collection: maap-floods-x, users: ["*"], create: true}
  - {collection: maap-floods-y, users: ["*"], template: {title: Unused}}
""",
        "registry.yaml",
    )
    assert asked("maap-floods-x", registry=registry).creation == {"title": "Floods"}
    assert asked("maap-floods-y", registry=registry).creation == {"title": "Floods"}
    assert asked("maap-x", registry=registry).creation == {"title": "All"}
    assert asked("maap-x", registry=registry, existing=["maap-x"]).creation is None
    assert asked("hrodmn--x").creation == {}


def test_the_grant_that_may_create_is_the_rule_of_a_creation() -> None:
    registry = load_registry(
        """\
version: 1
grants:
  - {collection: maap-floods, users: ["*"]}
  - {collection: "maap-*", users: ["*"], create: true}
""",
        "registry.yaml",
    )
    assert asked("maap-floods", registry=registry).rule == 'grants[2] "maap-*" (line 4)'
    assert asked("maap-floods", registry=registry, existing=["maap-floods"]).rule == 'grants[1] "maap-floods" (line 3)'


def test_a_grant_that_creates_does_so_for_its_own_algorithms_only() -> None:
    registry = load_registry(
        """\
version: 1
grants:
  - {collection: maap-floods, users: ["*"], algorithms: ["flood@v1.*"]}
  - {collection: maap-floods, users: ["*"], algorithms: ["fire@*"], create: true}
""",
        "registry.yaml",
    )
    assert asked("maap-floods", algorithm="flood", registry=registry).code is DecisionCode.COLLECTION_NOT_FOUND
    assert asked("maap-floods", algorithm="fire", registry=registry).code is DecisionCode.GRANTED


def test_a_prefix_with_a_short_username_needs_three_characters() -> None:
    registry = load_registry('version: 1\ngrants: [{collection: "{username}*", users: ["*"], create: true}]', "r.yaml")
    assert asked("bo-data", username="bo", registry=registry).code is DecisionCode.USER_NOT_AUTHORIZED
    assert asked("bob-data", username="bob", registry=registry).code is DecisionCode.GRANTED


def test_the_message_says_what_was_asked_for_why_not_and_what_to_do() -> None:
    message = asked("maap-x", version="v2.0").message
    assert message == (
        "The algorithm is not approved for the collection maap-x. The job ran flood@v2.0; approved: flood@v1.*. "
        "Use an approved version of the algorithm, or ask an administrator to approve this one. "
        "The items go to the default collection hrodmn__Flood__v2.0 instead."
    )
    assert asked("other-x", on_denied=OnDenied.REJECT).message.endswith("The items are not loaded.")
    assert "MAAP-X" in asked("maap-x", existing=["MAAP-X"]).message


@pytest.mark.parametrize("deleted", ["maap-x", "MAAP-X"])
def test_the_message_says_that_the_id_of_a_deleted_collection_stays_taken(deleted: str) -> None:
    told = f"The collection {deleted} was deleted, and the id of a deleted collection stays taken."
    assert told in asked("maap-x", deleted=[deleted]).message
    assert "stays taken" not in asked("maap-shared-x", username="ana", deleted=[deleted]).message


def test_items_of_others_are_refused_and_named() -> None:
    decision = owned_by_other("maap-x", ["tile-1"], "abc")
    assert decision == Decision(
        code=DecisionCode.ITEM_OWNED_BY_OTHER,
        outcome=Outcome.REJECT,
        collection=None,
        requested="maap-x",
        rule="an item id belongs to the user whose job wrote it first",
        message=(
            "1 item of the collection maap-x cannot be replaced by this job: tile-1. It belongs to another user, whose "
            "job wrote the id first. Give the item an id of its own, for example with your username in it."
        ),
        registry_version="abc",
    )


def test_of_many_items_of_others_some_are_named_and_all_are_counted() -> None:
    message = owned_by_other("maap-x", [f"tile-{number}" for number in range(12)], "abc").message
    assert message.startswith("12 items of the collection maap-x cannot be replaced by this job: tile-0, tile-1, ")
    assert ", tile-9 and 2 more. They belong" in message
    ten = owned_by_other("maap-x", [f"tile-{number}" for number in range(10)], "abc").message
    assert "tile-9. They belong" in ten
    assert len(owned_by_other("maap-x", ["x\n" * 1_000_000] * 12, "abc").message) < 5000


def test_an_id_that_no_sentence_can_hold_is_shown_shortened_and_escaped() -> None:
    assert r"'maap\nx'" in asked("maap\nx").message
    assert len(asked("x" * 1_000_000).message) < 1000


def test_every_denial_has_a_problem_of_its_own_name() -> None:
    denied = set(DecisionCode) - {DecisionCode.DEFAULT_ASSIGNED, DecisionCode.GRANTED}
    assert {code.value for code in denied} <= {code.value for code in Code}
    problem = problem_of(asked("other-x"))
    assert problem is not None
    assert (problem.code, problem.object) == (Code.USER_NOT_AUTHORIZED, "other-x")
    assert problem_of(asked("maap-x")) is problem_of(asked(None)) is None


def test_names_that_the_api_needs_are_reserved() -> None:
    names = "api admin system search conformance queryables collections items catalogs aggregate docs status jobs"
    assert set(names.split()) == RESERVED_NAMES
    assert all(is_valid_name(name) for name in RESERVED_NAMES)


def test_an_id_has_at_most_one_owner() -> None:
    assert namespace_owner("ana--b--x") == "ana"
    assert namespace_owner("ana---x") == "ana"
    assert namespace_owner("ana-x") is None


def test_existing_collections_know_ids_exactly_and_by_lower_case() -> None:
    existing = ExistingCollections.of(["Maap-X", "maap-y"])
    assert "Maap-X" in existing
    assert "maap-x" not in existing
    assert [existing.clash(one) for one in ("maap-x", "Maap-X", "MAAP-Y", "other")] == ["Maap-X", None, "maap-y", None]


def test_ids_of_deleted_collections_stay_taken() -> None:
    existing = ExistingCollections.of(["maap-x"], deleted=["Maap-Y", "maap-x"])
    assert "Maap-Y" not in existing
    assert existing.deleted == {"Maap-Y"}
    assert [existing.clash(one) for one in ("maap-y", "Maap-Y", "Maap-X")] == ["Maap-Y", None, "maap-x"]
