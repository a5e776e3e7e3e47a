"""`maap-stac registry history`: who changed what and why, and which registries were put in force or refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from maap_stac_orchestration.cli.environment import home_option
from maap_stac_orchestration.cli.registry.session import registry_session
from maap_stac_orchestration.cli.terminal import printable


@click.command(
    epilog="\b\nExample:\n  maap-stac registry history --limit 10",
    short_help="Show who changed what, when and why.",
)
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most so many.")
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(limit: int, home: Path | None, as_json: bool) -> None:
    """Shows changes of grants, teams, tokens and collections, and registries that were put in force or refused, newest
    first.

    In the JSON document, `what` is `change` or `load`; changes are in the form of GET /registry/history.
    """
    with registry_session(home, "history") as session:
        from maap_stac_orchestration.ledger import changes, registries
        from maap_stac_orchestration.ledger.documents import change_document, load_document

        changed = changes.history(session.connection, limit=limit)
        loaded = registries.history(session.connection, limit=limit)
    dated = [
        *((one.at, {"what": "change", **change_document(one)}) for one in changed),
        *((one.at, {"what": "load", **load_document(one)}) for one in loaded),
    ]
    # Both lists are newest first, and stay so where times are the same.
    dated.sort(key=lambda one: one[0], reverse=True)
    history = [document for _, document in dated[:limit]]
    if as_json:
        click.echo(json.dumps({"history": history}, indent=2))
    else:
        _show(history)


def _show(history: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console

    if not history:
        click.echo("Nothing was changed yet, and no registry was put in force.")
        return
    # Lines, no table: reasons and errors are sentences, and an id that is broken over lines cannot be copied.
    console = Console(highlight=False, soft_wrap=True)
    for one in history:
        title, *details = _change(one) if one["what"] == "change" else _load(one)
        console.print(f"{one['at'][:19].replace('T', ' ')}  {printable(title)}", markup=False)
        for line in details:
            console.print(f"    {printable(line)}", markup=False, style="dim")
    console.print("\nAll times are UTC.")


def _change(one: dict[str, Any]) -> Iterator[str]:
    yield f"change {one['id']}: {one['action']} {one['subject']}"
    yield f"by {one['by']} ({one['via']}): {one['reason']}"


def _load(one: dict[str, Any]) -> Iterator[str]:
    if one["ok"]:
        yield f"registry {one['registry_version']} in force, from {one['source']}"
    else:
        yield f"registry {one['registry_version']} refused, from {one['source']}"
        yield from str(one["error"]).splitlines()
