"""The ledger's schema comes about from nothing, once, however many start at the same time."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import run

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from maap_stac_orchestration.ledger import migrate as migration
from maap_stac_orchestration.ledger.connection import DatabaseUnavailable, connect
from maap_stac_orchestration.ledger.migrate import current, head, migrate
from tests.conftest import free_port


def test_it_migrates_from_nothing_and_has_nothing_to_do_the_second_time(empty_database: str) -> None:
    with psycopg.connect(empty_database) as connection:
        assert current(connection) is None
    assert migrate(empty_database) is True
    assert migrate(empty_database) is False
    with psycopg.connect(empty_database) as connection:
        assert current(connection) == head()
        assert connection.execute("SELECT count(*) FROM ledger.job").fetchone() == (0,)


def test_a_ledger_of_the_first_version_keeps_what_it_holds(empty_database: str) -> None:
    first = Path(migration.__file__).parent / "migrations" / "versions" / "v0001_ledger.sql"
    with psycopg.connect(empty_database) as connection:
        connection.execute("CREATE SCHEMA ledger")
        connection.execute(first.read_text().encode())
        connection.execute("CREATE TABLE ledger.migration (version_num varchar(32) PRIMARY KEY)")
        connection.execute("INSERT INTO ledger.migration VALUES ('v0001')")
        connection.execute(
            "INSERT INTO ledger.job (bucket, prefix, day, job_time, username, algorithm, version, due_at,"
            " catalog_modified) VALUES ('b', 'ana/', '2026-01-01', now(), 'ana', 'flood', 'v1', now(), now())"
        )
        connection.execute(
            "INSERT INTO ledger.decision (job_id, username, algorithm, version, requested, code, outcome, rule,"
            " message, registry_version)"
            " VALUES (1, 'ana', 'flood', 'v1', %s, 'invalid_name', 'fallback', 'r', 'm', 'none')",
            # Longer than an index takes.
            ("Water " * 600,),
        )
        connection.execute("INSERT INTO ledger.collection (id, owner) VALUES ('ana--floods', 'ana')")
    assert migrate(empty_database) is True
    with psycopg.connect(empty_database) as connection:
        assert current(connection) == head()
        assert connection.execute("SELECT username, code FROM ledger.decision").fetchall() == [("ana", "invalid_name")]
        # Nobody can tell any more which of its words a person wrote, so none of them is taken for a machine's.
        kept = connection.execute("SELECT owner, described, deleted_at FROM ledger.collection").fetchall()
        assert kept == [("ana", {}, None)]


def test_those_who_migrate_at_once_wait_for_each_other(empty_database: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(migrate, [empty_database] * 4)) == [False, False, False, True]


def test_a_migration_that_breaks_leaves_nothing_behind(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        # In the way of the last table but one.
        connection.execute("CREATE SCHEMA ledger; CREATE TABLE ledger.collection (x int)")
        with pytest.raises(Exception, match="already exists"):
            migrate(empty_database)
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'ledger'").fetchall()
        assert tables == [("collection",)]
        connection.execute("DROP TABLE ledger.collection")
    assert migrate(empty_database) is True


def test_the_revision_in_the_file_names_is_the_one_that_alembic_comes_to() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migration.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == head()


def test_finding_nothing_to_do_loads_no_alembic(database: str) -> None:
    asked = run(
        [
            sys.executable,
            "-c",
            "import sys; from maap_stac_orchestration.ledger.migrate import migrate;"
            "print(migrate(sys.argv[1]), 'alembic' in sys.modules)",
            database,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert asked.stdout.split() == ["False", "False"]


def test_a_database_that_is_not_there_is_one_sentence() -> None:
    port = free_port()
    with pytest.raises(
        DatabaseUnavailable, match=rf"stac at 127\.0\.0\.1, port {port}, cannot be reached: .*maap-stac up"
    ):
        connect(f"postgresql://ana:secret@127.0.0.1:{port}/stac")


def test_the_sentence_does_not_tell_the_password() -> None:
    with pytest.raises(DatabaseUnavailable) as refused:
        connect(f"postgresql://ana:secret@127.0.0.1:{free_port()}/stac")
    assert "secret" not in str(refused.value)


def test_a_connection_speaks_utc(database: str) -> None:
    with connect(database) as connection:
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)
