"""Opening connections to the database that holds pgstac and the ledger.

Here belongs how a connection is made and what is said when it cannot be. Not here: pools (those who serve many requests
have their own) and what is asked over it.
"""

from __future__ import annotations

from typing import Any

import psycopg

#: A connection as the ledger's functions take it: rows are tuples, autocommit off unless the caller wants it.
Connection = psycopg.Connection[tuple[Any, ...]]


class DatabaseUnavailable(Exception):
    """The database cannot be reached; the message is one sentence with host, port and reason."""


def connect(conninfo: str = "", *, application_name: str = "maap-stac", autocommit: bool = False) -> Connection:
    """Opens a connection, by libpq's PG* variables where `conninfo` says nothing else.

    Fails within seconds, unlike a pool, which would keep trying. Times are in UTC.

    Raises:
        DatabaseUnavailable: see there.
    """
    try:
        connection = psycopg.connect(
            conninfo, connect_timeout=5, application_name=application_name, autocommit=autocommit
        )
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(_sentence(conninfo, error)) from error
    connection.execute("SET TIME ZONE 'UTC'")
    if not autocommit:
        connection.commit()
    return connection


def _sentence(conninfo: str, error: psycopg.OperationalError) -> str:
    from os import environ

    given = psycopg.conninfo.conninfo_to_dict(conninfo)
    host = given.get("host") or environ.get("PGHOST") or "the local socket"
    port = given.get("port") or environ.get("PGPORT") or "5432"
    database = given.get("dbname") or environ.get("PGDATABASE") or "(the user's own)"
    reason = " ".join(str(error).split()).removesuffix(".")
    return (
        f"The database {database} at {host}, port {port}, cannot be reached: {reason}. "
        "Start it with `maap-stac up`, or let PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE point at the right one."
    )
