"""Where the sample bucket and the published schemas are, which are not part of the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_ROOT = Path(os.environ.get("MAAP_STAC_SHARED", Path(__file__).parents[2] / "shared"))


def sample_bucket() -> Path:
    """The folder in the shape of a DPS bucket; skips the test where it is absent."""
    return _present(_ROOT / "data" / "bucket")


def published_schemas() -> Path:
    """The folder of published schemas, by host and path; skips the test where it is absent."""
    return _present(_ROOT / "schemas")


def _present(path: Path) -> Path:
    if not path.is_dir():
        pytest.skip(f"the sample data are not here ({path.name}); set MAAP_STAC_SHARED to their folder")
    return path
