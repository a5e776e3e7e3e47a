"""What the properties of a collection's items have in common: the `summaries` of its document.

Here belongs which properties are told and how: a few values as a list of them, many numbers as their range. Not here:
assets (`item_assets`), and when and where items are (the extent).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import orjson

from maap_stac_orchestration.catalog.item_assets import is_number

#: Values that are told one by one; a text that takes more of them is left out.
MOST_VALUES: Final = 20
#: Properties that are told.
MOST_PROPERTIES: Final = 50
#: Bytes of all of them as JSON.
MOST_BYTES: Final = 16_000
#: Different numbers that are told one by one rather than as a range.
_MOST_NUMBERS: Final = 5
_LONGEST: Final = 200
#: Items from which on a text that is another one in each of them is taken for a name of the item.
_ENOUGH: Final = 3
#: Properties of one item that are looked at.
_MOST_OF_ONE: Final = 500

#: What belongs to one item or job, or stands in the extent.
_LEFT_OUT: Final = frozenset(
    {
        *("datetime", "start_datetime", "end_datetime", "created", "updated", "published", "expires"),
        *("title", "description", "id", "collection", "license", "maap:job_time", "maap:job_prefix", "maap:run_id"),
        *("proj:wkt2", "proj:projjson", "proj:geometry", "proj:bbox", "proj:centroid", "proj:shape", "proj:transform"),
    }
)
#: Endings of properties that hold words about one item.
_SENTENCES: Final = (":title", ":description")
#: Numbers that are names.
_CODES: Final = frozenset({"proj:epsg", "gsd", "sat:relative_orbit", "mgrs:utm_zone"})
#: Texts that say what kind of item it is, also where they differ in each.
_KINDS: Final = frozenset(
    {
        *("platform", "instruments", "constellation", "mission", "proj:code", "processing:level"),
        *("maap:username", "maap:algorithm", "maap:algorithm_version", "maap:tag"),
    }
)
#: Told first, where there is not room for all.
_FIRST: Final = (*sorted(_KINDS), *sorted(_CODES), "eo:cloud_cover")

_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}([Tt ].*)?\Z")


def summaries(items: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The `summaries` of a collection, sorted by name: property -> list of values, or minimum and maximum.

    Args:
        items: STAC items; what is no text, number or list of texts in their properties is not told.
    """
    gathered: dict[str, _Values] = {}
    for item in items:
        properties = item.get("properties")
        if not isinstance(properties, Mapping):
            continue
        for number, (name, value) in enumerate(properties.items()):
            if number == _MOST_OF_ONE:
                break
            if value is not None and _is_told(name):
                gathered.setdefault(name, _Values()).add(value)
    found = {name: value for name, values in gathered.items() if (value := values.summary(name)) is not None}
    told: dict[str, Any] = {}
    room = MOST_BYTES
    for name in _by_weight(found):
        needed = len(orjson.dumps({name: found[name]}))
        if needed <= room and len(told) < MOST_PROPERTIES:
            told[name] = found[name]
            room -= needed
    return dict(sorted(told.items()))


class _Values:
    """The values of one property over all items."""

    def __init__(self) -> None:
        self._items = 0
        #: Whether there was one that cannot be told with the others.
        self._mixed = False
        #: Texts, or numbers as long as they are few.
        self._single: dict[tuple[bool, str | float], str | float | bool] = {}
        self._low, self._high = math.inf, -math.inf
        self._kinds: set[str] = set()

    def add(self, value: object) -> None:
        if self._mixed:
            return
        self._items += 1
        several: list[Any] = value if isinstance(value, list) else [value]
        if len(several) > MOST_VALUES:
            self._mixed = True
        for one in several[:MOST_VALUES]:
            kind = _kind(one)
            if kind is None:
                self._mixed = True
                return
            self._kinds.add(kind if several is not value else f"{kind}s")
            if len(self._single) <= MOST_VALUES:
                self._single[isinstance(one, bool), one] = one
            if kind == "number":
                self._low, self._high = min(self._low, one), max(self._high, one)

    def summary(self, name: str) -> Any:
        """None where there is nothing to be told."""
        if self._mixed or len(self._kinds) != 1:
            return None
        (kind,) = self._kinds
        values = sorted(self._single.values())
        if kind == "number" and name not in _CODES and len(values) > _MOST_NUMBERS:
            return {"minimum": self._low, "maximum": self._high}
        # An array of numbers is a position, a shape or the like; its members have no meaning of their own.
        if kind == "numbers" or len(values) > MOST_VALUES:
            return None
        named = kind == "text" and name not in _KINDS
        if named and self._items >= _ENOUGH and len(values) == self._items:
            return None
        return values


def _is_told(name: str) -> bool:
    if name in _LEFT_OUT or name.endswith(_SENTENCES):
        return False
    return 0 < len(name) <= _LONGEST and name.isprintable()


def _kind(value: object) -> str | None:
    """None for what cannot be told."""
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, str):
        return "text" if 0 < len(value) <= _LONGEST and not _TIME.match(value) else None
    if isinstance(value, int | float):
        return "number" if is_number(value) and -1e300 < value < 1e300 else None
    return None


def _by_weight(names: Iterable[str]) -> Iterator[str]:
    """Well-known names first, then the others in their order."""
    every = set(names)
    yield from (name for name in _FIRST if name in every)
    yield from sorted(every.difference(_FIRST))
