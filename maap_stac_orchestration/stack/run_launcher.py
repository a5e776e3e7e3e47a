"""Dagster's launcher of runs on one machine, which also tells when a run's process is gone.

Here belongs whether a run that counts as running does run. Not here: launchers for clusters, which tell it themselves,
and how a run's process is begun (`code_server`).

Dagster's own `DefaultRunLauncher` (1.13) leaves it to the code server to notice that a run was killed. Where the code
server dies too (a power cut, `kill -9` of the stack, the kernel out of memory), nobody does: the run counts as running
until `max_runtime_seconds` have passed, hours in which it keeps its place in the queue, and one such run of a backfill
holds up the whole backfill. With this launcher Dagster's run monitoring asks every half minute.
"""

from __future__ import annotations

import json

from dagster import DagsterRun
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value


class WatchedRunLauncher(DefaultRunLauncher):
    """`DefaultRunLauncher`, whose runs Dagster's run monitoring can ask after."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Run monitoring calls `check_run_worker_health` for each run that counts as started."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Asks the code server that began the run whether it has it.

        A code server that was started anew has none of the runs of the one before. One that does not answer may be busy
        or on its way up, so that nothing follows from it. A run that ended a moment ago is not had any more either;
        run monitoring looks at its state once more before it counts as failed.
        """
        where = run.tags.get(GRPC_INFO_TAG)
        if where is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "No code server has taken it on yet.")
        address = json.loads(where)
        client = DagsterGrpcClient(
            host=address.get("host"),
            port=address.get("port"),
            socket=address.get("socket"),
            use_ssl=bool(address.get("use_ssl")),
        )
        try:
            answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id))
        except DagsterUserCodeUnreachableError as error:
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"The code server does not answer: {error}")
        if deserialize_value(answer, CanCancelExecutionResult).can_cancel:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(
            WorkerStatus.FAILED, "the code server, which was started anew since, has no process of this run"
        )
