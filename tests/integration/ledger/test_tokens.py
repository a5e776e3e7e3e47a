"""Tokens of our own: found by their secret alone, good until they expire or are revoked, each change on record."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.ledger import changes, tokens
from maap_stac_orchestration.ledger.changes import Action, Author, Via
from maap_stac_orchestration.ledger.tokens import LONGEST_VALIDITY, NoSuchToken, Token, TokenNotValid

Connection = psycopg.Connection[tuple[Any, ...]]

AUTHOR = Author("bea", Via.CLI, "for her notebook")
HOUR = timedelta(hours=1)


def made(connection: Connection, username: str = "ana", **more: Any) -> tuple[Token, str]:
    return tokens.create(connection, username, author=AUTHOR, **{"admin": False, "validity": HOUR, **more})


def test_a_token_is_known_by_its_prefix_and_holds_256_random_bits(connection: Connection) -> None:
    secrets = {made(connection)[1] for _ in range(20)}
    assert len(secrets) == 20
    assert all(re.fullmatch(r"maap-stac_[A-Za-z0-9_-]{43}", secret) for secret in secrets)


def test_a_token_is_found_by_its_secret_and_says_whose_it_is(connection: Connection) -> None:
    token, secret = made(connection, "bea", admin=True, note="notebook")
    assert tokens.find(connection, secret) == token
    assert (token.username, token.admin, token.note, token.created_by) == ("bea", True, "notebook", "bea")
    assert token.expires_at - token.created_at >= HOUR


def test_only_a_hash_of_the_secret_is_kept(connection: Connection) -> None:
    _, secret = made(connection, note="notebook")
    row = connection.execute("SELECT token::text, hash FROM ledger.token AS token").fetchone()
    trail = connection.execute("SELECT string_agg(change::text, ' ') FROM ledger.registry_change AS change").fetchone()
    assert row is not None
    assert trail is not None
    assert secret.removeprefix(tokens.PREFIX) not in row[0] + trail[0]
    assert row[1] == hashlib.sha256(secret.encode()).digest()


@pytest.mark.parametrize(
    "near",
    [
        lambda secret: secret[:-1],
        lambda secret: secret + "A",
        lambda secret: secret.upper(),
        lambda secret: secret.removeprefix(tokens.PREFIX),
        lambda secret: secret + "\n",
        lambda secret: hashlib.sha256(secret.encode()).hexdigest(),
        lambda secret: "",
        lambda secret: secret + "\ud800",
        lambda secret: secret + "\x00",
    ],
)
def test_what_is_only_near_a_token_is_none(connection: Connection, near: Any) -> None:
    _, secret = made(connection)
    assert tokens.find(connection, near(secret)) is None


def test_an_expired_token_is_told_from_an_unknown_one(connection: Connection) -> None:
    token, secret = made(connection)
    connection.execute("UPDATE ledger.token SET expires_at = '2026-03-01T12:00:00Z' WHERE id = %s", (token.id,))
    with pytest.raises(TokenNotValid, match=r"expired on 2026-03-01\."):
        tokens.find(connection, secret)


def test_a_revoked_token_is_good_for_nothing_and_the_others_stay(connection: Connection) -> None:
    token, secret = made(connection)
    _, other = made(connection)
    revoked = tokens.revoke(connection, token.id, AUTHOR)
    assert revoked.revoked_at is not None
    with pytest.raises(TokenNotValid, match="revoked"):
        tokens.find(connection, secret)
    assert tokens.find(connection, other) is not None


@pytest.mark.parametrize("number", [0, -1, 4711, 2**63])
def test_a_token_that_is_not_there_cannot_be_revoked(connection: Connection, number: int) -> None:
    with pytest.raises(NoSuchToken, match=str(number)):
        tokens.revoke(connection, number, AUTHOR)


def test_a_token_is_revoked_once(connection: Connection) -> None:
    token, _ = made(connection)
    tokens.revoke(connection, token.id, AUTHOR)
    with pytest.raises(NoSuchToken, match="already"):
        tokens.revoke(connection, token.id, AUTHOR)


def test_who_made_and_revoked_a_token_stands_in_the_trail(connection: Connection) -> None:
    token, _ = made(connection, "ana", admin=True, note="notebook")
    tokens.revoke(connection, token.id, Author("carl", Via.CLI, "it leaked"))
    revoked, created = changes.history(connection, subject="ana")
    assert (created.action, created.by, created.reason) == (Action.TOKEN_CREATED, "bea", "for her notebook")
    assert (created.detail["admin"], created.detail["note"]) == (True, "notebook")
    assert (revoked.action, revoked.by, revoked.reason) == (Action.TOKEN_REVOKED, "carl", "it leaked")
    assert revoked.detail["token"] == token.id


def test_all_tokens_are_listed_newest_first(connection: Connection) -> None:
    first, second = made(connection)[0], made(connection, "carl")[0]
    revoked = tokens.revoke(connection, first.id, AUTHOR)
    assert tokens.listing(connection) == [second, revoked]


@pytest.mark.parametrize("validity", [timedelta(0), timedelta(seconds=-1), LONGEST_VALIDITY + timedelta(seconds=1)])
def test_every_token_expires_within_a_year(connection: Connection, validity: timedelta) -> None:
    with pytest.raises(ValueError, match="days from now"):
        made(connection, validity=validity)


@pytest.mark.parametrize("username", ["", "a b", "@boreal", "*", "a/b", "{username}", "a\x00", "a\ud800", "x" * 301])
def test_nobody_is_called_what_the_registry_gives_another_meaning(connection: Connection, username: str) -> None:
    with pytest.raises(ValueError, match="username"):
        made(connection, username)
    assert tokens.listing(connection) == []


@given(st.text())
def test_a_username_that_is_taken_can_stand_in_a_key_of_s3_and_in_a_table(username: str) -> None:
    if tokens.username_problem(username) is None:
        assert username
        assert username.isprintable()
        assert not set(username) & set("*?{}/ ")
        assert not username.startswith("@")
        username.encode()
