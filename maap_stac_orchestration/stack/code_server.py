"""Dagster's code server whose runs begin warm: each is forked from a process that has imported everything already.

Here belongs how a run's process is begun on one machine. Not here: Dagster's launchers for clusters (there a container
starts, and this is not used).

A run of a handful of jobs works for a second, and before that Python imports for four seconds of CPU (Dagster 2.0,
its Postgres storage 1.1, our stages 1.1), each time. Dagster's code server (1.13) begins runs with multiprocessing's
`spawn`, which starts over; `forkserver` has the same interface and starts over only once. So this module gives it that
one, and otherwise is `dagster api grpc`, with all that Dagster does for runs: ending them, and noticing when one was
killed. Measured from asking for a run to its start: 5 to 11 s before, 1 to 2 s with this.

Run as `python -m maap_stac_orchestration.stack.code_server` with the arguments of `dagster api grpc`.
"""

from __future__ import annotations

import multiprocessing
import sys
from multiprocessing.context import BaseContext
from typing import Any

#: What the process that runs are forked from imports, once. All of it must bear being forked: no threads, no
#: connections.
PRELOADED = (
    "dagster._cli.api",
    "dagster._grpc.server",
    "dagster_postgres",
    "maap_stac_orchestration.definitions",
    "maap_stac_orchestration.pipeline.decide",
    "maap_stac_orchestration.pipeline.discover",
    "maap_stac_orchestration.pipeline.lease",
    "maap_stac_orchestration.pipeline.load",
    "maap_stac_orchestration.pipeline.read",
    "maap_stac_orchestration.pipeline.registry",
    "maap_stac_orchestration.store.s3",
    "maap_stac_orchestration.warm",
)


def warm_runs() -> None:
    """Lets this process's Dagster begin runs by forking a warm process; where that is not safe, changes nothing.

    On macOS frameworks that Python loads may not be forked; there runs begin cold, as Dagster has it.
    """
    if sys.platform != "linux":
        return
    warm = multiprocessing.get_context("forkserver")
    warm.set_forkserver_preload(list(PRELOADED))
    get_context = multiprocessing.get_context

    def get_warm_context(method: str | None = None) -> BaseContext:
        return warm if method == "spawn" else get_context(method)

    multiprocessing.get_context = get_warm_context  # type: ignore[assignment]
    _begin(warm)


def _begin(warm: Any) -> None:
    """Starts the importing now, while nobody waits for a run."""
    from multiprocessing import forkserver

    assert warm.get_start_method() == "forkserver"
    forkserver.ensure_running()


def main() -> None:
    """Becomes Dagster's code server."""
    warm_runs()
    from dagster._cli.api import grpc_command

    grpc_command.main(args=sys.argv[1:], prog_name="code_server")


if __name__ == "__main__":
    main()
