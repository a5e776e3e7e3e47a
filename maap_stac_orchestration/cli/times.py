"""Times as people type them at the command line.

Here belongs the kind of value that options such as `--since` take. Not here: how it is read (`pipeline.moments`) and
what is asked with it (the commands).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from maap_stac_orchestration.pipeline.moments import NoMoment, parse_moment


class Moment(click.ParamType):  # type: ignore[type-arg]  # generic in later versions of click only
    """A date, a time, or how long ago: `2026-03-01`, `2026-03-01T12:00:00Z`, `2d`, `3h`. Gives a datetime in UTC."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """As click has it; a time without an offset is taken as UTC, as everything here is."""
        if isinstance(value, datetime):
            return value
        try:
            return parse_moment(str(value), datetime.now(UTC))
        except NoMoment as error:
            self.fail(str(error), param, ctx)


#: For `click.option(type=MOMENT)`.
MOMENT = Moment()
