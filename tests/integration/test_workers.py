"""Spreading tests over processes loses none of them, keeps together what shares a fixture, and ends tidily."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Writes which process began which test, and which fixtures were stopped.
CONFTEST = """
import os, pathlib, pytest

def note(what):
    with open({log!r}, "a") as log:
        log.write(f"{{what}} {{os.getpid()}}\\n")

def pytest_runtest_setup(item):
    note(item.name)

@pytest.fixture(scope="module")
def server(request):
    yield
    __import__("time").sleep({stopping})
    note("stopped")
"""


class Project:
    """A folder with tests, and what was done there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log"

    def write(self, stopping: float = 0, **files: str) -> None:
        """Writes test files; `server` is a fixture that takes some seconds to stop."""
        (self.folder / "pytest.ini").write_text("[pytest]\n")
        (self.folder / "conftest.py").write_text(CONFTEST.format(log=str(self.log), stopping=stopping))
        for name, text in files.items():
            path = self.folder / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts pytest with two workers."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PY_"))}
        return subprocess.Popen(
            # Who starts a program in the background of a script has it ignore what these tests send.
            [
                *("env", "--default-signal=INT,TERM"),
                *(sys.executable, "-m", "pytest", "-p", "xdist", "-p", "tests.workers", "-n", "2", *arguments),
            ],
            cwd=self.folder,
            # Plugins that are there for other tests take seconds to import.
            env=environment | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        """How pytest ended, and what it said."""
        with self.start(*arguments) as process:
            said, _ = process.communicate(timeout=120)
        return process.returncode, said

    def noted(self) -> list[tuple[str, str]]:
        """Test or "stopped", and the process, in their order."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [(line.rpartition(" ")[0], line.rpartition(" ")[2]) for line in lines]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def many(name: str, number: int = 6) -> str:
    return f"import pytest\n\n@pytest.mark.parametrize('n', range({number}))\ndef test_{name}(n):\n    pass\n"


def test_each_test_runs_once_even_where_all_have_the_same_id(project: Project) -> None:
    same_id = "def pytest_collection_modifyitems(items):\n    for item in items:\n        item._id = items[0]._id\n"
    project.write(test_a=many("a", 20), test_b=many("b", 20))
    with (project.folder / "conftest.py").open("a") as conftest:
        conftest.write(same_id)
    code, said = project.run()
    assert (code, "40 passed" in said) == (0, True), said
    names = [name for name, _ in project.noted()]
    assert sorted(names) == sorted([f"test_{file}[{number}]" for file in "ab" for number in range(20)])


def test_the_tests_of_a_file_share_a_process_and_so_do_all_of_acceptance(project: Project) -> None:
    project.write(
        test_a=many("a"),
        test_b=many("b"),
        tests__acceptance__test_c=many("c"),
        tests__acceptance__test_d=many("d"),
    )
    code, said = project.run()
    assert code == 0, said
    processes: dict[str, set[str]] = {}
    for name, process in project.noted():
        processes.setdefault(name[:6], set()).add(process)
    assert all(len(one) == 1 for one in processes.values()), processes
    assert processes["test_c"] == processes["test_d"]
    assert len(set.union(*processes.values())) == 2


def test_after_the_first_failure_no_worker_goes_on_to_the_end_of_its_file(project: Project) -> None:
    slow = "import pytest, time\n\n@pytest.mark.parametrize('n', range(300))\ndef test_slow(n):\n    time.sleep(0.1)\n"
    project.write(test_a="import time\n\ndef test_a():\n    time.sleep(1)\n    assert False\n", test_b=slow)
    code, said = project.run("-x")
    assert (code, "stopping after 1 failures" in said) == (2, True), said
    assert len(project.noted()) < 100


def test_a_worker_that_dies_costs_one_test(project: Project) -> None:
    project.write(test_a="import os\n\ndef test_dies():\n    os._exit(3)\n\n\n" + many("a"), test_b=many("b"))
    code, said = project.run()
    assert (code, "1 failed, 12 passed" in said) == (1, True), said
    assert "crashed while running 'test_a.py::test_dies'" in said


def test_workers_that_found_different_tests_run_none(project: Project) -> None:
    by_chance = "import os, pytest\n\n@pytest.mark.parametrize('n', [os.getpid()])\ndef test_a(n):\n    pass\n"
    project.write(test_a=by_chance)
    code, said = project.run()
    assert (code, "The workers found different tests" in said) == (4, True), said
    assert project.noted() == []


@pytest.mark.parametrize("everybody", [True, False], ids=["by a terminal", "by kill"])
def test_who_interrupts_a_run_leaves_no_server_behind(project: Project, everybody: bool) -> None:
    waiting = "import time\n\ndef test_waits(server):\n    time.sleep(100)\n"
    project.write(stopping=6, test_a=waiting, test_b=waiting)
    process = project.start()
    try:
        until = time.monotonic() + 60
        while len(project.noted()) < 2:
            assert time.monotonic() < until, "the tests never began"
            time.sleep(0.1)
        if everybody:
            for _, worker in project.noted():
                os.kill(int(worker), signal.SIGINT)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 2, said
    assert [name for name, _ in project.noted()[2:]] == ["stopped", "stopped"]
