"""`maap-stac webhook add`: tells an address or a topic when jobs end."""

from __future__ import annotations

import json
from pathlib import Path

import click

from maap_stac_orchestration.cli.registry.session import author, change_options
from maap_stac_orchestration.cli.terminal import printable
from maap_stac_orchestration.cli.webhook.session import of_whom, webhook_session


@click.command(
    epilog="\b\nExample:\n  maap-stac webhook add https://example.org/hook --username jsmith --state failed \\\n"
    "      --state rejected --reason 'Asked for by jsmith'",
    short_help="Tell an address or a topic when jobs end.",
)
@click.argument("address")
@click.option("--username", help="Tell of the jobs of this user.  [default: of everyone's]")
@click.option("--algorithm", help="Tell of jobs of this algorithm.  [default: of all]")
@click.option(
    *("--state", "states"),
    multiple=True,
    type=click.Choice(["loaded", "partial", "rejected", "failed"]),
    help="Tell of jobs that end like this; may be repeated.  [default: of all]",
)
@change_options
def command(
    address: str,
    username: str | None,
    algorithm: str | None,
    states: tuple[str, ...],
    reason: str,
    by: str | None,
    home: Path | None,
    as_json: bool,
) -> None:
    """Tells ADDRESS when jobs end, from the next one on: an https:// address, or the ARN of an SNS topic.

    Messages to a webhook are signed by the Standard Webhooks rules. The secret for that is printed this once, and
    nothing else goes to stdout; a topic has none.
    """
    made_by = author(by, reason)
    with webhook_session(home, "webhook add") as session:
        from maap_stac_orchestration.ledger.records import State
        from maap_stac_orchestration.pipeline.notification import subscriptions

        new = subscriptions.wanted(
            session.settings,
            address,
            username=username,
            algorithm=algorithm,
            states=[State(state) for state in states],
        )
        endpoint, secret = subscriptions.add(session.connection, new, made_by)
    document = endpoint.to_document()
    if as_json:
        click.echo(json.dumps({**document, "secret": secret}, indent=2))
        return
    if secret is not None:
        click.echo(secret)
    told = of_whom(username, algorithm, document["states"])
    click.echo(printable(f"Endpoint {endpoint.id} is told of {told} (change {endpoint.change})."), err=True)
    if secret is not None:
        click.echo("The secret is not shown again. Give it to whoever verifies the messages.", err=True)
    click.echo(f"Try it with `maap-stac webhook test {endpoint.id}`.", err=True)
