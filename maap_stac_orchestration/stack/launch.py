"""How a part's process begins: it takes the part's lock, gets default signals, and becomes the part's program.

Here belongs what every process of the stack needs whatever it runs, and how processes are found that an earlier start
left behind. Not here: which processes there are (`parts`) and who watches them (`supervision`).

Run as `python -m maap_stac_orchestration.stack.launch LOCKFILE COMMAND…`. The lock is a descriptor that the program
inherits, so it is held exactly as long as the program lives, however it ends; the file holds the process id.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys
import time
from pathlib import Path

#: Seconds to wait for an earlier process of the same part: PostgreSQL's children outlive a killed server a little.
_PATIENCE = 20.0
_PR_SET_PDEATHSIG = 1


def lock_path(run: Path, part: str) -> Path:
    """The lock file of a part."""
    return run / f"{part}.lock"


def holder(lock: Path) -> int | None:
    """The process id of the program that holds a lock; None when nobody does."""
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.read(descriptor, 32).decode("ascii", "replace").strip()
        return int(text) if text.isdigit() else None
    finally:
        os.close(descriptor)
    return None


def stop_left_behind(lock: Path, patience: float = 15.0) -> bool:
    """Stops the program that holds a lock, with its whole process group; kills it when it takes too long.

    Gives whether there was one.
    """
    process = holder(lock)
    if process is None:
        return False
    for number, seconds in ((signal.SIGINT, patience / 3), (signal.SIGTERM, patience), (signal.SIGKILL, 10.0)):
        _signal(process, number)
        if _wait(lock, seconds):
            return True
    return True


def _signal(process: int, number: signal.Signals) -> None:
    # supervisor gives each program a process group of its own. A holder that leads none is one that was started
    # otherwise; then only the process itself is meant.
    try:
        if os.getpgid(process) == process:
            os.killpg(process, number)
        else:
            os.kill(process, number)
    except ProcessLookupError:
        return


def _wait(lock: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holder(lock) is None:
            return True
        time.sleep(0.05)
    return False


def _take(lock: Path) -> None:
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                sys.exit(f"{lock} is held by process {holder(lock)}, an earlier one of this part that does not end.")
            time.sleep(0.1)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    os.set_inheritable(descriptor, True)


def _restore_signals() -> None:
    # Started with `&` from a script, SIGINT is ignored, for ever and for every child; Dagster even copies that to
    # SIGTERM, and nothing but SIGKILL would stop it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _end_with_parent() -> None:
    # Where supervisord is killed nobody would watch its children any more. Only Linux knows this; elsewhere the next
    # start finds them by their locks.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def main() -> None:
    """Becomes the program."""
    if len(sys.argv) < 3:
        sys.exit("usage: launch LOCKFILE COMMAND [ARGUMENT …]")
    lock, command = Path(sys.argv[1]), sys.argv[2:]
    _take(lock)
    _restore_signals()
    _end_with_parent()
    os.execvp(command[0], command)  # noqa: S606  # that is what it is for


if __name__ == "__main__":
    main()
