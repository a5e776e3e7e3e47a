"""A backfill as an operator starts it in Dagster's UI, by the same call: it ends complete although it is killed twice,
each day says what was found, and live jobs do not wait for it."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.request import Request, urlopen

import psutil
import psycopg
import pytest

from tests.acceptance.client import StackClient, eventually
from tests.acceptance.conftest import Commands
from tests.acceptance.stopped_load import MOMENTS, held, waiting_process

pytestmark = pytest.mark.stack

FIRST, DAYS, JOBS_A_DAY = date(2023, 3, 1), 14, 6
USER, ALGORITHM, VERSION = "backfill-user", "steady", "v1"
#: Of the first and of the second half of the days.
TAGS = ("years-ago-early", "years-ago-late")
#: Live jobs beside it, and the seconds in which nineteen of twenty must be loaded.
LIVE_JOBS, LAG_SECONDS = 10, 15.0
ASSETS = ("dps_catalogs", "governance_decisions", "pgstac_items")

_LAUNCH = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
_STATUS = """
query ($id: String!) {
  partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill {
    status
    error { message }
    assetBackfillData { assetBackfillStatuses { ... on AssetPartitionsStatusCounts {
      assetKey { path } numPartitionsTargeted numPartitionsMaterialized numPartitionsFailed
    } } }
  } }
}
"""
_MATERIALIZATIONS = """
query ($partitions: [String!]!) {
  assetNodeOrError(assetKey: { path: ["pgstac_items"] }) { ... on AssetNode {
    latestMaterializationByPartition(partitions: $partitions) {
      partition
      metadataEntries { label ... on IntMetadataEntry { intValue } }
    }
  } }
}
"""


def _graphql(client: StackClient, query: str, **variables: Any) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = Request(f"{client.stack['dagster_url']}/graphql", body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=30) as answer:
        document: dict[str, Any] = json.load(answer)
    assert "errors" not in document, document
    data: dict[str, Any] = document["data"]
    return data


@contextmanager
def _silence(client: StackClient) -> Iterator[None]:
    """The bucket tells of nothing that is put meanwhile, as it did not before the stack was there."""
    s3 = client.aws("s3")
    bucket = {"Bucket": client.stack["bucket"]}
    told = s3.get_bucket_notification_configuration(**bucket)
    told.pop("ResponseMetadata")
    s3.put_bucket_notification_configuration(**bucket, NotificationConfiguration={})
    try:
        yield
    finally:
        s3.put_bucket_notification_configuration(**bucket, NotificationConfiguration=told)


def _put_job(client: StackClient, tag: str, at: datetime) -> str:
    """A job with one item, its catalog last; gives its prefix."""
    prefix = f"{USER}/dps_output/{ALGORITHM}/{VERSION}/{tag}/{at:%Y/%m/%d/%H/%M/%S/%f}/"
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": f"{at:%Y%m%dT%H%M%S%f}",
        "geometry": {"type": "Point", "coordinates": [1.0, 2.0]},
        "bbox": [1.0, 2.0, 1.0, 2.0],
        "properties": {"datetime": f"{at:%Y-%m-%dT%H:%M:%SZ}"},
        "links": [],
        "assets": {},
    }
    client.put(f"{prefix}item.json", item)
    metadata = {"username": USER, "algorithm_name": ALGORITHM, "algorithm_version": VERSION, "tag": tag}
    client.put(f"{prefix}output-{at:%Y-%m-%dT%H:%M:%S.%f}.met.json", metadata)
    links = [{"rel": "item", "href": "./item.json"}]
    catalog = {"type": "Catalog", "id": "DPS", "stac_version": "1.1.0", "description": "outputs", "links": links}
    client.put(f"{prefix}catalog.json", catalog)
    return prefix


def _old_jobs(client: StackClient) -> list[date]:
    """Puts the jobs of all days, which nobody is told of; gives the days."""
    days = [FIRST + timedelta(days=number) for number in range(DAYS)]
    jobs = [
        (TAGS[number * len(TAGS) // DAYS], datetime(day.year, day.month, day.day, hour, tzinfo=UTC))
        for number, day in enumerate(days)
        for hour in range(JOBS_A_DAY)
    ]
    with _silence(client), ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda job: _put_job(client, *job), jobs))
    return days


def _collection(tag: str) -> str:
    return f"{USER}__{ALGORITHM}__{VERSION}__{tag}"


def _launch(client: StackClient, days: Sequence[date]) -> str:
    launched = _graphql(
        client,
        _LAUNCH,
        params={
            "assetSelection": [{"path": [asset]} for asset in ASSETS],
            "partitionNames": [day.isoformat() for day in days],
        },
    )["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    return str(launched["backfillId"])


def _lags(client: StackClient, prefixes: Sequence[str]) -> list[float]:
    """Seconds from the writing of each catalog to the end of its job, as the ledger counts them, ascending."""
    with psycopg.connect(client.stack["database_url"]) as connection:
        rows = connection.execute(
            "SELECT extract(epoch FROM ended_at - catalog_modified) FROM ledger.job WHERE prefix = ANY(%s)",
            [list(prefixes)],
        ).fetchall()
    return sorted(float(seconds) for (seconds,) in rows)


def _kill(*processes: psutil.Process) -> None:
    for process in processes:
        process.send_signal(signal.SIGKILL)


def test_a_backfill_that_is_killed_twice_ends_complete_while_live_jobs_keep_their_lag(
    stack_commands: Commands, stack: dict[str, Any]
) -> None:
    client = StackClient(stack)
    days = _old_jobs(client)
    early, late = (_collection(tag) for tag in TAGS)
    with held(client, MOMENTS["before"], late) as looker:
        with held(client, MOMENTS["before"], early):
            backfill = _launch(client, days)
            _kill(eventually(lambda: waiting_process(looker), 120))
        # While the first half goes on.
        live = []
        for _ in range(LIVE_JOBS):
            live.append(_put_job(client, "live", datetime.now(UTC)))
            time.sleep(1)
        client.await_jobs(live)
        # The second half stands at its first load.
        of_the_run = eventually(lambda: waiting_process(looker), 120)
        parts = {part["name"]: part["pid"] for part in stack_commands.status()["parts"]}
        # All of Dagster but its pages, so that nobody is left who would notice that the run is gone.
        _kill(*(psutil.Process(parts[name]) for name in ("daemon", "code-server")), of_the_run)

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = _graphql(client, _STATUS, id=backfill)["partitionBackfillOrError"]
        return None if found["status"] in ("REQUESTED", "COMPLETING", "FAILING") else found

    done = eventually(ended, 300, lambda: _graphql(client, _STATUS, id=backfill))
    assert done["status"] == "COMPLETED_SUCCESS", done
    for counts in done["assetBackfillData"]["assetBackfillStatuses"]:
        assert (counts["numPartitionsMaterialized"], counts["numPartitionsFailed"]) == (DAYS, 0), counts

    with psycopg.connect(client.stack["database_url"]) as connection:
        states = connection.execute(
            "SELECT day, state, count(*), sum(loaded) FROM ledger.job WHERE username = %s AND tag = ANY(%s)"
            " GROUP BY day, state ORDER BY day",
            [USER, list(TAGS)],
        ).fetchall()
    assert states == [(day, "loaded", JOBS_A_DAY, JOBS_A_DAY) for day in days]
    items = list(client.stac().search(collections=[early, late], limit=200).items())
    assert len({item.id for item in items}) == len(items) == DAYS * JOBS_A_DAY
    latest = _graphql(client, _MATERIALIZATIONS, partitions=[day.isoformat() for day in days])
    for one in latest["assetNodeOrError"]["latestMaterializationByPartition"]:
        told = {entry["label"]: entry.get("intValue") for entry in one["metadataEntries"]}
        assert (told["day/found_in_buckets"], told["day/loaded"], told["day/items"]) == (JOBS_A_DAY,) * 3, one

    lags = _lags(client, live)
    assert len(lags) == LIVE_JOBS
    assert lags[round(len(lags) * 0.95) - 1] < LAG_SECONDS, lags
