"""A catalog as discovery finds it, and which keys are catalogs at all.

Here belongs what events, listings and inventories have in common. Not here: how each is read and the
ledger's own record of a catalog (`ledger`), which `pipeline.discover` makes from what stands here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from maap_stac_orchestration.dps.job import OutputPrefix
from maap_stac_orchestration.dps.output_prefix import find_output_prefix

#: The name that the last segment of a catalog's key has.
CATALOG_NAME = "catalog.json"


class SourceUnavailable(Exception):
    """A queue or bucket could not be read: nothing is known, which is not the same as nothing new."""


@dataclass(frozen=True, slots=True)
class FoundCatalog:
    """A version of a catalog object, as an event or a listing tells of it."""

    bucket: str
    key: str
    #: Without quotes.
    etag: str
    #: Bytes; None where the source does not say.
    size: int | None
    #: UTC.
    last_modified: datetime
    version_id: str | None = None


class ObjectAt(Protocol):
    """Anything that says where an object is."""

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        ...

    @property
    def key(self) -> str:
        """The object's key, decoded."""
        ...


def job_of_catalog(key: str) -> OutputPrefix | None:
    """The output prefix of a catalog's key, at the root of the job or deeper; None for every other key."""
    if key.rpartition("/")[2] != CATALOG_NAME or not is_storable(key):
        return None
    return find_output_prefix(key)


def is_storable(text: str) -> bool:
    """Whether Postgres can keep the text: it refuses NUL and lone surrogates, and with them the whole statement."""
    try:
        # Tells of lone surrogates, a hundred times faster than looking at each character.
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
