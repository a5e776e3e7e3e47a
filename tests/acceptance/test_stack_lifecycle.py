"""The local stack as its user meets it: up, status, down, and what becomes of it after a crash."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from maap_stac_orchestration.stack.launch import holder, lock_path
from maap_stac_orchestration.stack.object_store import client
from tests.acceptance.conftest import MAAP_STAC, Commands, clean_environment, free_port_base

pytestmark = pytest.mark.stack

PARTS = ["postgres", "object-store", "code-server", "dagster", "daemon", "api", "tiler", "browser"]


def pids(commands: Commands) -> dict[str, int]:
    return {part["name"]: part["pid"] for part in commands.status()["parts"]}


def wait_until(condition: Any, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} within {seconds:.0f} s"
        time.sleep(0.3)


class TestARunningStack:
    def test_stack_json_says_what_a_client_needs(self, stack):
        assert set(stack) >= {
            *("s3_endpoint", "bucket", "queue_url", "database_url", "dagster_url", "api_url", "tiler_url"),
            *("browser_url", "env"),
        }
        with psycopg.connect(stack["database_url"]) as connection:
            assert connection.execute("SELECT count(*) FROM pgstac.migrations").fetchone() is not None
        for url in (f"{stack['api_url']}/collections", f"{stack['dagster_url']}/server_info"):
            with urllib.request.urlopen(url, timeout=30) as answer:
                assert answer.status == 200

    def test_the_environment_leads_libraries_to_the_stack(self, stack):
        script = (
            "import boto3, psycopg, os\n"
            "print(boto3.client('s3').head_bucket(Bucket=os.environ['MAAP_STAC_BUCKETS'])"
            "['ResponseMetadata']['HTTPStatusCode'], psycopg.connect('').info.dbname)"
        )
        ran = subprocess.run(
            [sys.executable, "-c", script], env=os.environ | stack["env"], capture_output=True, text=True, check=True
        )
        assert ran.stdout.split() == ["200", "maap"]

    def test_status_shows_every_part_well(self, stack_commands):
        ran = stack_commands.run("status")
        assert ran.returncode == 0, ran.stdout
        document = stack_commands.status()
        assert document["healthy"]
        assert [part["name"] for part in document["parts"]] == PARTS

    def test_another_up_is_fine_and_changes_nothing(self, stack_commands):
        before = pids(stack_commands)
        ran = stack_commands.run("up", "--detach")
        assert ran.returncode == 0
        assert "was up already" in ran.stderr
        assert pids(stack_commands) == before

    def test_an_up_from_a_shell_that_points_at_it_means_it(self, stack_commands, stack):
        ran = stack_commands.run("up", "--detach", **stack["env"])
        assert (ran.returncode, "was up already" in ran.stderr) == (0, True), ran.stderr

    def test_it_does_not_move_while_it_runs(self, stack_commands):
        ran = stack_commands.run("up", "--detach", "--port-base", "40000")
        assert ran.returncode == 2
        assert "maap-stac down" in ran.stderr

    def test_secrets_can_be_read_by_their_owner_only(self, stack_commands):
        home = stack_commands.home
        assert home.stat().st_mode & 0o077 == 0
        for name in ("stack.json", "postgres.password", "tiler.password", "run/supervisord.conf", "memory.json"):
            assert (home / name).stat().st_mode & 0o077 == 0, name

    def test_the_dead_letter_queue_is_behind_the_queue(self, stack):
        sqs = client("sqs", stack["s3_endpoint"])
        attributes = sqs.get_queue_attributes(QueueUrl=stack["queue_url"], AttributeNames=["RedrivePolicy"])
        assert json.loads(attributes["Attributes"]["RedrivePolicy"])["maxReceiveCount"] == 5


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """A stack that may be broken, in a home with a space and a path too long for a Unix socket."""
    commands = Commands(tmp_path_factory.mktemp("own stack") / ("long" * 25) / "home")
    run = commands.home / "run"
    run.mkdir(parents=True)
    # What a crash may have left: a socket that nobody listens on, a process id of nobody, a part that runs on.
    (run / "supervisord.pid").write_text("999999\n")
    (run / "supervisor.sock").write_text("")
    left = subprocess.Popen(
        [
            *(sys.executable, "-m", "maap_stac_orchestration.stack.launch", str(lock_path(run, "api"))),
            *("sleep", "1000"),
        ],
        start_new_session=True,
    )
    wait_until(lambda: holder(lock_path(run, "api")) == left.pid, 10, "the old part has its lock")
    try:
        commands.up("--port-base", str(free_port_base()))
        assert left.wait(1) is not None
        yield commands
    finally:
        left.kill()
        commands.run("down", "--purge")


def test_a_stack_whose_supervisor_was_killed_comes_back_with_its_data(own):
    before = json.loads((own.home / "stack.json").read_text())
    bucket = before["bucket"]
    client("s3", before["s3_endpoint"]).put_object(Bucket=bucket, Key="kept", Body=b"bytes")
    with psycopg.connect(before["database_url"]) as connection:
        connection.execute("CREATE TABLE public.kept AS SELECT 42 AS answer")

    os.kill(int((own.home / "run" / "supervisord.pid").read_text()), signal.SIGKILL)
    after = own.up()

    assert after == before
    assert client("s3", after["s3_endpoint"]).get_object(Bucket=bucket, Key="kept")["Body"].read() == b"bytes"
    with psycopg.connect(after["database_url"]) as connection:
        assert connection.execute("SELECT answer FROM public.kept").fetchone() == (42,)


def test_a_part_that_dies_is_started_again(own):
    before = pids(own)
    for part in ("api", "object-store", "tiler"):
        os.kill(before[part], signal.SIGKILL)
    wait_until(lambda: own.status()["healthy"], 90, "everything is well again")
    after = pids(own)
    assert {part for part in PARTS if after[part] != before[part]} == {"api", "object-store", "tiler"}
    document = json.loads((own.home / "stack.json").read_text())
    sqs = client("sqs", document["s3_endpoint"])
    assert sqs.get_queue_attributes(QueueUrl=document["queue_url"])["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_down_stops_everything_and_waits(own):
    running = pids(own)
    ran = own.run("down")
    assert ran.returncode == 0, ran.stderr
    assert set(PARTS) <= set(ran.stdout.removeprefix("Stopped: ").rstrip(".\n").split(", "))
    for pid in running.values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not (own.home / "stack.json").exists()
    status = own.run("status")
    assert (status.returncode, "maap-stac up" in status.stdout) == (1, True)
    again = own.run("down")
    assert (again.returncode, again.stdout.startswith("Nothing runs")) == (0, True)


def test_an_impatient_ctrl_c_stops_everything(own):
    shown = subprocess.Popen(
        [MAAP_STAC, "up", "--home", str(own.home)],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert shown.stdout is not None
        assert any("Ctrl-C" in line for line in shown.stdout)
        running = pids(own)
        for _ in range(3):
            shown.send_signal(signal.SIGINT)
            time.sleep(0.3)
        assert shown.wait(120) == 0
    finally:
        shown.kill()
    for pid in running.values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_taken_port_is_named_with_the_option(tmp_path):
    base = free_port_base()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base + 2))
        taken.listen()
        ran = Commands(tmp_path / "home").run("up", "--detach", "--port-base", str(base))
    assert ran.returncode == 2
    assert f"Port {base + 2} of 127.0.0.1" in ran.stderr
    assert "--port-base" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_database_that_cannot_be_reached_is_one_sentence(tmp_path):
    ran = Commands(tmp_path / "home").run("up", "--detach", PGHOST="127.0.0.1", PGPORT="1", PGUSER="nobody")
    assert ran.returncode == 2
    assert "unset PGHOST for a local one" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_store_without_a_bucket_is_one_sentence(postgres_server, database, tmp_path):
    variables = postgres_server.client_environment(database.rsplit("/", 1)[1])
    ran = Commands(tmp_path / "home").run("up", "--detach", AWS_ENDPOINT_URL="http://127.0.0.1:1", **variables)
    assert ran.returncode == 2
    assert "MAAP_STAC_BUCKETS" in ran.stderr


def test_a_folder_that_is_no_home_is_not_removed(tmp_path: Path):
    (tmp_path / "precious").write_text("data")
    ran = Commands(tmp_path).run("down", "--purge")
    assert ran.returncode == 1
    assert (tmp_path / "precious").exists()
