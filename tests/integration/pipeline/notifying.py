"""Jobs that end, and endpoints that are told, in a word each: for tests of notifications.

Here belongs what several of these tests say about their world. Not here: what they expect of it. Called as a program,
it notifies once: `python -m tests.integration.pipeline.notifying DATABASE`.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import psycopg

from maap_stac_orchestration.ledger.changes import Author, Via
from maap_stac_orchestration.ledger.connection import connect
from maap_stac_orchestration.ledger.endpoints import Endpoint
from maap_stac_orchestration.ledger.outcomes import finish
from maap_stac_orchestration.ledger.records import State
from maap_stac_orchestration.pipeline.notification import subscriptions
from maap_stac_orchestration.pipeline.notify import Notified, notify
from maap_stac_orchestration.problems import Problem
from maap_stac_orchestration.settings import Settings
from tests.integration.ledger.build import discover, ended, prefix, seen, take

Connection = psycopg.Connection[tuple[Any, ...]]

AUTHOR = Author("bea", Via.CLI, "for a test")
PUBLIC = "https://stac.test"


def settings(**more: Any) -> Settings:
    """Settings with which webhooks may go to 127.0.0.1."""
    return Settings(**{"webhook_private": True, "public_url": PUBLIC, "dagster_url": "http://dagster.test", **more})


def end_job(
    conn: Connection,
    number: int = 0,
    state: State = State.LOADED,
    *,
    username: str = "ana",
    problems: tuple[Problem, ...] = (),
    collections: tuple[str, ...] = (),
    etag: str = "a",
) -> str:
    """A job that ends; gives its output prefix."""
    job = prefix(number, username=username)
    discover(conn, seen(job, etag))
    batch = take(conn)
    finish(conn, batch, [ended(one, state, problems=problems, collections=collections, loaded=2) for one in batch.jobs])
    conn.commit()
    return job


def add(conn: Connection, address: str, current: Settings | None = None, **more: Any) -> tuple[Endpoint, str]:
    """An endpoint that is told; gives it, and its secret."""
    asked = {"username": None, "algorithm": None, "states": (), **more}
    wanted = subscriptions.wanted(current or settings(), address, **asked)
    endpoint, secret = subscriptions.add(conn, wanted, AUTHOR)
    return endpoint, secret or ""


def send(conn: Connection, current: Settings | None = None, *, seconds: float = 20) -> Notified:
    """Notifies once."""
    return notify(conn, current or settings(), deadline=time.monotonic() + seconds)


def let_time_pass(conn: Connection) -> None:
    """Everything that will be sent some time is due now."""
    conn.execute("UPDATE ledger.delivery SET due_at = least(due_at, now()) WHERE due_at IS NOT NULL")
    conn.commit()


if __name__ == "__main__":
    with connect(sys.argv[1], application_name="notifying") as opened:
        print(send(opened))
