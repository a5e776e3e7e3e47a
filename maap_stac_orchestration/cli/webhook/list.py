"""`maap-stac webhook list`: who is told when jobs end."""

from __future__ import annotations

import json
from pathlib import Path

import click

from maap_stac_orchestration.cli.environment import home_option
from maap_stac_orchestration.cli.terminal import printable
from maap_stac_orchestration.cli.webhook.session import of_whom, webhook_session


@click.command(
    epilog="\b\nExample:\n  maap-stac webhook list --username jsmith",
    short_help="List who is told, without secrets.",
)
@click.option("--username", help="Those that are told of the jobs of this user alone.")
@click.option("--all", "everything", is_flag=True, help="Those that were removed, too.")
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, in the form of GET /webhooks.")
def command(username: str | None, everything: bool, home: Path | None, as_json: bool) -> None:
    """Lists endpoints, newest first: where they are, of which jobs they are told, who added them and why."""
    with webhook_session(home, "webhook list") as session:
        from maap_stac_orchestration.ledger import endpoints

        found = [
            one.to_document() for one in endpoints.listing(session.connection, username=username, everything=everything)
        ]
    if as_json:
        click.echo(json.dumps({"webhooks": found, "links": []}, indent=2))
        return
    if not found:
        click.echo("Nobody is told when jobs end; `maap-stac webhook add` changes that.")
    for one in found:
        told = of_whom(one["username"], one["algorithm"], one["states"])
        click.echo(printable(f"{one['id']:>5}  {one['address']}"))
        click.echo(
            printable(f"       told of {told}; added {one['created'][:10]} by {one['created_by']}: {one['reason']}")
        )
        if one["removed"]:
            gone = one["removed"]
            click.echo(printable(f"       removed {gone['at'][:10]} by {gone['by']}: {gone['reason']}"))
