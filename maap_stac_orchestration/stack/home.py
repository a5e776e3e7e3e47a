"""The home folder of a local stack: which file lies where, and what is remembered from one start to the next.

Here belong paths, the lock against two starts at once, and the record of ports. Not here: what the processes keep in
their own folders.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from maap_stac_orchestration.stack.errors import StackError

#: Set, it takes the place of the default of `--home`.
HOME_VARIABLE = "MAAP_STAC_HOME"
DEFAULT_HOME = ".maap-stac"

# A path of a Unix socket has at most 103 bytes (macOS; 107 on Linux), and supervisor binds to a longer one first.
_LONGEST_SOCKET = 88


@dataclass(frozen=True, slots=True)
class Memory:
    """What a home remembers between two starts."""

    #: The first of the ports.
    port_base: int | None = None
    #: supervisord's socket.
    socket: str | None = None
    #: The plan of the last start, see `plan.Plan.record`.
    plan: dict[str, Any] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        """What clients were told to export then: where the environment says just that, it means this stack.

        Without the variables of parts that were used and not started: who says the same of them again means them again.
        """
        outside = self.plan.get("outside", {})
        left_out: tuple[str, ...] = ()
        if outside.get("postgres"):
            left_out += ("PG", "MAAP_STAC_TILER_PG")
        if outside.get("store"):
            left_out += ("AWS_", "MAAP_STAC_BUCKETS", "MAAP_STAC_QUEUE_URL")
        if outside.get("tiler"):
            left_out += ("MAAP_STAC_TILER_URL",)
        client: dict[str, str] = self.plan.get("client", {})
        return {name: value for name, value in client.items() if not name.startswith(left_out)}


@dataclass(frozen=True, slots=True)
class Home:
    """A home folder."""

    folder: Path

    @classmethod
    def at(cls, folder: str | Path | None = None) -> Home:
        """The home at a folder; without one `MAAP_STAC_HOME`, else `.maap-stac` in the working directory."""
        chosen = folder or os.environ.get(HOME_VARIABLE) or DEFAULT_HOME
        return cls(Path(chosen).expanduser().absolute())

    @property
    def stack_json(self) -> Path:
        """What runs where, for clients; there while the stack is up."""
        return self.folder / "stack.json"

    @property
    def logs(self) -> Path:
        """Folder of the parts' logs, which supervisor rotates."""
        return self.folder / "logs"

    @property
    def run(self) -> Path:
        """Folder of what belongs to running processes only."""
        return self.folder / "run"

    @property
    def objects(self) -> Path:
        """Folder of the object store."""
        return self.folder / "objects"

    @property
    def dagster(self) -> Path:
        """DAGSTER_HOME."""
        return self.folder / "dagster"

    @property
    def workspace(self) -> Path:
        """Dagster's workspace file, which names the code server."""
        return self.dagster / "workspace.yaml"

    @property
    def tiler_password(self) -> Path:
        """The password of the tiler's role in the stack's own database."""
        return self.folder / "tiler.password"

    @property
    def supervisor_config(self) -> Path:
        """supervisord's configuration."""
        return self.run / "supervisord.conf"

    @property
    def _memory(self) -> Path:
        return self.folder / "memory.json"

    def create(self) -> None:
        """Makes the folders.

        Raises:
            StackError: they cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            for folder in (self.logs, self.run, self.objects, self.dagster):
                folder.mkdir(exist_ok=True)
            ignore = self.folder / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
        except OSError as error:
            raise StackError(
                f"The home folder {self.folder} cannot be used ({error.strerror}): choose another with --home."
            ) from None

    def remembered(self) -> Memory:
        """What the last start left; nothing where there was none."""
        try:
            document = json.loads(self._memory.read_text())
        except FileNotFoundError:
            return Memory()
        except (OSError, ValueError) as error:
            raise StackError(
                f"{self._memory} cannot be read ({error}): remove that file; the ports are chosen afresh then."
            ) from None
        return Memory(**document)

    def remember(self, **changes: Any) -> Memory:
        """Changes what is remembered."""
        memory = replace(self.remembered(), **changes)
        self.write_private(self._memory, json.dumps(asdict(memory), indent=2))
        return memory

    def socket(self) -> Path:
        """Where supervisord's socket lies: in the home, or in a temporary folder where that is too long."""
        own = self.run / "supervisor.sock"
        if len(os.fsencode(own)) <= _LONGEST_SOCKET:
            return own
        remembered = self.remembered().socket
        if remembered is not None and Path(remembered).parent.is_dir():
            return Path(remembered)
        elsewhere = Path(tempfile.mkdtemp(prefix="maap-stac-", dir="/tmp")) / "supervisor.sock"  # short
        self.remember(socket=str(elsewhere))
        return elsewhere

    def write_private(self, path: Path, text: str) -> None:
        """Writes a file that only its owner may read, as a whole or not at all."""
        partial = path.with_name(path.name + ".partial")
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        partial.replace(path)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Holds the home against other starts and stops, which wait meanwhile."""
        with (self.run / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
