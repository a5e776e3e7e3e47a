"""Where an item comes from, written into the item itself, and the hash that tells whether anything changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maap_stac_orchestration.dps.job import Job


def with_provenance(
    document: Mapping[str, Any], *, collection: str, job: Job, source_key: str, run_id: str
) -> dict[str, Any]:
    """The item with its collection, the `maap:` properties, `processing:software` and a `via` link to its source."""
    raise NotImplementedError


def content_hash(document: Mapping[str, Any]) -> str:
    """SHA-256, hex, of a document without `maap:run_id`: the same content of another run has the same hash."""
    raise NotImplementedError
