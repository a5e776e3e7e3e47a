"""The dead-letter queue over HTTP: looked at without taking anything away, and moved back without losing anything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from maap_stac_orchestration.discovery import dead_letters
from maap_stac_orchestration.discovery.dead_letters import (
    DeadLetter,
    NoDeadLetters,
    Redriven,
    count,
    find_dead_letter_queue,
    look,
    redrive,
)
from maap_stac_orchestration.discovery.found import SourceUnavailable
from maap_stac_orchestration.stack.events import wire
from tests.integration.cli.conftest import maap_stac as maap_stac

if TYPE_CHECKING:
    from tests.conftest import MotoStore
    from tests.integration.cli.commands import Run

JOB = "ana/dps_output/flood/v1/tag with spaces+/2025/08/19/09/59/01/262274/"
JUNK = '{"hello": "world"}'


class Queues:
    """A bucket's queue as the stack makes it, and what was given up."""

    def __init__(self, store: MotoStore) -> None:
        self.store = store
        self.sqs: Any = store.client("sqs")
        wired = wire(store.client("s3"), store.client("sns"), self.sqs, store.bucket)
        self.url, self.dead = wired.queue_url, wired.dead_letter_queue_url
        self.bodies(self.url)  # S3 says that it may send

    def give_up(self, *bodies: str, **more: Any) -> None:
        """Puts messages where SQS puts those that were received too often."""
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.dead, MessageBody=body, **more)

    def bodies(self, url: str) -> list[str]:
        """What lies in a queue and can be seen, in order; takes it off."""
        found: list[str] = []
        while messages := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            for message in messages:
                found.append(message["Body"])
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return sorted(found)

    def look(self, **more: Any) -> list[DeadLetter]:
        return look(self.sqs, self.dead, buckets=(self.store.bucket,), **more)

    def redrive(self, **more: Any) -> Redriven:
        return redrive(self.sqs, self.dead, self.url, buckets=(self.store.bucket,), **more)


@pytest.fixture
def queues(object_store: MotoStore) -> Queues:
    return Queues(object_store)


def event(store: MotoStore, number: int = 0, size: int = 0) -> str:
    """What S3 says of a catalog."""
    target = {"key": f"{JOB}{number}/catalog.json".replace("+", "%2B").replace(" ", "+"), "eTag": "e", "size": 5}
    record = {
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "eventTime": "2025-08-19T10:00:00.000Z",
        "s3": {"bucket": {"name": store.bucket}, "object": target},
    }
    return json.dumps({"Records": [record], "padding": "x" * size})


def test_the_dead_letter_queue_is_the_one_of_the_redrive_policy(queues: Queues) -> None:
    assert find_dead_letter_queue(queues.sqs, queues.url) == queues.dead


def test_messages_that_are_received_too_often_are_found_there(queues: Queues) -> None:
    queues.sqs.send_message(QueueUrl=queues.url, MessageBody=JUNK)
    for _ in range(7):
        queues.sqs.receive_message(QueueUrl=queues.url, VisibilityTimeout=0)
    (one,) = queues.look()
    assert one.why is not None
    assert "is no event of S3" in one.why


def test_each_message_tells_of_its_catalogs_or_why_it_is_not_understood(queues: Queues) -> None:
    queues.give_up(event(queues.store), JUNK, json.dumps({"Records": []}))
    understood, junk, nothing = queues.look()
    (catalog,) = understood.catalogs
    assert (catalog.bucket, catalog.key) == (queues.store.bucket, f"{JOB}0/catalog.json")
    assert (understood.why, understood.receives) == (None, 1)
    assert understood.sent is not None
    assert (junk.catalogs, junk.begins) == ((), JUNK)
    assert junk.why == "The message is no event of S3; it has the keys ['hello']."
    assert (nothing.catalogs, nothing.why) == ((), None)


def test_looking_leaves_every_message_where_it_is_for_all_to_see(queues: Queues) -> None:
    queues.give_up(*(event(queues.store, number) for number in range(23)))
    assert len(queues.look()) == 23
    assert count(queues.sqs, queues.dead) == 23
    assert len(queues.bodies(queues.dead)) == 23
    assert queues.bodies(queues.url) == []


def test_no_more_are_looked_at_than_asked_for(queues: Queues) -> None:
    queues.give_up(*(event(queues.store, number) for number in range(13)))
    assert len(queues.look(limit=12)) == 12
    assert len(queues.look(limit=3)) == 3
    assert len(queues.bodies(queues.dead)) == 13


def test_what_is_understood_goes_back_as_it_was_and_the_rest_stays(queues: Queues) -> None:
    events = [event(queues.store, number) for number in range(12)]
    queues.give_up(*events, JUNK)
    assert queues.redrive() == Redriven(moved=12, twice=0, left=1, refused=0, more=False)
    assert queues.bodies(queues.url) == sorted(events)
    assert queues.bodies(queues.dead) == [JUNK]


def test_what_is_not_understood_goes_back_when_all_is_asked_for(queues: Queues) -> None:
    queues.give_up(JUNK)
    assert queues.redrive(everything=True) == Redriven(1, 0, 0, 0, False)
    assert (queues.bodies(queues.url), queues.bodies(queues.dead)) == ([JUNK], [])


def test_attributes_of_a_message_go_with_it(queues: Queues) -> None:
    attributes = {"trace": {"DataType": "String", "StringValue": "abc"}}
    queues.give_up(event(queues.store), MessageAttributes=attributes)
    queues.redrive()
    (message,) = queues.sqs.receive_message(QueueUrl=queues.url, MessageAttributeNames=["All"])["Messages"]
    assert message["MessageAttributes"]["trace"]["StringValue"] == "abc"


def test_a_dry_run_moves_nothing(queues: Queues) -> None:
    queues.give_up(event(queues.store), JUNK)
    assert queues.redrive(dry_run=True) == Redriven(1, 0, 1, 0, False)
    assert queues.bodies(queues.url) == []
    assert len(queues.bodies(queues.dead)) == 2


def test_no_more_are_moved_than_asked_for(queues: Queues) -> None:
    queues.give_up(*(event(queues.store, number) for number in range(5)))
    assert queues.redrive(limit=3) == Redriven(3, 0, 0, 0, True)
    assert len(queues.bodies(queues.dead)) == 2


def test_long_messages_go_in_several_requests(queues: Queues) -> None:
    queues.give_up(*(event(queues.store, number, size=100_000) for number in range(5)))
    assert queues.redrive().moved == 5
    assert len(queues.bodies(queues.url)) == 5


@pytest.mark.parametrize("operation", ["SendMessageBatch", "DeleteMessageBatch"])
def test_nothing_is_lost_when_it_is_killed_on_the_way(queues: Queues, operation: str) -> None:
    events = [event(queues.store, number) for number in range(4)]
    queues.give_up(*events)

    def killed(**_: Any) -> None:
        raise KeyboardInterrupt

    queues.sqs.meta.events.register(f"before-send.sqs.{operation}", killed)
    with pytest.raises(KeyboardInterrupt):
        queues.redrive()
    queues.sqs.meta.events.unregister(f"before-send.sqs.{operation}", killed)
    there = set(queues.bodies(queues.dead)) | set(queues.bodies(queues.url))
    assert there == set(events)


def test_messages_that_are_not_deleted_are_counted_as_seen_twice(
    queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues.give_up(event(queues.store))
    monkeypatch.setattr(dead_letters, "_delete", lambda *_: [])
    assert queues.redrive() == Redriven(1, 1, 0, 0, False)
    assert len(queues.bodies(queues.dead)) == len(queues.bodies(queues.url)) == 1


def test_a_queue_without_a_redrive_policy_is_told(queues: Queues) -> None:
    plain = queues.sqs.create_queue(QueueName="plain")["QueueUrl"]
    with pytest.raises(NoDeadLetters, match=r"has no dead-letter queue.*Give it a redrive policy"):
        find_dead_letter_queue(queues.sqs, plain)


def test_a_missing_queue_is_told(queues: Queues) -> None:
    with pytest.raises(NoDeadLetters, match=r"nowhere does not exist\. MAAP_STAC_QUEUE_URL names it"):
        find_dead_letter_queue(queues.sqs, queues.url.replace("dps-catalogs", "nowhere"))
    queues.sqs.delete_queue(QueueUrl=queues.dead)
    with pytest.raises(NoDeadLetters, match=r"The dead-letter queue .* does not exist"):
        find_dead_letter_queue(queues.sqs, queues.url)


def test_denied_access_names_the_permissions(queues: Queues) -> None:
    def denied(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetQueueAttributes")

    queues.sqs.meta.events.register("before-send.sqs.GetQueueAttributes", denied)
    with pytest.raises(NoDeadLetters, match="sqs:GetQueueAttributes, sqs:GetQueueUrl, sqs:ReceiveMessage"):
        find_dead_letter_queue(queues.sqs, queues.url)


def test_a_service_that_does_not_answer_is_never_an_empty_queue(queues: Queues) -> None:
    import boto3

    nobody: Any = boto3.client(
        "sqs", endpoint_url="http://127.0.0.1:1", config=Config(retries={"total_max_attempts": 1})
    )
    with pytest.raises(SourceUnavailable, match="could not be used"):
        look(nobody, queues.dead, buckets=())


class TestAtTheCommandLine:
    """What an operator sees."""

    @pytest.fixture(autouse=True)
    def _of_this_queue(self, queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MAAP_STAC_QUEUE_URL", queues.url)
        monkeypatch.setenv("MAAP_STAC_BUCKETS", queues.store.bucket)

    def test_an_empty_queue(self, maap_stac: Run) -> None:
        assert maap_stac("dead-letters", "list").stdout == "The dead-letter queue is empty.\n"
        assert maap_stac("dead-letters", "redrive").stdout == "0 messages moved back to the queue.\n"

    def test_messages_are_listed_and_moved_back(self, queues: Queues, maap_stac: Run) -> None:
        queues.give_up(event(queues.store), JUNK)
        listed = maap_stac("dead-letters", "list").stdout
        assert f"    s3://{queues.store.bucket}/{JOB}0/catalog.json\n" in listed
        assert "    The message is no event of S3; it has the keys ['hello'].\n" in listed
        told = maap_stac("dead-letters", "list", "--json", "--limit", "1").json()
        assert (len(told["messages"]), told["about"]) == (1, 2)
        assert told["messages"][0]["catalogs"] == [f"s3://{queues.store.bucket}/{JOB}0/catalog.json"]
        looked = maap_stac("dead-letters", "redrive", "--dry-run")
        assert looked.stdout.startswith("1 message would be moved back to the queue.\n1 message left: not understood")
        moved = maap_stac("dead-letters", "redrive", "--json")
        assert moved.code == 1
        assert json.loads(moved.stdout) == {
            "dry_run": False,
            "moved": 1,
            "twice": 0,
            "left": 1,
            "refused": 0,
            "more": False,
        }
        assert len(queues.bodies(queues.url)) == 1

    def test_a_missing_queue_is_a_sentence(
        self, queues: Queues, maap_stac: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MAAP_STAC_QUEUE_URL", queues.url.replace("dps-catalogs", "nowhere"))
        for command in ("list", "redrive"):
            told = maap_stac("dead-letters", command)
            assert told.code == 2
            assert "nowhere does not exist. MAAP_STAC_QUEUE_URL names it" in told.stderr
