"""`maap-stac registry import`: takes the entries of a registry file over into the database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maap_stac_orchestration.cli.errors import Told
from maap_stac_orchestration.cli.registry.session import author, change_options, registry_session

if TYPE_CHECKING:
    from maap_stac_orchestration.pipeline.administer import Addition, Imported


@click.command(
    epilog="\b\nExample:\n  maap-stac registry import registry.yaml --reason 'Grants move into the database' --dry-run",
    short_help="Take the entries of a registry file over into the database.",
)
@click.argument("file")
@click.option("--dry-run", is_flag=True, help="Check everything and tell what would be added; change nothing.")
@change_options
def command(file: str, dry_run: bool, reason: str, by: str | None, home: Path | None, as_json: bool) -> None:
    """Adds each entry of FILE that says something new to the database, all as one change.

    FILE is a path or an s3:// address, in the full form or the flat one. What an entry in the database says already is
    skipped, so a file may be imported again. Nothing is taken out of force. Exits with 2, and changes nothing, where
    the file does not load or contradicts what is in force.
    """
    with registry_session(home, "import") as session:
        from maap_stac_orchestration.pipeline.administer import import_file

        imported = import_file(
            session.connection, session.settings, content_of(file), file, author(by, reason), dry_run=dry_run
        )
    for note in imported.notes:
        click.echo(f"maap-stac: note: {note}", err=True)
    if as_json:
        click.echo(json.dumps(_document(imported, dry_run), indent=2))
        return
    for one in imported.added:
        click.echo(f"{'would add' if dry_run else 'added'}  {_told(one)}")
    skipped = f"{_count(len(imported.skipped))} in the database already" if imported.skipped else ""
    done = f"{_count(len(imported.added))} {'would be added' if dry_run else 'added'}"
    change = "" if imported.change is None else f" by change {imported.change}"
    click.echo("; ".join(part for part in (f"{done}{change}", skipped) if part) + ".")


def content_of(file: str) -> bytes:
    """The bytes of a registry file at a path or an s3:// address.

    Raises:
        Told: it cannot be read.
    """
    from maap_stac_orchestration.pipeline.registry import fetch
    from maap_stac_orchestration.store.objects import ObjectError, StoreUnavailable

    try:
        return fetch(file)
    except OSError as error:
        raise Told(f"The registry file {file} cannot be read: {error.strerror or error}.") from error
    except (ObjectError, StoreUnavailable) as error:
        raise Told(f"The registry file {file} cannot be read. {error}") from error


def _document(imported: Imported, dry_run: bool) -> dict[str, Any]:
    return {
        "change": imported.change,
        "dry_run": dry_run,
        "added": [{"kind": one.kind, "entry": dict(one.document)} for one in imported.added],
        "skipped": [{"kind": one.kind, "entry": dict(one.document)} for one in imported.skipped],
        "notes": list(imported.notes),
    }


def _told(one: Addition) -> str:
    entry = one.document
    users = ", ".join(entry.get("users", ())) or "nobody"
    if one.kind == "teams":
        return f"team @{entry['team']}: {users}"
    if one.kind == "reserved":
        return f"reserved {entry['collection']}"
    verb = "grant" if one.kind == "grants" else "deny"
    algorithms = f", with {', '.join(entry['algorithms'])}" if "algorithms" in entry else ""
    create = ", may be created" if entry.get("create") else ""
    return f"{verb} {entry['collection']}: {users}{algorithms}{create}"


def _count(number: int) -> str:
    return "1 entry" if number == 1 else f"{number} entries"
