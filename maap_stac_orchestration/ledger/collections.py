"""Which collections this system made, for whom, and which need upkeep.

Here belongs who owns a collection and when it changed. Not here: the collections themselves (`pgstac`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import KnownCollection


class CollectionIdTaken(Exception):
    """Another collection has this id but for upper and lower case; the message names both."""


def register(conn: Connection, collection: str, *, owner: str | None, job_id: int | None) -> bool:
    """Writes down a collection that is being made; False when it was known already.

    Raises:
        CollectionIdTaken: see there.
    """
    raise NotImplementedError


def changed(conn: Connection, collections: Iterable[str]) -> None:
    """Notes that items were written to collections, registering those that were not known, without an owner."""
    raise NotImplementedError


def to_refresh(conn: Connection, limit: int = 100) -> list[KnownCollection]:
    """Collections that changed since they were refreshed, longest waiting first."""
    raise NotImplementedError


def refreshed(conn: Connection, collection: str, as_of: datetime) -> None:
    """Notes that a collection's upkeep covers all changes up to `as_of` (its `changed_at` when the upkeep began)."""
    raise NotImplementedError


def find(conn: Connection, collections: Iterable[str]) -> dict[str, KnownCollection]:
    """What is known of these collections."""
    raise NotImplementedError
