"""Databases of tests lie in memory where there is room, and what killed runs left there is cleared away."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest

from tests.conftest import CLUSTER, MEMORY, ROOM, in_memory

pytestmark = pytest.mark.skipif(
    not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < ROOM, reason="there is too little room in memory"
)


def _grow_old(folder: Path) -> None:
    hour_ago = time.time() - 3600
    os.utime(folder, (hour_ago, hour_ago))


def test_a_run_leaves_the_databases_of_another_one_alone_however_long_that_takes() -> None:
    with in_memory() as other:
        assert other is not None
        _grow_old(other)
        with in_memory() as own:
            assert own is not None
            assert own != other
            assert other.is_dir()
    assert not own.exists()
    assert not other.exists()


def test_what_a_killed_run_left_is_cleared_away() -> None:
    left = Path(tempfile.mkdtemp(prefix=CLUSTER, dir=MEMORY))
    (left / "lock").write_text("1\n")
    _grow_old(left)
    with in_memory():
        assert not left.exists()


def test_a_folder_that_is_being_made_is_left_alone() -> None:
    new = Path(tempfile.mkdtemp(prefix=CLUSTER, dir=MEMORY))
    try:
        with in_memory():
            assert new.exists()
    finally:
        new.rmdir()
