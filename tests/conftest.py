"""The real things that tests run against: a PostgreSQL server with PostGIS, and S3 over HTTP.

Here belong fixtures that several test packages use. The server is one throwaway cluster per test process, the object
store one moto server per test process; each test gets a fresh database and an empty store. A test that needs PostGIS is
not skipped where that is missing: it fails with the sentence on what to install.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import random
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from psycopg import sql

from maap_stac_orchestration.stack.launch import holder
from maap_stac_orchestration.stack.postgres import PostgresServer, migrate_database

# How long one generated example takes says nothing on a machine that does other work too. In continuous integration the
# examples are the same each time, so that what turns red there turned red by a change; new ones are tried by people.
hypothesis_settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.register_profile("same", hypothesis_settings.get_profile("patient"), derandomize=True)
hypothesis_settings.load_profile("same" if os.environ.get("CI") else "patient")

pytest_plugins = ["tests.workers"]

#: The database that tests' databases are copied from.
TEMPLATE = "migrated"
BUCKET = "maap-ops-workspace"

#: Where files lie in memory, on Linux; bytes that must be free there; the names of our folders in it.
MEMORY = Path("/dev/shm")
ROOM = 4 * 2**30
CLUSTER = "maap-stac-tests-"

_numbers = itertools.count(1)
#: Hypothesis sets the usual one to the same in each process.
_chance = random.SystemRandom()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago.

    Not one of those that the system gives to whoever asks for any: it might give the same to a connection, or to a test
    in another process, before the server that it is meant for has started.
    """
    while True:
        port = _chance.randrange(10_000, 20_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A running throwaway server with fsync off; `url(database)` addresses its databases, as superuser."""
    folder = tmp_path_factory.mktemp("postgres")
    with in_memory() as memory:
        server = PostgresServer.create(memory or folder, port=free_port(), durable=False)
        process = server.start(log=folder / "postgres.log", die_with_parent=True)
        try:
            yield server
        finally:
            server.stop(process)
            server.destroy()


@contextlib.contextmanager
def in_memory() -> Iterator[Path | None]:
    """A new home, removed afterwards, for a server whose data lie in memory; None where there is not enough of it.

    More than a thousand tests get a database of 18 MB each. Where those lay on a disk, the kernel was at work for 137 s
    of tests/integration/ledger, the tests themselves for 47 s; here it is 19 s.
    """
    if not os.access(MEMORY, os.W_OK | os.X_OK) or shutil.disk_usage(MEMORY).free < ROOM:
        yield None
        return
    for left in MEMORY.glob(f"{CLUSTER}*"):
        # Of a run that was killed; a folder without a lock may be one that is being made.
        with contextlib.suppress(OSError):
            if holder(left / "lock") is None and time.time() - left.stat().st_mtime > 600:
                shutil.rmtree(left)
    home = Path(tempfile.mkdtemp(prefix=CLUSTER, dir=MEMORY))
    try:
        # The server may run as another user.
        home.chmod(0o755)
        (home / "postgres.data").write_text(str(home / "data"))
        with (home / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Whoever holds a lock is known by the process id in it.
            print(os.getpid(), file=lock, flush=True)
            yield home
    finally:
        shutil.rmtree(home)


@pytest.fixture(scope="session")
def migrated(postgres_server: PostgresServer) -> str:
    """The name of a database with pgstac and the ledger migrated, only to be copied from."""
    with psycopg.connect(postgres_server.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    migrate_database(postgres_server.url(TEMPLATE))
    return TEMPLATE


@pytest.fixture
def empty_database(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a fresh database with nothing in it; dropped after the test."""
    yield from _database(postgres_server, "template1")


@pytest.fixture
def database(postgres_server: PostgresServer, migrated: str) -> Iterator[str]:
    """The URL of a fresh database with pgstac and the ledger migrated; dropped after the test, whoever is connected."""
    yield from _database(postgres_server, migrated)


def copy_database(
    connection: psycopg.Connection[tuple[Any, ...]], server: PostgresServer, template: str, name: str
) -> None:
    """Makes a database as a copy of another one, to which nobody is connected."""
    # By default every page is written to the log too, which takes more than twice as long.
    strategy = sql.SQL("STRATEGY FILE_COPY" if server.binaries.major >= 15 else "")
    connection.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE {} {}").format(sql.Identifier(name), sql.Identifier(template), strategy)
    )
    # Settings of a database (the search path of pgstac) are not copied with it.
    connection.execute(sql.SQL("ALTER DATABASE {} SET search_path = pgstac, public").format(sql.Identifier(name)))


def _database(server: PostgresServer, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        copy_database(connection, server, template, name)
        try:
            yield server.url(name)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def database_env(postgres_server: PostgresServer, database: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The fresh database of `database`, with libpq's PG* variables set to it in os.environ; gives those variables."""
    name = database.rsplit("/", 1)[1]
    variables = postgres_server.client_environment(name)
    for stray in [variable for variable in os.environ if variable.startswith("PG")]:
        monkeypatch.delenv(stray)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    return variables


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """An open connection to the fresh database; not in autocommit, as the ledger's functions expect it."""
    with psycopg.connect(database) as opened:
        yield opened


@dataclass(frozen=True, slots=True)
class MotoStore:
    """An S3, SNS and SQS server over HTTP with one bucket."""

    #: http://127.0.0.1:PORT
    endpoint: str
    bucket: str

    def client(self, service: str = "s3") -> Any:
        """A boto3 client of one of its services."""
        import boto3

        return boto3.client(service, endpoint_url=self.endpoint)  # type: ignore[call-overload]

    def put(self, key: str, body: bytes, bucket: str | None = None) -> None:
        """Writes an object."""
        self.client().put_object(Bucket=bucket or self.bucket, Key=key, Body=body)

    def put_folder(self, folder: Path, prefix: str = "") -> list[str]:
        """Writes every file of a folder as an object; gives the keys."""
        s3 = self.client()
        keys = []
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            key = prefix + path.relative_to(folder).as_posix()
            s3.put_object(Bucket=self.bucket, Key=key, Body=path.read_bytes())
            keys.append(key)
        return keys


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    """The address of moto's server; use `object_store`, which empties it for each test."""
    # Half a second to import, which pure tests need not wait for.
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture
def aws_environment(moto_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Sets AWS_* in os.environ so that every AWS client talks to moto; gives those variables."""
    for stray in [variable for variable in os.environ if variable.startswith("AWS_")]:
        monkeypatch.delenv(stray)
    variables = {
        "AWS_ENDPOINT_URL": moto_endpoint,
        "AWS_REGION": "us-west-2",
        "AWS_DEFAULT_REGION": "us-west-2",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    return variables


@pytest.fixture
def object_store(aws_environment: dict[str, str]) -> MotoStore:
    """S3, SNS and SQS over HTTP, empty but for the bucket `maap-ops-workspace`, with AWS_* set in os.environ."""
    from urllib.request import Request, urlopen

    store = MotoStore(aws_environment["AWS_ENDPOINT_URL"], BUCKET)
    with urlopen(Request(f"{store.endpoint}/moto-api/reset", method="POST"), timeout=10) as answer:
        answer.read()
    store.client().create_bucket(
        Bucket=store.bucket, CreateBucketConfiguration={"LocationConstraint": aws_environment["AWS_REGION"]}
    )
    return store
