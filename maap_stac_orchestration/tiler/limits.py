"""How much one request may ask for.

Here belong bounds on what clients choose themselves. Not here: what may be read (`rasters`).

Without them a single address could fill the memory: titiler reads `/bbox/` at full resolution unless told otherwise,
and takes any width and height.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Annotated, Any

from fastapi import Query, Request
from titiler.core.dependencies import PartFeatureParams, PreviewParams

from maap_stac_orchestration.tiler.errors import BadParameter

#: Pixels along a side where the client does not say, as titiler has it for previews.
_USUAL_SIZE = 1024
#: The largest value of what costs time or memory, apart from sizes of pictures.
_LARGEST = {
    "tilesize": 1024,
    "buffer": 64,
    "padding": 64,
    "items_limit": 500,
    "scan_limit": 100_000,
    "time_limit": 20,
    "max_pixels": 4_194_304,
    "histogram_bins": 1024,
    # Percentiles.
    "p": 100,
}
_SIZES = ("max_size", "width", "height")
_MOST_ASSETS = 16


def within_limits(request: Request) -> None:
    """Refuses what is too much; for every route.

    Raises:
        BadParameter: names the parameter and its bound.
    """
    size = request.app.state.tiler_settings.max_size
    bounds = {**_LARGEST, **dict.fromkeys(_SIZES, size)}
    given = [*request.query_params.multi_items(), *request.path_params.items()]
    for name, value in given:
        bound = bounds.get(name)
        if bound is None:
            continue
        number = _number(value)
        # What is no number is told by titiler.
        if number is not None and not 0 <= number <= bound:
            raise BadParameter(f"{name} is {value}: it may be {bound} at most, and not negative.")
    names = {name for name, value in given if value not in (None, "")}
    if ("width" in names) != ("height" in names):
        # The other one would follow from the shape, and could be anything.
        raise BadParameter("width and height go together: give both, or max_size.")
    _check_box(request.path_params)
    for colormap in request.query_params.getlist("colormap"):
        _check_colormap(colormap)
    if len(request.query_params.getlist("assets")) > _MOST_ASSETS:
        raise BadParameter(f"assets is given more than {_MOST_ASSETS} times.")


def _check_box(path: Mapping[str, Any]) -> None:
    """Whether the box in an address is one."""
    edges = [_number(path[name]) for name in ("minx", "miny", "maxx", "maxy") if name in path]
    if not edges or None in edges:  # no box, or titiler tells
        return
    left, bottom, right, top = (edge if edge is not None and isfinite(edge) else 0.0 for edge in edges)
    if left == right or bottom >= top:
        raise BadParameter("The box has no area: write minx,miny,maxx,maxy with miny below maxy.")


def _check_colormap(colormap: str) -> None:
    """Whether the values that a color map is for are numbers; titiler looks at the rest."""
    try:
        colors = json.loads(colormap)
    except ValueError:  # titiler tells
        return
    if isinstance(colors, dict) and not all(re.fullmatch(r"-?\d{1,9}", value) for value in colors):
        raise BadParameter("colormap: its keys are values of pixels, which are whole numbers.")


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


@dataclass
class BoundedPart(PartFeatureParams):
    """The size of a part of the map: titiler's default would be full resolution, of the whole world if need be."""

    max_size: Annotated[int | None, Query(description="Pixels along the longer side.")] = _USUAL_SIZE


@dataclass
class BoundedPreview(PreviewParams):
    """The size of a preview; 0 would mean full resolution."""

    max_size: Annotated[int, Query(gt=0, description="Pixels along the longer side.")] = _USUAL_SIZE
