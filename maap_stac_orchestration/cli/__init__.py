"""The `maap-stac` command line: one module a command, imported only when that command is called.

Here belongs how commands are called and how they print. Not here: what they do (`pipeline`, `governance`, `stack` …).
A light command must answer in under half a second of CPU, so this module imports nothing heavy and no Dagster.

Conventions: `--json` prints one JSON document on stdout, logs go to stderr; exit 0 fine, 1 problems found, 2 wrong use.
"""

from __future__ import annotations

import sys
from importlib import import_module

import click

#: Command -> module of this package that holds a click command called `command`.
COMMANDS: dict[str, str] = {
    "up": "up",
    "down": "down",
    "status": "status",
    "doctor": "doctor",
    "migrate": "migrate",
    "demo": "demo",
    "check": "check",
    "explain": "explain",
    "ingest": "ingest",
    "jobs": "jobs",
    "show": "show",
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command = import_module(f"{__name__}.{module}").command
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="maap-stac-orchestration")
def group() -> None:
    """From a DPS job's catalog.json to searchable STAC items."""


def main() -> None:
    """Entry point of `maap-stac`; turns known errors into one sentence on stderr and exit code 2."""
    from maap_stac_orchestration.cli.errors import told

    sys.exit(told(group))
