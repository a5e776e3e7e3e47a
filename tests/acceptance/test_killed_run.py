"""A run whose process is killed in the midst of loading leaves nothing behind and loses nothing."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.acceptance.client import StackClient, eventually
from tests.acceptance.stopped_load import MOMENTS, held, waiting_process

pytestmark = pytest.mark.stack

JOBS, ITEMS = 4, 25
USER, ALGORITHM, VERSION = "killer-user", "steady", "v1"


def _collection(tag: str) -> str:
    return f"{USER}__{ALGORITHM}__{VERSION}__{tag}"


def _put_jobs(client: StackClient, tag: str, begin: datetime) -> list[str]:
    """Puts jobs with items; the catalog last. Gives their prefixes."""
    prefixes = []
    for number in range(JOBS):
        time = begin + timedelta(seconds=number)
        prefix = f"{USER}/dps_output/{ALGORITHM}/{VERSION}/{tag}/{time:%Y/%m/%d/%H/%M/%S/%f}/"
        names = [f"{number}-{item}" for item in range(ITEMS)]
        for position, name in enumerate(names):
            x = position / 10
            client.put(
                f"{prefix}{name}.json",
                {
                    "type": "Feature",
                    "stac_version": "1.1.0",
                    "id": name,
                    "geometry": {"type": "Point", "coordinates": [x, float(number)]},
                    "bbox": [x, number, x, number],
                    "properties": {"datetime": "2024-06-01T00:00:00Z", "position": position},
                    "links": [],
                    "assets": {},
                },
            )
        metadata = {"username": USER, "algorithm_name": ALGORITHM, "algorithm_version": VERSION, "tag": tag}
        client.put(f"{prefix}output-{time:%Y-%m-%dT%H:%M:%S.%f}.met.json", metadata)
        links = [{"rel": "item", "href": f"./{name}.json"} for name in names]
        client.put(
            f"{prefix}catalog.json",
            {"type": "Catalog", "id": "DPS", "stac_version": "1.1.0", "description": "outputs", "links": links},
        )
        prefixes.append(prefix)
    return prefixes


def _contents(client: StackClient, tag: str) -> dict[str, Any]:
    """The items of a collection without what differs from one submission to the next."""
    items = {}
    for item in client.stac().search(collections=[_collection(tag)], limit=200).items_as_dicts():
        properties = {name: value for name, value in item["properties"].items() if not name.startswith("maap:")}
        assert item["id"] not in items
        items[item["id"]] = (item["geometry"], properties, item["properties"]["maap:username"])
    return items


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_killed_while_it_loads_ends_in_the_same_database_as_an_undisturbed_one(
    stack: dict[str, Any], moment: str
) -> None:
    client = StackClient(stack)
    killed, calm = f"killed-{moment}", f"calm-{moment}"
    begin = datetime.now(UTC).replace(microsecond=len(moment) * 1000)
    with held(client, MOMENTS[moment], _collection(killed)) as looker:
        disturbed = _put_jobs(client, killed, begin - timedelta(minutes=10))
        process = eventually(lambda: waiting_process(looker), 120)
        assert process.pid != os.getpid()
        process.send_signal(signal.SIGKILL)
    jobs = client.await_jobs(disturbed, timeout=240)
    undisturbed = _put_jobs(client, calm, begin - timedelta(minutes=5))
    calm_jobs = client.await_jobs(undisturbed, timeout=240)

    assert {job["state"] for job in (*jobs.values(), *calm_jobs.values())} == {"loaded"}
    assert len(_contents(client, calm)) == JOBS * ITEMS
    assert _contents(client, killed) == _contents(client, calm)
    # Written once, by the run that came after: what the killed one had begun was never seen.
    assert [job["counts"]["loaded"] for job in jobs.values()] == [ITEMS] * JOBS
    assert any(len([state for state in job["states"] if state["state"] == "ingesting"]) > 1 for job in jobs.values())
    with psycopg.connect(client.stack["database_url"]) as connection:
        rows = connection.execute(
            "SELECT count(*), count(DISTINCT content_hash) FROM ledger.item WHERE collection = %s",
            (_collection(killed),),
        ).fetchone()
    assert rows == (JOBS * ITEMS, JOBS * ITEMS)
