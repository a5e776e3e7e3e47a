"""The tiler's connections to pgstac: read-only, opened when they are needed.

Here belongs whose rights they have and how they are pooled. Not here: what is asked of them, which is titiler's own,
and making the role (`stack.tiler_role`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread
import psycopg
from fastapi import FastAPI
from psycopg_pool import ConnectionPool, PoolTimeout

from maap_stac_orchestration.tiler.settings import PASSWORD_VARIABLE, USER_VARIABLE, TilerSettings

#: pgstac's own group of readers. It may write `searches`, where titiler keeps what a mosaic is of, and nothing else.
READERS = "pgstac_read"
#: Seconds that a request waits for a connection before it is told that the database does not answer.
_PATIENCE = 5.0
#: Milliseconds after which Postgres gives a search up.
_STATEMENT_TIMEOUT = 30_000
_MAX_CONNECTIONS = 10

TilerPool = ConnectionPool[psycopg.Connection[tuple[Any, ...]]]


def connection_options(settings: TilerSettings) -> dict[str, Any]:
    """What a connection is opened with, above libpq's own variables: so sockets and services work as for any client.

    With a role of its own, that one. Otherwise whoever PGUSER is gives up all rights but those of pgstac's readers,
    which he must be a member of.
    """
    options = f"-c search_path=pgstac,public -c statement_timeout={_STATEMENT_TIMEOUT}"
    found: dict[str, Any] = {"application_name": "maap-stac tiler", "connect_timeout": int(_PATIENCE)}
    if settings.pguser:
        found["user"] = settings.pguser
        if settings.pgpassword is not None:
            found["password"] = settings.pgpassword.get_secret_value()
    else:
        options += f" -c role={READERS}"
    return found | {"options": options}


@asynccontextmanager
async def connections(app: FastAPI) -> AsyncIterator[None]:
    """Opens the pool for as long as the application runs; it starts without its database and outlives its restarts."""
    settings: TilerSettings = app.state.tiler_settings
    # Each request may hold a picture in memory, so there is a bound to how many are made at the same time.
    anyio.to_thread.current_default_thread_limiter().total_tokens = settings.threads
    pool: TilerPool = ConnectionPool(
        min_size=0,
        max_size=_MAX_CONNECTIONS,
        timeout=_PATIENCE,
        kwargs=connection_options(settings),
        check=ConnectionPool.check_connection,
        open=False,
    )
    pool.open(wait=False)
    # Where titiler-pgstac looks for it.
    app.state.dbpool = pool
    try:
        yield
    finally:
        pool.close()


def ailment(settings: TilerSettings) -> str | None:
    """Why the database cannot be used, as a sentence for an operator; None where it can."""
    who = f"{USER_VARIABLE} and {PASSWORD_VARIABLE}" if settings.pguser else f"PGUSER, or set {USER_VARIABLE}"
    try:
        with psycopg.connect(**connection_options(settings), autocommit=True) as connection:
            connection.execute("SELECT 1 FROM pgstac.searches LIMIT 1")
    except (psycopg.errors.InvalidSchemaName, psycopg.errors.UndefinedTable):
        return "There is no pgstac in the database: run `maap-stac migrate`."
    except psycopg.errors.InsufficientPrivilege:
        return f"The tiler's role may not read pgstac: make it a member of {READERS}, or correct {who}."
    except (psycopg.OperationalError, PoolTimeout) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        if "role" in reason and READERS in reason:
            return f"The tiler's user cannot become {READERS}: make it a member of that, or correct {who}."
        return f"The database does not let the tiler in ({reason}): start it, or correct PGHOST, PGSERVICE or {who}."
    return None
