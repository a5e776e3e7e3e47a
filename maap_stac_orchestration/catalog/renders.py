"""How a collection's items are shown: its `renders` as the render extension 2.0 has them.

Here belongs which assets make a picture and between which values it is stretched. Not here: which assets there are
(`item_assets`), and what a tiler is asked for (`api.pages.tiles`).

Only what the items say is told: the range of values comes from their bands' statistics, and where they have none, a
render has no range. One item that says nonsense does not change how all are shown: ranges are quantiles over items.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from maap_stac_orchestration.catalog.item_assets import BANDS, NOT_FINITE, Assets, agreed, is_number

EXTENSION: Final = "https://stac-extensions.github.io/render/v2.0.0/schema.json"

#: The name of the one that looks as the eye sees it.
TRUE_COLOR: Final = "true-color"
#: Renders beside it would be one for each asset: so many at most.
MOST_RENDERS: Final = 8

#: Names under which a job's document or a curator may have put what people expect to see first.
FIRST: Final = (TRUE_COLOR, "true_color", "truecolor", "natural-color", "natural_color", "color", "rgb", "visual")
_VISUAL: Final = frozenset({"visual", "rgb", "true-color", "true_color", "truecolor"})
_COLORS: Final = ("red", "green", "blue")
_RASTERS: Final = ("image/tiff", "image/vnd.stac.geotiff", "image/jp2")
#: Roles of pictures that stand for the data, and of what is no data.
_NO_DATA: Final = frozenset({"thumbnail", "overview", "metadata", "graphic"})

#: The shares of pixels that are left out at either end of a histogram.
_CUT: Final = 0.02
#: Standard deviations that are shown at either side of the mean.
_DEVIATIONS: Final = 2.0
#: A range that begins this close to nothing, as a share of its end, begins at nothing.
_NEARLY_NOTHING: Final = 0.15
_LONGEST_TITLE: Final = 100

Band = Mapping[str, Any]


def renders(assets: Assets) -> dict[str, dict[str, Any]]:
    """The `renders` of a collection, empty where no asset is known to be an image.

    True colour alone where the items have what it takes; else one for each asset, or each of its bands.

    Args:
        assets: see `item_assets.common_assets`.
    """
    rasters = {key: bands_of(every) for key, every in assets.items() if _is_raster(every)}
    color = _visual(assets, rasters) or _of_three_assets(rasters) or _of_three_bands(rasters)
    if color is not None:
        return {TRUE_COLOR: color}
    single: dict[str, dict[str, Any]] = {}
    for key, bands in sorted(rasters.items()):
        for name, render in _single(key, assets[key], bands):
            if len(single) == MOST_RENDERS:
                return single
            single[name] = render
    return single


def first_render(told: object) -> tuple[str, Mapping[str, Any]] | None:
    """The name of the render that people should see first, and the render; None where there is none to be shown.

    True colour where there is one; else the first. The database keeps members in an order of its own (by the length of
    their names), so the first is not always the one that was written first.

    Args:
        told: the `renders` of a collection, whoever wrote them.
    """
    if not isinstance(told, Mapping):
        return None
    usable = {name: one for name, one in told.items() if isinstance(one, Mapping) and _keys(one)}
    name = next((name for name in (*FIRST, *usable) if name in usable), None)
    return None if name is None else (name, usable[name])


def bands_of(assets: Sequence[Mapping[str, Any]]) -> list[list[Band]]:
    """The bands at each place in an asset, one for each item; empty where the items do not agree on how many there are.

    What STAC 1.1 lets an asset say of all its bands, and what the extensions before it said in lists of their own,
    stands in each band.
    """
    every = [_bands(asset) for asset in assets]
    number = agreed(map(len, every))
    return [[bands[place] for bands in every] for place in range(number or 0)]


def _bands(asset: Mapping[str, Any]) -> list[Band]:
    lists = [[one if isinstance(one, Mapping) else {} for one in _list(asset.get(name))] for name in BANDS]
    number = max(map(len, lists))
    common = {name: asset[name] for name in ("data_type", "nodata", "statistics") if name in asset}
    bands: list[dict[str, Any]] = [dict(common) for _ in range(number)]
    for each in lists:
        if len(each) == number:
            bands = [{**band, **said} for band, said in zip(bands, each, strict=True)]
    return list(bands)


def _is_raster(assets: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a tiler can make a picture of it, as far as type and roles tell."""
    kind = agreed(asset.get("type") for asset in assets)
    if isinstance(kind, str):
        readable = kind.lower().startswith(_RASTERS)
    else:
        readable = all(asset.get("type") is None and _bands(asset) for asset in assets)
    return readable and not any(_NO_DATA & _roles(asset) for asset in assets)


def _visual(assets: Assets, rasters: Mapping[str, list[list[Band]]]) -> dict[str, Any] | None:
    """An asset that is a picture already, for which no range is needed."""
    for key, bands in sorted(rasters.items()):
        if key.lower() not in _VISUAL and not all("visual" in _roles(asset) for asset in assets[key]):
            continue
        if len(bands) in (0, 3, 4) and all(
            band.get("data_type") in ("uint8", None) for place in bands for band in place
        ):
            return {"title": "True colour", "assets": [key]}
    return None


def _of_three_assets(rasters: Mapping[str, list[list[Band]]]) -> dict[str, Any] | None:
    """Red, green and blue in an asset each."""
    named = {key.lower(): key for key, bands in rasters.items() if len(bands) < 2}
    by_band = {
        name: key
        for key, bands in sorted(rasters.items(), reverse=True)
        if len(bands) == 1 and (name := _common_name(bands[0])) is not None
    }
    keys = [named.get(color) or by_band.get(color) for color in _COLORS]
    if None in keys:
        return None
    found = [key for key in keys if key is not None]
    places = [place for key in found for place in rasters[key]]
    return {"title": "True colour", "assets": found, **_stretched(places, 3)}


def _of_three_bands(rasters: Mapping[str, list[list[Band]]]) -> dict[str, Any] | None:
    """Red, green and blue in one asset."""
    for key, bands in sorted(rasters.items()):
        names = [_common_name(place) for place in bands]
        if all(color in names for color in _COLORS):
            places = [names.index(color) for color in _COLORS]
            return {
                "title": "True colour",
                "assets": [key],
                "bidx": [place + 1 for place in places],
                **_stretched([bands[place] for place in places], 3),
            }
    return None


def _single(
    key: str, assets: Sequence[Mapping[str, Any]], bands: list[list[Band]]
) -> Iterable[tuple[str, dict[str, Any]]]:
    """A render for the asset, or one for each of its bands where it has several."""
    title = _title(agreed(asset.get("title") for asset in assets)) or key
    if len(bands) < 2:
        yield key, {"title": title, "assets": [key], **_stretched(bands, 1)}
        return
    for place, band in enumerate(bands):
        name = _title(agreed(one.get("name") for one in band)) or f"band {place + 1}"
        yield (
            f"{key}-{place + 1}",
            {"title": f"{title}: {name}", "assets": [key], "bidx": [place + 1], **_stretched([band], 1)},
        )


def _stretched(places: Sequence[Sequence[Band]], number: int) -> dict[str, Any]:
    """Range and nodata of a picture; one range for all its bands, or its colours would not be those of the land."""
    said: dict[str, Any] = {}
    ranges = [found for place in places if (found := _range(place)) is not None]
    if ranges and len(ranges) == len(places):
        shown = _rounded(min(low for low, _ in ranges), max(high for _, high in ranges))
        if shown is not None:
            said["rescale"] = [list(shown)] * number
    nodata = agreed(band.get("nodata") for place in places for band in place)
    if _number(nodata) is not None or (isinstance(nodata, str) and nodata in NOT_FINITE):
        said["nodata"] = nodata
    return said


def _range(bands: Sequence[Band]) -> tuple[float, float] | None:
    """Between which values most pixels of most items lie; None where the items do not say."""
    found = [one for one in map(_range_of_item, bands) if one is not None]
    if not found:
        return None
    lows, highs = sorted(low for low, _ in found), sorted(high for _, high in found)
    last = len(found) - 1
    low, high = lows[round(last * 0.1)], highs[round(last * 0.9)]
    return (low, high) if low < high else None


def _range_of_item(band: Band) -> tuple[float, float] | None:
    by_histogram = _of_histogram(band.get("histogram"))
    if by_histogram is not None:
        return by_histogram
    statistics = band.get("statistics")
    if not isinstance(statistics, Mapping):
        return None
    mean, deviation, lowest, highest = (
        _number(statistics.get(name)) for name in ("mean", "stddev", "minimum", "maximum")
    )
    if mean is not None and deviation is not None and deviation > 0:
        low, high = mean - _DEVIATIONS * deviation, mean + _DEVIATIONS * deviation
        low = low if lowest is None else max(low, lowest)
        high = high if highest is None else min(high, highest)
    elif lowest is not None and highest is not None:
        low, high = lowest, highest
    else:
        return None
    return (low, high) if low < high else None


def _of_histogram(histogram: object) -> tuple[float, float] | None:
    """Without the lowest and the highest pixels, those of a bucket taken as spread evenly over it."""
    if not isinstance(histogram, Mapping):
        return None
    least, most = _number(histogram.get("min")), _number(histogram.get("max"))
    buckets = [_number(one) for one in _list(histogram.get("buckets"))]
    counts = [one for one in buckets if one is not None and one >= 0]
    total = sum(counts)
    if least is None or most is None or least >= most or not total or not math.isfinite(total):
        return None
    if len(counts) != len(buckets):
        return None
    width = (most - least) / len(counts)

    def value(share: float) -> float:
        passed = 0.0
        for place, count in enumerate(counts):
            if count and passed + count >= share * total:
                return least + width * (place + (share * total - passed) / count)
            passed += count
        return most

    low, high = value(_CUT), value(1 - _CUT)
    return (low, high) if math.isfinite(low) and math.isfinite(high) and low < high else None


def _rounded(low: float, high: float) -> tuple[float, float] | None:
    """The range widened to round numbers, so that one more item seldom changes it; None where it is beyond numbers."""
    if 0 <= low < _NEARLY_NOTHING * high:
        low = 0.0
    width = high - low
    if not math.isfinite(width) or width <= 0 or width < 1e-12 * max(abs(low), abs(high)):
        return None
    exponent = math.floor(math.log10(width))
    if not -30 < exponent < 30:
        return None
    # Half of a power of ten, written so that 0.1 stays 0.1.
    step = float(f"5e{exponent - 1}")
    digits = max(0, 2 - exponent)
    first, last = (round(math.floor(low / step) * step, digits), round(math.ceil(high / step) * step, digits))
    return _plain(first), _plain(last)


def _plain(value: float) -> float:
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def _common_name(bands: Sequence[Band]) -> str | None:
    name = agreed(band.get("eo:common_name") or band.get("common_name") for band in bands)
    return name if isinstance(name, str) else None


def _title(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST_TITLE else None


def _roles(asset: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(role for role in _list(asset.get("roles")) if isinstance(role, str))


def _keys(render: Mapping[str, Any]) -> list[str]:
    return [key for key in _list(render.get("assets")) if isinstance(key, str)]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: object) -> float | None:
    """The value where it is a number."""
    return value if isinstance(value, int | float) and is_number(value) else None
