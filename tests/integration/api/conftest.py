"""The application as a server: uvicorn on a port of its own, over a fresh database and an object store."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import requests
import uvicorn
from psycopg import sql

from maap_stac_orchestration.api.app import create_app
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.stack.postgres import PostgresServer
from tests.conftest import MotoStore, copy_database, free_port


@dataclass(frozen=True, slots=True)
class Api:
    """A running application."""

    url: str

    def get(self, path: str, **parameters: Any) -> requests.Response:
        """GET with query parameters."""
        return requests.get(self.url + path, params=parameters, timeout=30)


@contextmanager
def running(**settings: Any) -> Iterator[Api]:
    """An application with given settings, over what os.environ points at."""
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(create_app(Settings(**settings)), host="127.0.0.1", port=port, log_level="warning")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the application did not start"
            time.sleep(0.02)
        yield Api(f"http://127.0.0.1:{port}")
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the application did not stop"


@pytest.fixture
def start_api() -> Iterator[Callable[..., Api]]:
    """Starts applications with given settings; stops them after the test."""
    with ExitStack() as started:
        yield lambda **settings: started.enter_context(running(**settings))


@pytest.fixture(scope="module")
def shared_database(postgres_server: PostgresServer, migrated: str) -> Iterator[str]:
    """The URL of a fresh database for all tests of a module, which only read; os.environ points at it."""
    name = f"api_{uuid4().hex[:12]}"
    with psycopg.connect(postgres_server.url(), autocommit=True) as connection, pytest.MonkeyPatch.context() as patch:
        copy_database(connection, postgres_server, migrated, name)
        for stray in [variable for variable in os.environ if variable.startswith("PG")]:
            patch.delenv(stray)
        for variable, value in postgres_server.client_environment(name).items():
            patch.setenv(variable, value)
        try:
            yield postgres_server.url(name)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def shared_api(shared_database: str) -> Iterator[Api]:
    """An application over `shared_database`, for tests that only read and need no object store."""
    with running(buckets=("maap-ops-workspace",), dagster_url="http://dagster.test") as api:
        yield api


@pytest.fixture
def api(database_env: dict[str, str], object_store: MotoStore, start_api: Callable[..., Api]) -> Api:
    """An application with everything that it needs, of the test's own."""
    return start_api(buckets=(object_store.bucket,))
