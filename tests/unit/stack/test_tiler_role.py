"""The password of the tiler's role in a home."""

from __future__ import annotations

from pathlib import Path

from maap_stac_orchestration.stack.home import Home
from maap_stac_orchestration.stack.tiler_role import tiler_variables


def test_the_password_is_kept_and_for_its_owner_only(tmp_path: Path):
    first = tiler_variables(Home(tmp_path))
    assert tiler_variables(Home(tmp_path)) == first
    assert (tmp_path / "tiler.password").stat().st_mode & 0o777 == 0o600


def test_without_its_file_there_is_another_one(tmp_path: Path):
    first = tiler_variables(Home(tmp_path))
    (tmp_path / "tiler.password").unlink()
    assert tiler_variables(Home(tmp_path)) != first
