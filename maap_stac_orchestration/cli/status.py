"""`maap-stac status`: how each part of the local stack is."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maap_stac_orchestration.cli.errors import Told

if TYPE_CHECKING:
    from maap_stac_orchestration.stack.lifecycle import Health


@click.command(epilog="Example: maap-stac status --json", short_help="Show how each part of the local stack is.")
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="The home it was started with.  [default: MAAP_STAC_HOME, else ./.maap-stac]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(home: Path | None, as_json: bool) -> int:
    """Shows each part with its health and address. Exits with 1 when one is not well or the stack is down."""
    from maap_stac_orchestration.stack.errors import StackError
    from maap_stac_orchestration.stack.home import Home
    from maap_stac_orchestration.stack.lifecycle import find
    from maap_stac_orchestration.stack.postgres import PostgresError

    place = Home.at(home)
    try:
        stack = find(place)
        parts = stack.health() if stack is not None else []
    except (StackError, PostgresError) as error:
        raise Told(str(error), 1) from error
    well = bool(parts) and all(part.healthy for part in parts)
    if as_json:
        document = {
            "home": str(place.folder),
            "running": stack is not None,
            "healthy": well,
            "parts": [asdict(part) for part in parts],
        }
        click.echo(json.dumps(document, indent=2))
    elif stack is None:
        click.echo(f"Nothing runs in {place.folder}. Start it with `maap-stac up`.")
    else:
        _table(parts)
    return 0 if well else 1


def _table(parts: list[Health]) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for title in ("part", "health", "process", "address"):
        table.add_column(title, overflow="fold")
    for part in parts:
        health = "[green]well[/green]" if part.healthy else f"[red]not well:[/red] {escape(part.message)}"
        if part.remark:
            health += f"; {escape(part.remark)}"
        table.add_row(part.title, health, f"{part.state} {part.pid or ''}".strip(), part.url or "")
    Console().print(table)
