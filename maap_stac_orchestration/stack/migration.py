"""Bringing one database up to date in full: pgstac, the ledger, and the queryables of our own properties.

Here belongs that these go together, and in which order. Not here: the migrations themselves.
"""

from __future__ import annotations

import psycopg

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
