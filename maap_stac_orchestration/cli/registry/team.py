"""`maap-stac registry team`: says who is in a team."""

from __future__ import annotations

from pathlib import Path

import click

from maap_stac_orchestration.cli.registry.session import author, change_options, registry_session, show_change


@click.command(
    epilog="\b\nExample:\n  maap-stac registry team boreal --user hrodmn --user jjfrench --reason 'jjfrench joined'",
    short_help="Say who is in a team.",
)
@click.argument("name")
@click.option("--user", "users", multiple=True, help="A member; may be repeated. Without any, the team has nobody.")
@change_options
def command(name: str, users: tuple[str, ...], reason: str, by: str | None, home: Path | None, as_json: bool) -> None:
    """Says who is in a team, in place of whoever was before: name all members.

    NAME is the team's name without @. Entries name it with @ before it.
    """
    with registry_session(home, "team") as session:
        from maap_stac_orchestration.pipeline.administer import set_team

        entry = set_team(session.connection, session.settings, name.removeprefix("@"), users, author(by, reason))
        members = ", ".join(entry.document["users"]) or "nobody"
        show_change(entry, f"Team {entry.document['team']} is {members}, as entry {entry.id}", as_json)
