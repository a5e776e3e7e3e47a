"""A job's own STAC Collection document on its way to describing the collection that its items go to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maap_stac_orchestration.catalog.job_files import JobFiles
from maap_stac_orchestration.problems import Problem


def prepare_collection(
    document: Mapping[str, Any], key: str, files: JobFiles
) -> tuple[dict[str, Any] | None, tuple[Problem, ...]]:
    """Checks a Collection and makes it ready to use: at STAC 1.1.0, without structural links, asset hrefs absolute.

    Returns:
        The document, or None where it cannot be used, and the problems (`catalog_invalid`).
    """
    raise NotImplementedError
