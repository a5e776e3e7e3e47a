"""`maap-stac retry`: tries jobs again, by name or all that match."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maap_stac_orchestration.cli.environment import home_option, use_stack
from maap_stac_orchestration.cli.errors import Told
from maap_stac_orchestration.cli.terminal import printable
from maap_stac_orchestration.cli.times import MOMENT
from maap_stac_orchestration.ledger.records import JobFilter, State
from maap_stac_orchestration.problems import Code

if TYPE_CHECKING:
    from maap_stac_orchestration.pipeline.retry import RetryRequest, RetryResult

#: Jobs that are listed for people; `--json` lists all.
SHOWN = 20


@click.command(
    epilog="\b\nExamples:\n"
    "  maap-stac retry jsmith/dps_output/flood/v1/demo/2026/03/01/12/30/05/118204/\n"
    "  maap-stac retry --state rejected --state partial --code link_missing --since 2d --dry-run\n"
    "  maap-stac retry --collection maap-floods --force --reason 'The grant was widened'",
    short_help="Try jobs again.",
)
@click.argument("prefixes", nargs=-1, metavar="[PREFIX]...")
@click.option("--username", help="Jobs of this user.")
@click.option("--algorithm", help="Jobs of this algorithm.")
@click.option("--version", help="Jobs of this version of the algorithm.")
@click.option("--tag", help="Jobs with this tag.")
@click.option(
    "--state",
    "states",
    type=click.Choice([str(state) for state in State]),
    multiple=True,
    help="Jobs in this state; may be repeated.  [default: all but loaded]",
)
@click.option("--collection", help="Jobs with items in this collection.")
@click.option("--code", type=click.Choice([str(code) for code in Code]), metavar="CODE", help="Jobs with this problem.")
@click.option("--run-id", help="Jobs that this Dagster run took on.")
@click.option("--since", type=MOMENT, help="Jobs that ran at this time (UTC), or so long ago (2d), or later.")
@click.option("--until", type=MOMENT, help="Jobs that ran before this time (UTC), or longer ago than this (3h).")
@click.option(
    "--force", is_flag=True, help="Also jobs that are loaded, and jobs that a run holds: from the run they are taken."
)
@click.option("--dry-run", is_flag=True, help="Tell what would be done, and do nothing.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=10_000,
    show_default=True,
    help="Do nothing where more jobs match than this.",
)
@click.option("--reason", default="", help="Why, for the history of the jobs.")
@click.option("--by", help="Who asks, for the history of the jobs.  [default: your login name]")
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    prefixes: tuple[str, ...],
    states: tuple[str, ...],
    code: str | None,
    since: datetime | None,
    until: datetime | None,
    force: bool,
    dry_run: bool,
    limit: int,
    reason: str,
    by: str | None,
    home: Path | None,
    as_json: bool,
    **names: str | None,
) -> int:
    """Makes jobs due at once, as if they were new: the jobs with these output prefixes (or s3:// addresses), or all
    that match the options.

    Jobs that wait for something, or were put off after a run broke, are hurried; from a run that died they are taken.
    Jobs that are loaded, and jobs that a run is at work on, are left as they are unless --force is given. What is
    unchanged in S3 is not written again. A job whose catalog.json was replaced is tried again by itself.

    Exit code: 0 when it is done, 1 when a job that was named is not known or was left as it is, 2 for wrong use.
    """
    from maap_stac_orchestration.pipeline.retry import RetryRequest

    who = _who(by)
    filter = JobFilter(
        username=names["username"],
        algorithm=names["algorithm"],
        version=names["version"],
        tag=names["tag"],
        collection=names["collection"],
        run_id=names["run_id"],
        code=code,
        since=since,
        until=until,
    )
    asked = RetryRequest(
        prefixes=prefixes,
        filter=filter,
        states=frozenset(State(one) for one in states) or None,
        force=force,
        limit=limit,
    )
    use_stack(home, ("PGHOST",))
    result = _retry(asked, who, reason, dry_run)
    if as_json:
        click.echo(json.dumps(result.to_document(), indent=2))
    else:
        _show(result, named=bool(prefixes))
    left = {one.prefix for one in result.left if one.why != "due"} if prefixes else ()
    return 1 if result.unknown or left else 0


def _who(by: str | None) -> str:
    from getpass import getuser

    if by is not None and not by.strip():
        raise click.UsageError("--by is empty; say who asks, or leave it out")
    try:
        return by or getuser()
    except (KeyError, OSError):
        raise click.UsageError("your login name cannot be found; say with --by who asks") from None


def _retry(asked: RetryRequest, who: str, reason: str, dry_run: bool) -> RetryResult:
    import psycopg

    from maap_stac_orchestration.ledger.connection import DatabaseUnavailable, connect
    from maap_stac_orchestration.pipeline.retry import NothingPicked, RetryRefused, TooManyMatch, retry

    try:
        with connect(application_name="maap-stac retry") as connection:
            return retry(connection, asked, by=who, dry_run=dry_run, reason=reason)
    except NothingPicked:
        raise click.UsageError(
            "Name jobs by their output prefixes, or pick them by --username, --algorithm, --version, --tag, --state, "
            "--collection, --code, --run-id, --since or --until."
        ) from None
    except TooManyMatch as error:
        raise Told(
            f"{error.matched:,} jobs match, more than --limit {error.limit}. Nothing was done: pick fewer, or raise "
            "--limit."
        ) from None
    except (RetryRefused, DatabaseUnavailable) as error:
        raise Told(str(error)) from None
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        raise Told("The database has no ledger yet. Run `maap-stac migrate`.") from None
    except psycopg.OperationalError as error:
        raise Told(
            f"The database failed: {' '.join(str(error).split())} Try again; jobs that were done are not done twice."
        ) from error


def _show(result: RetryResult, *, named: bool) -> None:
    done = "would be tried again" if result.dry_run else "tried again"
    count = len(result.jobs)
    if count or result.matched:
        click.echo(f"{_jobs(count)} {done}{':' if count else '.'}")
    elif not result.unknown:
        click.echo("No such job has come to notice." if named else "No job matches.")
    for job in result.jobs[:SHOWN]:
        click.echo(printable(f"  {job.before:<10}  {job.prefix}"))
    if count > SHOWN:
        click.echo(f"  … and {count - SHOWN:,} more; --json lists all.")
    for why, jobs in result.skipped.items():
        click.echo(f"{_jobs(jobs)} left: {_why(str(why), result)}")
    for name in result.unknown:
        click.echo(
            printable(f"{name}: no job with this output prefix has come to notice; see `maap-stac jobs`."), err=True
        )
    if result.in_other_states:
        states = ", ".join(f"{jobs:,} {state}" for state, jobs in result.in_other_states.items())
        click.echo(f"In other states there are: {states}.")
    if count and not result.dry_run:
        click.echo("`maap-stac show PREFIX` tells what becomes of one, `maap-stac jobs` of all.")


def _jobs(count: int) -> str:
    return f"{count:,} job{'' if count == 1 else 's'}"


def _why(why: str, result: RetryResult) -> str:
    if why == "loaded":
        return "loaded, so there is nothing to mend; --force tries them again all the same."
    if why == "leased":
        until = result.leased_until
        when = (
            "" if until is None else f"; the last lease lasts until {until:%Y-%m-%d %H:%M:%S} UTC, unless it is renewed"
        )
        return f"a run is at work on them{when}. --force takes them away from it."
    return "due already, and the next run takes them on."
