"""Runs begin warm: what they need is imported before they are asked for."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
from dagster._grpc.server import DagsterApiServer

from maap_stac_orchestration.stack.code_server import PRELOADED

_SHOW = """
import multiprocessing, sys
from maap_stac_orchestration.stack.code_server import warm_runs

def loaded(queue, names):
    queue.put([name for name in names if name in sys.modules])

if __name__ == "__main__":
    warm_runs()
    assert multiprocessing.get_context("fork").get_start_method() == "fork"
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=loaded, args=(queue, sys.argv[1:]))
    process.start()
    print("\\n".join(queue.get(timeout=60)))
    process.join()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere runs begin cold, as Dagster has it")
def test_a_run_finds_everything_imported(tmp_path) -> None:  # type: ignore[no-untyped-def]
    script = tmp_path / "show.py"
    script.write_text(_SHOW)
    shown = subprocess.run(
        [sys.executable, str(script), *PRELOADED], capture_output=True, text=True, timeout=120, check=False
    )
    assert shown.stdout.split() == list(PRELOADED), shown.stderr


def test_dagster_still_begins_runs_in_the_way_that_is_replaced() -> None:
    assert 'get_context("spawn")' in inspect.getsource(DagsterApiServer.__init__)
