"""Which addresses webhooks may have, and how long is waited between tries: rules without a network."""

from __future__ import annotations

import ipaddress
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.ledger.endpoints import Kind, host_of, new_secret
from maap_stac_orchestration.pipeline.notification.addresses import (
    AddressRefused,
    kind_of,
    parse,
    region_of,
    usable_ips,
)
from maap_stac_orchestration.pipeline.notification.answer import BACKOFF, JITTER, LONGEST_WAIT, retry_after, wait_after

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://example.org/hook", "begins with https://"),
        ("ftp://example.org/hook", "begins with https://"),
        ("file:///etc/passwd", "begins with https://"),
        ("//example.org/hook", "begins with https://"),
        ("hook", "begins with https://"),
        ("", "begins with https://"),
        ("https://", "begins with https://"),
        ("https://ana:secret@example.org/", "user's name or password"),
        ("https://ana@example.org/", "user's name or password"),
        ("https://example.org/#part", "fragment"),
        ("https://example.org/a b", "spaces"),
        ("https://example.org/\n", "spaces"),
        ("https://example.org\\@127.0.0.1/", "spaces"),
        ("https://bücher.example/", "not ASCII"),
        ("https://[fe80::1%25eth0]/", "network interface"),
        ("https://example.org:99999/", "ports go from 1 to 65535"),
        ("https://example.org:0/", "ports go from 1 to 65535"),
        ("https://127%2e0.0.1/", "%"),
        ("https://[::1/", "cannot be read"),
        ("https://example.org/" + "a" * 2000, "at most 2000"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_with_a_sentence(address: str, said: str) -> None:
    with pytest.raises(AddressRefused) as refused:
        parse(address, private=False)
    assert said in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("https://example.org", "example.org", 443),
        ("https://EXAMPLE.org:8443/hook?key=1", "example.org", 8443),
        ("https://[2606:4700::1111]/", "2606:4700::1111", 443),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443),
    ],
)
def test_an_address_that_can_be_used_has_a_host_and_a_port(address: str, host: str, port: int) -> None:
    parsed = parse(address, private=False)
    assert (parsed.host, parsed.port, parsed.secure) == (host, port, True)


def test_http_is_for_private_addresses() -> None:
    assert parse("http://hooks.internal/", private=True).port == 80


async def resolved(*ips: str, private: bool = False) -> list[str]:
    """What may be used of a host that has these addresses."""

    async def resolve(host: str, port: int) -> list[str]:
        return list(ips)

    return await usable_ips(parse("https://example.org/", private=private), private=private, resolve=resolve)


@pytest.mark.parametrize(
    "ip",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "::ffff:10.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "2001:0:a9fe:a9fe::1",
        "ff02::1",
    ],
)
async def test_one_private_address_among_those_of_a_host_is_enough_to_refuse_it(ip: str) -> None:
    for ips in ((ip,), ("93.184.215.14", ip)):
        with pytest.raises(AddressRefused) as refused:
            await resolved(*ips)
        assert ip not in str(refused.value), "a stranger learns nothing about the network"
    assert await resolved(ip, private=True) == [ip]


async def test_public_addresses_are_used() -> None:
    assert await resolved("93.184.215.14", "2606:4700::1111") == ["93.184.215.14", "2606:4700::1111"]


@given(st.ip_addresses(v=4))
async def test_no_address_outside_the_public_internet_passes_in_any_disguise(ip: ipaddress.IPv4Address) -> None:
    open_to_all = ip.is_global and not ip.is_multicast
    for spelled in (str(ip), f"::ffff:{ip}"):
        try:
            used = await resolved(spelled)
        except AddressRefused:
            used = []
        assert (used == [spelled]) == open_to_all


async def test_a_host_without_addresses_is_refused() -> None:
    with pytest.raises(AddressRefused, match="has no IP address"):
        await resolved()


@pytest.mark.parametrize(
    ("arn", "said"),
    [
        ("arn:aws:sqs:us-west-2:123456789012:jobs", "is not the ARN of an SNS topic"),
        ("arn:aws:sns:us-west-2:123456789012:jobs:1b2c", "is not the ARN of an SNS topic"),
        ("arn:aws:sns:us-west-2:12:jobs", "is not the ARN of an SNS topic"),
        ("arn:aws:sns:us-west-2:123456789012:jobs.fifo", "FIFO"),
    ],
)
def test_what_is_no_topic_is_refused(arn: str, said: str) -> None:
    assert kind_of(arn) is Kind.SNS
    with pytest.raises(AddressRefused, match=said):
        region_of(arn)


def test_a_topic_tells_its_region() -> None:
    assert region_of("arn:aws-us-gov:sns:us-gov-west-1:123456789012:jobs") == "us-gov-west-1"


def test_what_is_told_of_an_address_is_its_host_alone() -> None:
    assert host_of(Kind.WEBHOOK, "https://hooks.example.org:8443/services/T0/B0/key?token=x") == "hooks.example.org"


@given(attempt=st.integers(1, 100), random=st.floats(0, 1), asked=st.none() | st.timedeltas(min_value=timedelta(0)))
def test_waits_grow_and_are_neither_shorter_than_asked_for_nor_without_end(
    attempt: int, random: float, asked: timedelta | None
) -> None:
    wait = wait_after(attempt, random, asked)
    assert wait >= BACKOFF[min(attempt, len(BACKOFF)) - 1]
    assert wait >= min(asked or timedelta(0), LONGEST_WAIT)
    assert wait <= LONGEST_WAIT * (1 + JITTER)
    assert wait_after(attempt + 1, random) >= wait_after(attempt, random)


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("120", timedelta(seconds=120)),
        (" 7 ", timedelta(seconds=7)),
        (format_datetime(NOW + timedelta(minutes=5), usegmt=True), timedelta(minutes=5)),
        (format_datetime(NOW - timedelta(minutes=5), usegmt=True), timedelta(0)),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(header: str | None, wait: timedelta | None) -> None:
    assert retry_after(header, NOW) == wait


@given(st.text())
def test_any_retry_after_is_read_without_an_error(header: str) -> None:
    wait = retry_after(header, NOW)
    assert wait is None or wait >= timedelta(0)


def test_a_secret_has_the_form_that_the_rules_ask_for() -> None:
    first, second = new_secret(), new_secret()
    assert first != second
    assert first.startswith("whsec_")
    assert 24 <= len(b64decode(first.removeprefix("whsec_"), validate=True)) <= 64
