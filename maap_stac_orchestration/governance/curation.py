"""What a person may do to a collection by hand: create it, change it.

Here belongs what is decided when it is no job that asks; the rules about ids and grants are those of `decide`. Not
here: who somebody is (`api`), who owns a collection (`ledger`), and what is then done to it (`pipeline`). Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from maap_stac_orchestration.governance.decide import (
    DEFAULTS_ONLY,
    OWN_NAMES,
    RESERVED_NAMES,
    ExistingCollections,
    Ruling,
    exclusion,
    rule_on,
    shown,
    taken_by,
    template_of,
)
from maap_stac_orchestration.governance.decision import Decision, DecisionCode, Outcome
from maap_stac_orchestration.governance.patterns import fold
from maap_stac_orchestration.governance.registry import Registry
from maap_stac_orchestration.problems import WORDINGS, Code

#: What an administrator may call a collection: ids that are safe in an address.
_SAFE_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is signed in."""

    username: str
    admin: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a person may not change a collection."""

    code: DecisionCode
    #: For the person: what is refused and what to do.
    message: str
    #: The entry of the registry, or the rule, that decided; one line.
    rule: str


def may_create(person: Person, collection_id: str, registry: Registry, existing: ExistingCollections) -> Decision:
    """Whether a person may create a collection of this id: `ACCEPT` or `REJECT`.

    A user needs a grant that allows creating and names no algorithms, within the rules that hold for jobs. An
    administrator needs none and may use any id that is safe in an address (1 to 64 of `A-Z a-z 0-9 . _ -`, a letter or
    digit at both ends), except those that the API needs, ids with `__`, and ids that are or were another collection's.
    Those are `NAME_CONFLICT` for everybody.

    Args:
        person: who asks.
        collection_id: the id of the new collection.
        registry: the entries in force.
        existing: the collections that there are and were.
    """
    taken = _taken(collection_id, existing)
    if taken is not None:
        rule, message = taken
        return _rejected(registry, DecisionCode.NAME_CONFLICT, collection_id, rule, message)
    ruling = rule_on(collection_id, person.username, None, registry, existing)
    if ruling.code is not DecisionCode.GRANTED and not person.admin:
        return _rejected(registry, ruling.code, collection_id, ruling.rule, _told(ruling, collection_id, person))
    if person.admin and (found := _not_even_an_administrator(collection_id)) is not None:
        code, rule, message = found
        return _rejected(registry, code, collection_id, rule, message)
    granted = ruling.code is DecisionCode.GRANTED
    return Decision(
        code=DecisionCode.GRANTED,
        outcome=Outcome.ACCEPT,
        collection=collection_id,
        requested=collection_id,
        rule=ruling.rule if granted else "administrators may create collections",
        message=f"The collection {collection_id} may be created.",
        registry_version=registry.version,
        creation=template_of(ruling.creating),
    )


def may_change(person: Person, collection_id: str, owner: str | None, registry: Registry) -> Refusal | None:
    """Why a person may not describe anew, or delete, a collection; None where they may.

    The owner may, unless a denial that names no algorithms covers the id for them; and so may every administrator.

    Args:
        person: who asks.
        collection_id: an existing collection.
        owner: the username of its owner; None where it has none.
        registry: the entries in force.
    """
    if person.admin:
        return None
    called = shown(collection_id)
    if not owner or owner != person.username:
        belongs = f"belongs to {shown(owner)}" if owner else "has no owner"
        return Refusal(
            DecisionCode.USER_NOT_AUTHORIZED,
            f"The collection {called} {belongs}; only its owner and administrators may change it. "
            f"Ask an administrator to make the change, or to transfer the collection to you.",
            f"the collection {called} {belongs}",
        )
    excluding = exclusion(registry.find(collection_id, owner), registry.names_of(owner), None)
    if excluding is not None:
        return Refusal(
            DecisionCode.USER_NOT_AUTHORIZED,
            f"An administrator has excluded {shown(owner)} from the collection {called}. Ask them why.",
            excluding.label,
        )
    return None


def _taken(collection_id: str, existing: ExistingCollections) -> tuple[str, str] | None:
    """Rule and message where the id is or was that of a collection, be it in other case; the first thing to know for
    whoever wants to create one, whatever else may be wrong with the id."""
    if collection_id in existing.exact:
        rule, _ = taken_by(collection_id, existing)
        return rule, f"The collection {shown(collection_id)} exists already. Change it, or create one of another id."
    if collection_id in existing.deleted:
        rule, detail = taken_by(collection_id, existing)
        return rule, f"{detail} Choose another id."
    other = existing.clash(collection_id)
    if other is None:
        return None
    rule, detail = taken_by(other, existing)
    return rule, _worded(DecisionCode.NAME_CONFLICT, collection_id, detail)


def _not_even_an_administrator(collection_id: str) -> tuple[DecisionCode, str, str] | None:
    """Code, rule and message where nobody may call a new collection that."""
    called = shown(collection_id)
    if not _SAFE_NAME.fullmatch(collection_id):
        return (
            DecisionCode.INVALID_NAME,
            "ids are 1 to 64 of A-Z a-z 0-9 . _ -",
            f"The collection id {called} cannot be used in an address. Use 1 to 64 letters, digits and . _ -, "
            "beginning and ending with a letter or digit.",
        )
    if fold(collection_id) in RESERVED_NAMES:
        message = f"The collection id {called} is needed by the API itself. Choose another id."
        return DecisionCode.RESERVED_NAME, OWN_NAMES, message
    if "__" in collection_id:
        return DecisionCode.RESERVED_PATTERN, DEFAULTS_ONLY, _worded(DecisionCode.RESERVED_PATTERN, collection_id, "")
    return None


def _told(ruling: Ruling, collection_id: str, person: Person) -> str:
    called = shown(collection_id)
    if ruling.code is DecisionCode.USER_NOT_AUTHORIZED:
        return (
            f"{shown(person.username)} may not create the collection {called}. {ruling.detail} "
            f"Ask an administrator for a grant, or use an id that begins with your username and --."
        )
    if ruling.code is DecisionCode.ALGORITHM_NOT_APPROVED:
        return (
            f"The collection {called} may only be created by a job. {ruling.detail} "
            f"Run one of them, or ask an administrator for a grant without algorithms."
        )
    if ruling.code is DecisionCode.COLLECTION_NOT_FOUND:
        return (
            f"The grant for the collection {called} does not allow creating it. "
            f"Ask an administrator to create it, or for a grant with create: true."
        )
    return _worded(ruling.code, collection_id, ruling.detail)


def _worded(code: DecisionCode, collection_id: str, detail: str) -> str:
    wording = WORDINGS[Code(code.value)]
    sentences = (wording.sentence.format(object=shown(collection_id)), detail, wording.fix)
    return " ".join(one for one in sentences if one)


def _rejected(registry: Registry, code: DecisionCode, collection_id: str, rule: str, message: str) -> Decision:
    return Decision(
        code=code,
        outcome=Outcome.REJECT,
        collection=None,
        requested=collection_id,
        rule=rule,
        message=message,
        registry_version=registry.version,
    )
