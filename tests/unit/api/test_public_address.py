"""What proxies say of a request is read with care: anybody can send the same headers."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from maap_stac_orchestration.api.public_address import Forwarded, forwarded

NAMES = ("forwarded", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "x-forwarded-prefix")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "value", ["", ",", "=", ";", '"', "a b", "/..", "/../a", "//a", "-1", "host=", "proto=ftp;host=a/b"]
)
def test_headers_that_say_nothing_usable_say_nothing(name: str, value: str) -> None:
    assert not forwarded(Headers({name: value}))


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"x-forwarded-port": "0"}, Forwarded()),
        ({"x-forwarded-port": "99999999"}, Forwarded()),
        ({"x-forwarded-port": "8443"}, Forwarded(port="8443")),
        ({"x-forwarded-host": "a.example:99999"}, Forwarded()),
        ({"x-forwarded-host": "[::1]:80"}, Forwarded(host="[::1]:80")),
        ({"x-forwarded-proto": "HTTPS"}, Forwarded(scheme="https")),
        ({"x-forwarded-prefix": "/user/ana/"}, Forwarded(prefix="/user/ana")),
        ({"forwarded": 'For="[::1]"; Proto=https ;Host="a.example"'}, Forwarded(scheme="https", host="a.example")),
        # The first proxy is the one that people reach.
        ({"forwarded": "host=a.example, host=b.example"}, Forwarded(host="a.example")),
        # The standard header wins, and a port of another one is none of its host.
        (
            {"forwarded": "host=a.example", "x-forwarded-host": "b.example", "x-forwarded-port": "1"},
            Forwarded(host="a.example"),
        ),
    ],
)
def test_what_they_say_is_read(headers: dict[str, str], told: Forwarded) -> None:
    assert forwarded(Headers(headers)) == told
