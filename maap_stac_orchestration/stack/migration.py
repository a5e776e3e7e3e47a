"""Bringing one database up to date in full: pgstac, the ledger, and the queryables of our own properties.

Here belongs that these go together, and in which order. Not here: the migrations themselves.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from maap_stac_orchestration.stack.postgres import migrate_database


def migrate(conninfo: str = "") -> None:
    """Brings the database up to date; quick when nothing is to do.

    Args:
        conninfo: which database; that of libpq's variables by default.

    Raises:
        psycopg.Error: the database refused something; says what.
    """
    from maap_stac_orchestration.pgstac.queryables import register_queryables

    migrate_database(conninfo)
    with psycopg.connect(conninfo, connect_timeout=5) as connection:
        register_queryables(connection)


def create_databases(conninfo: str, names: tuple[str, ...]) -> None:
    """Creates databases on somebody else's server where they are missing; the user must be allowed to.

    Args:
        conninfo: any database of the server.
        names: what they are called.

    Raises:
        psycopg.Error: the server refused; says what.
    """
    with psycopg.connect(conninfo, autocommit=True, connect_timeout=5) as connection:
        there = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
        for name in names:
            if name not in there:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
