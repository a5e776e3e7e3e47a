"""Keeping a batch's lease while stages work on it.

Here belongs renewing, and telling those who work that it was lost. Not here: taking and giving back (`ledger.claims`),
and how long a lease is (settings).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from maap_stac_orchestration.ledger import claims
from maap_stac_orchestration.ledger.connection import Connection, DatabaseUnavailable
from maap_stac_orchestration.ledger.records import Batch
from maap_stac_orchestration.settings import Settings

_log = logging.getLogger(__name__)

#: Renewals per length of a lease: two may fail before it runs out.
RENEWALS = 3


class LeaseLost(Exception):
    """A run's lease ran out while it worked, and others may hold its jobs; the message names the batch."""


class Lease:
    """What a stage asks whether it may go on."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._lost = threading.Event()
        self._finished = threading.Event()

    def check(self) -> None:
        """Raises LeaseLost when the lease was lost."""
        if self._lost.is_set() and not self._finished.is_set():
            raise LeaseLost(
                f"The lease of batch {self._batch.batch_id} ran out while run {self._batch.run_id} worked on it;"
                " its jobs are taken on by another run."
            )

    def finished(self) -> None:
        """All jobs ended: that the batch holds nothing any more is as it should be."""
        self._finished.set()

    def lose(self) -> None:
        """The batch holds nothing any more, or may hold nothing any moment."""
        self._lost.set()


@contextmanager
def held(batch: Batch, settings: Settings, connect: Callable[[], Connection]) -> Iterator[Lease]:
    """Renews a batch's lease until the block ends, from a thread with a connection of its own.

    A renewal that fails is tried again at the next turn; a lease that is lost all the same, or that could not be
    renewed for as long as it lasts, is told by `Lease.check`. In any case `ledger.outcomes.finish` takes no result of
    a run that lost it.

    Args:
        batch: what the run holds.
        settings: `lease` says how long a lease lasts without renewal.
        connect: opens a connection to the ledger's database.
    """
    lease = Lease(batch)
    if not batch.jobs:
        yield lease
        return
    stop = threading.Event()

    def keep() -> None:
        # Counted from before a renewal is asked for, on a clock that nobody sets.
        renewed = time.monotonic()
        while not stop.wait(settings.lease.total_seconds() / RENEWALS):
            asked = time.monotonic()
            try:
                with connect() as conn:
                    kept = claims.renew(conn, batch.batch_id, settings.lease)
                    conn.commit()
            except (psycopg.Error, DatabaseUnavailable) as error:
                _log.warning("The lease of batch %s could not be renewed: %s", batch.batch_id, error)
                if time.monotonic() - renewed >= settings.lease.total_seconds():
                    lease.lose()
                    return
            else:
                renewed = asked
                if not kept:
                    lease.lose()
                    return

    keeper = threading.Thread(target=keep, name=f"lease of {batch.batch_id}", daemon=True)
    keeper.start()
    try:
        yield lease
    finally:
        stop.set()
        keeper.join(timeout=10)
