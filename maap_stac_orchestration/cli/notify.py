"""`maap-stac notify`: tells who asked for it that jobs ended, where Dagster does not do it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maap_stac_orchestration.cli.environment import home_option
from maap_stac_orchestration.cli.errors import Told
from maap_stac_orchestration.cli.webhook.session import webhook_session

if TYPE_CHECKING:
    from maap_stac_orchestration.pipeline.notify import Notified

#: Seconds in which a round begins to send.
_ROUND = 20.0
#: Seconds between rounds that found nothing to do.
_PAUSE = 5.0


@click.command(
    epilog="\b\nExample:\n  maap-stac notify --follow",
    short_help="Tell webhooks and topics of jobs that ended.",
)
@click.option("--follow", is_flag=True, help="Go on until Ctrl-C.")
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, or one a line with --follow.")
def command(follow: bool, home: Path | None, as_json: bool) -> None:
    """Tells webhooks and topics of jobs that ended, and writes reports where those are switched on.

    In a deployment the Dagster sensor `notifications` does that; both at once do no harm.
    """
    with webhook_session(home, "notify") as session:
        import psycopg

        from maap_stac_orchestration.pipeline.notify import notify

        while True:
            try:
                came_to = notify(session.connection, session.settings, deadline=time.monotonic() + _ROUND)
            except psycopg.OperationalError as error:
                raise Told(
                    f"The database went away: {' '.join(str(error).split())}. Start again when it is back; what "
                    "was sent and not noted is sent again."
                ) from error
            busy = came_to.told + came_to.failed + came_to.dead > 0
            if busy or not follow:
                _show(came_to, as_json, indent=None if follow else 2)
            if not follow:
                break
            if not busy or not came_to.left:
                time.sleep(_PAUSE)


def _show(came_to: Notified, as_json: bool, indent: int | None) -> None:
    from dataclasses import asdict

    click.echo(json.dumps(asdict(came_to), indent=indent) if as_json else str(came_to))
