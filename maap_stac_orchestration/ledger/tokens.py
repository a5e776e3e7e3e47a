"""Bearer tokens of our own: who may call the API in whose name, and until when.

Here belongs making, finding and revoking them; each change stands in the trail (`changes`). Not here: tokens of an
OpenID Connect issuer (`api.issuer`), and what the person behind a token may do (`governance.curation`).

A token is random and long, so nothing in it can be guessed, and its SHA-256 is enough to keep: it is found by that, and
a look-up by a hash takes no longer the more of a token somebody has guessed.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from maap_stac_orchestration import log_events
from maap_stac_orchestration.ledger import changes
from maap_stac_orchestration.ledger.changes import Action, Author
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.texts import LONGEST_NAME, storable
from maap_stac_orchestration.log_events import Event

#: Every token begins with this, so that people, and scanners for leaked secrets, know one when they see it.
PREFIX = "maap-stac_"
#: Bytes of randomness in a token.
_RANDOM_BYTES = 32
_FORM = re.compile(re.escape(PREFIX) + r"[A-Za-z0-9_-]{43}", re.ASCII)

#: What a username may not hold: it is the first segment of a key in S3, and in the registry `@team` is a team.
_NOT_IN_USERNAMES = re.compile(r"[*?{}/\s]|^@")


class TokenState(StrEnum):
    """Whether a token can be used."""

    VALID = "valid"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is kept, without its secret."""

    id: int
    #: In whose name it speaks.
    username: str
    #: Whether as an administrator.
    admin: bool
    #: What it is for.
    note: str
    created_at: datetime
    created_by: str
    expires_at: datetime
    revoked_at: datetime | None
    #: By the clock of the database, when it was read.
    state: TokenState


class TokenRefused(Exception):
    """A token cannot be made, or be revoked; the message is a sentence."""


class TokenNotValid(Exception):
    """A token that was valid once: it expired, or it was revoked. The message is a sentence."""

    def __init__(self, token: Token) -> None:
        if token.revoked_at is not None:
            super().__init__(f"This token was revoked on {token.revoked_at:%Y-%m-%d}.")
        else:
            super().__init__(f"This token expired on {token.expires_at:%Y-%m-%d}.")


_COLUMNS = """
    id, username, admin, note, created_at, created_by, expires_at, revoked_at,
    CASE
        WHEN revoked_at IS NOT NULL THEN 'revoked'
        WHEN expires_at <= clock_timestamp() THEN 'expired'
        ELSE 'valid'
    END
"""

_CREATE = f"""
INSERT INTO ledger.token (username, admin, hash, note, created_by, expires_at)
VALUES (%(username)s, %(admin)s, %(hash)s, %(note)s, %(by)s, %(expires_at)s)
RETURNING {_COLUMNS}
"""  # noqa: S608  # a constant

# By the unique index over the hash.
_FIND = f"SELECT {_COLUMNS} FROM ledger.token WHERE hash = %(hash)s"  # noqa: S608  # a constant

# Tokens are few: one or two for each machine that writes.
_LIST = f"""
SELECT {_COLUMNS}
FROM ledger.token
WHERE (%(username)s::text IS NULL OR username = %(username)s)
    AND (%(all)s OR revoked_at IS NULL AND expires_at > clock_timestamp())
ORDER BY id
"""  # noqa: S608  # a constant

_LOCKED = f"SELECT {_COLUMNS} FROM ledger.token WHERE id = %(id)s FOR UPDATE"  # noqa: S608  # a constant

_REVOKE = f"""
UPDATE ledger.token SET revoked_at = clock_timestamp() WHERE id = %(id)s
RETURNING {_COLUMNS}
"""  # noqa: S608  # a constant


def username_problem(username: str) -> str | None:
    """Why a text cannot be the name of somebody who is signed in; None where it can.

    The rule of the registry for usernames, so that nobody signs in as `*` or `@team`.
    """
    if not username:
        return "it is empty"
    if len(username) > LONGEST_NAME:
        return f"it has more than {LONGEST_NAME} characters"
    if not username.isprintable() or _NOT_IN_USERNAMES.search(username):
        return "usernames hold no * ? { } /, no blanks and no control characters, and do not begin with @"
    return None


def create(
    conn: Connection, username: str, *, admin: bool, expires_at: datetime, author: Author, note: str = ""
) -> tuple[Token, str]:
    """Makes a token, commits, and gives it with its secret, which is shown now or never.

    Args:
        conn: an open connection.
        username: in whose name the token speaks.
        admin: whether as an administrator.
        expires_at: until when, with its offset from UTC.
        author: who makes it and why.
        note: what it is for.

    Raises:
        TokenRefused: the username is none.
    """
    problem = username_problem(username)
    if problem is not None:
        raise TokenRefused(f"{username!r} cannot be a username: {problem}.")
    secret = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    row = conn.execute(
        _CREATE,
        {
            "username": username,
            "admin": admin,
            "hash": _hash(secret),
            "note": storable(note),
            "by": storable(author.by),
            "expires_at": expires_at,
        },
    ).fetchone()
    token = _token(row)
    detail = {
        "token": token.id,
        "admin": admin,
        "note": token.note,
        "expires_at": token.expires_at.isoformat(timespec="seconds"),
    }
    change = changes.record(conn, Action.TOKEN_CREATED, username, author, detail)
    conn.commit()
    _emit(change, Action.TOKEN_CREATED, token, author)
    return token, secret


def find(conn: Connection, secret: str) -> Token | None:
    """The valid token with this secret; None where there is none.

    Raises:
        TokenNotValid: there is one, and it expired or was revoked.
    """
    if not _FORM.fullmatch(secret):
        return None
    row = conn.execute(_FIND, {"hash": _hash(secret)}).fetchone()
    if row is None:
        return None
    token = _token(row)
    if token.state is not TokenState.VALID:
        raise TokenNotValid(token)
    return token


def list_tokens(conn: Connection, *, username: str | None = None, all: bool = False) -> list[Token]:
    """Tokens by their number: those of a user, or of everyone; with `all` also expired and revoked ones."""
    return [_token(row) for row in conn.execute(_LIST, {"username": username, "all": all})]


def revoke(conn: Connection, id: int, author: Author) -> Token:
    """Makes a token useless from the next request on, and commits.

    Raises:
        TokenRefused: there is no such token, or it was revoked already.
    """
    row = conn.execute(_LOCKED, {"id": id}).fetchone()
    if row is None:
        raise TokenRefused(f"There is no token {id}; `maap-stac token list --all` shows every token.")
    found = _token(row)
    if found.revoked_at is not None:
        raise TokenRefused(f"The token {id} was revoked already, on {found.revoked_at:%Y-%m-%d}.")
    token = _token(conn.execute(_REVOKE, {"id": id}).fetchone())
    change = changes.record(conn, Action.TOKEN_REVOKED, token.username, author, {"token": id, "note": token.note})
    conn.commit()
    _emit(change, Action.TOKEN_REVOKED, token, author)
    return token


def _emit(change: int, action: Action, token: Token, author: Author) -> None:
    log_events.emit(
        Event.TOKEN_CHANGED,
        change=change,
        action=str(action),
        token=token.id,
        username=token.username,
        by=author.by,
    )


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _token(row: tuple[Any, ...] | None) -> Token:
    assert row is not None
    *columns, state = row
    return Token(*columns, state=TokenState(state))
