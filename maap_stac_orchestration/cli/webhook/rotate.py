"""`maap-stac webhook rotate`: gives a webhook another secret."""

from __future__ import annotations

import json
from pathlib import Path

import click

from maap_stac_orchestration.cli.registry.session import author, change_options
from maap_stac_orchestration.cli.webhook.session import id_argument, webhook_session


@click.command(
    epilog="\b\nExample:\n  maap-stac webhook rotate 3 --reason 'The secret was in a log'",
    short_help="Give a webhook another secret.",
)
@id_argument
@change_options
def command(endpoint_id: int, reason: str, by: str | None, home: Path | None, as_json: bool) -> None:
    """Gives a webhook another secret and prints it, this once; nothing else goes to stdout.

    For a day messages carry signatures by both secrets, so that the receiver can change over.
    """
    rotated_by = author(by, reason)
    with webhook_session(home, "webhook rotate") as session:
        from maap_stac_orchestration.pipeline.notification import subscriptions

        endpoint, secret = subscriptions.rotate(session.connection, endpoint_id, rotated_by)
    if as_json:
        click.echo(json.dumps({**endpoint.to_document(), "secret": secret}, indent=2))
        return
    click.echo(secret)
    click.echo("The secret is not shown again. The one before is good for a day more.", err=True)
