"""`maap-stac show`: everything about one job, and what to do about it.

Here belongs how one job is named at the command line and how it is printed. Not here: lists of jobs (`jobs`), where one
item comes from (`lineage`), and the form of the JSON document (`ledger.documents`).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import click
from rich.text import Text

from maap_stac_orchestration.cli.database import ledger
from maap_stac_orchestration.cli.environment import home_option, use_stack
from maap_stac_orchestration.cli.errors import Told
from maap_stac_orchestration.cli.following import STYLES
from maap_stac_orchestration.cli.terminal import printable
from maap_stac_orchestration.dps.output_prefix import OUTPUT_FOLDER, SHARED_FOLDER, find_output_prefix, within_job
from maap_stac_orchestration.governance.decision import Outcome
from maap_stac_orchestration.ledger.records import State
from maap_stac_orchestration.problems import WORDINGS, Code, Severity

if TYPE_CHECKING:
    from rich.console import Console

    from maap_stac_orchestration.ledger.connection import Connection
    from maap_stac_orchestration.ledger.documents import Addresses
    from maap_stac_orchestration.ledger.records import JobDetail, JobItem, RecordedCatalog, Transition
    from maap_stac_orchestration.problems import ProblemDocument

#: Entries of a section that a terminal still shows in one go; `--json` has all.
_MAX_ENTRIES = 50
#: Problems of one code of which each is told.
_MAX_ALIKE = 5
_DENIED = (Outcome.FALLBACK, Outcome.REJECT)
#: Jobs of the same user that are named where the one that was asked for is not known.
_NEAR = 3


@click.command(
    epilog="\b\nExamples:\n  maap-stac show "
    "henrydevseed/dps_output/HLSCloudFreeTemporalMosaic/v0.1.1/demo/2025/11/03/22/10/00/000417/\n"
    "  maap-stac show s3://maap-ops-workspace/jsmith/dps_output/flood/v1/2025/11/03/22/10/00/000417/catalog.json",
    short_help="Show everything about one job, and what to do about it.",
)
@click.argument("prefix")
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, in the form of GET /jobs/{prefix}.")
def command(prefix: str, home: Path | None, as_json: bool) -> int:
    """Shows one job: what is wrong and what to do about it, every state with its time, every decision and item.

    PREFIX is the job's output prefix, the s3:// address of any file in it, or the address of its status page. Exits
    with 1 when the job has problems of severity error.
    """
    use_stack(home, ("PGHOST",))
    from maap_stac_orchestration.ledger.documents import job_document

    named = read_name(prefix)
    with ledger("show") as connection:
        detail = _find(connection, named)
    if as_json:
        click.echo(json.dumps(job_document(detail, addresses()), indent=2))
    else:
        _show(detail, addresses(), datetime.now(UTC))
    return 1 if any(problem["severity"] == Severity.ERROR for problem in detail.problems) else 0


def addresses() -> Addresses:
    """Where links lead, by the settings."""
    from maap_stac_orchestration.ledger.documents import Addresses
    from maap_stac_orchestration.settings import settings

    configured = settings()
    return Addresses(api=_base(configured.public_url), dagster=_base(configured.dagster_url))


def _base(url: str | None) -> str | None:
    return url.rstrip("/") if url else None


# Which job is meant.


@dataclass(frozen=True, slots=True)
class Named:
    """A job as somebody named it."""

    #: None where no bucket was named.
    bucket: str | None
    #: The output prefix; what was written where that holds none.
    prefix: str
    #: Whether it is an output prefix.
    whole: bool


def read_name(text: str) -> Named:
    """The job that is meant by an output prefix, the s3:// address of a file, or the address of a page about it."""
    text = text.strip()
    bucket: str | None = None
    key = text
    if text.startswith("s3://"):
        bucket, _, key = text.removeprefix("s3://").partition("/")
    elif text.startswith(("http://", "https://")):
        key = unquote(urlsplit(text).path)
    if bucket is None:
        # In an address, or copied with the bucket before it, a key begins with the folder above dps_output, or with
        # shared/ before that.
        above, found, _ = key.partition(f"/{OUTPUT_FOLDER}/")
        first = above.rfind("/") + 1
        if above[:first].endswith(f"/{SHARED_FOLDER}/") or above[:first] == f"{SHARED_FOLDER}/":
            first -= len(f"{SHARED_FOLDER}/")
        key = key[first:] if found else key.lstrip("/")
    prefix = find_output_prefix(key if key.endswith("/") else f"{key}/")
    return Named(bucket, prefix.key, whole=True) if prefix else Named(bucket, key, whole=False)


def _find(connection: Connection, named: Named) -> JobDetail:
    """The job.

    Raises:
        Told: it is not known; with those that may be meant.
    """
    from maap_stac_orchestration.ledger.jobs import get_job

    detail = get_job(connection, named.prefix, bucket=named.bucket)
    if detail is not None:
        return detail
    if named.bucket is not None and (other := get_job(connection, named.prefix)) is not None:
        raise Told(
            f"The job {printable(named.prefix)} has come to notice in the bucket {other.summary.bucket}, not in "
            f"{printable(named.bucket)}; ask for s3://{other.summary.bucket}/{printable(named.prefix)}.",
            1,
        )
    if named.whole:
        told = (
            f"No job with the output prefix {printable(named.prefix)} has come to notice; a job is known once its "
            "catalog.json is in the bucket."
        )
    else:
        told = (
            f"{printable(named.prefix)!r} is no output prefix, which reads username/{OUTPUT_FOLDER}/algorithm/version/"
            "[tag/]YYYY/MM/DD/HH/mm/ss/microseconds/."
        )
    raise Told(f"{told} {_near(connection, named)}", 1 if named.whole else 2)


def _near(connection: Connection, named: Named) -> str:
    from maap_stac_orchestration.ledger.jobs import list_jobs
    from maap_stac_orchestration.ledger.records import JobFilter

    username = named.prefix.removeprefix(f"{SHARED_FOLDER}/").partition("/")[0]
    page = list_jobs(connection, JobFilter(username=username), limit=_NEAR)
    if not page.jobs:
        return f"No job of {printable(username)!r} is known at all; `maap-stac jobs` lists those of everybody."
    newest = "\n".join(f"  {printable(job.prefix)}" for job in page.jobs)
    return f"The newest of {printable(username)} that are known:\n{newest}"


# How it is printed.


def _show(detail: JobDetail, links: Addresses, now: datetime) -> None:
    from rich.console import Console

    from maap_stac_orchestration.cli.jobs import items

    # Lines, no tables: ids and prefixes are long, and one that is broken over lines cannot be copied.
    console = Console(highlight=False, soft_wrap=True)
    job = detail.summary
    console.print(Text(f"\n  {printable(f's3://{job.bucket}/{job.prefix}')}\n", "bold"))
    for name, value in (
        ("user", job.username),
        ("algorithm", f"{job.algorithm} {job.version}"),
        ("tag", job.tag or "–"),
        ("ran at", f"{_time(job.time)} UTC"),
        ("collections", ", ".join(job.collections) or "–"),
        ("items", items(job)),
        ("status page", _href(links.page(job.prefix))),
        ("Dagster run", run_address(links, job.run_id)),
    ):
        if value:
            console.print(Text(f"  {name:<13}{printable(value)}"))
    console.print(Text(f"  {'state':<13}").append(str(job.state), STYLES[job.state]).append(_since(detail)))
    # Keys are shown as seen from the job's own folder, whose name stands above.
    short = within_job(job.prefix)
    _section(console, "Problems", _problems(detail.problems, short))
    _section(console, "What to do", [Text(one) for one in advice(detail, now)])
    _section(console, "Way (UTC)", _way(detail.transitions, links))
    _section(console, "Decisions", _decisions(detail))
    _section(console, "Items", [Text(printable(short(_item(one, job.bucket, links)))) for one in detail.items])
    _section(console, "Catalogs", [Text(printable(short(_catalog(one)))) for one in detail.catalogs])
    console.print()


def _since(detail: JobDetail) -> str:
    """How long it took, for a job that has ended."""
    if not detail.transitions or detail.summary.due is not None:
        return ""
    last = detail.transitions[-1].at
    first = max((one.at for one in detail.transitions if one.state is State.DISCOVERED), default=last)
    return f", {length(last - first)} after it came to notice" if last > first else ""


def _problems(problems: Sequence[ProblemDocument], short: Callable[[str], str]) -> Iterator[Text]:
    """Errors first; those of one code together, with what to do told once."""
    ordered = sorted(problems, key=lambda one: (one["severity"] != Severity.ERROR, one["code"]))
    for (severity, code, fix), alike in groupby(ordered, key=lambda one: (one["severity"], one["code"], one["fix"])):
        some = list(alike)
        times = f", {len(some)} times" if len(some) > 1 else ""
        yield Text(f"{severity} {code}{times}", "red" if severity == Severity.ERROR else "yellow")
        for one in some[:_MAX_ALIKE]:
            yield Text(f"  {printable(short(one['message']))}")
        if len(some) > _MAX_ALIKE:
            yield Text(f"  … and {len(some) - _MAX_ALIKE} more; --json shows all.")
        yield Text(f"  → {printable(fix)}", "bold")
        # Problems are kept in the words of the day; a code may have gone since.
        if code in set(Code):
            yield Text(f"  {WORDINGS[Code(code)].effect.replace('`', '')}", "dim")


def advice(detail: JobDetail, now: datetime) -> list[str]:
    """What somebody can do about the job, in sentences."""
    job = detail.summary
    prefix = shlex.quote(printable(job.prefix))
    again = f"maap-stac retry {prefix}"
    match job.state:
        case State.DISCOVERED | State.INGESTING:
            late = job.due is not None and now - job.due > timedelta(minutes=5)
            if late:
                return [f"It has been due since {_time(job.due)} and no run took it on; `maap-stac doctor` tells why."]
            return ["Nothing yet: a run takes it on by itself; ask again in a moment."]
        case State.WAITING:
            until = f", until {_time(detail.wait_until)}" if detail.wait_until and detail.wait_until > now else ""
            when = f" at {_time(job.due)} UTC" if job.due else ""
            return [f"Nothing, if it is on its way: what is missing is waited for{until}, and tried again{when}."]
        case State.FAILED:
            return [
                "Once what broke its runs is mended (the way below, and the Dagster run, tell), try it again:",
                again,
            ]
        case State.PARTIAL | State.REJECTED:
            return ["Correct what is told above, upload it to the same place, and try the job again:", again]
        case State.LOADED:
            denied = sorted(
                {one.decision.requested or "" for one in detail.told_decisions()[0] if one.decision.outcome in _DENIED}
            )
            if denied:
                wanted = printable(", ".join(denied))
                return [
                    f"Nothing has to be done. Once a grant opens {wanted}, this has it decided anew:",
                    f"{again} --force",
                ]
            if detail.problems:
                return ["Nothing has to be done. Corrected files are taken over by:", f"{again} --force"]
            return []


def _way(transitions: Sequence[Transition], links: Addresses) -> Iterator[Text]:
    before: Iterable[datetime | None] = [None, *(one.at for one, _ in pairwise(transitions))]
    run: str | None = None
    for one, earlier in zip(transitions, before, strict=True):
        passed = f"+{length(one.at - earlier)}" if earlier else ""
        attempt = f"  attempt {one.attempt}" if one.attempt > 1 else ""
        line = Text(f"{_time(one.at)}.{one.at.microsecond // 100_000}  {passed:>13}  ")
        line.append(f"{one.state:<10}", STYLES[one.state]).append(attempt)
        if one.run_id and one.run_id != run:
            line.append(f"  {printable(run_address(links, one.run_id))}", "dim")
        run = one.run_id or run
        yield line
        if one.reason:
            yield Text(f"    {printable(one.reason)}")


def _decisions(detail: JobDetail) -> Iterator[Text]:
    in_force, before = detail.told_decisions()
    for recorded in in_force:
        one = recorded.decision
        yield Text(printable(one.message), "yellow" if one.outcome in _DENIED else "default")
        yield Text(f"  {one.code}: {printable(one.rule)}, registry {printable(one.registry_version)}", "dim")
    if before:
        yield Text(f"… and {len(before)} before; `maap-stac decisions --prefix` shows all.", "dim")


def _item(one: JobItem, bucket: str, links: Addresses) -> str:
    place = f" → {one.collection}" if one.collection else ""
    where = "" if one.result == "refused" else _href(links.item(one.collection, one.id))
    return f"{one.result:<10} {one.id}{place}  {where or f's3://{bucket}/{one.source_key}'}"


def _catalog(one: RecordedCatalog) -> str:
    newer = "" if one.current else ", replaced by a newer one"
    return f"{_time(one.last_modified)}  etag {one.etag}, by {one.source}{newer}  {one.key}"


def run_address(links: Addresses, run_id: str | None) -> str:
    """Where a Dagster run can be looked at; its id where that is not known, or the run was none of Dagster's."""
    if not run_id:
        return ""
    return _href(links.run(run_id)) or f"run {run_id}"


def _href(found: Sequence[dict[str, str]]) -> str:
    return found[0]["href"] if found else ""


def _time(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if moment else ""


def length(passed: timedelta) -> str:
    """`0.4 s`, `12 s`, `3 min 5 s`, `2 h 5 min`, `3 d 4 h`."""
    seconds = passed.total_seconds()
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for larger, smaller, size, part in (("d", "h", 86_400, 3_600), ("h", "min", 3_600, 60), ("min", "s", 60, 1)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {larger} {rest} {smaller}" if rest else f"{whole // size} {larger}"
    return f"{whole} s"


def _section(console: Console, title: str, entries: Iterable[Text]) -> None:
    shown = list(entries)
    if not shown:
        return
    console.print(Text(f"\n  {title}", "bold"))
    for entry in shown[:_MAX_ENTRIES]:
        console.print(Text("    ").append(entry))
    if len(shown) > _MAX_ENTRIES:
        console.print(Text(f"    … and {len(shown) - _MAX_ENTRIES} more lines; --json shows all."))
