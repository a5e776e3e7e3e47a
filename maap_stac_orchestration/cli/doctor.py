"""`maap-stac doctor`: what is wrong with this environment, and what to do about it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import click

from maap_stac_orchestration.cli.errors import Told


@click.command(epilog="Example: maap-stac doctor --json", short_help="Tell what is wrong with this environment.")
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="The home of a local stack.  [default: MAAP_STAC_HOME, else ./.maap-stac]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(home: Path | None, as_json: bool) -> int:
    """Looks for what is wrong with settings, database, bucket, queue, ports and disk. Changes nothing.

    It looks at what the environment points at, else at the stack that runs in the home, else at whether one could be
    started here. Exits with 1 when something does not work.
    """
    from maap_stac_orchestration.stack.doctor import Severity, examine
    from maap_stac_orchestration.stack.errors import StackError
    from maap_stac_orchestration.stack.home import Home
    from maap_stac_orchestration.stack.lifecycle import find
    from maap_stac_orchestration.stack.plan import Outside
    from maap_stac_orchestration.stack.postgres import PostgresError

    place = Home.at(home)
    try:
        stack = find(place)
        if stack is not None:
            outside = Outside.of(os.environ, stack.plan.client)
            if not outside.postgres and not outside.store:
                os.environ.update(stack.plan.client)
        findings = examine(place, stack)
    except (StackError, PostgresError) as error:
        raise Told(str(error), 1) from error
    ok = not any(finding.severity is Severity.ERROR for finding in findings)
    if as_json:
        click.echo(json.dumps({"ok": ok, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        for finding in findings:
            color = "red" if finding.severity is Severity.ERROR else "yellow"
            click.echo(f"{click.style(finding.severity, fg=color)}  {finding.message}\n       {finding.fix}")
        if not findings:
            click.echo(
                "Nothing is wrong here." if stack is not None else "Nothing stands in the way of `maap-stac up`."
            )
    return 0 if ok else 1
