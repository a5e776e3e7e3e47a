"""How the server comes by the files of STAC Browser: from a setting, from a build, or by one in the background.

Here belongs what is there, what is on its way and what is in the way. Not here: building (`build`), answering (`app`).
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from maap_stac_orchestration.browser import build
from maap_stac_orchestration.browser.files import BuiltFile, load
from maap_stac_orchestration.browser.problems import BrowserUnavailable
from maap_stac_orchestration.settings import Settings

#: Seconds that a build may take to end when it is told to.
_PATIENCE = 10.0


class State(StrEnum):
    """Whether STAC Browser is there."""

    READY = "ready"
    #: It is being built.
    BUILDING = "building"
    #: It is not there, and nobody is about to change that.
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Standing:
    """What is there at one moment."""

    state: State
    #: One sentence for people; empty where it is ready.
    message: str = ""
    files: Mapping[str, BuiltFile] | None = None


_BUILDING = "STAC Browser is being built, once, which takes two or three minutes."
_NO_CHECKOUT = (
    "STAC Browser is not part of the installed package: take stac-browser-{version}.tar.gz of the release, or build it "
    "in a checkout (`make stac-browser-archive`), and name that file in MAAP_STAC_BROWSER_FILES."
)


class Making:
    """The files of STAC Browser on their way. `start` and `stop` are called once, `standing` whenever it matters."""

    def __init__(
        self, settings: Settings, *, builds: Path | None = None, command: Callable[[], list[str]] = build.command
    ) -> None:
        """As yet nothing is read or started.

        Args:
            settings: MAAP_STAC_BROWSER_FILES of them.
            builds: where builds are kept; that of the checkout by default.
            command: what builds, as a process.
        """
        self._named = Path(settings.browser_files).expanduser() if settings.browser_files else None
        self._builds = builds or build.builds_folder()
        self._result = build.result(self._builds) if self._builds else None
        self._command = command
        self._standing = Standing(State.BUILDING, _BUILDING)
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Reads the files, or begins to build them in the background."""
        if self._named is not None:
            self._standing = _read(self._named)
        elif self._result is None:
            self._standing = Standing(State.UNAVAILABLE, _NO_CHECKOUT.format(version=build.version()))
        elif self._result.is_dir():
            self._standing = _read(self._result)
        else:
            self._process = subprocess.Popen(  # noqa: S603  # ours
                self._command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
            threading.Thread(target=self._wait, args=(self._process,), daemon=True).start()

    def stop(self) -> None:
        """Ends a build under way; nothing of it stays."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def standing(self) -> Standing:
        """What is there now, whoever has built it: this process or, after a build that failed, somebody else."""
        with self._lock:
            missing = self._standing.state is not State.READY and self._named is None
            if missing and self._result is not None and self._result.is_dir():
                self._standing = _read(self._result)
            return self._standing

    def _wait(self, process: subprocess.Popen[str]) -> None:
        began = time.monotonic()
        _, said = process.communicate()
        with self._lock:
            if process.returncode == 0 and self._result is not None:
                self._standing = _read(self._result)
            else:
                self._standing = Standing(State.UNAVAILABLE, _failure(said, time.monotonic() - began))


def _read(place: Path) -> Standing:
    try:
        return Standing(State.READY, files=load(place))
    except BrowserUnavailable as error:
        return Standing(State.UNAVAILABLE, str(error))


def _failure(said: str, seconds: float) -> str:
    """The sentence of a build that failed, which it says last."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith("·")]
    if lines and lines[-1].startswith("Error: "):
        return lines[-1].removeprefix("Error: ")
    return (
        f"Building STAC Browser ended after {seconds:.0f} s ({lines[-1] if lines else 'it said nothing'}): run "
        "`make stac-browser` to see why."
    )
