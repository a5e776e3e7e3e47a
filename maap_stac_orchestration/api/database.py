"""The application's connections to Postgres: one pool for the STAC API, one for the ledger.

Here belongs opening and closing them. Not here: what is asked of them. Both take libpq's environment variables, and
both open lazily, so that the application starts before its database and outlives its restarts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import asyncpg
import psycopg
from fastapi import FastAPI, Request
from psycopg_pool import ConnectionPool
from stac_fastapi.pgstac.db import con_init, get_connection

LedgerPool = ConnectionPool[psycopg.Connection[tuple[Any, ...]]]

#: Connections that each of the two pools may hold.
_MAX_CONNECTIONS = 10
#: Seconds that a request waits for a connection before it is told that the database does not answer.
_PATIENCE = 5.0
#: Milliseconds after which Postgres gives a search up: a client that asked for too much holds no connection for ever.
_STATEMENT_TIMEOUT = 60_000


@asynccontextmanager
async def connections(app: FastAPI) -> AsyncIterator[None]:
    """Opens both pools for as long as the application runs."""
    stac_pool = await asyncpg.create_pool(
        min_size=0,
        max_size=_MAX_CONNECTIONS,
        timeout=_PATIENCE,
        init=con_init,
        server_settings={
            "search_path": "pgstac,public",
            "application_name": "maap-stac api",
            "statement_timeout": str(_STATEMENT_TIMEOUT),
        },
    )
    ledger_pool: LedgerPool = ConnectionPool(
        min_size=0,
        max_size=_MAX_CONNECTIONS,
        timeout=_PATIENCE,
        kwargs={
            "application_name": "maap-stac api",
            "connect_timeout": int(_PATIENCE),
            "options": f"-c statement_timeout={_STATEMENT_TIMEOUT}",
        },
        check=ConnectionPool.check_connection,
        open=False,
    )
    ledger_pool.open(wait=False)
    # Where stac-fastapi-pgstac looks for them.
    app.state.readpool = stac_pool
    app.state.get_connection = get_connection
    app.state.ledger_pool = ledger_pool
    try:
        yield
    finally:
        ledger_pool.close()
        # A search that still runs is not waited for.
        stac_pool.terminate()


@contextmanager
def ledger_connection(request: Request) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A connection to the ledger for one request.

    Committed at its end, or rolled back after an error, so that nothing is ever left open; whoever writes commits by
    themselves, before they tell anybody.
    """
    pool = cast("LedgerPool", request.app.state.ledger_pool)
    with pool.connection() as connection:
        yield connection
