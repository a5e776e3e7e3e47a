"""Draining the SQS queue: every catalog is recorded before its message is deleted.

Here belongs the order in which messages are received, recorded and deleted. Not here: what a message says (`events`)
and what recording means (the caller gives it). SQS delivers at least once, so doing something twice is fine and losing
something is not.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from maap_stac_orchestration import log_events
from maap_stac_orchestration.discovery.events import CatalogEvent, NotAnEvent, parse_message
from maap_stac_orchestration.discovery.found import FoundCatalog, ObjectAt, SourceUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

logger = logging.getLogger(__name__)

#: SQS gives and deletes at most ten messages a request.
_MOST_MESSAGES = 10
#: Messages that are recorded with one commit. A commit costs milliseconds, a request to SQS about twenty.
_MESSAGES_A_COMMIT = 100
#: Seconds for which a received message is hidden from others: longer than a tick may last, so that nothing has to be
#: extended on the way. What is not deleted by then (a dead process, a failing database) comes again.
_HIDDEN_SECONDS = 90


@dataclass(frozen=True, slots=True)
class Drained:
    """What draining came to, in messages except where it says catalogs."""

    received: int = 0
    #: Catalogs that were handed to `record`.
    catalogs: int = 0
    deleted: int = 0
    #: Recorded, but SQS did not delete them: they will be seen again, which changes nothing.
    undeleted: int = 0
    #: Not understood, and left to the queue's redrive policy.
    junk: int = 0
    #: Told of a catalog without its etag, and the object could not be asked; they come again.
    unanswered: int = 0
    #: True when the queue gave no more messages, False when time or the limit ran out first.
    empty: bool = True


def drain(
    queue: SQSClient,
    queue_url: str,
    *,
    buckets: Collection[str],
    record: Callable[[Sequence[FoundCatalog]], object],
    ask: Callable[[CatalogEvent], FoundCatalog | None],
    deadline: float,
    wait_seconds: int = 1,
    max_messages: int = 10_000,
) -> Drained:
    """Takes messages off the queue until it is empty, `deadline` (of `time.monotonic`) has passed or enough were taken.

    `record` must have committed when it returns: then the messages are deleted, never before. `ask` completes an event
    that lacks its etag; it gives None for an object that is gone. `wait_seconds` is how long the first request waits
    for a message to arrive. The client is the caller's, kept from drain to drain.

    Raises:
        SourceUnavailable: the queue could not be read. That is never "nothing new".
        Exception: whatever `record` raises; then nothing of that commit was deleted.
    """
    total = Drained()
    wait = wait_seconds
    while total.received < max_messages:
        messages: list[MessageTypeDef] = []
        empty = False
        while len(messages) < _MESSAGES_A_COMMIT and not empty and (not messages or time.monotonic() < deadline):
            received = _receive(queue, queue_url, wait)
            # Only the first request waits: a short poll may overlook messages, and the next tick will see those.
            wait = 0
            messages += received
            empty = not received
        total = _take(queue, queue_url, messages, buckets, record, ask, total, empty)
        if empty or time.monotonic() >= deadline:
            break
    return total


def ask_object(store: S3Client, event: ObjectAt) -> FoundCatalog | None:
    """Completes what lacks its etag by a HEAD request; None where the object is gone, which a later event tells too.

    Raises:
        SourceUnavailable: S3 did not answer, or may not be asked.
    """
    try:
        head = store.head_object(Bucket=event.bucket, Key=event.key)
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
            return None
        raise SourceUnavailable(f"The object s3://{event.bucket}/{event.key} could not be asked: {error}.") from error
    except BotoCoreError as error:
        raise SourceUnavailable(f"The object s3://{event.bucket}/{event.key} could not be asked: {error}.") from error
    return FoundCatalog(
        bucket=event.bucket,
        key=event.key,
        etag=head["ETag"].strip('"'),
        size=head["ContentLength"],
        last_modified=head["LastModified"],
        version_id=head.get("VersionId"),
    )


def _receive(queue: SQSClient, queue_url: str, wait_seconds: int) -> list[MessageTypeDef]:
    try:
        answer = queue.receive_message(
            QueueUrl=queue_url,
            MaxNumberOfMessages=_MOST_MESSAGES,
            WaitTimeSeconds=wait_seconds,
            VisibilityTimeout=_HIDDEN_SECONDS,
        )
    except (ClientError, BotoCoreError) as error:
        raise SourceUnavailable(f"The queue {queue_url} could not be read: {error}.") from error
    return answer.get("Messages", [])


def _take(
    queue: SQSClient,
    queue_url: str,
    messages: Sequence[MessageTypeDef],
    buckets: Collection[str],
    record: Callable[[Sequence[FoundCatalog]], object],
    ask: Callable[[CatalogEvent], FoundCatalog | None],
    total: Drained,
    empty: bool,
) -> Drained:
    """Records what a number of messages tell of, then deletes those that were understood."""
    found: list[FoundCatalog] = []
    understood: list[MessageTypeDef] = []
    junk = unanswered = 0
    for message in messages:
        left = False
        try:
            events = parse_message(message.get("Body", ""), buckets)
        except NotAnEvent as error:
            log_events.emit(
                log_events.Event.MESSAGE_REFUSED,
                queue=queue_url,
                message=message.get("MessageId"),
                reason=" ".join(str(error).split()),
            )
            logger.warning("The message %s is left to the dead-letter queue: %s", message.get("MessageId"), error)
            junk += 1
            left = True
            events = error.catalogs
        for event in events:
            try:
                catalog = event.found() or ask(event)
            except SourceUnavailable as error:
                logger.warning("The message %s is left in the queue: %s", message.get("MessageId"), error)
                unanswered += not left
                left = True
            else:
                found += [] if catalog is None else [catalog]
        if not left:
            understood.append(message)
    if found:
        record(list(dict.fromkeys(found)))
    deleted = sum(
        _delete(queue, queue_url, understood[start : start + _MOST_MESSAGES])
        for start in range(0, len(understood), _MOST_MESSAGES)
    )
    return Drained(
        received=total.received + len(messages),
        catalogs=total.catalogs + len(found),
        deleted=total.deleted + deleted,
        undeleted=total.undeleted + len(understood) - deleted,
        junk=total.junk + junk,
        unanswered=total.unanswered + unanswered,
        empty=empty,
    )


def _delete(queue: SQSClient, queue_url: str, messages: Sequence[MessageTypeDef]) -> int:
    """Deletes up to ten messages and gives how many SQS deleted; the others are seen again, which changes nothing."""
    try:
        answer = queue.delete_message_batch(
            QueueUrl=queue_url,
            Entries=[
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                for number, message in enumerate(messages)
            ],
        )
    except (ClientError, BotoCoreError) as error:
        logger.warning("%d recorded messages could not be deleted and will be seen again: %s", len(messages), error)
        return 0
    for failure in answer.get("Failed", []):
        logger.warning(
            "A recorded message was not deleted and will be seen again: %s %s", failure["Code"], failure.get("Message")
        )
    return len(answer.get("Successful", []))
