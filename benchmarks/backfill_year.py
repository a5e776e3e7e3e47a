"""A backfill of a year, started as Dagster's UI starts it, killed twice on the way, with live jobs beside it.

    python -m benchmarks.backfill_year [--days 365] [--jobs 30]

Not one of the table of benchmarks, since it takes most of an hour. In a stack of its own, over objects in memory
(`object_server`) and moto's queue, it starts a backfill of the three assets by the GraphQL call that the UI makes,
while every five seconds a live job is put and announced. After a third of the days the process of one of the backfill's
runs is killed, after two thirds the whole stack (`kill -9` of everything, the database too), which is then started
again.

It ends with an error unless the backfill counts as successful with every partition of every asset materialized, each
job is loaded, pgstac holds each item once, and each day's own numbers say so. The JSON line that it prints has, beside
the days and jobs a day: `seconds` from the launch to the end, the down time included; `killed`, what and after how
many days; `live_jobs` and the percentiles of their lag in seconds, from the PUT of the catalog to the end of the job in
the ledger. Jobs are not put while the stack is down.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import boto3
import psutil
import psycopg
from botocore.exceptions import BotoCoreError, ClientError

from benchmarks.object_server import serving
from benchmarks.result import CannotMeasure, percentile
from benchmarks.stack import maap_stac, running_stack

FIRST = date(2024, 1, 1)
BUCKET = "outputs"
ASSETS = ("dps_catalogs", "governance_decisions", "pgstac_items")
USER, ALGORITHM, VERSION = "year", "steady", "v1"
#: Seconds between live jobs, and until the last of them must have ended.
_APART, _PATIENCE = 5.0, 300.0
#: Seconds without a change after which the backfill counts as stuck.
_STUCK = 900.0

_LAUNCH = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) { __typename ... on LaunchBackfillSuccess { backfillId } }
}
"""
_STATUS = """
query ($id: String!) {
  partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill {
    status
    error { message }
    assetBackfillData { assetBackfillStatuses { ... on AssetPartitionsStatusCounts {
      numPartitionsMaterialized numPartitionsFailed
    } } }
  } }
}
"""
_RUNNING = """
query ($id: String!) {
  runsOrError(filter: { statuses: [STARTED], tags: [{ key: "dagster/backfill", value: $id }] }) {
    ... on Runs { results { runId } }
  }
}
"""
_MATERIALIZATIONS = """
query ($partitions: [String!]!) {
  assetNodeOrError(assetKey: { path: ["pgstac_items"] }) { ... on AssetNode {
    latestMaterializationByPartition(partitions: $partitions) {
      partition metadataEntries { label ... on IntMetadataEntry { intValue } }
    }
  } }
}
"""
_PID = """
SELECT event FROM event_logs WHERE run_id = %s AND dagster_event_type = 'ENGINE_EVENT' ORDER BY id
"""


def job_files(tag: str, at: datetime) -> Iterator[tuple[str, bytes]]:
    """The objects of a job with one item: key and content, the catalog last."""
    prefix = f"{USER}/dps_output/{ALGORITHM}/{VERSION}/{tag}/{at:%Y/%m/%d/%H/%M/%S/%f}/"
    metadata = {"username": USER, "algorithm_name": ALGORITHM, "algorithm_version": VERSION, "tag": tag}
    yield f"{prefix}output-{at:%Y-%m-%dT%H:%M:%S.%f}.met.json", json.dumps(metadata).encode()
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
    yield f"{prefix}item.json", json.dumps(item).encode()
    links = [{"rel": "item", "href": "./item.json"}]
    catalog = {"type": "Catalog", "id": "DPS", "stac_version": "1.1.0", "description": "outputs", "links": links}
    yield f"{prefix}catalog.json", json.dumps(catalog).encode()


def year(days: int, jobs: int) -> Iterator[tuple[str, bytes]]:
    """The objects of all old jobs, spread over each day; a tag a month."""
    for number in range(days):
        day = datetime.combine(FIRST, datetime.min.time(), UTC) + timedelta(days=number)
        for job in range(jobs):
            yield from job_files(f"{day:%Y-%m}", day + job * timedelta(days=1) / jobs)


@contextmanager
def queue_server() -> Iterator[tuple[str, str]]:
    """moto's SQS: its endpoint, and the address of a queue."""
    from moto.server import ThreadedMotoServer

    # A line for each request otherwise.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        yield endpoint, _client("sqs", endpoint).create_queue(QueueName="catalogs")["QueueUrl"]
    finally:
        server.stop()


def _client(service: str, endpoint: str) -> Any:
    return boto3.client(  # type: ignore[call-overload]
        service, endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="a"
    )


class LiveJobs:
    """Puts a job every few seconds in a thread, and announces it as S3 does."""

    def __init__(self, s3_endpoint: str, sqs_endpoint: str, queue_url: str) -> None:
        self._s3, self._sqs = _client("s3", s3_endpoint), _client("sqs", sqs_endpoint)
        self._queue_url = queue_url
        #: Prefix -> when its catalog was put, seconds since 1970.
        self.put: dict[str, float] = {}
        self._pause = threading.Event()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._go, name="live jobs")
        self._failure: Exception | None = None

    def __enter__(self) -> LiveJobs:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def pause(self) -> None:
        """Puts none until `go_on`."""
        self._pause.set()

    def go_on(self) -> None:
        """Puts jobs again."""
        self._pause.clear()

    def end(self) -> None:
        """Puts no more.

        Raises:
            CannotMeasure: putting or announcing failed.
        """
        self._end.set()
        self._thread.join()
        if self._failure is not None:
            raise CannotMeasure(f"A live job could not be put: {self._failure}") from self._failure

    def _go(self) -> None:
        while not self._end.wait(_APART):
            if self._pause.is_set():
                continue
            try:
                self._put(datetime.now(UTC))
            except (BotoCoreError, ClientError) as error:
                self._failure = error
                return

    def _put(self, at: datetime) -> None:
        key = etag = ""
        for key, data in job_files("live", at):
            etag = self._s3.put_object(Bucket=BUCKET, Key=key, Body=data)["ETag"].strip('"')
        record = {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "us-east-1",
            "eventTime": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.000Z}",
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": BUCKET}, "object": {"key": quote(key), "eTag": etag, "size": 1}},
        }
        self.put[key.removesuffix("catalog.json")] = time.time()
        self._sqs.send_message(QueueUrl=self._queue_url, MessageBody=json.dumps({"Records": [record]}))


@dataclass(frozen=True, slots=True)
class Backfill:
    """A backfill that was launched, in Dagster's own words."""

    stack: Mapping[str, Any]
    id: str
    days: tuple[str, ...]

    @classmethod
    def launch(cls, stack: Mapping[str, Any], days: tuple[str, ...]) -> Backfill:
        """Starts it as the UI does."""
        params = {"assetSelection": [{"path": [asset]} for asset in ASSETS], "partitionNames": list(days)}
        launched = _graphql(stack, _LAUNCH, params=params)["launchPartitionBackfill"]
        if launched["__typename"] != "LaunchBackfillSuccess":
            raise CannotMeasure(f"Dagster did not start the backfill: {launched}.")
        return cls(stack, launched["backfillId"], days)

    def status(self) -> dict[str, Any]:
        """Its status, and how many partitions of each asset were materialized and failed."""
        found: dict[str, Any] = _graphql(self.stack, _STATUS, id=self.id)["partitionBackfillOrError"]
        return found

    def done(self) -> int:
        """How many days are materialized to the end."""
        counts = self.status()["assetBackfillData"]["assetBackfillStatuses"]
        return min((one["numPartitionsMaterialized"] for one in counts), default=0)

    def kill_a_run(self) -> None:
        """Kills the process of a run of this backfill, as soon as one is at work."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            for run in _graphql(self.stack, _RUNNING, id=self.id)["runsOrError"]["results"]:
                if pid := self._process(run["runId"]):
                    os.kill(pid, signal.SIGKILL)
                    return
            time.sleep(0.2)
        raise CannotMeasure(f"No run of the backfill was met at work within {_PATIENCE:.0f} s.")

    def _process(self, run_id: str) -> int | None:
        with psycopg.connect(self.stack["env"]["DAGSTER_POSTGRES_URL"]) as connection:
            for (event,) in connection.execute(_PID, [run_id]):
                if match := re.search(r"\(pid: (\d+)\)", event):
                    return int(match[1]) if psutil.pid_exists(int(match[1])) else None
        return None

    def wait(self, until: int | None = None) -> None:
        """Waits until so many days are done, or until it has ended.

        Raises:
            CannotMeasure: nothing changed for a long time, or it ended too soon.
        """
        last, since = -1, time.monotonic()
        while True:
            status = self.status()["status"]
            done = self.done()
            if status not in ("REQUESTED", "COMPLETING", "CANCELING", "FAILING"):
                if until is None:
                    return
                raise CannotMeasure(f"The backfill ended as {status} after {done} days.")
            if until is not None and done >= until:
                return
            if done != last:
                last, since = done, time.monotonic()
            elif time.monotonic() - since > _STUCK:
                raise CannotMeasure(f"The backfill stands still after {done} days.")
            time.sleep(2)


def _graphql(stack: Mapping[str, Any], query: str, **variables: Any) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = Request(f"{stack['dagster_url']}/graphql", body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=120) as answer:
        document: dict[str, Any] = json.load(answer)
    if "errors" in document:
        raise CannotMeasure(f"Dagster refused a question: {document['errors']}.")
    data: dict[str, Any] = document["data"]
    return data


def kill_everything(home: Path) -> None:
    """Kills every process of a stack at once, as a power cut does."""
    supervisor = psutil.Process(int((home / "run" / "supervisord.pid").read_text()))
    processes = [supervisor, *supervisor.children(recursive=True)]
    for process in processes:
        # Some end with their parent.
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=30)


def check_ledger(stack: Mapping[str, Any], days: int, jobs: int) -> None:
    """Every old job is loaded, and its item is in pgstac once.

    Raises:
        CannotMeasure: something is missing.
    """
    with psycopg.connect(stack["database_url"]) as connection:
        states = connection.execute(
            "SELECT day, state, count(*) FROM ledger.job WHERE username = %s AND tag <> 'live' GROUP BY day, state",
            [USER],
        ).fetchall()
        items = connection.execute(
            "SELECT count(*), count(DISTINCT id) FROM pgstac.items WHERE collection LIKE %s AND collection NOT LIKE %s",
            [f"{USER}\\_\\_%", "%live"],
        ).fetchone()
    wrong = [row for row in states if row[1:] != ("loaded", jobs)]
    if wrong or len(states) != days or items != (days * jobs, days * jobs):
        raise CannotMeasure(f"Not every job is loaded: {len(states)} days, {items} items, {wrong[:5]}.")


def check_partitions(backfill: Backfill, jobs: int) -> None:
    """The backfill succeeded, and each day's latest materialization says that all of it is there.

    Raises:
        CannotMeasure: it did not, or a day says something else.
    """
    status = backfill.status()
    counts = [tuple(one.values()) for one in status["assetBackfillData"]["assetBackfillStatuses"]]
    if status["status"] != "COMPLETED_SUCCESS" or set(counts) != {(len(backfill.days), 0)}:
        raise CannotMeasure(f"The backfill ended as {status}.")
    for begin in range(0, len(backfill.days), 100):
        some = list(backfill.days[begin : begin + 100])
        node = _graphql(backfill.stack, _MATERIALIZATIONS, partitions=some)["assetNodeOrError"]
        for one in node["latestMaterializationByPartition"]:
            told = {entry["label"]: entry.get("intValue") for entry in one["metadataEntries"]}
            if (told["day/found_in_buckets"], told["day/loaded"], told["day/items"]) != (jobs,) * 3:
                raise CannotMeasure(f"The day {one['partition']} says {told}.")


def lags(stack: Mapping[str, Any], put: Mapping[str, float]) -> list[float]:
    """Seconds from the PUT of each live job's catalog to its end in the ledger, waiting for the last.

    Raises:
        CannotMeasure: a job did not end as loaded.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        with psycopg.connect(stack["database_url"]) as connection:
            ended = dict(
                connection.execute(
                    "SELECT prefix, extract(epoch FROM ended_at)::float FROM ledger.job"
                    " WHERE prefix = ANY(%s) AND state = 'loaded'",
                    [list(put)],
                ).fetchall()
            )
        if len(ended) == len(put):
            return [ended[prefix] - at for prefix, at in put.items()]
        if time.monotonic() > deadline:
            late = sorted(set(put) - set(ended))
            raise CannotMeasure(f"{len(late)} of {len(put)} live jobs were not loaded, the first of them {late[0]}.")
        time.sleep(1)


def measure(days: int, jobs: int) -> dict[str, Any]:
    """Runs it; gives what is printed.

    Raises:
        CannotMeasure: it did not end as it must.
    """
    partitions = tuple((FIRST + timedelta(days=number)).isoformat() for number in range(days))
    killed = []
    with serving({BUCKET: partial(year, days, jobs)}) as store, queue_server() as (sqs_endpoint, queue_url):
        outside = {
            **store.environment,
            "AWS_DEFAULT_REGION": store.environment["AWS_REGION"],
            "AWS_ENDPOINT_URL_SQS": sqs_endpoint,
            "MAAP_STAC_BUCKETS": BUCKET,
            "MAAP_STAC_QUEUE_URL": queue_url,
        }
        with running_stack(outside) as stack, LiveJobs(store.endpoint, sqs_endpoint, queue_url) as live:
            began = time.monotonic()
            backfill = Backfill.launch(stack, partitions)
            backfill.wait(days // 3)
            backfill.kill_a_run()
            killed.append({"what": "a run", "after_days": backfill.done()})
            backfill.wait(2 * days // 3)
            live.pause()
            time.sleep(15)
            killed.append({"what": "the stack", "after_days": backfill.done()})
            home = Path(stack["env"]["MAAP_STAC_HOME"])
            kill_everything(home)
            maap_stac("up", "--detach", "--home", str(home), env={**os.environ, **outside})
            live.go_on()
            backfill.wait()
            seconds = time.monotonic() - began
            live.end()
            live_lags = lags(stack, live.put)
            check_ledger(stack, days, jobs)
            check_partitions(backfill, jobs)
    return {
        "benchmark": "backfill_year",
        "days": days,
        "jobs_per_day": jobs,
        "seconds": round(seconds, 1),
        "killed": killed,
        "live_jobs": len(live_lags),
        "lag_p50_seconds": round(percentile(live_lags, 0.5), 2),
        "lag_p95_seconds": round(percentile(live_lags, 0.95), 2),
        "lag_max_seconds": round(max(live_lags), 2),
    }


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backfill_year", description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--jobs", type=int, default=30, help="jobs a day")
    asked = parser.parse_args()
    try:
        print(json.dumps(measure(asked.days, asked.jobs)), flush=True)
    except CannotMeasure as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
