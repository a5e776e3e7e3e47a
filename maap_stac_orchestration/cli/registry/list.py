"""`maap-stac registry list`: every entry in force, and where it comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import click

from maap_stac_orchestration.cli.environment import home_option
from maap_stac_orchestration.cli.registry.session import print_table, registry_session

#: How a kind of entry is called in the table.
_KINDS = {"grants": "grant", "deny": "[red]deny[/red]", "teams": "team", "reserved": "reserved"}


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
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    version = f"Registry {document['registry_version']}"
    if not document["grants"]:
        click.echo(f"{version}: no such entry is in force.")
        return
    table = Table(box=box.SIMPLE_HEAD, title=version, title_justify="left", show_edge=False, pad_edge=False)
    for column in ("id", "entry", "collection or team"):
        table.add_column(column, no_wrap=True)
    for column in ("users", "algorithms"):
        table.add_column(column, overflow="fold")
    table.add_column("allows", overflow="fold")
    table.add_column("from", overflow="fold")
    for one in document["grants"]:
        allows = ["create"] if one["create"] else []
        if one["on_denied"]:
            allows.append(f"on denied: {one['on_denied']}")
        table.add_row(
            "–" if one["id"] is None else str(one["id"]),
            _KINDS[one["kind"]],
            escape(one["collection"] or f"@{one['team']}"),
            escape("\n".join(one["users"]) or "–"),
            escape("\n".join(one["algorithms"]) or ("any" if one["kind"] in ("grants", "deny") else "–")),
            "\n".join(allows),
            escape(one["source"] if one["by"] is None else f"{one['by']}, {one['at'][:10]}: {one['reason']}"),
        )
    print_table(table)
