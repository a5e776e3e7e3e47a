"""Starting, stopping and watching the stack: what happens in which order, and how a broken start is taken up again.

Here belongs the order of things. Not here: what the parts are (`parts`), how processes are watched (`supervision`) and
how any of it is printed (`cli`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import psycopg

from maap_stac_orchestration.stack.errors import StackError
from maap_stac_orchestration.stack.home import Home
from maap_stac_orchestration.stack.launch import holder, lock_path, stop_left_behind
from maap_stac_orchestration.stack.migration import create_databases, migrate
from maap_stac_orchestration.stack.parts import Part, parts
from maap_stac_orchestration.stack.plan import (
    DAGSTER_DATABASE,
    DATABASE,
    Outside,
    Plan,
    choose_port_base,
    make_plan,
)
from maap_stac_orchestration.stack.postgres import PostgresServer, prepare_database
from maap_stac_orchestration.stack.supervision import Program, Supervisor
from maap_stac_orchestration.stack.tiler_role import PASSWORD_VARIABLE, ensure_tiler_role, tiler_variables

#: Seconds that a part may take to become well; the first start of Dagster's webserver takes long on a small machine.
_PATIENCE = 300.0
#: Processes of a part that end before it was ever well, until it is given up.
_TRIES = 3
#: What the other parts need to the end.
_LAST = ("postgres", "object-store")
_GIVEN_UP = ("FATAL", "UNKNOWN")

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Health:
    """How a part is."""

    name: str
    title: str
    #: supervisor's word, or `outside` for a part that the environment points at.
    state: str
    healthy: bool
    #: Why not; or supervisor's description.
    message: str
    pid: int | None
    url: str | None
    #: What people should know of it though it is well.
    remark: str | None = None


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack that was planned, and may or may not run."""

    plan: Plan
    server: PostgresServer | None
    supervisor: Supervisor
    parts: tuple[Part, ...]

    @property
    def home(self) -> Home:
        """Its home."""
        return self.plan.home

    @property
    def programs(self) -> list[Program]:
        """What supervisord runs for it."""
        return [part.program for part in self.parts if part.program is not None]

    def health(self) -> list[Health]:
        """How each part is, asked all at once."""
        states = self.supervisor.programs()
        with ThreadPoolExecutor(max_workers=len(self.parts)) as pool:
            ailments = list(pool.map(lambda part: part.ailment(), self.parts))
        found = []
        for part, ailment in zip(self.parts, ailments, strict=True):
            state = states.get(part.name)
            word = "outside" if part.program is None else state.state if state is not None else "STOPPED"
            # Something else may answer on the port of a part that does not run.
            healthy = ailment is None and word in ("outside", "RUNNING", "STARTING")
            message = ailment or (state.description if state is not None and part.program is not None else "")
            pid = state.pid if state else None
            remark = part.remark() if healthy else None
            found.append(Health(part.name, part.title, word, healthy, message, pid, part.url, remark))
        return found


@dataclass(frozen=True, slots=True)
class Started:
    """What `up` did."""

    stack: Stack
    #: False where everything ran and was well already.
    changed: bool


def up(
    home: Home,
    *,
    port_base: int | None = None,
    environment: Mapping[str, str] | None = None,
    tell: Tell = lambda _: None,
) -> Started:
    """Starts what does not run and returns once every part is well; writes stack.json.

    Whatever an earlier start left is taken up: parts that run, parts that died, processes without a supervisord.

    Args:
        home: the home folder.
        port_base: the first port, see `choose_port_base`.
        environment: that of the command by default.
        tell: is told each step in a few words.

    Raises:
        StackError, PostgresError: one sentence on what is in the way.
    """
    environment = os.environ if environment is None else environment
    home.create()
    with home.alone():
        supervisor = Supervisor(home, home.socket())
        if supervisor.answers():
            return _up_again(home, supervisor, port_base, environment, tell)
        _clear_left_behind(home, tell)
        stack = _plan(home, supervisor, port_base, environment, tell)
        _write_dagster_home(stack.plan)
        supervisor.start(stack.programs, stack.plan.environment(environment), root=os.geteuid() == 0)
        try:
            _start_in_order(stack, tell)
        except BaseException:
            # Half a stack would hold ports and tell nobody.
            tell("stopping what was started")
            supervisor.shut_down(last=_LAST)
            raise
        home.write_private(home.stack_json, json.dumps(stack.plan.document(), indent=2) + "\n")
        return Started(stack, changed=True)


def _up_again(
    home: Home, supervisor: Supervisor, port_base: int | None, environment: Mapping[str, str], tell: Tell
) -> Started:
    memory = home.remembered()
    assert memory.port_base is not None
    if port_base not in (None, memory.port_base):
        raise StackError(
            f"The stack in {home.folder} runs with port base {memory.port_base}: "
            f"run `maap-stac down` before you start it with {port_base}."
        )
    stack = _recalled(home, supervisor)
    if all(each.healthy for each in stack.health()) and home.stack_json.exists():
        return Started(stack, changed=False)
    tell("some parts are not well: starting them again")
    for name, state in supervisor.programs().items():
        if state.state in (*_GIVEN_UP, "BACKOFF"):
            supervisor.stop(name)
    _start_in_order(stack, tell)
    home.write_private(home.stack_json, json.dumps(stack.plan.document(), indent=2) + "\n")
    return Started(stack, changed=True)


def down(home: Home, *, tell: Tell = lambda _: None) -> list[str]:
    """Stops everything that runs in a home and returns when it is gone; gives the names of what was stopped."""
    if not home.run.is_dir():
        return []
    with home.alone():
        supervisor = Supervisor(home, home.socket())
        stopped = []
        if supervisor.answers():
            stopped = [name for name, state in supervisor.programs().items() if state.pid is not None]
            tell("stopping " + ", ".join(stopped))
            if not supervisor.shut_down(last=_LAST):
                raise StackError(f"supervisord did not stop within a minute; see {home.logs / 'supervisord.log'}.")
        stopped += _clear_left_behind(home, tell)
        home.stack_json.unlink(missing_ok=True)
        return stopped


def remove(home: Home) -> None:
    """Removes a home in which nothing runs, with the data of its database, which may lie elsewhere.

    Raises:
        StackError: it is no home of a stack.
    """
    if not home.folder.exists():
        return
    if not home.run.is_dir():
        raise StackError(f"{home.folder} is not the home of a stack: nothing was removed.")
    elsewhere = home.folder / "postgres.data"
    if elsewhere.exists():
        data = Path(elsewhere.read_text().strip())
        # That file says where root's database lies; what it says is believed for such a place only.
        if data.is_relative_to("/var/lib/maap-stac") and data.is_dir():
            shutil.rmtree(data)
    shutil.rmtree(home.folder)


def find(home: Home) -> Stack | None:
    """The stack of a home as it was started last; None where it does not run."""
    if not home.run.is_dir():
        return None
    supervisor = Supervisor(home, home.socket())
    return _recalled(home, supervisor) if supervisor.answers() else None


def _clear_left_behind(home: Home, tell: Tell) -> list[str]:
    """Stops processes of a start whose supervisord is gone."""
    left = [lock.stem for lock in sorted(home.run.glob("*.lock")) if holder(lock) is not None]
    if left:
        tell("stopping what an earlier start left behind: " + ", ".join(left))
        # The database last: the others still write to it.
        left.sort(key=lambda name: name == "postgres")
        for name in left:
            stop_left_behind(lock_path(home.run, name))
    return left


def _plan(
    home: Home, supervisor: Supervisor, port_base: int | None, environment: Mapping[str, str], tell: Tell
) -> Stack:
    memory = home.remembered()
    outside = Outside.of(environment, memory.env)
    base = choose_port_base(port_base, memory.port_base, outside.own_ports)
    if memory.port_base not in (None, base):
        tell(f"the ports of the last start ({memory.port_base} …) are taken: now {base} …")
    server = None
    if not outside.postgres:
        if not (home.folder / "postgres.password").exists():
            tell("making a database cluster")
        server = PostgresServer.create(home.folder, port=base)
    plan = make_plan(
        home,
        base,
        outside,
        environment,
        postgres=server.client_environment(DATABASE) if server is not None else None,
        tiler=tiler_variables(home) if server is not None else None,
        own=memory.env,
    )
    home.remember(port_base=base, plan=plan.record())
    return Stack(plan, server, supervisor, parts(plan, server, supervisor))


def _recalled(home: Home, supervisor: Supervisor) -> Stack:
    """The stack as the running supervisord was told it, whatever the environment of this command says."""
    memory = home.remembered()
    if not memory.plan:
        raise StackError(
            f"A stack runs in {home.folder}, but what was remembered of it is gone: run `maap-stac down`, then `up`."
        )
    plan = Plan.recall(home, memory.plan)
    server = None if plan.outside.postgres else PostgresServer.create(home.folder, port=plan.port("postgres"))
    return Stack(plan, server, supervisor, parts(plan, server, supervisor))


def _write_dagster_home(plan: Plan) -> None:
    template = resources.files("maap_stac_orchestration.stack").joinpath("dagster.yaml").read_text()
    (plan.home.dagster / "dagster.yaml").write_text(template)
    location = {"host": "127.0.0.1", "port": plan.port("code-server"), "location_name": "maap_stac_orchestration"}
    # YAML is a superset of JSON.
    plan.home.workspace.write_text(json.dumps({"load_from": [{"grpc_server": location}]}) + "\n")


def _start_in_order(stack: Stack, tell: Tell) -> None:
    """Starts each part once those it needs are well; returns when all are."""
    waiting = list(stack.parts)
    well: set[str] = set()
    started: dict[str, float] = {}
    tried: dict[str, set[int]] = defaultdict(set)
    while waiting:
        for part in waiting:
            if part.name not in started and well.issuperset(part.after):
                if part.program is not None:
                    stack.supervisor.run(part.name)
                started[part.name] = time.monotonic()
        for part in [part for part in waiting if part.name in started]:
            if part.ailment() is None and _runs(stack, part):
                if part.name == "postgres":
                    _prepare(stack, tell)
                well.add(part.name)
                waiting.remove(part)
                tell(f"{part.title} is ready" + (f": {part.url}" if part.url else ""))
            else:
                _check_hope(stack, part, time.monotonic() - started[part.name], tried[part.name])
        time.sleep(0.1)


def _runs(stack: Stack, part: Part) -> bool:
    if part.program is None:
        return True
    state = stack.supervisor.programs().get(part.name)
    return state is not None and state.state in ("RUNNING", "STARTING")


def _check_hope(stack: Stack, part: Part, seconds: float, tried: set[int]) -> None:
    log = stack.home.logs / f"{part.name}.log"
    if part.program is not None:
        state = stack.supervisor.programs().get(part.name)
        if state is None:
            raise StackError(f"supervisord, which watches the {part.title}, is gone; see {stack.home.logs}.")
        if state.pid is not None:
            tried.add(state.pid)
        if state.state in _GIVEN_UP or (len(tried) >= _TRIES and state.pid is None):
            raise StackError(f"The {part.title} does not start ({_last_line(log)}); see {log}.")
    if seconds > _PATIENCE:
        raise StackError(f"The {part.title} is not well after {seconds:.0f} s ({part.ailment()}); see {log}.")


def _last_line(log: Any) -> str:
    with contextlib.suppress(OSError):
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        if lines:
            return str(lines[-1])
    return "it said nothing"


def _prepare(stack: Stack, tell: Tell) -> None:
    """Databases, pgstac, ledger and queryables, and the tiler's role."""
    tell("preparing the databases")
    plan = stack.plan
    try:
        if stack.server is not None:
            prepare_database(stack.server.url(), DATABASE, others=(DAGSTER_DATABASE,))
        else:
            create_databases(plan.database_url, plan.outside_dagster_databases)
        migrate(plan.database_url)
        if stack.server is not None:
            closed = (DAGSTER_DATABASE, "postgres")
            ensure_tiler_role(plan.database_url, plan.client[PASSWORD_VARIABLE], closed=closed)
    except psycopg.Error as error:
        raise StackError(f"The databases cannot be prepared ({str(error).strip()}); see `maap-stac doctor`.") from error
