"""How the tests are spread over several processes: how many there are, which tests stay together, how they end.

pytest loads this module as a plugin of its own. It speaks to pytest-xdist, which starts the processes ("workers") and
brings home what they found, and does nothing in a run without them. Not here: what tests need to run (`conftest`).

The tests of a file stay together and in their order, so that what they share is made once; so do all tests under
tests/acceptance, whose stacks are far too large to stand beside each other. Those start first: they take longest, and
mostly wait, while the other workers are busy with all else.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

#: More of them gain little, since the tests that share a stack take turns, and each has a database server of its own.
MOST_WORKERS = 4
#: Folders whose tests all stay together; of other tests, those of a file.
TOGETHER = ("tests/acceptance",)
#: Seconds that workers have to stop what they started when a run is interrupted: a whole stack, and that takes a while.
STOPPING_SECONDS = 90


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """How many workers `-n auto` means: as many as there are cores for whole folders, none for what is picked.

    Whoever names a file, a test or words of names waits for a few tests, which are done before workers have started.
    """
    picked = [
        *(config.getoption(option) for option in ("keyword", "markexpr", "lf")),
        *("::" in argument or Path(argument).is_file() for argument in config.args),
    ]
    if any(picked):
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_WORKERS) if cores > 1 else 0


def group(test: str) -> str:
    """What a test stays together with: its file, or one of the folders `TOGETHER`."""
    file = test.partition("::")[0]
    return next((folder for folder in TOGETHER if file.startswith(f"{folder}/")), file)


class GroupByGroup:
    """Gives each worker a group of tests, and another one when it is through; a scheduler of pytest-xdist.

    Like its `loadfile`, but for this: tests are told apart by their number, since those that are made from the OpenAPI
    document share their ids, and all but one of each were lost; they are handed out one by one, so that after a failure
    with `-x` no worker goes on to the end of its group; the order is that of the collection. pytest-xdist calls the
    methods, which are those of its protocol `Scheduling`.
    """

    def __init__(self, config: pytest.Config) -> None:
        from xdist.workermanage import parse_tx_spec_config

        self._expected = len(parse_tx_spec_config(config))
        self._collected: dict[WorkerController, list[str]] = {}
        #: Ids by number, once all workers have collected the same.
        self._tests: list[str] | None = None
        #: Groups that no worker has begun.
        self._waiting: deque[deque[int]] = deque()
        #: What is left of the group that a worker is at, and what it was handed and has not done.
        self._left: dict[WorkerController, deque[int]] = {}
        self._handed: dict[WorkerController, list[int]] = {}

    @property
    def nodes(self) -> list[WorkerController]:
        """The workers."""
        return list(self._handed)

    @property
    def collection_is_completed(self) -> bool:
        """Whether as many workers as were asked for know the tests."""
        return len(self._collected) >= self._expected

    @property
    def has_pending(self) -> bool:
        """Whether a test is left."""
        return bool(self._waiting) or any(self._left.values()) or any(self._handed.values())

    @property
    def tests_finished(self) -> bool:
        """Whether nothing is left to hand out."""
        return self._tests is not None and not self._waiting and not any(self._left.values())

    def add_node(self, node: WorkerController) -> None:
        """A worker has started."""
        self._left[node], self._handed[node] = deque(), []

    def add_node_collection(self, node: WorkerController, collection: Sequence[str]) -> None:
        """A worker has collected the tests.

        Raises:
            pytest.UsageError: they are others than those of another worker, so that numbers would mean different ones.
        """
        self._collected[node] = list(collection)
        for other in self._collected.values():
            if other != self._collected[node]:
                differing = set(other) ^ set(collection)
                raise pytest.UsageError(
                    f"The workers found different tests ({', '.join(sorted(differing)[:5]) or 'in another order'}): "
                    "parameters of a test must not come from a set, a clock or chance. Mend that, or run with -n 0."
                )

    def schedule(self) -> None:
        """All workers are ready, or one that takes the place of another."""
        if self._tests is None:
            self._tests = next(iter(self._collected.values()))
            groups: dict[str, deque[int]] = {}
            for number, test in enumerate(self._tests):
                groups.setdefault(group(test), deque()).append(number)
            together = [groups.pop(folder) for folder in TOGETHER if folder in groups]
            self._waiting.extend([*together, *groups.values()])
            # One test to each first, so that of few tests nobody takes two while another has none.
            for node in self.nodes:
                self._hand_out(node, ahead=1)
        for node in self.nodes:
            self._hand_out(node)

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        """A worker has done a test."""
        self._handed[node].remove(item_index)
        self._hand_out(node)

    def remove_node(self, node: WorkerController) -> str | None:
        """A worker has ended; gives the test that it died of, if it did."""
        self._collected.pop(node, None)
        handed, left = self._handed.pop(node), self._left.pop(node)
        died_of, *undone = handed or [None]
        left.extendleft(reversed(undone))
        if left:
            self._waiting.appendleft(left)
        for other in self.nodes:
            self._hand_out(other)
        return None if died_of is None or self._tests is None else self._tests[died_of]

    def mark_test_pending(self, item: str) -> None:
        """Part of the protocol; for plugins that run a test again, of which there is none here."""
        raise NotImplementedError

    def remove_pending_tests_from_node(self, node: WorkerController, indices: Sequence[int]) -> None:
        """Part of the protocol; for schedulers that take tests back, which this one does not."""
        raise NotImplementedError

    # A worker runs a test when it knows the next one, since that decides which fixtures stay: it needs two.
    def _hand_out(self, node: WorkerController, ahead: int = 2) -> None:
        if self._tests is None or node.shutting_down:
            return
        numbers = []
        while len(self._handed[node]) + len(numbers) < ahead and (self._left[node] or self._waiting):
            if not self._left[node]:
                self._left[node] = self._waiting.popleft()
            numbers.append(self._left[node].popleft())
        if numbers:
            self._handed[node].extend(numbers)
            node.send_runtest_some(numbers)
        if not self._left[node] and not self._waiting:
            node.shutdown()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config) -> GroupByGroup:
    """The scheduler, whatever --dist says."""
    return GroupByGroup(config)


_workers: list[WorkerController] = []


@pytest.hookimpl(optionalhook=True)
def pytest_testnodeready(node: WorkerController) -> None:
    """Keeps in mind whom an interrupt concerns."""
    _workers.append(node)


def pytest_keyboard_interrupt(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """Lets the workers stop what they started before pytest-xdist, which is not that patient, ends them.

    A second interrupt ends them at once.
    """
    if os.environ.get("PYTEST_XDIST_WORKER"):
        # pytest-xdist sends another one after five seconds, which must not break off the stopping.
        signal.signal(signal.SIGINT, _ignored)
    elif excinfo.type is KeyboardInterrupt and _workers:
        # A terminal interrupts the workers too, and what it sent should not meet what is sent here.
        time.sleep(1)
        for node in _workers:
            if not node.channel.isclosed():
                os.kill(node.gateway._rinfo().pid, signal.SIGINT)
        until = time.monotonic() + STOPPING_SECONDS
        for node in _workers:
            try:
                node.channel.waitclose(max(0.1, until - time.monotonic()))
            except (EOFError, node.channel.RemoteError, node.channel.TimeoutError) as error:
                print(f"A worker did not end well, and may have left servers behind: {error}")


def _ignored(number: int, frame: FrameType | None) -> Any:
    # Not SIG_IGN, which the programs that are started from here on would inherit.
    return None
