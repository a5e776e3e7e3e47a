"""The `maap-stac` command line: one module a command, imported only when that command is called.

Here belongs how commands are called and how they print. Not here: what they do (`pipeline`, `governance`, `stack` …).
A light command must answer in under half a second of CPU, so this module imports nothing heavy and no Dagster.

Conventions: `--json` prints one JSON document on stdout, logs go to stderr; exit 0 fine, 1 problems found, 2 wrong use.
"""

from __future__ import annotations

import sys

import click

from maap_stac_orchestration.cli.lazy import LazyGroup

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
    "export": "export",
    "discover": "discover",
    "jobs": "jobs",
    "show": "show",
    "lineage": "lineage",
    "retry": "retry",
    "dead-letters": "dead_letters",
    "decisions": "decisions",
    "registry": "registry",
    "token": "token",
    "webhook": "webhook",
    "notify": "notify",
}


@click.group(
    cls=LazyGroup, package=__name__, modules=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="maap-stac-orchestration")
def group() -> None:
    """From a DPS job's catalog.json to searchable STAC items."""


def main() -> None:
    """Entry point of `maap-stac`; turns known errors into one sentence on stderr and exit code 2."""
    from maap_stac_orchestration import log_events
    from maap_stac_orchestration.cli.errors import told

    # Somebody who sits there is told in sentences; lines of JSON are for whoever collects them.
    if not sys.stderr.isatty():
        log_events.to_stderr()
    sys.exit(told(group))
