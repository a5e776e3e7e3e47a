"""What the API's process writes to stderr, started as the local stack starts it: every line is JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from maap_stac_orchestration.log_events import COMMON, EVENTS, OTHER, OTHER_FIELDS, Event
from maap_stac_orchestration.stack import parts
from tests.conftest import free_port


@pytest.fixture
def lines(database_env: dict[str, str], tmp_path: Path) -> list[dict[str, Any]]:
    """The lines of a server that was asked for what breaks and what does not; ends before they are read."""
    port, log = free_port(), tmp_path / "stderr.log"
    command = [
        *(sys.executable, "-m", "uvicorn", "--factory", "tests.integration.api.breaking:create_app"),
        *("--host", "127.0.0.1", "--port", str(port), "--no-access-log", "--log-config", str(parts._LOG_CONFIG)),
    ]
    environment = {**os.environ, **database_env, "MAAP_STAC_BUCKETS": "b"}
    with log.open("wb") as stderr, subprocess.Popen(command, stderr=stderr, env=environment) as server:
        url = f"http://127.0.0.1:{port}"
        try:
            while True:
                assert server.poll() is None, log.read_text()
                try:
                    requests.get(f"{url}/_mgmt/ping", timeout=5)
                    break
                except requests.ConnectionError:
                    time.sleep(0.1)
            for path, name in (("breaks", "req-1"), ("warns", "req-2"), ("jobs", "req-3")):
                requests.get(f"{url}/{path}", headers={"X-Request-ID": name}, timeout=30)
        finally:
            server.terminate()
            server.wait(30)
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_every_line_is_json_and_those_of_a_request_bear_its_id(lines: list[dict[str, Any]]) -> None:
    for line in lines:
        described = OTHER_FIELDS if line["event"] == OTHER else EVENTS[Event(line["event"])].fields
        assert [name for name in line if name not in COMMON] == list(described)
        assert [name for name in COMMON if name in line] == list(line)[: len(line) - len(described)]
    about = {name: [line for line in lines if line.get("request_id") == name] for name in ("req-1", "req-2", "req-3")}

    requested, broken = about["req-1"]
    assert (requested["event"], requested["route"], requested["status"]) == ("http.request", "/breaks", 500)
    assert (broken["event"], broken["level"]) == (OTHER, "error")
    assert broken["exception"].endswith("RuntimeError: the machine\nbroke")

    warned, requested = about["req-2"]
    assert (warned["level"], warned["logger"], warned["message"]) == ("warning", "some.library", "mind the gap")
    assert warned["exception"] is None
    assert (requested["event"], requested["status"]) == ("http.request", 200)

    assert [line["event"] for line in about["req-3"]] == ["http.request"]
    # One line a request: uvicorn does not tell of it too.
    assert sum("/jobs" in json.dumps(line) for line in lines) == 1
    assert not [line for line in lines if "nobody reads this" in json.dumps(line)]
    assert {line["event"] for line in lines if "request_id" not in line} <= {OTHER}
