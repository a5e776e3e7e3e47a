"""`maap-stac show`: everything about one job."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maap_stac_orchestration.cli.environment import home_option, use_stack
from maap_stac_orchestration.cli.errors import Told
from maap_stac_orchestration.cli.terminal import printable

if TYPE_CHECKING:
    from rich.console import Console

    from maap_stac_orchestration.governance.decision import Decision
    from maap_stac_orchestration.ledger.records import JobDetail, Transition
    from maap_stac_orchestration.problems import ProblemDocument

#: Entries of a section that a terminal still shows in one go; `--json` has all.
_MAX_ENTRIES = 50


@click.command(
    epilog="\b\nExample:\n  maap-stac show "
    "henrydevseed/dps_output/HLSCloudFreeTemporalMosaic/v0.1.1/demo/2025/11/03/22/10/00/000417/",
    short_help="Show everything about one job.",
)
@click.argument("prefix")
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, in the form of GET /jobs/{prefix}.")
def command(prefix: str, home: Path | None, as_json: bool) -> int:
    """Shows one job with every state and its time, every decision, problem and item.

    PREFIX is the job's output prefix, with or without s3:// and the bucket before it. Exits with 1 when the job has
    problems of severity error.
    """
    use_stack(home, ("PGHOST",))
    from maap_stac_orchestration.ledger.connection import DatabaseUnavailable, connect
    from maap_stac_orchestration.ledger.documents import Addresses, job_document
    from maap_stac_orchestration.ledger.jobs import get_job
    from maap_stac_orchestration.settings import settings

    bucket, key = _parse(prefix)
    try:
        with connect(application_name="maap-stac show") as connection:
            detail = get_job(connection, key, bucket=bucket)
    except DatabaseUnavailable as error:
        raise Told(str(error)) from error
    if detail is None:
        raise Told(
            f"No job with the output prefix {key} has come to notice; a job is known once its catalog.json is in the "
            "bucket. `maap-stac jobs` lists those that are known.",
            1,
        )
    if as_json:
        configured = settings()
        addresses = Addresses(api=_base(configured.public_url), dagster=_base(configured.dagster_url))
        click.echo(json.dumps(job_document(detail, addresses), indent=2))
    else:
        _show(detail)
    return 1 if any(problem["severity"] == "error" for problem in detail.problems) else 0


def _parse(prefix: str) -> tuple[str | None, str]:
    """Bucket, where one is named, and key."""
    if not prefix.startswith("s3://"):
        return None, prefix
    bucket, _, key = prefix.removeprefix("s3://").partition("/")
    return bucket, key


def _base(url: str | None) -> str | None:
    return url.rstrip("/") if url else None


def _show(detail: JobDetail) -> None:
    from rich.console import Console
    from rich.markup import escape

    from maap_stac_orchestration.cli.following import STYLES
    from maap_stac_orchestration.cli.jobs import items

    console = Console(highlight=False, soft_wrap=True)
    job = detail.summary
    console.print(f"\n  [bold]s3://{escape(job.bucket)}/{escape(job.prefix)}[/bold]\n")
    for name, value in (
        ("user", job.username),
        ("algorithm", f"{job.algorithm} {job.version}"),
        ("tag", job.tag or "–"),
        ("collections", ", ".join(job.collections) or "–"),
        ("items", items(job)),
    ):
        console.print(f"  {name:<12}{escape(value)}")
    console.print(f"  {'state':<12}[{STYLES[job.state]}]{job.state}[/]")
    if job.due is not None:
        console.print(f"  {'again at':<12}{job.due:%Y-%m-%d %H:%M:%S} UTC")

    _section(console, "Way (UTC)", [_transition(one) for one in detail.transitions])
    _section(console, "Decisions", [_decision(one.decision) for one in detail.decisions])
    _section(console, "Problems", [_problem(one) for one in detail.problems])
    _section(console, "Items", [f"{one.result:<10} {_place(one.id, one.collection)}" for one in detail.items])
    console.print()


def _transition(one: Transition) -> str:
    run = f"attempt {one.attempt}, run {one.run_id}" if one.run_id else ""
    return f"{one.at:%Y-%m-%d %H:%M:%S}.{one.at.microsecond // 100_000}  {one.state:<11} {run}  {one.reason or ''}"


def _decision(one: Decision) -> str:
    return f"{one.code}  {_place(one.requested or '(nothing requested)', one.collection)}\n    {one.message}"


def _problem(one: ProblemDocument) -> str:
    return f"{one['severity']:<8} {one['code']}\n    {one['message']}\n    → {one['fix']}"


def _place(name: str, collection: str | None) -> str:
    return f"{name} → {collection}" if collection else name


def _section(console: Console, title: str, entries: Sequence[str]) -> None:
    """Lines, no table: ids and prefixes are long, and one that is broken over lines cannot be copied."""
    if not entries:
        return
    console.print(f"\n  [bold]{title}[/bold]")
    for entry in entries[:_MAX_ENTRIES]:
        for line in entry.splitlines():
            console.print(f"  {printable(line.rstrip())}", markup=False)
    if len(entries) > _MAX_ENTRIES:
        console.print(f"  … and {len(entries) - _MAX_ENTRIES} more; --json shows all.")
