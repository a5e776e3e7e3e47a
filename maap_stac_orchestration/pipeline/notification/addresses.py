"""Which addresses webhooks may have: https, and a host of the public internet.

Here belongs what is checked of an address and of what its host resolves to. Whoever may add a webhook could otherwise
make this service send requests into its own network (SSRF). A host may resolve to something else at any moment, so the
check is made when a webhook is added, and again at each try, and the request then goes to the very IP address that was
checked. Not here: the request (`webhook`).
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import httpx

from maap_stac_orchestration.catalog.hrefs import is_public
from maap_stac_orchestration.ledger.endpoints import Kind

#: Characters of an address; what browsers and servers take.
_LONGEST = 2_000

_TOPIC = re.compile(
    r"arn:aws[a-z-]*:sns:(?P<region>[a-z0-9-]+):[0-9]{12}:(?P<name>[A-Za-z0-9_-]{1,256})(?P<fifo>\.fifo)?"
)

#: Seconds for looking a host up while a webhook is added.
_PATIENCE = 5.0

#: Threads of their own: an event loop waits for its threads when it ends, and a name server that does not answer keeps
#: one for half a minute.
_LOOKUPS = ThreadPoolExecutor(32, thread_name_prefix="look-up")

#: Gives the IP addresses of a host, as text; raises OSError where it has none.
Resolve = Callable[[str, int], Awaitable[list[str]]]


class AddressRefused(Exception):
    """A webhook cannot be sent there; the message says why and what to do, and nothing that may be secret."""


@dataclass(frozen=True, slots=True)
class WebAddress:
    """An address as it is needed for a request."""

    url: httpx.URL
    #: As it is looked up: ASCII, without the brackets of an IPv6 address.
    host: str
    port: int

    @property
    def secure(self) -> bool:
        """Whether it is https."""
        return self.url.scheme == "https"


def kind_of(address: str) -> Kind:
    """Whether it is the ARN of a topic or the address of a webhook."""
    return Kind.SNS if address.startswith("arn:") else Kind.WEBHOOK


def region_of(topic: str) -> str:
    """The region of a topic.

    Raises:
        AddressRefused: it is not the ARN of a topic that can be used.
    """
    match = _TOPIC.fullmatch(topic)
    if match is None:
        raise AddressRefused(
            f"{topic[:200]!r} is not the ARN of an SNS topic; write one like arn:aws:sns:us-west-2:123456789012:jobs."
        )
    if match["fifo"]:
        raise AddressRefused(f"{topic} is a FIFO topic, which is not supported; use a standard one.")
    return match["region"]


def parse(address: str, *, private: bool) -> WebAddress:
    """The parts of a webhook's address, which are checked without looking anything up.

    Args:
        address: as somebody wrote it.
        private: whether private addresses, and http, are allowed.

    Raises:
        AddressRefused: see there.
    """
    if len(address) > _LONGEST:
        raise AddressRefused(f"The address has {len(address)} characters; use one of at most {_LONGEST}.")
    if not address.isascii() or not address.isprintable() or " " in address or "\\" in address:
        raise AddressRefused("The address has spaces or characters in it that are not ASCII; percent-encode them.")
    try:
        url = httpx.URL(address)
        host = url.raw_host.decode("ascii")
    except (httpx.InvalidURL, UnicodeError, ValueError):
        raise AddressRefused("The address cannot be read; write one like https://example.org/hook.") from None
    if url.scheme not in (("https", "http") if private else ("https",)) or not host:
        raise AddressRefused("The address of a webhook begins with https:// and the name of a host.")
    if url.userinfo or "@" in url.netloc.decode("ascii", "replace"):
        raise AddressRefused("The address has a user's name or password before its host; leave that out.")
    if "#" in address:
        raise AddressRefused("The address has a fragment (#), which is never sent; leave it out.")
    if "%" in host:
        raise AddressRefused(f"The host {host} has a % in it, as a network interface has; write the name of a host.")
    port = url.port if url.port is not None else 443 if url.scheme == "https" else 80
    if not 1 <= port <= 65_535:
        raise AddressRefused(f"The address has the port {port}, and ports go from 1 to 65535; correct it.")
    return WebAddress(url, host, port)


async def look_up(host: str, port: int) -> list[str]:
    """The IP addresses of a host, IPv4 first: many a container has no route for IPv6.

    Raises:
        OSError: it has none, or the name server does not answer.
    """
    look = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_LOOKUPS, look)
    addresses = dict.fromkeys(str(one[4][0]) for one in found)
    return sorted(addresses, key=lambda address: ":" in address)


async def usable_ips(address: WebAddress, *, private: bool, resolve: Resolve = look_up) -> list[str]:
    """The IP addresses that a request may go to.

    Raises:
        AddressRefused: the host has none, or one of them is not of the public internet.
    """
    try:
        ips = await resolve(address.host, address.port)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no name of a host"
        raise AddressRefused(f"The host {address.host} cannot be found ({reason}); correct the address.") from error
    if not ips:
        raise AddressRefused(f"The host {address.host} has no IP address; correct the address.")
    if not private and not all(_is_public(ip) for ip in ips):
        # Which address it is would tell a stranger about this service's network.
        raise AddressRefused(
            f"The host {address.host} leads to an address that is not of the public internet; use another host, or let "
            "an operator set MAAP_STAC_WEBHOOK_PRIVATE=true."
        )
    return ips


def check(address: str, *, private: bool) -> None:
    """Checks the address of a webhook that is about to be added, and looks its host up.

    Raises:
        AddressRefused: see there.
    """
    parsed = parse(address, private=private)

    async def checked() -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                await usable_ips(parsed, private=private)
        except TimeoutError:
            raise AddressRefused(
                f"The host {parsed.host} cannot be found, the name server does not answer; try again."
            ) from None

    asyncio.run(checked())


def _is_public(ip: str) -> bool:
    try:
        return is_public(ipaddress.ip_address(ip))
    except ValueError:  # a zone: fe80::1%eth0
        return False
