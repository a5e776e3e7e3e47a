"""`maap-stac webhook remove`: tells an endpoint nothing any more."""

from __future__ import annotations

import json
from pathlib import Path

import click

from maap_stac_orchestration.cli.registry.session import author, change_options
from maap_stac_orchestration.cli.terminal import printable
from maap_stac_orchestration.cli.webhook.session import id_argument, webhook_session


@click.command(
    epilog="\b\nExample:\n  maap-stac webhook remove 3 --reason 'The receiver was shut down'",
    short_help="Tell an endpoint nothing any more.",
)
@id_argument
@change_options
def command(endpoint_id: int, reason: str, by: str | None, home: Path | None, as_json: bool) -> None:
    """Takes an endpoint out of force, at once; what it was not told yet, it never is.

    ID is its number, which `maap-stac webhook list` shows.
    """
    removed_by = author(by, reason)
    with webhook_session(home, "webhook remove") as session:
        from maap_stac_orchestration.pipeline.notification import subscriptions

        endpoint = subscriptions.remove(session.connection, endpoint_id, removed_by)
    if as_json:
        click.echo(json.dumps(endpoint.to_document(), indent=2))
    else:
        click.echo(printable(f"Removed: endpoint {endpoint.id}, {endpoint.host} (change {endpoint.change})"))
