"""Keeping a batch's lease while a stage works on it.

Here belongs renewing. Not here: taking and giving back (`ledger.claims`), and how long a lease is (settings).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import psycopg

from maap_stac_orchestration.ledger.claims import renew
from maap_stac_orchestration.ledger.connection import Connection, DatabaseUnavailable
from maap_stac_orchestration.ledger.records import Batch

logger = logging.getLogger(__name__)


@contextmanager
def kept_lease(connect: Callable[[], Connection], batch: Batch, lease: timedelta) -> Iterator[None]:
    """Renews the lease of a batch three times per its length, from a thread with a connection of its own.

    A renewal that fails is tried again at the next turn. When the lease is lost all the same, nothing is stopped here:
    another run holds the jobs then, and `ledger.outcomes.finish` takes no result of this one.
    """
    if not batch.jobs:
        yield
        return
    stop = threading.Event()

    def keep() -> None:
        while not stop.wait(lease.total_seconds() / 3):
            try:
                with connect() as conn:
                    held = renew(conn, batch.batch_id, lease)
                    conn.commit()
            except (psycopg.Error, DatabaseUnavailable) as error:
                logger.warning("The lease of batch %s could not be renewed: %s", batch.batch_id, error)
            else:
                if not held:
                    logger.warning("Batch %s holds nothing any more.", batch.batch_id)
                    return

    keeper = threading.Thread(target=keep, name=f"lease of {batch.batch_id}", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join(timeout=10)
