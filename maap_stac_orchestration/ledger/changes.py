"""The audit trail of governance: who changed grants, teams, tokens, collections and their owners, and who is told
when jobs end; when and why.

Here belongs writing a change down and reading the trail. Not here: what a change does (`registry_entries`, `tokens`,
`collections`, `endpoints`), and decisions about jobs, which have a trail of their own (`decisions`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from psycopg.types.json import Jsonb

from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.texts import LONGEST_NAME, storable


class Action(StrEnum):
    """What was done."""

    #: An entry that allows, or one that forbids, came into force.
    GRANT = "grant"
    #: An entry of any kind was taken out of force.
    REVOKE = "revoke"
    #: The members of a team were set.
    TEAM = "team"
    #: A pattern was reserved.
    RESERVE = "reserve"
    #: A registry file was taken over into the database; the entries it brought name this change.
    IMPORT = "import"
    #: A collection was made by a person.
    COLLECTION_CREATED = "collection_created"
    #: A person, or the owner's job, wrote a collection's document.
    COLLECTION_CHANGED = "collection_changed"
    #: A collection was deleted with its items; its id stays taken.
    COLLECTION_DELETED = "collection_deleted"
    #: A collection, or items of it, were brought back from an export.
    COLLECTION_RESTORED = "collection_restored"
    #: A collection was given to another owner.
    COLLECTION_TRANSFERRED = "collection_transferred"
    #: The items of a default collection were moved to the id of another template.
    ITEMS_MOVED = "items_moved"
    TOKEN_CREATED = "token_created"  # noqa: S105  # the name of an action
    TOKEN_REVOKED = "token_revoked"  # noqa: S105
    #: Somebody is told when jobs end, at this address from now on.
    ENDPOINT_CREATED = "endpoint_created"
    #: An endpoint was taken out of force: nothing is sent to it any more.
    ENDPOINT_REMOVED = "endpoint_removed"
    #: An endpoint got a new secret.
    ENDPOINT_ROTATED = "endpoint_rotated"


class Via(StrEnum):
    """Through which door."""

    CLI = "cli"
    API = "api"
    JOB = "job"
    #: What a receiver of notifications answered.
    NOTIFICATION = "notification"


@dataclass(frozen=True, slots=True)
class Author:
    """Who makes a change, through which door, and why."""

    #: A username, or who somebody at the command line says to be.
    by: str
    via: Via
    #: For people who read the trail later.
    reason: str


@dataclass(frozen=True, slots=True)
class Change:
    """A change as it stands in the trail."""

    id: int
    at: datetime
    by: str
    via: Via
    action: Action
    subject: str
    reason: str
    detail: Mapping[str, Any] = field(default_factory=dict)


# Changes are few. One at a time, so that their numbers are the order in which they came into force, and a registry can
# be told as of a change.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('maap-stac registry change', 0))"

_RECORD = """
INSERT INTO ledger.registry_change (by, via, action, subject, reason, detail)
VALUES (%(by)s, %(via)s, %(action)s, %(subject)s, %(reason)s, %(detail)s)
RETURNING id
"""

_HISTORY = """
SELECT id, at, by, via, action, subject, reason, detail
FROM ledger.registry_change
WHERE (%(before)s::bigint IS NULL OR id < %(before)s)
    AND (%(subject)s::text IS NULL OR subject = %(subject)s)
ORDER BY id DESC
LIMIT %(limit)s
"""


def lock(conn: Connection) -> None:
    """Makes this transaction the only one that changes the registry; others wait until it ends."""
    conn.execute(_LOCK)


def record(
    conn: Connection, action: Action, subject: str, author: Author, detail: Mapping[str, Any] | None = None
) -> int:
    """Writes a change down, in the caller's transaction, and gives its number.

    Args:
        conn: the connection whose transaction makes the change.
        action: what is done.
        subject: what it is about.
        author: who does it and why.
        detail: JSON that tells more: what was there before, what is there now.
    """
    lock(conn)
    row = conn.execute(
        _RECORD,
        {
            "by": storable(author.by),
            "via": str(author.via),
            "action": str(action),
            "subject": storable(subject, LONGEST_NAME),
            "reason": storable(author.reason),
            "detail": Jsonb(dict(detail or {})),
        },
    ).fetchone()
    assert row is not None
    return int(row[0])


def history(
    conn: Connection, *, limit: int = 100, before: int | None = None, subject: str | None = None
) -> list[Change]:
    """Changes, newest first.

    Args:
        conn: an open connection.
        limit: at most that many.
        before: only those with a smaller number, for the next page.
        subject: only those about it.
    """
    rows = conn.execute(_HISTORY, {"limit": limit, "before": before, "subject": subject})
    return [
        Change(id, at, by, Via(via), Action(action), subject, reason, detail)
        for id, at, by, via, action, subject, reason, detail in rows
    ]
