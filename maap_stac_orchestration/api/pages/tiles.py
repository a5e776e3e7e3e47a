"""Addresses of pictures that the tiler makes of items: mosaics, and previews of single items.

Here belongs how what a collection says about showing its items (`renders`, of the render extension) becomes what
titiler-pgstac is asked for. Not here: the tiler itself, and maps. Anybody who may edit a collection writes `renders`,
so what makes no sense in it is left out, and nothing of it gets into an address as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any
from urllib.parse import quote, urlencode

from maap_stac_orchestration.catalog.renders import first_render
from maap_stac_orchestration.pgstac.footprints import Interval

#: Characters of the ids that a mosaic is limited to, in its address: proxies take addresses of 8,000 at most.
_IDS_AT_MOST = 3_000

#: Pixels of the longer side of a preview.
_PREVIEW_SIZE = 256

_GRID = "WebMercatorQuad"

#: What else of a rendering the tiler takes as it is, when it is a text.
_TEXTS = ("expression", "colormap_name", "color_formula", "resampling")

#: Assets, and ranges of values, that a rendering may name.
_MOST = 16
_LONGEST = 500


@dataclass(frozen=True, slots=True)
class Rendering:
    """How items of a collection are made into a picture."""

    title: str
    #: Names and values of the tiler's parameters.
    parameters: tuple[tuple[str, str], ...]


def rendering(document: Mapping[str, Any]) -> Rendering | None:
    """How a collection's items are shown, by the one of its `renders` that people see first (`catalog.renders`); None
    where it says nothing that can be used.

    Args:
        document: the STAC Collection.
    """
    renders = document.get("renders")
    if not isinstance(renders, Mapping):
        return None
    first = first_render(renders)
    for name, render in ([first] if first else []) + list(renders.items()):
        if isinstance(render, Mapping) and (parameters := _parameters(render)):
            title = render.get("title")
            return Rendering(title if isinstance(title, str) and title.strip() else str(name), parameters)
    return None


class Tiler:
    """Where the tiler is, as an address of its own for everything that it shows."""

    def __init__(self, url: str) -> None:
        """`url` is where people reach it."""
        self._url = url.rstrip("/")

    def preview(self, collection: str, item: str, shown: Rendering) -> str:
        """The picture of one item, as PNG."""
        path = f"{self._collection(collection)}/items/{quote(item, safe='')}/preview.png"
        return _with(path, [*shown.parameters, ("max_size", str(_PREVIEW_SIZE))])

    def tiles(
        self, collection: str, shown: Rendering, *, ids: Sequence[str] = (), during: Interval | None = None
    ) -> str:
        """Tiles of a mosaic, as an address with {z}, {x} and {y} in it; see `mosaic_ids` for what `ids` may be."""
        path = f"{self._collection(collection)}/tiles/{_GRID}/{{z}}/{{x}}/{{y}}"
        return _with(path, _limited(shown, ids, during))

    def tilejson(
        self, collection: str, shown: Rendering, *, ids: Sequence[str] = (), during: Interval | None = None
    ) -> str:
        """The TileJSON document of a mosaic."""
        return _with(f"{self._collection(collection)}/{_GRID}/tilejson.json", _limited(shown, ids, during))

    def _collection(self, collection: str) -> str:
        return f"{self._url}/collections/{quote(collection, safe='')}"


def mosaic_ids(ids: Sequence[str]) -> list[str]:
    """Those of these ids, from the first on, to which a mosaic can be limited. The tiler takes a list with commas."""
    chosen, length = [], 0
    for id in ids:
        length += len(quote(id, safe="")) + len("%2C")
        if length > _IDS_AT_MOST:
            break
        if "," not in id:
            chosen.append(id)
    return chosen


def interval_text(during: Interval) -> str:
    """An interval as the tiler takes it: two times of RFC 3339."""
    return "/".join(_rfc3339(one) for one in during)


def _rfc3339(value: datetime) -> str:
    return value.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def _limited(shown: Rendering, ids: Sequence[str], during: Interval | None) -> list[tuple[str, str]]:
    limits = [("ids", ",".join(ids))] if ids else []
    if during:
        limits.append(("datetime", interval_text(during)))
    return [*shown.parameters, *limits]


def _with(path: str, parameters: Sequence[tuple[str, str]]) -> str:
    return f"{path}?{urlencode(parameters, quote_via=quote, safe='/:,')}"


def _parameters(render: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The tiler's parameters; none where the rendering names no asset."""
    assets = [one for one in _listed(render.get("assets")) if _is_text(one)]
    if not assets:
        return ()
    bands = [str(one) for one in _listed(render.get("bidx")) if isinstance(one, int) and one > 0]
    found = [("assets", f"{one}|bidx={','.join(bands)}" if bands else one) for one in assets]
    found += [("rescale", f"{low:.12g},{high:.12g}") for low, high in _ranges(render.get("rescale"))]
    nodata = render.get("nodata")
    if _is_number(nodata) or nodata in ("nan", "inf", "-inf"):
        found.append(("nodata", str(nodata)))
    return (*found, *((name, render[name]) for name in _TEXTS if _is_text(render.get(name))))


def _ranges(value: object) -> list[tuple[float, float]]:
    ranges = []
    for one in _listed(value):
        match one:
            case [low, high] if _is_number(low) and _is_number(high):
                ranges.append((float(low), float(high)))
    return ranges


def _listed(value: object) -> list[Any]:
    return value[:_MOST] if isinstance(value, list) else []


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300 and isfinite(value)
