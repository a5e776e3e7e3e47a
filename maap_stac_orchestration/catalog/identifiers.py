"""Item ids that can stand in an address.

Here belongs what an id may look like. Not here: collection ids, whose grammar is governance's.
"""

from __future__ import annotations

import re
from typing import Any

#: Longer ids do not fit the addresses and indexes that they end up in.
MAX_LENGTH = 255

# Each of these ends, escapes or splits the path segment that an id is in the API's addresses: `/` gives 404 whichever
# way it is encoded, and proxies disagree about an encoded `%` or backslash.
_BREAKING = re.compile(r"[/\\?#%]")


def id_fault(value: Any) -> str | None:
    """Why a value cannot be the id of an item, as a clause; None where it can."""
    if not isinstance(value, str):
        return "its id is missing" if value is None else "its id is not a text"
    if not value:
        return "its id is empty"
    if len(value) > MAX_LENGTH:
        return f"its id has {len(value)} characters, and {MAX_LENGTH} are allowed"
    if value in (".", ".."):
        return "its id means a folder in an address"
    found = _BREAKING.search(value)
    if found is not None:
        return f"its id contains {found.group()}"
    if value != value.strip():
        return "its id begins or ends with a space"
    if not value.isprintable():
        unprintable = next(character for character in value if not character.isprintable())
        return f"its id contains the character U+{ord(unprintable):04X}, which cannot be printed"
    return None
