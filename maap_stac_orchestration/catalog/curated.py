"""A STAC Collection that a person wrote, on its way to the database: every check, and the document that is kept.

Here belongs what a collection must be like so that it neither breaks nor poisons anything. Not here: whose it may be
and what it may be called (`governance`), and the Collection documents of jobs, which are never kept as they are
(`collection`).

What is refused is what was seen to hurt pgstac 0.10.0. It reads the first four numbers of a collection's first bbox
whatever their meaning, so one with heights, or one that crosses the antimeridian, is written in a form that it reads
right. And one collection whose words do not fit into its index of words makes every free-text search fail.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from maap_stac_orchestration.catalog.assets import LINK_SCHEMES, STRUCTURAL_LINKS
from maap_stac_orchestration.catalog.collection import words_fault
from maap_stac_orchestration.catalog.datetimes import read_time, written_time
from maap_stac_orchestration.catalog.document import NotMigrated, kind_of, migrate, printable, unwritable
from maap_stac_orchestration.catalog.geometry import bbox_fault
from maap_stac_orchestration.catalog.hrefs import web_fault
from maap_stac_orchestration.catalog.schema import core_errors

#: Links that the API makes for a collection, and that a client sends back.
_MADE_BY_THE_API = STRUCTURAL_LINKS | {
    *("data", "search", "conformance", "queryables", "sortables", "aggregate", "aggregations"),
    *("service-desc", "service-doc", "next", "prev", "previous", "first", "last"),
    "http://www.opengis.net/def/rel/ogc/1.0/queryables",
}
#: A member of links that are added to a collection in each answer; a client sends them back as well.
SERVED: Final = "maap:served"
_ASSET_SCHEMES = ("http:", "https:", "s3:", "gs:", "ftp:", "doi:")
#: Where the extent of a checked document stood, so that the core schema tells of the rest only.
_SOME_EXTENT: Final = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}


class NotUsable(ValueError):
    """A document that cannot be kept as a collection; the message is a sentence for each thing that is wrong."""


def curated_collection(document: Mapping[str, Any]) -> dict[str, Any]:
    """Checks a Collection of STAC 1.0 or 1.1 and makes it ready to write; the input stays as it is.

    What comes out is valid STAC 1.1.0 without the links that the API makes. Times of the extent are UTC, its boxes lie
    in the world and have no heights.

    Raises:
        NotUsable: see there.
    """
    if kind_of(document) != "collection":
        raise NotUsable("It is not a STAC Collection: its type has to be Collection, and its stac_version 1.0 or 1.1.")
    fault = unwritable(document)
    if fault is not None:
        raise NotUsable(printable(fault))
    version = document.get("stac_version")
    if not str(version).startswith(("1.0.", "1.1.")):
        raise NotUsable(f"The stac_version is {printable(repr(version)[:40])}; write 1.0.0 or 1.1.0.")
    try:
        collection = migrate({"links": [], **document})
    except NotMigrated as error:
        raise NotUsable(printable(str(error))) from error
    extent, faults = _extent(collection.get("extent"))
    # Structure first: what is looked at below relies on it.
    errors = core_errors({**collection, "extent": _SOME_EXTENT})
    if errors or faults:
        raise NotUsable(printable(" ".join([*errors, *faults])))
    collection["extent"] = extent
    collection["links"] = [
        link for link in collection["links"] if link.get("rel") not in _MADE_BY_THE_API and SERVED not in link
    ]
    faults = [*_link_faults(collection), *_asset_faults(collection), *_word_faults(collection)]
    # Once more with the extent as it is written: it may hold other members.
    faults += core_errors(collection)
    if faults:
        raise NotUsable(printable(" ".join(faults)))
    return collection


def _extent(extent: Any) -> tuple[dict[str, Any], list[str]]:
    """The extent as it is written, and sentences about what is wrong with it."""
    spatial = extent.get("spatial") if isinstance(extent, Mapping) else None
    temporal = extent.get("temporal") if isinstance(extent, Mapping) else None
    boxes = spatial.get("bbox") if isinstance(spatial, Mapping) else None
    intervals = temporal.get("interval") if isinstance(temporal, Mapping) else None
    faults = []
    if not isinstance(boxes, list) or not boxes:
        faults.append("extent/spatial/bbox: an array of boxes is wanted, at least one.")
    elif (fault := next((fault for box in boxes if (fault := bbox_fault(box))), None)) is not None:
        faults.append(f"extent/spatial/bbox: {fault}.")
    if not isinstance(intervals, list) or not intervals:
        faults.append("extent/temporal/interval: an array of intervals is wanted, at least one.")
    else:
        read = [_interval(interval) for interval in intervals]
        faults += [f"extent/temporal/interval: {one}." for one in read if isinstance(one, str)][:1]
    if faults:
        return {}, faults
    assert isinstance(extent, Mapping)
    assert isinstance(spatial, Mapping)
    assert isinstance(temporal, Mapping)
    assert isinstance(boxes, list)
    written = {
        **extent,
        "spatial": {**spatial, "bbox": _boxes(boxes)},
        "temporal": {**temporal, "interval": read},
    }
    return written, []


def _interval(interval: Any) -> list[str | None] | str:
    """The interval as it is written, or a clause that says what is wrong."""
    if not isinstance(interval, list) or len(interval) != 2:
        return "an interval is an array of a start and an end, null where it is open"
    moments: list[datetime | None] = []
    for value in interval:
        if value is None:
            moments.append(None)
            continue
        if not isinstance(value, str):
            return "a time is a text, or null where the interval is open"
        moment = read_time(value)
        if isinstance(moment, str):
            return f"{value[:40]!a} {moment}"
        moments.append(moment)
    start, end = moments
    if start is not None and end is not None and end < start:
        return f"the end {written_time(end)} is before the start {written_time(start)}"
    return [None if moment is None else written_time(moment) for moment in moments]


def _boxes(boxes: list[list[float]]) -> list[list[float]]:
    """Boxes of four numbers, inside the world; the first, over all of them, does not cross the antimeridian."""
    flat = []
    for box in boxes:
        half = len(box) // 2
        west, south, east, north = box[0], box[1], box[half], box[half + 1]
        flat.append([max(west, -180), max(south, -90), min(east, 180), min(north, 90)])
    west, south, east, north = flat[0]
    if west <= east:
        return flat
    around = [-180, south, 180, north]
    return [around, [west, south, 180, north], [-180, south, east, north], *flat[1:]]


def _link_faults(collection: Mapping[str, Any]) -> Iterator[str]:
    for number, link in enumerate(collection["links"], start=1):
        href = link["href"]
        if not href.lower().startswith(LINK_SCHEMES):
            yield (
                f"links: the href {_shown(href)} of link number {number} is not an address that others can follow; "
                "write one that begins with https: or another known scheme."
            )
            return


def _asset_faults(collection: Mapping[str, Any]) -> Iterator[str]:
    for name, asset in (collection.get("assets") or {}).items():
        href = asset["href"]
        reason = "it is not an address that others can follow"
        if href.lower().startswith(_ASSET_SCHEMES):
            found = web_fault(href) if re.match("https?:", href, re.IGNORECASE) else None
            if found is None:
                continue
            reason = found
        yield f"assets: the href {_shown(href)} of the asset {_shown(name)} cannot be used: {reason}."
        return


def _word_faults(collection: Mapping[str, Any]) -> Iterator[str]:
    if (fault := words_fault(collection)) is not None:
        yield fault


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 100 else text[:100] + "…")
