"""What commands about the registry have in common: how they find it, who changes it and why, how a refusal is told.

Here belong the options and the connection of such commands, and how they print an entry. Not here: what each does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from maap_stac_orchestration.cli.environment import home_option, use_stack
from maap_stac_orchestration.cli.errors import Told
from maap_stac_orchestration.cli.terminal import print_table, printable
from maap_stac_orchestration.governance.decision import OnDenied

if TYPE_CHECKING:
    from maap_stac_orchestration.ledger.changes import Author
    from maap_stac_orchestration.ledger.connection import Connection
    from maap_stac_orchestration.ledger.registry_entries import StoredEntry
    from maap_stac_orchestration.settings import Settings

__all__ = ["Session", "author", "change_options", "print_table", "registry_session", "show_change"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Session:
    """An open ledger and the settings that say where the registry file is."""

    connection: Connection
    settings: Settings


@contextmanager
def registry_session(home: Path | None, command: str) -> Iterator[Session]:
    """Opens the ledger for a command.

    Raises:
        Told: there is no ledger, the registry cannot be loaded, or what is asked for is refused.
    """
    use_stack(home, ("PGHOST",))
    from maap_stac_orchestration.ledger.connection import DatabaseUnavailable, connect
    from maap_stac_orchestration.pipeline.administer import Refused
    from maap_stac_orchestration.pipeline.registry import RegistryUnavailable
    from maap_stac_orchestration.settings import settings

    try:
        with connect(application_name=f"maap-stac registry {command}") as connection:
            yield Session(connection, settings())
    except (DatabaseUnavailable, RegistryUnavailable, Refused) as error:
        raise Told(str(error)) from error


def entry_options(command: _Command) -> _Command:
    """The argument PATTERN and the options `--user`, `--algorithm` and `--on-denied` of grants and denials."""
    for option in (
        click.option(
            "--on-denied",
            type=click.Choice([str(one) for one in OnDenied]),
            help="What becomes of items that are denied a collection of this pattern.",
        ),
        click.option(
            "--algorithm",
            "algorithms",
            multiple=True,
            help="name@version, with * in either; may be repeated.  [default: whatever the algorithm]",
        ),
        click.option(
            *("--user", "users"),
            multiple=True,
            required=True,
            help="A username, @team, or * for everyone; may be repeated.",
        ),
        click.argument("pattern"),
    ):
        command = option(command)
    return command


def change_options(command: _Command) -> _Command:
    """The options `--reason`, `--by`, `--home` and `--json` of commands that change the registry."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
        home_option,
        click.option("--by", help="Who makes the change, for the trail.  [default: your login name]"),
        click.option("--reason", required=True, help="Why, for those who read the trail later."),
    ):
        command = option(command)
    return command


def author(by: str | None, reason: str) -> Author:
    """Who makes a change from the command line.

    Raises:
        click.UsageError: no reason is given, or nobody.
    """
    from getpass import getuser

    from maap_stac_orchestration.ledger.changes import Author, Via

    if not reason.strip():
        raise click.UsageError("--reason is empty; say why, for those who read the trail later")
    if by is not None and not by.strip():
        raise click.UsageError("--by is empty; say who makes the change, or leave it out")
    try:
        return Author(by=by or getuser(), via=Via.CLI, reason=reason)
    except (KeyError, OSError):
        raise click.UsageError("your login name cannot be found; say with --by who makes the change") from None


def show_change(entry: StoredEntry, done: str, as_json: bool) -> None:
    """Prints an entry that came into force, or that was taken out of it; notes about it go to stderr."""
    from maap_stac_orchestration.pipeline.registry_list import stored_document

    document = stored_document(entry)
    if entry.removed is None:
        for note in document["notes"]:
            click.echo(f"maap-stac: note: {note}", err=True)
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    change = entry.removed or entry.change
    click.echo(printable(f"{done} (change {change.id}, by {change.by}: {change.reason})"))
