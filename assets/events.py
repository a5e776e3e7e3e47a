"""Log events of a run: one line of JSON each in the run's stderr.

Here belongs that a step's events are written and name the run. Not here: which events there are
(`maap_stac_orchestration.log_events`) and when they happen (the library).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from maap_stac_orchestration import log_events


@contextmanager
def events_of_this_run(context: dg.AssetExecutionContext | dg.OpExecutionContext) -> Iterator[None]:
    """Sends the events that are written within to stderr, which Dagster keeps with the run, each with its id."""
    log_events.to_stderr()
    with log_events.bound(run_id=context.run.run_id):
        yield
