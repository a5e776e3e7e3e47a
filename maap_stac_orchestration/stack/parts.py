"""The parts of the stack: one table that says what each runs, when it is well, and what must be well before it.

A new part is a row in `parts`, a function for its health, and its port in `plan.OFFSETS`.
Not here: the order in time and what is prepared in between (`lifecycle`).
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import maap_stac_orchestration
from maap_stac_orchestration.stack.plan import DAGSTER_URL_VARIABLE, Plan
from maap_stac_orchestration.stack.postgres import STOP_SIGNAL, PostgresServer
from maap_stac_orchestration.stack.supervision import Program, ProgramState, Supervisor

#: The module whose `defs` Dagster loads.
DEFINITIONS = "maap_stac_orchestration.definitions"
LOCATION = "maap_stac_orchestration"
#: What makes all messages of the API lines of JSON.
_LOG_CONFIG = Path(maap_stac_orchestration.__file__).parent / "api" / "log_config.json"
#: Seconds that a health check may take.
_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the stack."""

    name: str
    #: For people: "database", "object store".
    title: str
    #: What runs; None where the environment points at one already.
    program: Program | None
    #: Why it is not well, as a clause; None when it is.
    ailment: Callable[[], str | None]
    #: Where people or clients reach it.
    url: str | None
    #: Parts that must be well before it starts.
    after: tuple[str, ...] = ()
    #: What people should know of it though it is well; None where that is nothing.
    remark: Callable[[], str | None] = lambda: None


def parts(plan: Plan, server: PostgresServer | None, supervisor: Supervisor) -> tuple[Part, ...]:
    """The table, in the order of starting.

    Args:
        plan: the choices of this start.
        server: the stack's own database server, None where the environment points at one.
        supervisor: whom to ask when a process was started.
    """
    python = sys.executable
    dagster_url = plan.url("dagster")
    return (
        Part(
            name="postgres",
            title="database",
            program=None
            if server is None
            else Program(
                "postgres",
                _bare(server),
                stop_signal=STOP_SIGNAL.name.removeprefix("SIG"),
                stop_seconds=60,
                # Its children are its own affair: a signal to all of them is a crash to recover from.
                stop_group=False,
            ),
            ailment=lambda: postgres_ailment(plan.database_url if server is None else server.url()),
            url=without_password(plan.database_url),
        ),
        Part(
            name="object-store",
            title="object store",
            program=None
            if plan.outside.store
            else Program(
                "object-store",
                [
                    *(python, "-m", "maap_stac_orchestration.stack.object_store", "--announce"),
                    *("--folder", str(plan.home.objects), "--port", str(plan.port("object-store"))),
                    *("--bucket", plan.bucket),
                ],
            ),
            ailment=(lambda: bucket_ailment(plan.bucket))
            if plan.outside.store
            else (lambda: http_ailment(f"{plan.s3_endpoint}/_health")),
            url=plan.s3_endpoint,
        ),
        Part(
            name="code-server",
            title="code server",
            program=Program(
                "code-server",
                [
                    *(python, "-m", "maap_stac_orchestration.stack.code_server", "--module-name", DEFINITIONS),
                    *("--host", "127.0.0.1", "--port", str(plan.port("code-server"))),
                    *("--empty-working-directory", "--log-level", "warning"),
                    *("--location-name", LOCATION, "--use-python-environment-entry-point"),
                ],
            ),
            ailment=lambda: code_server_ailment(plan.port("code-server")),
            url=None,
            after=("postgres",),
        ),
        Part(
            name="dagster",
            title="Dagster UI",
            program=Program(
                "dagster",
                [
                    *(python, "-m", "dagster_webserver", "--workspace", str(plan.home.workspace)),
                    *("--host", "127.0.0.1", "--port", str(plan.port("dagster")), "--log-level", "warning"),
                ],
            ),
            ailment=lambda: webserver_ailment(dagster_url),
            url=dagster_url,
            after=("postgres",),
        ),
        Part(
            name="daemon",
            title="Dagster daemon",
            program=Program(
                "daemon",
                [python, "-m", "dagster._daemon", "run", "--workspace", str(plan.home.workspace)],
            ),
            ailment=lambda: daemon_ailment(dagster_url, supervisor.programs().get("daemon")),
            url=None,
            # Sooner, it would log that there is no code, and look again a minute later.
            after=("code-server",),
        ),
        Part(
            name="api",
            title="STAC API",
            program=Program(
                "api",
                [
                    *(python, "-m", "uvicorn", "--factory", "maap_stac_orchestration.api.app:create_app"),
                    # Each request is a log event, so uvicorn need not tell of it too.
                    *("--host", "127.0.0.1", "--port", str(plan.port("api")), "--no-access-log"),
                    *("--log-config", str(_LOG_CONFIG)),
                ],
            ),
            ailment=lambda: http_ailment(f"{plan.url('api')}/_mgmt/ping"),
            url=plan.url("api"),
            after=("postgres",),
        ),
        Part(
            name="tiler",
            title="tiler",
            program=None
            if plan.outside.tiler
            else Program(
                "tiler",
                [
                    *(_forgetting(_SUPERUSERS) if server is not None else ()),
                    *(python, "-m", "uvicorn", "--factory", "maap_stac_orchestration.tiler.app:create_app"),
                    *("--host", "127.0.0.1", "--port", str(plan.port("tiler")), "--no-access-log"),
                    *("--log-config", str(_LOG_CONFIG)),
                ],
            ),
            ailment=lambda: http_ailment(f"{_tiler_address(plan)}/healthz"),
            url=_tiler_address(plan),
            after=("postgres",),
        ),
        Part(
            name="browser",
            title="STAC Browser",
            program=Program(
                "browser",
                [
                    *(python, "-m", "uvicorn", "--factory", "maap_stac_orchestration.browser.app:create_app"),
                    *("--host", "127.0.0.1", "--port", str(plan.port("browser")), "--no-access-log"),
                    *("--log-config", str(_LOG_CONFIG)),
                ],
            ),
            ailment=lambda: http_ailment(f"{plan.url('browser')}/_mgmt/ping"),
            url=plan.url("browser"),
            remark=lambda: browser_remark(plan.url("browser")),
        ),
    )


#: Variables that open the stack's own database to whoever knows them. The tiler opens files that jobs wrote, has a role
#: of its own, and need not know these.
_SUPERUSERS = ("PGUSER", "PGPASSWORD", DAGSTER_URL_VARIABLE)


def _forgetting(names: Iterable[str]) -> list[str]:
    """The start of a command that runs the rest without some variables, replacing itself so that signals reach it."""
    return [shutil.which("env") or "/usr/bin/env", *(part for name in names for part in ("-u", name))]


def _tiler_address(plan: Plan) -> str:
    """Where the tiler answers from here: people may reach one that the stack runs under another address."""
    return plan.client["MAAP_STAC_TILER_URL"].rstrip("/") if plan.outside.tiler else plan.url("tiler")


def _bare(server: PostgresServer) -> list[str]:
    """The server's command in an environment without our PG* variables."""
    variables = [f"{name}={value}" for name, value in server.environment().items()]
    return [shutil.which("env") or "/usr/bin/env", "-i", *variables, *server.command(die_with_parent=True)]


def without_password(url: str) -> str:
    """A database address for people to read."""
    from urllib.parse import urlsplit, urlunsplit

    split = urlsplit(url)
    user, _, place = split.netloc.rpartition("@")
    return urlunsplit(split._replace(netloc=f"{user.partition(':')[0]}@{place}" if user else place))


# What ails a part


def postgres_ailment(url: str) -> str | None:
    """Whether a database takes connections."""
    import psycopg

    try:
        psycopg.connect(url, connect_timeout=int(_PATIENCE)).close()
    except psycopg.OperationalError as error:
        return str(error).strip().splitlines()[0]
    return None


def bucket_ailment(bucket: str) -> str | None:
    """Whether the bucket that the environment points at can be read."""
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    from maap_stac_orchestration.store.aws import client

    config = Config(connect_timeout=_PATIENCE, read_timeout=_PATIENCE, retries={"total_max_attempts": 1})
    try:
        client("s3", config=config).head_bucket(Bucket=bucket)
    except (BotoCoreError, ClientError) as error:
        return f"bucket {bucket}: {error}"
    return None


def http_ailment(url: str) -> str | None:
    """Whether a page answers with success."""
    try:
        with _opener.open(url, timeout=_PATIENCE):
            return None
    except urllib.error.HTTPError as error:
        return f"{url} answers {error.code}"
    except OSError as error:
        return f"{url} does not answer ({getattr(error, 'reason', error)})"


def browser_remark(url: str) -> str | None:
    """Why there is nothing of STAC Browser to be seen yet, as what serves it says; the stack is well without."""
    try:
        with _opener.open(f"{url}/_mgmt/health", timeout=_PATIENCE):
            return None
    except urllib.error.HTTPError as error:
        with contextlib.suppress(ValueError, KeyError):
            return str(json.load(error)["message"])
        return f"{url}/_mgmt/health answers {error.code}"
    except OSError:
        return None  # which its ailment tells


def code_server_ailment(port: int) -> str | None:
    """Whether Dagster's code server has loaded the definitions."""
    import grpc  # type: ignore[import-untyped]
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service="DagsterApi"), timeout=_PATIENCE
            )
        except grpc.RpcError as error:
            return f"port {port} does not answer ({error.code().name.lower()})"
    return None if answer.status == health_pb2.HealthCheckResponse.SERVING else "not serving yet"


_LOCATIONS = """{ workspaceOrError { __typename
  ... on PythonError { message }
  ... on Workspace { locationEntries { name loadStatus locationOrLoadError {
    __typename ... on PythonError { message } } } } } }"""

_DAEMONS = "{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy lastHeartbeatTime } } } }"


def webserver_ailment(url: str) -> str | None:
    """Whether Dagster's webserver answers and has loaded our code."""
    answer = _graphql(url, _LOCATIONS)
    if isinstance(answer, str):
        return answer
    workspace = answer["workspaceOrError"]
    if workspace["__typename"] == "PythonError":
        return str(workspace["message"]).strip()
    entries = workspace["locationEntries"]
    for entry in entries:
        loaded = entry["locationOrLoadError"]
        if loaded is not None and loaded["__typename"] == "PythonError":
            return f"the code cannot be loaded: {loaded['message'].strip()}"
        if entry["loadStatus"] != "LOADED" or loaded is None:
            return "the code is being loaded"
    return None if entries else "no code is loaded"


def daemon_ailment(url: str, program: ProgramState | None) -> str | None:
    """Whether every daemon that is needed has shown a heartbeat since its process was started."""
    answer = _graphql(url, _DAEMONS)
    if isinstance(answer, str):
        return answer
    since = program.started if program is not None else 0
    for status in answer["instance"]["daemonHealth"]["allDaemonStatuses"]:
        if status["required"] and (not status["healthy"] or (status["lastHeartbeatTime"] or 0) < since):
            return f"the {status['daemonType'].lower()} daemon shows no heartbeat"
    return None


def _graphql(url: str, query: str) -> dict[str, Any] | str:
    request = urllib.request.Request(  # noqa: S310  # our own address
        f"{url}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
    )
    try:
        with _opener.open(request, timeout=4 * _PATIENCE) as answer:
            document = json.load(answer)
    except (OSError, ValueError) as error:
        return f"{url} does not answer ({getattr(error, 'reason', error)})"
    if "errors" in document:
        return str(document["errors"][0]["message"])
    data: dict[str, Any] = document["data"]
    return data


#: Without the proxies of the environment, which are for the world outside.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
