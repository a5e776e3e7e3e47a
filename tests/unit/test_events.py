"""What a queue message tells: S3's events bare, in SNS's envelope and from EventBridge."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.discovery.events import CatalogEvent, NotAnEvent, parse_message
from maap_stac_orchestration.discovery.found import FoundCatalog, is_storable, job_of_catalog

BUCKET = "maap-ops-workspace"
JOB = "aliz237/dps_output/run_boreal/v3.1.0/AGB_H30_2020/full run/2025/08/19/09/59/01/262274/"
KEY = JOB + "catalog.json"
TIME = datetime(2025, 8, 19, 10, 0, 0, 123000, tzinfo=UTC)


def record(key: str = KEY, **changes: Any) -> dict[str, Any]:
    """A record as S3 writes it: the key spelled as in a form."""
    target = {
        "key": quote_plus(key),
        "size": 1024,
        "eTag": "d41d8cd98f00b204e9800998ecf8427e",
        "versionId": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
        "sequencer": "0055AED6DCD90281E5",
    }
    target |= changes.pop("object", {})
    whole = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-west-2",
        "eventTime": "2025-08-19T10:00:00.123Z",
        "eventName": "ObjectCreated:Put",
        "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": BUCKET}, "object": target},
    }
    return whole | changes


def raw(*records: Any) -> str:
    return json.dumps({"Records": list(records)})


def enveloped(message: str) -> str:
    return json.dumps({"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:x", "Message": message})


def eventbridge(key: str = KEY, **changes: Any) -> str:
    """An event as EventBridge writes it: the key as it is."""
    target = {
        "key": key,
        "size": 1024,
        "etag": "d41d8cd98f00b204e9800998ecf8427e",
        "version-id": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
        "sequencer": "0055AED6DCD90281E5",
    }
    target |= changes.pop("object", {})
    whole = {
        "version": "0",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "time": "2025-08-19T10:00:00.123Z",
        "detail": {"version": "0", "bucket": {"name": BUCKET}, "object": target, "reason": "PutObject"},
    }
    return json.dumps(whole | changes)


def parse(body: str) -> tuple[CatalogEvent, ...]:
    return parse_message(body, {BUCKET})


EXPECTED = CatalogEvent(
    bucket=BUCKET,
    key=KEY,
    etag="d41d8cd98f00b204e9800998ecf8427e",
    size=1024,
    time=TIME,
    version_id="096fKKXTRTtl3on89fVO.nfljtsv6qko",
    sequencer="0055AED6DCD90281E5",
)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(raw(record()), id="bare"),
        pytest.param(enveloped(raw(record())), id="in SNS's envelope"),
        pytest.param(enveloped(enveloped(raw(record()))), id="in two envelopes"),
        pytest.param(eventbridge(), id="EventBridge"),
        pytest.param(enveloped(eventbridge()), id="EventBridge in SNS's envelope"),
        pytest.param(raw(record(eventSource="minio:s3", eventName="s3:ObjectCreated:Put")), id="another store"),
        pytest.param(raw(record(eventName="ObjectCreated:CompleteMultipartUpload")), id="multipart"),
        pytest.param(raw(record(eventName="ObjectCreated:Copy")), id="copy"),
        pytest.param(raw(record(eventTime="2025-08-19T12:00:00.123+02:00")), id="time with an offset"),
        pytest.param(raw(record(object={"eTag": '"d41d8cd98f00b204e9800998ecf8427e"'})), id="etag in quotes"),
        pytest.param(eventbridge(time=TIME.timestamp()), id="time as a number"),
    ],
)
def test_the_same_catalog_is_read_from_every_shape(body: str) -> None:
    assert parse(body) == (EXPECTED,)


def test_several_records_keep_their_order() -> None:
    keys = [JOB + "catalog.json", JOB + "north/catalog.json"]
    assert [event.key for event in parse(raw(*[record(key) for key in keys]))] == keys


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(
            json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2025-01-01", "Bucket": BUCKET}),
            id="test event",
        ),
        pytest.param(raw(), id="no records"),
        pytest.param(raw(record(eventName="ObjectRemoved:Delete")), id="removed"),
        pytest.param(raw(record(eventName="ObjectTagging:Put")), id="tagged"),
        pytest.param(eventbridge(**{"detail-type": "Object Deleted"}), id="removed, EventBridge"),
        pytest.param(raw(record(JOB + "item.json")), id="another document"),
        pytest.param(raw(record(JOB + "my-catalog.json")), id="a name that only ends like it"),
        pytest.param(raw(record(JOB + "catalog.json/")), id="a folder"),
        pytest.param(raw(record("aliz237/catalog.json")), id="outside of any output prefix"),
        pytest.param(raw(record(s3={"bucket": {"name": "other"}, "object": {"key": KEY}})), id="another bucket"),
        pytest.param(raw(record(JOB + "a\0b/catalog.json")), id="a key that Postgres cannot keep"),
    ],
)
def test_what_is_no_news_of_a_catalog_is_understood_and_gives_nothing(body: str) -> None:
    assert parse(body) == ()


@pytest.mark.parametrize(
    "body",
    [
        "",
        "hello",
        "[]",
        "null",
        "{}",
        '{"Records": {}}',
        '{"Records": ["x"]}',
        '{"Records": [{"eventSource": "aws:s3"}]}',
        raw(record(eventSource="aws:ses")),
        raw(record(s3={})),
        raw(record(s3={"bucket": {"name": BUCKET}, "object": {}})),
        raw(record(object={"key": "%ff"})),
        raw(record(object={"size": -1})),
        raw(record(object={"size": 2**63})),
        raw(record(object={"size": "1"})),
        raw(record(object={"eTag": 7})),
        raw(record(object={"versionId": "a\0"})),
        raw(record(eventTime="yesterday")),
        raw(record(eventTime="9999-12-31T23:59:59-23:00")),
        raw(record(eventTime=1e300)),
        eventbridge(source="our.own"),
        eventbridge(detail={}),
        enveloped("not json"),
        enveloped(enveloped(enveloped(enveloped(raw(record()))))),
        json.dumps({"Type": "SubscriptionConfirmation", "Token": "x"}),
        "[" * 100_000,
        r'{"Event": "\ud800"}',
    ],
)
def test_junk_is_not_an_event(body: str) -> None:
    with pytest.raises(NotAnEvent):
        parse(body)


def test_the_readable_records_beside_junk_still_count() -> None:
    with pytest.raises(NotAnEvent, match="Record 2 of 3") as caught:
        parse(raw(record(), "junk", record(JOB + "b/catalog.json")))
    assert [event.key for event in caught.value.catalogs] == [KEY, JOB + "b/catalog.json"]


def test_an_event_without_etag_or_time_does_not_tell_enough() -> None:
    for gap in (record(object={"eTag": None}), record(object={"eTag": '""'}), record(eventTime=None)):
        (event,) = parse(raw(gap))
        assert event.found() is None
    assert EXPECTED.found() == FoundCatalog(
        BUCKET, KEY, "d41d8cd98f00b204e9800998ecf8427e", 1024, TIME, "096fKKXTRTtl3on89fVO.nfljtsv6qko"
    )


@pytest.mark.parametrize("nothing", [None, "", "null"])
def test_a_bucket_without_versions_gives_no_version(nothing: str | None) -> None:
    assert parse(raw(record(object={"versionId": nothing})))[0].version_id is None


segments = st.text(min_size=1, max_size=20).filter(lambda text: "/" not in text and text not in {".", ".."})


@given(tags=st.lists(segments, max_size=3), folders=st.lists(segments, max_size=2))
def test_any_key_comes_back_as_it_was_put(tags: list[str], folders: list[str]) -> None:
    key = "/".join(
        ["u ser+%2F", "dps_output", "alg", "v1", *tags, "2025/08/19/09/59/01/262274", *folders, "catalog.json"]
    )
    wanted = [key] if job_of_catalog(key) else []
    assert [event.key for event in parse(raw(record(key)))] == wanted
    if is_storable(key):
        assert [event.key for event in parse(eventbridge(key))] == wanted
        assert wanted


def test_eventbridge_does_not_encode_keys() -> None:
    key = JOB + "a+b%2Fc/catalog.json"
    assert parse(eventbridge(key))[0].key == key
    assert parse(raw(record(key)))[0].key == key


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "Records",
                    "s3",
                    "object",
                    "bucket",
                    "key",
                    "name",
                    "detail",
                    "detail-type",
                    "source",
                    "Type",
                    "Message",
                ]
            ),
            children,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(json_values)
def test_nothing_but_not_an_event_is_raised(value: Any) -> None:
    for body in (json.dumps(value), raw(value), enveloped(json.dumps(value))):
        with contextlib.suppress(NotAnEvent):
            parse(body)
