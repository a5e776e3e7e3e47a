"""The tiler as a process of its own, over a real database that it reads with its own role, and an object store.

Both are reached through gates, which tests close and open again. It is started before its database is there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
import requests
from psycopg import sql
from psycopg.types.json import Jsonb
from rasterio.io import MemoryFile

from maap_stac_orchestration.demo.jobs import Box, DemoJob, Layout
from maap_stac_orchestration.demo.outputs import output_files
from maap_stac_orchestration.stack.postgres import PostgresServer
from maap_stac_orchestration.stack.tiler_role import ROLE, ensure_tiler_role
from tests.conftest import copy_database, free_port
from tests.integration.tiler.gate import Gate

BUCKET = "maap-ops-workspace"
COLLECTION = "henrydevseed__HLSCloudFreeTemporalMosaic__v0.1.1__demo"
DATABASE = "tiler"
PASSWORD = "only-for-tests"
#: Seconds that the tiler remembers things here.
CACHE_SECONDS = 1
COLORS = {"assets": ["red", "green", "blue"], "rescale": "0,3000"}


@dataclass
class Tiler:
    """A running tiler, and what it reads."""

    url: str
    #: The database with pgstac, as superuser.
    database_url: str
    store_endpoint: str
    database_gate: Gate
    store_gate: Gate
    log: Path
    #: What it said of itself before its database was there.
    first_health: requests.Response | None = None
    _numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 10_000)))

    def get(self, path: str, **parameters: Any) -> requests.Response:
        """GET of a path below its address."""
        return requests.get(self.url + path, params=parameters, timeout=60)

    def image(self, path: str, **parameters: Any) -> Any:
        """A picture as an array: bands, rows, columns, its last band the mask."""
        answer = self.get(path, **(COLORS | parameters))
        assert answer.status_code == 200, answer.text
        with MemoryFile(answer.content) as file, file.open() as opened:
            return opened.read()

    def put(self, key: str, data: bytes) -> str:
        """Writes an object; gives its address."""
        s3 = boto3.client(
            "s3",
            endpoint_url=self.store_endpoint,
            region_name="us-west-2",
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )
        s3.put_object(Bucket=BUCKET, Key=key, Body=data)
        return f"s3://{BUCKET}/{key}"

    def new_collection(self) -> str:
        """Makes an empty collection of the whole world; gives its id."""
        id = f"collection-{next(self._numbers)}"
        self.create_collection(id)
        return id

    def create_collection(self, id: str) -> None:
        """Makes an empty collection of the whole world."""
        extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
        document = {
            "type": "Collection",
            "stac_version": "1.1.0",
            "id": id,
            "description": id,
            "license": "other",
            "extent": extent,
            "links": [],
        }
        self._call("create_collection", document)

    def put_item(self, document: dict[str, Any]) -> None:
        """Writes an item, or writes it anew."""
        self._call("upsert_item", document)

    def _call(self, function: str, document: dict[str, Any]) -> None:
        with psycopg.connect(self.database_url) as connection:
            connection.execute(
                sql.SQL("SELECT pgstac.{}(%s::jsonb)").format(sql.Identifier(function)), (Jsonb(document),)
            )

    def put_outputs(self, job: DemoJob, collection: str = COLLECTION, *, folder: str | None = None) -> dict[str, Any]:
        """Writes what a job of the demo writes, and its item as it is ingested; gives the item."""
        prefix = f"henrydevseed/dps_output/{folder or job.item_id}"
        document: dict[str, Any] = {}
        for file in output_files(job, datetime(2025, 1, 1, tzinfo=UTC)):
            if file.name.endswith(".tif"):
                self.put(f"{prefix}/{file.name}", file.data)
            elif file.name.endswith(f"{job.item_id}.json"):
                document = json.loads(file.data)
        document |= {"collection": collection, "links": []}
        for name, asset in document["assets"].items():
            asset["href"] = f"s3://{BUCKET}/{prefix}/{name}.tif"
        self.put_item(document)
        return document


def job(column: int, row: int, month: int) -> DemoJob:
    """A job of the demo, in a box of the grid."""
    return DemoJob(Box(column, row), 2024, month, next(iter(Layout)))


@pytest.fixture(scope="package")
def tiler(postgres_server: PostgresServer, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiler]:
    """One for all tests of this package: each makes a collection of its own, or reads the demo's."""
    folder = tmp_path_factory.mktemp("tiler")
    with psycopg.connect(postgres_server.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(DATABASE)))
        copy_database(connection, postgres_server, migrated, DATABASE)
    database_url = postgres_server.url(DATABASE)
    ensure_tiler_role(database_url, PASSWORD)
    store_port, port = free_port(), free_port()
    endpoint = f"http://127.0.0.1:{store_port}"
    database_gate, store_gate = Gate("127.0.0.1", postgres_server.port), Gate.to(endpoint)
    database_gate.close()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "AWS_", "MAAP_"))}
    environment |= {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(database_gate.port),
        "PGDATABASE": DATABASE,
        "MAAP_STAC_TILER_PGUSER": ROLE,
        "MAAP_STAC_TILER_PGPASSWORD": PASSWORD,
        "MAAP_STAC_TILER_CACHE_SECONDS": str(CACHE_SECONDS),
        "MAAP_STAC_BUCKETS": BUCKET,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{store_gate.port}",
        "AWS_REGION": "us-west-2",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_EC2_METADATA_DISABLED": "true",
        "GDAL_HTTP_MAX_RETRY": "0",
    }
    module = "maap_stac_orchestration.stack.object_store"
    store = _run(
        folder / "store.log",
        environment,
        "-m",
        module,
        "--folder",
        folder / "objects",
        "--port",
        store_port,
        "--bucket",
        BUCKET,
    )
    server = _run(
        folder / "tiler.log",
        environment,
        *("-m", "uvicorn", "--factory", "maap_stac_orchestration.tiler.app:create_app"),
        *("--host", "127.0.0.1", "--port", port, "--no-access-log", "--log-config", _log_config()),
    )
    made = Tiler(f"http://127.0.0.1:{port}", database_url, endpoint, database_gate, store_gate, folder / "tiler.log")
    try:
        _wait(f"{endpoint}/_health", store, folder / "store.log")
        _wait(f"{made.url}/_mgmt/ping", server, made.log)
        made.first_health = made.get("/healthz")
        database_gate.open = True
        made.create_collection(COLLECTION)
        yield made
    finally:
        for process in (server, store):
            process.terminate()
        for process in (server, store):
            process.wait(30)
        for gate in (database_gate, store_gate):
            gate.remove()
        with psycopg.connect(postgres_server.url(), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(DATABASE)))


@pytest.fixture(scope="package")
def demo(tiler: Tiler) -> dict[tuple[int, int, int], dict[str, Any]]:
    """Items of the demo in its collection, by column, row and month: one box in two months, and its neighbour."""
    return {key: tiler.put_outputs(job(*key)) for key in ((1, 10, 7), (1, 10, 10), (2, 10, 7))}


def _log_config() -> Path:
    import maap_stac_orchestration.api

    return Path(maap_stac_orchestration.api.__file__).with_name("log_config.json")


def _run(log: Path, environment: dict[str, str], *arguments: object) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, *map(str, arguments)], env=environment, stdout=output, stderr=output, cwd=log.parent
        )


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if requests.get(url, timeout=10).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.1)
    pytest.fail(f"{url} did not answer: {log.read_text()[-2000:]}")


def eventually(found: Any, *, seconds: float = 60) -> Any:
    """The first true value that a function gives, asked again and again."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.2)
    return value
