"""What a governance decision is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class DecisionCode(StrEnum):
    """Why; the order is the order of checking, and the first that applies decides."""

    IDENTITY_MISMATCH = "identity_mismatch"
    DEFAULT_ASSIGNED = "default_assigned"
    INVALID_NAME = "invalid_name"
    RESERVED_NAME = "reserved_name"
    RESERVED_PATTERN = "reserved_pattern"
    NAME_CONFLICT = "name_conflict"
    USER_NOT_AUTHORIZED = "user_not_authorized"
    ALGORITHM_NOT_APPROVED = "algorithm_not_approved"
    COLLECTION_NOT_FOUND = "collection_not_found"
    GRANTED = "granted"
    #: Of single items, when they are loaded; the collection was granted.
    ITEM_OWNED_BY_OTHER = "item_owned_by_other"


class Outcome(StrEnum):
    """What happens to the items."""

    #: They go to the collection that they asked for.
    ACCEPT = "accept"
    #: Nothing was asked for: they go to the job's default collection.
    DEFAULT = "default"
    #: What was asked for is denied: they go to the job's default collection, the denial on record.
    FALLBACK = "fallback"
    #: They go nowhere.
    REJECT = "reject"


class OnDenied(StrEnum):
    """What becomes of denied items."""

    FALLBACK = "fallback"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Request:
    """One question: may this job write to this collection?"""

    username: str
    algorithm: str
    version: str
    tag: str | None
    #: The collection id as the item carries it; None, "" and absence are the same: nothing requested.
    collection: str | None
    #: The id of the job's default collection.
    default_collection: str
    #: The username that the job metadata gives, where it was read; None skips the identity check.
    metadata_username: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer, with what a person needs to understand it."""

    code: DecisionCode
    outcome: Outcome
    #: Where the items go; None when rejected.
    collection: str | None
    #: What was asked for; None when nothing was.
    requested: str | None
    #: The entry of the registry, or the rule of naming, that decided; one line.
    rule: str
    #: One sentence for a person.
    message: str
    #: Content hash of the registry in force.
    registry_version: str
    #: For an accepted collection that does not exist yet: how the registry wants it created (may be empty).
    creation: Mapping[str, object] | None = field(default=None)
