"""The running stack that acceptance tests share: started once for all of them, in a home and on ports of its own, and
stopped after the last of them, so that it takes nothing from the tests that come later."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

MAAP_STAC = Path(sys.executable).with_name("maap-stac")
#: Seconds for a first start on a busy machine with few cores.
START_SECONDS = 400
_FOREIGN = ("PG", "AWS_", "MAAP_STAC_", "DAGSTER_")


def clean_environment() -> dict[str, str]:
    """The environment without anything that points at a database, a store or another stack."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}


def free_port_base() -> int:
    """The first of ten free ports in a row; drawn, so that two test sessions at once do not meet."""
    while True:
        base = random.randrange(20_000, 32_000, 10)
        if not any(_listens(base + offset) for offset in range(10)):
            return base


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True)
class Commands:
    """`maap-stac` called for one home."""

    home: Path

    def run(self, command: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs a command and gives how it ended, whatever that is."""
        return subprocess.run(
            [MAAP_STAC, command, "--home", str(self.home), *arguments],
            env=clean_environment() | environment,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )

    def up(self, *arguments: str) -> dict[str, Any]:
        """Starts the stack; gives its stack.json."""
        ran = self.run("up", "--detach", *arguments)
        assert ran.returncode == 0, f"{ran.stdout}{ran.stderr}\n{self.logs()}"
        document: dict[str, Any] = json.loads((self.home / "stack.json").read_text())
        return document

    def status(self) -> dict[str, Any]:
        """What `status --json` prints."""
        document: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return document

    def logs(self) -> str:
        """The end of each part's log, for a failing test."""
        return "\n".join(
            f"== {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            for log in sorted((self.home / "logs").glob("*.log"))
        )


@pytest.fixture(scope="package")
def stack_commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """`maap-stac` for the home of the shared stack, which runs; stopped and removed after the last of them."""
    commands = Commands(tmp_path_factory.mktemp("stack") / "home")
    try:
        commands.up("--port-base", str(free_port_base()))
        yield commands
    finally:
        commands.run("down", "--purge")


@pytest.fixture(scope="package")
def stack(stack_commands: Commands) -> dict[str, Any]:
    """The stack.json of the shared stack. Tests share its data: use jobs of your own, and leave it running."""
    document: dict[str, Any] = json.loads((stack_commands.home / "stack.json").read_text())
    return document
