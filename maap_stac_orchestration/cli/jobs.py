"""`maap-stac jobs`: what became of jobs, newest first."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maap_stac_orchestration.cli.environment import home_option, use_stack
from maap_stac_orchestration.cli.errors import Told
from maap_stac_orchestration.ledger.records import State

if TYPE_CHECKING:
    from maap_stac_orchestration.ledger.records import JobPage

#: How a state is shown: what went well, what needs a look, what is under way.
STYLES = {
    State.LOADED: "green",
    State.PARTIAL: "yellow",
    State.REJECTED: "red",
    State.FAILED: "red",
    State.WAITING: "yellow",
    State.INGESTING: "cyan",
    State.DISCOVERED: "cyan",
}


@click.command(
    epilog="Example: maap-stac jobs --username henrydevseed --tag demo --state partial",
    short_help="List what became of jobs.",
)
@click.option("--username", help="Jobs of this user.")
@click.option("--algorithm", help="Jobs of this algorithm.")
@click.option("--version", help="Jobs of this version of the algorithm.")
@click.option("--tag", help="Jobs with this tag.")
@click.option("--state", type=click.Choice([str(state) for state in State]), help="Jobs in this state.")
@click.option("--collection", help="Jobs with items in this collection.")
@click.option("--run-id", help="Jobs that this Dagster run took on.")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"]),
    help="Jobs that ran at this time (UTC) or later.",
)
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"]),
    help="Jobs that ran before this time (UTC).",
)
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, in the form of GET /jobs.")
def command(
    state: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    home: Path | None,
    as_json: bool,
    **names: str | None,
) -> None:
    """Lists what became of jobs, newest first, straight from the ledger."""
    use_stack(home, ("PGHOST",))
    from maap_stac_orchestration.ledger import documents
    from maap_stac_orchestration.ledger.connection import DatabaseUnavailable, connect
    from maap_stac_orchestration.ledger.jobs import list_jobs
    from maap_stac_orchestration.ledger.records import JobFilter

    asked = JobFilter(
        state=None if state is None else State(state),
        since=None if since is None else since.replace(tzinfo=UTC),
        until=None if until is None else until.replace(tzinfo=UTC),
        username=names["username"],
        algorithm=names["algorithm"],
        version=names["version"],
        tag=names["tag"],
        collection=names["collection"],
        run_id=names["run_id"],
    )
    try:
        with connect(application_name="maap-stac jobs") as connection:
            page = list_jobs(connection, asked, limit=limit)
    except DatabaseUnavailable as error:
        raise Told(str(error)) from error
    if as_json:
        click.echo(json.dumps(documents.page_document(page), indent=2))
    else:
        _show(page, limit)


def _show(page: JobPage, limit: int) -> None:
    from rich.console import Console
    from rich.markup import escape

    if not page.jobs:
        click.echo("No such job has come to notice.")
        return
    # Two lines a job and no table: prefixes are long, and one that is broken over lines cannot be copied.
    console = Console(highlight=False, soft_wrap=True)
    for job in page.jobs:
        names = " · ".join(part for part in (job.username, f"{job.algorithm} {job.version}", job.tag) if part)
        state = f"[{STYLES[job.state]}]{job.state:<10}[/]"
        console.print(f"{state} {job.time:%Y-%m-%d %H:%M:%S}  {items(job):<9} {escape(names)}")
        problems = f"  [yellow]{', '.join(job.problem_codes)}[/yellow]" if job.problem_codes else ""
        console.print(f"           [dim]{escape(job.prefix)}[/dim]{problems}")
    if page.next_token:
        console.print(f"\nThese are the newest {limit}; --limit shows more, the other options pick.")
    console.print("\n`maap-stac show PREFIX` tells everything about one.")


def items(job: Any) -> str:
    """The counts of a job's items in few words: those in their collection, and those that were refused."""
    there = job.loaded + job.unchanged
    counted = f"{there} item{'' if there == 1 else 's'}"
    return f"{counted}, {job.refused} refused" if job.refused else counted
