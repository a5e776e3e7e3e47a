"""Which problems are denials: decisions of governance that refused what a job asked for.

Here belongs that one set. Not here: the decisions (`maap_stac_orchestration.governance`).
"""

from __future__ import annotations

from maap_stac_orchestration.problems import Code

#: Problems that are decisions: each has the name of its `DecisionCode`.
DENIALS = frozenset(
    {
        Code.IDENTITY_MISMATCH,
        Code.INVALID_NAME,
        Code.RESERVED_NAME,
        Code.RESERVED_PATTERN,
        Code.NAME_CONFLICT,
        Code.USER_NOT_AUTHORIZED,
        Code.ALGORITHM_NOT_APPROVED,
        Code.COLLECTION_NOT_FOUND,
        Code.ITEM_OWNED_BY_OTHER,
    }
)
