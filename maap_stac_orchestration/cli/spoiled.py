"""`maap-stac demo --spoil` and `--repair`: how spoiled jobs are shown, and what was done about them.

Here belongs how they are printed. Not here: how the command is called (`cli.demo`), in which ways jobs are spoiled
(`demo.spoiled`), and what is done about them (`demo.repair`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import click

from maap_stac_orchestration.cli.errors import Told
from maap_stac_orchestration.cli.progress import progress
from maap_stac_orchestration.cli.registry.session import author

if TYPE_CHECKING:
    from rich.console import Console

    from maap_stac_orchestration.demo.repair import Repair, Spoiling, Standing
    from maap_stac_orchestration.demo.spoiled import Way
    from maap_stac_orchestration.ledger.connection import Connection
    from maap_stac_orchestration.settings import Settings


def spoil(day: date | None, again: bool, timeout: timedelta, *, as_json: bool) -> int:
    """Submits the spoiled jobs and prints what is told of each; gives the exit code.

    Raises:
        ApiUnavailable, BucketUnavailable: as they say.
        Told: the database cannot be reached, or refuses.
    """
    from maap_stac_orchestration.demo import repair as demo
    from maap_stac_orchestration.demo.spoiled import WAYS

    configured, api_url = _configured()
    if again:
        with _ledger() as connection:
            demo.forget_grant(connection, configured, author(None, "The demo shows once more what a denial looks like"))
    with progress(["Submitted", "Ended"], len(WAYS), quiet=as_json) as advance:
        spoiling = demo.spoil(
            bucket=configured.buckets[0],
            api_url=api_url,
            again=again,
            day=day,
            timeout=timeout,
            on_submitted=lambda: advance("Submitted"),
            on_ended=lambda: advance("Ended"),
        )
    if as_json:
        click.echo(json.dumps(_spoiling_document(spoiling), indent=2))
    else:
        _show_spoiling(spoiling, day, timeout)
    return 0 if spoiling.as_meant else 1


def repair(day: date | None, timeout: timedelta, *, as_json: bool) -> int:
    """Repairs the spoiled jobs and prints what was done about each; gives the exit code.

    Raises:
        ApiUnavailable, BucketUnavailable: as they say.
        Told: there are no spoiled jobs, the database cannot be reached, or it refuses.
    """
    from maap_stac_orchestration.demo import repair as demo
    from maap_stac_orchestration.demo.spoiled import WAYS

    configured, api_url = _configured()
    with _ledger() as connection, progress(["Repaired"], len(WAYS), quiet=as_json) as advance:
        try:
            repairs = demo.repair(
                connection,
                configured,
                author(None, "The demo repairs the jobs that it spoiled"),
                bucket=configured.buckets[0],
                api_url=api_url,
                day=day,
                timeout=timeout,
                on_repaired=lambda: advance("Repaired"),
            )
        except demo.NotSpoiled as error:
            raise Told(str(error), 1) from error
    if as_json:
        click.echo(json.dumps(_repairs_document(repairs), indent=2))
    else:
        _show_repairs(repairs, timeout)
    return 0 if all(one.standing.repaired for one in repairs) else 1


def _configured() -> tuple[Settings, str]:
    """The settings, and the address of the API, which `use_stack` has seen to."""
    from maap_stac_orchestration.settings import settings

    configured = settings()
    assert configured.public_url is not None
    return configured, configured.public_url


@contextmanager
def _ledger() -> Iterator[Connection]:
    from maap_stac_orchestration.ledger.connection import DatabaseUnavailable, connect
    from maap_stac_orchestration.pipeline.administer import Refused
    from maap_stac_orchestration.pipeline.registry import RegistryUnavailable

    try:
        with connect(application_name="maap-stac demo") as connection:
            yield connection
    except (DatabaseUnavailable, RegistryUnavailable, Refused) as error:
        raise Told(str(error)) from error


def _after_repair(way: Way) -> str:
    """What it takes after the repair, in a sentence."""
    from maap_stac_orchestration.demo.spoiled import Again

    return {
        Again.BY_ITSELF: "Then it is read again by itself, since its catalog.json has a new version.",
        Again.RETRY: "Then `maap-stac retry PREFIX`, since only catalog.json is watched.",
        Again.FORCED_RETRY: "Then `maap-stac retry --force PREFIX`, since the job is loaded already.",
    }[way.again]


def _show_spoiling(spoiling: Spoiling, day: date | None, timeout: timedelta) -> None:
    from rich.console import Console

    from maap_stac_orchestration.cli.following import STYLES

    console = Console(highlight=False, soft_wrap=True)
    if spoiling.already_there:
        console.print(f"{spoiling.already_there} of {len(spoiling.jobs)} spoiled jobs were in the bucket already.")
    for number, one in enumerate(spoiling.jobs, 1):
        console.print(f"\n  [bold]{number}. {one.way.name}[/bold]  {one.way.wrong}")
        _row(console, "job", one.prefix)
        if one.state is None:
            _row(console, "state", f"not noticed within {timeout.total_seconds():.0f} s")
        else:
            console.print(f"     {'state':<8}[{STYLES[one.state]}]{one.state}[/]")
        for problem in one.errors:
            _row(console, "code", problem["code"])
            _row(console, "", problem["message"])
            _row(console, "fix", problem["fix"])
        _row(console, "page", one.page)
        _row(console, "repair", "Done." if one.repaired else f"{one.way.repair} {_after_repair(one.way)}")
    console.print()
    for one in spoiling.jobs:
        if not one.as_spoiled and not one.repaired:
            console.print(f"[red]{_unexpected(one)}[/red]")
    if all(one.repaired for one in spoiling.jobs):
        console.print("All are repaired; `maap-stac demo --spoil --again` submits them once more.")
    else:
        of_day = "" if day is None else f" --day {day}"
        console.print(
            f"`maap-stac show PREFIX` tells everything about a job; `maap-stac demo --repair{of_day}` repairs all."
        )


def _row(console: Console, name: str, value: str) -> None:
    from maap_stac_orchestration.cli.terminal import printable

    console.print(f"     {name:<8}{printable(value)}", markup=False)


def _unexpected(one: Standing) -> str:
    codes = ", ".join(sorted({problem["code"] for problem in one.errors})) or "no error"
    return (
        f"{one.way.name} should be {one.way.state} because of {one.way.code}, and is "
        f"{one.state or 'not known yet'} with {codes}."
    )


def _show_repairs(repairs: Sequence[Repair], timeout: timedelta) -> None:
    from rich.console import Console

    from maap_stac_orchestration.cli.following import STYLES

    console = Console(highlight=False, soft_wrap=True)
    for number, one in enumerate(repairs, 1):
        standing = one.standing
        console.print(f"\n  [bold]{number}. {standing.way.name}[/bold]")
        _row(console, "job", standing.prefix)
        _row(console, "done", "; ".join(_done(one)) or "nothing, it is repaired already")
        if standing.state is not None:
            console.print(f"     {'state':<8}[{STYLES[standing.state]}]{standing.state}[/]")
        _row(console, "page", standing.page)
    console.print()
    left = [one.standing for one in repairs if not one.standing.repaired]
    if not left:
        console.print(f"[green]All {len(repairs)} spoiled jobs are repaired and loaded without an error.[/green]")
        return
    console.print(
        f"[red]{len(left)} of {len(repairs)} jobs are not repaired {timeout.total_seconds():.0f} s after the last "
        "upload:[/red]"
    )
    for job in left:
        because = ", ".join(sorted({problem["code"] for problem in job.errors}))
        _row(console, "", f"{job.prefix} is {job.state or 'not known'}{because and f' because of {because}'}.")
    console.print("Look at them with `maap-stac show PREFIX`; `maap-stac demo --repair` goes on.")


def _done(one: Repair) -> list[str]:
    from maap_stac_orchestration.demo.spoiled import Again

    done = []
    if one.uploaded:
        done.append(f"uploaded {', '.join(one.uploaded)}")
    if one.granted:
        done.append(f"granted {one.granted}")
    if one.retried:
        done.append("retried, forced" if one.standing.way.again is Again.FORCED_RETRY else "retried")
    return done


def _spoiling_document(spoiling: Spoiling) -> dict[str, Any]:
    return {
        "ok": spoiling.as_meant,
        "already_there": spoiling.already_there,
        "jobs": [
            {
                **_standing_document(one),
                "wrong": one.way.wrong,
                "expected": {"state": str(one.way.state), "code": str(one.way.code)},
                "as_expected": one.as_spoiled,
                "repair": one.way.repair,
                "again": str(one.way.again),
            }
            for one in spoiling.jobs
        ],
    }


def _repairs_document(repairs: Sequence[Repair]) -> dict[str, Any]:
    return {
        "ok": all(one.standing.repaired for one in repairs),
        "jobs": [
            {
                **_standing_document(one.standing),
                "uploaded": list(one.uploaded),
                "granted": one.granted,
                "retried": one.retried,
            }
            for one in repairs
        ],
    }


def _standing_document(one: Standing) -> dict[str, Any]:
    return {
        "way": one.way.name,
        "prefix": one.prefix,
        "state": None if one.state is None else str(one.state),
        "problems": [dict(problem) for problem in one.problems],
        "status_page": one.page,
        "repaired": one.repaired,
    }
