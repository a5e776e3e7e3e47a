"""`maap-stac jobs`: what became of jobs, newest first, counted by group, or followed until they have ended.

Here belongs which jobs are asked for and how lists of them are printed. Not here: watching them (`following`), one job
in full (`show`), and the questions to the ledger (`ledger.jobs`).
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maap_stac_orchestration.cli.database import ledger, telling
from maap_stac_orchestration.cli.environment import home_option, use_stack
from maap_stac_orchestration.cli.following import STYLES, TROUBLED, Lines, Live, Standing, View, clock, follow
from maap_stac_orchestration.cli.terminal import fits, print_table, printable
from maap_stac_orchestration.cli.times import MOMENT
from maap_stac_orchestration.ledger.records import JobFilter, JobSummary, State
from maap_stac_orchestration.problems import WORDINGS, Code, Severity

if TYPE_CHECKING:
    from rich.console import Console

    from maap_stac_orchestration.ledger.connection import Connection
    from maap_stac_orchestration.ledger.records import GroupSummary, JobPage

#: Jobs that are asked for at once.
_PAGE = 1_000
#: Jobs whose problems are counted when all have ended, the newest of them.
_MOST_COUNTED = 20_000
#: Options that change what matches while jobs go their way.
_PASSING = ("state", "code")


@click.command(
    epilog="""\b
Examples:
  maap-stac jobs --username jsmith --state partial --since 2d
  maap-stac jobs --by username,tag --since 2026-03-01
  maap-stac jobs --tag demo --follow --expect 60""",
    short_help="List what became of jobs; follow them until they have ended.",
)
@click.option("--username", help="Jobs of this user.")
@click.option("--algorithm", help="Jobs of this algorithm.")
@click.option("--version", help="Jobs of this version of the algorithm.")
@click.option("--tag", help="Jobs with this tag.")
@click.option("--state", type=click.Choice([str(state) for state in State]), help="Jobs in this state.")
@click.option("--collection", help="Jobs with items in this collection.")
@click.option("--code", type=click.Choice([str(code) for code in Code]), metavar="CODE", help="Jobs with this problem.")
@click.option("--run-id", help="Jobs that this Dagster run took on.")
@click.option("--since", type=MOMENT, help="Jobs that ran at this time (UTC), or so long ago (2d), or later.")
@click.option("--until", type=MOMENT, help="Jobs that ran before this time (UTC), or longer ago than this (3h).")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@click.option("--all", "everything", is_flag=True, help="As many as there are.")
@click.option(
    "--by", metavar="FIELDS", help="Count by state instead, for each username, algorithm, version or tag, with commas."
)
@click.option("--follow", "following", is_flag=True, help="Show how they are doing until all that match have ended.")
@click.option("--expect", type=click.IntRange(1), default=1, help="With --follow: wait until so many match.")
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), help="With --follow: give up after so many seconds."
)
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, in the form of GET /jobs.")
def command(
    state: str | None,
    code: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    everything: bool,
    by: str | None,
    following: bool,
    expect: int,
    timeout: float | None,
    home: Path | None,
    as_json: bool,
    **names: str | None,
) -> int:
    """Lists what became of jobs, newest first, straight from the ledger.

    With --follow it exits when every job that matches has ended: with 1 when any of them is partial, rejected or
    failed, or the time is over.
    """
    asked = JobFilter(
        state=None if state is None else State(state),
        code=code,
        since=since,
        until=until,
        **names,
    )
    fields = _fields(by)
    if following:
        _refuse_with_follow({"state": state, "code": code, "by": by})
    elif expect > 1 or timeout is not None:
        raise click.UsageError("--expect and --timeout say how long to --follow; add it, or leave them out.")
    use_stack(home, ("PGHOST",))
    if following:
        with telling():
            return _follow(asked, expect, timeout, as_json=as_json)
    if fields:
        _count(asked, fields, as_json=as_json)
    else:
        _list(asked, None if everything else limit, as_json=as_json)
    return 0


def _fields(by: str | None) -> tuple[str, ...]:
    from maap_stac_orchestration.ledger.jobs import GROUP_FIELDS

    fields = tuple(dict.fromkeys(field.strip() for field in by.split(","))) if by is not None else ()
    unknown = [field for field in fields if field not in GROUP_FIELDS]
    if unknown:
        raise click.UsageError(
            f"--by takes one or more of {', '.join(GROUP_FIELDS)} with commas between them, not {', '.join(unknown)!r}."
        )
    return fields


def _refuse_with_follow(given: dict[str, str | None]) -> None:
    wrong = [name for name, value in given.items() if value is not None]
    if wrong:
        raise click.UsageError(
            f"--{wrong[0]} does not go with --follow, which watches jobs through all states; choose them by username, "
            "tag, algorithm, version, collection, run or time."
        )


def _list(asked: JobFilter, limit: int | None, *, as_json: bool) -> None:
    from maap_stac_orchestration.ledger import documents

    with ledger("jobs") as connection:
        page = _pages(connection, asked, limit)
    if as_json:
        click.echo(json.dumps(documents.page_document(page), indent=2))
        if page.next_token:
            click.echo(f"These are the newest {limit}; --limit or --all give more.", err=True)
    else:
        _show(page)


def _pages(connection: Connection, asked: JobFilter, limit: int | None) -> JobPage:
    """As many jobs as are wanted, page after page; None for all."""
    from maap_stac_orchestration.ledger.jobs import list_jobs
    from maap_stac_orchestration.ledger.records import JobPage

    jobs: list[JobSummary] = []
    token: str | None = None
    while True:
        page = list_jobs(connection, asked, limit=min(_PAGE, (limit or _PAGE + len(jobs)) - len(jobs)), token=token)
        jobs += page.jobs
        token = page.next_token
        if token is None or len(jobs) == limit:
            return JobPage(tuple(jobs), token)


def _show(page: JobPage) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not page.jobs:
        click.echo("No such job has come to notice.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("state", "ran at (UTC)", "items", "problems", "output prefix"):
        table.add_column(title, no_wrap=True)
    for job in page.jobs:
        state = Text(str(job.state), STYLES[job.state])
        problems = Text(", ".join(job.problem_codes), "yellow")
        table.add_row(state, f"{job.time:%Y-%m-%d %H:%M:%S}", items(job), problems, Text(printable(job.prefix)))
    console = Console(highlight=False)
    if not fits(console, table):
        _show_on_two_lines(console, page)
    else:
        print_table(table)
    if page.next_token:
        click.echo(f"These are the newest {len(page.jobs)}; --limit and --all show more, the other options pick.")
    if console.is_terminal:
        click.echo("`maap-stac show PREFIX` tells everything about one.")


def _show_on_two_lines(console: Console, page: JobPage) -> None:
    """Where a row is too narrow for a prefix: it has a line of its own, which only the terminal breaks, and so it can
    be copied whole."""
    from rich.padding import Padding
    from rich.text import Text

    width = max(len(items(job)) for job in page.jobs)
    for job in page.jobs:
        line = Text(f"{job.state:<10}", STYLES[job.state])
        line.append(f"  {job.time:%Y-%m-%d %H:%M:%S}  {items(job):<{width}}", "default")
        problems = Text(", ".join(job.problem_codes), "yellow")
        if fits := len(line) + 2 + len(problems) <= console.width:
            line.append("  ").append(problems)
        console.print(line, soft_wrap=True)
        if not fits:
            console.print(Padding(problems, (0, 0, 0, 12)))
        console.print(Text(f"  {printable(job.prefix)}", "dim"), soft_wrap=True)
    console.print()


def items(job: JobSummary) -> str:
    """The counts of a job's items in few words: those in their collection, and those that were refused."""
    there = job.loaded + job.unchanged
    counted = f"{there} item{'' if there == 1 else 's'}"
    return f"{counted}, {job.refused} refused" if job.refused else counted


def _count(asked: JobFilter, fields: Sequence[str], *, as_json: bool) -> None:
    from maap_stac_orchestration.ledger import documents
    from maap_stac_orchestration.ledger.jobs import summary

    with ledger("jobs") as connection:
        groups = summary(connection, by=fields, filter=asked)
    if as_json:
        click.echo(json.dumps(documents.summary_document(groups, fields), indent=2))
    else:
        _show_groups(groups, fields)


def _show_groups(groups: Sequence[GroupSummary], fields: Sequence[str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not groups:
        click.echo("No such job has come to notice.")
        return
    states = [state for state in STYLES if any(group.states.get(state) for group in groups)]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for field in fields:
        table.add_column(field, overflow="fold")
    for number in ("jobs", *states, "items", "refused"):
        table.add_column(str(number), justify="right", no_wrap=True)
    table.add_column("changed (UTC)", no_wrap=True)
    for group in groups:
        counts = [Text(str(group.states.get(state) or "–"), STYLES[state]) for state in states]
        table.add_row(
            *(Text(printable(group.group[field] or "–")) for field in fields),
            str(group.jobs),
            *counts,
            str(group.loaded + group.unchanged),
            str(group.refused),
            f"{group.updated:%Y-%m-%d %H:%M}",
        )
    console = Console()
    if not fits(console, table):
        _show_groups_in_few_columns(console, groups, fields)
    else:
        print_table(table)


def _show_groups_in_few_columns(console: Console, groups: Sequence[GroupSummary], fields: Sequence[str]) -> None:
    """Where there is no room for a column for each state."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(*fields, box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    table.add_column("jobs", justify="right", no_wrap=True)
    table.add_column("by state")
    table.add_column("items", justify="right")
    for group in groups:
        standing = Standing({State(state): number for state, number in group.states.items()})
        words = "\n".join(standing.words().split(", "))
        there = group.loaded + group.unchanged
        counted = f"{there}\n{group.refused} refused" if group.refused else str(there)
        table.add_row(
            *(Text(printable(group.group[field] or "–")) for field in fields), str(group.jobs), words, counted
        )
    console.print(table)


# Following.


def _follow(asked: JobFilter, expect: int, timeout: float | None, *, as_json: bool) -> int:
    """Follows the jobs, prints how they ended, and gives the exit code."""
    look = _Look(asked)
    try:
        standing, seconds, ended = follow(look, _view(expect, as_json=as_json), expect=expect, timeout=timeout)
        problems = look.problems()
    finally:
        look.close()
    if as_json:
        document = {
            "jobs": standing.jobs,
            "ended": ended,
            "seconds": round(seconds, 1),
            "states": {str(state): number for state, number in standing.states.items() if number},
            "items": {name: getattr(standing, name) for name in ("loaded", "unchanged", "fallback", "refused")},
            "problems": [asdict(problem) for problem in problems],
        }
        click.echo(json.dumps(document, indent=2))
    else:
        _tell(asked, standing, seconds, ended, expect, problems)
    return 1 if standing.troubled or not ended else 0


def _view(expect: int, *, as_json: bool) -> View:
    """A live view where a terminal is, on stderr where the document is printed on stdout; else lines."""
    from rich.console import Console

    console = Console(stderr=as_json, highlight=False)
    if console.is_terminal:
        return Live(console, expect)

    def write(line: str) -> None:
        # Whoever reads along reads it now.
        print(line, file=sys.stderr if as_json else sys.stdout, flush=True)

    return Lines(write, expect)


@dataclass(frozen=True, slots=True)
class _Counted:
    """How many of the jobs have a problem of one code."""

    code: str
    severity: str
    jobs: int
    fix: str


class _Look:
    """Looks at how the jobs are doing, over a connection that is opened anew when it broke."""

    def __init__(self, asked: JobFilter) -> None:
        self._asked = asked
        self._connection = self._open()

    @staticmethod
    def _open() -> Connection:
        from maap_stac_orchestration.ledger.connection import connect

        return connect(application_name="maap-stac jobs", autocommit=True)

    def __call__(self) -> Standing:
        import psycopg

        try:
            return self._standing()
        except psycopg.OperationalError:
            # The database was restarted, or somebody ended the connection; whether it answers now is told by opening.
            self.close()
            self._connection = self._open()
            return self._standing()

    def _standing(self) -> Standing:
        from maap_stac_orchestration.ledger.jobs import summary

        # By the user, of whom there are fewest; what counts is the sum.
        groups = summary(self._connection, by=("username",), filter=self._asked)
        states: Counter[State] = Counter()
        for group in groups:
            states.update({State(state): number for state, number in group.states.items()})
        return Standing(
            states=dict(states),
            loaded=sum(group.loaded for group in groups),
            unchanged=sum(group.unchanged for group in groups),
            fallback=sum(group.fallback for group in groups),
            refused=sum(group.refused for group in groups),
        )

    def problems(self) -> list[_Counted]:
        """The problems that the jobs have, errors first, those of most jobs first."""
        counted = Counter(code for job in self._newest() for code in job.problem_codes)
        worded = {code: WORDINGS[Code(code)] for code in counted if code in set(Code)}
        found = [
            _Counted(code, str(worded[code].severity), jobs, worded[code].fix)
            for code, jobs in counted.most_common()
            if code in worded
        ]
        return sorted(found, key=lambda one: one.severity != Severity.ERROR)

    def _newest(self) -> Iterator[JobSummary]:
        yield from _pages(self._connection, self._asked, _MOST_COUNTED).jobs

    def close(self) -> None:
        """Gives the connection back."""
        self._connection.close()


def _tell(
    asked: JobFilter, standing: Standing, seconds: float, ended: bool, expect: int, problems: Sequence[_Counted]
) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    if ended:
        jobs = "The job has" if standing.jobs == 1 else f"All {standing.jobs} jobs have"
        style = "yellow" if standing.troubled else "green"
        console.print(Text(f"{jobs} ended after {clock(seconds)}: {standing.words()}.", style))
    else:
        total = max(standing.jobs, expect)
        missing = f" {total - standing.jobs} did not come to notice." if standing.jobs < total else ""
        words = standing.words() or "none came to notice"
        told = f"{standing.ended} of {total} had ended when the time was over after {clock(seconds)}: {words}.{missing}"
        console.print(Text(told, "red"))
    for problem in problems:
        style = "red" if problem.severity == Severity.ERROR else "yellow"
        line = Text(f"  {problem.severity} {problem.code}", style)
        line.append(f" in {problem.jobs} {'job' if problem.jobs == 1 else 'jobs'}", "default")
        console.print(line)
        console.print(Text(f"    → {problem.fix}"))
    if standing.troubled:
        options = _options(asked)
        named = " or ".join(f"--state {state}" for state in TROUBLED if standing.states.get(state))
        console.print(
            Text(f"`maap-stac jobs{options}` with {named} lists the jobs, `maap-stac show PREFIX` tells why.")
        )
        console.print(Text(f"After the repair, `maap-stac retry{options}` tries them again."))


def _options(asked: JobFilter) -> str:
    """The options that ask for the same jobs again."""
    import shlex

    given = {name: value for name, value in asdict(asked).items() if value is not None}
    words = []
    for name, value in given.items():
        text = value.isoformat(timespec="seconds").replace("+00:00", "Z") if isinstance(value, datetime) else str(value)
        words += [f"--{name.replace('_', '-')}", shlex.quote(text)]
    return "".join(f" {word}" for word in words)
