"""`maap-stac registry transfer`: makes another user the owner of a collection."""

from __future__ import annotations

import json
from pathlib import Path

import click

from maap_stac_orchestration.cli.errors import Told
from maap_stac_orchestration.cli.registry.session import author, change_options, registry_session


@click.command(
    epilog="\b\nExample:\n  maap-stac registry transfer ana--floods --to ben --reason 'Ana has left the project'",
    short_help="Give a collection to another owner.",
)
@click.argument("collection")
@click.option("--to", "owner", required=True, help="The username of the new owner, as their storage folder has it.")
@change_options
def command(collection: str, owner: str, reason: str, by: str | None, home: Path | None, as_json: bool) -> None:
    """Makes another user the owner of a collection.

    From then on they may change and delete it, the owner before may not, and documents of their jobs fill it. Who may
    write items to it is for the registry to say, and is not changed. Exits with 2, and changes nothing, where there is
    no such collection or it is theirs already.
    """
    with registry_session(home, "transfer") as session:
        from maap_stac_orchestration.governance.curation import Person
        from maap_stac_orchestration.ledger import collections as known_collections
        from maap_stac_orchestration.pipeline.curate import CurationError, transfer_collection

        who = author(by, reason)
        before = known_collections.owner_of(session.connection, collection) if "\0" not in collection else None
        try:
            # Whoever reaches the database from the command line administers it.
            done = transfer_collection(session.connection, Person(who.by, admin=True), collection, owner, who)
        except CurationError as error:
            raise Told(str(error)) from error
    if as_json:
        told = {"collection": collection, "owner": owner, "before": before, "change": done.change}
        click.echo(json.dumps(told, indent=2))
    else:
        click.echo(f"{collection} is {owner}'s now; it was {before or 'nobody'}'s before (change {done.change}).")
