"""What a start of the stack will use: which parts it runs itself, on which ports, and what their environment says.

Here belong the choices, made once at the start from the home, the options and the environment. Not here: the processes
that follow from them (`parts`).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from maap_stac_orchestration.stack.errors import StackError
from maap_stac_orchestration.stack.events import QUEUE
from maap_stac_orchestration.stack.home import Home

#: Where ports begin unless told otherwise.
DEFAULT_PORT_BASE = 8600
#: Ports of one stack, counted from its base.
OFFSETS = {"postgres": 0, "object-store": 1, "dagster": 2, "api": 3, "tiler": 4, "browser": 5, "code-server": 6}
_NEXT_BASE = 10
_LAST_BASE = 65535 - _NEXT_BASE

#: The bucket of the local object store.
BUCKET = "maap-ops-workspace"
#: The database of pgstac and the ledger on the stack's own server.
DATABASE = "maap"
DAGSTER_DATABASE = "dagster"
#: What keeps Dagster from giving up what only takes a while, where it is not set otherwise.
_PATIENCE = {
    # Seconds to wait for the code server's answer. With the default of 60 a run was seen to fail before it began, on a
    # machine with two cores and a load of 16.
    "DAGSTER_GRPC_TIMEOUT_SECONDS": "180",
    # A daemon that comes up before the code server sees no assets, and takes those of a backfill under way for removed:
    # without this it fails the backfill for good and cancels its runs. Seen when both had been killed.
    "DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR": "1",
    # Times that the daemon may stumble over a backfill (a database that restarts), in its whole life; hours, here.
    "DAGSTER_MAX_BACKFILL_RETRIES": "100",
}
#: The variable that dagster.yaml takes Dagster's database from.
DAGSTER_URL_VARIABLE = "DAGSTER_POSTGRES_URL"

#: What clients of the local store sign with. It checks no signature, but its clients insist on signing.
REGION = "us-west-2"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
#: moto's, which stands in the address of its queues. moto itself takes a second to import.
_ACCOUNT = "123456789012"

#: The variables that say where people reach a part.
_PEOPLE_REACH = {
    "MAAP_STAC_PUBLIC_URL": "api",
    "MAAP_STAC_DAGSTER_URL": "dagster",
    "MAAP_STAC_TILER_URL": "tiler",
    "MAAP_STAC_BROWSER_URL": "browser",
}

_POSTGRES_VARIABLES = ("PGHOST", "PGHOSTADDR", "PGSERVICE")
#: Whoever the tiler signs in to the database as.
_TILER_ROLE_VARIABLES = ("MAAP_STAC_TILER_PGUSER", "MAAP_STAC_TILER_PGPASSWORD")
_TILER_URL_VARIABLE = "MAAP_STAC_TILER_URL"
_STORE_VARIABLES = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "MAAP_STAC_QUEUE_URL", "MAAP_STAC_BUCKETS")
#: Credentials of somebody else's account have no business with the local store, and a profile that is not there stops
#: every client.
_FOREIGN_CREDENTIALS = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_ROLE_ARN")


@dataclass(frozen=True, slots=True)
class Outside:
    """Which parts the environment points at already."""

    postgres: bool
    store: bool
    tiler: bool = False

    @property
    def own_ports(self) -> list[str]:
        """The parts that the stack runs itself and that listen on a port."""
        used = {"postgres"} if self.postgres else set()
        used |= {"object-store"} if self.store else set()
        used |= {"tiler"} if self.tiler else set()
        return [name for name in OFFSETS if name not in used]

    @classmethod
    def of(cls, environment: Mapping[str, str], own: Mapping[str, str]) -> Outside:
        """Reads the environment.

        Args:
            environment: the environment of the command.
            own: what clients of this home's stack export: a shell that did so still means this stack.
        """
        return cls(
            postgres=_points(environment, own, _POSTGRES_VARIABLES),
            store=_points(environment, own, _STORE_VARIABLES),
            tiler=_points(environment, own, (_TILER_URL_VARIABLE,)),
        )


def _points(environment: Mapping[str, str], own: Mapping[str, str], names: Iterable[str]) -> bool:
    return any(environment.get(name) and environment[name] != own.get(name) for name in names)


@dataclass(frozen=True, slots=True)
class Plan:
    """The choices of one start."""

    home: Home
    port_base: int
    outside: Outside
    bucket: str
    queue_url: str | None
    s3_endpoint: str | None
    #: Address of the database with pgstac and the ledger, password included.
    database_url: str
    #: Address of Dagster's database, password included.
    dagster_database_url: str
    #: What a client must export.
    client: Mapping[str, str]
    #: Databases to be created on a server that the environment points at: Dagster's, unless that is said too.
    outside_dagster_databases: tuple[str, ...] = ()

    def port(self, part: str) -> int:
        """The port of a part."""
        return self.port_base + OFFSETS[part]

    def url(self, part: str) -> str:
        """The HTTP address of a part."""
        return f"http://127.0.0.1:{self.port(part)}"

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """The environment of the parts: that of the command, and above it what clients export."""
        kept = dict(base)
        if not self.outside.store:
            for name in _FOREIGN_CREDENTIALS:
                kept.pop(name, None)
        if not self.outside.postgres:
            kept = {name: value for name, value in kept.items() if not name.startswith("PG")}
        return _PATIENCE | kept | dict(self.client) | _unproxied(kept) | {"PYTHONUNBUFFERED": "1"}

    def record(self) -> dict[str, Any]:
        """All choices as JSON, for `recall`."""
        return {
            "port_base": self.port_base,
            "outside": asdict(self.outside),
            "bucket": self.bucket,
            "queue_url": self.queue_url,
            "s3_endpoint": self.s3_endpoint,
            "database_url": self.database_url,
            "dagster_database_url": self.dagster_database_url,
            "client": dict(self.client),
            "outside_dagster_databases": list(self.outside_dagster_databases),
        }

    @classmethod
    def recall(cls, home: Home, record: Mapping[str, Any]) -> Plan:
        """The plan that gave a record."""
        beside = tuple(record["outside_dagster_databases"])
        fields = {**record, "outside": Outside(**record["outside"]), "outside_dagster_databases": beside}
        return cls(home=home, **fields)

    def document(self) -> dict[str, Any]:
        """stack.json."""
        return {
            "s3_endpoint": self.s3_endpoint,
            "bucket": self.bucket,
            "queue_url": self.queue_url,
            "database_url": self.database_url,
            "dagster_url": self.url("dagster"),
            "api_url": self.url("api"),
            "tiler_url": self.client["MAAP_STAC_TILER_URL"],
            "browser_url": self.client["MAAP_STAC_BROWSER_URL"],
            "env": dict(self.client),
        }


def make_plan(
    home: Home,
    port_base: int,
    outside: Outside,
    environment: Mapping[str, str],
    *,
    postgres: Mapping[str, str] | None,
    tiler: Mapping[str, str] | None = None,
    own: Mapping[str, str] | None = None,
) -> Plan:
    """Makes the plan.

    Args:
        home: the home folder.
        port_base: see `choose_port_base`.
        outside: what the environment points at.
        environment: the environment of the command.
        postgres: libpq's variables for the stack's own database; None where the environment points at one.
        tiler: the variables of the tiler's role in the stack's own database; None where the environment points at one.
        own: what clients of this home's last start export.

    Raises:
        StackError: the environment points at something only in part.
    """
    own = own or {}
    client: dict[str, str] = {}
    if postgres is not None:
        client |= postgres
    else:
        client |= {name: value for name, value in environment.items() if name.startswith("PG")}
    database_url, dagster_url = _database_urls(client, own=postgres is not None)
    beside: tuple[str, ...] = ()
    if postgres is None:
        beside = (unquote(urlsplit(dagster_url).path.lstrip("/")),)
        if environment.get(DAGSTER_URL_VARIABLE):
            dagster_url, beside = environment[DAGSTER_URL_VARIABLE], ()

    if outside.store:
        bucket, queue_url, endpoint = _outside_store(environment)
        client |= {name: value for name, value in environment.items() if name.startswith("AWS_")}
    else:
        bucket = BUCKET
        endpoint = f"http://127.0.0.1:{port_base + OFFSETS['object-store']}"
        queue_url = f"{endpoint}/{_ACCOUNT}/{QUEUE}"
        client |= _store_variables(endpoint)
    client |= {name: value for name, value in environment.items() if name.startswith("MAAP_STAC_")}
    if tiler is not None:
        client |= tiler
    elif not _points(environment, own, _TILER_ROLE_VARIABLES):
        # A shell may still export those of an earlier start with a database of its own.
        client = {name: value for name, value in client.items() if name not in _TILER_ROLE_VARIABLES}
    client["MAAP_STAC_BUCKETS"] = environment["MAAP_STAC_BUCKETS"] if outside.store else bucket
    if queue_url is not None:
        client["MAAP_STAC_QUEUE_URL"] = queue_url
    for name, part in _PEOPLE_REACH.items():
        # People may reach it under another address than here; but not under that of an earlier start.
        if not _points(environment, own, (name,)):
            client[name] = f"http://127.0.0.1:{port_base + OFFSETS[part]}"
    client |= {
        "MAAP_STAC_HOME": str(home.folder),
        "DAGSTER_HOME": str(home.dagster),
        DAGSTER_URL_VARIABLE: dagster_url,
    }
    return Plan(home, port_base, outside, bucket, queue_url, endpoint, database_url, dagster_url, client, beside)


def _store_variables(endpoint: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        **CREDENTIALS,
        # Nobody shall look for credentials in the network.
        "AWS_EC2_METADATA_DISABLED": "true",
        # GDAL has variables of its own.
        "AWS_S3_ENDPOINT": urlsplit(endpoint).netloc,
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
    }


def _outside_store(environment: Mapping[str, str]) -> tuple[str, str | None, str | None]:
    buckets = environment.get("MAAP_STAC_BUCKETS", "").replace(",", " ").split()
    if not buckets:
        raise StackError(
            "The environment points at an object store (AWS_ENDPOINT_URL or MAAP_STAC_QUEUE_URL), but "
            "MAAP_STAC_BUCKETS does not say which bucket to use: set it, or unset the others to start a local store."
        )
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or None
    return buckets[0], environment.get("MAAP_STAC_QUEUE_URL") or None, endpoint


def _database_urls(client: Mapping[str, str], *, own: bool) -> tuple[str, str]:
    if own:
        user, password = quote(client["PGUSER"], safe=""), quote(client["PGPASSWORD"], safe="")
        server = f"postgresql://{user}:{password}@{client['PGHOST']}:{client['PGPORT']}"
        return f"{server}/{DATABASE}", f"{server}/{DAGSTER_DATABASE}"
    info = _outside_connection()
    who = quote(info["user"], safe="") + (f":{quote(info['password'], safe='')}" if info["password"] else "")
    host = info["host"]
    # A socket's folder cannot stand where the host does.
    on_socket = host.startswith("/")
    server = f"postgresql://{who}@" if on_socket else f"postgresql://{who}@{host}:{info['port']}"
    rest = f"?host={quote(host, safe='')}&port={info['port']}" if on_socket else ""
    database, dagster = (quote(name, safe="") for name in (info["dbname"], info["dbname"] + "_dagster"))
    return f"{server}/{database}{rest}", f"{server}/{dagster}{rest}"


def _outside_connection() -> dict[str, str]:
    """What libpq makes of the environment, found by connecting."""
    import psycopg

    try:
        with psycopg.connect("", connect_timeout=5) as connection:
            info = connection.info
            return {
                "host": info.host,
                "port": str(info.port),
                "user": info.user,
                "password": info.password,
                "dbname": info.dbname,
            }
    except psycopg.OperationalError as error:
        raise StackError(
            f"The database that PGHOST and the other PG* variables point at cannot be reached "
            f"({str(error).strip().splitlines()[0]}): start it, correct them, or unset PGHOST for a local one."
        ) from None


def _unproxied(environment: Mapping[str, str]) -> dict[str, str]:
    """Nobody may send what is meant for this machine to a proxy."""
    named = [environment.get("NO_PROXY") or environment.get("no_proxy") or "", "127.0.0.1", "localhost"]
    value = ",".join(dict.fromkeys(part for each in named for part in each.split(",") if part))
    return {"NO_PROXY": value, "no_proxy": value}


def choose_port_base(wanted: int | None, remembered: int | None, parts: Iterable[str]) -> int:
    """The first port: the wanted one, else that of the last start, else the next free one.

    Args:
        wanted: the `--port-base` option.
        remembered: that of the last start.
        parts: the parts that need a port.

    Raises:
        StackError: the wanted one is taken or out of range, or none is free.
    """
    names = sorted(parts, key=OFFSETS.__getitem__)
    if wanted is not None:
        if not 1024 <= wanted <= _LAST_BASE:
            raise StackError(f"--port-base {wanted} is out of range: choose one from 1024 to {_LAST_BASE}.")
        for name in names:
            if not is_free(wanted + OFFSETS[name]):
                raise StackError(
                    f"Port {wanted + OFFSETS[name]} of 127.0.0.1, which the {name} was to have, is taken: "
                    "stop what listens there, or choose other ports with --port-base."
                )
        return wanted
    bases: list[int] = [*([remembered] if remembered else []), *range(DEFAULT_PORT_BASE, _LAST_BASE, _NEXT_BASE)]
    for base in bases:
        if all(is_free(base + OFFSETS[name]) for name in names):
            return base
    raise StackError("No ten ports in a row are free on 127.0.0.1: stop what listens there.")


def is_free(port: int) -> bool:
    """Whether nothing listens on a port of 127.0.0.1 (or of all addresses)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name == "posix":
            # Connections that ended a moment ago do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True
