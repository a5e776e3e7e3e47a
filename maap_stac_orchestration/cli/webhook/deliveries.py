"""`maap-stac webhook deliveries`: what endpoints were told, and whether they took it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from maap_stac_orchestration.cli.environment import home_option
from maap_stac_orchestration.cli.terminal import printable
from maap_stac_orchestration.cli.webhook.session import LARGEST_ID, webhook_session


@click.command(
    epilog="\b\nExample:\n  maap-stac webhook deliveries --state dead",
    short_help="List what endpoints were told.",
)
@click.option("--endpoint", type=click.IntRange(1, LARGEST_ID), help="Those to the endpoint of this number.")
@click.option("--state", type=click.Choice(["pending", "delivered", "dead"]), help="Those in this state.")
@click.option("--prefix", help="Those about the job with this output prefix.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    endpoint: int | None, state: str | None, prefix: str | None, limit: int, home: Path | None, as_json: bool
) -> None:
    """Lists deliveries of the last 30 days, newest first: about which job, to whom, how often tried, with which answer.

    Reports beside catalogs are among them; they have no endpoint.
    """
    with webhook_session(home, "webhook deliveries") as session:
        from maap_stac_orchestration.ledger.deliveries import DeliveryState, list_deliveries

        found = [
            one.to_document()
            for one in list_deliveries(
                session.connection,
                endpoint_id=endpoint,
                state=None if state is None else DeliveryState(state),
                prefix=prefix if prefix is None or prefix.endswith("/") else f"{prefix}/",
                limit=limit,
            )
        ]
    if as_json:
        click.echo(json.dumps({"deliveries": found}, indent=2))
        return
    if not found:
        click.echo("There is no such delivery.")
    for one in found:
        to = f"endpoint {one['endpoint']}" if one["endpoint"] else "report"
        tries = f"{one['attempts']} {'try' if one['attempts'] == 1 else 'tries'}"
        click.echo(printable(f"{one['id']:>6}  {one['state']:<9}  {to}  {tries}  job {one['job_state']}"))
        click.echo(printable(f"        {one['prefix']}"))
        if one["answer"]:
            again = f"; tried again at {one['due'][:19]}Z" if one["due"] else ""
            click.echo(printable(f"        {one['answer']}{again}"))
