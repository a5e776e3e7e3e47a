"""`maap-stac registry list`: every entry in force, and where it comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import click

from maap_stac_orchestration.cli.environment import home_option
from maap_stac_orchestration.cli.registry.session import registry_session
from maap_stac_orchestration.cli.terminal import printable

#: How a kind of entry is called, and shown.
_KINDS = {"grants": "grant", "deny": "deny", "teams": "team", "reserved": "reserved"}
_STYLES = {"grants": "green", "deny": "red", "teams": "cyan", "reserved": "yellow"}

#: Characters of the column of patterns.
_WIDEST = 40


@click.command(
    epilog="\b\nExample:\n  maap-stac registry list --username jsmith --collection maap-floods",
    short_help="List the entries in force.",
)
@click.option("--username", help="Entries that name this user, a team of theirs, or everyone.")
@click.option("--collection", help="Entries that speak of this collection id.")
@click.option("--kind", type=click.Choice(["grants", "deny", "teams", "reserved"]), help="Entries of this kind.")
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, in the form of GET /registry/grants.")
def command(
    username: str | None,
    collection: str | None,
    kind: Literal["grants", "deny", "teams", "reserved"] | None,
    home: Path | None,
    as_json: bool,
) -> None:
    """Lists every entry in force: those of the registry file, and those that are kept in the database.

    Entries of the database have a number, by which `maap-stac registry revoke` takes them out of force.
    """
    from maap_stac_orchestration.governance.selection import Selection

    with registry_session(home, "list") as session:
        from maap_stac_orchestration.ledger.documents import Addresses
        from maap_stac_orchestration.pipeline.registry_list import list_document

        public = session.settings.public_url
        document = list_document(
            session.connection,
            session.settings,
            Selection(username, collection, kind),
            Addresses(api=public.rstrip("/") if public else None),
        )
    if document["warning"]:
        click.echo(f"maap-stac: {document['warning']}", err=True)
    for note in document["notes"]:
        click.echo(f"maap-stac: note: {note}", err=True)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        _show(document)


def _show(document: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape

    # Lines, no table: a pattern or a username that is broken over lines cannot be copied.
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"Registry [bold]{document['registry_version']}[/bold]")
    if not document["grants"]:
        console.print("No such entry is in force.")
    for source, entries in groupby(document["grants"], key=lambda one: str(one["source"])):
        console.print(f"\nFrom {escape(source)}:", style="dim")
        listed = [(one, str(one["collection"] or f"@{one['team']}")) for one in entries]
        # The few that are very long push the rest of their own line away, and not that of all lines.
        width = min(max(len(about) for _, about in listed), _WIDEST)
        for one, about in listed:
            number = "" if one["id"] is None else one["id"]
            kind = f"[{_STYLES[one['kind']]}]{_KINDS[one['kind']]:<8}[/]"
            console.print(f"{number:>5}  {kind}  {escape(f'{about:<{width}}  {_terms(one)}'.rstrip())}")
            if one["by"] is not None:
                told = printable(f"{one['by']}, {one['at'][:10]}: {one['reason']}")
                console.print(f"       {told}", markup=False, style="dim")


def _terms(one: Mapping[str, Any]) -> str:
    """Who, with what, and what else the entry says, in few words."""
    terms = [", ".join(one["users"])] if one["users"] else []
    if one["algorithms"]:
        terms.append(f"with {', '.join(one['algorithms'])}")
    if one["create"]:
        terms.append("may create")
    if one["on_denied"]:
        terms.append(f"on denied: {one['on_denied']}")
    return " · ".join(terms)
