"""Deciding once more what was decided: what another registry would change.

Here belongs comparing a candidate with the registry in force over what jobs really asked for. Not here: the decision
(`governance.decide`), and how the difference is shown (`cli`). Nothing is changed.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from maap_stac_orchestration.governance.decide import decide
from maap_stac_orchestration.governance.decision import Decision, Outcome, Request
from maap_stac_orchestration.governance.registry import Registry
from maap_stac_orchestration.ledger import asked as trail
from maap_stac_orchestration.ledger.asked import Asked
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.pipeline.decide import default_collections_told, existing_collections
from maap_stac_orchestration.pipeline.registry import registry_in_force
from maap_stac_orchestration.settings import Settings

#: Changes that are told one by one; the others are counted.
MAX_CHANGES = 10_000


class Effect(StrEnum):
    """What a change means for those who asked."""

    #: What is denied now would be allowed.
    GAINED = "gained"
    #: What is allowed now would be denied.
    LOST = "lost"
    #: Denied either way, with another code, or with another fate of the items.
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class ChangedDecision:
    """A request that a candidate would decide otherwise."""

    asked: Asked
    effect: Effect
    #: Under the registry in force.
    now: Decision
    #: Under the candidate.
    then: Decision


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a candidate would change."""

    #: Versions of the registry in force and of the candidate.
    now: str
    then: str
    #: Different requests that were decided under both, and how many decisions answered them.
    asked: int
    decisions: int
    #: How many requests would be decided otherwise; every effect is there.
    counts: dict[Effect, int]
    #: Those that were asked last, latest first; at most `MAX_CHANGES`.
    changes: list[ChangedDecision] = field(default_factory=list)

    @property
    def changed(self) -> int:
        """How many requests would be decided otherwise."""
        return sum(self.counts.values())


def replay(conn: Connection, settings: Settings, candidate: Registry, days: float) -> Replayed:
    """Decides what was asked for in the last days under the registry in force and under a candidate.

    Both decide with the collections as they are now, so that what differs is the candidate's doing and no collection's
    that was made since. What no registry decides is left out: jobs of a wrong identity, items of others, and items that
    ask for no collection.

    Args:
        conn: the ledger's connection, with nothing pending.
        settings: which registry is in force, and the template of default ids.
        candidate: the whole registry that would be in force instead.
        days: how far back.

    Raises:
        RegistryUnavailable: no registry is in force.
    """
    now = registry_in_force(settings, conn, write_down=False).registry
    counts = dict.fromkeys(Effect, 0)
    asked = decisions = 0
    # The latest ones, with a number that keeps equal times apart.
    latest: list[tuple[datetime, int, ChangedDecision]] = []
    for portion in trail.asked_since(conn, timedelta(days=days)):
        for one in _differences(conn, settings, portion, now, candidate):
            counts[one.effect] += 1
            entry = (one.asked.last, sum(counts.values()), one)
            (heapq.heappush if len(latest) < MAX_CHANGES else heapq.heappushpop)(latest, entry)
        asked += len(portion)
        decisions += sum(one.times for one in portion)
    changes = [one for _, _, one in sorted(latest, key=lambda entry: entry[:2], reverse=True)]
    return Replayed(now.version, candidate.version, asked, decisions, counts, changes)


def _differences(
    conn: Connection, settings: Settings, portion: Sequence[Asked], now: Registry, candidate: Registry
) -> list[ChangedDecision]:
    names = {one.names for one in portion}
    defaults = default_collections_told(conn, names, settings.default_collection_template)
    existing = existing_collections(conn, {one.requested for one in portion})
    found = []
    for one in portion:
        request = Request(*one.names, one.requested, defaults[one.names])
        before, after = (decide(request, registry, existing, settings.on_denied) for registry in (now, candidate))
        if _fate(before) != _fate(after):
            found.append(ChangedDecision(one, _effect(before, after), before, after))
    return found


def _fate(decision: Decision) -> tuple[str, str, str | None]:
    """What must be the same for a decision to be the same; rules and versions differ with every registry."""
    return decision.code, decision.outcome, decision.collection


def _effect(before: Decision, after: Decision) -> Effect:
    denied = (Outcome.FALLBACK, Outcome.REJECT)
    was, would_be = before.outcome in denied, after.outcome in denied
    if was == would_be:
        return Effect.OTHER
    return Effect.LOST if would_be else Effect.GAINED
