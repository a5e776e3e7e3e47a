"""`maap-stac registry revoke`: takes an entry of the database out of force."""

from __future__ import annotations

from pathlib import Path

import click

from maap_stac_orchestration.cli.registry.session import author, change_options, registry_session, show_change


@click.command(
    epilog="\b\nExample:\n  maap-stac registry revoke 17 --reason 'The campaign has ended'",
    short_help="Take an entry out of force.",
)
@click.argument("entry")
@change_options
def command(entry: str, reason: str, by: str | None, home: Path | None, as_json: bool) -> None:
    """Takes an entry of the database out of force, from the next decision on; it stays in the trail.

    ENTRY is its number, which `maap-stac registry list` shows; or its pattern, or @team, where only one entry is about
    that. Entries of the registry file are changed in the file. Exits with 2, and changes nothing, where there is no
    such entry or others depend on it.
    """
    with registry_session(home, "revoke") as session:
        from maap_stac_orchestration.pipeline.administer import revoke
        from maap_stac_orchestration.pipeline.registry import label_of

        revoked = revoke(session.connection, session.settings, entry, author(by, reason))
        label = label_of(revoked)
        show_change(revoked, f"Out of force: {label}", as_json)
