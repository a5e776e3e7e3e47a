"""Where no other user runs the server, its data and its password lie side by side in the home, and both stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from maap_stac_orchestration.stack import postgres
from maap_stac_orchestration.stack.postgres import Binaries, PostgresServer

#: Does what matters here of initdb: it reads the password and makes a cluster.
INITDB = """#!/bin/sh
for argument in "$@"; do
  case $argument in
    --pgdata=*) data=${argument#--pgdata=};;
    --pwfile=*) cat "${argument#--pwfile=}" >/dev/null || exit 1;;
  esac
done
echo 15 >"$data/PG_VERSION"
touch "$data/postgresql.conf"
"""


def test_the_password_outlives_the_making_of_the_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    initdb = tmp_path / "bin" / "initdb"
    initdb.parent.mkdir()
    initdb.write_text(INITDB)
    initdb.chmod(0o755)
    monkeypatch.setattr(postgres, "find_binaries", lambda major=None: Binaries(initdb.parent, 15))
    monkeypatch.setattr(postgres, "_server_user", lambda: None)

    made = PostgresServer.create(tmp_path / "home", port=1)
    again = PostgresServer.create(tmp_path / "home", port=1)

    assert made.data_dir == tmp_path / "home" / "postgres"
    assert (tmp_path / "home" / "postgres.password").stat().st_mode & 0o077 == 0
    assert again.password == made.password
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == ["postgres", "postgres.password"]
