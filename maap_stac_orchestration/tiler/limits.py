"""How much one request may ask for.

Here belong bounds on what clients choose themselves. Not here: what may be read (`rasters`).

Without them a single address could fill the memory: titiler reads `/bbox/` at full resolution unless told otherwise,
and takes any width and height.
"""

from __future__ import annotations

from dataclasses import dataclass
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
    if len(request.query_params.getlist("assets")) > _MOST_ASSETS:
        raise BadParameter(f"assets is given more than {_MOST_ASSETS} times.")


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
