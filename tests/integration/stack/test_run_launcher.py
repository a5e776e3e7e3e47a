"""Asking a code server after a run: one that was started anew has none of the runs of the one before."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.client import DagsterGrpcClient

from maap_stac_orchestration.stack.run_launcher import WatchedRunLauncher
from tests.conftest import free_port

_CODE = "import dagster as dg\ndefs = dg.Definitions()\n"


@pytest.fixture(scope="module")
def code_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a code server that has begun no run."""
    file, port = tmp_path_factory.mktemp("code") / "code.py", free_port()
    file.write_text(_CODE)
    command = [sys.executable, "-m", "dagster", "api", "grpc", "-h", "127.0.0.1", "-p", str(port), "-f", str(file)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client = DagsterGrpcClient(host="127.0.0.1", port=port)
        deadline = time.monotonic() + 120
        while client.health_check_query() != "SERVING":
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def status(port: int | None) -> WorkerStatus:
    tags = {} if port is None else {GRPC_INFO_TAG: json.dumps({"host": "127.0.0.1", "port": port})}
    run = dg.DagsterRun(job_name="ingest", run_id="a" * 32, tags=tags)
    return WatchedRunLauncher().check_run_worker_health(run).status


def test_a_run_that_its_code_server_does_not_know_has_failed(code_server: int) -> None:
    assert status(code_server) is WorkerStatus.FAILED


def test_nothing_follows_from_a_code_server_that_does_not_answer() -> None:
    assert status(free_port()) is WorkerStatus.RUNNING


def test_a_run_that_no_code_server_has_taken_on_is_left_to_the_timeout_of_starts() -> None:
    assert status(None) is WorkerStatus.RUNNING
