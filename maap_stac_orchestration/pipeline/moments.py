"""Times as people type them: dates, times, and how long ago.

Here belongs reading such a text, for the command line and for the configuration of Dagster's jobs. Not here: the HTTP
API, whose times are RFC 3339 alone. Pure.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BACK = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])", re.ASCII)


class NoMoment(ValueError):
    """A text is no time; the message is a sentence with examples."""


def parse_moment(text: str, now: datetime) -> datetime:
    """Reads `2026-03-01`, `2026-03-01T12:00:00Z`, `30m`, `3h`, `2d` or `1w`; without an offset a time is in UTC.

    Args:
        text: what somebody typed.
        now: from which a length of time counts back, UTC.

    Raises:
        NoMoment: see there.
    """
    written = text.strip()
    try:
        if back := _BACK.fullmatch(written):
            return now - timedelta(seconds=float(back[1]) * _UNITS[back[2]])
        found = datetime.fromisoformat(written)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise NoMoment(
            f"{written!r} is no time. Write how long ago (30m, 3h, 2d), a date (2026-03-01), or a time in UTC "
            "(2026-03-01T12:00:00Z)."
        ) from None
