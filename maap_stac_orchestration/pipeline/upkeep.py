"""The upkeep of collections: their extents, and what their items say of them, made what the items are now.

Here belongs in what order and under which locks it is done, and what is reported of it. Not here: what follows from
items (`catalog.derived`, `pgstac.extent`), and whose words stand over that (`pgstac.description`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from maap_stac_orchestration.catalog.derived import LISTED, WHOLE, derived
from maap_stac_orchestration.ledger import collections as known_collections
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.pgstac.collections import (
    database_time,
    has_items,
    locked_document,
    refresh_collection,
    write_document,
)
from maap_stac_orchestration.pgstac.description import derive, whose
from maap_stac_orchestration.pgstac.samples import sample_items

#: Two at once must not end with the older sight of the items. A lock of its own, taken before any other: loads do not
#: wait while items are looked at.
_LOCK_UPKEEP = "SELECT pg_advisory_xact_lock(hashtextextended('maap-stac upkeep ' || %s, 0))"


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What looking after a collection found."""

    collection: str
    items: int
    #: Items that were looked at to tell what they have in common; 0 where that is not told.
    looked_at: int
    #: Fields of the document that are other than before.
    changed: tuple[str, ...]
    #: The document as it is now, without the links that the API makes; None where there is no such collection.
    document: Mapping[str, Any] | None
    #: Field -> who wrote it: `items`, `job` or `person`. Of those that may follow from items and stand in the document.
    written_by: Mapping[str, str]


def look_after(conn: Connection, collection: str) -> Upkeep:
    """Makes a collection's extent, summaries, assets and renders what its items are; `updated` changes only where
    something else does.

    What a person wrote, and what a job said of its owner's collection, stays. A collection that is nobody's, because it
    was there before this system, has its extent looked after and nothing else. Opens transactions of its own.
    """
    refreshed = refresh_collection(conn, collection)
    changed = ("extent",) if refreshed.changed else ()
    with conn.transaction():
        conn.execute(_LOCK_UPKEEP, (collection,))
        items = sample_items(conn, collection)
        found = derived(items)
        known = known_collections.lock(conn, collection)
        present = locked_document(conn, collection)
        if present is None:
            return Upkeep(collection, refreshed.items, 0, changed, None, {})
        if known is None or known.owner is None:
            return Upkeep(collection, refreshed.items, 0, changed, present, {})
        if not items and has_items(conn, collection):
            # All of them too large to be looked at, or just come: nothing is known that could be told.
            return Upkeep(collection, refreshed.items, 0, changed, present, _written_by(present, known.fields))
        filled = derive(present, known.fields, found, database_time(conn))
        if filled is None:
            return Upkeep(collection, refreshed.items, len(items), changed, present, _written_by(present, known.fields))
        known_collections.describe(conn, collection, filled.fields, known.by)
        if filled.changed:
            write_document(conn, filled.document)
    return Upkeep(
        collection,
        refreshed.items,
        len(items),
        (*changed, *filled.changed),
        filled.document,
        _written_by(filled.document, filled.fields),
    )


def refresh_collections(conn: Connection, collections: Iterable[str]) -> list[Upkeep]:
    """Looks after collections one after another, and commits each.

    The ledger notes which changes are covered. What is written while the upkeep looks is not counted as covered.
    """
    done = []
    for collection in collections:
        before = known_collections.find(conn, [collection]).get(collection)
        conn.commit()
        done.append(look_after(conn, collection))
        if before is not None and before.changed_at is not None:
            known_collections.refreshed(conn, collection, before.changed_at)
        conn.commit()
    return done


def _written_by(document: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, str]:
    return {field: whose(document, fields, field) for field in (*WHOLE, *LISTED) if field in document}
