"""Texts that jobs wrote, as PostgreSQL can keep them.

Here belongs what a text column, and an index on it, does not take. Not here: what texts mean.
"""

from __future__ import annotations

#: Characters of a text that people read; what is longer is cut, because lists and pages show it.
LONGEST_TEXT = 4_000

#: Characters of a name that is indexed, up to two of them together: an index row holds 2,704 bytes, and a character
#: takes up to 4.
LONGEST_NAME = 300

_CUT = "…"


def storable(text: str, longest: int = LONGEST_TEXT) -> str:
    """The text without what PostgreSQL refuses, NUL and lone surrogates, and no longer than so many characters.

    One such character in one item would otherwise abort the transaction of a whole batch.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if "\0" in text:
        text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text if len(text) <= longest else text[: longest - len(_CUT)] + _CUT


def storable_or_none(text: str | None, longest: int = LONGEST_TEXT) -> str | None:
    """The same for a text that need not be there."""
    return None if text is None else storable(text, longest)
