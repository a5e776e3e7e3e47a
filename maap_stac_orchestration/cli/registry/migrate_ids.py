"""`maap-stac registry migrate-ids`: default collections under the ids of another template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maap_stac_orchestration.cli.environment import home_option
from maap_stac_orchestration.cli.errors import Told
from maap_stac_orchestration.cli.registry.session import Session, author, print_table, registry_session

if TYPE_CHECKING:
    from maap_stac_orchestration.governance.registry import Registry


@click.command(
    epilog="\b\nExample:\n  maap-stac registry migrate-ids --to '{username}__{algorithm_name}__{algorithm_version}'\n"
    "  maap-stac registry migrate-ids --to '{username}__{algorithm_name}__{algorithm_version}' \\\n"
    "      --apply --reason 'MAAP no longer has the tag in its ids'",
    short_help="Move default collections to the ids of another template.",
)
@click.option(
    "--to",
    "template",
    help="The template of default collection ids to move to.  [default: the one in force, "
    "MAAP_STAC_DEFAULT_COLLECTION_TEMPLATE]",
)
@click.option("--apply", is_flag=True, help="Do it. Without this nothing is written, and what would be done is shown.")
@click.option("--reason", help="Why, for those who read the trail later; needed with --apply.")
@click.option("--by", help="Who does it, for the trail.  [default: your login name]")
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    template: str | None, apply: bool, reason: str | None, by: str | None, home: Path | None, as_json: bool
) -> int:
    """Moves the items of default collections to where another template of ids would have put them.

    Shows what it would do, unless --apply is given. Set MAAP_STAC_DEFAULT_COLLECTION_TEMPLATE for all parts of the
    deployment first, so that new jobs go to the new ids. Nothing has to be stopped; what comes to an old id meanwhile
    is moved by running it again. A run that was stopped in the midst of it goes on where it was when it is started
    again. Nothing is lost: an item that cannot be moved stays where it is, and the reason is told.

    Exit code: 0 when all items are, or would be, where the template puts them; 1 when some stay; 2 when it could not be
    tried.
    """
    if apply and reason is None:
        raise click.UsageError("--apply needs --reason; say why, for those who read the trail later")
    import psycopg

    from maap_stac_orchestration.governance.default_collection import TemplateError
    from maap_stac_orchestration.pgstac.connection import PgstacMissing
    from maap_stac_orchestration.pipeline.migrate_ids import MigrationUnderWay

    who = author(by, reason) if apply and reason is not None else None
    try:
        with registry_session(home, "migrate-ids") as session:
            document = _migrate(session, template, who)
    except TemplateError as error:
        raise Told(f"The template {template} cannot be used: {error}.") from None
    except (MigrationUnderWay, PgstacMissing) as error:
        raise Told(str(error)) from None
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        raise Told("The database has no ledger yet, or an older one. Run `maap-stac migrate`.") from None
    except psycopg.OperationalError as error:
        raise Told(
            f"The database failed: {' '.join(str(error).split())} Nothing is lost; start the same command again, and "
            "it goes on where it was."
        ) from error
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        _show(document)
    return 1 if document["stays"] else 0


def _migrate(session: Session, template: str | None, who: Any) -> dict[str, Any]:
    from dataclasses import asdict

    from maap_stac_orchestration.pipeline.migrate_ids import migrate, plan_migration

    in_force = session.settings.default_collection_template
    wanted = template or in_force
    registry = _registry(session)
    conn = session.connection
    found = plan_migration(conn, wanted, registry) if who is None else migrate(conn, wanted, who, registry)
    notes = list(found.notes)
    if wanted != in_force:
        notes.append(
            f"New jobs still go to ids by {in_force}. Set MAAP_STAC_DEFAULT_COLLECTION_TEMPLATE to {wanted} for all "
            "parts of the deployment, and run this again afterwards."
        )
    return {
        "template": found.template,
        "applied": found.applied,
        "moves": [
            {"from": one.source, "to": one.target, "items": one.items, "already_there": one.already}
            for one in found.moves
        ],
        "stays": [{**asdict(one), "reason": str(one.reason), "examples": list(one.examples)} for one in found.stays],
        "emptied": list(found.emptied),
        "notes": notes,
    }


def _registry(session: Session) -> Registry:
    """What is in force, without writing down that it was looked at."""
    from maap_stac_orchestration.governance.registry import RegistryError
    from maap_stac_orchestration.pipeline.registry import RegistryUnavailable, database_part, file_part, together

    try:
        return together(file_part(session.settings, session.connection), database_part(session.connection)[0])
    except RegistryError as error:
        raise RegistryUnavailable(str(error)) from error


def _show(document: dict[str, Any]) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    done = document["applied"]
    if document["moves"]:
        title = "Moved" if done else "Would be moved"
        table = Table("from", "to", box=box.SIMPLE_HEAD, title=title, title_justify="left", show_edge=False)
        table.add_column("items", justify="right")
        for one in document["moves"]:
            table.add_row(escape(one["from"]), escape(one["to"]), f"{one['items']:,}")
        print_table(table)
    elif document["emptied"]:
        click.echo("No items were left to move." if done else "No items are left to move.")
    else:
        click.echo(f"Nothing to move: default collections have the ids of {document['template']}.")
    for id in document["emptied"]:
        click.echo(f"{id} {'has' if done else 'will have'} no items left and {'is' if done else 'will be'} deleted.")
    for one in document["stays"]:
        some = ", ".join(one["examples"]) + (", …" if one["items"] > len(one["examples"]) else "")
        where = f", instead of going to {one['target']}" if one["target"] else ""
        click.echo(f"{one['items']:,} items stay in {one['collection']}{where}: {one['message']} ({some})")
    for note in document["notes"]:
        click.echo(f"Note: {note}")
    if not done and (document["moves"] or document["emptied"]):
        click.echo("Nothing was written. Do it with --apply --reason '…'.")
