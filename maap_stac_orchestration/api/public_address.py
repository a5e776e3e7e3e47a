"""Under which address a request's answer speaks of this application: that of the proxy in front of it, if there is one.

Here belongs reading the headers that proxies send (RFC 7239, and the X-Forwarded ones), how far they are believed, and
the path under which a proxy serves the application. Not here: any link; those begin with the request's base URL, which
this puts right.

Anybody can send these headers. Believed blindly, one request could fill a shared cache with links that lead to a
stranger. So where the public URL is known, it alone is used for whatever came through a proxy. A public URL of this
machine itself is that of a local stack, in front of which people put proxies that it cannot know of.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

_HOST = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_PREFIX = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+", re.ASCII)
_PORTS = {"http": "80", "https": "443"}


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What a proxy says of the request that it was sent; each is None where it says nothing usable."""

    #: http or https.
    scheme: str | None = None
    #: With its port, where it has one.
    host: str | None = None
    #: Digits, where the port is told apart from the host.
    port: str | None = None
    #: A path that begins with a slash and does not end with one.
    prefix: str | None = None

    def __bool__(self) -> bool:
        return any((self.scheme, self.host, self.port, self.prefix))


def forwarded(headers: Headers) -> Forwarded:
    """What the headers say. Of several proxies the first counts, which people reach; `Forwarded` wins over the others,
    but has no word for the prefix."""
    standard = headers.get("forwarded", "").partition(",")[0]
    pairs = (part.strip().partition("=") for part in standard.split(";"))
    said = {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}

    def first(name: str) -> str:
        return headers.get(f"x-forwarded-{name}", "").partition(",")[0].strip()

    scheme = (said.get("proto") or first("proto")).lower()
    host = said.get("host") or first("host")
    port = "" if "host" in said else first("port")
    prefix = first("prefix").rstrip("/")
    return Forwarded(
        scheme=scheme if scheme in _PORTS else None,
        host=host if (match := _HOST.fullmatch(host)) and _is_port(match["port"] or "80") else None,
        port=port if _is_port(port) else None,
        prefix=prefix if _PREFIX.fullmatch(prefix) else None,
    )


class PublicAddress:
    """The middleware: gives each request the scheme, host and path that people see."""

    def __init__(self, app: ASGIApp, *, root_path: str = "", public_url: str | None = None) -> None:
        """As ASGI has it.

        Args:
            app: what comes next.
            root_path: the path under which a proxy serves the application, whether or not it takes it away.
            public_url: where people reach the application, if that is known.
        """
        self.app = app
        self._root_path = root_path.rstrip("/")
        split = urlsplit(public_url) if public_url else None
        self._public = split if split and split.hostname and not _is_this_machine(split.hostname) else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request; everything but HTTP passes."""
        # In the scope itself, since the request log looks at it afterwards.
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            told = forwarded(headers)
            if self._public is not None:
                self._use_public(scope, told, headers.get("host", ""))
            else:
                _use_forwarded(scope, told, headers.get("host", ""))
            believed = None if self._public else told.prefix
            _put_below(scope, self._root_path or believed or str(scope.get("root_path", "")).rstrip("/"))
        await self.app(scope, receive, send)

    def _use_public(self, scope: Scope, told: Forwarded, host: str) -> None:
        """The public URL, but for whoever came past it by another name: a probe, a person on the same machine."""
        assert self._public is not None
        scheme, netloc = self._public.scheme, self._public.netloc
        if told or _with_port(host, scheme) == _with_port(netloc, scheme):
            scope["scheme"] = scheme
            _set_host(scope, netloc)


def _use_forwarded(scope: Scope, told: Forwarded, host: str) -> None:
    scheme = told.scheme or scope.get("scheme", "http")
    scope["scheme"] = scheme
    match = _HOST.fullmatch(told.host or host)
    if match is None or not (told.host or told.port):
        return
    port = (match["port"] or told.port) if told.host else told.port
    _set_host(scope, match["name"] if port in (None, _PORTS.get(scheme)) else f"{match['name']}:{port}")


def _set_host(scope: Scope, host: str) -> None:
    MutableHeaders(scope=scope)["host"] = host


def _put_below(scope: Scope, root_path: str) -> None:
    """Makes a request's path begin with the root path, as ASGI has it, whether or not the proxy took that away."""
    scope["root_path"] = root_path
    path: str = scope["path"]
    if not root_path or path.startswith(root_path + "/"):
        return
    scope["path"] = f"{root_path}/" if path == root_path else root_path + path
    raw: bytes | None = scope.get("raw_path")
    if raw is not None:
        scope["raw_path"] = root_path.encode() + (b"/" if path == root_path else raw)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536


def _with_port(host: str, scheme: str) -> str:
    match = _HOST.fullmatch(host)
    return f"{match['name'].lower()}:{match['port'] or _PORTS.get(scheme, '')}" if match else ""


def _is_this_machine(hostname: str) -> bool:
    try:
        return ip_address(hostname).is_loopback
    except ValueError:
        return hostname == "localhost" or hostname.endswith(".localhost")
