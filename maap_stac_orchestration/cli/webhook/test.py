"""`maap-stac webhook test`: tries an endpoint."""

from __future__ import annotations

import json
from pathlib import Path

import click

from maap_stac_orchestration.cli.environment import home_option
from maap_stac_orchestration.cli.terminal import printable
from maap_stac_orchestration.cli.webhook.session import id_argument, webhook_session


@click.command(
    epilog="\b\nExample:\n  maap-stac webhook test 3",
    short_help="Send a test message at once, and print the answer.",
)
@id_argument
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(endpoint_id: int, home: Path | None, as_json: bool) -> int:
    """Sends a signed test message to an endpoint at once, and prints what it answers.

    Its type is org.maap-project.stac.test. Exits with 1 where the endpoint does not take it; it is not sent again.
    """
    with webhook_session(home, "webhook test") as session:
        from maap_stac_orchestration.pipeline.notification import subscriptions

        answer = subscriptions.try_out(session.connection, session.settings, endpoint_id)
    if as_json:
        document = {"delivered": answer.delivered, "answer": answer.text, "body": answer.excerpt}
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(printable(f"{'Delivered' if answer.delivered else 'Not delivered'}: {answer.text}"))
        if answer.excerpt:
            click.echo(printable(answer.excerpt))
    return 0 if answer.delivered else 1
