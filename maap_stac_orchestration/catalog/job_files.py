"""The objects of one job, as rules about hrefs need them. Pure: a listing made elsewhere, with look-ups."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class JobFiles:
    """Which objects a job has."""

    bucket: str
    #: The output prefix, ending in `/`.
    prefix: str
    #: Keys of the objects under the prefix, whole, not relative to it.
    objects: Collection[str]

    def holds(self, key: str) -> bool:
        """Whether there is an object of this key, or a folder of objects, as Zarr stores are."""
        if key in self._keys:
            return True
        folder = key if key.endswith("/") else f"{key}/"
        at = bisect_left(self._sorted, folder)
        return at < len(self._sorted) and self._sorted[at].startswith(folder)

    def named(self, name: str) -> tuple[str, ...]:
        """The keys whose last segment is `name`; where there are none, the folders of that name, as Zarr stores are."""
        if not name:
            return ()
        return tuple(self._by_name[name] if name in self._by_name else self._folders_by_name.get(name, ()))

    @cached_property
    def _keys(self) -> frozenset[str]:
        return frozenset(self.objects)

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(self.objects)

    @cached_property
    def _by_name(self) -> Mapping[str, list[str]]:
        names: dict[str, list[str]] = defaultdict(list)
        for key in self._sorted:
            names[key.rpartition("/")[2]].append(key)
        return names

    @cached_property
    def _folders_by_name(self) -> Mapping[str, dict[str, None]]:
        names: dict[str, dict[str, None]] = defaultdict(dict)
        seen: set[str] = set()
        for key in self._sorted:
            folder = key.rpartition("/")[0]
            while len(folder) >= len(self.prefix) and folder not in seen:
                seen.add(folder)
                parent, _, name = folder.rpartition("/")
                names[name][folder] = None
                folder = parent
        return names
