"""JSON Schema checks, always offline: the core of STAC 1.1.0 from pystac, extensions from a folder.

Here belongs which schema applies and how its errors are told. Not here: rules that a schema cannot say (`datetimes`,
`geometry`, `identifiers`), and fetching schemas from the network, which happens nowhere in the pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def core_errors(document: Mapping[str, Any]) -> list[str]:
    """What the core schema of the document's type finds wrong, at most five sentences; empty where nothing is.

    The document must be at STAC 1.1.0.
    """
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class ExtensionErrors:
    """What checking one extension of a document gave."""

    #: The extension's address.
    uri: str
    #: None where the schema was at hand; else why it was not.
    unavailable: str | None
    errors: tuple[str, ...] = ()


class ExtensionSchemas:
    """Published extension schemas in a folder, by the host and path of its address, compiled when first used."""

    def __init__(self, folder: Path | str) -> None:
        self._folder = Path(folder)

    def check(self, document: Mapping[str, Any]) -> list[ExtensionErrors]:
        """One entry for each extension of the document that is broken or cannot be checked."""
        raise NotImplementedError
