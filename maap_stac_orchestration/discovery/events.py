"""Reading the body of a queue message: which catalogs does it tell of?

Pure: text in, values out. Here belongs the shape of S3's events, bare, in SNS's envelope or from EventBridge. Not here:
receiving and deleting messages (`queue`).

S3's own events spell keys as a form does (`a+b%2Fcatalog.json`); EventBridge gives them as they are. Fields:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html and, for EventBridge,
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

import orjson

from maap_stac_orchestration.discovery.found import FoundCatalog, is_storable, job_of_catalog

#: An envelope may lie in an envelope (a topic that feeds a topic's queue); nobody needs more than this.
_MAX_ENVELOPES = 3
#: Postgres keeps sizes as bigint; S3's objects end far below.
_MAX_SIZE = 2**63 - 1


class NotAnEvent(ValueError):
    """A message is no event of S3, or part of it is not; the message says which part.

    `catalogs` are those of the parts that could be read: they count, although the message is left in the queue.
    """

    def __init__(self, message: str, catalogs: tuple[CatalogEvent, ...] = ()) -> None:
        super().__init__(message)
        self.catalogs = catalogs


@dataclass(frozen=True, slots=True)
class CatalogEvent:
    """A catalog was created or replaced."""

    bucket: str
    #: Decoded.
    key: str
    #: Without quotes; None where the event does not say (then the object itself has to be asked: `queue.ask_object`).
    etag: str | None
    #: Bytes.
    size: int | None
    #: When S3 finished writing, UTC.
    time: datetime | None
    version_id: str | None
    #: Orders the events of one key: the longer, then greater hexadecimal number is the later. Some stores send none.
    sequencer: str | None

    def found(self) -> FoundCatalog | None:
        """What the ledger records; None where the event alone does not tell enough."""
        if self.etag is None or self.time is None:
            return None
        return FoundCatalog(self.bucket, self.key, self.etag, self.size, self.time, self.version_id)


def parse_message(body: str, buckets: Collection[str]) -> tuple[CatalogEvent, ...]:
    """The catalogs that a message tells of, in its order.

    Only objects named catalog.json inside an output prefix of one of `buckets` count. Test events, removals and other
    keys give nothing and are fine: the message has been understood and can be deleted.

    Raises:
        NotAnEvent: it has not been understood, so it must not be deleted: the queue's redrive policy moves it aside.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotAnEvent(f"The message is not JSON ({error}); it begins {body[:80]!r}.") from None
    return _parse_document(document, buckets, _MAX_ENVELOPES)


def _parse_document(document: Any, buckets: Collection[str], envelopes: int) -> tuple[CatalogEvent, ...]:
    if not isinstance(document, dict):
        raise NotAnEvent(f"The message is a JSON {type(document).__name__}, where an event is an object.")
    if "Records" in document:
        return _parse_records(document["Records"], buckets)
    if "detail-type" in document:
        return _parse_eventbridge(document, buckets)
    if document.get("Event") == "s3:TestEvent":
        return ()
    if document.get("Type") == "Notification" and isinstance(document.get("Message"), str):
        if envelopes == 0:
            raise NotAnEvent("The message is an SNS envelope in too many envelopes.")
        try:
            inner = orjson.loads(document["Message"])
        except orjson.JSONDecodeError as error:
            raise NotAnEvent(f"The SNS envelope does not hold JSON ({error}).") from None
        return _parse_document(inner, buckets, envelopes - 1)
    raise NotAnEvent(f"The message is no event of S3; it has the keys {sorted(document)[:10]}.")


def _parse_records(records: Any, buckets: Collection[str]) -> tuple[CatalogEvent, ...]:
    if not isinstance(records, list):
        raise NotAnEvent("The event's Records are not a list.")
    events: list[CatalogEvent] = []
    unread: list[str] = []
    for number, record in enumerate(records, 1):
        try:
            event = _parse_record(record, buckets)
        except NotAnEvent as error:
            unread.append(f"Record {number} of {len(records)}: {error}")
        else:
            events += [] if event is None else [event]
    if unread:
        raise NotAnEvent(" ".join(unread[:3]), tuple(events))
    return tuple(events)


def _parse_record(record: Any, buckets: Collection[str]) -> CatalogEvent | None:
    source, name = _text(record, "eventSource"), _text(record, "eventName")
    # `aws:s3`; stores that speak S3 say `minio:s3` or `ceph:s3`.
    if source.rpartition(":")[2] != "s3":
        raise NotAnEvent(f"it comes from {source!r}, not from S3.")
    # Some stores write `s3:ObjectCreated:Put`, S3 itself leaves `s3:` out.
    if not name.removeprefix("s3:").startswith("ObjectCreated:"):
        return None
    described = _part(record, "s3")
    target = _part(described, "object")
    try:
        key = unquote_plus(_text(target, "key"), errors="strict")
    except UnicodeDecodeError as error:
        raise NotAnEvent(f"its key is not UTF-8 ({error}).") from None
    return _event(
        bucket=_text(_part(described, "bucket"), "name"),
        key=key,
        target=target,
        etag=target.get("eTag"),
        version_id=target.get("versionId"),
        time=record.get("eventTime"),
        buckets=buckets,
    )


def _parse_eventbridge(document: Mapping[str, Any], buckets: Collection[str]) -> tuple[CatalogEvent, ...]:
    source = _text(document, "source")
    if source != "aws.s3":
        raise NotAnEvent(f"The EventBridge event comes from {source!r}, not from S3.")
    if document["detail-type"] != "Object Created":
        return ()
    detail = _part(document, "detail")
    target = _part(detail, "object")
    event = _event(
        bucket=_text(_part(detail, "bucket"), "name"),
        key=_text(target, "key"),
        target=target,
        # AWS writes `etag`; moto's server, which the local stack and the tests use, writes `eTag`.
        etag=target.get("etag", target.get("eTag")),
        version_id=target.get("version-id"),
        time=document.get("time"),
        buckets=buckets,
    )
    return () if event is None else (event,)


def _event(
    *,
    bucket: str,
    key: str,
    target: Mapping[str, Any],
    etag: object,
    version_id: object,
    time: object,
    buckets: Collection[str],
) -> CatalogEvent | None:
    if bucket not in buckets or job_of_catalog(key) is None:
        return None
    etag_text = _optional_text(etag, "etag")
    return CatalogEvent(
        bucket=bucket,
        key=key,
        etag=etag_text.strip('"') or None if etag_text else None,
        size=_size(target.get("size")),
        time=_time(time),
        # A bucket without versioning may say "null" or "".
        version_id=_unless_null(_optional_text(version_id, "version id")),
        sequencer=_optional_text(target.get("sequencer"), "sequencer"),
    )


def _part(document: Any, name: str) -> Mapping[str, Any]:
    value = document.get(name) if isinstance(document, dict) else None
    if not isinstance(value, dict):
        raise NotAnEvent(f"it has no object {name!r}.")
    return value


def _text(document: Any, name: str) -> str:
    value = document.get(name) if isinstance(document, dict) else None
    if not isinstance(value, str):
        raise NotAnEvent(f"it has no text {name!r}.")
    return value


def _optional_text(value: object, what: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not is_storable(value):
        raise NotAnEvent(f"its {what} is {value!r}, which is no text that can be kept.")
    return value


def _unless_null(text: str | None) -> str | None:
    return None if text in (None, "", "null") else text


def _size(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_SIZE:
        raise NotAnEvent(f"its size is {value!r}, which is no number of bytes.")
    return value


def _time(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            time = datetime.fromisoformat(value)
            return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise NotAnEvent(f"its time is {value!r}, which is no time.")
