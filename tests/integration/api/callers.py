"""Callers with tokens, and a registry file, for tests of routes that not everyone may use.

Here belongs what several of these tests say about their world. Not here: what they expect of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
import requests

from maap_stac_orchestration.ledger import tokens
from maap_stac_orchestration.ledger.changes import Author, Via
from tests.integration.api.conftest import Api

Connection = psycopg.Connection[tuple[Any, ...]]

FILE = """version: 1
reserved: ["esa-*"]
teams:
  boreal: [hrodmn, jjfrench]
grants:
  - {collection: shared, users: ["@boreal"]}
deny:
  - {collection: "shared", users: [jjfrench]}
"""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with a token, or without one."""

    url: str
    token: str | None = None

    def __call__(self, method: str, path: str, **more: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return requests.request(method, self.url + path, headers=headers, timeout=30, **more)

    def get(self, path: str, **parameters: Any) -> Any:
        """The document at a path."""
        answer = self("GET", path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()


#: A grant that can be put in force beside that file.
GRANT = {"collection": "maap-new", "users": ["ana"], "create": True, "reason": "campaign"}


def signed_in(api: Api, connection: Connection, username: str, *, admin: bool) -> Caller:
    """A caller with a new token."""
    author = Author("operator", Via.CLI, "for a test")
    _, secret = tokens.create(connection, username, admin=admin, validity=timedelta(hours=1), author=author)
    connection.commit()
    return Caller(api.url, secret)
