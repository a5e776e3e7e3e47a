"""The role that the tiler of the local stack signs in with: it reads pgstac and nothing else.

Here belongs making and mending it on the stack's own database server. Not here: servers that somebody else runs, where
an administrator makes the role (docs/viewing.md), and how it is used (`tiler.database`).

What it may do is what pgstac grants its group `pgstac_read`: read, and write `pgstac.searches`, where titiler keeps
what a mosaic is of. pgstac's functions for that run with the rights of whoever calls them, so no more is needed; those
that run with the owner's rights (`delete_collection`, `repartition` …) are closed to that group.
"""

from __future__ import annotations

import secrets

import psycopg
from psycopg import sql

from maap_stac_orchestration.stack.home import Home

ROLE = "maap_stac_tiler"
GROUP = "pgstac_read"
#: The variables that tell the tiler, see `tiler.settings`.
USER_VARIABLE = "MAAP_STAC_TILER_PGUSER"
PASSWORD_VARIABLE = "MAAP_STAC_TILER_PGPASSWORD"  # noqa: S105  # the name of a variable

_IS_THERE = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)"
_OTHER_GROUPS = """
SELECT granted.rolname
FROM pg_auth_members AS membership
JOIN pg_roles AS granted ON granted.oid = membership.roleid
JOIN pg_roles AS member ON member.oid = membership.member
WHERE member.rolname = %s AND granted.rolname <> %s
"""
_ATTRIBUTES = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT"


def tiler_variables(home: Home) -> dict[str, str]:
    """The role with its password, as variables for the tiler; the password is drawn at first and kept in the home.

    Whoever wants another one removes the file `tiler.password` and starts the stack anew.
    """
    if not home.tiler_password.exists():
        home.write_private(home.tiler_password, secrets.token_urlsafe(24))
    return {USER_VARIABLE: ROLE, PASSWORD_VARIABLE: home.tiler_password.read_text().strip()}


def ensure_tiler_role(conninfo: str, password: str, *, closed: tuple[str, ...] = ()) -> None:
    """Makes the role, or makes it what it should be, with this password. Safe to be called again.

    Args:
        conninfo: the database with pgstac, as superuser of its server.
        password: that the role is to have.
        closed: databases of the server that only their owner and superusers may connect to from now on.

    Raises:
        psycopg.Error: the server refused; says what.
    """
    role = sql.Identifier(ROLE)
    with psycopg.connect(conninfo, connect_timeout=5) as connection:
        row = connection.execute(_IS_THERE, (ROLE,)).fetchone()
        if row is None or not row[0]:
            connection.execute(sql.SQL("CREATE ROLE {}").format(role))
        # Hashed here, so that no log of the server ever holds it.
        hashed = connection.pgconn.encrypt_password(password.encode(), ROLE.encode(), b"scram-sha-256").decode()
        connection.execute(
            sql.SQL("ALTER ROLE {} WITH {} PASSWORD {}").format(role, sql.SQL(_ATTRIBUTES), sql.Literal(hashed))
        )
        for (other,) in connection.execute(_OTHER_GROUPS, (ROLE, GROUP)).fetchall():
            connection.execute(sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(other), role))
        connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(GROUP), role))
        connection.execute(
            sql.SQL("ALTER ROLE {} IN DATABASE {} SET search_path = pgstac, public").format(
                role, sql.Identifier(connection.info.dbname)
            )
        )
        # Before PostgreSQL 15 everybody could make tables there.
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        for database in closed:
            connection.execute(
                sql.SQL("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database))
            )
