"""`maap-stac registry deny`: forbids somebody a collection, or all collections of a prefix, whatever is granted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maap_stac_orchestration.cli.registry.session import (
    author,
    change_options,
    entry_options,
    registry_session,
    show_change,
)


@click.command(
    epilog="\b\nExample:\n  maap-stac registry deny 'maap-*' --user jsmith --reason 'Outputs under review'",
    short_help="Forbid somebody a collection or a prefix.",
)
@entry_options
@change_options
def command(
    pattern: str,
    users: tuple[str, ...],
    algorithms: tuple[str, ...],
    on_denied: str | None,
    reason: str,
    by: str | None,
    home: Path | None,
    as_json: bool,
) -> None:
    """Forbids users to write to a collection, from the next decision on. A denial wins over every grant.

    PATTERN is a collection id, or a prefix of ids with one * at its end; quote it, since shells read * themselves.
    Exits with 2, and changes nothing, where the entry cannot be used.
    """
    document: dict[str, Any] = {"collection": pattern, "users": list(users)}
    if algorithms:
        document["algorithms"] = list(algorithms)
    if on_denied is not None:
        document["on_denied"] = on_denied
    with registry_session(home, "deny") as session:
        from maap_stac_orchestration.pipeline.administer import grant

        entry = grant(session.connection, session.settings, "deny", document, author(by, reason))
        show_change(entry, f"Denial {entry.id} is in force: {', '.join(users)} may not write to {pattern}", as_json)
