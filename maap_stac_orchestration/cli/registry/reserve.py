"""`maap-stac registry reserve`: keeps ids for those who are granted exactly them."""

from __future__ import annotations

from pathlib import Path

import click

from maap_stac_orchestration.cli.registry.session import author, change_options, registry_session, show_change


@click.command(
    epilog="\b\nExample:\n  maap-stac registry reserve 'esa-*' --reason 'Names of the partner agency'",
    short_help="Reserve an id or a prefix.",
)
@click.argument("pattern")
@change_options
def command(pattern: str, reason: str, by: str | None, home: Path | None, as_json: bool) -> None:
    """Reserves an id, or all ids of a prefix: nobody may choose such an id without a grant of exactly that id.

    PATTERN is a collection id, or a prefix of ids with one * at its end; quote it, since shells read * themselves.
    """
    with registry_session(home, "reserve") as session:
        from maap_stac_orchestration.pipeline.administer import reserve

        entry = reserve(session.connection, session.settings, pattern, author(by, reason))
        show_change(entry, f"Reserved: {pattern}, as entry {entry.id}", as_json)
