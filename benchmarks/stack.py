"""A local stack of a benchmark's own, started from nothing and gone afterwards."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.result import CannotMeasure

#: Ports in a row that a stack takes.
_PORTS = 10
_START_SECONDS = 300
_MAAP_STAC = Path(sys.executable).with_name("maap-stac")


@contextmanager
def running_stack(outside: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
    """Starts a stack in a temporary home and gives its stack.json; its `env` is in os.environ until the end.

    Args:
        outside: variables that point at parts which run already, to be used instead of the stack's own.

    Raises:
        CannotMeasure: it did not start.
    """
    home = Path(tempfile.mkdtemp(prefix="maap-stac-bench-"))
    former = dict(os.environ)
    # A stack uses what the environment points at: this one shall have everything of its own.
    clean = {
        name: value for name, value in former.items() if not name.startswith(("PG", "AWS_", "MAAP_STAC_", "DAGSTER_"))
    } | dict(outside or {})
    try:
        maap_stac("up", "--detach", "--home", str(home), "--port-base", str(_free_ports()), env=clean)
        document = json.loads((home / "stack.json").read_bytes())
        os.environ.clear()
        os.environ.update(clean | document["env"])
        yield document
    finally:
        os.environ.clear()
        os.environ.update(former)
        maap_stac("down", "--home", str(home), env=clean)
        shutil.rmtree(home, ignore_errors=True)


def maap_stac(*arguments: str, env: Mapping[str, str]) -> None:
    """Runs a command of `maap-stac` in this environment.

    Raises:
        CannotMeasure: it failed.
    """
    try:
        subprocess.run(
            [_MAAP_STAC, *arguments], env=dict(env), check=True, capture_output=True, text=True, timeout=_START_SECONDS
        )
    except subprocess.CalledProcessError as error:
        raise CannotMeasure(f"`maap-stac {arguments[0]}` failed: {error.stderr.strip()}") from error
    except subprocess.TimeoutExpired as error:
        raise CannotMeasure(f"`maap-stac {arguments[0]}` took more than {_START_SECONDS} s.") from error


def _free_ports() -> int:
    """The first of so many ports in a row that nobody listens on."""
    for base in range(21_000, 30_000, 2 * _PORTS):
        if all(_is_free(port) for port in range(base, base + _PORTS)):
            return base
    raise CannotMeasure(f"There are no {_PORTS} free ports in a row.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
