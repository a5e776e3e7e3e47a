"""Keeping a lease while a run works, on the real ledger."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from maap_stac_orchestration.ledger.connection import Connection, DatabaseUnavailable, connect
from maap_stac_orchestration.pipeline.lease import Lease, LeaseLost, held
from maap_stac_orchestration.pipeline.load import load_jobs
from tests.integration.pipeline.batches import SETTINGS, START, Written, claim, decided, document, record

SHORT = SETTINGS.model_copy(update={"lease": timedelta(seconds=0.6)})


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.02)


def is_lost(lease: Lease) -> bool:
    try:
        lease.check()
    except LeaseLost:
        return True
    return False


def test_a_lease_lasts_as_long_as_it_is_kept(connection: psycopg.Connection[Any], database: str) -> None:
    record(connection, [Written([document("a")])])
    batch = claim(connection, settings=SHORT)
    first = connection.execute("SELECT due_at FROM ledger.job").fetchone()
    connection.commit()
    with held(batch, SHORT, lambda: connect(database)) as lease:

        def renewed() -> bool:
            now = connection.execute("SELECT due_at FROM ledger.job").fetchone()
            connection.commit()
            assert now is not None
            assert first is not None
            return bool(now[0] > first[0] + 2 * SHORT.lease)

        until(renewed)
        lease.check()
    # Nobody else could claim it meanwhile.
    assert not claim(connection, "run-2", SHORT).jobs


def test_a_run_whose_jobs_were_taken_writes_nothing(connection: psycopg.Connection[Any], database: str) -> None:
    jobs = [Written([document("a")])]
    record(connection, jobs)
    batch = claim(connection, settings=SHORT)
    ready = decided(connection, jobs, batch)
    with held(batch, SHORT, lambda: connect(database)) as lease:
        connection.execute("UPDATE ledger.job SET batch_id = gen_random_uuid()")
        connection.commit()
        until(lambda: is_lost(lease))
        with pytest.raises(LeaseLost, match=batch.batch_id):
            load_jobs(ready, batch, connection, SHORT, START, lease)
    assert connection.execute("SELECT count(*) FROM pgstac.items").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM pgstac.collections").fetchone() == (0,)


def test_a_ledger_that_cannot_be_reached_for_as_long_as_a_lease_lasts_is_a_loss(
    connection: psycopg.Connection[Any],
) -> None:
    record(connection, [Written([document("a")])])
    batch = claim(connection, settings=SHORT)

    def away() -> Connection:
        raise DatabaseUnavailable("it is away")

    with held(batch, SHORT, away) as lease:
        lease.check()
        until(lambda: is_lost(lease))


def test_a_batch_that_ended_has_lost_nothing(connection: psycopg.Connection[Any], database: str) -> None:
    jobs = [Written([document("a")])]
    record(connection, jobs)
    batch = claim(connection, settings=SHORT)
    with held(batch, SHORT, lambda: connect(database)) as lease:
        load_jobs(decided(connection, jobs, batch), batch, connection, SHORT, START, lease)
        time.sleep(SHORT.lease.total_seconds())
        lease.check()
