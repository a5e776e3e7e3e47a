"""supervisord, which starts, watches, restarts and stops the parts, and rotates their logs.

Here belongs how it is configured, started and asked. Not here: which parts there are (`parts`) and in which order they
start (`lifecycle`).
"""

from __future__ import annotations

import contextlib
import http.client
import shlex
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import Faults, SupervisorTransport

from maap_stac_orchestration.stack.errors import StackError
from maap_stac_orchestration.stack.home import Home
from maap_stac_orchestration.stack.launch import lock_path

_IDENTIFIER = "maap-stac"
_LOG_BYTES = "10MB"
_LOG_BACKUPS = 3


@dataclass(frozen=True, slots=True)
class Program:
    """A process that supervisord runs."""

    name: str
    command: Sequence[str]
    stop_signal: str = "TERM"
    #: Seconds until it is killed.
    stop_seconds: int = 20
    #: Whether its children get the signal too.
    stop_group: bool = True


@dataclass(frozen=True, slots=True)
class ProgramState:
    """What supervisord says of a program."""

    name: str
    #: supervisor's word: RUNNING, STARTING, BACKOFF, FATAL, STOPPED …
    state: str
    pid: int | None
    #: When it was started, seconds since 1970.
    started: int
    #: supervisor's sentence, for example its uptime or how it ended.
    description: str


def configuration(home: Home, socket: Path, programs: Sequence[Program], *, root: bool) -> str:
    """supervisord's configuration file.

    Args:
        home: the home folder.
        socket: where its socket is to be.
        programs: what it is to run; nothing starts by itself, since the parts need each other in order.
        root: whether it will run as root, which supervisor otherwise warns of at each start.
    """

    def path(where: Path) -> str:
        # Relative, so that the home may be called anything: supervisor fills in some values twice, others once.
        return str(where.relative_to(home.folder)) if where.is_relative_to(home.folder) else str(where)

    sections = [
        "; Written by `maap-stac up` at each start; changes here do not last.",
        "[supervisord]",
        "nodaemon = true",
        "silent = true",
        "strip_ansi = true",
        f"identifier = {_IDENTIFIER}",
        f"childlogdir = {path(home.logs)}",
        f"logfile = {path(home.logs / 'supervisord.log')}",
        f"logfile_maxbytes = {_LOG_BYTES}",
        f"logfile_backups = {_LOG_BACKUPS}",
        f"pidfile = {path(home.run / 'supervisord.pid')}",
        "umask = 077",
        *(["user = root"] if root else []),
        "",
        "[unix_http_server]",
        f"file = {path(socket)}",
        "chmod = 0700",
        "",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for priority, program in enumerate(programs, start=1):
        launch = [
            *(sys.executable, "-m", "maap_stac_orchestration.stack.launch", str(lock_path(home.run, program.name))),
            *program.command,
        ]
        sections += [
            "",
            f"[program:{program.name}]",
            f"command = {_command(launch)}",
            "autostart = false",
            # Told to stop by a signal, it goes through them from the last to the first.
            f"priority = {priority}",
            "autorestart = true",
            # Ended sooner, it counts as a failed start, which is tried again with growing delays.
            "startsecs = 5",
            "startretries = 20",
            f"stopsignal = {program.stop_signal}",
            f"stopwaitsecs = {program.stop_seconds}",
            f"stopasgroup = {str(program.stop_group).lower()}",
            "killasgroup = true",
            "redirect_stderr = true",
            f"stdout_logfile = {path(home.logs / f'{program.name}.log')}",
            f"stdout_logfile_maxbytes = {_LOG_BYTES}",
            f"stdout_logfile_backups = {_LOG_BACKUPS}",
        ]
    return "\n".join(sections) + "\n"


def _command(words: Sequence[str]) -> str:
    # supervisor fills in %(…)s. To its reader a semicolon or a hash behind a space begins a comment, quoted or not:
    # between the two, the quotes end and begin again.
    quoted = shlex.join(words).replace("%", "%%")
    return quoted.replace(" ;", " '';").replace(" #", " ''#")


class Supervisor:
    """A supervisord that may or may not run."""

    def __init__(self, home: Home, socket: Path) -> None:
        self._home = home
        self._socket = socket

    def start(self, programs: Sequence[Program], environment: Mapping[str, str], *, root: bool) -> None:
        """Starts supervisord with none of its programs, in a session of its own, and returns once it answers.

        Raises:
            StackError: it ended or did not answer.
        """
        config = configuration(self._home, self._socket, programs, root=root)
        self._home.write_private(self._home.supervisor_config, config)
        output = self._home.logs / "supervisord.out"
        # What a killed one left; nobody answered there, or we would not start another.
        self._socket.unlink(missing_ok=True)
        with output.open("wb") as log:
            process = subprocess.Popen(  # noqa: S603  # our own interpreter
                [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._home.supervisor_config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                # Its configuration names files from here.
                cwd=self._home.folder,
                # A Ctrl-C is for `maap-stac up`, which then stops the parts in order.
                start_new_session=True,
            )
        deadline = time.monotonic() + 15
        while not self.answers():
            if process.poll() is not None:
                last = output.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
                raise StackError(f"supervisord ended while starting: {last[0]}; see {output}.")
            if time.monotonic() > deadline:
                process.terminate()
                raise StackError(f"supervisord did not answer within 15 s; see {self._home.logs}.")
            time.sleep(0.02)

    def answers(self) -> bool:
        """Whether it runs."""
        try:
            return bool(self._server.getIdentification() == _IDENTIFIER)
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return False

    def programs(self) -> dict[str, ProgramState]:
        """What it says of its programs; nothing when it does not run."""
        try:
            answer: Any = self._server.getAllProcessInfo()
        except (OSError, http.client.HTTPException):
            return {}
        return {
            each["name"]: ProgramState(
                name=each["name"],
                state=each["statename"],
                pid=each["pid"] or None,
                started=each["start"],
                description=each["description"] or each["spawnerr"],
            )
            for each in answer
        }

    def run(self, name: str) -> None:
        """Starts a program; one that runs already is left alone.

        Raises:
            StackError: it cannot be started.
        """
        try:
            self._server.startProcess(name, False)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != Faults.ALREADY_STARTED:
                raise StackError(
                    f"{name} cannot be started ({fault.faultString}); see {self._home.logs / name}.log."
                ) from None

    def shut_down(self, *, last: Sequence[str] = (), timeout: float = 60.0) -> bool:
        """Stops every program and supervisord itself; gives whether all is gone in time.

        Args:
            last: programs that stop after all others, which still need them. supervisord would stop them one by one.
            timeout: seconds.
        """
        others = [name for name, state in self.programs().items() if name not in last and state.pid is not None]
        with contextlib.suppress(OSError, http.client.HTTPException, xmlrpc.client.Fault):
            for name in others:
                self._server.stopProcess(name, False)
        patience = time.monotonic() + timeout / 2
        while time.monotonic() < patience:
            states = self.programs()
            if all(name not in states or states[name].pid is None for name in others):
                break
            time.sleep(0.05)
        # A shutdown that is under way already says so with a fault.
        with contextlib.suppress(OSError, http.client.HTTPException, xmlrpc.client.Fault):
            self._server.shutdown()
        deadline = time.monotonic() + timeout
        while self._listens():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def _listens(self) -> bool:
        """Whether there is a supervisord, be it one that only stops its programs and answers nothing else."""
        try:
            self._server.getPID()
        except xmlrpc.client.Error:
            return True
        except (OSError, http.client.HTTPException):
            return False
        return True

    def stop(self, name: str) -> None:
        """Stops a program and waits for its end; one that does not run is left alone."""
        with contextlib.suppress(xmlrpc.client.Fault):
            self._server.stopProcess(name, True)

    @property
    def _server(self) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")  # type: ignore[no-untyped-call]
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor
