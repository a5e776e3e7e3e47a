"""Bearer tokens of our own: who may call the API in whose name, and until when.

Here belongs making, finding and revoking them. Not here: tokens of an OIDC issuer, and what a request with a token may
do (`api.authentication`). Of a token only its SHA-256 is kept: whoever reads the database cannot use it. A token has
256 random bits, so that nothing can be gained by trying, and a slow hash would only slow every request.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from maap_stac_orchestration.ledger import changes
from maap_stac_orchestration.ledger.changes import Action, Author
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.texts import LONGEST_NAME, storable

#: What every token begins with, so that people and scanners of secrets recognise one.
PREFIX = "maap-stac_"

#: No token is valid for longer.
LONGEST_VALIDITY = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token; never the token itself."""

    id: int
    #: In whose name it calls.
    username: str
    #: Whether it may do what administrators may.
    admin: bool
    #: What it is for, in the words of who made it.
    note: str
    #: UTC.
    expires_at: datetime
    expired: bool
    created_at: datetime
    created_by: str
    #: None while it is not revoked.
    revoked_at: datetime | None
    #: The number of the last change of it in the audit trail.
    change: int


class TokenNotValid(Exception):
    """A token that was made here is no good any more; the message says why, which only its holder can learn."""


class NoSuchToken(Exception):
    """There is no such token, or it is revoked already; the message says which."""


_COLUMNS = """
    token.id, token.username, token.admin, token.note, token.expires_at, token.expires_at <= clock_timestamp(),
    created.at, created.by, revoked.at, coalesce(token.revoked_in, token.created_in)
FROM ledger.token
JOIN ledger.registry_change AS created ON created.id = token.created_in
LEFT JOIN ledger.registry_change AS revoked ON revoked.id = token.revoked_in
"""

_CREATE = """
INSERT INTO ledger.token (username, admin, hash, note, expires_at, created_in)
VALUES (%(username)s, %(admin)s, %(hash)s, %(note)s, clock_timestamp() + %(validity)s, %(change)s)
RETURNING id
"""

_GET = f"SELECT {_COLUMNS} WHERE token.id = %(id)s"

_FIND = f"SELECT {_COLUMNS} WHERE token.hash = %(hash)s"

_LIST = f"SELECT {_COLUMNS} ORDER BY token.id DESC"

_REVOKE = "UPDATE ledger.token SET revoked_in = %(change)s WHERE id = %(id)s"


def username_problem(username: str) -> str | None:
    """Why nobody can be called that, a clause; None where somebody can.

    A username is the first segment of an object key, and entries of the registry name it beside `@team` and `*`.
    """
    if not username or not username.isprintable() or any(character.isspace() for character in username):
        return "is empty, or has a space or a control character in it"
    if any(sign in username for sign in "*?{}/") or username.startswith("@"):
        return "has one of * ? { } / in it, or begins with @"
    if len(username) > LONGEST_NAME:
        return f"is longer than {LONGEST_NAME} characters"
    return None


def create(
    conn: Connection, username: str, *, admin: bool, validity: timedelta, author: Author, note: str = ""
) -> tuple[Token, str]:
    """Makes a token, in the caller's transaction; gives what is known of it, and the token, which is told this once.

    Args:
        conn: an open connection.
        username: in whose name it calls.
        admin: whether it may do what administrators may.
        validity: how long from now on.
        author: who makes it, and why.
        note: what it is for.

    Raises:
        ValueError: the username cannot be used, or the validity is not positive, or longer than a year.
    """
    if (wrong := username_problem(username)) is not None:
        raise ValueError(f"The username {username!r} {wrong}.")
    if not timedelta(0) < validity <= LONGEST_VALIDITY:
        raise ValueError(f"A token is valid for a time between now and {LONGEST_VALIDITY.days} days from now.")
    secret = PREFIX + secrets.token_urlsafe(32)
    detail = {"admin": admin, "validity": str(validity), "note": note}
    change = changes.record(conn, Action.TOKEN_CREATED, username, author, detail)
    row = conn.execute(
        _CREATE,
        {
            "username": storable(username, LONGEST_NAME),
            "admin": admin,
            "hash": _hash(secret),
            "note": storable(note),
            "validity": validity,
            "change": change,
        },
    ).fetchone()
    assert row is not None
    return _get(conn, row[0]), secret


def find(conn: Connection, secret: str) -> Token | None:
    """The token; None where none was ever like that.

    Found by its hash, so the time that it takes tells nothing about how much of a guess was right.

    Raises:
        TokenNotValid: it has expired or was revoked.
    """
    row = conn.execute(_FIND, {"hash": _hash(secret)}).fetchone()
    if row is None:
        return None
    token = Token(*row)
    if token.revoked_at is not None:
        raise TokenNotValid(f"The token was revoked on {token.revoked_at:%Y-%m-%d}.")
    if token.expired:
        raise TokenNotValid(f"The token expired on {token.expires_at:%Y-%m-%d}.")
    return token


def listing(conn: Connection) -> list[Token]:
    """All tokens that were ever made, newest first."""
    return [Token(*row) for row in conn.execute(_LIST)]


def revoke(conn: Connection, id: int, author: Author) -> Token:
    """Makes a token worthless from now on, in the caller's transaction.

    Raises:
        NoSuchToken: see there.
    """
    changes.lock(conn)
    row = conn.execute(_GET, {"id": id}).fetchone() if 0 < id < 2**63 else None
    if row is None:
        raise NoSuchToken(f"There is no token {id}. `maap-stac token list` shows those that there are.")
    token = Token(*row)
    if token.revoked_at is not None:
        raise NoSuchToken(f"The token {id} of {token.username} is revoked already, since {token.revoked_at:%Y-%m-%d}.")
    change = changes.record(conn, Action.TOKEN_REVOKED, token.username, author, {"token": id})
    conn.execute(_REVOKE, {"id": id, "change": change})
    return _get(conn, id)


def _get(conn: Connection, id: Any) -> Token:
    row = conn.execute(_GET, {"id": id}).fetchone()
    assert row is not None
    return Token(*row)


def _hash(secret: str) -> bytes:
    # Whatever was sent: half of a character is no token, but no reason to fail either.
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()
