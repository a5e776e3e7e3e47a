"""How a command finds the stack that it talks to."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from maap_stac_orchestration.cli.environment import use_stack
from maap_stac_orchestration.cli.errors import Told

NEEDED = ("PGHOST", "MAAP_STAC_PUBLIC_URL")


@pytest.fixture(autouse=True)
def _environment(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    for name in (*NEEDED, "MAAP_STAC_HOME"):
        os.environ.pop(name, None)
    monkeypatch.chdir(tmp_path)


def stack(home: Path, **env: str) -> Path:
    home.mkdir(parents=True)
    (home / "stack.json").write_text(json.dumps({"api_url": "http://127.0.0.1:1", "env": env}))
    return home


def test_an_environment_that_says_all_needs_no_stack():
    os.environ.update(PGHOST="db", MAAP_STAC_PUBLIC_URL="http://api")
    use_stack(None, NEEDED)
    assert os.environ["PGHOST"] == "db"


def test_what_is_missing_comes_from_the_stack_in_this_folder(tmp_path):
    stack(tmp_path / ".maap-stac", PGHOST="/run/here", AWS_REGION="us-west-2")
    use_stack(None, NEEDED)
    assert (os.environ["PGHOST"], os.environ["AWS_REGION"]) == ("/run/here", "us-west-2")
    assert os.environ["MAAP_STAC_PUBLIC_URL"] == "http://127.0.0.1:1"


def test_what_is_set_stays_where_no_home_is_named(tmp_path):
    stack(tmp_path / ".maap-stac", PGHOST="/run/here")
    os.environ["PGHOST"] = "db"
    use_stack(None, NEEDED)
    assert os.environ["PGHOST"] == "db"


def test_a_named_home_wins_over_the_environment(tmp_path):
    os.environ.update(PGHOST="db", MAAP_STAC_PUBLIC_URL="http://api")
    use_stack(stack(tmp_path / "other", PGHOST="/run/other"), NEEDED)
    assert os.environ["PGHOST"] == "/run/other"
    assert os.environ["MAAP_STAC_PUBLIC_URL"] == "http://127.0.0.1:1"


def test_the_home_may_be_set_in_the_environment(tmp_path):
    os.environ["MAAP_STAC_HOME"] = str(stack(tmp_path / "other", PGHOST="/run/other"))
    use_stack(None, NEEDED)
    assert os.environ["PGHOST"] == "/run/other"


def test_no_stack_at_all_is_one_sentence_that_says_what_to_do():
    with pytest.raises(Told, match=r"PGHOST, MAAP_STAC_PUBLIC_URL is not set.*maap-stac up"):
        use_stack(None, NEEDED)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"env": 3}'])
def test_a_broken_stack_file_is_named(tmp_path, text):
    home = tmp_path / ".maap-stac"
    home.mkdir()
    (home / "stack.json").write_text(text)
    with pytest.raises(Told, match=r"stack\.json"):
        use_stack(None, NEEDED)


def test_what_the_stack_does_not_say_is_named(tmp_path):
    stack(tmp_path / ".maap-stac", AWS_REGION="us-west-2")
    with pytest.raises(Told, match="does not say PGHOST"):
        use_stack(None, NEEDED)
