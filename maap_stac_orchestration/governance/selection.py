"""Picking entries of the registry for a list: those that speak of a user, or of a collection id.

Here belongs what an administrator means who asks for the entries of somebody or about something. Not here: what follows
from the entries (`decide`), which looks at all of them together. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from maap_stac_orchestration.governance.patterns import USERNAME, Pattern, PatternError, fold
from maap_stac_orchestration.governance.registry_file import EntryKind


@dataclass(frozen=True, slots=True)
class Selection:
    """Which entries. Everything that is given must hold."""

    #: Entries that name the user, a team of theirs, or everyone.
    username: str | None = None
    #: Entries whose pattern this id matches; of a pattern, the entries with the same one.
    collection: str | None = None
    kind: EntryKind | None = None

    def picks(self, kind: EntryKind, document: Mapping[str, Any], teams: Collection[str]) -> bool:
        """Whether an entry is one of them.

        Args:
            kind: of the entry.
            document: the entry as in the registry file; a team as `{"team": name, "users": [...]}`, a reserved pattern
                as `{"collection": pattern}`.
            teams: those that the user is in, see `teams_of`.
        """
        if self.kind is not None and kind != self.kind:
            return False
        if self.username is not None and not self._names(document.get("users", ()), teams):
            return False
        return self.collection is None or self._speaks_of(document.get("collection"))

    def _names(self, users: Iterable[str], teams: Collection[str]) -> bool:
        return any(
            one == self.username or one in ("*", USERNAME) or (one.startswith("@") and one[1:] in teams)
            for one in users
        )

    def _speaks_of(self, text: str | None) -> bool:
        if text is None or self.collection is None:
            return False
        pattern = Pattern.parse(text)
        if pattern.matches(self.collection, self.username or "") and (pattern.after is None or self.username):
            return True
        if pattern.after is not None and self.username is None and _of_anyone(pattern, pattern.after, self.collection):
            return True
        try:
            return Pattern.parse(self.collection).key == pattern.key
        except PatternError:
            return False


def _of_anyone(pattern: Pattern, after: str, collection: str) -> bool:
    """Whether there could be a user with whose name in it the pattern matches the id."""
    lower = fold(collection)
    if not lower.startswith(pattern.before):
        return False
    # A username has at least one character.
    rest = lower[len(pattern.before) + 1 :]
    return after in rest if pattern.is_prefix else rest.endswith(after)


def teams_of(username: str | None, teams: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The names of the teams that have the user, from `{"team": name, "users": [...]}` each."""
    return frozenset(one["team"] for one in teams if username in one["users"])
