"""`maap-stac demo`: submits simulated DPS jobs with real images and follows them until they are searchable.

Here belongs how the demo is called, and how it is shown. Not here: how jobs are shown that are spoiled on purpose
(`cli.spoiled`), and the order of things (`demo`).
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maap_stac_orchestration.cli.environment import home_option, use_stack
from maap_stac_orchestration.cli.errors import Told
from maap_stac_orchestration.cli.progress import progress

if TYPE_CHECKING:
    from maap_stac_orchestration.demo.run import Report


@click.command(
    epilog="\b\nExamples:\n  maap-stac demo --jobs 12\n  maap-stac demo --spoil\n  maap-stac demo --repair",
    short_help="Submit simulated DPS jobs and follow them.",
)
@click.option("--jobs", "number", type=click.IntRange(min=1), help="Only the first so many of the 60 jobs.")
@click.option("--spoil", is_flag=True, help="Submit five more jobs, each spoiled in another way, and tell of each.")
@click.option("--repair", is_flag=True, help="Repair the spoiled jobs and follow them until all is loaded.")
@click.option(
    "--day",
    type=click.DateTime(["%Y-%m-%d"]),
    help="With --spoil, the day that the jobs pretend to have run on; with --repair, only jobs of that day.",
)
@click.option("--again", is_flag=True, help="Submit jobs that are in the bucket already once more.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=300.0,
    show_default=True,
    help="Seconds to wait for the jobs once everything is submitted.",
)
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
def command(
    number: int | None,
    spoil: bool,
    repair: bool,
    day: datetime | None,
    again: bool,
    timeout: float,
    home: Path | None,
    as_json: bool,
) -> int:
    """Submits simulated DPS jobs with real images and follows them until their items are searchable.

    They are the case that MAAP shows its users: cloud-free mosaics of HLS imagery in a grid of 12 boxes for the months
    June to October 2024, 60 jobs of the user henrydevseed. Jobs that are in the bucket already are only followed.

    With --spoil there are five more, tagged `spoiled`, each with a fault that people really make. What went wrong
    with them, and what to do about it, then stands on their status pages, in the Dagster UI and in `maap-stac show`.
    --repair does what their authors and an administrator would do. Exits with 1 when a job does not end as it should.
    """
    _check_use(number, spoil=spoil, repair=repair, day=day, again=again)
    use_stack(home, ("MAAP_STAC_BUCKETS", "MAAP_STAC_PUBLIC_URL", *(("PGHOST",) if spoil or repair else ())))
    from maap_stac_orchestration.demo.follow import ApiUnavailable
    from maap_stac_orchestration.demo.submit import BucketUnavailable

    try:
        if spoil or repair:
            from maap_stac_orchestration.cli import spoiled

            of = day.date() if day else None
            seconds = timedelta(seconds=timeout)
            if spoil:
                return spoiled.spoil(of, again, seconds, as_json=as_json)
            return spoiled.repair(of, seconds, as_json=as_json)
        return _demo(number, again, timeout, as_json=as_json)
    except (ApiUnavailable, BucketUnavailable) as error:
        raise Told(f"{error} See `maap-stac status`.") from error


def _check_use(number: int | None, *, spoil: bool, repair: bool, day: datetime | None, again: bool) -> None:
    if spoil and repair:
        raise click.UsageError("--spoil and --repair come one after the other; name one of them")
    if number is not None and (spoil or repair):
        raise click.UsageError("--jobs counts jobs of the demo; there are always five spoiled ones")
    if day is not None and not (spoil or repair):
        raise click.UsageError("--day belongs to --spoil and --repair")
    if again and repair:
        raise click.UsageError("--again submits jobs; use it with --spoil, then repair those")


def _demo(number: int | None, again: bool, timeout: float, *, as_json: bool) -> int:
    from maap_stac_orchestration.demo.jobs import demo_jobs

    report = _run(demo_jobs()[:number], again, timeout, quiet=as_json)
    if as_json:
        click.echo(json.dumps(_document(report), indent=2))
    else:
        _show(report, timeout)
    return 1 if report.missing else 0


def _run(jobs: Any, again: bool, timeout: float, *, quiet: bool) -> Report:
    from maap_stac_orchestration.demo import run as demo
    from maap_stac_orchestration.demo.jobs import default_collection
    from maap_stac_orchestration.settings import settings

    configured = settings()
    assert configured.public_url is not None  # use_stack has seen to it
    with progress([event.capitalize() for event in demo.Event], len(jobs), quiet=quiet) as advance:
        return demo.run(
            jobs,
            bucket=configured.buckets[0],
            api_url=configured.public_url,
            collection=default_collection(configured.default_collection_template),
            again=again,
            timeout=timedelta(seconds=timeout),
            on_event=lambda event, _job: advance(event.capitalize()),
        )


def _show(report: Report, timeout: float) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    if report.already_there:
        console.print(f"{report.already_there} of {len(report.jobs)} jobs were in the bucket already.")
    if report.missing:
        console.print(
            f"[red]{len(report.missing)} of {len(report.jobs)} jobs are not searchable {timeout:.0f} s after the last "
            "upload:[/red]"
        )
        for reason in report.reasons:
            console.print(f"  {reason}", markup=False)
        console.print("Look at them with `maap-stac show PREFIX`; `maap-stac demo --again` submits them once more.")
    else:
        console.print(f"[green]All {len(report.jobs)} jobs are searchable[/green] after {report.seconds:.0f} s.")
    answers = report.answers
    console.print(f'\n[dim]>>> client.collection_search(q="{answers.user}")[/dim]')
    for collection in answers.collections:
        console.print(collection, markup=False)
    console.print(f'\n[dim]>>> client.search(collections="{answers.collection}", datetime="{answers.day}")[/dim]')
    for item in answers.items:
        console.print(item, markup=False)
    console.print(f"{len(answers.items)} items")


def _document(report: Report) -> dict[str, Any]:
    return {
        "jobs": [
            {"prefix": one.prefix, "item": one.job.item_id, "searchable": one not in report.missing}
            for one in report.jobs
        ],
        "already_there": report.already_there,
        "searchable": len(report.jobs) - len(report.missing),
        "missing": list(report.reasons),
        "seconds": round(report.seconds, 3),
        "collections": list(report.answers.collections),
        "search": {
            "collection": report.answers.collection,
            "datetime": report.answers.day,
            "items": list(report.answers.items),
        },
    }
