"""The `maap-stac registry` commands: who may write to which collection, one module a command.

Here belongs how administrators are asked and answered. Not here: what a change does (`pipeline`) and what a registry
means (`governance`).
"""

from __future__ import annotations

import click

from maap_stac_orchestration.cli.lazy import LazyGroup

#: Command -> module of this package that holds a click command called `command`.
COMMANDS: dict[str, str] = {
    "list": "list",
    "grant": "grant",
    "deny": "deny",
    "revoke": "revoke",
    "team": "team",
    "reserve": "reserve",
    "import": "import_file",
    "export": "export",
    "transfer": "transfer",
    "history": "history",
    "test": "test",
    "migrate-ids": "migrate_ids",
}


@click.group(cls=LazyGroup, package=__name__, modules=COMMANDS)
def command() -> None:
    """Administer who may write to which collection."""
