"""What the assets of a collection's items have in common: the `item_assets` of its document.

Here belongs which assets are told and which of their fields. Not here: how they are shown (`renders`), and what the
items' properties have in common (`summaries`).

Only what all items that were looked at agree upon is told, and only fields that cannot belong to one job alone. All of
it is bounded: items are written by anybody, and what is told here is in every answer about the collection.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite
from typing import Any, Final

import orjson

#: Assets that are told, the most frequent ones.
MOST_ASSETS: Final = 50
#: Bytes of all of them as JSON.
MOST_BYTES: Final = 32_000
#: Characters of an asset's key; longer ones are data rather than names.
LONGEST_KEY: Final = 100
#: Of many items, the share that has to have an asset: keys such as the name of a file differ from job to job.
_FEWEST: Final = 0.05
_MOST_BANDS: Final = 32
_MOST_ROLES: Final = 10
_LONGEST_TEXT: Final = 500

#: Texts and numbers of an asset that say what kind of thing it is, rather than which one.
_OF_AN_ASSET: Final = ("title", "description", "type", "gsd", "data_type", "nodata", "unit")
#: The same of a band, in the forms of STAC 1.1 and of the extensions before it.
_OF_A_BAND: Final = (
    *("name", "common_name", "eo:common_name", "description", "data_type", "nodata", "unit", "gsd"),
    *("center_wavelength", "full_width_half_max", "eo:center_wavelength", "eo:full_width_half_max"),
    *("scale", "offset", "sampling", "spatial_resolution", "bits_per_sample"),
    *("raster:scale", "raster:offset", "raster:sampling", "raster:spatial_resolution", "raster:bits_per_sample"),
)
#: What of these are numbers, by their names without prefix; and those of them that are above nothing.
_MEASURES: Final = frozenset(
    {"gsd", "center_wavelength", "full_width_half_max", "spatial_resolution", "bits_per_sample"}
)
_NUMBERS: Final = frozenset({"scale", "offset", *_MEASURES})
#: STAC 1.1, data-values.json.
_DATA_TYPES: Final = frozenset(
    {
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"),
        *("cint16", "cint32", "cfloat32", "cfloat64", "other"),
    }
)
NOT_FINITE: Final = frozenset({"nan", "inf", "-inf"})
BANDS: Final = ("bands", "raster:bands", "eo:bands")

Assets = Mapping[str, Sequence[Mapping[str, Any]]]


def common_assets(items: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Key -> all assets of that key, for those keys that are no peculiarity of a few items; most frequent first.

    An asset that one item alone has is left out where there are several items, and so is one that less than a
    twentieth of them have.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    counted: Counter[str] = Counter()
    number = 0
    for item in items:
        number += 1
        for key, asset in _mapping(item.get("assets")).items():
            if not isinstance(asset, Mapping) or not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
                continue
            counted[key] += 1
            found.setdefault(key, []).append(asset)
    fewest = 1 if number <= 1 else max(2, number * _FEWEST)
    often = [key for key, count in counted.items() if count >= fewest]
    return {key: found[key] for key in sorted(often, key=lambda key: (-counted[key], key))[:MOST_ASSETS]}


def item_assets(assets: Assets) -> dict[str, dict[str, Any]]:
    """The `item_assets` of a collection: key -> what all assets of that key agree upon, sorted by key.

    Args:
        assets: see `common_assets`.
    """
    told: dict[str, dict[str, Any]] = {}
    room = MOST_BYTES
    for key, every in assets.items():
        definition = _definition(every)
        if len(definition) == 1:
            # STAC wants two members at least; the key is what people call it.
            definition = {"title": key, **definition}
        needed = len(orjson.dumps({key: definition}))
        if len(definition) > 1 and needed <= room:
            told[key] = definition
            room -= needed
    return dict(sorted(told.items()))


def agreed(values: Iterable[Any]) -> Any:
    """The value that all of these are, None where they differ or there is none."""
    first: Any = None
    for number, value in enumerate(values):
        if number == 0:
            first = value
        elif value != first or type(value) is not type(first):
            return None
    return first


def is_number(value: object) -> bool:
    """Whether a value is a finite number that every reader of JSON takes: a whole one has 64 bits at most."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    return isinstance(value, float) and isfinite(value)


def _definition(assets: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    definition = dict(_scalars(assets, _OF_AN_ASSET))
    roles = agreed(asset.get("roles") for asset in assets)
    if isinstance(roles, list) and 0 < len(roles) <= _MOST_ROLES and all(map(_is_word, roles)):
        definition["roles"] = roles
    for name in BANDS:
        if bands := _bands([asset.get(name) for asset in assets]):
            definition[name] = bands
    return definition


def _bands(lists: Sequence[object]) -> list[dict[str, Any]]:
    """What the bands at each place agree upon; nothing where one of them then would say nothing."""
    length = agreed(len(bands) if isinstance(bands, list) else 0 for bands in lists)
    if not length or length > _MOST_BANDS:
        return []
    bands = [dict(_scalars([_mapping(each[place]) for each in lists], _OF_A_BAND)) for place in range(length)]  # type: ignore[index]  # all are lists
    return bands if all(bands) else []


def _scalars(mappings: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Iterator[tuple[str, Any]]:
    for name in names:
        value = agreed(each.get(name) for each in mappings)
        if _is_right(name.rpartition(":")[2], value):
            yield name, value


def _is_right(name: str, value: Any) -> bool:
    """Whether a value is of the kind that STAC has for a field, and short."""
    if name in _NUMBERS:
        return is_number(value) and (value > 0 or name not in _MEASURES)
    if name == "nodata":
        return is_number(value) or (isinstance(value, str) and value in NOT_FINITE)
    if name == "data_type":
        return isinstance(value, str) and value in _DATA_TYPES
    return _is_word(value)


def _is_word(value: object) -> bool:
    """Whether a value is one word or sentence, and not data."""
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_TEXT


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
