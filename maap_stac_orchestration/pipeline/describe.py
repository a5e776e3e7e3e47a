"""Collections in the words of their owners' jobs: a job's own Collection document fills what no person has touched.

Here belongs whose job may describe which collection, and which of several jobs has the last word. Not here: which
fields are filled and with what (`pgstac.description`), and the items (`load`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from maap_stac_orchestration import log_events
from maap_stac_orchestration.ledger import changes
from maap_stac_orchestration.ledger import collections as known_collections
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.pgstac.collections import database_time, locked_document, write_document
from maap_stac_orchestration.pgstac.description import NewCollection, automatic_fields, fill, own_document


@dataclass(frozen=True, slots=True)
class Description:
    """What a job has to say about a collection that its items are in."""

    #: The collection as the job would have it made.
    new: NewCollection
    #: What makes it newer than another: the time of the job, and what tells jobs of one time apart.
    order: tuple[datetime, datetime, str]
    #: The job's output prefix.
    prefix: str


@dataclass(frozen=True, slots=True)
class DescribedAnew:
    """A collection whose document was changed."""

    collection: str
    #: Whose job did it.
    by: str
    #: The number of the change in the audit trail.
    change: int


def note_creation(conn: Connection, new: NewCollection, job_time: datetime) -> None:
    """Notes what of the document of a collection that was just created no person wrote.

    Args:
        conn: the transaction that created it.
        new: the collection.
        job_time: of the job whose documents stand in `new.own`, UTC.
    """
    by = job_time if own_document(new) is not None else None
    known_collections.describe(conn, new.id, automatic_fields(new), by)


def describe_anew(conn: Connection, wanted: Mapping[str, Sequence[Description]]) -> list[DescribedAnew]:
    """Fills collections with the newest document that a job of their owner has for them.

    Whatever the order in which jobs are loaded, the newest document wins; the same one again changes nothing. In the
    caller's transaction, which should end soon: a change is written to the audit trail, where one stands at a time.

    Args:
        conn: that transaction's connection.
        wanted: collection id -> what jobs have to say about it.
    """
    written = []
    for collection in sorted(wanted):
        found = _describe(conn, collection, wanted[collection])
        if found is not None:
            written.append((collection, *found))
    # Last of all, since this waits for everybody who changes the registry.
    return [
        DescribedAnew(
            collection,
            one.new.username,
            changes.record(
                conn,
                changes.Action.COLLECTION_CHANGED,
                collection,
                changes.Author(
                    one.new.username, changes.Via.JOB, f"The job {one.prefix} of its owner has a document about it."
                ),
                detail,
            ),
        )
        for collection, one, detail in written
    ]


def tell_described(described: Sequence[DescribedAnew]) -> None:
    """Writes the log events; to be called once the changes are committed."""
    for one in described:
        log_events.emit(
            log_events.Event.COLLECTION_CHANGED,
            change=one.change,
            action=str(changes.Action.COLLECTION_CHANGED),
            collection=one.collection,
            by=one.by,
            via=str(changes.Via.JOB),
        )


def _describe(
    conn: Connection, collection: str, descriptions: Sequence[Description]
) -> tuple[Description, dict[str, Any]] | None:
    """Whose words were written, and what changed by that; None where nothing did."""
    usable = [one for one in descriptions if own_document(one.new) is not None]
    known = known_collections.lock(conn, collection) if usable else None
    if known is None or known.owner is None:
        return None
    present = None
    for one in sorted(usable, key=lambda one: one.order, reverse=True):
        if one.new.username != known.owner:
            continue
        job_time = one.order[0]
        if known.by is not None and job_time < known.by:
            break
        present = present or locked_document(conn, collection)
        if present is None:
            break
        filled = fill(present, known.fields, one.new, database_time(conn))
        if filled is None:
            # As if this job had none: what an older one says still counts.
            continue
        known_collections.describe(conn, collection, filled.fields, job_time)
        if not filled.changed:
            break
        write_document(conn, filled.document)
        detail = {
            "job": one.prefix,
            "before": {field: present[field] for field in filled.changed if field in present},
            "after": {field: filled.document[field] for field in filled.changed if field in filled.document},
        }
        return one, detail
    return None
