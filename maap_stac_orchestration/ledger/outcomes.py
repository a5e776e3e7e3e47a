"""Writing down how jobs ended in a run.

Here belongs the end of a lease. Not here: taking it (`claims`), and the items' own rows (`items`).
"""

from __future__ import annotations

from collections.abc import Iterable

from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import Batch, Finished, FinishedJob


def finish(conn: Connection, batch: Batch, outcomes: Iterable[FinishedJob]) -> Finished:
    """Writes down how jobs of a batch ended, in the caller's transaction, as the last thing before its commit.

    Only jobs whose lease is still this batch's are touched; the others are `lost`, and a caller that wrote items for
    them in the same transaction must roll back and do without them.
    """
    raise NotImplementedError
