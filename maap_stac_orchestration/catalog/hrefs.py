"""Addresses inside a document: where an href leads, and whether that is a place to point people and servers at.

Here belongs reading one href. Not here: which links are followed when reading a job (`links`), and what becomes of an
asset whose href leads nowhere good (`assets`). Pure: no name is looked up and nothing is opened.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
import socket
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote, urlsplit

from maap_stac_orchestration.catalog.job_files import JobFiles

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_S3 = re.compile(r"s3://([^/]+)/(.+)", re.DOTALL)
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
#: Prefix of keys that every user may read, beside their own.
SHARED = "shared/"
#: Names that only mean something inside a network.
_INNER_NAMES = (".localhost", ".local", ".internal", ".localdomain", ".lan", ".home.arpa", ".intranet")


class Place(StrEnum):
    """What kind of place an href leads to."""

    #: An object of the job.
    JOB = "job"
    #: An object elsewhere that the submitter may read.
    OBJECT = "object"
    #: A public address.
    WEB = "web"
    #: A path of a machine.
    LOCAL = "local"
    #: Anything else: nobody should be led there.
    OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class Target:
    """Where an href leads."""

    place: Place
    #: Absolute; empty where the place is local or outside.
    href: str = ""
    #: The object's key, where it is one of the job.
    key: str = ""
    #: Why it is outside, as a clause.
    reason: str = ""
    #: Whether the href was relative: then its author means a file of the job.
    relative: bool = False


def locate(
    href: str,
    *,
    key: str,
    files: JobFiles,
    username: str,
    readable_buckets: Collection[str],
    job_buckets: Collection[str],
) -> Target:
    """Where an href of the document at `key` leads.

    Relative hrefs count from the document. They are taken as written where an object has that key, else with `%`
    sequences decoded, as addresses are.
    """
    if not href or "\0" in href:
        return Target(Place.OUTSIDE, reason="it is empty" if not href else "it contains a NUL")
    if href.startswith("/vsi"):
        return Target(Place.OUTSIDE, reason="it is a path of GDAL's virtual file systems")
    if href.startswith("//"):
        return Target(Place.OUTSIDE, reason="it names a host without saying how to reach it")
    if href.startswith("/") or _WINDOWS.match(href):
        return Target(Place.LOCAL)
    scheme = _SCHEME.match(href)
    if scheme is None:
        return _relative(href, key, files, username)
    name = scheme[1].lower()
    if name == "s3":
        return _object(href, files, username, readable_buckets, job_buckets)
    if name in ("http", "https"):
        reason = web_fault(href)
        return Target(Place.WEB, href=href) if reason is None else Target(Place.OUTSIDE, reason=reason)
    return Target(Place.OUTSIDE, reason=f"addresses that begin with {name}: are not served")


def web_fault(href: str) -> str | None:
    """Why nobody should be led to an http address, as a clause; None where it is public by its looks.

    A server that follows addresses from a document (a tiler, a proxy) stands inside a network that the document's
    author does not: so loopback, private and link-local addresses are no places, however they are spelled.
    """
    try:
        parts = urlsplit(href)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "it is not an address"
    if not host:
        return "it names no host"
    if parts.username is not None or parts.password is not None:
        return "it carries a password or a name to log in with"
    host = host.rstrip(".").lower()
    address = _address(host)
    if address is not None:
        inner = getattr(address, "ipv4_mapped", None) or address
        return None if inner.is_global and not inner.is_multicast else "its host is a private address"
    if "." not in host or host.endswith(_INNER_NAMES):
        return "its host is a name inside a network"
    return None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that a host is, in any spelling that clients take (2130706433, 0x7f.1, ::1); None for names."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None


def _relative(href: str, key: str, files: JobFiles, username: str) -> Target:
    folder = posixpath.dirname(key)
    written = posixpath.normpath(posixpath.join(folder, href))
    meant = written
    if not files.holds(written):
        path = unquote(re.split(r"[?#]", href, maxsplit=1)[0])
        meant = posixpath.normpath(posixpath.join(folder, path)) if path else written
    if "\0" in meant or not meant.startswith(f"{username}/"):
        return Target(Place.OUTSIDE, reason="it leads out of the submitter's own folder", relative=True)
    place = Place.JOB if meant.startswith(files.prefix) else Place.OBJECT
    return Target(place, href=f"s3://{files.bucket}/{meant}", key=meant, relative=True)


def _object(
    href: str, files: JobFiles, username: str, readable_buckets: Collection[str], job_buckets: Collection[str]
) -> Target:
    match = _S3.fullmatch(href)
    if match is None:
        return Target(Place.OUTSIDE, reason="it names no object of a bucket")
    bucket, key = match.groups()
    if bucket == files.bucket and key.startswith(files.prefix):
        return Target(Place.JOB, href=href, key=key)
    if bucket == files.bucket or bucket in job_buckets:
        if key.startswith((f"{username}/", SHARED)):
            return Target(Place.OBJECT, href=href)
        return Target(Place.OUTSIDE, reason=f"it lies in another user's folder of the bucket {bucket}")
    if bucket in readable_buckets:
        return Target(Place.OBJECT, href=href)
    return Target(Place.OUTSIDE, reason=f"the bucket {bucket} is not open to submitters")
