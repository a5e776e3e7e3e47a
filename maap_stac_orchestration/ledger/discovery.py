"""Writing down catalogs that were seen, by whatever means, so that each version counts once.

Here belongs what makes a job known and due. Not here: how catalogs are found (`discovery`), and claiming (`claims`).
"""

from __future__ import annotations

from collections.abc import Iterable

from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import Recorded, SeenCatalog


def record(conn: Connection, seen: Iterable[SeenCatalog]) -> Recorded:
    """Writes down seen catalogs; those of unknown versions make their jobs due. Streams, in bounded memory.

    Where no transaction is open, each few thousand rows are committed; what has been counted is then safe.
    """
    raise NotImplementedError
