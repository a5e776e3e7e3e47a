"""A PostgreSQL of the benchmarks' own, with pgstac and the ledger in as many fresh databases as are asked for."""

from __future__ import annotations

import itertools
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from benchmarks.result import CannotMeasure
from maap_stac_orchestration.stack.postgres import PostgresError, PostgresServer, migrate_database

_TEMPLATE = "migrated"


class Databases:
    """A running server."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._numbers = itertools.count(1)

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """The URL of a migrated database with nothing in it, which is gone afterwards."""
        with self._copy(_TEMPLATE) as url:
            yield url

    @contextmanager
    def empty(self) -> Iterator[str]:
        """The URL of a database without any schema of ours, which is gone afterwards."""
        with self._copy("template1") as url:
            yield url

    @contextmanager
    def _copy(self, template: str) -> Iterator[str]:
        name = sql.Identifier(f"round_{next(self._numbers)}")
        with psycopg.connect(self._server.url(), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(name, sql.Identifier(template)))
            # What the round before left to be written is not this round's work.
            connection.execute("CHECKPOINT")
        try:
            yield self._server.url(name.as_string().strip('"'))
        finally:
            with psycopg.connect(self._server.url(), autocommit=True) as connection:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@contextmanager
def databases() -> Iterator[Databases]:
    """Starts a server that writes as durably as the embedded one, and removes it with all that it holds.

    Raises:
        CannotMeasure: it did not start.
    """
    with tempfile.TemporaryDirectory(prefix="maap-stac-bench-") as folder:
        try:
            server = PostgresServer.create(Path(folder), port=_free_port())
            process = server.start(log=Path(folder, "postgres.log"), die_with_parent=True)
        except PostgresError as error:
            raise CannotMeasure(str(error)) from error
        try:
            with psycopg.connect(server.url(), autocommit=True) as connection:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_TEMPLATE)))
            migrate_database(server.url(_TEMPLATE))
            yield Databases(server)
        finally:
            server.stop(process)
            server.destroy()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
