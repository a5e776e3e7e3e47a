"""Times as people type them at the command line.

Here belongs the kind of value that options such as `--since` take. Not here: what is asked with it (the commands).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BACK = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])", re.ASCII)


class Moment(click.ParamType):  # type: ignore[type-arg]  # generic in later versions of click only
    """A date, a time, or how long ago: `2026-03-01`, `2026-03-01T12:00:00Z`, `2d`, `3h`. Gives a datetime in UTC."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """As click has it; a time without an offset is taken as UTC, as everything here is."""
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        try:
            if back := _BACK.fullmatch(text):
                return datetime.now(UTC) - timedelta(seconds=float(back[1]) * _UNITS[back[2]])
            found = datetime.fromisoformat(text)
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(
                f"{text!r} is no time. Write how long ago (30m, 3h, 2d), a date (2026-03-01), or a time in UTC "
                "(2026-03-01T12:00:00Z).",
                param,
                ctx,
            )


#: For `click.option(type=MOMENT)`.
MOMENT = Moment()
