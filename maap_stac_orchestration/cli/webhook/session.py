"""What commands about webhooks have in common: how they find the ledger, and how a refusal is told.

Here belong their connection and the argument ID. Not here: what each does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from maap_stac_orchestration.cli.environment import use_stack
from maap_stac_orchestration.cli.errors import Told

if TYPE_CHECKING:
    from maap_stac_orchestration.ledger.connection import Connection
    from maap_stac_orchestration.settings import Settings

_Command = TypeVar("_Command", bound=Callable[..., Any])

LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Session:
    """An open ledger, and what is set."""

    connection: Connection
    settings: Settings


@contextmanager
def webhook_session(home: Path | None, command: str) -> Iterator[Session]:
    """Opens the ledger for a command.

    Raises:
        Told: there is no ledger, or what is asked for is refused.
    """
    use_stack(home, ("PGHOST",))
    from maap_stac_orchestration.ledger.connection import DatabaseUnavailable, connect
    from maap_stac_orchestration.ledger.endpoints import EndpointRefused, NoSuchEndpoint
    from maap_stac_orchestration.pipeline.notification.subscriptions import NotUsable
    from maap_stac_orchestration.settings import settings

    try:
        with connect(application_name=f"maap-stac {command}") as connection:
            yield Session(connection, settings())
    except (DatabaseUnavailable, EndpointRefused, NoSuchEndpoint, NotUsable) as error:
        raise Told(str(error)) from error


def id_argument(command: _Command) -> _Command:
    """The argument ID, the number of an endpoint."""
    return click.argument("endpoint_id", metavar="ID", type=click.IntRange(1, LARGEST_ID))(command)


def of_whom(username: str | None, algorithm: str | None, states: list[str]) -> str:
    """Of which jobs an endpoint is told, in a few words."""
    whose = f"jobs of {username}" if username else "everyone's jobs"
    by = f" by {algorithm}" if algorithm else ""
    how = f" that end {' or '.join(states)}" if states else ""
    return whose + by + how
