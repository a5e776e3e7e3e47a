"""PostgreSQL with PostGIS for the local stack: finds it, makes a cluster, runs it, and prepares the databases in it.

Here belongs everything about the server as a program and about databases as such. Not here: the tables of the ledger
(`ledger.migrate`), the processes beside it (the other modules of `stack`), and servers that somebody else runs, of
which only `prepare_database` takes care.
"""

# ruff: noqa: S603 -- the programs that are run here are PostgreSQL's own, from the folders that are looked into

from __future__ import annotations

import contextlib
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import sql

__all__ = [
    "STOP_SIGNAL",
    "Binaries",
    "OtherMajorVersion",
    "PortTaken",
    "PostgisMissing",
    "PostgresError",
    "PostgresServer",
    "ServerUserMissing",
    "find_binaries",
    "migrate_database",
    "prepare_database",
]

#: What asks the server to stop without waiting for its clients ("fast shutdown"); SIGTERM would wait for all of them.
STOP_SIGNAL = signal.SIGINT

_SUPERUSER = "postgres"
#: The unprivileged user that runs the server where we are root, which PostgreSQL refuses; Debian's package creates it.
_SERVER_USER = "postgres"
#: Where data lie then: that user can go neither into /root nor into other private folders.
_ROOTS_DATA = Path("/var/lib/maap-stac")
#: Written when a cluster is complete: a folder without it is the rest of an interrupted initdb.
_MARKER = "maap-stac.complete"
_CONFIG = "maap-stac.conf"

#: Candidates beside PATH: Debian and Ubuntu, Homebrew on both processors, the distribution of postgresql.org.
_PLACES = (
    "/usr/lib/postgresql/*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
    "/usr/pgsql-*/bin",
)


class PostgresError(Exception):
    """The embedded database cannot be used; the message is one sentence that says what to do."""


class PostgisMissing(PostgresError):
    """There is no PostgreSQL with PostGIS on this machine."""


class PortTaken(PostgresError):
    """Something else listens on the port that the server was given."""


class OtherMajorVersion(PostgresError):
    """The data were made by a major version of PostgreSQL that is not installed."""


class ServerUserMissing(PostgresError):
    """We are root, and there is no unprivileged user that could run the server."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """An installation of PostgreSQL that has PostGIS."""

    folder: Path
    #: Major version, for example 15.
    major: int

    def path(self, program: str) -> str:
        """The path of one of its programs."""
        return str(self.folder / program)


def find_binaries(major: int | None = None) -> Binaries:
    """The newest PostgreSQL on this machine that has PostGIS, or the one of a certain major version.

    Raises:
        PostgisMissing: there is none; names the package to install.
    """
    without_postgis: list[int] = []
    found: list[Binaries] = []
    for folder in _candidate_folders():
        version = _major_version(folder)
        if version is None:
            continue
        if _has_postgis(folder, version):
            found.append(Binaries(folder, version))
        else:
            without_postgis.append(version)
    fitting = [one for one in found if major in (None, one.major)]
    if fitting:
        return max(fitting, key=lambda one: one.major)
    if without_postgis and major is None:
        newest = max(without_postgis)
        raise PostgisMissing(
            f"PostgreSQL {newest} is installed without PostGIS: install it with "
            f"`apt-get install postgresql-{newest}-postgis-3` (Debian, Ubuntu) or `brew install postgis` (macOS)."
        )
    wanted = f"PostgreSQL {major}" if major else "PostgreSQL"
    raise PostgisMissing(
        f"{wanted} with PostGIS is not installed: install it with `apt-get install postgresql-postgis` "
        "(Debian, Ubuntu) or `brew install postgis` (macOS), or set PGHOST and PGDATABASE to a database that has it."
    )


def _candidate_folders() -> Iterator[Path]:
    seen: set[Path] = set()
    on_path = [Path(part) for part in os.environ.get("PATH", "").split(os.pathsep) if part]
    listed = [folder for place in _PLACES for folder in Path("/").glob(place.lstrip("/"))]
    for folder in [*listed, *on_path]:
        program = folder / "postgres"
        if not program.exists():
            continue
        # /usr/local/bin/postgres is often a link into the real folder, beside which initdb lies.
        real = program.resolve().parent
        if real not in seen and (real / "initdb").exists():
            seen.add(real)
            yield real


def _major_version(folder: Path) -> int | None:
    asked = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False)
    match = re.search(r"\(PostgreSQL\) (\d+)", asked.stdout)
    return int(match[1]) if match else None


def _has_postgis(folder: Path, major: int) -> bool:
    shares = [Path(f"/usr/share/postgresql/{major}"), folder.parent / "share", folder.parent / "share" / "postgresql"]
    if (folder / "pg_config").exists():
        asked = subprocess.run([folder / "pg_config", "--sharedir"], capture_output=True, text=True, check=False)
        if asked.returncode == 0 and asked.stdout.strip():
            shares = [Path(asked.stdout.strip())]
    return any((share / "extension" / "postgis.control").exists() for share in shares)


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A cluster that is complete and can be run. Made by `create`."""

    binaries: Binaries
    data_dir: Path
    port: int
    password: str
    #: The user who runs it; None where that is us.
    run_as: str | None = None

    user: str = _SUPERUSER

    @classmethod
    def create(cls, home: Path, *, port: int, durable: bool = True) -> PostgresServer:
        """Makes the cluster of this home folder, or takes up the one that is there.

        Args:
            home: folder of the local stack; keeps the password and where the data are.
            port: TCP port on 127.0.0.1.
            durable: False trades safety against a power cut for speed; only for throwaway clusters.

        Raises:
            PostgisMissing, OtherMajorVersion, ServerUserMissing, PostgresError: see there.
        """
        home.mkdir(parents=True, exist_ok=True)
        run_as = _server_user()
        data_dir = _data_dir(home, run_as)
        password_file = home / "postgres.password"
        if (data_dir / _MARKER).exists():
            if not password_file.exists():
                raise PostgresError(
                    f"The password of the database in {data_dir} should lie in {password_file} and does not: put it "
                    f"back, or remove both {data_dir} and {home} to start afresh."
                )
            made_by = int((data_dir / "PG_VERSION").read_text().strip())
            try:
                binaries = find_binaries(made_by)
            except PostgisMissing:
                other = find_binaries()
                raise OtherMajorVersion(
                    f"The data in {data_dir} were made by PostgreSQL {made_by}, but only {other.major} is installed: "
                    f"install postgresql-{made_by} with PostGIS, or remove {home} to start afresh."
                ) from None
            server = cls(binaries, data_dir, port, password_file.read_text().strip(), run_as)
        else:
            server = cls(find_binaries(), data_dir, port, secrets.token_urlsafe(24), run_as)
            server._initialise(password_file)
        server._configure(durable)
        return server

    def _initialise(self, password_file: Path) -> None:
        # Without the marker these are the remains of an interrupted initdb, which initdb itself would refuse.
        if self.data_dir.exists():
            shutil.rmtree(self.data_dir)
        self.data_dir.mkdir(parents=True, mode=0o700)
        self._own(self.data_dir)
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        # initdb runs as the server's user, who cannot read into a private home: a copy beside the data.
        # Not called like the password file itself, which lies beside the data too where we are not root.
        copy = self.data_dir.with_name(self.data_dir.name + ".initdb")
        copy.touch(mode=0o600)
        copy.write_text(self.password)
        self._own(copy)
        try:
            for locale in ("C.UTF-8", "C"):
                initdb = [
                    *_as_user(self.run_as),
                    self.binaries.path("initdb"),
                    f"--pgdata={self.data_dir}",
                    f"--username={self.user}",
                    f"--pwfile={copy}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    f"--locale={locale}",
                    # The cluster is synced by its first checkpoint; until the marker is written nobody relies on it.
                    "--no-sync",
                ]
                made = subprocess.run(
                    initdb, capture_output=True, text=True, check=False, cwd="/", env=self.environment()
                )
                if made.returncode == 0:
                    break
                if "locale" not in made.stderr or locale == "C":
                    raise PostgresError(
                        f"PostgreSQL's initdb could not make a cluster in {self.data_dir}: {_last_line(made.stderr)}"
                    )
                shutil.rmtree(self.data_dir)
                self.data_dir.mkdir(mode=0o700)
                self._own(self.data_dir)
        finally:
            copy.unlink()
        with (self.data_dir / "postgresql.conf").open("a") as config:
            config.write(f"\ninclude '{_CONFIG}'\n")
        marker = self.data_dir / _MARKER
        marker.write_text("initdb ended well\n")
        self._own(marker)

    def _configure(self, durable: bool) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            # pgstac gives each collection a partition, and a search locks each of them: with the default of 64,
            # reading an item fails from about 3,000 collections on ("out of shared memory").
            "max_locks_per_transaction": "1024",
            "shared_buffers": "256MB",
            "work_mem": "16MB",
            "maintenance_work_mem": "128MB",
            "effective_cache_size": "1GB",
            "random_page_cost": "1.1",
            "max_wal_size": "2GB",
            # No standby and no backup by replication here, so COPY into new tables can do without the log.
            "wal_level": "minimal",
            "max_wal_senders": "0",
            # pgstac's searches are short and wide: compiling them takes longer than running them.
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
            "log_line_prefix": "%m [%p] %q%a ",
        }
        if not durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        lines = ["# Written by maap-stac at each start; changes here do not last.\n"]
        lines += [f"{name} = '{value}'\n" for name, value in settings.items()]
        config = self.data_dir / _CONFIG
        config.write_text("".join(lines))
        self._own(config)

    def _own(self, path: Path) -> None:
        if self.run_as is not None:
            entry = pwd.getpwnam(self.run_as)
            os.chown(path, entry.pw_uid, entry.pw_gid)

    def command(self, *, die_with_parent: bool = False) -> list[str]:
        """The argv that runs the server in the foreground; `STOP_SIGNAL` stops it.

        Args:
            die_with_parent: on Linux, stop the server too when the process that started it is killed.
        """
        return [*_as_user(self.run_as, die_with_parent), self.binaries.path("postgres"), "-D", str(self.data_dir)]

    def environment(self) -> dict[str, str]:
        """The environment to run the server in: as good as none, so that no PG* variable of ours reaches it."""
        return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}

    def client_environment(self, database: str) -> dict[str, str]:
        """libpq's variables for a client of one of its databases."""
        return {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGDATABASE": database,
        }

    def url(self, database: str = "postgres") -> str:
        """The address of one of its databases, password included."""
        return f"postgresql://{self.user}:{self.password}@127.0.0.1:{self.port}/{database}"

    def check_port(self) -> None:
        """Makes sure that the port is free, for a server that does not run.

        Raises:
            PortTaken: it is not.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError:
                raise PortTaken(
                    f"Port {self.port} of 127.0.0.1, which the database was to have, is taken: "
                    "stop what listens there, or choose other ports with --port-base."
                ) from None

    def answers(self) -> bool:
        """Whether the server takes connections."""
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def start(self, *, log: Path, timeout: float = 60.0, die_with_parent: bool = False) -> subprocess.Popen[bytes]:
        """Runs the server as a child and returns once it takes connections. For tests; the stack has its own way.

        Args:
            log: file that the server's log is appended to.
            timeout: seconds to wait.
            die_with_parent: see `command`.

        Raises:
            PortTaken: the port is not free.
            PostgresError: it ended or did not answer in time; gives the last line of its log.
        """
        self.check_port()
        with log.open("ab") as output:
            process = subprocess.Popen(
                self.command(die_with_parent=die_with_parent),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment(),
                cwd="/",
                # A Ctrl-C for the test run must not stop the server before the tests' own clean-up.
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout
        while not self.answers():
            if process.poll() is not None:
                raise PostgresError(f"PostgreSQL ended while starting: {_last_line(log.read_text(errors='replace'))}")
            if time.monotonic() > deadline:
                self.stop(process)
                raise PostgresError(f"PostgreSQL did not answer on port {self.port} within {timeout:.0f} s; see {log}.")
            time.sleep(0.05)
        return process

    def stop(self, process: subprocess.Popen[bytes], timeout: float = 30.0) -> None:
        """Stops a server that `start` gave; kills it when it takes longer than `timeout` seconds."""
        process.send_signal(STOP_SIGNAL)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def destroy(self) -> None:
        """Removes the data of a server that does not run."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.data_dir)


def _server_user() -> str | None:
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(_SERVER_USER)
    except KeyError:
        raise ServerUserMissing(
            "PostgreSQL refuses to run as root, and there is no user `postgres` to run it: create that user with "
            "`useradd --system postgres`, or start as a user that is not root."
        ) from None
    return _SERVER_USER


def _data_dir(home: Path, run_as: str | None) -> Path:
    if run_as is None:
        return home / "postgres"
    record = home / "postgres.data"
    if record.exists() and (recorded := record.read_text().strip()):
        return Path(recorded)
    _ROOTS_DATA.mkdir(mode=0o755, parents=True, exist_ok=True)
    data_dir = _ROOTS_DATA / uuid4().hex
    record.write_text(f"{data_dir}\n")
    return data_dir


def _as_user(user: str | None, die_with_parent: bool = False) -> list[str]:
    """The start of an argv that runs the rest as another user, replacing itself so that signals reach it."""
    setpriv = shutil.which("setpriv")
    options = [f"--pdeathsig={STOP_SIGNAL.name.removeprefix('SIG')}"] if die_with_parent else []
    if user is None:
        return [setpriv, *options, "--"] if setpriv and options else []
    if setpriv:
        entry = pwd.getpwnam(user)
        identity = [f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
        return [setpriv, *identity, *options, "--"]
    runuser = shutil.which("runuser")
    if runuser:
        return [runuser, "-u", user, "--"]
    raise PostgresError(
        "PostgreSQL refuses to run as root, and neither setpriv nor runuser is there to run it as another user: "
        "install util-linux, or start as a user that is not root."
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing."


# Databases

#: Serialises everybody who prepares databases of one server ("maap" in ASCII).
_PREPARING = 0x6D616170

#: Groups that login roles can be put into; they cannot log in themselves.
_ROLES = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'maap_stac_read') THEN
        CREATE ROLE maap_stac_read NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'maap_stac_ingest') THEN
        CREATE ROLE maap_stac_ingest NOLOGIN;
    END IF;
END
$$;
GRANT pgstac_read, maap_stac_read TO maap_stac_ingest;
GRANT pgstac_read TO maap_stac_read;
GRANT pgstac_ingest TO maap_stac_ingest;
GRANT USAGE ON SCHEMA ledger TO maap_stac_read, maap_stac_ingest;
GRANT SELECT ON ALL TABLES IN SCHEMA ledger TO maap_stac_read;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ledger TO maap_stac_ingest;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA ledger TO maap_stac_ingest;
"""

_PGSTAC_VERSION = "SELECT version FROM pgstac.migrations ORDER BY datetime DESC, version DESC LIMIT 1"


def prepare_database(conninfo: str, name: str = "maap", *, others: tuple[str, ...] = ("dagster",)) -> None:
    """Creates databases where they are missing, and brings pgstac and the ledger up to date; quick when they are.

    Args:
        conninfo: another database of the server, as a user who may create databases.
        name: the database for pgstac and the ledger.
        others: databases to be created beside it and left empty.

    Raises:
        psycopg.Error: the server refused something; says what.
    """
    with psycopg.connect(conninfo, autocommit=True, connect_timeout=5) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_PREPARING,))
        there = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
        for database in (name, *others):
            if database not in there:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        # The lock that this takes is the other database's: advisory locks do not reach across.
        migrate_database(psycopg.conninfo.make_conninfo(conninfo, dbname=name))


def migrate_database(conninfo: str) -> None:
    """Brings pgstac and the ledger in one database up to date. Quick when nothing is to do."""
    from importlib.metadata import version

    from maap_stac_orchestration.ledger.migrate import migrate

    with psycopg.connect(conninfo, autocommit=True, connect_timeout=5) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_PREPARING,))
        if _pgstac_version(connection) != version("pypgstac"):
            _migrate_pgstac(conninfo)
        row = connection.execute("SELECT current_database(), current_setting('search_path')").fetchone()
        assert row is not None
        database, search_path = row
        if "pgstac" not in search_path:
            # STAC API and tiler call pgstac's functions by their bare names.
            connection.execute(
                sql.SQL("ALTER DATABASE {} SET search_path = pgstac, public").format(sql.Identifier(database))
            )
        if migrate(conninfo):
            connection.execute(_ROLES)


def _pgstac_version(connection: psycopg.Connection[tuple[object, ...]]) -> object:
    row = connection.execute("SELECT to_regclass('pgstac.migrations') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return None
    row = connection.execute(_PGSTAC_VERSION).fetchone()
    return None if row is None else row[0]


def _migrate_pgstac(conninfo: str) -> None:
    # Takes a second to import, and is not needed where nothing is to do.
    from pypgstac.db import PgstacDB
    from pypgstac.migrate import Migrate

    database = PgstacDB(dsn=conninfo)
    pool = database.get_pool()
    try:
        Migrate(database).run_migration()
    finally:
        database.disconnect()
        # disconnect() only forgets the pool, whose threads would keep the process.
        pool.close()
