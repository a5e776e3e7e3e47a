"""What docs/notifications.md says is so: its receiver verifies what is sent, and messages look like its example."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from maap_stac_orchestration.cli import COMMANDS
from maap_stac_orchestration.cli.webhook import COMMANDS as WEBHOOK_COMMANDS
from maap_stac_orchestration.ledger.records import State
from maap_stac_orchestration.pipeline.notification import answer, subscriptions
from maap_stac_orchestration.problems import Code, Problem
from maap_stac_orchestration.settings import Settings
from tests.conftest import free_port
from tests.integration.pipeline.notifying import AUTHOR, Connection, add, end_job, send, settings
from tests.integration.receivers import receiving

DOCS = Path(__file__).parents[3] / "docs"
RECEIVER = DOCS / "examples" / "webhook-receiver" / "receiver.py"
PAGE = (DOCS / "notifications.md").read_text()


def blocks(language: str) -> list[str]:
    """The page's examples in a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def keys(document: Any) -> Any:
    """The shape of a document: its keys, and those of what it holds."""
    if isinstance(document, dict):
        return {name: keys(value) for name, value in document.items()}
    return [keys(document[0])] if isinstance(document, list) and document else None


def test_the_receiver_takes_what_is_sent_once_and_refuses_what_is_not_genuine(connection: Connection) -> None:
    address = f"http://127.0.0.1:{free_port()}/"
    endpoint, secret = add(connection, address)
    process = subprocess.Popen(
        [sys.executable, str(RECEIVER), address.rpartition(":")[2].rstrip("/")],
        env={**os.environ, "WEBHOOK_SECRET": secret},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(lambda: subscriptions.try_out(connection, settings(), endpoint.id).delivered)
        job = end_job(connection, 1, State.REJECTED, problems=(Problem(Code.ITEM_INVALID, "one"),))
        assert send(connection).told == 1
        connection.execute("UPDATE ledger.delivery SET state = 'pending', due_at = now(), ended_at = NULL")
        assert send(connection).told == 1, "the same once more"
        _, rotated = subscriptions.rotate(connection, endpoint.id, AUTHOR)
        assert subscriptions.try_out(connection, settings(), endpoint.id).delivered, "both signatures are there"
        assert rotated != secret
        forged = {"webhook-id": "1", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1,AAAA"}
        assert requests.post(address, data=b"{}", headers=forged, timeout=10).status_code == 401
        assert requests.post(address, data=b"{}", timeout=10).status_code == 401
    finally:
        # Not by SIGTERM, which is ignored by whatever is started from where it is ignored.
        process.kill()
        printed, _ = process.communicate(timeout=10)
    lines = printed.splitlines()
    assert lines.count(f"org.maap-project.stac.job.rejected {job} ['item_invalid']") == 1
    assert sum(line.startswith("org.maap-project.stac.test") for line in lines) == 2


def wait_for(done: Callable[[], bool]) -> None:
    """Until the receiver listens."""
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline, "the receiver never came up"
        time.sleep(0.1)


def test_the_page_shows_the_receiver_as_it_is() -> None:
    assert blocks("python") == [RECEIVER.read_text()]


def test_a_message_looks_like_the_example(connection: Connection) -> None:
    with receiving() as receiver:
        add(connection, receiver.url)
        found = (Problem(Code.GEOMETRY_INVALID, "scene-17"),)
        end_job(connection, 1, State.PARTIAL, problems=found, collections=("maap-floods",))
        send(connection)
    (example,) = (json.loads(block) for block in blocks("json"))
    assert keys(receiver.received[0].event) == keys(example)


def test_the_waits_are_those_that_the_page_names() -> None:
    named = "5 seconds, 30 seconds, 5 minutes, 30 minutes, 2 hours, 8 hours and 24 hours"
    assert named in PAGE
    units = {"seconds": 1, "minutes": 60, "hours": 3600}
    seconds = [int(number) * units[unit] for number, unit in re.findall(r"(\d+) (\w+)", named)]
    assert seconds == [wait.total_seconds() for wait in answer.BACKOFF]
    assert Settings().webhook_attempts == len(answer.BACKOFF) + 1


@pytest.mark.parametrize(
    "words", [shlex.split(line) for block in blocks("bash") for line in block.splitlines() if line.startswith("maap")]
)
def test_commands_of_the_page_are_there(words: list[str]) -> None:
    from importlib import import_module

    assert words[0] == "maap-stac"
    assert words[1] in COMMANDS
    module = f"maap_stac_orchestration.cli.{words[1]}"
    if words[1] == "webhook":
        module += f".{WEBHOOK_COMMANDS[words[2]]}"
    arguments = words[3:] if words[1] == "webhook" else words[2:]
    command = import_module(module).command
    command.make_context(words[1], arguments)


def test_settings_of_the_page_are_there() -> None:
    named = re.findall(r"MAAP_STAC_([A-Z_]+)`", PAGE)
    assert named
    assert {name.lower() for name in named} <= Settings.model_fields.keys()
