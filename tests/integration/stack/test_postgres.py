"""The embedded PostgreSQL: found, made, taken up again, prepared; each thing in its way is one sentence."""

from __future__ import annotations

import socket
from pathlib import Path

import psycopg
import pytest

from maap_stac_orchestration.stack import postgres
from maap_stac_orchestration.stack.postgres import (
    OtherMajorVersion,
    PortTaken,
    PostgisMissing,
    PostgresServer,
    find_binaries,
    migrate_database,
    prepare_database,
)
from tests.conftest import MotoStore, free_port


def test_the_server_listens_on_the_loopback_address_only(postgres_server: PostgresServer) -> None:
    with psycopg.connect(postgres_server.url()) as connection:
        settings = {
            name: connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
            for name in ("listen_addresses", "unix_socket_directories", "max_locks_per_transaction", "server_encoding")
        }
    assert settings == {
        "listen_addresses": ("127.0.0.1",),
        "unix_socket_directories": ("",),
        "max_locks_per_transaction": ("1024",),
        "server_encoding": ("UTF8",),
    }


def test_nobody_comes_in_without_the_password(postgres_server: PostgresServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(host="127.0.0.1", port=postgres_server.port, user="postgres", password="guessed")


def test_preparing_creates_both_databases_and_does_nothing_the_second_time(postgres_server: PostgresServer) -> None:
    for _ in range(2):
        prepare_database(postgres_server.url(), "prepared", others=("prepared_dagster",))
    with psycopg.connect(postgres_server.url("prepared")) as connection:
        assert connection.execute("SELECT get_version() IS NOT NULL").fetchone() == (True,)
        assert connection.execute("SHOW search_path").fetchone() == ("pgstac, public",)
    with psycopg.connect(postgres_server.url("prepared_dagster")) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)


def test_databases_are_copies_of_the_migrated_one(connection: psycopg.Connection) -> None:
    assert connection.execute("SELECT count(*) FROM pgstac.collections").fetchone() == (0,)


def test_migrating_an_empty_database_twice_changes_nothing_the_second_time(empty_database: str) -> None:
    migrate_database(empty_database)
    migrate_database(empty_database)


class TestCreate:
    """On clusters of their own, each made and removed by the test."""

    @pytest.fixture
    def home(self, tmp_path: Path):
        yield tmp_path / "home"
        record = tmp_path / "home" / "postgres.data"
        if record.exists():
            PostgresServer(find_binaries(), Path(record.read_text().strip()), 1, "").destroy()

    def test_a_cluster_is_taken_up_again_with_its_data_and_password(self, home: Path, tmp_path: Path) -> None:
        first = PostgresServer.create(home, port=free_port(), durable=False)
        process = first.start(log=tmp_path / "log", die_with_parent=True)
        with psycopg.connect(first.url(), autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        first.stop(process)
        second = PostgresServer.create(home, port=free_port(), durable=True)
        process = second.start(log=tmp_path / "log", die_with_parent=True)
        try:
            with psycopg.connect(second.url()) as connection:
                assert connection.execute("SELECT one FROM kept").fetchone() == (1,)
                assert connection.execute("SHOW fsync").fetchone() == ("on",)
        finally:
            second.stop(process)
        assert second.password == first.password

    def test_the_rest_of_an_interrupted_initdb_is_wiped(self, home: Path, tmp_path: Path) -> None:
        server = PostgresServer.create(home, port=free_port(), durable=False)
        (server.data_dir / postgres._MARKER).unlink()
        (server.data_dir / "PG_VERSION").unlink()
        again = PostgresServer.create(home, port=free_port(), durable=False)
        process = again.start(log=tmp_path / "log", die_with_parent=True)
        again.stop(process)
        assert again.data_dir == server.data_dir

    def test_data_of_a_major_version_that_is_not_installed_are_left_alone(self, home: Path) -> None:
        server = PostgresServer.create(home, port=free_port(), durable=False)
        (server.data_dir / "PG_VERSION").write_text("9\n")
        with pytest.raises(OtherMajorVersion, match="made by PostgreSQL 9, but only"):
            PostgresServer.create(home, port=free_port())
        assert (server.data_dir / "base").is_dir()

    def test_a_taken_port_is_one_sentence(self, home: Path, tmp_path: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            server = PostgresServer.create(home, port=taken.getsockname()[1], durable=False)
            with pytest.raises(PortTaken, match=f"Port {server.port} .* is taken: .*--port-base"):
                server.start(log=tmp_path / "log")


def test_without_postgresql_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_candidate_folders", lambda: iter(()))
    with pytest.raises(PostgisMissing, match="apt-get install postgresql-postgis"):
        find_binaries()


def test_without_postgis_the_error_names_the_package_of_that_version(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = find_binaries()
    monkeypatch.setattr(postgres, "_has_postgis", lambda folder, major: False)
    with pytest.raises(PostgisMissing, match=f"postgresql-{installed.major}-postgis-3"):
        find_binaries()


def test_each_test_gets_an_empty_object_store(object_store: MotoStore) -> None:
    object_store.put("a", b"x")
    listed = object_store.client().list_objects_v2(Bucket=object_store.bucket)
    assert [entry["Key"] for entry in listed["Contents"]] == ["a"]


def test_and_the_next_test_finds_nothing_of_it(object_store: MotoStore) -> None:
    assert object_store.client().list_objects_v2(Bucket=object_store.bucket)["KeyCount"] == 0
