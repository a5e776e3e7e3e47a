"""supervisord's configuration says what is meant, whatever the paths hold."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from maap_stac_orchestration.stack.home import Home
from maap_stac_orchestration.stack.parts import without_password
from maap_stac_orchestration.stack.supervision import Program, configuration


def test_odd_paths_and_arguments_arrive_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home = Home(tmp_path / "100% a ;b #c" / "home")
    home.create()
    monkeypatch.chdir(home.folder)
    words = ["run", "it's", "100%", "a b", "; c", str(home.folder)]
    file = tmp_path / "supervisord.conf"
    socket = home.run / "socket"
    file.write_text(configuration(home, socket, [Program("part", words, stop_signal="INT")], root=False))

    options = ServerOptions()
    options.realize(["-c", str(file)])

    (program,) = options.process_group_configs[0].process_configs
    assert shlex.split(program.command)[-len(words) :] == words
    assert Path(program.stdout_logfile).absolute() == home.logs / "part.log"
    assert program.stopsignal == signal.SIGINT
    assert Path(options.logfile).absolute() == home.logs / "supervisord.log"
    assert Path(options.server_configs[0]["file"]).absolute() == socket


def test_addresses_for_people_hold_no_password():
    assert without_password("postgresql://me:secret@h:1/db") == "postgresql://me@h:1/db"
    assert without_password("postgresql://h/db") == "postgresql://h/db"
