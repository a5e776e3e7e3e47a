"""The dead-letter queue: messages that were received several times and never done with.

Here belongs finding that queue, looking at it without taking anything away, and moving messages back. Not here: what a
message says (`events`), and draining the queue itself (`queue`).

A message ends there because it was not understood, or because each time it was received the database or the bucket was
away. Moving one back is harmless: what is known already changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from maap_stac_orchestration.discovery.events import CatalogEvent, NotAnEvent, parse_message
from maap_stac_orchestration.discovery.found import SourceUnavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

#: SQS gives, takes and deletes at most ten messages a request.
_MOST_MESSAGES = 10
#: Seconds for which what is looked at, or moved, is hidden from others; renewed by nobody, so longer than either takes.
_HIDDEN_SECONDS = 120
#: Bytes of the messages of one request, with room for what is around them: SQS takes 256 KiB, today four times that.
_MOST_BYTES = 240 * 1024
#: Characters of a message that is not understood which are shown.
_SHOWN = 200

_NO_QUEUE = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
_DENIED = ("AccessDenied", "AccessDeniedException", "AuthFailure", "InvalidClientTokenId", "SignatureDoesNotMatch")


class NoDeadLetters(Exception):
    """There is no dead-letter queue to look at; the message says why and what to do."""


class NoRedrivePolicy(NoDeadLetters):
    """The queue moves nothing aside."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message in the dead-letter queue."""

    message_id: str
    #: When it was sent, UTC; None where the service does not say.
    sent: datetime | None
    #: How often it was received, looking at it here included.
    receives: int
    #: What it tells of, as far as it was understood; objects that are no catalogs of the buckets are left out.
    catalogs: tuple[CatalogEvent, ...]
    #: Why it, or part of it, is not understood; None where it is.
    why: str | None
    #: How its body begins.
    begins: str


@dataclass(frozen=True, slots=True)
class Redriven:
    """What moving messages back came to, in messages."""

    #: In the queue again; or, in a dry run, those that would be.
    moved: int
    #: Sent, but not deleted here: they are in both queues, which changes nothing but that they are seen twice.
    twice: int
    #: Left, because they would not be understood this time either.
    left: int
    #: Not taken by the queue; they stay here.
    refused: int
    #: Whether there may be more, because the limit was reached.
    more: bool


def find_dead_letter_queue(sqs: SQSClient, queue_url: str) -> str:
    """The URL of the queue to which the redrive policy of a queue moves messages.

    Raises:
        NoRedrivePolicy: it has none.
        NoDeadLetters: the queue or its dead-letter queue is missing, or access is denied.
        SourceUnavailable: the service did not answer.
    """
    with _told(f"The queue {queue_url}", "MAAP_STAC_QUEUE_URL names it; correct that, or create the queue"):
        answer = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["RedrivePolicy"])
    policy = answer.get("Attributes", {}).get("RedrivePolicy")
    try:
        arn = str(json.loads(policy)["deadLetterTargetArn"]) if policy else ""
    except (ValueError, KeyError, TypeError):
        arn = ""
    # arn:aws:sqs:REGION:ACCOUNT:NAME
    parts = arn.split(":")
    if len(parts) != 6:
        raise NoRedrivePolicy(
            f"The queue {queue_url} has no dead-letter queue: a message that is not understood is received again until "
            "it expires. Give it a redrive policy (deadLetterTargetArn, maxReceiveCount)."
        )
    with _told(
        f"The dead-letter queue {arn}", f"The redrive policy of {queue_url} names it; create it or correct that"
    ):
        return sqs.get_queue_url(QueueName=parts[5], QueueOwnerAWSAccountId=parts[4])["QueueUrl"]


def count(sqs: SQSClient, url: str) -> int:
    """About how many messages there are, those that are hidden at this moment included.

    Raises:
        NoDeadLetters, SourceUnavailable: see `find_dead_letter_queue`.
    """
    with _told(f"The dead-letter queue {url}", "Create it, or correct the redrive policy"):
        attributes = sqs.get_queue_attributes(
            QueueUrl=url,
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        ).get("Attributes", {})
    return sum(int(number) for number in attributes.values())


def look(sqs: SQSClient, url: str, *, buckets: Collection[str], limit: int = 100) -> list[DeadLetter]:
    """The messages of a dead-letter queue, up to so many; all of them stay where they are.

    While it looks, and for two minutes if it is killed, what was seen is hidden from others. SQS counts looking as
    receiving.

    Raises:
        NoDeadLetters, SourceUnavailable: see `find_dead_letter_queue`.
    """
    seen: list[MessageTypeDef] = []
    try:
        for messages in _receive(sqs, url, limit):
            seen += messages
    finally:
        _show_again(sqs, url, seen)
    return sorted(
        (_dead_letter(message, buckets) for message in seen),
        key=lambda one: (one.sent is None, one.sent or datetime.min.replace(tzinfo=UTC), one.message_id),
    )


def redrive(
    sqs: SQSClient,
    url: str,
    queue_url: str,
    *,
    buckets: Collection[str],
    limit: int = 1_000,
    everything: bool = False,
    dry_run: bool = False,
) -> Redriven:
    """Moves messages back to the queue: sent first, deleted then. Who is killed in between leaves one in both queues.

    Args:
        sqs: a client.
        url: the dead-letter queue.
        queue_url: where its messages came from.
        buckets: whose catalogs count.
        limit: at most so many are looked at.
        everything: also those that are not understood, which would soon be here again.
        dry_run: tell what would be moved, and move nothing.

    Raises:
        NoDeadLetters, SourceUnavailable: see `find_dead_letter_queue`. What was moved until then stays moved.
    """
    moved = twice = left = refused = looked = 0
    staying: list[MessageTypeDef] = []
    try:
        for messages in _receive(sqs, url, limit):
            looked += len(messages)
            going = [one for one in messages if everything or _dead_letter(one, buckets).why is None]
            names = {one["MessageId"] for one in going}
            others = [one for one in messages if one["MessageId"] not in names]
            left += len(others)
            staying += others
            if dry_run:
                moved += len(going)
                staying += going
                continue
            for some in _portions(going):
                # Shown again at the end, unless they are gone by then.
                staying += some
                sent = _send(sqs, queue_url, some)
                deleted = _delete(sqs, url, sent)
                gone = {one["MessageId"] for one in deleted}
                staying = [one for one in staying if one["MessageId"] not in gone]
                moved += len(sent)
                twice += len(sent) - len(deleted)
                refused += len(some) - len(sent)
    finally:
        _show_again(sqs, url, staying)
    return Redriven(moved, twice, left, refused, looked >= limit)


def _receive(sqs: SQSClient, url: str, limit: int) -> Iterator[list[MessageTypeDef]]:
    received = 0
    known: set[str] = set()
    while received < limit:
        with _told(f"The dead-letter queue {url}", "Create it, or correct the redrive policy"):
            answer = sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=min(_MOST_MESSAGES, limit - received),
                VisibilityTimeout=_HIDDEN_SECONDS,
                # A short poll asks some of the service's machines only, and may overlook messages.
                WaitTimeSeconds=1,
                MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
                MessageAttributeNames=["All"],
            )
        messages = answer.get("Messages", [])
        # One that comes a second time was hidden for too short a time: everything was seen.
        fresh = [one for one in messages if one["MessageId"] not in known]
        if not fresh:
            return
        known |= {one["MessageId"] for one in fresh}
        received += len(fresh)
        yield fresh


def _dead_letter(message: MessageTypeDef, buckets: Collection[str]) -> DeadLetter:
    body = message.get("Body", "")
    why: str | None = None
    try:
        catalogs = parse_message(body, buckets)
    except NotAnEvent as error:
        catalogs, why = error.catalogs, str(error)
    attributes = message.get("Attributes", {})
    sent = attributes.get("SentTimestamp")
    return DeadLetter(
        message_id=message["MessageId"],
        sent=None if sent is None else datetime.fromtimestamp(int(sent) / 1000, UTC),
        receives=int(attributes.get("ApproximateReceiveCount", 0)),
        catalogs=catalogs,
        why=why,
        begins=body[:_SHOWN],
    )


def _portions(messages: Sequence[MessageTypeDef]) -> Iterator[list[MessageTypeDef]]:
    """As many messages as one request takes."""
    portion: list[MessageTypeDef] = []
    size = 0
    for message in messages:
        of_this = len(json.dumps([message.get("Body", ""), str(message.get("MessageAttributes", {}))]))
        if portion and size + of_this > _MOST_BYTES:
            yield portion
            portion, size = [], 0
        portion.append(message)
        size += of_this
    if portion:
        yield portion


def _send(sqs: SQSClient, queue_url: str, messages: Sequence[MessageTypeDef]) -> list[MessageTypeDef]:
    """Sends messages as they are; gives those that the queue took."""
    entries: list[Any] = []
    for number, message in enumerate(messages):
        entry: dict[str, Any] = {"Id": str(number), "MessageBody": message.get("Body", "")}
        if attributes := message.get("MessageAttributes"):
            entry["MessageAttributes"] = attributes
        entries.append(entry)
    with _told(f"The queue {queue_url}", "MAAP_STAC_QUEUE_URL names it; correct that, or create the queue"):
        answer = sqs.send_message_batch(QueueUrl=queue_url, Entries=entries)
    return [messages[int(one["Id"])] for one in answer.get("Successful", [])]


def _delete(sqs: SQSClient, url: str, messages: Sequence[MessageTypeDef]) -> list[MessageTypeDef]:
    if not messages:
        return []
    with _told(f"The dead-letter queue {url}", "Create it, or correct the redrive policy"):
        answer = sqs.delete_message_batch(
            QueueUrl=url,
            Entries=[
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                for number, message in enumerate(messages)
            ],
        )
    return [messages[int(one["Id"])] for one in answer.get("Successful", [])]


def _show_again(sqs: SQSClient, url: str, messages: Sequence[MessageTypeDef]) -> None:
    """Ends the hiding of messages; where that fails, it ends by itself."""
    for start in range(0, len(messages), _MOST_MESSAGES):
        some = messages[start : start + _MOST_MESSAGES]
        with _told(f"The dead-letter queue {url}", "Create it, or correct the redrive policy"):
            sqs.change_message_visibility_batch(
                QueueUrl=url,
                Entries=[
                    {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0}
                    for number, message in enumerate(some)
                ],
            )


class _told:  # noqa: N801  # read as a phrase: `with _told(...)`
    """Turns errors of the service into sentences about a queue."""

    def __init__(self, about: str, fix: str) -> None:
        self._about, self._fix = about, fix

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ClientError):
            code = error.response.get("Error", {}).get("Code", "")
            if code in _NO_QUEUE:
                raise NoDeadLetters(f"{self._about} does not exist. {self._fix}.") from error
            if code in _DENIED:
                raise NoDeadLetters(
                    f"{self._about} may not be used with these credentials ({code}). They need sqs:GetQueueAttributes, "
                    "sqs:GetQueueUrl, sqs:ReceiveMessage, sqs:ChangeMessageVisibility, and to move messages "
                    "sqs:SendMessage and sqs:DeleteMessage."
                ) from error
        if isinstance(error, ClientError | BotoCoreError):
            raise SourceUnavailable(f"{self._about} could not be used: {error}.") from error
