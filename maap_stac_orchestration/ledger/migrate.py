"""Brings the ledger's schema up to date with Alembic, from scripts that lie in this package.

Here belongs how migrations are run. Not here: what they do (`migrations/versions`), and pgstac's own schema, which
pypgstac migrates.
"""

from __future__ import annotations

from pathlib import Path

import psycopg

SCHEMA = "ledger"
VERSION_TABLE = "migration"

_SCRIPTS = Path(__file__).parent / "migrations"
#: Serialises migrations of one database ("ledger" in ASCII).
_MIGRATING = 0x6C6564676572

_APPLIED = "SELECT to_regclass('ledger.migration') IS NOT NULL"
_REVISION = "SELECT version_num FROM ledger.migration"


def head() -> str:
    """The revision that this version of the project needs.

    Taken from the file names, which begin with their revision, because Alembic takes longer to import than a check
    that nothing is to do may last.
    """
    return max(path.stem.split("_")[0] for path in (_SCRIPTS / "versions").glob("v*.py"))


def current(connection: psycopg.Connection[tuple[object, ...]]) -> str | None:
    """The revision of a database, None where the ledger has never been there."""
    there = connection.execute(_APPLIED).fetchone()
    if there is None or not there[0]:
        return None
    row = connection.execute(_REVISION).fetchone()
    return None if row is None else str(row[0])


def migrate(conninfo: str) -> bool:
    """Brings the ledger in this database up to date; safe to be called by several processes at once.

    Args:
        conninfo: libpq connection string or URL; "" takes the environment.

    Returns:
        Whether anything was changed.

    Raises:
        psycopg.Error: the database refused.
    """
    with psycopg.connect(conninfo, autocommit=True, connect_timeout=5) as connection:
        if current(connection) == head():
            return False
        connection.execute("SELECT pg_advisory_lock(%s)", (_MIGRATING,))
        if current(connection) == head():
            return False
        connection.execute("CREATE SCHEMA IF NOT EXISTS ledger")
        _upgrade(conninfo)
    return True


def _upgrade(conninfo: str) -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(conninfo), poolclass=NullPool)
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
