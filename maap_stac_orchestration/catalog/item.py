"""One STAC Item on its way from a job's output to what is written: every check, in order, and the cleaned document.

Here belongs the order of the checks and what becomes of an item that fails one. Not here: the checks themselves
(`identifiers`, `datetimes`, `geometry`, `assets`, `schema`) and what is added for lineage (`provenance`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from maap_stac_orchestration.catalog.job_files import JobFiles
from maap_stac_orchestration.catalog.schema import ExtensionSchemas
from maap_stac_orchestration.problems import Problem

__all__ = ["JobFiles", "PreparedItem", "prepare_item"]


@dataclass(frozen=True, slots=True)
class PreparedItem:
    """What checking an item gave."""

    #: The item at STAC 1.1.0 with absolute hrefs, without `collection` and structural links; None where it is refused.
    document: dict[str, Any] | None
    #: The collection id that the item carried; None where it carried none (absent, null or empty).
    requested_collection: str | None
    #: Errors where it is refused, and warnings.
    problems: tuple[Problem, ...] = ()
    #: One sentence for each thing that was mended: hrefs of the machine that the job ran on, times made UTC.
    repairs: tuple[str, ...] = ()


def prepare_item(
    document: Mapping[str, Any],
    *,
    key: str,
    files: JobFiles,
    username: str,
    readable_buckets: Collection[str],
    job_buckets: Collection[str],
    schemas: ExtensionSchemas | None,
) -> PreparedItem:
    """Checks an item and makes it ready to write; the input stays as it is.

    Args:
        document: the item as it was read.
        key: the object key that it was read from, in `files.bucket`; relative hrefs count from it.
        files: the objects of the job.
        username: who the job belongs to.
        readable_buckets: further buckets that asset hrefs may point into.
        job_buckets: the buckets that hold DPS outputs; in them only the user's own keys and `shared/` are allowed.
        schemas: extension schemas; None checks no extensions.
    """
    raise NotImplementedError
