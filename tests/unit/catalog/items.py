"""An item that passes every check, for tests to bend, and the job that it lies in."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from maap_stac_orchestration.catalog.item import JobFiles, PreparedItem, prepare_item
from maap_stac_orchestration.catalog.schema import ExtensionSchemas

BUCKET = "maap-ops-workspace"
USER = "jsmith"
PREFIX = f"{USER}/dps_output/flood/v1/demo/2025/01/02/03/04/05/000006/"
KEY = f"{PREFIX}items/one.json"

SQUARE: dict[str, Any] = {
    "type": "Polygon",
    "coordinates": [[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]],
}

#: Of every kind that a document can hold.
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def an_item(**changes: Any) -> dict[str, Any]:
    """A valid item of STAC 1.1.0; `changes` replace members, and those that are `...` take them out."""
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": "one",
        "geometry": SQUARE,
        "bbox": [0.0, 0.0, 1.0, 1.0],
        "properties": {"datetime": "2024-06-01T00:00:00Z"},
        "links": [],
        "assets": {"data": {"href": "./one.tif"}},
    }
    item.update(changes)
    return {name: value for name, value in item.items() if value is not ...}


def files(*names: str) -> JobFiles:
    """The files of a job, by their names within it; without names the one that `an_item` has an asset for."""
    return JobFiles(BUCKET, PREFIX, frozenset(PREFIX + name for name in names or ("items/one.tif",)))


def prepared(
    document: dict[str, Any], *, job: JobFiles | None = None, schemas: ExtensionSchemas | None = None
) -> PreparedItem:
    """`prepare_item` for a document at `KEY` of user `jsmith`, who may read the bucket `open-data` besides."""
    return prepare_item(
        document,
        key=KEY,
        files=job or files(),
        username=USER,
        readable_buckets=("open-data",),
        job_buckets=(BUCKET, "maap-old-workspace"),
        schemas=schemas,
    )


def codes(result: PreparedItem) -> list[str]:
    """The codes of its problems, in order."""
    return [str(problem.code) for problem in result.problems]
