"""What is wrong with this environment: each check gives findings, a finding one sentence and what to do.

Here belong checks of what the parts need from outside: settings, database, bucket, queue, ports, disk. Not here: what
is wrong with jobs, which the ledger tells, and mending anything.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from importlib.metadata import version
from typing import Any

import psycopg

from maap_stac_orchestration.settings import Settings, SettingsError
from maap_stac_orchestration.stack.home import Home
from maap_stac_orchestration.stack.lifecycle import Stack
from maap_stac_orchestration.stack.plan import (
    DAGSTER_URL_VARIABLE,
    DEFAULT_PORT_BASE,
    OFFSETS,
    Outside,
    is_free,
)
from maap_stac_orchestration.stack.postgres import PostgresError, find_binaries

_MEBIBYTE = 2**20
_LITTLE_SPACE = 2048 * _MEBIBYTE
_NO_SPACE = 256 * _MEBIBYTE
_PATIENCE = 5

_POSTGIS = "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'postgis')"
_PGSTAC = "SELECT to_regclass('pgstac.migrations') IS NOT NULL"
_PGSTAC_VERSION = "SELECT version FROM pgstac.migrations ORDER BY datetime DESC, version DESC LIMIT 1"


class Severity(StrEnum):
    """How bad a finding is."""

    #: Something does not work.
    ERROR = "error"
    #: Something will not work one day, or not as wished.
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong."""

    #: A word for machines.
    code: str
    severity: Severity
    #: What it is about.
    object: str
    #: One sentence.
    message: str
    #: What to do.
    fix: str


def _error(code: str, about: str, message: str, fix: str) -> Finding:
    return Finding(code, Severity.ERROR, about, message, fix)


def _warning(code: str, about: str, message: str, fix: str) -> Finding:
    return Finding(code, Severity.WARNING, about, message, fix)


def examine(home: Home, stack: Stack | None) -> list[Finding]:
    """All findings about this process's environment and a home.

    Args:
        home: the home folder, which need not exist.
        stack: the stack that runs in it; its variables must be in os.environ then, unless others are meant.
    """
    memory = home.remembered()
    outside = Outside.of(os.environ, memory.env)
    found = [*_disk(home), *_semaphores()]
    if stack is not None:
        found += _parts(stack)
    else:
        found += _ports(memory.port_base or DEFAULT_PORT_BASE, outside)
        if not outside.postgres:
            found += _binaries()
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        found += [
            _error("settings_wrong", line.split(" ")[0], line, "Correct or unset that environment variable.")
            for line in str(error).splitlines()
        ]
        settings = None
    if settings is not None and (settings.registry or stack is not None or outside.postgres):
        found += _registry(settings)
    if stack is not None or outside.postgres:
        found += _database()
        found += _dagster_database()
    if settings is not None and (stack is not None or outside.store):
        found += _store(settings)
        if settings.tiler_url is not None:
            found += _gdal(settings)
    if settings is not None and settings.tiler_url is not None and stack is None:
        found += _tiler(settings.tiler_url)
    return sorted(found, key=lambda finding: finding.severity is not Severity.ERROR)


def _disk(home: Home) -> Iterator[Finding]:
    folder = home.folder
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < _LITTLE_SPACE:
        make = _error if free < _NO_SPACE else _warning
        yield make(
            "disk_full",
            str(folder),
            f"Only {free // _MEBIBYTE} MiB are free where the home {home.folder} lies.",
            "Make room, or choose another home with --home.",
        )
    if not os.access(folder, os.W_OK):
        yield _error(
            "home_not_writable",
            str(folder),
            f"The home {home.folder} cannot be written.",
            "Choose another with --home or MAAP_STAC_HOME.",
        )


def _semaphores() -> Iterator[Finding]:
    import multiprocessing

    try:
        multiprocessing.Semaphore()
    except OSError as error:
        yield _error(
            "shared_memory_missing",
            "/dev/shm",  # noqa: S108  # a place to look at, not one to write to
            f"Processes cannot share a semaphore here ({error.strerror}), so Dagster can begin no run.",
            "Let everybody write to /dev/shm (mode 1777, a tmpfs); containers have options for it.",
        )


def _parts(stack: Stack) -> Iterator[Finding]:
    for health in stack.health():
        if not health.healthy:
            yield _error(
                "part_ill",
                health.name,
                f"The {health.title} is not well: {health.message}.",
                f"Read {stack.home.logs / health.name}.log; `maap-stac up` starts what does not run.",
            )


def _ports(base: int, outside: Outside) -> Iterator[Finding]:
    taken = [base + OFFSETS[name] for name in outside.own_ports if not is_free(base + OFFSETS[name])]
    if taken:
        yield _warning(
            "port_taken",
            ", ".join(str(port) for port in taken),
            f"Of the ports that the local stack would take first, {', '.join(str(port) for port in taken)} "
            f"{'is' if len(taken) == 1 else 'are'} taken.",
            "`maap-stac up` takes the next free ones; --port-base chooses others.",
        )


def _binaries() -> Iterator[Finding]:
    try:
        find_binaries()
    except PostgresError as error:
        message, _, fix = str(error).partition(": ")
        yield _error("postgis_missing", "PostgreSQL", f"{message}.", fix[:1].upper() + fix[1:] or "Run `make setup`.")


def _database() -> Iterator[Finding]:
    from maap_stac_orchestration.ledger.connection import DatabaseUnavailable, connect

    try:
        connection = connect(autocommit=True)
    except DatabaseUnavailable as error:
        yield _error(
            "database_unreachable",
            os.environ.get("PGHOST", "database"),
            str(error).partition(". Start it")[0] + ".",
            "Start it, or correct PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE.",
        )
        return
    with connection:
        name = connection.info.dbname
        if not _one(connection, _POSTGIS):
            yield _error(
                "postgis_missing",
                name,
                f"The server of the database {name} has no PostGIS.",
                "Install it on the server, for example the package postgresql-15-postgis-3.",
            )
        try:
            yield from _schemas(connection, name)
            if _one(connection, _PGSTAC):
                yield from _locks(connection, name)
        except psycopg.Error as error:
            yield _error(
                "database_refuses",
                name,
                f"The database {name} refuses to be looked at: {str(error).strip().splitlines()[0]}.",
                "Use a user that may read the schemas pgstac and ledger.",
            )


def _schemas(connection: psycopg.Connection[Any], name: str) -> Iterator[Finding]:
    from maap_stac_orchestration.ledger import migrate

    wanted = version("pypgstac")
    found = _one(connection, _PGSTAC_VERSION) if _one(connection, _PGSTAC) else None
    if found != wanted:
        state = "is missing" if found is None else f"is at version {found}"
        yield _error(
            "pgstac_behind",
            name,
            f"pgstac in the database {name} {state}, and {wanted} is needed.",
            "Run `maap-stac migrate`.",
        )
    revision = migrate.current(connection)
    if revision != migrate.head():
        state = "is missing" if revision is None else f"is at revision {revision}"
        yield _error(
            "ledger_behind",
            name,
            f"The ledger in the database {name} {state}, and {migrate.head()} is needed.",
            "Run `maap-stac migrate`.",
        )


def _locks(connection: psycopg.Connection[Any], name: str) -> Iterator[Finding]:
    from maap_stac_orchestration.pgstac.limits import locks

    found = locks(connection)
    if found.scarce:
        make = _error if found.exhausted else _warning
        yield make("locks_run_out", name, found.message, found.fix)


def _registry(settings: Settings) -> Iterator[Finding]:
    """Whether the file and, where the database answers, the entries there can be used together."""
    from maap_stac_orchestration.ledger.connection import DatabaseUnavailable, connect
    from maap_stac_orchestration.pipeline.registry import RegistryUnavailable, registry_in_force

    warning = None
    try:
        try:
            with connect(application_name="maap-stac doctor", autocommit=True) as conn:
                warning = registry_in_force(settings, conn, write_down=False).warning
        except (DatabaseUnavailable, psycopg.Error):
            # What is wrong with the database is told by another check.
            registry_in_force(settings, None)
    except RegistryUnavailable as error:
        warning = str(error)
    if warning is not None:
        yield _error(
            "registry_broken",
            settings.registry or "the registry",
            warning,
            "Correct the registry file, MAAP_STAC_REGISTRY, or the entries of the database.",
        )


def _dagster_database() -> Iterator[Finding]:
    url = os.environ.get(DAGSTER_URL_VARIABLE)
    if not url:
        return
    try:
        psycopg.connect(url, connect_timeout=_PATIENCE).close()
    except psycopg.OperationalError as error:
        yield _error(
            "dagster_database_unreachable",
            "dagster",
            f"Dagster's database cannot be reached: {str(error).strip().splitlines()[0]}.",
            f"Correct {DAGSTER_URL_VARIABLE}, or create that database.",
        )


def _store(settings: Settings) -> Iterator[Finding]:
    from botocore.config import Config

    from maap_stac_orchestration.store.aws import client

    config = Config(connect_timeout=_PATIENCE, read_timeout=_PATIENCE, retries={"total_max_attempts": 1})
    if not settings.buckets:
        yield _error(
            "bucket_missing", "MAAP_STAC_BUCKETS", "No bucket is configured.", "Set MAAP_STAC_BUCKETS to its name."
        )
    for bucket in settings.buckets:
        reason = _aws(partial(client("s3", config=config).head_bucket, Bucket=bucket))
        if reason is not None:
            yield _error(
                "bucket_unreachable",
                bucket,
                f"The bucket {bucket} cannot be read: {reason}.",
                "Correct MAAP_STAC_BUCKETS, AWS_ENDPOINT_URL, AWS_REGION or the credentials.",
            )
    if settings.queue_url:
        yield from _queue(settings.queue_url, config)


def _gdal(settings: Settings) -> Iterator[Finding]:
    """Whether the library that the tiler reads files with gets into the buckets: it has variables of its own."""
    import rasterio
    from rasterio.errors import RasterioIOError

    from maap_stac_orchestration.store.gdal import gdal_configuration

    options = gdal_configuration(os.environ) | {"GDAL_HTTP_TIMEOUT": str(_PATIENCE), "GDAL_HTTP_MAX_RETRY": "0"}
    # Here rasterio wants that one as a number.
    del options["GDAL_CACHEMAX"]
    for bucket in settings.buckets:
        try:
            with rasterio.Env(**options):  # type: ignore[no-untyped-call]
                rasterio.open(f"/vsis3/{bucket}/maap-stac-doctor-looks-here.tif").close()
        except RasterioIOError as error:
            # That the file is not there, it knows from the bucket.
            if any(sign in str(error) for sign in ("does not exist", "NoSuchKey", "404")):
                continue
            yield _warning(
                "tiles_unreadable",
                bucket,
                f"GDAL, with which the tiler reads files, does not get into the bucket {bucket}: "
                f"{str(error).strip().rstrip('.')}.",
                "Correct AWS_S3_ENDPOINT, AWS_HTTPS, AWS_VIRTUAL_HOSTING, AWS_REGION or the credentials where the tiler"
                " runs; it needs to list the bucket too, to tell a missing file.",
            )


def _tiler(url: str) -> Iterator[Finding]:
    from maap_stac_orchestration.stack.parts import http_ailment

    reason = http_ailment(f"{url.rstrip('/')}/healthz")
    if reason is not None:
        yield _error(
            "tiler_ill",
            url,
            f"The tiler is not well: {reason}.",
            "Look at its /healthz and its log, or correct MAAP_STAC_TILER_URL.",
        )


def _queue(url: str, config: Any) -> Iterator[Finding]:
    from botocore.exceptions import BotoCoreError

    from maap_stac_orchestration.discovery.dead_letters import (
        NoDeadLetters,
        NoRedrivePolicy,
        count,
        find_dead_letter_queue,
    )
    from maap_stac_orchestration.discovery.found import SourceUnavailable
    from maap_stac_orchestration.store.aws import client

    try:
        sqs = client("sqs", config=config)
        dead = count(sqs, find_dead_letter_queue(sqs, url))
    except NoRedrivePolicy:
        yield _warning(
            "dead_letter_queue_missing",
            url,
            "The queue has no dead-letter queue, so a message that cannot be read comes back for days.",
            "Give it a redrive policy with five receives or so.",
        )
    except (NoDeadLetters, SourceUnavailable, BotoCoreError) as error:
        yield _error(
            "queue_unreachable",
            url,
            f"{str(error).rstrip('.')}.",
            "Correct MAAP_STAC_QUEUE_URL, AWS_ENDPOINT_URL, AWS_REGION or the credentials; unset it to list instead.",
        )
    else:
        if dead:
            yield _warning(
                "dead_letters",
                url,
                f"{dead} {'messages that were' if dead != 1 else 'message that was'} given up "
                f"{'are' if dead != 1 else 'is'} in the dead-letter queue.",
                "Look with `maap-stac dead-letters list`, and move back with `maap-stac dead-letters redrive`.",
            )


def _aws(call: Callable[[], Any]) -> str | None:
    """Why a call to AWS fails, None where it does not."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        call()
    except (BotoCoreError, ClientError) as error:
        return str(error).strip().rstrip(".")
    return None


def _one(connection: psycopg.Connection[Any], statement: str) -> Any:
    row = connection.execute(statement).fetchone()
    return None if row is None else row[0]
