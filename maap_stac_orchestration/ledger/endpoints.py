"""Endpoints: who is told when jobs end, of whose jobs, and what it is signed with.

Here belongs keeping them, with their trail. Not here: which addresses may be used (`pipeline.notification`), and what
is sent to them (`deliveries`). The secret of a webhook is kept in clear, because whoever signs needs it; it leaves the
ledger in two ways only: told once to who made the endpoint, and to what signs.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from secrets import token_bytes
from typing import Any
from urllib.parse import urlsplit

from maap_stac_orchestration.ledger import changes
from maap_stac_orchestration.ledger.changes import Action, Author
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import State, timestamp
from maap_stac_orchestration.ledger.texts import LONGEST_NAME, LONGEST_TEXT, storable, storable_or_none

#: What every secret begins with, by the Standard Webhooks rules.
SECRET_PREFIX = "whsec_"  # noqa: S105  # no secret
#: Random bytes of a secret; the rules ask for 24 to 64.
_SECRET_BYTES = 32
#: How long is signed with both secrets after a change.
OVERLAP = timedelta(days=1)
#: Endpoints in force that one user may have for their own jobs.
MOST_OF_USER = 20

#: The subject, in the trail, of endpoints that are told of everyone's jobs.
EVERYONE = "*"


class Kind(StrEnum):
    """How somebody is told."""

    #: A signed POST to an address.
    WEBHOOK = "webhook"
    #: A message to a topic.
    SNS = "sns"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Who is told when jobs end; never with its secret."""

    id: int
    kind: Kind
    #: An https:// address, or the ARN of a topic. It may hold a password of the receiver's own: for those who may see
    #: the endpoint, and not for logs.
    address: str
    #: Whose jobs, of which algorithm; None for all.
    username: str | None
    algorithm: str | None
    #: In which states they end; empty for all.
    states: tuple[State, ...]
    #: UTC.
    created_at: datetime
    created_by: str
    reason: str
    #: None while it is in force.
    removed_at: datetime | None
    removed_by: str | None
    removed_because: str | None
    #: The number of the last change of it in the trail.
    change: int

    @property
    def host(self) -> str:
        """Where it is, without what may be secret in the address."""
        return host_of(self.kind, self.address)

    def to_document(self) -> dict[str, Any]:
        """As `GET /webhooks` and `webhook list --json` give it."""
        return {
            "id": self.id,
            "kind": str(self.kind),
            "address": self.address,
            "username": self.username,
            "algorithm": self.algorithm,
            "states": [str(state) for state in self.states],
            "created": timestamp(self.created_at),
            "created_by": self.created_by,
            "reason": self.reason,
            "removed": None
            if self.removed_at is None
            else {"at": timestamp(self.removed_at), "by": self.removed_by, "reason": self.removed_because},
        }


class NoSuchEndpoint(Exception):
    """There is no such endpoint in force; the message says which."""


class EndpointRefused(Exception):
    """The endpoint cannot be had: it is there already, or there are too many; the message says which."""


_COLUMNS = """
    endpoint.id, endpoint.kind, endpoint.address, endpoint.username, endpoint.algorithm, endpoint.states, created.at,
    created.by, created.reason, removed.at, removed.by, removed.reason,
    coalesce(endpoint.removed_in, endpoint.created_in)
FROM ledger.endpoint
JOIN ledger.registry_change AS created ON created.id = endpoint.created_in
LEFT JOIN ledger.registry_change AS removed ON removed.id = endpoint.removed_in
"""

_IN_FORCE = f"SELECT {_COLUMNS} WHERE endpoint.removed_in IS NULL ORDER BY endpoint.id"

# Whoever takes an endpoint out of force waits until the deliveries that are being made for it are there, and ends them.
_KEEP = "SELECT FROM ledger.endpoint WHERE removed_in IS NULL ORDER BY id FOR SHARE"

_GET = f"SELECT {_COLUMNS} WHERE endpoint.id = %(id)s"

_LIST = f"""
SELECT {_COLUMNS}
WHERE (%(everything)s OR endpoint.removed_in IS NULL)
    AND (%(username)s::text IS NULL OR endpoint.username = %(username)s)
ORDER BY endpoint.id DESC
"""

_SAME = """
SELECT id
FROM ledger.endpoint
WHERE removed_in IS NULL AND (address, username, algorithm, states)
    IS NOT DISTINCT FROM (%(address)s, %(username)s::text, %(algorithm)s::text, %(states)s::text[])
"""

_COUNT = "SELECT count(*) FROM ledger.endpoint WHERE removed_in IS NULL AND username = %(username)s"

_ADD = """
INSERT INTO ledger.endpoint (kind, address, secret, username, algorithm, states, created_in)
VALUES (%(kind)s, %(address)s, %(secret)s, %(username)s, %(algorithm)s, %(states)s, %(change)s)
RETURNING id
"""

_REMOVE = "UPDATE ledger.endpoint SET removed_in = %(change)s WHERE id = %(id)s"

_END_DELIVERIES = """
UPDATE ledger.delivery
SET state = 'dead', due_at = NULL, ended_at = clock_timestamp(), answer = 'The endpoint was taken out of force.'
WHERE endpoint_id = %(id)s AND state = 'pending'
"""

_ROTATE = """
UPDATE ledger.endpoint
SET previous_secret = secret, previous_until = clock_timestamp() + %(overlap)s, secret = %(secret)s
WHERE id = %(id)s
"""

_SECRETS = """
SELECT secret, CASE WHEN previous_until > clock_timestamp() THEN previous_secret END
FROM ledger.endpoint
WHERE id = %(id)s AND secret IS NOT NULL
"""


def in_force(conn: Connection, *, keep: bool = False) -> list[Endpoint]:
    """All endpoints that are told; with `keep` none of them is taken out of force until the transaction ends."""
    if keep:
        conn.execute(_KEEP)
    return [_endpoint(row) for row in conn.execute(_IN_FORCE)]


def listing(conn: Connection, *, username: str | None = None, everything: bool = False) -> list[Endpoint]:
    """Endpoints, newest first.

    Args:
        conn: an open connection.
        username: only those that are told of the jobs of this user alone.
        everything: those that were taken out of force, too.
    """
    asked = {"username": storable_or_none(username, LONGEST_NAME), "everything": everything}
    return [_endpoint(row) for row in conn.execute(_LIST, asked)]


def find(conn: Connection, id: int) -> Endpoint | None:
    """An endpoint, in force or not."""
    row = conn.execute(_GET, {"id": id}).fetchone() if 0 < id < 2**63 else None
    return None if row is None else _endpoint(row)


def add(
    conn: Connection,
    *,
    kind: Kind,
    address: str,
    username: str | None,
    algorithm: str | None,
    states: Collection[State],
    author: Author,
    most: int | None = None,
) -> tuple[Endpoint, str | None]:
    """Puts an endpoint in force, in the caller's transaction; gives it, and the secret of a webhook, told this once.

    Args:
        conn: an open connection.
        kind: how it is told.
        address: an address or ARN that was found to be usable.
        username: whose jobs; None for everyone's.
        algorithm: of which algorithm; None for all.
        states: in which states they end; empty for all.
        author: who adds it, and why.
        most: how many the user may have in force; None where that is not limited.

    Raises:
        EndpointRefused: there is one already that is told of the same, or the user has too many.
        ValueError: a state in which no job ends.
    """
    if wrong := sorted(set(states) - {State.LOADED, State.PARTIAL, State.REJECTED, State.FAILED}):
        raise ValueError(f"No job ends {', '.join(wrong)}; jobs end loaded, partial, rejected or failed.")
    secret = None if kind is Kind.SNS else new_secret()
    values: dict[str, Any] = {
        "kind": str(kind),
        "address": storable(address, LONGEST_TEXT),
        "secret": secret,
        "username": storable_or_none(username, LONGEST_NAME),
        "algorithm": storable_or_none(algorithm, LONGEST_NAME),
        "states": sorted(str(state) for state in set(states)) or None,
    }
    changes.lock(conn)
    same = conn.execute(_SAME, values).fetchone()
    if same is not None:
        raise EndpointRefused(
            f"The endpoint {same[0]} tells this address of the same jobs already. Remove that one first to get a new "
            "secret, or ask for other jobs."
        )
    if most is not None:
        row = conn.execute(_COUNT, values).fetchone()
        if row is not None and row[0] >= most:
            raise EndpointRefused(f"{username} has {row[0]} endpoints, and no more than {most} are kept; remove some.")
    detail = _detail(kind, address, algorithm, states)
    change = changes.record(conn, Action.ENDPOINT_CREATED, username or EVERYONE, author, detail)
    row = conn.execute(_ADD, {**values, "change": change}).fetchone()
    assert row is not None
    return _get(conn, row[0]), secret


def remove(conn: Connection, id: int, author: Author) -> Endpoint:
    """Takes an endpoint out of force, in the caller's transaction; what it has not been told yet, it never is.

    Raises:
        NoSuchEndpoint: it is not in force.
    """
    endpoint = _hold(conn, id)
    detail = {"endpoint": id, **_detail(endpoint.kind, endpoint.address, endpoint.algorithm, endpoint.states)}
    change = changes.record(conn, Action.ENDPOINT_REMOVED, endpoint.username or EVERYONE, author, detail)
    conn.execute(_REMOVE, {"id": id, "change": change})
    conn.execute(_END_DELIVERIES, {"id": id})
    return _get(conn, id)


def rotate(conn: Connection, id: int, author: Author) -> tuple[Endpoint, str, int]:
    """Gives a webhook another secret, in the caller's transaction; gives that secret and the number of the change.

    For a day (`OVERLAP`) messages carry a signature by each of the two, so that the receiver can change over.

    Raises:
        NoSuchEndpoint: it is not in force, or has no secret.
    """
    endpoint = _hold(conn, id)
    if endpoint.kind is not Kind.WEBHOOK:
        raise NoSuchEndpoint(f"The endpoint {id} is a topic, which has no secret.")
    secret = new_secret()
    detail = {"endpoint": id, **_detail(endpoint.kind, endpoint.address, endpoint.algorithm, endpoint.states)}
    change = changes.record(conn, Action.ENDPOINT_ROTATED, endpoint.username or EVERYONE, author, detail)
    conn.execute(_ROTATE, {"id": id, "secret": secret, "overlap": OVERLAP})
    return endpoint, secret, change


def secrets_of(conn: Connection, id: int) -> tuple[str, ...]:
    """What messages to a webhook are signed with now; empty for a topic."""
    row = conn.execute(_SECRETS, {"id": id}).fetchone()
    return () if row is None else tuple(secret for secret in row if secret is not None)


def new_secret() -> str:
    """A random secret, as the Standard Webhooks rules write it."""
    return SECRET_PREFIX + b64encode(token_bytes(_SECRET_BYTES)).decode()


def host_of(kind: Kind, address: str) -> str:
    """Where an endpoint is, without what may be secret in its address."""
    return address if kind is Kind.SNS else urlsplit(address).hostname or ""


def _detail(kind: Kind, address: str, algorithm: str | None, states: Collection[State]) -> dict[str, Any]:
    """What the trail tells; an address may hold a password of the receiver's, so only its host."""
    return {
        "kind": str(kind),
        "host": host_of(kind, address),
        "algorithm": algorithm,
        "states": sorted(str(state) for state in states),
    }


def _hold(conn: Connection, id: int) -> Endpoint:
    changes.lock(conn)
    endpoint = find(conn, id)
    if endpoint is None:
        raise NoSuchEndpoint(f"There is no endpoint {id}. `maap-stac webhook list` shows those that there are.")
    if endpoint.removed_at is not None:
        raise NoSuchEndpoint(f"The endpoint {id} was taken out of force on {endpoint.removed_at:%Y-%m-%d} already.")
    return endpoint


def _get(conn: Connection, id: int) -> Endpoint:
    endpoint = find(conn, id)
    assert endpoint is not None
    return endpoint


def _endpoint(row: tuple[Any, ...]) -> Endpoint:
    id, kind, address, username, algorithm, states, *rest = row
    return Endpoint(id, Kind(kind), address, username, algorithm, tuple(State(state) for state in states or ()), *rest)
