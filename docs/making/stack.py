"""The stack that documentation is made from: a fresh one of its own, or one that runs.

Here belong starting and stopping it by `maap-stac`. Not here: what is done with it.
"""

# ruff: noqa: S603 -- the only program that is run here is the project's own command

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MAAP_STAC = Path(sys.executable).with_name("maap-stac")
_FOREIGN = ("PG", "AWS_", "MAAP_STAC_", "DAGSTER_")
#: Where the ten ports of a fresh stack are looked for.
_PORT_BASES = range(8700, 9700, 10)


@dataclass(frozen=True, slots=True)
class RunningStack:
    """A stack that is up."""

    home: Path
    #: What stack.json says: the addresses of its parts, and what clients export.
    document: dict[str, Any]

    def url(self, part: str) -> str:
        """The address of a part, such as `api`, without a slash at its end."""
        return str(self.document[f"{part}_url"]).rstrip("/")

    @property
    def environment(self) -> dict[str, str]:
        """An environment that points at this stack and at nothing else."""
        return clean_environment() | self.document["env"] | {"MAAP_STAC_HOME": str(self.home)}

    def run(self, command: str, *arguments: str) -> None:
        """Runs `maap-stac`.

        Raises:
            subprocess.CalledProcessError: it failed; what it said was printed.
        """
        _maap_stac(command, "--home", str(self.home), *arguments)


def clean_environment() -> dict[str, str]:
    """The environment without anything that points at a database, a store or another stack."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}


@contextmanager
def running_stack(home: Path | None) -> Iterator[RunningStack]:
    """The stack at a home, which stays as it is; without one a fresh stack, removed with its data afterwards.

    Raises:
        FileNotFoundError: no stack is up at that home.
        subprocess.CalledProcessError: a fresh one did not start; what it said was printed.
    """
    if home is not None:
        yield _at(home.absolute())
        return
    with tempfile.TemporaryDirectory(prefix="maap-stac-docs-") as folder:
        place = Path(folder) / "home"
        try:
            _maap_stac("up", "--detach", "--home", str(place), "--port-base", str(_free_port_base()))
            yield _at(place)
        finally:
            _maap_stac("down", "--purge", "--home", str(place))


def _at(home: Path) -> RunningStack:
    return RunningStack(home, json.loads((home / "stack.json").read_text()))


def _maap_stac(*arguments: str) -> None:
    subprocess.run([_MAAP_STAC, *arguments], env=clean_environment(), check=True)


def _free_port_base() -> int:
    return next(base for base in _PORT_BASES if not any(_listens(base + offset) for offset in range(10)))


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
