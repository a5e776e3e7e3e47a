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
from maap_stac_orchestration.dps.output_prefix import SHARED_FOLDER

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_S3 = re.compile(r"s3://([A-Za-z0-9][A-Za-z0-9._-]*)/(.+)", re.DOTALL | re.IGNORECASE)
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
#: What no host holds. Clients disagree on what to make of them, so that a host can hide behind one.
_UNESCAPED = re.compile(r"[\x00-\x20\x7f\\]")
_AUTHORITY = re.compile(r"[^:/]*:?/{0,2}[^/?#]*")
#: What lets a relative href be read in more than one way: as an address, as a name, or as a path with stray slashes.
_AMBIGUOUS = re.compile(r"[%?#]|//")
_UNPLAIN = re.compile(r"[%\x00]|//")
#: Prefix of keys that every user may read, beside their own.
SHARED = f"{SHARED_FOLDER}/"
#: Names that only mean something inside a network.
_INNER_NAMES = (
    *(".localhost", ".local", ".internal", ".localdomain", ".lan", ".home.arpa", ".home", ".intranet"),
    *(".corp", ".private", ".svc", ".test", ".invalid"),
)
_HOST = re.compile(r"[a-z0-9._-]+")
#: What is reached through the internet by IPv6. Outside of it are private networks, what nobody was given yet, and many
#: ways to write an IPv4 address (::127.0.0.1, 64:ff9b::127.0.0.1); inside of it there is only one that leads on.
_GLOBAL_UNICAST, _TEREDO = ipaddress.IPv6Network("2000::/3"), ipaddress.IPv6Network("2001::/32")
#: S3 over HTTP: the bucket before the host or first in the path.
_S3_HOST = re.compile(r"(?:(?P<bucket>.+)\.)?s3[a-z0-9.-]*\.amazonaws\.com(?:\.cn)?")


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
    sequences decoded, as addresses are. Only names and spellings are looked at: a public name that its owner points at
    a private address is for whoever opens it to refuse.
    """
    if not href.strip():
        return Target(Place.OUTSIDE, reason="it is empty")
    if href.startswith("/vsi"):
        return Target(Place.OUTSIDE, reason="it is a path of GDAL's virtual file systems")
    if href.startswith("//"):
        return Target(Place.OUTSIDE, reason="it names a host without saying how to reach it")
    if href.startswith(("/", "~/")) or _WINDOWS.match(href):
        return Target(Place.LOCAL)
    scheme = _SCHEME.match(href)
    # A file name may hold a colon (boreal-2024-06-01T10:00.tif) and then looks as if it began with a scheme.
    if scheme is None or files.holds(f"{posixpath.dirname(key)}/{href}"):
        return _relative(href, key, files, username)
    name = scheme[1].lower()
    if name == "s3":
        return _object(href, files, username, readable_buckets, job_buckets)
    if name in ("http", "https"):
        reason = web_fault(href) or _folder_fault(href, files, username, job_buckets)
        return Target(Place.WEB, href=href) if reason is None else Target(Place.OUTSIDE, reason=reason)
    return Target(Place.OUTSIDE, reason=f"addresses that begin with {name}: are not served")


def web_fault(href: str) -> str | None:
    """Why nobody should be led to an http address, as a clause; None where it is public by its looks.

    A server that follows addresses from a document (a tiler, a proxy) stands inside a network that the document's
    author does not: so loopback, private and link-local addresses are no places, however they are spelled.
    """
    authority = _AUTHORITY.match(href)
    if authority is None or _UNESCAPED.search(authority.group()):
        return "its host holds spaces, backslashes or control characters"
    try:
        parts = urlsplit(href)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "it is not an address"
    if not host:
        return "it names no host"
    if parts.username is not None or parts.password is not None:
        return "it carries a password or a name to log in with"
    address = _address(host)
    if address is None:
        try:
            host = _looked_up(host)
        except UnicodeError:
            return "its host is no name"
        address = _address(host)
    if address is not None:
        return None if is_public(address) else "its host is a private address"
    if _HOST.fullmatch(host) is None:
        return "its host is no name"
    label = host.rpartition(".")[2]
    if label.isdigit() or label.startswith("0x"):
        return "its host is a number that is no address"
    if "." not in host or host.endswith(_INNER_NAMES):
        return "its host is a name inside a network"
    return None


def _looked_up(host: str) -> str:
    """The name that clients look up for a host; raises UnicodeError where there is none.

    They unescape it before, take wide digits and dots for plain ones, and drop what cannot be seen: all that preparing
    an international name does too.
    """
    return unquote(host).encode("idna").decode("ascii").rstrip(".").lower()


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that a host is, in any spelling that clients take (2130706433, 0x7f.1, ::1); None for names."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is one of the public internet, also where another address is hidden in it."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        # Tunnels carry an IPv4 address inside; nobody serves data through them any more (RFC 7526 retired 6to4).
        if address not in _GLOBAL_UNICAST or address in _TEREDO or address.sixtofour is not None:
            return False
    return address.is_global and not address.is_multicast


def _relative(href: str, key: str, files: JobFiles, username: str) -> Target:
    folder = posixpath.dirname(key)
    if _AMBIGUOUS.search(href) is None:
        # Nearly every href: there is one way to read it, and every client takes it.
        plain = _resolved(f"{folder}/{href}")
        if plain is not None and plain.startswith((f"{username}/", SHARED)) and _UNPLAIN.search(plain) is None:
            place = Place.JOB if plain.startswith(files.prefix) else Place.OBJECT
            return Target(place, href=f"s3://{files.bucket}/{plain}", key=plain, relative=True)
    path = unquote(re.split(r"[?#]", href, maxsplit=1)[0])
    # In the order in which an author may have meant it: as written, as an address, as a path with stray slashes in it.
    meant = [_resolved(f"{folder}/{one}") for one in dict.fromkeys((href, path)) if one]
    meant += [re.sub("/{2,}", "/", one) for one in meant if one is not None]
    held = next((one for one in meant if one is not None and files.holds(one)), None)
    target = held or _resolved(f"{folder}/{path or href}")
    if target is None or "\0" in target or not _is_open(target, username):
        return Target(Place.OUTSIDE, reason="it leads out of the submitter's own folder", relative=True)
    place = Place.JOB if target.startswith(files.prefix) else Place.OBJECT
    return Target(place, href=f"s3://{files.bucket}/{target}", key=target, relative=True)


def _object(
    href: str, files: JobFiles, username: str, readable_buckets: Collection[str], job_buckets: Collection[str]
) -> Target:
    match = _S3.fullmatch(href)
    if match is None:
        return Target(Place.OUTSIDE, reason="it names no object of a bucket")
    bucket, written = match.groups()
    # A key may hold `..` and `%2e`, but clients resolve them as they do in any address: what counts is where they go.
    key, decoded = _resolved(written), _resolved(unquote(written))
    if key is None or decoded is None or "\0" in key + decoded:
        return Target(Place.OUTSIDE, reason="it leads out of the bucket")
    if bucket == files.bucket or bucket in job_buckets:
        if not _is_open(key, username):
            return Target(Place.OUTSIDE, reason=f"it lies in another user's folder of the bucket {bucket}")
        if bucket == files.bucket and key.startswith(files.prefix):
            meant = not files.holds(key) and decoded.startswith(files.prefix) and files.holds(decoded)
            found = decoded if meant else key
            return Target(Place.JOB, href=f"s3://{bucket}/{found}", key=found)
    elif bucket not in readable_buckets:
        return Target(Place.OUTSIDE, reason=f"the bucket {bucket} is not open to submitters")
    return Target(Place.OBJECT, href=f"s3://{bucket}/{key}")


def _folder_fault(href: str, files: JobFiles, username: str, job_buckets: Collection[str]) -> str | None:
    """Why an address without a `web_fault` is none to lead to: another user's object in a bucket of jobs is there."""
    parts = urlsplit(href)
    host = parts.hostname or ""
    match = None if ":" in host else _S3_HOST.fullmatch(_looked_up(host))
    if match is None:
        return None
    path = unquote(parts.path).lstrip("/")
    bucket, key = (match["bucket"], path) if match["bucket"] else path.partition("/")[::2]
    if (bucket != files.bucket and bucket not in job_buckets) or _is_open(key, username):
        return None
    return f"it lies in another user's folder of the bucket {bucket}"


def _is_open(key: str, username: str) -> bool:
    """Whether a key of a bucket of jobs leads to everybody's or the user's own folder, however a client reads it.

    Some decode it, and for some two slashes are one.
    """
    spelled = {key, unquote(key)}
    meant = [_resolved(one) for one in spelled | {re.sub("/{2,}", "/", one) for one in spelled}]
    return all(one is not None and one.startswith((f"{username}/", SHARED)) for one in meant)


def _resolved(path: str) -> str | None:
    """A key without `.` and `..`, None where it leads above the bucket; empty segments are part of a key and stay."""
    if "/." not in path and not path.startswith("."):
        return path
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            if not segments:
                return None
            segments.pop()
        elif segment != ".":
            segments.append(segment)
    return "/".join(segments)
