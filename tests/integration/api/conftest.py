"""The application as a server: uvicorn on a port of its own, over a fresh database and an object store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
import uvicorn

from maap_stac_orchestration.api.app import create_app
from maap_stac_orchestration.settings import Settings
from tests.conftest import MotoStore, free_port


@dataclass(frozen=True, slots=True)
class Api:
    """A running application."""

    url: str

    def get(self, path: str, **parameters: Any) -> requests.Response:
        """GET with query parameters."""
        return requests.get(self.url + path, params=parameters, timeout=30)


@pytest.fixture
def start_api() -> Iterator[Callable[..., Api]]:
    """Starts applications with given settings; stops them after the test."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(**settings: Any) -> Api:
        port = free_port()
        server = uvicorn.Server(
            uvicorn.Config(create_app(Settings(**settings)), host="127.0.0.1", port=port, log_level="warning")
        )
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        running.append((server, thread))
        while not server.started:
            assert thread.is_alive(), "the application did not start"
            time.sleep(0.02)
        return Api(f"http://127.0.0.1:{port}")

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the application did not stop"


@pytest.fixture
def api(database_env: dict[str, str], object_store: MotoStore, start_api: Callable[..., Api]) -> Api:
    """An application with everything that it needs."""
    return start_api(buckets=(object_store.bucket,), dagster_url="http://dagster.test")
