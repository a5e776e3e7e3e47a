"""Telling a webhook: one signed POST, by the Standard Webhooks rules.

Here belongs the request and what its answer means. Not here: which addresses may be used (`addresses`), and what
becomes of a try (`pipeline.notify`). The rules: https://github.com/standard-webhooks/standard-webhooks

The request goes to an IP address that was checked, under the name of the host: nothing is looked up in between, no
redirect is followed, no proxy is asked, no cookie is kept.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from uuid import UUID

import httpx
from standardwebhooks import Webhook

import maap_stac_orchestration
from maap_stac_orchestration.pipeline.notification.addresses import (
    AddressRefused,
    Resolve,
    look_up,
    parse,
    usable_ips,
)
from maap_stac_orchestration.pipeline.notification.answer import Answer, retry_after
from maap_stac_orchestration.pipeline.notification.messages import CONTENT_TYPE

#: Seconds for a try in all, from looking the host up to the end of the answer.
TIMEOUT = 10.0
#: Of those, for one IP address to take the connection: another one may.
_CONNECT = 4.0
#: Bytes of an answer that are read at most; nothing in it is needed.
_MOST_READ = 4 * 1024
#: Characters of an answer that are shown to whoever tries an endpoint by hand.
_EXCERPT = 500

_ASKED_TO_WAIT = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


class Webhooks:
    """Sends to one webhook, again and again over connections that are kept; for one event loop, to be closed."""

    def __init__(
        self, address: str, *, private: bool, tls: ssl.SSLContext | None = None, resolve: Resolve = look_up
    ) -> None:
        """A sender.

        Args:
            address: of the webhook.
            private: whether private addresses, and http, are allowed.
            tls: by what certificates are checked; made anew without it, which takes some milliseconds.
            resolve: gives the IP addresses of a host.
        """
        self._address = address
        self._private = private
        self._resolve = resolve
        # A pool of its own: pools know connections by IP address, and another host at the same one is somebody else.
        self._transport = httpx.AsyncHTTPTransport(
            verify=tls or httpx.create_ssl_context(), trust_env=False, retries=0, limits=httpx.Limits(max_connections=8)
        )

    async def send(self, message_id: UUID, body: str, secrets: Sequence[str]) -> Answer:
        """Sends a message once.

        Args:
            message_id: the same at each try.
            body: the same at each try.
            secrets: each signs it.
        """
        now = datetime.now(UTC)
        headers = {
            "content-type": CONTENT_TYPE,
            "user-agent": f"maap-stac-orchestration/{maap_stac_orchestration.__version__}",
            "accept-encoding": "identity",
            "webhook-id": str(message_id),
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(Webhook(secret).sign(str(message_id), now, body) for secret in secrets),
        }
        try:
            async with asyncio.timeout(TIMEOUT):
                return await self._post(headers, body.encode(), now)
        except AddressRefused as error:
            return Answer(False, str(error))
        except TimeoutError:
            return Answer(False, f"There was no answer within {TIMEOUT:.0f} seconds.")
        except (httpx.HTTPError, ssl.SSLError, OSError) as error:
            return Answer(False, f"There was no answer: {_reason(error)}.")

    async def close(self) -> None:
        """Closes the connections."""
        await self._transport.aclose()

    async def _post(self, headers: dict[str, str], body: bytes, now: datetime) -> Answer:
        address = parse(self._address, private=self._private)
        ips = await usable_ips(address, private=self._private, resolve=self._resolve)
        # As the host was written, with a port that is not the usual one.
        headers = {"host": address.url.netloc.decode("ascii"), **headers}
        extensions = {
            "timeout": {"connect": _CONNECT, "read": TIMEOUT, "write": TIMEOUT, "pool": TIMEOUT},
            **({"sni_hostname": address.host} if address.secure else {}),
        }
        for last, ip in [(ip == ips[-1], ip) for ip in ips]:
            request = httpx.Request(
                "POST", address.url.copy_with(host=ip), headers=headers, content=body, extensions=extensions
            )
            try:
                response = await self._transport.handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if last:
                    raise
                continue
            try:
                return _answer(response, await _beginning(response), now)
            finally:
                await response.aclose()
        raise AssertionError("there is at least one IP address")


def _answer(response: httpx.Response, beginning: bytes, now: datetime) -> Answer:
    status = response.status_code
    text = f"HTTP {status}"
    if status == HTTPStatus.GONE:
        text += ": the receiver says that it is gone for good"
    elif 300 <= status < 400:
        text += ": it redirects, which is not followed; add a webhook with the address that it redirects to"
    wait = retry_after(response.headers.get("retry-after"), now) if status in _ASKED_TO_WAIT else None
    return Answer(
        200 <= status < 300,
        text,
        gone=status == HTTPStatus.GONE,
        retry_after=wait,
        excerpt=beginning.decode("utf-8", "replace")[:_EXCERPT],
    )


async def _beginning(response: httpx.Response) -> bytes:
    read = b""
    async for chunk in response.aiter_raw():
        read += chunk
        if len(read) >= _MOST_READ:
            break
    return read[:_MOST_READ]


def _reason(error: Exception) -> str:
    words = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
