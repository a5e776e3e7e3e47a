"""`maap-stac down`: stops the local stack."""

from __future__ import annotations

from pathlib import Path

import click

from maap_stac_orchestration.cli.errors import Told


@click.command(epilog="Example: maap-stac down --home ~/maap-trial", short_help="Stop the local stack.")
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="The home it was started with.  [default: MAAP_STAC_HOME, else ./.maap-stac]",
)
@click.option("--purge", is_flag=True, help="Remove the home afterwards, with the database and every object in it.")
def command(home: Path | None, purge: bool) -> None:
    """Stops everything that `maap-stac up` started in this home, and waits until it is gone. The data stay."""
    from maap_stac_orchestration.stack.errors import StackError
    from maap_stac_orchestration.stack.home import Home
    from maap_stac_orchestration.stack.lifecycle import down, remove

    place = Home.at(home)
    try:
        stopped = down(place, tell=lambda step: click.echo(f"· {step}", err=True))
        if purge:
            remove(place)
    except StackError as error:
        raise Told(str(error), 1) from error
    click.echo(f"Stopped: {', '.join(stopped)}." if stopped else f"Nothing runs in {place.folder}.")
    if purge:
        click.echo(f"Removed {place.folder}.")
