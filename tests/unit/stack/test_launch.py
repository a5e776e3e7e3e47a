"""A part's lock is held as long as its program lives, and tells who it is."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from maap_stac_orchestration.stack.launch import holder, lock_path, stop_left_behind


def launch(lock: Path, *command: str, ignoring: bool = False) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "maap_stac_orchestration.stack.launch", str(lock), *command],
        start_new_session=True,
        # As a shell does for a command that a script starts with `&`.
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignoring else None,
    )
    while holder(lock) is None:
        assert process.poll() is None
        time.sleep(0.01)
    return process


def test_nobody_holds_a_lock_that_is_not_there(tmp_path: Path):
    assert holder(lock_path(tmp_path, "part")) is None


def test_the_lock_ends_with_the_program_however_that_ends(tmp_path: Path):
    lock = lock_path(tmp_path, "part")
    process = launch(lock, "sleep", "1000")
    assert holder(lock) == process.pid
    process.kill()
    process.wait()
    assert holder(lock) is None


def test_a_signal_that_was_ignored_before_is_heard(tmp_path: Path):
    lock = lock_path(tmp_path, "part")
    process = launch(lock, sys.executable, "-c", "import time; time.sleep(1000)", ignoring=True)
    deadline = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < deadline:
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    assert process.poll() is not None
    process.wait()


def test_what_was_left_behind_is_stopped_with_its_children_even_against_its_will(tmp_path: Path):
    lock = lock_path(tmp_path, "part")
    deaf = tmp_path / "deaf"
    stubborn = f"trap '' INT TERM; touch '{deaf}'; sleep 1000 & wait; sleep 1000"
    process = launch(lock, "sh", "-c", stubborn)
    while not deaf.exists():
        time.sleep(0.01)
    assert stop_left_behind(lock, patience=0.5)
    assert process.wait(5) == -signal.SIGKILL
    assert holder(lock) is None
    assert not stop_left_behind(lock)
