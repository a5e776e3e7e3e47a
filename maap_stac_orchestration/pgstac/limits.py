"""How many collections the database server has room for, told before searches fail.

pgstac gives each collection a partition. Whoever searches without naming collections locks each partition and each of
its indexes until the transaction ends, and when the table of locks is full, that search fails ("out of shared memory"),
and whoever else needs a lock then, loads among them. Searches inside one collection, which is how an item is read
through the API, take some thirty locks however many collections there are. Here belongs how near that is. Not here:
who is told (`stack.doctor`, an asset check) and the embedded server's settings (`stack.postgres`).
"""

from __future__ import annotations

from dataclasses import dataclass

from maap_stac_orchestration.pgstac.connection import Connection

#: Searches over all collections that shall have room at the same time: as many as the API of one process asks for when
#: it is busy. They take long where there are many collections, so that they do meet.
WARN_BELOW = 8
#: With room for fewer, one search is in the way of the next.
FAIL_BELOW = 2

# By the catalog rather than pg_partition_tree(), which takes the locks that it is asked about.
_LOCKS = """
WITH RECURSIVE partition (id) AS (
    SELECT 'pgstac.items'::regclass::oid
    UNION ALL
    SELECT child.inhrelid FROM pg_inherits AS child JOIN partition ON child.inhparent = partition.id
)
SELECT
    (SELECT count(*) FROM pgstac.collections),
    (SELECT count(*) FROM partition) + (SELECT count(*) FROM pg_index JOIN partition ON indrelid = partition.id),
    current_setting('max_locks_per_transaction')::bigint
    * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint),
    current_setting('max_locks_per_transaction')::bigint
"""


@dataclass(frozen=True, slots=True)
class Locks:
    """What a server has room for, and what a search takes of it."""

    collections: int
    #: Locks that one search over all collections takes.
    per_search: int
    #: Locks that the server promises to all sessions together. In fact it has some more, until its memory is used up.
    room: int
    #: `max_locks_per_transaction`.
    setting: int

    @property
    def at_once(self) -> int:
        """Searches over all collections that are sure to have room at the same time."""
        return self.room // self.per_search

    @property
    def scarce(self) -> bool:
        """Whether somebody should be told."""
        return self.at_once < WARN_BELOW

    @property
    def exhausted(self) -> bool:
        """Whether searches can fail already."""
        return self.at_once < FAIL_BELOW

    @property
    def enough(self) -> int:
        """A `max_locks_per_transaction` with which nobody is told until there are twice as many collections."""
        needed = 2 * WARN_BELOW * self.per_search * self.setting
        power = 64
        while power * self.room < needed:
            power *= 2
        return power

    @property
    def message(self) -> str:
        """One sentence."""
        told = (
            f"With {self.collections} collections a search over all of them takes {self.per_search} locks, and the "
            f"server has room for {self.room} (max_locks_per_transaction = {self.setting})"
        )
        if self.at_once == 0:
            return f"{told}: such searches fail, and loads beside them."
        return f"{told}: more than {self.at_once} such searches at the same time can fail, and loads beside them."

    @property
    def fix(self) -> str:
        """What to do."""
        return (
            f"Set max_locks_per_transaction to {self.enough} and restart the server, or let jobs share collections by "
            "another MAAP_STAC_DEFAULT_COLLECTION_TEMPLATE."
        )


def locks(conn: Connection) -> Locks:
    """Asks the server; takes milliseconds, and no locks on the collections."""
    row = conn.execute(_LOCKS).fetchone()
    assert row is not None
    return Locks(*row)
