"""What people may do to collections by hand."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from maap_stac_orchestration.governance.curation import Person, may_change, may_create
from maap_stac_orchestration.governance.decide import ExistingCollections
from maap_stac_orchestration.governance.decision import Decision, DecisionCode
from maap_stac_orchestration.governance.registry import load_registry

REGISTRY = load_registry(
    """\
version: 1
reserved: ["esa-*"]
teams:
  boreal: [ana, bob]
grants:
  - {collection: "{username}--*", users: ["*"], create: true, template: {license: CC-BY-4.0}}
  - {collection: "maap-*", users: ["@boreal"], algorithms: ["flood@v1.*"], create: true}
  - {collection: "open-*", users: ["*"], create: true}
  - {collection: "closed-*", users: ["*"]}
  - {collection: esa-fires, users: [ana], create: true}
deny:
  - {collection: ana--secret, users: [ana]}
  - {collection: "open-*", users: [carol]}
  - {collection: "ana--*", users: [ana], algorithms: ["flood@*", "*@*"]}
""",
    "registry.yaml",
)
ANA = Person("ana", admin=False)
ADMIN = Person("root", admin=True)


def created(
    collection: str, person: Person = ANA, *, existing: Collection[str] = (), deleted: Collection[str] = ()
) -> Decision:
    return may_create(person, collection, REGISTRY, ExistingCollections.of(existing, deleted))


@pytest.mark.parametrize(
    ("collection", "about", "code", "rule"),
    [
        ("ana--floods", {}, "granted", 'grants[1] "{username}--*" (line 6)'),
        ("open-floods", {}, "granted", 'grants[3] "open-*" (line 8)'),
        ("esa-fires", {}, "granted", 'grants[5] "esa-fires" (line 10)'),
        ("ana--floods", {"person": Person("bob", admin=False)}, "user_not_authorized", "no grant is for this id"),
        ("open-floods", {"person": Person("carol", admin=False)}, "user_not_authorized", 'deny[2] "open-*" (line 13)'),
        ("ana--secret", {}, "user_not_authorized", 'deny[1] "ana--secret" (line 12)'),
        ("other-floods", {}, "user_not_authorized", "no grant is for this id"),
        # Both are about jobs, and it is none that asks.
        ("maap-floods", {}, "algorithm_not_approved", 'grants[2] "maap-*" (line 7)'),
        ("ana--flood", {}, "granted", "grants[1]"),
        ("closed-floods", {}, "collection_not_found", 'grants[4] "closed-*" (line 9)'),
        ("Open-floods", {}, "invalid_name", "names are 3 to 64"),
        ("", {}, "invalid_name", "names are 3 to 64"),
        ("search", {}, "reserved_name", "the API's own names"),
        ("esa-x", {}, "reserved_name", 'reserved[1] "esa-*" (line 2)'),
        ("open-__x", {}, "reserved_pattern", "ids with __"),
        ("open-x", {"existing": ["open-x"]}, "name_conflict", "the collection open-x exists"),
        ("Open-X", {"existing": ["Open-X"]}, "name_conflict", "the collection Open-X exists"),
        ("open-x", {"existing": ["OPEN-x"]}, "name_conflict", "the collection OPEN-x exists"),
        ("open-x", {"deleted": ["open-x"]}, "name_conflict", "the collection open-x was deleted"),
        ("open-x", {"deleted": ["OPEN-x"]}, "name_conflict", "the collection OPEN-x was deleted"),
        ("OPEN-x", {"existing": ["open-x"]}, "name_conflict", "the collection open-x exists"),
        ("other-x", {"existing": ["Other-X"]}, "name_conflict", "the collection Other-X exists"),
        # Administrators
        ("other-floods", {"person": ADMIN}, "granted", "administrators may create collections"),
        ("ana--floods", {"person": ADMIN}, "granted", "administrators may create collections"),
        ("esa-x", {"person": ADMIN}, "granted", "administrators may create collections"),
        ("icesat2-boreal-v3.0-AGB", {"person": ADMIN}, "granted", "administrators may create collections"),
        ("x", {"person": ADMIN}, "granted", "administrators may create collections"),
        ("x" * 64, {"person": ADMIN}, "granted", "administrators may create collections"),
        ("open-floods", {"person": ADMIN}, "granted", 'grants[3] "open-*" (line 8)'),
        ("open-floods", {"person": Person("carol", admin=True)}, "granted", "administrators may create collections"),
        ("x" * 65, {"person": ADMIN}, "invalid_name", "ids are 1 to 64"),
        ("", {"person": ADMIN}, "invalid_name", "ids are 1 to 64"),
        (".x", {"person": ADMIN}, "invalid_name", "ids are 1 to 64"),
        ("x/y", {"person": ADMIN}, "invalid_name", "ids are 1 to 64"),
        ("x\n", {"person": ADMIN}, "invalid_name", "ids are 1 to 64"),
        ("search", {"person": ADMIN}, "reserved_name", "the API's own names"),
        ("Search", {"person": ADMIN}, "reserved_name", "the API's own names"),
        ("open-__x", {"person": ADMIN}, "reserved_pattern", "ids with __"),
        ("open-x", {"person": ADMIN, "existing": ["open-x"]}, "name_conflict", "the collection open-x exists"),
        ("OPEN-x", {"person": ADMIN, "existing": ["open-x"]}, "name_conflict", "the collection open-x exists"),
        ("open-x", {"person": ADMIN, "deleted": ["open-x"]}, "name_conflict", "the collection open-x was deleted"),
        ("OPEN-x", {"person": ADMIN, "deleted": ["open-x"]}, "name_conflict", "the collection open-x was deleted"),
    ],
)
def test_who_may_create_what(collection: str, about: dict[str, object], code: str, rule: str) -> None:
    decision = created(collection, **about)  # type: ignore[arg-type]
    assert decision.code.value == code, decision
    assert rule in decision.rule
    assert "\n" not in decision.rule + decision.message
    assert decision.registry_version == REGISTRY.version
    assert decision.requested == collection


def test_a_collection_is_created_as_the_registry_describes_it() -> None:
    assert created("ana--floods").creation == {"license": "CC-BY-4.0"}
    assert created("ana--floods", Person("ana", admin=True)).creation == {"license": "CC-BY-4.0"}
    assert created("open-floods").creation == {}
    assert created("other", ADMIN).creation == {}
    assert created("other").creation is None


def test_what_is_refused_is_told_to_the_person_who_asked() -> None:
    assert created("maap-x").message == (
        "The collection maap-x may only be created by a job. Its grants are for jobs of approved algorithms only: "
        "flood@v1.*. Run one of them, or ask an administrator for a grant without algorithms."
    )
    assert created("closed-x").message == (
        "The grant for the collection closed-x does not allow creating it. "
        "Ask an administrator to create it, or for a grant with create: true."
    )
    assert created("other").message == (
        "ana may not create the collection other. No grant is for this id. "
        "Ask an administrator for a grant, or use an id that begins with your username and --."
    )
    assert created("open-x", existing=["open-x"]).message == (
        "The collection open-x exists already. Change it, or create one of another id."
    )
    assert created("open-x", deleted=["open-x"]).message == (
        "The collection open-x was deleted, and the id of a deleted collection stays taken. Choose another id."
    )


@pytest.mark.parametrize(
    ("person", "collection", "owner", "told"),
    [
        (ANA, "ana--x", "ana", None),
        # Granted or not: a collection that was transferred is its owner's.
        (ANA, "bob--x", "ana", None),
        (
            ANA,
            "ana--x",
            "bob",
            "The collection ana--x belongs to bob; only its owner and administrators may change it.",
        ),
        (ANA, "open-x", "ANA", "The collection open-x belongs to ANA;"),
        (ANA, "open-x", None, "The collection open-x has no owner;"),
        (ANA, "open-x", "", "The collection open-x has no owner;"),
        (Person("", admin=False), "open-x", "", "The collection open-x has no owner;"),
        (ANA, "ana--secret", "ana", "An administrator has excluded ana from the collection ana--secret."),
        (ANA, "Ana--Secret", "ana", "An administrator has excluded ana from the collection Ana--Secret."),
        (ADMIN, "ana--secret", "ana", None),
        (ADMIN, "open-x", None, None),
        (Person("carol", admin=True), "open-x", "carol", None),
    ],
)
def test_who_may_change_what(person: Person, collection: str, owner: str | None, told: str | None) -> None:
    refusal = may_change(person, collection, owner, REGISTRY)
    assert (refusal is None) == (told is None)
    if refusal is not None:
        assert told is not None
        assert refusal.code is DecisionCode.USER_NOT_AUTHORIZED
        assert refusal.message.startswith(told)
        assert refusal.rule
