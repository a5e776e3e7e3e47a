"""`maap-stac check`: what would become of a job's output, before it is submitted.

Here belongs how the check is called and printed. Not here: the check (`pipeline.preflight`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from maap_stac_orchestration.cli.errors import Told
from maap_stac_orchestration.dps.output_prefix import within_job

if TYPE_CHECKING:
    from maap_stac_orchestration.ledger.connection import Connection
    from maap_stac_orchestration.pipeline.preflight import Preflight

_Answer = TypeVar("_Answer")

#: Rows of the table that people see; `--json` has all.
_ROWS = 50

#: Problems of one code that people see.
_SHOWN = 5


@click.command(short_help="Tell what would become of a job's output, before it is submitted.")
@click.argument("path", metavar="PATH")
@click.option("--username", metavar="U", help="Who runs the job.")
@click.option("--algorithm", metavar="A", help="The algorithm's name.")
@click.option("--version", metavar="V", help="The algorithm's version.")
@click.option("--tag", metavar="T", help="The job's tag, where it has one.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    path: str, username: str | None, algorithm: str | None, version: str | None, tag: str | None, as_json: bool
) -> int:
    """Check the output of a job: a local folder or an s3:// output prefix. Nothing is written, everything is reported.

    The path of a folder is read like a prefix: in it the segment before dps_output is the username. Where it holds no
    output prefix, or there is no job metadata (.met.json) yet, --username, --algorithm, --version and --tag say what
    they would. The registry is that of MAAP_STAC_REGISTRY; which grants and collections there are besides is asked
    of the database where PGHOST, PGSERVICE or PGDATABASE is set.

    \b
    Examples:
      maap-stac check ./output --username jsmith --algorithm flood --version v1
      maap-stac check s3://maap-ops-workspace/jsmith/dps_output/flood/v1/2025/08/19/09/59/01/262274/

    Exit code: 0 when nothing is an error, 1 when something is, 2 when there is nothing that could be checked.
    """
    from datetime import UTC, datetime

    from maap_stac_orchestration.pipeline.decide import default_collections_told, existing_collections
    from maap_stac_orchestration.pipeline.preflight import Names, NoJob, local_place, preflight, s3_place
    from maap_stac_orchestration.pipeline.registry import RegistryUnavailable, registry_in_force
    from maap_stac_orchestration.settings import Settings
    from maap_stac_orchestration.store.objects import StoreUnavailable

    settings = Settings.from_environment()
    template = settings.default_collection_template
    names = Names(username, algorithm, version, tag)
    now = datetime.now(UTC)
    try:
        if path.startswith("s3://"):
            from maap_stac_orchestration.store.s3 import S3Objects

            place = s3_place(path, names, S3Objects.from_environment())
        else:
            place = local_place(Path(path), names, settings, now)
        with _database() as conn:
            in_force = _ask(conn, lambda known: registry_in_force(settings, known, write_down=False))
            in_force = in_force or registry_in_force(settings)
            if in_force.warning:
                click.echo(f"maap-stac: note: {in_force.warning}", err=True)
            result = preflight(
                place,
                settings,
                in_force.registry,
                lambda wanted: _ask(conn, lambda known: existing_collections(known, wanted)),
                lambda names: _ask(conn, lambda known: default_collections_told(known, [names], template)[names]),
                now,
            )
    except (NoJob, StoreUnavailable, RegistryUnavailable) as error:
        raise Told(str(error)) from error
    if as_json:
        import orjson

        click.echo(orjson.dumps(document(result), option=orjson.OPT_INDENT_2).decode())
    else:
        _print(result)
    if not result.existing_known:
        note = "which collections there are is not known here, so it was decided as if there were none yet."
        click.echo(f"maap-stac: note: {note}", err=True)
    return 0 if result.ok else 1


def document(result: Preflight) -> dict[str, Any]:
    """The contract's form of a check."""
    job, prefix = result.read.job, result.place.prefix
    return {
        "ok": result.ok,
        "job": {
            "username": prefix.username,
            "algorithm": job.algorithm if job else prefix.algorithm,
            "version": job.version if job else prefix.version,
            "tag": job.tag if job else prefix.tag,
            "time": prefix.time.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "prefix": prefix.key,
        },
        "items": [
            {
                "id": one.item.id,
                "collection": one.decision.collection,
                "requested_collection": one.item.requested_collection,
                "decision": one.decision.code.value,
                "problems": [problem.to_document() for problem in one.item.problems],
            }
            for one in result.items
        ],
        "problems": [problem.to_document() for problem in result.problems],
    }


@contextmanager
def _database() -> Iterator[Connection | None]:
    """A connection to the database that the environment names; None where it names none, or it does not answer."""
    from maap_stac_orchestration.ledger.connection import DatabaseUnavailable, connect

    if not any(os.environ.get(name) for name in ("PGHOST", "PGSERVICE", "PGDATABASE")):
        yield None
        return
    try:
        connection = connect(application_name="maap-stac check", autocommit=True)
    except DatabaseUnavailable as error:
        click.echo(f"maap-stac: note: {error}", err=True)
        yield None
        return
    with connection:
        yield connection


def _ask(conn: Connection | None, question: Callable[[Connection], _Answer]) -> _Answer | None:
    """What the database answers; None where it cannot, which a note says."""
    import psycopg

    if conn is None:
        return None
    try:
        return question(conn)
    except psycopg.Error as error:
        click.echo(f"maap-stac: note: {str(error).partition(chr(10))[0]}", err=True)
        return None


def _print(result: Preflight) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from maap_stac_orchestration.governance.decision import Outcome
    from maap_stac_orchestration.problems import Severity

    console = Console(highlight=False)
    if not console.is_terminal:
        # What is piped into a file or a log is not cut to the width of a terminal that is not there.
        console.width = 200
    prefix = result.place.prefix.key
    # Keys are shown as seen from the job's own folder.
    short = within_job(prefix)

    def say(text: str, *, style: str | None = None) -> None:
        console.print(escape(short(text)), style=style, soft_wrap=True)

    job = document(result)["job"]
    tag = f", tag {job['tag']}" if job["tag"] else ""
    say(f"{job['algorithm']} {job['version']}{tag}, run by {job['username']} at {job['time']}", style="bold")
    console.print(escape(prefix), soft_wrap=True)
    if result.items:
        table = Table(box=box.SIMPLE_HEAD)
        for title in ("item", "goes to", "decision", "warnings"):
            table.add_column(title, overflow="fold")
        for one in result.items[:_ROWS]:
            row = (one.item.id, one.decision.collection or "", one.decision.code.value, str(len(one.item.problems)))
            table.add_row(*map(escape, row))
        console.print(table)
        if len(result.items) > _ROWS:
            say(f"  and {len(result.items) - _ROWS} more")
    for decision in result.decisions.values():
        if decision.outcome is Outcome.FALLBACK:
            say(f"{decision.code.value}: {decision.message}", style="yellow")
    for severity, colour in ((Severity.ERROR, "red"), (Severity.WARNING, "yellow")):
        for code in dict.fromkeys(problem.code for problem in result.problems if problem.severity is severity):
            alike = [problem for problem in result.problems if problem.code is code]
            say(f"{severity} {code}, {_times(len(alike), 'time')}", style=colour)
            for problem in alike[:_SHOWN]:
                say(f"  {problem.message}")
            if len(alike) > _SHOWN:
                say(f"  and {len(alike) - _SHOWN} more; --json shows all")
            say(f"  -> {alike[0].fix}")
    errors = sum(problem.severity is Severity.ERROR for problem in result.problems)
    loaded = f"{_times(len(result.items), 'item')} would be loaded."
    say(f"{'Fine' if result.ok else _times(errors, 'error')}: {loaded}", style="green" if result.ok else "red")


def _times(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
