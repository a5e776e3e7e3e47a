"""`maap-stac token`: bearer tokens for machines, and for people where there is no identity provider.

Here belongs how tokens are asked for and shown. Not here: what a token is (`ledger.tokens`) and what it opens (`api`).
The secret is printed once and kept nowhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maap_stac_orchestration.cli.environment import home_option, use_stack
from maap_stac_orchestration.cli.errors import Told
from maap_stac_orchestration.cli.registry.session import author, change_options
from maap_stac_orchestration.cli.terminal import printable

if TYPE_CHECKING:
    from maap_stac_orchestration.ledger.changes import Action, Author
    from maap_stac_orchestration.ledger.connection import Connection
    from maap_stac_orchestration.ledger.tokens import Token

_LARGEST_ID = 2**63 - 1
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class _Validity(click.ParamType[timedelta]):
    """A time span as `30d`, `12h` or `15m`."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        # Five digits of any unit are more than a token may be valid for, and no number that overflows.
        match = re.fullmatch(r"([0-9]{1,5})([mhd])", value.strip())
        if match is None:
            self.fail(
                f"{value!r} is no time span; write a number with m, h or d behind it, for example 30d", param, ctx
            )
        return timedelta(**{_UNITS[match[2]]: int(match[1])})


@click.group(short_help="Make and revoke tokens for the API.")
def command() -> None:
    """Makes, lists and revokes bearer tokens for the API.

    They are for machines, and for people where no identity provider is set up. Of a token only a hash is kept.
    """


@command.command(
    epilog="\b\nExample:\n  maap-stac token create --username jsmith --expires 30d --reason 'Curates from a notebook'",
    short_help="Make a token.",
)
@click.option("--username", required=True, help="In whose name the token speaks.")
@click.option("--admin", is_flag=True, help="The token may do what administrators may.")
@click.option("--expires", type=_Validity(), default="90d", show_default=True, help="How long it is valid.")
@click.option("--note", default="", help="What it is for, shown by `maap-stac token list`.")
@change_options
def create(
    username: str,
    admin: bool,
    expires: timedelta,
    note: str,
    reason: str,
    by: str | None,
    home: Path | None,
    as_json: bool,
) -> None:
    """Makes a token and prints it, this once; nothing else goes to stdout."""
    made_by = author(by, reason)
    with _ledger(home, "create") as connection:
        from maap_stac_orchestration.ledger import tokens
        from maap_stac_orchestration.ledger.changes import Action

        try:
            token, secret = tokens.create(
                connection, username, admin=admin, validity=expires, author=made_by, note=note
            )
        except ValueError as error:
            raise Told(str(error)) from error
        connection.commit()
        _emit(Action.TOKEN_CREATED, token, made_by)
    if as_json:
        click.echo(json.dumps({"token": secret, **_document(token)}, indent=2))
        return
    click.echo(secret)
    rights = "as an administrator" if token.admin else "without an administrator's rights"
    click.echo(
        printable(
            f"Token {token.id} of {token.username}, {rights}, valid until {token.expires_at:%Y-%m-%d %H:%M} UTC."
        ),
        err=True,
    )
    click.echo("It is not kept and cannot be shown again. Send it as `Authorization: Bearer TOKEN`.", err=True)


@command.command(
    "list", epilog="\b\nExample:\n  maap-stac token list --username jsmith", short_help="List tokens, without secrets."
)
@click.option("--username", help="Tokens of this user.")
@click.option("--all", "everything", is_flag=True, help="Expired and revoked tokens too.")
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_(username: str | None, everything: bool, home: Path | None, as_json: bool) -> None:
    """Lists valid tokens, newest first: whose they are, what for, who made them and until when they are valid."""
    with _ledger(home, "list") as connection:
        from maap_stac_orchestration.ledger import tokens

        found = [
            token
            for token in tokens.listing(connection)
            if username in (None, token.username) and (everything or _state(token) == "valid")
        ]
    if as_json:
        click.echo(json.dumps({"tokens": [_document(token) for token in found]}, indent=2))
        return
    if not found:
        click.echo("There is no such token.")
    for token in found:
        admin = ", administrator" if token.admin else ""
        note = f": {token.note}" if token.note else ""
        click.echo(printable(f"{token.id:>5}  {_state(token):<8} {token.username}{admin}{note}"))
        ended = f"revoked {token.revoked_at:%Y-%m-%d}, " if token.revoked_at else ""
        made = f"made {token.created_at:%Y-%m-%d} by {token.created_by}"
        click.echo(printable(f"       {ended}until {token.expires_at:%Y-%m-%d}, {made}"))


@command.command(
    epilog="\b\nExample:\n  maap-stac token revoke 3 --reason 'The notebook was shared'",
    short_help="Make a token useless.",
)
@click.argument("token_id", metavar="ID", type=click.IntRange(1, _LARGEST_ID))
@change_options
def revoke(token_id: int, reason: str, by: str | None, home: Path | None, as_json: bool) -> None:
    """Makes a token useless from the next request on. ID is its number, which `maap-stac token list` shows."""
    revoked_by = author(by, reason)
    with _ledger(home, "revoke") as connection:
        from maap_stac_orchestration.ledger import tokens
        from maap_stac_orchestration.ledger.changes import Action

        try:
            token = tokens.revoke(connection, token_id, revoked_by)
        except tokens.NoSuchToken as error:
            raise Told(str(error)) from error
        connection.commit()
        _emit(Action.TOKEN_REVOKED, token, revoked_by)
    if as_json:
        click.echo(json.dumps(_document(token), indent=2))
    else:
        click.echo(printable(f"Revoked: token {token.id} of {token.username} (change {token.change})"))


@contextmanager
def _ledger(home: Path | None, name: str) -> Iterator[Connection]:
    use_stack(home, ("PGHOST",))
    from maap_stac_orchestration.ledger.connection import DatabaseUnavailable, connect

    try:
        with connect(application_name=f"maap-stac token {name}") as connection:
            yield connection
    except DatabaseUnavailable as error:
        raise Told(str(error)) from error


def _emit(action: Action, token: Token, by: Author) -> None:
    from maap_stac_orchestration import log_events

    log_events.emit(
        log_events.Event.TOKEN_CHANGED,
        change=token.change,
        action=str(action),
        token=token.id,
        username=token.username,
        by=by.by,
    )


def _state(token: Token) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if token.expired else "valid"


def _document(token: Token) -> dict[str, Any]:
    """What may be told of a token: everything but its secret."""
    return {
        "id": token.id,
        "username": token.username,
        "admin": token.admin,
        "note": token.note,
        "state": _state(token),
        "created_at": token.created_at.isoformat(),
        "created_by": token.created_by,
        "expires_at": token.expires_at.isoformat(),
        "revoked_at": token.revoked_at.isoformat() if token.revoked_at else None,
        "change": token.change,
    }
