"""Adding and removing endpoints, and trying one.

Here belongs what holds for both doors, command line and HTTP: what is checked before an endpoint is added, and that the
change is committed and then told. Not here: who may do it (`api`), and keeping endpoints (`ledger.endpoints`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from maap_stac_orchestration import log_events
from maap_stac_orchestration.ledger import endpoints
from maap_stac_orchestration.ledger.changes import Action, Author
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.documents import Addresses
from maap_stac_orchestration.ledger.endpoints import Endpoint, Kind
from maap_stac_orchestration.ledger.records import TERMINAL, State
from maap_stac_orchestration.ledger.tokens import username_problem
from maap_stac_orchestration.pipeline.notification import addresses
from maap_stac_orchestration.pipeline.notification.answer import Answer
from maap_stac_orchestration.pipeline.notification.messages import test_message
from maap_stac_orchestration.settings import Settings

#: In the order in which people read them.
END_STATES = tuple(state for state in State if state in TERMINAL)


@dataclass(frozen=True, slots=True)
class Wanted:
    """An endpoint that can be added: `wanted` makes it."""

    kind: Kind
    address: str
    username: str | None
    algorithm: str | None
    states: tuple[State, ...]


class NotUsable(ValueError):
    """An endpoint cannot be like that; the message says why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        #: address, username, algorithm or states.
        self.field = field


def public_addresses(settings: Settings) -> Addresses:
    """Where links in messages lead."""
    api, dagster = settings.public_url, settings.dagster_url
    return Addresses(api=api.rstrip("/") if api else None, dagster=dagster.rstrip("/") if dagster else None)


def wanted(
    settings: Settings, address: str, *, username: str | None, algorithm: str | None, states: Collection[State]
) -> Wanted:
    """Checks what somebody wants to add; looks the host of a webhook up, which may take seconds.

    Args:
        settings: what is set.
        address: of the webhook, or the ARN of a topic.
        username: whose jobs; None for everyone's.
        algorithm: of which algorithm; None for all.
        states: in which states they end; empty for all.

    Raises:
        NotUsable: see there.
    """
    kind = addresses.kind_of(address)
    try:
        if kind is Kind.SNS:
            addresses.region_of(address)
        else:
            addresses.check(address, private=settings.webhook_private)
    except addresses.AddressRefused as error:
        raise NotUsable("address", str(error)) from error
    if username is not None and (wrong := username_problem(username)) is not None:
        raise NotUsable("username", f"The username {username!r} {wrong}.")
    if algorithm is not None and not algorithm.strip():
        raise NotUsable("algorithm", "The name of the algorithm is empty; leave it out for all algorithms.")
    if strange := [str(state) for state in states if state not in TERMINAL]:
        raise NotUsable(
            "states", f"No job ends {', '.join(strange)}; use some of {', '.join(str(state) for state in END_STATES)}."
        )
    return Wanted(kind, address, username, algorithm, tuple(state for state in END_STATES if state in set(states)))


def add(conn: Connection, new: Wanted, author: Author, *, most: int | None = None) -> tuple[Endpoint, str | None]:
    """Puts an endpoint in force, and commits; gives it, and the secret of a webhook, which is told this once.

    Raises:
        EndpointRefused: there is one like it, or the user has `most` already.
    """
    endpoint, secret = endpoints.add(
        conn,
        kind=new.kind,
        address=new.address,
        username=new.username,
        algorithm=new.algorithm,
        states=new.states,
        author=author,
        most=most,
    )
    conn.commit()
    _emit(Action.ENDPOINT_CREATED, endpoint, endpoint.change, author)
    return endpoint, secret


def remove(conn: Connection, id: int, author: Author) -> Endpoint:
    """Takes an endpoint out of force, and commits.

    Raises:
        NoSuchEndpoint: it is not in force.
    """
    endpoint = endpoints.remove(conn, id, author)
    conn.commit()
    _emit(Action.ENDPOINT_REMOVED, endpoint, endpoint.change, author)
    return endpoint


def rotate(conn: Connection, id: int, author: Author) -> tuple[Endpoint, str]:
    """Gives a webhook another secret, and commits; gives that, which is told this once.

    Raises:
        NoSuchEndpoint: it is not in force, or is a topic.
    """
    endpoint, secret, change = endpoints.rotate(conn, id, author)
    conn.commit()
    _emit(Action.ENDPOINT_ROTATED, endpoint, change, author)
    return endpoint, secret


def try_out(conn: Connection, settings: Settings, id: int) -> Answer:
    """Sends a signed test message to an endpoint at once, and gives what came of it; nothing is kept of it.

    Raises:
        NoSuchEndpoint: it is not in force.
    """
    endpoint = endpoints.find(conn, id)
    if endpoint is None or endpoint.removed_at is not None:
        raise endpoints.NoSuchEndpoint(f"No endpoint {id} is in force. `maap-stac webhook list` shows those that are.")
    secrets = endpoints.secrets_of(conn, id)
    conn.commit()  # nobody waits for a transaction that waits for a receiver
    message_id = uuid4()
    body = test_message(
        endpoint_id=id, message_id=message_id, time=datetime.now(UTC), addresses=public_addresses(settings)
    )
    if endpoint.kind is Kind.SNS:
        from maap_stac_orchestration.pipeline.notification.sns import Topics

        return Topics().publish(endpoint.address, body, {"state": "test"})
    from maap_stac_orchestration.pipeline.notification.webhook import Webhooks

    async def send() -> Answer:
        sender = Webhooks(endpoint.address, private=settings.webhook_private)
        try:
            return await sender.send(message_id, body, secrets)
        finally:
            await sender.close()

    return asyncio.run(send())


def _emit(action: Action, endpoint: Endpoint, change: int, author: Author) -> None:
    log_events.emit(
        log_events.Event.ENDPOINT_CHANGED,
        change=change,
        action=str(action),
        endpoint=endpoint.id,
        kind=str(endpoint.kind),
        username=endpoint.username,
        by=author.by,
        via=str(author.via),
    )
