"""Patterns of the registry: which collection ids and which algorithms an entry speaks of.

Here belongs how a pattern is written, read and matched. Not here: who may what (`entries`), and what else keeps a
prefix from covering an id (`decide`). Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

#: A prefix has at least that many characters before its `*`, with the username filled in.
MIN_PREFIX = 3

#: Stands for the name of the user who asks.
USERNAME = "{username}"


class PatternError(ValueError):
    """A pattern is not written as patterns are; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A collection id, or a prefix of ids with one `*` at its end; either may hold `{username}` once.

    Ids are compared by lower case, since no two collections differ in case alone; a username is compared exactly.
    """

    #: As written.
    text: str
    #: In lower case: what stands before `{username}`, or all of it where there is no `{username}`.
    before: str
    #: In lower case: what stands between `{username}` and the end or `*`; None where there is no `{username}`.
    after: str | None
    #: Whether it ends in `*`.
    is_prefix: bool

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Reads a pattern.

        Raises:
            PatternError: with one clause that says what is wrong.
        """
        if not text:
            raise PatternError("is empty")
        if len(text) > 256:
            raise PatternError("is longer than 256 characters")
        if not text.isprintable() or " " in text:
            raise PatternError("contains a space or a control character")
        is_prefix = text.endswith("*")
        body = text[:-1] if is_prefix else text
        if "*" in body:
            raise PatternError("has a * elsewhere than at its end; write a whole id, or a prefix with one * at its end")
        if any(sign in body for sign in "?["):
            raise PatternError("has a ? or [, which means nothing here; write a whole id, or a prefix with one *")
        before, found, after = body.partition(USERNAME)
        if any(brace in before + after for brace in "{}"):
            raise PatternError("has braces around something else than one {username}")
        if is_prefix and not found and len(before) < MIN_PREFIX:
            raise PatternError(f"has fewer than {MIN_PREFIX} characters before its *")
        return cls(text, fold(before), fold(after) if found else None, is_prefix)

    @property
    def key(self) -> tuple[str, str | None, bool]:
        """The same for patterns that mean the same ids."""
        return self.before, self.after, self.is_prefix

    def matches(self, collection: str, username: str) -> bool:
        """Whether the id is written as the pattern says, when `username` asks."""
        start, rest = self.before, fold(collection)
        if self.after is not None:
            if not rest.startswith(start) or not collection.startswith(username, len(start)):
                return False
            start, rest = self.after, rest[len(start) + len(username) :]
        return rest.startswith(start) if self.is_prefix else rest == start


def fold(text: str) -> str:
    """The text in lower case, and always of the same length (`İ` would grow), so that positions stay."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(c if len(c.lower()) > 1 else c.lower() for c in text)


@dataclass(slots=True)
class PatternTable(Generic[T]):
    """Texts that a text may equal or begin with, each with a value; found by one look for each length that occurs."""

    exact: dict[str, T] = field(default_factory=dict)
    prefixes: dict[str, T] = field(default_factory=dict)
    _lengths: list[int] = field(default_factory=list)

    def setdefault(self, text: str, value: T, *, is_prefix: bool) -> T:
        """The value that is there, or the one given, which is there from now on."""
        if not is_prefix:
            return self.exact.setdefault(text, value)
        if text not in self.prefixes and len(text) not in self._lengths:
            self._lengths.append(len(text))
        return self.prefixes.setdefault(text, value)

    def find(self, text: str, shift: int = 0) -> list[tuple[int, T]]:
        """What the text equals or begins with, as specificity and value; `shift` is added to the length of a prefix."""
        found: list[tuple[int, T]] = []
        value = self.exact.get(text)
        if value is not None:
            found.append((EXACT, value))
        length = len(text)
        for known in self._lengths:
            if known <= length:
                value = self.prefixes.get(text[:known])
                if value is not None:
                    found.append((known + shift, value))
        return found


#: The specificity of an exact id: before any prefix, of which a longer one comes before a shorter one.
EXACT = 1 << 30


@dataclass(frozen=True, slots=True)
class AlgorithmPattern:
    """`name@version`, where `*` stands for any characters, or none, in either; compared exactly."""

    text: str
    name: tuple[str, ...]
    version: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> AlgorithmPattern:
        """Reads a pattern; what stands behind the last `@` is the version.

        Raises:
            PatternError: with one clause that says what is wrong.
        """
        if not text.isprintable() or len(text) > 512:
            raise PatternError("contains a control character or is longer than 512 characters")
        name, _, version = text.rpartition("@")
        if not name or not version:
            raise PatternError("is not written as name@version (with * for any version: name@*)")
        return cls(text, tuple(name.split("*")), tuple(version.split("*")))

    def matches(self, name: str, version: str) -> bool:
        """Whether this algorithm in this version is meant."""
        return _glob(self.name, name) and _glob(self.version, version)


def _glob(pieces: tuple[str, ...], text: str) -> bool:
    """Whether the text is the pieces with anything between them. Each piece is looked for once, from the left, so the
    time is linear whatever the pattern; a regular expression of many `.*` would not be."""
    if len(pieces) == 1:
        return text == pieces[0]
    first, *middle, last = pieces
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True
