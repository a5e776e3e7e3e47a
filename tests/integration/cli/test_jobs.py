"""`maap-stac jobs`: lists that can be read and copied, counts by group, and following jobs until they have ended."""

from __future__ import annotations

import itertools
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.api.models import JobsModel, SummaryModel
from maap_stac_orchestration.cli.following import shares
from maap_stac_orchestration.ledger.outcomes import finish
from maap_stac_orchestration.ledger.records import Batch, State
from maap_stac_orchestration.problems import WORDINGS, Code, Problem
from tests.integration.cli.commands import Run
from tests.integration.ledger.build import discover, ended, prefix, seen, take

Connection = psycopg.Connection[tuple[Any, ...]]

MISSING = Problem(Code.LINK_MISSING, "tile-7.json", "It is linked in catalog.json.")
LOCAL = Problem(Code.ASSET_LOCAL_PATH, "tile-7#image", "Its href is /tmp/x.tif, and no file of the job has that name.")

#: Number of the job -> how it ends.
ENDS: dict[int, tuple[State, dict[str, Any]]] = {
    0: (State.LOADED, {"loaded": 2}),
    1: (State.LOADED, {"loaded": 1, "problems": (LOCAL,)}),
    2: (State.PARTIAL, {"loaded": 1, "refused": 1, "problems": (MISSING, LOCAL)}),
    3: (State.REJECTED, {"refused": 1, "problems": (MISSING,)}),
}


def end(connection: Connection, batch: Batch, ends: dict[int, tuple[State, dict[str, Any]]] = ENDS) -> None:
    """Ends the jobs of the batch that are named, and commits."""
    for number, (state, more) in ends.items():
        job = next(one for one in batch.jobs if one.prefix in (prefix(number), prefix(number, tag=None)))
        finish(connection, batch, [ended(job, state, **more)])
    connection.commit()


@pytest.fixture
def four(connection: Connection) -> Connection:
    """Four jobs that ended in three ways, and one that is discovered."""
    discover(connection, *[seen(prefix(number)) for number in range(4)])
    end(connection, take(connection))
    discover(connection, seen(prefix(9, tag="later")))
    return connection


def test_a_list_in_a_file_has_one_line_a_job_with_its_whole_prefix_and_no_colours(
    maap_stac: Run, four: Connection
) -> None:
    answer = maap_stac("jobs", "--tag", "demo")
    assert answer.code == 0
    assert "\x1b" not in answer.stdout
    rows = [line for line in answer.stdout.splitlines() if "dps_output" in line]
    assert [line.split()[-1] for line in rows] == [prefix(number) for number in (3, 2, 1, 0)]
    assert [line.split()[0] for line in rows] == ["rejected", "partial", "loaded", "loaded"]
    assert "2025-08-07 00:00:02" in rows[1]
    assert "1 item, 1 refused" in rows[1]
    assert "asset_local_path, link_missing" in rows[1]


@pytest.mark.parametrize("columns", [80, 200])
def test_on_a_terminal_of_any_width_no_line_is_broken_inside_a_prefix(
    maap_stac: Run, four: Connection, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    discover(four, seen(prefix(5, tag="a-long-name-of-a-tag/of-several-parts/and-more")))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = maap_stac("jobs").stdout
    assert "\x1b[31m" in shown
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    lines = plain.splitlines()
    for number in range(4):
        assert sum(prefix(number) in line for line in lines) == 1
    assert prefix(5, tag="a-long-name-of-a-tag/of-several-parts/and-more") in plain
    # Only prefixes may be longer than the terminal is wide.
    assert all(len(line) <= columns for line in lines if "dps_output" not in line)
    assert ("rejected" in next(line for line in lines if prefix(3) in line)) == (columns == 200)


def test_without_colours_where_somebody_does_not_want_them(
    maap_stac: Run, four: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", maap_stac("jobs").stdout)


def test_what_a_job_is_called_cannot_command_the_terminal(maap_stac: Run, connection: Connection) -> None:
    discover(connection, seen(prefix(0, tag="\x1b[2Jx[red]")))
    shown = maap_stac("jobs").stdout
    assert "\x1b" not in shown
    assert r"\x1b[2Jx[red]" in shown


def test_json_is_the_document_of_the_api_with_all_that_were_asked_for(
    maap_stac: Run, four: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maap_stac_orchestration.cli.jobs._PAGE", 2)
    document = maap_stac("jobs", "--json").json()
    JobsModel.model_validate(document)
    assert [job["prefix"] for job in document["jobs"]] == [
        prefix(9, tag="later"),
        *(prefix(number) for number in (3, 2, 1, 0)),
    ]
    assert maap_stac("jobs", "--all", "--limit", "1", "--json").json() == document
    three = maap_stac("jobs", "--limit", "3", "--json")
    assert three.json()["jobs"] == document["jobs"][:3]
    assert "the newest 3" in three.stderr
    exactly = maap_stac("jobs", "--limit", "5", "--json")
    assert exactly.json() == document
    assert exactly.stderr == ""


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (["--code", "link_missing"], [3, 2]),
        (["--state", "loaded"], [1, 0]),
        (["--since", "2025-08-07T00:00:02Z"], [3, 2]),
        (["--until", "2025-08-07T00:00:02"], [1, 0]),
        (["--since", "2025-08-07", "--until", "2025-08-08", "--code", "asset_local_path"], [2, 1]),
        (["--username", "ana", "--algorithm", "flood", "--version", "v1", "--run-id", "run"], [3, 2, 1, 0]),
        (["--username", "bob"], []),
        (["--since", "1d"], []),
    ],
)
def test_every_option_picks(maap_stac: Run, four: Connection, options: list[str], numbers: list[int]) -> None:
    found = maap_stac("jobs", "--tag", "demo", *options, "--json").json()["jobs"]
    assert [job["prefix"] for job in found] == [prefix(number) for number in numbers]


def test_nothing_found_is_said(maap_stac: Run, connection: Connection) -> None:
    for options in ([], ["--by", "tag"]):
        answer = maap_stac("jobs", *options)
        assert (answer.code, answer.stdout) == (0, "No such job has come to notice.\n")


def test_counts_by_group_are_a_table_and_the_document_of_the_api(maap_stac: Run, four: Connection) -> None:
    document = maap_stac("jobs", "--by", "username,tag", "--json").json()
    SummaryModel.model_validate(document)
    assert {group["tag"]: group["states"] for group in document["groups"]} == {
        "demo": {"loaded": 2, "partial": 1, "rejected": 1},
        "later": {"discovered": 1},
    }
    head, *rows = [
        line.split() for line in maap_stac("jobs", "--by", "username,tag").stdout.splitlines() if line.strip()
    ]
    assert head[:7] == ["username", "tag", "jobs", "loaded", "partial", "rejected", "discovered"]
    assert ["ana", "demo", "4", "2", "1", "1", "–", "4", "2"] in [row[:9] for row in rows]
    assert ["ana", "later", "1", "–", "–", "–", "1", "0", "0"] in [row[:9] for row in rows]


@pytest.mark.parametrize("columns", [80, 200])
def test_counts_by_group_fit_the_terminal(
    maap_stac: Run, four: Connection, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    discover(four, seen(prefix(5, tag="a-long-name-of-a-tag/of-several-parts/and-more")))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = re.sub(r"\x1b\[[0-9;]*m", "", maap_stac("jobs", "--by", "username,algorithm,version,tag").stdout)
    assert all(len(line) <= columns for line in shown.splitlines())
    assert ("by state" in shown) == (columns == 80)
    for words in ("1 partial", "1 rejected", "2 loaded") if columns == 80 else ("partial", "rejected", "loaded"):
        assert words in shown


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--by", "colour"], "--by takes one or more of username, algorithm, version, tag"),
        (["--by", ""], "--by takes"),
        (["--follow", "--state", "waiting"], "--state does not go with --follow"),
        (["--follow", "--code", "link_missing"], "--code does not go with --follow"),
        (["--follow", "--by", "tag"], "--by does not go with --follow"),
        (["--expect", "3"], "add it, or leave them out"),
        (["--timeout", "3"], "add it, or leave them out"),
        (["--since", "yesterday"], "'yesterday' is no time"),
        (["--code", "no_such_code"], "link_missing"),
        (["--limit", "0"], "--limit"),
    ],
)
def test_wrong_use_is_told(maap_stac: Run, database: str, options: list[str], said: str) -> None:
    answer = maap_stac("jobs", *options)
    assert answer.code == 2
    assert said in answer.stderr


# Following.


@pytest.fixture
def behind(connection: Connection) -> Iterator[Callable[[Callable[[], None]], None]]:
    """Does something in a moment, while a command is at work."""
    threads: list[threading.Thread] = []

    def start(do: Callable[[], None]) -> None:
        def later() -> None:
            time.sleep(1)
            do()

        thread = threading.Thread(target=later)
        threads.append(thread)
        thread.start()

    yield start
    for thread in threads:
        thread.join(30)


def test_following_ends_when_all_have_ended_and_says_what_is_to_be_done(
    maap_stac: Run, connection: Connection, behind: Callable[[Callable[[], None]], None]
) -> None:
    discover(connection, *[seen(prefix(number)) for number in range(4)])
    behind(lambda: end(connection, take(connection)))
    answer = maap_stac("jobs", "--tag", "demo", "--follow")
    assert answer.code == 1
    lines = answer.stdout.splitlines()
    assert lines[0] == "0:00:00  0 of 4 jobs ended: 4 discovered"
    assert [line for line in lines if " 4 of 4 jobs ended: 2 loaded, 1 partial, 1 rejected" in line]
    assert re.match(r"All 4 jobs have ended after 0:0\d:\d\d: 2 loaded, 1 partial, 1 rejected\.", lines[-7])
    assert lines[-6:-2] == [
        "  error link_missing in 2 jobs",
        f"    → {WORDINGS[Code.LINK_MISSING].fix}",
        "  warning asset_local_path in 2 jobs",
        f"    → {WORDINGS[Code.ASSET_LOCAL_PATH].fix}",
    ]
    assert "`maap-stac jobs --tag demo` with --state partial or --state rejected" in lines[-2]
    assert lines[-1] == "After the repair, `maap-stac retry --tag demo` tries them again."
    # A line for each change, none without.
    changes = [line.partition("  ")[2] for line in lines[:-7]]
    assert len(changes) == len(set(changes))


def test_following_jobs_that_are_all_loaded_is_fine(maap_stac: Run, connection: Connection) -> None:
    discover(connection, seen(prefix(0)), seen(prefix(1)))
    end(connection, take(connection), {number: ENDS[number] for number in (0, 1)})
    answer = maap_stac("jobs", "--follow", "--since", "2025-08-07", "--json")
    assert answer.code == 0
    document = answer.json()
    assert document.pop("seconds") >= 0
    assert document == {
        "jobs": 2,
        "ended": True,
        "states": {"loaded": 2},
        "items": {"loaded": 3, "unchanged": 0, "fallback": 0, "refused": 0},
        "problems": [
            {
                "code": "asset_local_path",
                "severity": "warning",
                "jobs": 1,
                "fix": WORDINGS[Code.ASSET_LOCAL_PATH].fix,
            }
        ],
    }
    assert "2 of 2 jobs ended: 2 loaded" in answer.stderr


def test_as_many_jobs_are_waited_for_as_are_expected(
    maap_stac: Run, connection: Connection, behind: Callable[[Callable[[], None]], None]
) -> None:
    discover(connection, seen(prefix(0)))
    end(connection, take(connection), {0: ENDS[0]})

    def second() -> None:
        discover(connection, seen(prefix(1)))
        end(connection, take(connection), {1: ENDS[1]})

    behind(second)
    answer = maap_stac("jobs", "--follow", "--expect", "2")
    assert answer.code == 0
    assert answer.stdout.startswith("0:00:00  1 of 2 jobs ended: 1 loaded\n")
    assert "All 2 jobs have ended" in answer.stdout


def test_it_is_given_up_when_the_time_is_over(maap_stac: Run, connection: Connection) -> None:
    assert maap_stac("jobs", "--follow", "--timeout", "0.1").stdout.splitlines() == [
        "0:00:00  0 of 1 job ended: none has come to notice yet",
        "0 of 1 had ended when the time was over after 0:00:00: none came to notice. 1 did not come to notice.",
    ]
    discover(connection, seen(prefix(0)))
    answer = maap_stac("jobs", "--follow", "--expect", "3", "--timeout", "0.1", "--json")
    assert answer.code == 1
    document = json.loads(answer.stdout)
    assert (document["ended"], document["jobs"], document["states"]) == (False, 1, {"discovered": 1})


def test_following_goes_on_when_the_database_ends_the_connection(
    maap_stac: Run, connection: Connection, behind: Callable[[Callable[[], None]], None]
) -> None:
    discover(connection, seen(prefix(0)))

    def interrupt() -> None:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'maap-stac jobs' AND datname = current_database()"
        )
        connection.commit()
        end(connection, take(connection), {0: ENDS[0]})

    behind(interrupt)
    answer = maap_stac("jobs", "--follow")
    assert answer.code == 0, answer.stderr
    assert "The job has ended" in answer.stdout


@pytest.fixture
def terminal(database_env: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., tuple[Any, int]]]:
    """Starts `maap-stac` on a terminal of its own; gives the process and the terminal's other end."""
    started: list[tuple[subprocess.Popen[bytes], int]] = []

    def start(*arguments: str) -> tuple[subprocess.Popen[bytes], int]:
        ours, its = pty.openpty()
        # As at a terminal, also where the tests were started with signals ignored.
        script = (
            "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
            "from maap_stac_orchestration.cli import main; main()"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            stdin=its,
            stdout=its,
            stderr=its,
            env={**os.environ, **database_env, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"},
            cwd=tmp_path,
        )
        os.close(its)
        started.append((process, ours))
        return process, ours

    yield start
    for process, ours in started:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(terminal: int, words: str, seconds: float = 30) -> str:
    """What the terminal shows until these words come, or it is closed."""
    shown = b""
    limit = time.monotonic() + seconds
    while words.encode() not in shown and time.monotonic() < limit:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                shown += os.read(terminal, 65536)
            except OSError:  # the other end was closed
                break
    return shown.decode()


def test_on_a_terminal_a_bar_moves_until_all_have_ended(
    terminal: Callable[..., tuple[Any, int]], connection: Connection
) -> None:
    discover(connection, *[seen(prefix(number)) for number in range(4)])
    process, screen = terminal("jobs", "--tag", "demo", "--follow")
    shown = read_until(screen, "0/4 ended")
    assert "─" in shown
    assert "0/4 ended" in shown
    end(connection, take(connection))
    shown = read_until(screen, "tries them again.")
    assert "4/4 ended" in shown
    assert "██" in shown
    assert "All 4 jobs have ended" in shown
    assert process.wait(30) == 1
    # The cursor, which hides while the bar moves, is back.
    assert shown.rindex("\x1b[?25h") > shown.rfind("\x1b[?25l")


def test_ctrl_c_ends_it_with_a_word_and_the_cursor_back(
    terminal: Callable[..., tuple[Any, int]], connection: Connection
) -> None:
    discover(connection, seen(prefix(0)))
    process, screen = terminal("jobs", "--follow")
    read_until(screen, "discovered")
    process.send_signal(signal.SIGINT)
    shown = read_until(screen, "Stopped.")
    assert "Stopped." in shown
    assert "Traceback" not in shown
    assert "\x1b[?25h" in shown
    assert process.wait(30) == 130


@given(numbers=st.lists(st.integers(0, 10_000_000), min_size=1, max_size=8), room=st.integers(8, 300))
def test_the_parts_of_a_bar_fill_it_and_none_vanishes(numbers: list[int], room: int) -> None:
    widths = shares(numbers, room)
    assert sum(widths) == room
    assert len(widths) == len(numbers)
    if sum(numbers):
        assert all((width > 0) == (number > 0) for width, number in zip(widths, numbers, strict=True))
        ordered = sorted(zip(numbers, widths, strict=True))
        assert all(low[1] <= high[1] + 1 for low, high in itertools.pairwise(ordered))
