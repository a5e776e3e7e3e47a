"""What goes wrong around a job costs time, never the job: late files, forged names, a database that dies."""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from tests.acceptance.client import StackClient, eventually
from tests.acceptance.conftest import Commands

pytestmark = pytest.mark.stack

ALGORITHM, VERSION = "faults", "v1"
CATALOG = {
    "type": "Catalog",
    "id": "DPS",
    "stac_version": "1.1.0",
    "description": "outputs",
    "links": [{"rel": "item", "href": "./item.json"}],
}


def _prefix(user: str, tag: str) -> str:
    return f"{user}/dps_output/{ALGORITHM}/{VERSION}/{tag}/{datetime.now(UTC):%Y/%m/%d/%H/%M/%S/%f}/"


def _metadata(user: str, tag: str) -> dict[str, Any]:
    return {"username": user, "algorithm_name": ALGORITHM, "algorithm_version": VERSION, "tag": tag}


def _item(name: str) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": name,
        "geometry": {"type": "Point", "coordinates": [1.0, 2.0]},
        "bbox": [1.0, 2.0, 1.0, 2.0],
        "properties": {"datetime": "2024-06-01T00:00:00Z"},
        "links": [],
        "assets": {},
    }


def _put_job(client: StackClient, prefix: str, metadata: dict[str, Any]) -> None:
    client.put(f"{prefix}item.json", _item("one"))
    client.put(f"{prefix}output-2026-01-01T00:00:00.000000.met.json", metadata)
    client.put(f"{prefix}catalog.json", CATALOG)


def test_a_catalog_that_comes_before_its_metadata_and_its_item_waits_for_them(stack: dict[str, Any]) -> None:
    client = StackClient(stack)
    prefix = _prefix("late-user", "late")
    client.put(f"{prefix}catalog.json", CATALOG)

    def waiting() -> dict[str, Any] | None:
        job = client.job(prefix)
        return job if job and job["state"] == "waiting" else None

    first = eventually(waiting, 60)
    assert [problem["code"] for problem in first["problems"]] == ["metadata_missing"]
    client.put(f"{prefix}output-2026-01-01T00:00:00.000000.met.json", _metadata("late-user", "late"))
    second = eventually(lambda: (job := waiting()) and (job["problems"] != first["problems"] or None) and job, 120)
    assert [problem["code"] for problem in second["problems"]] == ["link_missing"]
    client.put(f"{prefix}item.json", _item("one"))
    job = client.await_jobs([prefix], timeout=180)[prefix]
    assert (job["state"], job["problems"], job["counts"]["loaded"]) == ("loaded", [], 1)


def test_a_forged_username_lets_nobody_in_and_says_so(stack: dict[str, Any]) -> None:
    client = StackClient(stack)
    prefix = _prefix("mallory", "forged")
    _put_job(client, prefix, _metadata("alice", "forged"))
    job = client.await_jobs([prefix])[prefix]
    assert job["state"] == "rejected"
    (problem,) = job["problems"]
    assert problem["code"] == "identity_mismatch"
    assert prefix in problem["message"]
    (decision,) = job["decisions"]
    assert "alice" in decision["message"]
    assert "mallory" in decision["message"]
    found = client.stac().collection_search(q="forged").collections()
    assert list(found) == []


def test_a_catalog_that_links_to_itself_loads_what_it_has(stack: dict[str, Any]) -> None:
    client = StackClient(stack)
    prefix = _prefix("loop-user", "loop")
    client.put(f"{prefix}item.json", _item("one"))
    client.put(f"{prefix}output-2026-01-01T00:00:00.000000.met.json", _metadata("loop-user", "loop"))
    client.put(
        f"{prefix}catalog.json", CATALOG | {"links": [{"rel": "child", "href": "./catalog.json"}, *CATALOG["links"]]}
    )
    job = client.await_jobs([prefix])[prefix]
    assert (job["state"], job["counts"]["loaded"]) == ("loaded", 1)
    assert [problem["code"] for problem in job["problems"]] == ["link_cycle"]


def test_a_database_that_is_killed_costs_no_job(stack: dict[str, Any], stack_commands: Commands) -> None:
    client = StackClient(stack)
    (server,) = [part["pid"] for part in stack_commands.status()["parts"] if part["name"] == "postgres"]
    before = [_prefix("steady-user", f"before-{number}") for number in range(3)]
    for prefix in before:
        _put_job(client, prefix, _metadata("steady-user", prefix.split("/")[4]))
    time.sleep(2)
    os.kill(server, signal.SIGKILL)
    after = _prefix("steady-user", "after")
    _put_job(client, after, _metadata("steady-user", "after"))

    def answers() -> bool | None:
        try:
            with psycopg.connect(stack["database_url"], connect_timeout=5):
                return True
        except psycopg.OperationalError:
            return None

    eventually(answers, 120)
    eventually(lambda: stack_commands.status()["healthy"] or None, 120, stack_commands.status)
    jobs = client.await_jobs([*before, after], timeout=300)
    assert {job["state"] for job in jobs.values()} == {"loaded"}
