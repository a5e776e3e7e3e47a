"""A process that loads, under a grant, the jobs whose items lie in the default collection, to be killed in the midst.

Run as `python -m tests.integration.pipeline.moving DATABASE_URL`.
"""

from __future__ import annotations

import sys

import psycopg

from maap_stac_orchestration.governance.registry import load_registry
from maap_stac_orchestration.pipeline.load import load_jobs
from tests.integration.pipeline.batches import SETTINGS, START, Written, claim, decided, document

#: How the process calls itself in pg_stat_activity.
APPLICATION = "moving"

GRANTED = load_registry("version: 1\ngrants:\n  - {collection: 'shared*', users: ['*'], create: true}\n", "test", None)
JOB = Written([document("a"), document("b", west=20.0)], requests={"a": "shared", "b": "shared"})


def run(database: str) -> None:
    """Claims and loads what is due."""
    with psycopg.connect(database, application_name=APPLICATION) as conn:
        batch = claim(conn)
        load_jobs(decided(conn, [JOB], batch, GRANTED), batch, conn, SETTINGS, START)


if __name__ == "__main__":
    run(sys.argv[1])
