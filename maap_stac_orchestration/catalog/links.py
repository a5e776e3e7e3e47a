"""Where the links of a catalog lead: the only way from a document to the next, and never out of the job.

Here belongs turning hrefs into keys. Not here: reading what is at a key (`pipeline.read`) and the hrefs of assets
(`assets`). pystac follows whatever a link names, `file:` and `http:` too, so its walking is not used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote_to_bytes

from maap_stac_orchestration.problems import Code, Problem

Relation = Literal["child", "item"]

#: The relations that are followed; `root`, `parent`, `self` and all others never are.
FOLLOWED: frozenset[str] = frozenset({"child", "item"})

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):(//)?")
# Schemes that stand without `//`. Any other word before a colon is part of a file name: the DPS itself writes
# `output-2025-08-19T09:59:01.262274.met.json`.
_BARE_SCHEMES = frozenset(
    {"file", "http", "https", "ftp", "s3", "data", "urn", "mailto", "javascript", "blob", "about"}
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Target:
    """A document of the same job that a link leads to."""

    relation: Relation
    #: As it stands in the document, safe to print and to store.
    href: str
    #: The keys that the href may mean, the likeliest first, every one under the output prefix. There is a second one
    #: where percent signs, `?` or `#` can be read as part of a URL or, as pystac writes them, of a file's name.
    keys: tuple[str, ...]


def follow(document: Mapping[str, Any], key: str, *, bucket: str, prefix: str) -> list[Target | Problem]:
    """The targets of a catalog's or collection's `child` and `item` links, in order, each only once.

    Args:
        document: a Catalog or Collection.
        key: the object key that it was read from.
        bucket: the bucket of the job.
        prefix: the output prefix, ending in `/`.

    Returns:
        In place of a link that is not followed, the problem with it (`link_outside_job`, `catalog_invalid`).
    """
    links = document.get("links")
    if links is None:
        return []
    if not isinstance(links, list):
        return [Problem(Code.CATALOG_INVALID, key, "Its links are not an array.")]
    found: list[Target | Problem] = []
    seen: set[tuple[str, str]] = set()
    for number, link in enumerate(links, start=1):
        relation = link.get("rel") if isinstance(link, Mapping) else None
        if relation != "child" and relation != "item":
            continue
        href = link.get("href")
        reason = _not_an_href(href)
        if reason:
            found.append(Problem(Code.CATALOG_INVALID, key, f"The href of its link number {number} {reason}."))
            continue
        if (relation, href) in seen:
            continue
        seen.add((relation, href))
        keys = resolve(href, key, bucket=bucket)
        # Where the likeliest reading leads out, no other one makes the link harmless.
        if not keys or not keys[0].startswith(prefix):
            found.append(Problem(Code.LINK_OUTSIDE_JOB, shown(href), f"It stands in {shown(key)}."))
        else:
            found.append(Target(relation, shown(href), tuple(one for one in keys if one.startswith(prefix))))
    return found


def resolve(href: str, base: str, *, bucket: str) -> tuple[str, ...]:
    """The keys in `bucket` that an href in the document at the key `base` may mean; none where it leads elsewhere.

    Fragments and queries are cut off and percent signs decoded, once; the href taken literally comes second. In an
    `s3://` address, which by custom is not encoded, it comes first. An absolute path counts from the bucket's root.
    """
    match = _SCHEME.match(href)
    if match and (match[2] or match[1].lower() in _BARE_SCHEMES):
        if match[1].lower() != "s3" or not match[2]:
            return ()
        host, slash, path = href[match.end() :].partition("/")
        if host != bucket or not slash:
            return ()
        return _keys([path, _decoded(path)], [])
    if href.startswith("//"):
        return ()
    if href.startswith("/"):
        return _keys([_decoded(href[1:]), href[1:]], [])
    if href[0] in "#?":
        return (base,)
    return _keys([_decoded(href), href], base.split("/")[:-1])


def shown(text: str) -> str:
    """A text that comes from a document, safe to print and to store: control characters escaped, bounded in length."""
    if len(text) > _SHOWN:
        text = f"{text[:_SHOWN]}…"
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _not_an_href(href: Any) -> str | None:
    if not isinstance(href, str):
        return "is missing" if href is None else "is not a text"
    if not href.strip():
        return "is empty"
    if "\0" in href or "%00" in href:
        return "holds the character NUL"
    if _SURROGATE.search(href):
        return "holds half a character (a lone surrogate)"
    return None


def _decoded(reference: str) -> str | None:
    """The path of a URL reference, decoded; None where the bytes are no text."""
    path = reference.partition("#")[0].partition("?")[0]
    if "%" not in path:
        return path
    try:
        return unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        return None


def _keys(paths: list[str | None], folder: list[str]) -> tuple[str, ...]:
    """The key of each path, seen from a folder, up to the first that climbs above the bucket's root."""
    keys: dict[str, None] = {}
    for path in paths:
        if path is None:
            continue
        parts = list(folder)
        segments = path.split("/")
        for segment in segments:
            if segment == "..":
                if not parts:
                    return tuple(keys)
                parts.pop()
            elif segment not in {"", "."}:
                # Outputs come from a file system, where two slashes are one.
                parts.append(segment)
        # The address of a folder keeps its slash: it is never a document's.
        keys["/".join(parts) + ("/" if segments[-1] in {"", ".", ".."} else "")] = None
    return tuple(keys)
