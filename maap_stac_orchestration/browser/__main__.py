"""Builds STAC Browser: `python -m maap_stac_orchestration.browser build`, or `archive FILE`; see `make help`.

Here belongs the command line of the build, which is for checkouts. Not here: the build itself (`build`).
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import click

from maap_stac_orchestration.browser.build import build, builds_folder, find_node, pack, version
from maap_stac_orchestration.browser.locking import write_lock
from maap_stac_orchestration.browser.problems import BrowserUnavailable


@click.group()
def main() -> None:
    """Builds STAC Browser from npm, in a checkout."""


@main.command("build")
@click.option("--patient", is_flag=True, help="Let all other processes go first.")
def build_command(patient: bool) -> None:
    """Builds it unless it is built; prints the folder with the result."""
    if patient:
        os.nice(19)
    click.echo(_built())


@main.command("archive")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def archive_command(folder: Path) -> None:
    """Builds it, and packs it as a .tar.gz into FOLDER; prints its name."""
    archive = folder / f"stac-browser-{version()}.tar.gz"
    pack(_built(), archive)
    click.echo(archive)


@main.command("lock")
def lock_command() -> None:
    """Chooses versions of what it is built from afresh; prints the file that holds them."""
    try:
        click.echo(write_lock(find_node(_builds(), os.environ, _tell), os.environ))
    except BrowserUnavailable as error:
        raise click.ClickException(str(error)) from error


def _builds() -> Path:
    builds = builds_folder()
    if builds is None:
        raise click.ClickException(
            "STAC Browser is built in a checkout of maap-stac-orchestration; here, set MAAP_STAC_BROWSER_FILES to a "
            "folder or .tar.gz of a build."
        )
    return builds


def _tell(step: str) -> None:
    click.echo(f"· {step}", err=True)


def _built() -> Path:
    builds = _builds()
    # Told to end, it takes npm and webpack with it.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        return build(builds, tell=_tell)
    except BrowserUnavailable as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main(prog_name="python -m maap_stac_orchestration.browser")
