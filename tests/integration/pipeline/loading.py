"""A process that claims, decides and loads the jobs of `scene`, to be killed in the midst of it or run beside others.

Run as `python -m tests.integration.pipeline.loading DATABASE_URL RUN_ID [JOBS_AT_A_TIME]`.
"""

from __future__ import annotations

import sys

import psycopg

from maap_stac_orchestration.ledger import claims
from maap_stac_orchestration.pipeline.load import load_jobs
from tests.integration.pipeline.batches import SETTINGS, START, Written, decided, document

#: How the process calls itself in pg_stat_activity.
APPLICATION = "loading"


def scene() -> list[Written]:
    """Jobs of three groups: the first two write to one collection each, with one item twice and one bad item; the third
    writes nothing."""
    return [
        *(
            Written(
                [
                    document(f"{tag}-{number}-{item}", west=float(item), moment=f"2024-0{number + 1}-01T00:00:00Z")
                    for item in range(5)
                ]
                + [document(f"{tag}-shared", title=f"of job {number}")],
                tag=tag,
                minute=number,
            )
            for tag in ("first", "second")
            for number in range(4)
        ),
        Written([document("bad", moment="2024-06-31T00:00:00Z"), document("good")], tag="second", minute=30),
        Written([], tag="third", minute=40),
    ]


def run(database: str, run_id: str, jobs_at_a_time: int = 1000) -> None:
    """Claims until nothing is due."""
    jobs = scene()
    with psycopg.connect(database, application_name=APPLICATION) as conn:
        while True:
            batch = claims.claim(
                conn,
                day=START.date(),
                run_id=run_id,
                lease=SETTINGS.lease,
                max_jobs=jobs_at_a_time,
                max_items=100_000,
                wait_deadline=SETTINGS.wait_deadline,
                max_attempts=SETTINGS.max_attempts,
            )
            conn.commit()
            if not batch.jobs:
                return
            load_jobs(decided(conn, jobs, batch), batch, conn, SETTINGS, START)


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1000)
