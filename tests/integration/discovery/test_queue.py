"""Draining a real queue over HTTP: recorded first, deleted then, junk moved aside, nothing lost."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from maap_stac_orchestration.discovery import queue as queue_module
from maap_stac_orchestration.discovery.events import CatalogEvent
from maap_stac_orchestration.discovery.found import FoundCatalog, SourceUnavailable
from maap_stac_orchestration.discovery.queue import Drained, ask_object, drain

if TYPE_CHECKING:
    from tests.conftest import MotoStore

JOB = "aliz237/dps_output/run_boreal/v3.1.0/tag with spaces+/2025/08/19/09/59/01/262274/"


class Queues:
    """A bucket's queue with its dead-letter queue, in moto."""

    def __init__(self, store: MotoStore) -> None:
        self.store = store
        self.sqs: Any = store.client("sqs")
        self.dead = self.sqs.create_queue(QueueName="dead")["QueueUrl"]
        self.url = self.sqs.create_queue(
            QueueName="catalogs",
            Attributes={
                "RedrivePolicy": json.dumps({"deadLetterTargetArn": self.arn(self.dead), "maxReceiveCount": 2})
            },
        )["QueueUrl"]

    def arn(self, url: str) -> str:
        """The queue's ARN."""
        return str(self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"])

    def counts(self, url: str | None = None) -> tuple[int, int]:
        """How many messages can be seen and how many are hidden for now."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=url or self.url, AttributeNames=names)["Attributes"]
        return int(attributes[names[0]]), int(attributes[names[1]])

    def send(self, body: str) -> None:
        """Puts a message of any kind into the queue."""
        self.sqs.send_message(QueueUrl=self.url, MessageBody=body)

    def notify_directly(self) -> None:
        """Bucket -> queue."""
        self.store.client().put_bucket_notification_configuration(
            Bucket=self.store.bucket,
            NotificationConfiguration={
                "QueueConfigurations": [{"QueueArn": self.arn(self.url), "Events": ["s3:ObjectCreated:*"]}]
            },
        )

    def notify_by_topic(self, *, raw: bool) -> None:
        """Bucket -> topic -> queue."""
        sns: Any = self.store.client("sns")
        topic = sns.create_topic(Name="catalogs")["TopicArn"]
        sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=self.arn(self.url),
            Attributes={"RawMessageDelivery": "true" if raw else "false"},
        )
        self.store.client().put_bucket_notification_configuration(
            Bucket=self.store.bucket,
            NotificationConfiguration={"TopicConfigurations": [{"TopicArn": topic, "Events": ["s3:ObjectCreated:*"]}]},
        )

    def notify_by_eventbridge(self) -> None:
        """Bucket -> EventBridge -> queue."""
        events: Any = self.store.client("events")
        events.put_rule(Name="catalogs", EventPattern=json.dumps({"source": ["aws.s3"]}))
        events.put_targets(Rule="catalogs", Targets=[{"Id": "queue", "Arn": self.arn(self.url)}])
        self.store.client().put_bucket_notification_configuration(
            Bucket=self.store.bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
        )

    def drain(self, record: Any, **changes: Any) -> Drained:
        """Drains with short waits."""
        arguments: dict[str, Any] = {
            "buckets": (self.store.bucket,),
            "record": record,
            "ask": lambda event: ask_object(self.store.client(), event),
            "deadline": time.monotonic() + 30,
            "wait_seconds": 0,
        }
        return drain(self.sqs, self.url, **(arguments | changes))


@pytest.fixture
def queues(object_store: MotoStore) -> Queues:
    """A queue and its dead-letter queue, still without a source."""
    return Queues(object_store)


@pytest.mark.parametrize("way", ["bare", "enveloped", "raw from a topic", "EventBridge"])
def test_a_put_catalog_is_recorded_and_its_message_deleted(queues: Queues, way: str) -> None:
    if way == "bare":
        queues.notify_directly()
    elif way == "EventBridge":
        queues.notify_by_eventbridge()
    else:
        queues.notify_by_topic(raw=way == "raw from a topic")
    queues.store.put(JOB + "catalog.json", b"{}")
    queues.store.put(JOB + "data.tif", b"tif")
    recorded: list[FoundCatalog] = []

    drained = queues.drain(recorded.extend)

    (catalog,) = recorded
    head = queues.store.client().head_object(Bucket=queues.store.bucket, Key=JOB + "catalog.json")
    assert (catalog.bucket, catalog.key) == (queues.store.bucket, JOB + "catalog.json")
    assert (catalog.etag, catalog.size) == (head["ETag"].strip('"'), 2)
    assert abs((catalog.last_modified - head["LastModified"]).total_seconds()) < 2
    assert drained.catalogs == 1
    assert drained.junk == 0
    assert drained.deleted == drained.received >= 2
    assert queues.counts() == (0, 0)


def test_messages_are_deleted_after_recording_and_not_before(queues: Queues) -> None:
    queues.notify_directly()
    queues.store.put(JOB + "catalog.json", b"{}")
    hidden: list[int] = []

    queues.drain(lambda found: hidden.append(queues.counts()[1]))

    # The test event of the configuration and the catalog's own.
    assert hidden == [2]
    assert queues.counts() == (0, 0)


def test_a_failing_database_leaves_the_messages(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "_HIDDEN_SECONDS", 1)
    queues.notify_directly()
    queues.store.put(JOB + "catalog.json", b"{}")

    def fails(found: Sequence[FoundCatalog]) -> None:
        raise ConnectionError("the ledger is down")

    with pytest.raises(ConnectionError):
        queues.drain(fails)

    assert queues.counts()[1] == 2
    time.sleep(1.1)
    recorded: list[FoundCatalog] = []
    assert queues.drain(recorded.extend).catalogs == 1
    assert len(recorded) == 1


def test_many_messages_come_with_few_commits_and_each_once(queues: Queues) -> None:
    queues.notify_directly()
    keys = {f"u/dps_output/a/v/2025/08/19/09/59/01/{number:06}/catalog.json" for number in range(230)}
    for key in keys:
        queues.store.put(key, b"{}")
    batches: list[list[str]] = []

    drained = queues.drain(lambda found: batches.append([one.key for one in found]))

    assert {key for batch in batches for key in batch} == keys
    assert sum(map(len, batches)) == 230
    assert len(batches) == 3
    assert drained.empty
    assert queues.counts() == (0, 0)


def test_draining_stops_at_the_deadline_and_leaves_the_rest(queues: Queues) -> None:
    queues.notify_directly()
    for number in range(30):
        queues.store.put(f"u/dps_output/a/v/2025/08/19/09/59/01/{number:06}/catalog.json", b"{}")

    drained = queues.drain(list, deadline=time.monotonic())

    assert not drained.empty
    assert drained.received == 10
    assert queues.counts() == (21, 0)


def test_junk_ends_in_the_dead_letter_queue_and_stops_nobody(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    queues.notify_directly()
    queues.send("junk")
    queues.store.put(JOB + "catalog.json", b"{}")
    recorded: list[FoundCatalog] = []

    first = queues.drain(recorded.extend)

    assert (first.junk, first.catalogs, first.deleted) == (1, 1, 2)
    assert queues.counts() == (0, 1)
    monkeypatch.setattr(queue_module, "_HIDDEN_SECONDS", 0)
    queues.send("more junk")
    for _ in range(4):
        queues.drain(recorded.extend, max_messages=10)
    assert queues.counts(queues.dead)[0] == 1
    assert len(recorded) == 1


def test_the_same_event_twice_is_handed_over_once(queues: Queues) -> None:
    queues.notify_directly()
    queues.store.put(JOB + "catalog.json", b"{}")
    (message,) = [
        one
        for one in queues.sqs.receive_message(QueueUrl=queues.url, MaxNumberOfMessages=10, VisibilityTimeout=0)[
            "Messages"
        ]
        if "Records" in one["Body"]
    ]
    queues.send(message["Body"])
    recorded: list[FoundCatalog] = []

    queues.drain(recorded.extend)

    assert len(recorded) == 1


def without_etag(store: MotoStore, key: str) -> str:
    """An event as some stores send it."""
    return json.dumps(
        {
            "Records": [
                {
                    "eventSource": "ceph:s3",
                    "eventName": "ObjectCreated:Put",
                    "eventTime": "2025-08-19T10:00:00Z",
                    "s3": {"bucket": {"name": store.bucket}, "object": {"key": key}},
                }
            ]
        }
    )


def test_an_event_without_etag_is_completed_by_asking_the_object(queues: Queues) -> None:
    queues.store.put(JOB + "catalog.json", b"{ }")
    queues.send(without_etag(queues.store, (JOB + "catalog.json").replace("+", "%2B")))
    queues.send(without_etag(queues.store, "u/dps_output/a/v/2025/08/19/09/59/01/262274/catalog.json"))
    recorded: list[FoundCatalog] = []

    drained = queues.drain(recorded.extend)

    assert [(one.key, one.size, len(one.etag)) for one in recorded] == [(JOB + "catalog.json", 3, 32)]
    assert drained.deleted == 2, "an object that is gone is nothing to wait for"


def test_an_object_that_cannot_be_asked_leaves_its_message_only(queues: Queues) -> None:
    queues.notify_directly()
    queues.send(without_etag(queues.store, "u/dps_output/a/v/2025/08/19/09/59/01/262274/catalog.json"))
    queues.store.put(JOB + "catalog.json", b"{ }")
    recorded: list[FoundCatalog] = []

    def fails(event: CatalogEvent) -> FoundCatalog | None:
        raise SourceUnavailable("no answer")

    drained = queues.drain(recorded.extend, ask=fails)

    assert (drained.unanswered, drained.catalogs) == (1, 1)
    assert queues.counts() == (0, 1)


def test_a_partial_failure_to_delete_is_seen_again_and_fails_nothing(
    queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues.notify_directly()
    queues.store.put(JOB + "catalog.json", b"{}")
    real = queues.sqs.delete_message_batch

    def spoils_one(**arguments: Any) -> Any:
        arguments["Entries"][0]["ReceiptHandle"] = "not a handle"
        return real(**arguments)

    monkeypatch.setattr(queues.sqs, "delete_message_batch", spoils_one)

    drained = queues.drain(list)

    assert drained.undeleted >= 1
    assert drained.catalogs == 1


def test_a_queue_that_cannot_be_read_is_never_nothing_new(queues: Queues) -> None:
    queues.sqs.delete_queue(QueueUrl=queues.url)
    with pytest.raises(SourceUnavailable, match="could not be read") as caught:
        queues.drain(list)
    assert isinstance(caught.value.__cause__, ClientError)
