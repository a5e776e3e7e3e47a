"""`maap-stac webhook redeliver`: sends deliveries again that were given up, or taken."""

from __future__ import annotations

import json
from pathlib import Path

import click

from maap_stac_orchestration.cli.environment import home_option
from maap_stac_orchestration.cli.webhook.session import LARGEST_ID, webhook_session


@click.command(
    epilog="\b\nExample:\n  maap-stac webhook redeliver --dead --endpoint 3",
    short_help="Send deliveries again.",
)
@click.argument("ids", metavar="[ID]...", nargs=-1, type=click.IntRange(1, LARGEST_ID))
@click.option("--dead", is_flag=True, help="All that were given up.")
@click.option("--endpoint", type=click.IntRange(1, LARGEST_ID), help="Of those, the ones to this endpoint.")
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(ids: tuple[int, ...], dead: bool, endpoint: int | None, home: Path | None, as_json: bool) -> int:
    """Makes deliveries due again, with all their tries: the same message with the same webhook-id.

    ID is a number that `maap-stac webhook deliveries` shows. Deliveries to endpoints that were removed, and those that
    are still to be sent, are left as they are; exits with 1 where some of those named are.
    """
    if bool(ids) == dead:
        raise click.UsageError("say which: numbers of deliveries, or --dead for all that were given up")
    with webhook_session(home, "webhook redeliver") as session:
        from maap_stac_orchestration.ledger.deliveries import redeliver

        again = redeliver(session.connection, ids or None, endpoint_id=endpoint)
        session.connection.commit()
    left = sorted(set(ids) - set(again))
    if as_json:
        click.echo(json.dumps({"redelivered": again, "left": left}, indent=2))
    else:
        click.echo(f"{len(again)} {'delivery is' if len(again) == 1 else 'deliveries are'} sent again.")
        if left:
            click.echo(
                f"Left as they are: {', '.join(map(str, left))}. There are no such deliveries, they are still to be "
                "sent, or their endpoint was removed.",
                err=True,
            )
    return 1 if left else 0
