"""Building STAC Browser from npm: the published source, ours over it, webpack; the result a folder or an archive.

What it is built from stands in `source/`: the versions of all packages by their hashes, and the files that replace
those of the published source. A result lies in a folder that is named for a hash of all that, so that a build of what
is there already takes no time, and one that was interrupted is never taken for a whole one.

Here belongs building. Not here: serving the result (`app`), and Node.js itself (`node`).
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from maap_stac_orchestration.browser.files import INDEX
from maap_stac_orchestration.browser.node import Node, node_of_pypi, own_node
from maap_stac_orchestration.browser.problems import BrowserUnavailable

Tell = Callable[[str], None]

SOURCE = Path(__file__).parent / "source"
#: The name of the folder in which builds are kept, in a checkout.
FOLDER = ".stac-browser"
_CHECKOUT = Path(__file__).parent.parent.parent
_NODE_LOCK = _CHECKOUT / "requirements-node.lock"
_UV = _CHECKOUT / ".uv" / "bin" / "uv"
_PUBLISHED = Path("node_modules", "@radiantearth", "stac-browser")
_WEBPACK = Path("node_modules", "@vue", "cli-service", "bin", "vue-cli-service.js")
#: Scripts of packages are not run. A registry that does not answer is given up after seconds, not minutes.
_NPM = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=2", "--fetch-retry-mintimeout=1000")
#: Variables that would change what is built, and those that are nothing to packages of npm.
_STRAY = re.compile(r"SB_|VUE_|BROWSERSLIST|NODE_ENV$|BABEL_ENV$|PG|AWS_|MAAP_STAC_|DAGSTER_")
#: Texts of the published source that are replaced, each with its reason.
_PATCHES = Path("patches.json")
_LICENCE = re.compile(r"(licen[cs]e|copying|notice)(\.(md|txt|markdown))?$", re.IGNORECASE)


def builds_folder() -> Path | None:
    """Where builds are kept; None where this package is not in a checkout."""
    return _CHECKOUT / FOLDER if (_CHECKOUT / "pyproject.toml").is_file() and _NODE_LOCK.is_file() else None


def version() -> str:
    """The version of STAC Browser that is built."""
    return str(json.loads((SOURCE / "package.json").read_text())["version"])


def inputs_hash() -> str:
    """A hash of all that decides what a build gives."""
    summed = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(path for path in SOURCE.rglob("*") if path.is_file()):
        summed.update(f"\0{path.relative_to(SOURCE).as_posix()}\0".encode())
        summed.update(path.read_bytes())
    return summed.hexdigest()[:16]


def result(builds: Path) -> Path:
    """The folder in which a build of what stands in `source/` lies once there is one."""
    return builds / f"{version()}-{inputs_hash()}"


def log_file(builds: Path) -> Path:
    """All that the tools said in the last build."""
    return builds / "build.log"


def build(builds: Path, *, environment: Mapping[str, str] | None = None, tell: Tell = lambda _: None) -> Path:
    """Builds STAC Browser unless it is built; gives the folder with the result.

    Of two at once one builds, and the other waits for it.

    Args:
        builds: where builds are kept.
        environment: of this process by default; npm's own settings in it hold.
        tell: is told each step in a few words.

    Raises:
        BrowserUnavailable: it cannot be built; one sentence on why, and what to do.
    """
    environment = os.environ if environment is None else environment
    place = result(builds)
    if place.is_dir():
        return place
    try:
        builds.mkdir(exist_ok=True)
        with _alone(builds, tell):
            if not place.is_dir():
                _build(builds, place, environment, tell)
    except OSError as error:
        raise BrowserUnavailable(f"STAC Browser cannot be built in {builds}: {error}.") from error
    return place


def find_node(builds: Path, environment: Mapping[str, str], tell: Tell) -> Node:
    """The Node.js that builds: that of the PATH where it is new enough, else one from PyPI.

    Raises:
        BrowserUnavailable: neither can be had.
    """
    builds.mkdir(exist_ok=True)
    return own_node(environment) or node_of_pypi(builds, _UV, _NODE_LOCK, tell=tell)


@contextlib.contextmanager
def _alone(builds: Path, tell: Tell) -> Iterator[None]:
    with (builds / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("waiting for another build of STAC Browser to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(builds: Path, place: Path, environment: Mapping[str, str], tell: Tell) -> None:
    for left in builds.glob("*unfinished-*"):  # by one that was killed
        shutil.rmtree(left)
    node = find_node(builds, environment, tell)
    room = Path(tempfile.mkdtemp(prefix="unfinished-", dir=builds))
    try:
        with log_file(builds).open("w") as log:
            _fetch(room, node, environment, log, tell)
            _bundle(room, node, environment, log, tell)
        built = room / "dist"
        (built / "licenses.txt").write_text(licences(room))
        # The server writes its own.
        (built / "config.js").unlink(missing_ok=True)
        if result(builds) != place:
            raise BrowserUnavailable(
                f"STAC Browser was built while {SOURCE} was changed, so nobody knows from what: run "
                "`make stac-browser` again."
            )
        built.rename(place)
    finally:
        tell("removing what is no longer needed")
        shutil.rmtree(room)
    for former in builds.glob("[0-9]*-*"):
        if former != place:
            shutil.rmtree(former)


def _fetch(room: Path, node: Node, environment: Mapping[str, str], log: TextIO, tell: Tell) -> None:
    tell("getting STAC Browser and what it is built from (npm)")
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copyfile(SOURCE / name, room / name)
    ran = _run([*node.npm, *_NPM], room, environment, log)
    if ran != 0:
        raise BrowserUnavailable(
            f"npm could not get what STAC Browser is built from ({_last_error(log)}): check the network and npm's "
            f"setting `registry`, then run `make stac-browser`; all that npm said stands in {log.name}."
        )


def _bundle(room: Path, node: Node, environment: Mapping[str, str], log: TextIO, tell: Tell) -> None:
    tell("building STAC Browser (webpack), which takes a minute or two")
    ours = {path.relative_to(SOURCE) for path in SOURCE.rglob("*") if path.is_file()} - {_PATCHES}
    for path in sorted((room / _PUBLISHED).rglob("*")):
        place = path.relative_to(room / _PUBLISHED)
        if path.is_file() and place not in ours:
            _copy(path, room / place)
    for place in sorted(ours):
        _copy(SOURCE / place, room / place)
    for patch in json.loads((SOURCE / _PATCHES).read_text()):
        _apply(patch, room / patch["file"])
    ran = _run([node.node, str(room / _WEBPACK), "build"], room, environment, log)
    if ran != 0 or not (room / "dist" / INDEX).is_file():
        raise BrowserUnavailable(
            f"STAC Browser could not be built ({_last_error(log)}): all that webpack said stands in {log.name}; "
            "`make stac-browser` tries again."
        )


def _apply(patch: Mapping[str, str], path: Path) -> None:
    text = path.read_text()
    if text.count(patch["old"]) != 1:
        raise BrowserUnavailable(
            f"STAC Browser could not be built: {patch['file']} of version {version()} does not have the text that "
            f"{_PATCHES} replaces once ({patch['old']!r}): correct it there, or take it out."
        )
    path.write_text(text.replace(patch["old"], patch["new"]))


def _copy(source: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, place)


def _run(command: list[str], room: Path, environment: Mapping[str, str], log: TextIO) -> int:
    kept = {name: value for name, value in environment.items() if not _STRAY.match(name)}
    path = os.pathsep.join([str(Path(command[0]).parent), kept.get("PATH", os.defpath)])
    ours = {"PATH": path, "SB_noSourceMaps": "true", "NODE_ENV": "production", "TZ": "UTC", "LC_ALL": "C", "CI": "true"}
    if command[-1] != "build":
        # npm leaves out what is for building only where this is set.
        del ours["NODE_ENV"]
    log.flush()
    return subprocess.run(  # noqa: S603  # ours
        command, cwd=room, env=kept | ours, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=False
    ).returncode


def _last_error(log: TextIO) -> str:
    """The line of a log that tells best what went wrong."""
    log.flush()
    lines = [line.strip() for line in Path(log.name).read_text(errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if re.match(r"npm error|npm ERR!|error\b|.*Error:", line, re.IGNORECASE)]
    found = [line for line in telling if "complete log of this run" not in line] or lines
    # npm begins with codes; a sentence comes third, or where it names the kind of error.
    third = found[min(2, len(found) - 1)] if found else "it said nothing"
    line = next((one for one in found if "Error: " in one), third)
    return re.sub(r"^npm (error|ERR!)\s*", "", line)[:200]


def licences(room: Path) -> str:
    """The licences of all that may be in the result, in the order of their packages' names."""
    packages: dict[str, Any] = json.loads((room / "package-lock.json").read_text())["packages"]
    texts = []
    for place, package in sorted(packages.items()):
        if place and not package.get("dev") and (room / place).is_dir():
            files = sorted(path for path in (room / place).iterdir() if path.is_file() and _LICENCE.match(path.name))
            words = "\n\n".join(path.read_text(errors="replace").strip() for path in files)
            name = place.rpartition("node_modules/")[2]
            texts.append(f"{name} {package['version']} ({package.get('license', 'see below')})\n\n{words}".rstrip())
    return ("\n\n" + "=" * 80 + "\n\n").join(texts) + "\n"


def pack(folder: Path, archive: Path) -> None:
    """Writes a build as .tar.gz; the same files give the same bytes.

    Args:
        folder: the result of a build.
        archive: the file to be written; its folder is made.
    """
    root = f"stac-browser-{version()}"
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as opened:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            member = tarfile.TarInfo(f"{root}/{path.relative_to(folder).as_posix()}")
            member.size, member.mode = path.stat().st_size, 0o644
            with path.open("rb") as content:
                opened.addfile(member, content)
    archive.parent.mkdir(parents=True, exist_ok=True)
    aside = archive.with_name(archive.name + ".unfinished")
    aside.write_bytes(gzip.compress(plain.getvalue(), mtime=0))
    aside.replace(archive)


def command() -> list[str]:
    """The command that builds in a process of its own, behind all others, and ends whole when it is told to."""
    return [sys.executable, "-m", "maap_stac_orchestration.browser", "build", "--patient"]
