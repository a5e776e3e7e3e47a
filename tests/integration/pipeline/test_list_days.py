"""Listing days into the ledger: several buckets, days that are noted, going on after a kill, and whose they are."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from maap_stac_orchestration.discovery.found import SourceUnavailable
from maap_stac_orchestration.ledger import listed_days
from maap_stac_orchestration.ledger.jobs import get_job
from maap_stac_orchestration.ledger.listed_days import DayListed, Source
from maap_stac_orchestration.ledger.records import State
from maap_stac_orchestration.pipeline.discover import BACKFILL, Queue, drain_queue, list_days
from maap_stac_orchestration.pipeline.ingest import ingest_batch
from maap_stac_orchestration.pipeline.registry import current_registry
from maap_stac_orchestration.store.s3 import S3Objects
from tests.integration.pipeline.batches import SETTINGS, Written, claim, document
from tests.integration.pipeline.test_ingest import put_job

if TYPE_CHECKING:
    from tests.conftest import MotoStore

Connection = psycopg.Connection[tuple[Any, ...]]
ROOT = Path(__file__).parents[3]
DAY, OTHER_DAY, OLD_DAY = date(2025, 8, 19), date(2025, 8, 20), date(2024, 2, 29)


def catalog(day: date, *, user: str = "u", tag: str = "t", number: int = 0) -> str:
    return f"{user}/dps_output/alg/v1/{tag}/{day:%Y/%m/%d}/00/00/{number:02}/000000/catalog.json"


def put(store: MotoStore, *keys: str, bucket: str | None = None) -> None:
    client = store.client()
    for key in keys:
        client.put_object(Bucket=bucket or store.bucket, Key=key, Body=b"{}")


def second_bucket(store: MotoStore) -> str:
    store.client().create_bucket(Bucket="second", CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    return "second"


def noted(connection: Connection) -> set[tuple[Any, ...]]:
    return set(connection.execute("SELECT bucket, day, source, catalogs, new FROM ledger.listed_day").fetchall())


def known(connection: Connection) -> set[str]:
    return {key for (key,) in connection.execute("SELECT key FROM ledger.catalog")}


def test_each_day_tells_what_it_holds_and_what_of_it_is_new(object_store: MotoStore, connection: Connection) -> None:
    put(object_store, catalog(DAY), catalog(DAY, number=1), catalog(OLD_DAY))
    days = [DAY, OTHER_DAY, OLD_DAY]
    first = list_days(connection, object_store.client(), [object_store.bucket], days, source=Source.BACKFILL)
    assert first.by_day == {DAY: DayListed(2, 2), OTHER_DAY: DayListed(0, 0), OLD_DAY: DayListed(1, 1)}
    assert (first.catalogs, first.new) == (3, 3)
    put(object_store, catalog(DAY, number=2))
    again = list_days(connection, object_store.client(), [object_store.bucket], days, source=Source.RECONCILE)
    assert again.by_day == {DAY: DayListed(3, 1), OTHER_DAY: DayListed(0, 0), OLD_DAY: DayListed(1, 0)}
    bucket = object_store.bucket
    assert noted(connection) == {
        (bucket, DAY, "reconcile", 3, 1),
        (bucket, OTHER_DAY, "reconcile", 0, 0),
        (bucket, OLD_DAY, "reconcile", 1, 0),
    }


def test_a_dry_run_counts_and_leaves_no_trace(object_store: MotoStore, connection: Connection) -> None:
    put(object_store, catalog(DAY))
    heard: list[tuple[str, Mapping[date, DayListed]]] = []
    listed = list_days(
        connection,
        object_store.client(),
        [object_store.bucket],
        [DAY],
        dry_run=True,
        told=lambda bucket, days: heard.append((bucket, days)),
    )
    assert (listed.catalogs, listed.new) == (1, 1)
    assert heard == [(object_store.bucket, {DAY: DayListed(1, 1)})]
    assert (noted(connection), known(connection)) == (set(), set())


def test_several_buckets_are_one_listing(object_store: MotoStore, connection: Connection) -> None:
    other = second_bucket(object_store)
    put(object_store, catalog(DAY))
    put(object_store, catalog(DAY), catalog(DAY, number=1), bucket=other)
    listed = list_days(connection, object_store.client(), [object_store.bucket, other], [DAY])
    assert listed.by_day == {DAY: DayListed(3, 3)}
    assert {row[0]: row[3] for row in noted(connection)} == {object_store.bucket: 1, other: 2}


def test_a_bucket_that_cannot_be_listed_is_named_and_keeps_no_other_from_being_recorded(
    object_store: MotoStore, connection: Connection
) -> None:
    put(object_store, catalog(DAY), catalog(DAY, number=1))
    with pytest.raises(SourceUnavailable, match="s3://no-such-bucket/ could not be listed"):
        list_days(connection, object_store.client(), ["no-such-bucket", object_store.bucket], [DAY])
    assert known(connection) == {catalog(DAY), catalog(DAY, number=1)}
    assert {row[0] for row in noted(connection)} == {object_store.bucket}


def test_a_day_of_which_a_folder_cannot_be_listed_is_not_noted_and_what_was_met_is_kept(
    object_store: MotoStore, connection: Connection
) -> None:
    put(object_store, catalog(DAY), catalog(OLD_DAY))
    client = object_store.client()

    class Failing:
        def list_objects_v2(self, **asked: Any) -> Any:
            gone = {"Bucket": "no-such-bucket"} if "/2024/" in asked["Prefix"] else {}
            return client.list_objects_v2(**asked | gone)

    with pytest.raises(SourceUnavailable, match="2024"):
        list_days(connection, Failing(), [object_store.bucket], [DAY, OLD_DAY], source=Source.SENSOR)  # type: ignore[arg-type]
    assert known(connection) == {catalog(DAY)}
    assert {row[1] for row in noted(connection)} == {DAY}


def test_a_listing_that_is_killed_goes_on_with_the_months_that_are_left(
    object_store: MotoStore, connection: Connection, database: str
) -> None:
    days = [OLD_DAY + timedelta(days=number) for number in range(4)]  # 29 February to 3 March
    put(object_store, *(catalog(day, tag=tag) for day in days for tag in ("t", "s/t")))
    began = datetime.now(UTC) - timedelta(minutes=1)
    command = [sys.executable, "-m", "tests.integration.pipeline.listing"]
    arguments = [database, object_store.endpoint, object_store.bucket, "/2024/02/", *map(str, days)]
    with subprocess.Popen([*command, *arguments], cwd=ROOT) as process:
        deadline = time.monotonic() + 60
        while not noted(connection):
            connection.commit()
            assert process.poll() is None, "the process ended before it came to the point"
            assert time.monotonic() < deadline, "the process never came to the point"
            time.sleep(0.05)
        process.kill()
    connection.commit()
    done = listed_days.since(connection, [object_store.bucket], days, began)
    assert done == set(days[1:])
    assert known(connection) == {catalog(day, tag=tag) for day in done for tag in ("t", "s/t")}

    left = [day for day in days if day not in done]
    listed = list_days(connection, object_store.client(), [object_store.bucket], left, priority=BACKFILL)
    assert listed.by_day == {OLD_DAY: DayListed(2, 2)}
    assert listed_days.since(connection, [object_store.bucket], days, began) == set(days)
    assert len(known(connection)) == 2 * len(days)


def test_a_tag_like_a_date_that_the_ledger_knows_is_listed_at_every_tick(
    object_store: MotoStore, connection: Connection
) -> None:
    tag = "2024/07/run"
    # Jobs without such a tag, among which it lies.
    put(object_store, *(catalog(date(2024, 7, day), tag="t") for day in range(1, 29)))
    put(object_store, catalog(DAY, tag=f"t/{tag}"))
    sensor = {"source": Source.SENSOR}
    assert list_days(connection, object_store.client(), [object_store.bucket], [DAY], **sensor).new == 0
    list_days(connection, object_store.client(), [object_store.bucket], [DAY], source=Source.DISCOVER)
    put(object_store, catalog(OTHER_DAY, tag=f"t/{tag}"))
    assert list_days(connection, object_store.client(), [object_store.bucket], [OTHER_DAY], **sensor).new == 1


@pytest.fixture
def queue(object_store: MotoStore) -> Queue:
    """A queue of the bucket's events."""
    sqs: Any = object_store.client("sqs")
    url = sqs.create_queue(QueueName="catalogs")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    object_store.client().put_bucket_notification_configuration(
        Bucket=object_store.bucket,
        NotificationConfiguration={"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]},
    )
    return Queue(url, sqs, object_store.client())


@pytest.mark.parametrize("way", ["event", "listing"])
def test_what_a_user_shares_is_ingested_as_theirs_and_nobody_can_pass_for_another(
    object_store: MotoStore, queue: Queue, connection: Connection, way: str
) -> None:
    mine = Written([document("a")], username="ana", tag="mine")
    put_job(object_store, mine)
    shared = {f"shared/{mine.prefix}": {}, f"shared/eve/{mine.prefix.partition('/')[2]}": {"username": "ana"}}
    client = object_store.client()
    bodies = {
        one["Key"].removeprefix(mine.prefix): client.get_object(Bucket=object_store.bucket, Key=one["Key"])[
            "Body"
        ].read()
        for one in client.list_objects_v2(Bucket=object_store.bucket, Prefix=mine.prefix)["Contents"]
    }
    for prefix, forged in shared.items():
        for name, body in bodies.items():
            known_as = json.dumps({**json.loads(body), **forged}).encode() if name.endswith(".met.json") else body
            object_store.put(prefix + name, known_as)
    if way == "event":
        drain_queue(connection, queue, [object_store.bucket], deadline=time.monotonic() + 20)
    else:
        list_days(connection, client, [object_store.bucket], [mine.time.date()])

    batch = claim(connection)
    assert len(batch.jobs) == 3
    ingest_batch(connection, S3Objects.from_environment(), batch, SETTINGS, current_registry(SETTINGS))

    of_ana, of_eve = (get_job(connection, prefix) for prefix in shared)
    assert of_ana is not None
    assert of_eve is not None
    assert (of_ana.summary.username, of_ana.summary.state) == ("ana", State.LOADED)
    assert {item.collection for item in of_ana.items} == {"ana__mosaic__v1__mine"}
    assert (of_eve.summary.username, of_eve.summary.state) == ("eve", State.REJECTED)
    assert of_eve.summary.problem_codes == ("identity_mismatch",)
