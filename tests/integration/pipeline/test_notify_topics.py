"""SNS topics are told when jobs end: the same message, with attributes that subscribers filter by."""

from __future__ import annotations

import json
from typing import Any

from maap_stac_orchestration.ledger import deliveries
from maap_stac_orchestration.ledger.deliveries import DeliveryState
from maap_stac_orchestration.ledger.records import State
from maap_stac_orchestration.pipeline.notification import subscriptions
from tests.conftest import MotoStore
from tests.integration.pipeline.notifying import Connection, add, end_job, let_time_pass, send, settings


def subscribed(store: MotoStore, topic: str, name: str, policy: dict[str, Any] | None = None) -> str:
    """The URL of a new queue that a topic sends to."""
    sqs, sns = store.client("sqs"), store.client("sns")
    url: str = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    attributes = {"FilterPolicy": json.dumps(policy)} if policy else {}
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=attributes)
    return url


def messages(store: MotoStore, url: str) -> list[dict[str, Any]]:
    """The envelopes that a queue holds."""
    answer = store.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    return [json.loads(one["Body"]) for one in answer.get("Messages", [])]


def test_a_topic_gets_the_message_with_attributes(connection: Connection, object_store: MotoStore) -> None:
    topic = object_store.client("sns").create_topic(Name="jobs")["TopicArn"]
    everything = subscribed(object_store, topic, "everything")
    failed_only = subscribed(object_store, topic, "failed", {"state": ["failed", "rejected"]})
    _, secret = add(connection, topic)
    assert secret == ""
    end_job(connection, 1)
    job = end_job(connection, 2, State.REJECTED)
    assert send(connection).told == 2
    assert len(messages(object_store, everything)) == 2
    (envelope,) = messages(object_store, failed_only)
    event = json.loads(envelope["Message"])
    assert (event["type"], event["subject"]) == ("org.maap-project.stac.job.rejected", job)
    attributes = {name: one["Value"] for name, one in envelope["MessageAttributes"].items()}
    assert attributes == {"username": "ana", "algorithm": "flood", "state": "rejected"}


def test_a_topic_that_is_not_there_yet_is_told_when_it_is(connection: Connection, object_store: MotoStore) -> None:
    add(connection, "arn:aws:sns:us-west-2:123456789012:later")
    end_job(connection, 1)
    assert send(connection).failed == 1
    (delivery,) = deliveries.list_deliveries(connection)
    assert str(delivery.answer).startswith("SNS refused it: NotFound")
    topic = object_store.client("sns").create_topic(Name="later")["TopicArn"]
    url = subscribed(object_store, topic, "later")
    let_time_pass(connection)
    assert send(connection).told == 1
    assert len(messages(object_store, url)) == 1
    (delivery,) = deliveries.list_deliveries(connection)
    assert delivery.state is DeliveryState.DELIVERED


def test_a_topic_can_be_tried(connection: Connection, object_store: MotoStore) -> None:
    topic = object_store.client("sns").create_topic(Name="jobs")["TopicArn"]
    url = subscribed(object_store, topic, "jobs")
    endpoint, _ = add(connection, topic)
    assert subscriptions.try_out(connection, settings(), endpoint.id).delivered
    (envelope,) = messages(object_store, url)
    assert json.loads(envelope["Message"])["type"] == "org.maap-project.stac.test"
    assert deliveries.list_deliveries(connection) == []
