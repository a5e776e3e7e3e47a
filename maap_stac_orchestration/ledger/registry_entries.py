"""Entries of the registry that are kept in the database: adding them, taking them out of force, and telling which were
in force when.

Here belongs SQL about entries. Not here: what an entry means (`governance`), who changed what and why (`changes`), and
whether an entry may be added (`pipeline.administer`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from maap_stac_orchestration.governance.registry_file import EntryKind
from maap_stac_orchestration.ledger.changes import Action, Change, Via
from maap_stac_orchestration.ledger.connection import Connection


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry as it stands in the database."""

    id: int
    #: The key of the registry file under which it would stand.
    kind: EntryKind
    #: As in the registry file; a team is {"team": name, "users": [...]}, a reserved pattern {"collection": pattern}.
    document: Mapping[str, Any]
    #: The change that brought it into force.
    change: Change
    #: The change that took it out of force; None while it is in force.
    removed: Change | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """When the entries changed last."""

    #: The number of the change; 0 where there was none.
    change: int
    #: None where there was none.
    at: datetime | None


# An entry, the change that added it and, where there is one, the change that removed it.
_SELECT = """
SELECT entry.id, entry.kind, entry.document,
    added.id, added.at, added.by, added.via, added.action, added.subject, added.reason, added.detail,
    removed.id, removed.at, removed.by, removed.via, removed.action, removed.subject, removed.reason, removed.detail
FROM ledger.registry_entry AS entry
JOIN ledger.registry_change AS added ON added.id = entry.added_in
LEFT JOIN ledger.registry_change AS removed ON removed.id = entry.removed_in
"""

_IN_FORCE = f"{_SELECT} WHERE entry.removed_in IS NULL ORDER BY entry.id"

# Changes are made one at a time, so that their numbers are the order in which they came into force. Goes over all
# entries there ever were, once for each version that is not known yet.
_AS_OF = f"""
{_SELECT}
WHERE entry.added_in <= %(change)s AND (entry.removed_in IS NULL OR entry.removed_in > %(change)s)
ORDER BY entry.id
"""

_FIND = f"{_SELECT} WHERE entry.id = %(id)s"

# By the primary key, newest first.
_HISTORY = f"""
{_SELECT}
WHERE %(before)s::bigint IS NULL OR entry.id < %(before)s
ORDER BY entry.id DESC
LIMIT %(limit)s
"""

_LAST_CHANGE = """
SELECT id, at
FROM ledger.registry_change
WHERE id = (SELECT greatest(max(added_in), max(removed_in)) FROM ledger.registry_entry)
"""

# Numbers are given in the order of the documents.
_ADD = """
INSERT INTO ledger.registry_entry (kind, document, added_in)
SELECT kind, document, %(change)s
FROM unnest(%(kinds)s::text[], %(documents)s::jsonb[]) WITH ORDINALITY AS entry (kind, document, position)
ORDER BY position
RETURNING id
"""

_REMOVE = """
UPDATE ledger.registry_entry SET removed_in = %(change)s WHERE id = ANY (%(ids)s)
"""


def in_force(conn: Connection) -> list[StoredEntry]:
    """The entries in force, in the order in which they were added."""
    return [_entry(row) for row in conn.execute(_IN_FORCE)]


def as_of(conn: Connection, change_id: int) -> list[StoredEntry]:
    """The entries that were in force after this change, in the order in which they were added.

    Those that were taken out of force since tell by what.
    """
    return [_entry(row) for row in conn.execute(_AS_OF, {"change": change_id})]


def find(conn: Connection, entry_id: int) -> StoredEntry | None:
    """The entry with this number, in force or not; None where there never was one."""
    row = conn.execute(_FIND, {"id": entry_id}).fetchone()
    return None if row is None else _entry(row)


def history(conn: Connection, *, limit: int = 100, before: int | None = None) -> list[StoredEntry]:
    """All entries there ever were, newest first.

    Args:
        conn: an open connection.
        limit: at most that many.
        before: only those with a smaller number, for the next page.
    """
    return [_entry(row) for row in conn.execute(_HISTORY, {"limit": limit, "before": before})]


def last_moment(conn: Connection) -> Moment:
    """The last change that concerns entries, 0 where there was none, with its time, by which it differs from the same
    number elsewhere."""
    row = conn.execute(_LAST_CHANGE).fetchone()
    return Moment(0, None) if row is None else Moment(*row)


def add(conn: Connection, kind: EntryKind, document: Mapping[str, Any], change_id: int) -> int:
    """Brings an entry into force, in the caller's transaction, and gives its number.

    Raises:
        psycopg.errors.UniqueViolation: a team of that name is in force.
    """
    return add_all(conn, [(kind, document)], change_id)[0]


def add_all(conn: Connection, entries: Sequence[tuple[EntryKind, Mapping[str, Any]]], change_id: int) -> list[int]:
    """Brings entries into force, in the caller's transaction, and gives their numbers in the same order.

    Raises:
        psycopg.errors.UniqueViolation: a team of one of these names is in force.
    """
    if not entries:
        return []
    given = {
        "change": change_id,
        "kinds": [kind for kind, _ in entries],
        "documents": [Jsonb(dict(document)) for _, document in entries],
    }
    return [int(id) for (id,) in conn.execute(_ADD, given)]


def remove(conn: Connection, ids: Iterable[int], change_id: int) -> None:
    """Takes entries out of force, in the caller's transaction.

    Raises:
        psycopg.errors.RaiseException: one of them is out of force already.
    """
    conn.execute(_REMOVE, {"ids": list(ids), "change": change_id})


def _entry(row: tuple[Any, ...]) -> StoredEntry:
    id, kind, document, *changes = row
    added = _change(changes[:8])
    assert added is not None
    return StoredEntry(id, kind, document, added, _change(changes[8:]))


def _change(row: Sequence[Any]) -> Change | None:
    id, at, by, via, action, subject, reason, detail = row
    return None if id is None else Change(id, at, by, Via(via), Action(action), subject, reason, detail)
