"""`maap-stac discover`: puts old outputs into the ledger, from the buckets themselves or from an inventory of S3.

Here belongs how it is called, how far it has come and how it goes on. Not here: listing (`pipeline.discover`) and
reading inventories (`pipeline.inventory`).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maap_stac_orchestration.cli.environment import home_option, use_stack
from maap_stac_orchestration.cli.errors import Told
from maap_stac_orchestration.cli.terminal import print_table, printable
from maap_stac_orchestration.cli.times import MOMENT

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from maap_stac_orchestration.discovery.inventory import Manifest
    from maap_stac_orchestration.ledger.connection import Connection
    from maap_stac_orchestration.ledger.listed_days import DayListed
    from maap_stac_orchestration.settings import Settings

#: How long a listing counts for `--resume`.
RECENT = timedelta(hours=24)
#: Days with catalogs that are shown one by one; of more than these, months are.
SHOWN_DAYS = 31
#: What a shell says of a command that was stopped by Ctrl-C.
_STOPPED = 130


@click.command(
    epilog="\b\nExamples:\n"
    "  maap-stac discover --from 2024-01-01 --dry-run\n"
    "  maap-stac discover --from 2024-01-01 --to 2025-12-31\n"
    "  maap-stac discover --from 2024-01-01 --to 2025-12-31 --resume\n"
    "  maap-stac discover --inventory s3://inventories/ops/all/2026-03-02T01-00Z/manifest.json",
    short_help="Put old outputs into the ledger.",
)
@click.option(
    "--from", "first", type=MOMENT, help="The first day (UTC), or how long ago (90d).  [default: MAAP_STAC_FIRST_DAY]"
)
@click.option("--to", "last", type=MOMENT, help="The last day (UTC), itself included.  [default: today]")
@click.option(
    "--inventory", metavar="URI", help="The manifest.json of an S3 inventory (CSV, Parquet, ORC): s3://… or a path."
)
@click.option(
    "--bucket", "only", multiple=True, help="This bucket of MAAP_STAC_BUCKETS; may be repeated.  [default: all]"
)
@click.option("--dry-run", is_flag=True, help="Count what is there and what of it is new, and write nothing.")
@click.option("--resume", is_flag=True, help="Leave out days that were listed whole in the last 24 hours.")
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    first: datetime | None,
    last: datetime | None,
    inventory: str | None,
    only: tuple[str, ...],
    dry_run: bool,
    resume: bool,
    home: Path | None,
    as_json: bool,
) -> None:
    """Finds the catalogs of jobs of some days in the buckets, or in an S3 inventory, and makes those due that the
    ledger does not know, at low priority: runs of the last days go first.

    Days are those of the output prefixes. They are listed a month at a time, newest first, and what is found is kept as
    it is met. Broken off, the command that goes on is told; of an inventory, files that were read whole are left out by
    themselves.

    Exit code: 0 when it is done, 2 when something could not be read or for wrong use, 130 when it was stopped.
    """
    if inventory is not None and (first or last or only or resume):
        raise click.UsageError(
            "An inventory is of one bucket and of all days, and goes on by itself: leave out --from, --to, --bucket and"
            " --resume, or --inventory."
        )
    use_stack(home, ("PGHOST", "MAAP_STAC_BUCKETS"))
    from maap_stac_orchestration.cli.database import ledger
    from maap_stac_orchestration.settings import Settings

    settings = Settings.from_environment()
    buckets = _buckets(settings, only)
    again = _Again(only, home)
    with ledger("discover", autocommit=False) as conn:
        # Whatever a count does by mistake, the database does not take it.
        conn.read_only = dry_run
        if inventory is not None:
            report = _read(conn, _client(), settings, inventory, dry_run, again)
        else:
            span = _span(settings, first, last)
            report = _list(conn, _client(), buckets, span, resume, dry_run, again)
    if as_json:
        click.echo(json.dumps(report.document, indent=2, ensure_ascii=False))
    else:
        _show(report, settings)


@dataclass(frozen=True, slots=True)
class _Report:
    """What it came to."""

    dry_run: bool
    #: What was looked at, in sentences.
    about: tuple[str, ...]
    #: Day -> catalogs, and what of them is new; days with none are left out.
    by_day: Mapping[date, tuple[int, int]]
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Again:
    """What the command was called with, for telling how it goes on."""

    only: tuple[str, ...]
    home: Path | None

    def command(self, *arguments: str) -> str:
        """The command with these arguments."""
        words = ["maap-stac", "discover", *arguments]
        for bucket in self.only:
            words += ["--bucket", bucket]
        if self.home is not None:
            words += ["--home", str(self.home)]
        return shlex.join(words)


def _buckets(settings: Settings, only: Sequence[str]) -> tuple[str, ...]:
    for bucket in only:
        if bucket not in settings.buckets:
            known = ", ".join(settings.buckets)
            raise click.UsageError(f"--bucket {bucket} is none of MAAP_STAC_BUCKETS ({known}); runs read no other.")
    return tuple(dict.fromkeys(only or settings.buckets))


def _span(settings: Settings, first: datetime | None, last: datetime | None) -> tuple[date, date]:
    begins = first.date() if first else settings.first_day
    if begins is None:
        raise click.UsageError("Say with --from which day to begin with, or set MAAP_STAC_FIRST_DAY.")
    ends = last.date() if last else datetime.now(UTC).date()
    if begins > ends:
        raise click.UsageError(f"--from {begins} is later than --to {ends}.")
    return begins, ends


def _client() -> S3Client:
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    from maap_stac_orchestration.pipeline.inventory import ASKED_AT_ONCE
    from maap_stac_orchestration.store.aws import client

    try:
        found: S3Client = client("s3", config=Config(max_pool_connections=ASKED_AT_ONCE))
    except (BotoCoreError, ValueError) as error:
        raise Told(
            f"S3 cannot be reached: {error}. Set AWS_REGION, credentials and, elsewhere, AWS_ENDPOINT_URL."
        ) from error
    return found


# Listing


@dataclass(slots=True)
class _Whole:
    """Which days were listed whole so far."""

    buckets: int
    times: dict[date, int] = field(default_factory=dict)

    def add(self, days: Mapping[date, DayListed]) -> None:
        """Takes days that were listed whole in one of the buckets."""
        for day in days:
            self.times[day] = self.times.get(day, 0) + 1

    def in_all(self) -> list[date]:
        """Days that were in each."""
        return [day for day, times in self.times.items() if times == self.buckets]


def _list(
    conn: Connection,
    s3: S3Client,
    buckets: tuple[str, ...],
    span: tuple[date, date],
    resume: bool,
    dry_run: bool,
    again: _Again,
) -> _Report:
    from maap_stac_orchestration.discovery.found import SourceUnavailable
    from maap_stac_orchestration.ledger import listed_days
    from maap_stac_orchestration.ledger.listed_days import Source
    from maap_stac_orchestration.pipeline.discover import BACKFILL, list_days

    first, last = span
    days = [last - timedelta(days=back) for back in range((last - first).days + 1)]
    left_out: set[date] = set()
    if resume:
        left_out = listed_days.since(conn, buckets, days, datetime.now(UTC) - RECENT)
        conn.commit()
        days = [day for day in days if day not in left_out]
    whole = _Whole(len(buckets))

    def stopped(why: str, exit_code: int) -> Told:
        done = whole.in_all()
        arguments = ["--from", str(first), "--to", str(last), "--dry-run" if dry_run else "--resume"]
        how_far = f"{_many(len(done), 'day')} of {len(days):,} listed" + (f", back to {min(done)}" if done else "")
        kept = "Nothing was written" if dry_run else "What was found is kept"
        goes_on = "Count again with" if dry_run else "Go on with"
        return Told(f"{why}{how_far}. {kept}. {goes_on}: {again.command(*arguments)}", exit_code)

    with _progress("days", len(days) * len(buckets)) as advance:

        def told(bucket: str, listed: Mapping[date, DayListed]) -> None:
            whole.add(listed)
            advance(
                len(listed), sum(day.catalogs for day in listed.values()), sum(day.new for day in listed.values()), None
            )

        try:
            listed = list_days(
                conn, s3, buckets, days, priority=BACKFILL, source=Source.DISCOVER, dry_run=dry_run, told=told
            )
        except KeyboardInterrupt:
            raise stopped("Stopped: ", _STOPPED) from None
        except SourceUnavailable as error:
            raise stopped(f"{error} ", 2) from error
    by_day = {day: (one.catalogs, one.new) for day, one in sorted(listed.by_day.items()) if one.catalogs}
    about = [f"Listed {_many(len(days), 'day')} from {first} to {last} in {', '.join(buckets)}."]
    if left_out:
        about.append(f"{_many(len(left_out), 'day')} left out: listed whole in the last 24 hours.")
    document = {
        "dry_run": dry_run,
        "from": str(first),
        "to": str(last),
        "buckets": list(buckets),
        "days": len(days),
        "left_out": len(left_out),
        **_sums(by_day),
        "seconds": round(listed.seconds, 3),
    }
    return _Report(dry_run, tuple(about), by_day, document)


# Inventories


def _read(
    conn: Connection,
    s3: S3Client,
    settings: Settings,
    address: str,
    dry_run: bool,
    again: _Again,
) -> _Report:
    import time
    from functools import partial

    from maap_stac_orchestration.discovery.days import first_day, partition_of
    from maap_stac_orchestration.discovery.found import SourceUnavailable
    from maap_stac_orchestration.discovery.inventory import InventoryUnusable, read_manifest
    from maap_stac_orchestration.pipeline.inventory import Tally, check_source, files_left, read_inventory

    began = time.monotonic()
    try:
        manifest = read_manifest(address, s3)
        check_source(manifest, settings.buckets)
    except (InventoryUnusable, SourceUnavailable) as error:
        raise Told(str(error)) from error
    files = files_left(conn, manifest)
    conn.commit()
    partition = partial(partition_of, first=first_day(settings), today=datetime.now(UTC).date())
    read: list[tuple[str, Tally]] = []

    def stopped(why: str, exit_code: int) -> Told:
        arguments = ["--inventory", address, *(["--dry-run"] if dry_run else [])]
        kept = "Nothing was written" if dry_run else "What was found is kept, and files that were read are left out"
        goes_on = "Count again with" if dry_run else "Go on with"
        how_far = f"{_many(len(read), 'file')} of {len(files):,} read"
        return Told(f"{why}{how_far}. {kept}. {goes_on}: {again.command(*arguments)}", exit_code)

    with _progress("files", len(files)) as advance:
        before = Tally()

        def told(tally: Tally) -> None:
            nonlocal before
            advance(0, tally.catalogs - before.catalogs, tally.new - before.new, tally.keys - before.keys)
            before = Tally(tally.keys, tally.catalogs, tally.new)

        try:
            for file, tally in read_inventory(
                conn, s3, manifest, files, partition=partition, dry_run=dry_run, told=told
            ):
                read.append((file.key, tally))
                told(tally)
                before = Tally()
                advance(1, 0, 0, 0)
        except KeyboardInterrupt:
            raise stopped("Stopped: ", _STOPPED) from None
        except (InventoryUnusable, SourceUnavailable) as error:
            raise stopped(f"{error} ", 2) from error
    return _inventory_report(manifest, read, dry_run, time.monotonic() - began)


def _inventory_report(manifest: Manifest, read: list[tuple[str, Any]], dry_run: bool, seconds: float) -> _Report:
    by_day: dict[date, tuple[int, int]] = {}
    for _, tally in read:
        for day, count in tally.by_day.items():
            catalogs, new = by_day.get(day, (0, 0))
            by_day[day] = (catalogs + count.catalogs, new + count.new)
    by_day = dict(sorted(by_day.items()))
    sums = {
        name: sum(getattr(tally, name) for _, tally in read)
        for name in ("keys", "nested", "superseded", "gone", "unreadable")
    }
    of = "" if manifest.created is None else f", of {manifest.created:%Y-%m-%d %H:%M} UTC"
    files, keys = _many(len(read), "file"), _many(sums["keys"], "key")
    about = [f"Read {files} of the inventory of {manifest.source_bucket}{of}: {keys}."]
    if left_out := len(manifest.files) - len(read):
        about.append(f"{_many(left_out, 'file')} left out: read whole before.")
    for name, what in (
        ("nested", "{} below a catalog at the root of their job: they belong to that."),
        ("superseded", "{} not the latest version, or deleted."),
        ("gone", "{} gone from the bucket by now."),
    ):
        if sums[name]:
            about.append("Left out: " + what.format(_many(sums[name], "catalog")))
    if sums["unreadable"]:
        keys = _many(sums["unreadable"], "key")
        about.append(f"Left out: {keys} like a catalog's that cannot be kept: no UTF-8, a NUL, or longer than S3 has.")
    document = {
        "dry_run": dry_run,
        "inventory": manifest.address,
        "bucket": manifest.source_bucket,
        "files": [
            {"file": file, "keys": tally.keys, "catalogs": tally.catalogs, "new": tally.new} for file, tally in read
        ],
        "left_out": left_out,
        **sums,
        **_sums(by_day),
        "seconds": round(seconds, 3),
    }
    return _Report(dry_run, tuple(about), by_day, document)


# Printing


def _sums(by_day: Mapping[date, tuple[int, int]]) -> dict[str, Any]:
    catalogs, new = _sum(by_day)
    return {
        "catalogs": catalogs,
        "new": new,
        "known": catalogs - new,
        "by_day": [{"day": str(day), "catalogs": catalogs, "new": new} for day, (catalogs, new) in by_day.items()],
    }


def _sum(by_day: Mapping[date, tuple[int, int]]) -> tuple[int, int]:
    return sum(catalogs for catalogs, _ in by_day.values()), sum(new for _, new in by_day.values())


def _show(report: _Report, settings: Settings) -> None:
    from rich.table import Table

    for sentence in report.about:
        click.echo(printable(sentence))
    catalogs, new = _sum(report.by_day)
    if catalogs == 0:
        click.echo("There are no catalogs of jobs.")
        return
    by_month = len(report.by_day) > SHOWN_DAYS
    rows: dict[str, tuple[int, int]] = {}
    for day, (some, news) in sorted(report.by_day.items(), reverse=True):
        name = f"{day:%Y-%m}" if by_month else str(day)
        before = rows.get(name, (0, 0))
        rows[name] = (before[0] + some, before[1] + news)
    table = Table(box=None, show_footer=True)
    table.add_column("month" if by_month else "day", footer="in all", no_wrap=True)
    for name, total in (("catalogs", catalogs), ("new", new), ("known", catalogs - new)):
        table.add_column(name, footer=f"{total:,}", justify="right", no_wrap=True)
    for name, (some, news) in rows.items():
        table.add_row(name, f"{some:,}", f"{news:,}", f"{some - news:,}")
    print_table(table)
    days = sum(1 for _, news in report.by_day.values() if news)
    if report.dry_run:
        click.echo("Nothing was written. Without --dry-run the new ones are put into the ledger, at low priority.")
    elif new == 0:
        click.echo("The ledger knew them all; nothing is to be done.")
    else:
        click.echo(
            f"{_many(new, 'catalog')} of {_many(days, 'day')} put into the ledger at low priority. The sensor"
            " new_catalogs asks for runs of those days, after those of live work."
        )
        page = "" if settings.public_url is None else f" {settings.public_url.rstrip('/')}/status does too."
        click.echo(f"`maap-stac jobs --state discovered` shows what is left to do.{page}")


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


@contextmanager
def _progress(steps: str, total: int) -> Iterator[Callable[[int, int, int, int | None], None]]:
    """Shows on stderr, at a terminal, how far it has come; gives what adds steps, catalogs, new ones and keys."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        MofNCompleteColumn(),
        TextColumn(steps),
        BarColumn(),
        TextColumn("{task.fields[found]:,} found, {task.fields[new]:,} new, {task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    counts = {"found": 0, "new": 0, "keys": 0}
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bars:
        task = bars.add_task("", total=total, found=0, new=0, rate="")

        def advance(done: int, found: int, new: int, keys: int | None) -> None:
            counts["found"] += found
            counts["new"] += new
            counts["keys"] += keys or 0
            seconds = max(bars.tasks[0].elapsed or 0.0, 0.1)
            what, number = ("catalogs", counts["found"]) if keys is None else ("keys", counts["keys"])
            bars.update(
                task, advance=done, found=counts["found"], new=counts["new"], rate=f"{number / seconds:,.0f} {what}/s"
            )

        yield advance
