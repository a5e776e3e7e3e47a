"""A STAC document as bytes, as a kind, and at the version of STAC that we write.

Here belongs what is the same for items, catalogs and collections: reading JSON, telling what a document is, lifting it
to STAC 1.1.0, and whether a database can hold it at all. Not here: whether its content is right (`schema`, `item`,
`collection`).
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, Literal

import orjson
import pystac
from pystac.serialization import migrate_to_latest
from pystac.serialization.identify import STACJSONDescription, STACVersionRange

from maap_stac_orchestration.problems import Problem

#: The version of STAC that is written.
STAC_VERSION: Final = "1.1.0"

Kind = Literal["item", "catalog", "collection", "item_collection"]

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:-[0-9A-Za-z.-]+)?", re.ASCII)
_BY_TYPE: Final[dict[str, Kind]] = {
    "Feature": "item",
    "FeatureCollection": "item_collection",
    "Catalog": "catalog",
    "Collection": "collection",
}
_TYPES: Final = {"item": "Feature", "catalog": "Catalog", "collection": "Collection"}
_OBJECT_TYPES: Final = {
    "item": pystac.STACObjectType.ITEM,
    "catalog": pystac.STACObjectType.CATALOG,
    "collection": pystac.STACObjectType.COLLECTION,
}
_SURROGATE = re.compile("[\ud800-\udfff]")
#: Levels of a document, the same as orjson reads.
_DEEPEST = 1024
_SPELLED = {"nan": "nan", "inf": "inf", "-inf": "-inf"}
_JSON_NAMES = {list: "an array", str: "a string", bool: "true or false", int: "a number", float: "a number"}


class NotJson(ValueError):
    """Bytes that are no JSON object; the message is a sentence that says where they stop being one."""


class NotMigrated(ValueError):
    """A document that cannot be lifted to STAC 1.1.0; the message is a sentence that says why."""


def parse_json(raw: bytes) -> dict[str, Any]:
    """Reads a JSON object as producers really write it.

    A byte order mark is skipped. NaN and Infinity, which Python's json writes though JSON has no such thing, become
    null, or the words `nan`, `inf` and `-inf` where they are the value of a `nodata`, as STAC spells them there. Whole
    numbers beyond 64 bits become floating point.

    Raises:
        NotJson: not UTF-8, not JSON, not an object, or nested deeper than can be read.
    """
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError:
        # orjson is fast and strict; what it refuses is looked at again by a reader that can be told what to let pass.
        document = _parse_leniently(raw)
    if not isinstance(document, dict):
        raise NotJson(f"It holds {_JSON_NAMES.get(type(document), 'null')} where a JSON object is wanted.")
    return document


def parse_strict_json(raw: bytes) -> Any:
    """Reads JSON of any kind as its specification has it: what a program sends to be stored is not guessed at.

    Raises:
        NotJson: not UTF-8, not JSON (NaN is none), or nested deeper than can be read.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if not raw.strip():
            raise NotJson("It is empty.") from error
        raise NotJson(f"It is not JSON: {error.msg} in line {error.lineno}, column {error.colno}.") from error


def kind_of(document: Mapping[str, Any]) -> Kind | None:
    """What a document of STAC 0.9 to 1.1 says it is; None where it is none of these.

    From 1.0 on the `type` says it. Before, only items had one: a document with `stac_version` and without `type` was a
    collection where it had an extent or a licence, and a catalog otherwise.
    """
    declared = document.get("type")
    if declared is not None:
        return _BY_TYPE.get(declared) if isinstance(declared, str) else None
    version = _version_of(document)
    if version is None or version >= (1, 0, 0):
        # 1.0.0-rc.1 and later require the type; the betas before them did not have it.
        beta = str(document.get("stac_version")).startswith("1.0.0-beta")
        if not beta:
            return None
    return "collection" if "extent" in document or "license" in document else "catalog"


def migrate(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document at STAC 1.1.0, extension fields and addresses moved along as pystac does it.

    A document of 1.1.0 is given back as it is, in a new outer dictionary: extensions have versions of their own, and
    an item of today may rightly name an older one. No link is followed, nothing is fetched, the input stays as it is.

    Raises:
        NotMigrated: no or an unknown `stac_version`, or a structure that pystac cannot work on.
    """
    version = document.get("stac_version")
    if version == STAC_VERSION:
        return dict(document)
    numbers = _version_of(document)
    if numbers is None:
        found = "missing" if version is None else f"{version!r}, where a text such as '1.1.0' is wanted"
        raise NotMigrated(f"The stac_version is {found}.")
    if not (0, 8, 0) <= numbers <= (1, 1, 0):
        raise NotMigrated(f"The stac_version is {version}; versions 0.8 to 1.1 can be read.")
    kind = kind_of(document)
    if kind is None or kind == "item_collection":
        raise NotMigrated("It is neither an Item nor a Catalog nor a Collection.")
    fault = _structure_fault(document)
    if fault is not None:
        raise NotMigrated(fault)
    # The geometry, often most of the document, takes no part in a migration: it is spared the copy.
    source = {key: value for key, value in document.items() if key != "geometry"}
    try:
        described = STACJSONDescription(
            _OBJECT_TYPES[kind], STACVersionRange(str(version), str(version)), list(source.get("stac_extensions") or [])
        )
        with warnings.catch_warnings():
            # pystac warns of fields that it cannot move; they stay where they are.
            warnings.simplefilter("ignore")
            migrated = migrate_to_latest(_own_copy(source), described)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, pystac.STACError) as error:
        # pystac's migrations take the structure for granted; the incident here is a document, never our code's state.
        raise NotMigrated(f"It is not built as STAC {version} says ({error}).") from error
    except RecursionError as error:
        raise NotMigrated("It is nested too deeply to be read.") from error
    migrated["type"] = _TYPES[kind]
    _keep_unknown_projection(source, migrated)
    if "geometry" in document:
        migrated["geometry"] = document["geometry"]
    return migrated


class _Own(dict[str, Any]):
    """A copy that nobody else holds; pystac copies what it migrates, and that copy costs more than the migration."""

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return dict(self)


def _own_copy(document: dict[str, Any]) -> dict[str, Any]:
    """A copy of a document; where it cannot be written it is the document itself, which pystac then copies."""
    try:
        return _Own(orjson.loads(orjson.dumps(document)))
    except (orjson.JSONEncodeError, orjson.JSONDecodeError):
        return document


def unwritable(document: Mapping[str, Any]) -> str | None:
    """Why neither JSON nor PostgreSQL can hold a document, as a sentence, or None where both can.

    PostgreSQL refuses the character NUL in JSON and with it the whole batch; half a surrogate pair is no Unicode;
    numbers beyond 64 bits and nesting beyond some 250 levels cannot be written by the loader.
    """
    try:
        written = orjson.dumps(document)
    except TypeError as error:
        if "surrogate" in str(error):
            broken = next((path for path, text in _strings(document) if _has_surrogate(text)), "")
            return f"The text at {broken or 'the top'} holds half a character (a lone surrogate)."
        if "ecursion" in str(error):
            return "It is nested deeper than 250 levels."
        return f"It holds what JSON cannot: {error}."
    if b"\\u0000" not in written:
        return None
    # Text that only spells a backslash and u0000 looks alike once it is written, and is harmless.
    where = next((path for path, text in _strings(document) if "\0" in text), None)
    return (
        None if where is None else f"The text at {where or 'the top'} holds the character NUL, which no database takes."
    )


def printable(text: str) -> str:
    """A text from a document as it can be shown to people: what a terminal or a page would obey or hide is escaped."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def told(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Problems of a document as they can be shown: names and hrefs in it may hold anything, and any length of it."""
    return tuple(replace(one, object=_clipped(one.object, 500), detail=_clipped(one.detail, 2000)) for one in problems)


def _clipped(text: str, longest: int) -> str:
    return printable(text if len(text) <= longest else f"{text[:longest]}…")


def _parse_leniently(raw: bytes) -> Any:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotJson(f"It is not UTF-8 text: byte {error.start} cannot be read.") from error
    try:
        document = json.loads(text, parse_int=_parse_int)
    except json.JSONDecodeError as error:
        if not text.strip():
            raise NotJson("It is empty.") from error
        raise NotJson(f"It is not JSON: {error.msg} in line {error.lineno}, column {error.colno}.") from error
    except RecursionError as error:
        raise NotJson("It is nested too deeply to be read.") from error
    _replace_not_finite(document)
    return document


def _parse_int(digits: str) -> int | float:
    # As orjson does it. Python's int() would refuse thousands of digits with an error of its own.
    if len(digits) < 19:
        return int(digits)
    value = float(digits)
    return int(digits) if len(digits) < 21 and -(2**63) <= int(digits) < 2**64 else value


def _replace_not_finite(document: Any) -> None:
    stack = [(document, 1)]
    while stack:
        holder, depth = stack.pop()
        entries: Iterator[tuple[Any, Any]]
        if isinstance(holder, dict):
            entries = iter(list(holder.items()))
        elif isinstance(holder, list):
            entries = iter(list(enumerate(holder)))
        else:
            continue
        if depth > _DEEPEST:
            # How deep Python's own reader goes differs from version to version.
            raise NotJson("It is nested too deeply to be read.")
        for key, value in entries:
            if isinstance(value, float) and not math.isfinite(value):
                holder[key] = _SPELLED[str(value)] if key == "nodata" else None
            elif isinstance(value, dict | list):
                stack.append((value, depth + 1))


def _version_of(document: Mapping[str, Any]) -> tuple[int, int, int] | None:
    version = document.get("stac_version")
    match = _VERSION.fullmatch(version) if isinstance(version, str) else None
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def _structure_fault(document: Mapping[str, Any]) -> str | None:
    """What pystac would stumble over, as a sentence; what is missing is the core schema's affair."""
    links, extensions = document.get("links", []), document.get("stac_extensions")
    if "properties" in document and not isinstance(document["properties"], Mapping):
        return "Its properties are not an object."
    for name in ("assets", "item_assets"):
        assets = document.get(name, {})
        if not isinstance(assets, Mapping):
            return f"Its {name} are not an object."
        broken = next((key for key, asset in assets.items() if not isinstance(asset, Mapping)), None)
        if broken is not None:
            return f"What stands at {name}/{broken} is not an object."
    if not isinstance(links, list) or not all(isinstance(link, Mapping) for link in links):
        return "Its links are not an array of objects."
    if extensions is not None and not (isinstance(extensions, list) and all(isinstance(e, str) for e in extensions)):
        return "Its stac_extensions are not an array of texts."
    return None


def _keep_unknown_projection(source: Mapping[str, Any], migrated: dict[str, Any]) -> None:
    """`proj:epsg: null` says that the projection has no EPSG code; pystac drops it, `proj:code: null` says the same."""
    pairs = [(source.get("properties"), migrated.get("properties"))]
    for key in ("assets", "item_assets"):
        olds, news = source.get(key), migrated.get(key)
        if isinstance(olds, Mapping) and isinstance(news, Mapping):
            pairs += [(olds[name], news.get(name)) for name in olds]
    for old, new in pairs:
        if isinstance(old, Mapping) and isinstance(new, dict) and "proj:epsg" in old and "proj:epsg" not in new:
            new.setdefault("proj:code", None)


def _has_surrogate(text: str) -> bool:
    return _SURROGATE.search(text) is not None


def _strings(document: Any) -> Iterator[tuple[str, str]]:
    """Every text of a document, keys included, with its path."""
    stack: list[tuple[str, Any]] = [("", document)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, str):
            yield path, value
        elif isinstance(value, Mapping):
            for key, inner in value.items():
                yield path, key
                stack.append((f"{path}/{key}", inner))
        elif isinstance(value, list):
            stack.extend((f"{path}/{index}", inner) for index, inner in enumerate(value))
