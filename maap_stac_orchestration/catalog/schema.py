"""JSON Schema checks, always offline: the core of STAC 1.1.0 from pystac, extensions from a folder.

Here belongs which schema applies and how its errors are told. Not here: rules that a schema cannot say (`datetimes`,
`geometry`, `identifiers`), and fetching schemas from the network, which happens nowhere in the pipeline.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
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
    return [] if validator.is_valid(document) else _told(validator, document)


@dataclass(frozen=True, slots=True)
class ExtensionErrors:
    """What checking one extension of a document gave."""

    #: The extension's address.
    uri: str
    #: None where the schema was at hand; else why it was not, as a clause.
    unavailable: str | None
    errors: tuple[str, ...] = ()


class ExtensionSchemas:
    """Published extension schemas in a folder, by the host and path of its address, compiled when first used."""

    def __init__(self, folder: Path | str) -> None:
        self._folder = Path(folder)
        self._compiled: dict[str, jsonschema_rs.Validator | str] = {}

    def check(self, document: Mapping[str, Any]) -> list[ExtensionErrors]:
        """One entry for each extension of the document that is broken or cannot be checked."""
        found = []
        extensions = document.get("stac_extensions") or ()
        for uri in dict.fromkeys(one for one in extensions if isinstance(one, str)):
            validator = self._validator(uri)
            if isinstance(validator, str):
                found.append(ExtensionErrors(uri, validator))
            elif not validator.is_valid(document):
                found.append(ExtensionErrors(uri, None, tuple(_told(validator, document))))
        return found

    def _validator(self, uri: str) -> jsonschema_rs.Validator | str:
        """The compiled schema, or why there is none."""
        if uri not in self._compiled:
            self._compiled[uri] = self._compile(uri)
        return self._compiled[uri]

    def _compile(self, uri: str) -> jsonschema_rs.Validator | str:
        try:
            schema = self._retrieve(uri)
        except (OSError, ValueError) as error:
            return str(error)
        try:
            return jsonschema_rs.validator_for(
                schema, registry=_registry(), retriever=self._retrieve, base_uri=uri, validate_formats=False
            )
        except (ValueError, OSError, RuntimeError) as error:
            # Also what a $ref within it lacks.
            return f"its schema cannot be used: {_clipped(str(error))}"

    def _retrieve(self, uri: str) -> Any:
        """The schema at an address, from the folder and nowhere else."""
        parts = urlsplit(uri)
        names = [parts.netloc, *parts.path.split("/")]
        if parts.scheme not in ("http", "https") or any(name in (".", "..") for name in names):
            raise ValueError("its address is none of a published schema")
        path = self._folder.joinpath(*(name for name in names if name))
        if not path.is_file():
            raise FileNotFoundError("its schema is not in the folder of schemas")
        try:
            return json.loads(path.read_bytes())
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
        where = "/".join(str(step) for step in error.instance_path)
        told[f"{where or 'The document'}: {_message(error)}."] = None
        if len(told) == MAX_ERRORS:
            break
    return list(told)


def _message(error: jsonschema_rs.ValidationError) -> str:
    message = error.message
    if len(message) > _LONGEST:
        # The message begins with the whole of what is wrong, which may be the whole document.
        end = message.rfind(" is not ")
        message = f"what stands there{message[end:]}" if end >= 0 else message
    return _clipped(message)


def _clipped(text: str) -> str:
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"
