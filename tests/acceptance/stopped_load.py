"""Stopping a run in the midst of a load, by a lock that it waits for, so that a test can kill it there.

Here belongs where a load can be stopped and which process stands there. Not here: what becomes of it (the tests).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import psycopg

from tests.acceptance.client import StackClient

#: Where the load is stopped, and the statement that stops it there. The first waits to become the collection's one
#: writer; the second has written its items to pgstac, in a transaction that never ends.
MOMENTS = {
    "before": "SELECT pg_advisory_xact_lock(hashtextextended('maap-stac collection writer ' || %(collection)s, 0))",
    "amid": "LOCK TABLE ledger.item IN EXCLUSIVE MODE",
}


@contextmanager
def held(client: StackClient, statement: str, collection: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """Holds a lock while the block runs; gives a second connection to look with."""
    url = client.stack["database_url"]
    with psycopg.connect(url) as holder, psycopg.connect(url, autocommit=True) as looker:
        holder.execute(statement, {"collection": collection} if "%(" in statement else None)
        try:
            yield looker
        finally:
            holder.rollback()


def waiting_process(looker: psycopg.Connection[tuple[Any, ...]]) -> psutil.Process | None:
    """The process of this machine whose session in the database waits for a lock in the midst of a load."""
    row = looker.execute(
        "SELECT client_port FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    ).fetchone()
    if row is None:
        return None
    for connection in psutil.net_connections("tcp"):
        if connection.laddr and connection.laddr.port == row[0] and connection.pid:
            return psutil.Process(connection.pid)
    return None
