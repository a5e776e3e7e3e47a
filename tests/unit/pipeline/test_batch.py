"""Items between the stages are JSON, which takes less room than what it describes."""

from __future__ import annotations

from typing import Any

import orjson

from maap_stac_orchestration.pipeline.batch import Pin, ReadItem

ITEM: dict[str, Any] = {
    "type": "Feature",
    "id": "one",
    "geometry": {"type": "Point", "coordinates": [1.5, 2]},
    "bbox": [1.5, 2, 1.5, 2],
    "properties": {
        "datetime": None,
        "start_datetime": "2024-06-01T00:00:00Z",
        "end_datetime": "2024-06-30T00:00:00Z",
        "created": "2024-07-01T00:00:00Z",
        "proj:shape": [512, 512],
    },
}


def an_item(document: dict[str, Any]) -> ReadItem:
    return ReadItem("one", None, orjson.dumps(document), Pin("one.json", "etag", None, "digest", 1))


def test_an_item_keeps_its_document() -> None:
    item = an_item(ITEM)
    item.document["properties"]["datetime"] = "changed by somebody who was handed it"

    assert item.document == ITEM


def test_an_outline_tells_where_and_when_and_nothing_else() -> None:
    times = {name: ITEM["properties"][name] for name in ("datetime", "start_datetime", "end_datetime")}

    assert an_item(ITEM).outline == {"bbox": ITEM["bbox"], "properties": times}
