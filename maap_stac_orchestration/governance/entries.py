"""The entries of a registry, and the index that finds those that speak of an id.

Here belongs what an entry is, wherever it comes from: the registry file or grants kept elsewhere. Not here: how a
file is read (`registry`) and what follows from the entries (`decide`). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from maap_stac_orchestration.governance.decision import OnDenied
from maap_stac_orchestration.governance.patterns import AlgorithmPattern, Pattern, PatternTable, fold


class Kind(StrEnum):
    """What an entry does; the values are the keys of the registry file."""

    GRANT = "grants"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Entry:
    """One grant, or one denial."""

    kind: Kind
    pattern: Pattern
    #: Usernames, `@team`, `*` for everyone; `{username}` is everyone too, in a pattern that holds it.
    users: tuple[str, ...]
    #: Empty: whatever the algorithm.
    algorithms: tuple[AlgorithmPattern, ...] = ()
    #: Whether the collection may be created on first use; without meaning in a denial.
    create: bool = False
    #: What becomes of denied items that ask for an id of this pattern; None: the entry does not say.
    on_denied: OnDenied | None = None
    #: How a collection that this entry creates is described: title, description, license, providers, keywords.
    template: Mapping[str, Any] = field(default_factory=dict)
    #: How a rule names the entry, on one line: `grants[2] "maap-*" (line 9)`.
    label: str = ""

    def approves(self, algorithm: str, version: str) -> bool:
        """Whether the entry speaks of this algorithm in this version."""
        return not self.algorithms or any(one.matches(algorithm, version) for one in self.algorithms)


@dataclass(frozen=True, slots=True)
class Reserved:
    """Ids that nobody may choose without an exact grant."""

    #: Without `{username}`.
    pattern: Pattern
    #: How a rule names it, on one line: `reserved[1] "esa-*" (line 3)`.
    label: str = ""


@dataclass(slots=True)
class Bucket:
    """All entries of one pattern, by whom they name."""

    pattern: Pattern
    #: Of all entries of the pattern; where they contradict one another, reject, which no order of entries changes.
    on_denied: OnDenied | None = None
    #: Username, `@team` or `*` -> entries, in their order.
    grants: dict[str, list[Entry]] = field(default_factory=dict)
    denials: dict[str, list[Entry]] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """Sorts an entry of this pattern in."""
        by_name = self.grants if entry.kind is Kind.GRANT else self.denials
        for name in {"*" if user == "{username}" else user: None for user in entry.users}:
            by_name.setdefault(name, []).append(entry)
        if entry.on_denied is not None and self.on_denied is not OnDenied.REJECT:
            self.on_denied = entry.on_denied


class EntryIndex:
    """Finds the entries whose pattern an id matches, in a time that hardly grows with their number."""

    __slots__ = ("_by_before", "_lengths", "_plain")

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._plain: PatternTable[Bucket] = PatternTable()
        #: For patterns with `{username}`: what stands before it -> what follows it.
        self._by_before: dict[str, PatternTable[Bucket]] = {}
        for entry in entries:
            pattern = entry.pattern
            if pattern.after is None:
                table, text = self._plain, pattern.before
            else:
                table, text = self._by_before.setdefault(pattern.before, PatternTable()), pattern.after
            table.setdefault(text, Bucket(pattern), is_prefix=pattern.is_prefix).add(entry)
        self._lengths = sorted({len(before) for before in self._by_before})

    def find(self, collection: str, username: str) -> list[tuple[int, Bucket]]:
        """Specificity and entries of every pattern that the id matches when `username` asks, most specific first."""
        lower = fold(collection)
        found = self._plain.find(lower)
        for length in self._lengths:
            table = self._by_before.get(lower[:length])
            # The username stands in the id exactly as it is: `ANA` has no part in the ids of `ana`.
            if table is not None and collection.startswith(username, length):
                after = length + len(username)
                found += table.find(lower[after:], after)
        if len(found) > 1:
            found.sort(key=_specificity, reverse=True)
        return found


def _specificity(found: tuple[int, Bucket]) -> int:
    return found[0]
