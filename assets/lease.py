"""What becomes of a batch's lease between steps and when one of them fails.

Here belongs giving jobs back and taking them on again for a re-execution. Not here: keeping a lease while a stage works
(`maap_stac_orchestration.pipeline.lease`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg

from assets.resources import Connect

if TYPE_CHECKING:
    from maap_stac_orchestration.ledger.connection import Connection
    from maap_stac_orchestration.ledger.records import Batch
    from maap_stac_orchestration.settings import Settings


@contextmanager
def given_back_on_failure(context: dg.AssetExecutionContext, ledger: Connect) -> Iterator[None]:
    """Gives the run's jobs back when the step fails or is cancelled, so that the next run takes them on at once.

    A bad catalog never comes here; what does is infrastructure. The error goes on: the run is red.
    """
    import psycopg

    from maap_stac_orchestration.ledger import claims
    from maap_stac_orchestration.ledger.connection import DatabaseUnavailable

    try:
        yield
    except BaseException as failure:
        try:
            with ledger() as conn:
                given_back = claims.release(conn, run_id=context.run.run_id, reason=_told(failure))
                conn.commit()
            context.log.info(f"{given_back} jobs were given back and are due again.")
        except (psycopg.Error, DatabaseUnavailable) as second:
            # The lease runs out by itself; the first error is the one that tells.
            context.log.warning(f"The jobs could not be given back, their lease runs out by itself: {second}")
        raise


def of_this_run(context: dg.AssetExecutionContext, conn: Connection, batch: Batch, settings: Settings) -> Batch:
    """The batch, held by this run: a re-execution takes on what its parent had and nobody else took since."""
    from maap_stac_orchestration.ledger import claims

    if batch.run_id == context.run.run_id or not batch.jobs:
        return batch
    retaken = claims.retake(conn, batch, context.run.run_id, settings.lease)
    conn.commit()
    context.log.info(f"Took on {len(retaken.jobs)} of {len(batch.jobs)} jobs of run {batch.run_id} again.")
    return retaken


def _told(failure: BaseException) -> str:
    text = " ".join(str(failure).split()).removesuffix(".")
    name = type(failure).__name__
    return f"The run broke before it was done ({f'{name}: {text}'[:450] if text else name})."
