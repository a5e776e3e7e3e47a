"""pypgstac's database object over a connection that somebody else opened, commits and closes.

Here belongs what makes pypgstac's Loader work inside a transaction of ours. Not here: what is loaded (`items`).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import psycopg
from psycopg.rows import BaseRowFactory, tuple_row
from pypgstac.db import PgstacDB
from pypgstac.load import Loader

Connection = psycopg.Connection[Any]


class PgstacMissing(Exception):
    """The database has no pgstac of the version that this program loads with; the message says what to do."""


class BorrowedDB(PgstacDB):
    """Hands the Loader one given connection, for all it does.

    pypgstac's own class opens a pool beside the connection it is given, and on an error rolls the whole connection
    back; in the midst of a transaction that also holds the ledger's rows, neither may happen.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection=connection)

    def connect(self) -> Connection:
        """The borrowed connection, as it is."""
        assert self.connection is not None
        return self.connection

    def disconnect(self) -> None:
        """Forgets the connection; its owner commits and closes it."""
        self.connection = None

    def query(  # type: ignore[override]  # the overridden one is wrapped in a decorator
        self,
        query: Any,
        args: list[Any] | None = None,
        row_factory: BaseRowFactory[Any] = tuple_row,
    ) -> Generator[Any, None, None]:
        """The rows of a query. An error leaves the transaction as it is: whoever opened it decides."""
        with self.connect().cursor(row_factory=row_factory) as cursor:
            cursor.execute(query, args)
            if cursor.description is None:
                yield None
            else:
                yield from cursor


def loader(connection: Connection) -> Loader:
    """A Loader that works on this connection and keeps nothing beyond it.

    Raises:
        PgstacMissing: pgstac is not there, or of a version that pypgstac does not load into.
    """
    made = Loader(BorrowedDB(connection))
    present = connection.execute("SELECT to_regclass('pgstac.migrations') IS NOT NULL").fetchone()
    if not present or not present[0]:
        raise PgstacMissing("The database has no pgstac schema. Run `maap-stac migrate`.")
    try:
        made.check_version()
    except psycopg.Error:
        raise
    # pypgstac raises a bare Exception for a version that does not fit.
    except Exception as error:
        raise PgstacMissing(f"{error} Run `maap-stac migrate`.") from error
    return made
