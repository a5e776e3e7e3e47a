"""The `maap-stac webhook` commands: who is told when jobs end, one module a command.

Here belongs how operators are asked and answered. Not here: what a change does (`pipeline.notification`), and sending
(`pipeline.notify`). A webhook's secret is printed once, by the command that makes it.
"""

from __future__ import annotations

import click

from maap_stac_orchestration.cli.lazy import LazyGroup

#: Command -> module of this package that holds a click command called `command`.
COMMANDS: dict[str, str] = {
    "add": "add",
    "list": "list",
    "remove": "remove",
    "rotate": "rotate",
    "test": "test",
    "deliveries": "deliveries",
    "redeliver": "redeliver",
}


@click.group(cls=LazyGroup, package=__name__, modules=COMMANDS)
def command() -> None:
    """Say who is told when jobs end, by webhook or SNS, and see whether they were."""
