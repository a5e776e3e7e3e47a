"""`maap-stac registry test`: what a registry file would change of what jobs asked for lately.

Here belongs how the difference is printed. Not here: finding it (`pipeline.replay`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maap_stac_orchestration.cli.environment import home_option
from maap_stac_orchestration.cli.errors import Told
from maap_stac_orchestration.cli.registry.import_file import content_of
from maap_stac_orchestration.cli.registry.session import registry_session
from maap_stac_orchestration.cli.terminal import print_table, printable

if TYPE_CHECKING:
    from maap_stac_orchestration.governance.decision import Decision
    from maap_stac_orchestration.pipeline.replay import ChangedDecision, Replayed

#: Rows of the table that people see; `--json` has all.
_ROWS = 50

#: How an effect is shown.
_EFFECTS = {
    "gained": "[green]gains access[/green]",
    "lost": "[red]loses access[/red]",
    "other": "[yellow]denied otherwise[/yellow]",
}


@click.command(
    epilog="\b\nExample:\n  maap-stac registry test candidate.yaml --days 90",
    short_help="Tell what a registry file would change.",
)
@click.argument("file")
@click.option(
    "--days", type=click.IntRange(1, 36_500), default=30, show_default=True, help="Decisions of so many last days."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@home_option
def command(file: str, days: int, as_json: bool, home: Path | None) -> int:
    """Decides once more what jobs asked for lately, as if FILE stood in place of the registry file that is in force.

    FILE is a path or an s3:// address. Entries that the database keeps stay in force beside it. Both decide with the
    collections as they are now. Exit code: 0 when nothing would change, 1 when something would, 2 when FILE could not
    be put in force. Nothing is changed.
    """
    with registry_session(home, "test") as session:
        from maap_stac_orchestration.governance.registry import RegistryError, load_registry
        from maap_stac_orchestration.pipeline.registry import database_part, together
        from maap_stac_orchestration.pipeline.replay import replay

        try:
            candidate = together(load_registry(content_of(file), file), database_part(session.connection)[0])
        except RegistryError as error:
            raise Told(f"The registry {file} would be refused.\n{error}") from error
        found = replay(session.connection, session.settings, candidate, days)
    for note in candidate.notes():
        click.echo(f"maap-stac: note: {note}", err=True)
    if as_json:
        click.echo(json.dumps(_document(found, days), indent=2))
    else:
        _show(found, days)
    return 1 if found.changed else 0


def _document(found: Replayed, days: int) -> dict[str, Any]:
    return {
        "registry_version": found.now,
        "candidate_version": found.then,
        "days": days,
        "requests": found.asked,
        "decisions": found.decisions,
        "counts": {str(effect): number for effect, number in found.counts.items()},
        "changes": [_change(one) for one in found.changes],
    }


def _change(one: ChangedDecision) -> dict[str, Any]:
    return {
        "effect": str(one.effect),
        **one.asked.names._asdict(),
        "requested": one.asked.requested,
        "times": one.asked.times,
        "last": one.asked.last.isoformat(),
        "now": _decision(one.now),
        "then": _decision(one.then),
    }


def _decision(one: Decision) -> dict[str, Any]:
    return {
        "decision": str(one.code),
        "outcome": str(one.outcome),
        "collection": one.collection,
        "rule": one.rule,
        "message": one.message,
    }


def _show(found: Replayed, days: int) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from maap_stac_orchestration.pipeline.replay import Effect

    asked = "1 request" if found.asked == 1 else f"{found.asked} different requests"
    seen = f"{asked} for a collection in the last {days} days"
    if not found.changed:
        click.echo(f"{seen}; nothing would change.")
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in ("who", "algorithm", "asked for", "change"):
        table.add_column(column, no_wrap=True)
    table.add_column("times", justify="right")
    for column in ("now", "then"):
        table.add_column(column, overflow="fold")
    for one in found.changes[:_ROWS]:
        names = one.asked.names
        table.add_row(
            escape(printable(names.username)),
            escape(printable(f"{names.algorithm_name}@{names.algorithm_version}")),
            escape(printable(one.asked.requested)),
            _EFFECTS[one.effect],
            str(one.asked.times),
            *(escape(f"{decision.code}: {decision.rule}") for decision in (one.now, one.then)),
        )
    print_table(table)
    if found.changed > _ROWS:
        click.echo(f"and {found.changed - _ROWS} more; --json shows more of them.")
    gained, lost, other = (found.counts[effect] for effect in (Effect.GAINED, Effect.LOST, Effect.OTHER))
    click.echo(f"\n{seen}: {gained} would gain access, {lost} would lose it, {other} would be denied otherwise.")
