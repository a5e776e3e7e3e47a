"""Which job wrote which item last, from which document, with what content.

Here belongs ownership and lineage of items. Not here: the items themselves (`pgstac`), and what became of each item of
a job, which stands with the job (`outcomes`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import KnownItem


def known(conn: Connection, collection: str, ids: Sequence[str]) -> dict[str, KnownItem]:
    """Who wrote these items of a collection; ids that nobody wrote are not in it."""
    raise NotImplementedError


def write(conn: Connection, rows: Iterable[KnownItem]) -> int:
    """Writes down who wrote items now; overwrites who did before. Returns the number of rows."""
    raise NotImplementedError
