"""The tiler's role in the database: it reads pgstac, and nothing else of it or of the server."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from maap_stac_orchestration.stack.tiler_role import ROLE, ensure_tiler_role
from maap_stac_orchestration.tiler.database import connection_options
from maap_stac_orchestration.tiler.settings import TilerSettings

PASSWORD = "first"


@pytest.fixture
def other_database(postgres_server):
    """Another database of the server with a table, as Dagster's is."""
    name = "beside_the_tiler"
    with psycopg.connect(postgres_server.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    with psycopg.connect(postgres_server.url(name)) as connection:
        connection.execute("CREATE TABLE runs (id int)")
    yield name
    with psycopg.connect(postgres_server.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(autouse=True)
def item(database):
    """A collection with an item."""
    with psycopg.connect(database) as connection:
        connection.execute("SELECT pgstac.create_collection(%s::jsonb)", (Jsonb({"id": "fires", "extent": {}}),))
        document = {
            "id": "one",
            "collection": "fires",
            "geometry": {"type": "Point", "coordinates": [0, 0]},
            "properties": {"datetime": "2024-01-01T00:00:00Z"},
        }
        connection.execute("SELECT pgstac.create_item(%s::jsonb)", (Jsonb(document),))


@pytest.fixture
def as_tiler(postgres_server, database, other_database):
    """Connects as the role, to the database of the test or another one."""
    ensure_tiler_role(database, PASSWORD, closed=(other_database,))
    here = database.rsplit("/", 1)[1]
    opened = []

    def connect(name: str = here, password: str = PASSWORD) -> psycopg.Connection:
        opened.append(
            psycopg.connect(
                host="127.0.0.1",
                port=postgres_server.port,
                dbname=name,
                user=ROLE,
                password=password,
                autocommit=True,
            )
        )
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


def test_it_searches_and_registers_what_a_mosaic_is_of(as_tiler):
    connection = as_tiler()
    found = connection.execute('SELECT search(\'{"collections": ["fires"]}\')').fetchone()
    assert [feature["id"] for feature in found[0]["features"]] == ["one"]
    row = connection.execute('SELECT hash FROM search_query(\'{"collections": ["fires"]}\')').fetchone()
    assert connection.execute("SELECT count(*) FROM searches WHERE hash = %s", row).fetchone() == (1,)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO pgstac.items (id, collection, geometry, datetime, end_datetime, content)"
        " VALUES ('two', 'fires', 'POINT(0 0)', now(), now(), '{}')",
        "UPDATE pgstac.items SET content = '{}'",
        "DELETE FROM pgstac.items",
        "TRUNCATE pgstac.items",
        "UPDATE pgstac.collections SET content = '{}'",
        "DELETE FROM pgstac.collections",
        "SELECT pgstac.delete_item('one', 'fires')",
        "SELECT pgstac.delete_collection('fires')",
        'SELECT pgstac.create_collection(\'{"id": "floods"}\')',
        "SELECT pgstac.repartition('fires', 'month')",
        "DELETE FROM pgstac.searches",
        "UPDATE pgstac.pgstac_settings SET value = 'true' WHERE name = 'readonly'",
        "SELECT * FROM ledger.job",
        "SELECT * FROM ledger.token",
        "CREATE TABLE public.mine (id int)",
        "CREATE TABLE pgstac.mine (id int)",
        "SELECT pg_read_file('/etc/passwd')",
        "COPY pgstac.collections TO PROGRAM 'cat'",
        "SET ROLE pgstac_ingest",
        "SET ROLE postgres",
    ],
)
def test_it_may_do_nothing_else(as_tiler, statement):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_tiler().execute(statement)


def test_it_cannot_get_into_other_databases(as_tiler, other_database):
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        as_tiler(other_database)


def test_making_it_again_gives_it_another_password_and_takes_what_it_should_not_have(as_tiler, database):
    with psycopg.connect(database) as connection:
        connection.execute(sql.SQL("GRANT pgstac_ingest TO {}").format(sql.Identifier(ROLE)))
        connection.execute(sql.SQL("ALTER ROLE {} CREATEDB").format(sql.Identifier(ROLE)))
    ensure_tiler_role(database, "second")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        as_tiler()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_tiler(password="second").execute("DELETE FROM pgstac.items")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_tiler(password="second").execute("CREATE DATABASE mine")


def test_without_a_role_of_its_own_the_tiler_gives_up_what_it_could_do(database):
    """Even a superuser's connection writes nothing then."""
    with psycopg.connect(database, **connection_options(TilerSettings(pguser=None)), autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM items").fetchone() == (1,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM items")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM ledger.job")
