"""JSON Schema checks, always offline: the core of STAC 1.1.0 from pystac, extensions from a folder.

Here belongs which schema applies and how its errors are told. Not here: rules that a schema cannot say (`datetimes`,
`geometry`, `identifiers`), and fetching schemas from the network, which happens nowhere in the pipeline.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema_rs

#: Errors of one document that are told; the first few say it all.
MAX_ERRORS = 5
_LONGEST = 160

_CORE = "https://schemas.stacspec.org/v1.1.0"
_ITEM = f"{_CORE}/item-spec/json-schema"
#: Address -> file of pystac. Addressed by where they are published, since the `$id` of common.json has a slip in it.
_PACKAGED = {
    **{
        f"{_ITEM}/{name}.json": f"stac-spec/v1.1.0/{name}.json"
        for name in (
            *("item", "basics", "bands", "common", "data-values"),
            *("datetime", "instrument", "licensing", "provider"),
        )
    },
    f"{_CORE}/catalog-spec/json-schema/catalog.json": "stac-spec/v1.1.0/catalog.json",
    f"{_CORE}/collection-spec/json-schema/collection.json": "stac-spec/v1.1.0/collection.json",
    "https://geojson.org/schema/Feature.json": "geojson/Feature.json",
    "https://geojson.org/schema/Geometry.json": "geojson/Geometry.json",
}
_BY_TYPE = {
    "Feature": f"{_ITEM}/item.json",
    "Catalog": f"{_CORE}/catalog-spec/json-schema/catalog.json",
    "Collection": f"{_CORE}/collection-spec/json-schema/collection.json",
}


def core_errors(document: Mapping[str, Any]) -> list[str]:
    """What the core schema of the document's type finds wrong, at most five sentences; empty where nothing is.

    The document must be at STAC 1.1.0.
    """
    kind = document.get("type")
    uri = _BY_TYPE.get(kind) if isinstance(kind, str) else None
    if uri is None:
        return [f"The type {kind!r} is none of Feature, Catalog and Collection."]
    validator = _core_validator(uri)
    try:
        return [] if validator.is_valid(document) else _told(validator, document)
    except ValueError as error:
        # What the validator cannot take over from Python: nesting without end, texts that are no Unicode.
        return [f"The document cannot be checked: {_clipped(str(error))}."]


@dataclass(frozen=True, slots=True)
class ExtensionErrors:
    """What checking one extension of a document gave."""

    #: The extension's address.
    uri: str
    #: None where the schema was at hand; else why it was not, as a clause.
    unavailable: str | None
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Compiled:
    """One extension's schema, ready to check with."""

    #: With everything let pass that stands in a schema which is not at hand.
    lenient: jsonschema_rs.Validator
    #: With nothing of that kind let pass.
    strict: jsonschema_rs.Validator
    #: The schemas that it refers to and that are not at hand.
    lacking: tuple[str, ...]


class ExtensionSchemas:
    """Published extension schemas in a folder, by the host and path of their address, compiled when first used.

    A schema may refer to another that is not in the folder (the projection extension refers to PROJJSON's, which few
    items need): it still checks what it can, and only where the outcome hangs on the one that is missing is it
    unavailable.
    """

    def __init__(self, folder: Path | str) -> None:
        self._folder = Path(folder)
        self._compiled: dict[str, _Compiled | str] = {}

    def check(self, document: Mapping[str, Any]) -> list[ExtensionErrors]:
        """One entry for each extension of the document that is broken or cannot be checked."""
        found = []
        extensions = document.get("stac_extensions")
        for uri in dict.fromkeys(one for one in extensions or () if isinstance(one, str)):
            compiled = self._schema(uri)
            if isinstance(compiled, str):
                found.append(ExtensionErrors(uri, compiled))
            elif compiled.strict.is_valid(document):
                continue
            elif errors := _told(compiled.lenient, document):
                found.append(ExtensionErrors(uri, None, tuple(errors)))
            else:
                found.append(ExtensionErrors(uri, f"it refers to {compiled.lacking[0]}, which is not at hand"))
        return found

    def _schema(self, uri: str) -> _Compiled | str:
        """The compiled schema, or a clause that says why there is none."""
        if uri in self._compiled:
            return self._compiled[uri]
        try:
            schema = self._read(uri)
        except (OSError, ValueError) as error:
            # Not kept: the schema may come, and documents may name any number of addresses.
            return str(error)
        return self._compiled.setdefault(uri, self._compile(uri, schema))

    def _compile(self, uri: str, schema: Any) -> _Compiled | str:
        lacking: dict[str, None] = {}

        def retriever(missing: bool) -> Callable[[str], Any]:
            def retrieve(referred: str) -> Any:
                packaged = _packaged().get(referred.partition("#")[0])
                if packaged is not None:
                    return packaged
                try:
                    return self._read(referred)
                except (OSError, ValueError):
                    lacking[referred] = None
                    return missing

            return retrieve

        try:
            lenient, strict = (
                jsonschema_rs.validator_for(schema, retriever=retriever(missing), base_uri=uri, validate_formats=False)
                for missing in (True, False)
            )
        except (ValueError, TypeError, jsonschema_rs.ReferencingError) as error:
            return f"its schema cannot be used: {_clipped(str(error))}"
        return _Compiled(lenient, strict, tuple(lacking))

    def _read(self, uri: str) -> Any:
        """The schema at an address, from the folder and nowhere else.

        Raises:
            OSError, ValueError: with a clause that says why there is none.
        """
        try:
            parts = urlsplit(uri)
        except ValueError:
            raise ValueError("its address is none of a published schema") from None
        names = [parts.netloc, *parts.path.split("/")]
        if parts.scheme not in ("http", "https") or any(name in (".", "..") or "\0" in name for name in names):
            raise ValueError("its address is none of a published schema")
        path = self._folder.joinpath(*(name for name in names if name))
        try:
            raw = path.read_bytes()
        except OSError:
            raise FileNotFoundError("its schema is not in the folder of schemas") from None
        try:
            return json.loads(raw)
        except ValueError as error:
            raise ValueError(f"its schema is not JSON: {error}") from error


@cache
def _packaged() -> dict[str, Any]:
    folder = files("pystac.validation.jsonschemas")
    return {
        uri: {**json.loads(folder.joinpath(path).read_text(encoding="utf-8")), "$id": uri}
        for uri, path in _PACKAGED.items()
    }


@cache
def _registry() -> jsonschema_rs.Registry:
    return jsonschema_rs.Registry(list(_packaged().items()))


@cache
def _core_validator(uri: str) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(
        _packaged()[uri], registry=_registry(), base_uri=uri, validate_formats=False, offline=True
    )


def _told(validator: jsonschema_rs.Validator, document: Mapping[str, Any]) -> list[str]:
    told: dict[str, None] = {}
    for error in validator.iter_errors(document):
        for one in _closest(error):
            where = "/".join(str(step) for step in one.instance_path)
            told[f"{_clipped(where) or 'The document'}: {_message(one)}."] = None
            if len(told) == MAX_ERRORS:
                return list(told)
    return list(told)


def _closest(error: jsonschema_rs.ValidationError) -> list[jsonschema_rs.ValidationError]:
    """The errors to tell: where none of several forms fits, those of the form that comes closest."""
    forms: list[list[jsonschema_rs.ValidationError]] = getattr(error.kind, "context", None) or []
    if not forms or not all(forms):
        return [error]
    # A form that fails deep inside was the one that was meant; one that fails at its door was not.
    meant = max(forms, key=lambda errors: (min(len(one.instance_path) for one in errors), -len(errors)))
    return [inner for one in meant for inner in _closest(one)]


def _message(error: jsonschema_rs.ValidationError) -> str:
    message = error.message
    if len(message) > _LONGEST:
        # The message begins with the whole of what is wrong, which may be the whole document.
        shown = message.rfind(" is not ")
        message = f"what stands there{message[shown:]}" if shown >= 0 else message
    return _clipped(message)


def _clipped(text: str) -> str:
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"
