"""Whoever asked for it is told when jobs end: by signed webhooks, by SNS, by a report beside the catalog."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from maap_stac_orchestration.ledger import deliveries
from maap_stac_orchestration.ledger.deliveries import DeliveryState
from maap_stac_orchestration.ledger.records import State
from tests.integration.pipeline.notifying import Connection, add, end_job, let_time_pass, send, settings
from tests.integration.receivers import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of webhooks."""
    with receiving() as running:
        yield running


def test_a_webhook_is_told_once_that_a_job_ended(connection: Connection, receiver: Receiver) -> None:
    endpoint, secret = add(connection, receiver.url)
    job = end_job(connection, 1, State.PARTIAL)
    assert send(connection).told == 1
    (request,) = receiver.received
    event = request.verified(secret)
    assert event["subject"] == job
    assert event["type"] == "org.maap-project.stac.job.partial"
    assert send(connection).told == 0
    assert len(receiver.received) == 1
    (delivery,) = deliveries.list_deliveries(connection, endpoint_id=endpoint.id)
    assert (delivery.state, delivery.answer, delivery.prefix) == (DeliveryState.DELIVERED, "HTTP 204", job)


def test_what_failed_is_sent_again_as_it_was(connection: Connection, receiver: Receiver) -> None:
    _, secret = add(connection, receiver.url)
    end_job(connection, 1)
    receiver.always(500)
    assert send(connection).failed == 1
    assert send(connection).failed == 0, "it waits before it is tried again"
    receiver.always(200)
    let_time_pass(connection)
    assert send(connection, settings(public_url="https://elsewhere.test")).told == 1
    first, second = receiver.received
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    second.verified(secret)
