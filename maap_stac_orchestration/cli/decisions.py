"""`maap-stac decisions`: the audit trail of who asked for which collection and what was answered."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maap_stac_orchestration.cli.environment import home_option, use_stack
from maap_stac_orchestration.cli.errors import Told
from maap_stac_orchestration.cli.terminal import printable
from maap_stac_orchestration.governance.decision import DecisionCode, Outcome

if TYPE_CHECKING:
    from maap_stac_orchestration.ledger.decisions import DecisionPage

#: How an outcome is shown: what went as asked, what went elsewhere, what went nowhere.
STYLES = {Outcome.ACCEPT: "green", Outcome.DEFAULT: "green", Outcome.FALLBACK: "yellow", Outcome.REJECT: "red"}

_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"])


@click.command(
    epilog="\b\nExample:\n  maap-stac decisions --username jsmith --decision user_not_authorized --since 2026-03-01",
    short_help="Show the audit trail of decisions.",
)
@click.option("--username", help="Decisions about jobs of this user.")
@click.option("--algorithm", help="Decisions about jobs of this algorithm.")
@click.option("--version", help="Decisions about jobs of this version of the algorithm.")
@click.option("--tag", help="Decisions about jobs with this tag.")
@click.option("--requested", help="Decisions about this collection id.")
@click.option("--collection", help="Decisions that sent items to this collection.")
@click.option("--decision", type=click.Choice([str(code) for code in DecisionCode]), help="Decisions of this code.")
@click.option("--outcome", type=click.Choice([str(one) for one in Outcome]), help="Decisions with this outcome.")
@click.option("--registry-version", help="Decisions under this version of the registry.")
@click.option("--prefix", help="Decisions about the job with this output prefix.")
@click.option("--run-id", help="Decisions that this Dagster run took.")
@click.option("--since", type=_TIME, help="Decisions taken at this time (UTC) or later.")
@click.option("--until", type=_TIME, help="Decisions taken before this time (UTC).")
@click.option("--job-since", type=_TIME, help="Decisions about jobs that ran at this time (UTC) or later.")
@click.option("--job-until", type=_TIME, help="Decisions about jobs that ran before this time (UTC).")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most so many.")
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, in the form of GET /decisions.")
def command(
    decision: str | None,
    outcome: str | None,
    since: datetime | None,
    until: datetime | None,
    job_since: datetime | None,
    job_until: datetime | None,
    limit: int,
    home: Path | None,
    as_json: bool,
    **names: str | None,
) -> None:
    """Shows the audit trail, newest first, straight from the ledger: what was asked for, what was answered, and why."""
    use_stack(home, ("PGHOST",))
    from maap_stac_orchestration.ledger.connection import DatabaseUnavailable, connect
    from maap_stac_orchestration.ledger.decisions import DecisionFilter, list_decisions
    from maap_stac_orchestration.ledger.documents import Addresses, trail_document
    from maap_stac_orchestration.settings import settings

    asked = DecisionFilter(
        code=None if decision is None else DecisionCode(decision),
        outcome=None if outcome is None else Outcome(outcome),
        since=_utc(since),
        until=_utc(until),
        job_since=_utc(job_since),
        job_until=_utc(job_until),
        **names,
    )
    try:
        with connect(application_name="maap-stac decisions") as connection:
            page = list_decisions(connection, asked, limit)
    except DatabaseUnavailable as error:
        raise Told(str(error)) from error
    if as_json:
        configured = settings()
        addresses = Addresses(api=_base(configured.public_url), dagster=_base(configured.dagster_url))
        click.echo(json.dumps(trail_document(page, addresses), indent=2))
    else:
        _show(page, limit)


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)


def _base(url: str | None) -> str | None:
    return url.rstrip("/") if url else None


def _show(page: DecisionPage, limit: int) -> None:
    from rich.console import Console
    from rich.markup import escape

    if not page.decisions:
        click.echo("No such decision was taken.")
        return
    # Lines, no table: prefixes and ids are long, and one that is broken over lines cannot be copied.
    console: Any = Console(highlight=False, soft_wrap=True)
    for one in page.decisions:
        decision = one.decision
        names = " · ".join(part for part in (one.username, f"{one.algorithm} {one.version}", one.tag) if part)
        goes = f"{decision.requested or '(nothing requested)'} → {decision.collection or 'nowhere'}"
        console.print(
            f"{one.at:%Y-%m-%d %H:%M:%S}  [{STYLES[decision.outcome]}]{decision.code}[/]  {escape(printable(names))}"
        )
        for line in (goes, f"{decision.rule}, registry {decision.registry_version}"):
            console.print(f"    {printable(line)}", markup=False)
        console.print(f"    {printable(one.job_prefix)}", markup=False, style="dim")
    if page.next_token:
        console.print(f"\nThese are the newest {limit}; --limit shows more, the other options pick.")
    console.print("\nAll times are UTC. `maap-stac show PREFIX` tells everything about a job.")
