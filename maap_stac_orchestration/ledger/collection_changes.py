"""What the ledger knows of a collection's items when somebody wants the collection gone.

Here belongs whose items a collection holds, and forgetting them with it. Not here: the collection's own row with its
owner and tombstone (`collections`), the trail of who did what (`changes`), and the items themselves (`pgstac`).
"""

from __future__ import annotations

from dataclasses import dataclass

from maap_stac_orchestration.ledger.connection import Connection

# By the beginning of the primary key.
_HELD = """
SELECT count(*), count(*) FILTER (WHERE username <> %(username)s)
FROM ledger.item
WHERE collection = %(collection)s
"""

# In the order of the primary key.
_OTHERS = """
SELECT DISTINCT username
FROM ledger.item
WHERE collection = %(collection)s AND username <> %(username)s
ORDER BY username
LIMIT %(limit)s
"""

_FORGET_ITEMS = "DELETE FROM ledger.item WHERE collection = %(collection)s"

_FORGET_JOBS = "DELETE FROM ledger.job_collection WHERE collection = %(collection)s"


@dataclass(frozen=True, slots=True)
class HeldItems:
    """The items of a collection that jobs wrote."""

    #: All of them.
    items: int
    #: Those that jobs of other users wrote.
    foreign: int
    #: Some of those users, in alphabetical order.
    others: tuple[str, ...]


def held_items(conn: Connection, collection: str, username: str, *, shown: int = 5) -> HeldItems:
    """How many items of a collection jobs wrote, and whose they are.

    Args:
        conn: an open connection.
        collection: its id.
        username: whose items are not foreign.
        shown: at most that many other users are named.
    """
    asked = {"collection": collection, "username": username, "limit": shown}
    row = conn.execute(_HELD, asked).fetchone()
    assert row is not None
    items, foreign = row
    others = tuple(name for (name,) in conn.execute(_OTHERS, asked)) if foreign else ()
    return HeldItems(items, foreign, others)


def forget_items(conn: Connection, collection: str) -> int:
    """Forgets who wrote the items of a collection, for the transaction that deletes it; gives how many there were.

    What became of each item of a job stays with the job, as do decisions.
    """
    conn.execute(_FORGET_JOBS, {"collection": collection})
    return conn.execute(_FORGET_ITEMS, {"collection": collection}).rowcount
