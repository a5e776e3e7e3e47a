"""An operator tries jobs again at the command line: those that are named, or all that match."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from maap_stac_orchestration.ledger.jobs import get_job
from maap_stac_orchestration.ledger.outcomes import finish
from maap_stac_orchestration.ledger.records import State
from maap_stac_orchestration.problems import Code, Problem
from tests.integration.cli.commands import Run
from tests.integration.ledger.build import Connection, discover, ended, prefix, prefixes, seen, states, take

TODAY = datetime.now(UTC).date()
YESTERDAY, LONG_AGO = TODAY - timedelta(days=1), TODAY - timedelta(days=30)
MISSING = (Problem(Code.LINK_MISSING, "s3://b/item.json"),)


def job(number: int = 0, *, username: str = "ana", state: State = State.REJECTED, long_ago: bool = False) -> str:
    return prefix(number, day=LONG_AGO if long_ago else YESTERDAY, username=username)


def ends(connection: Connection, *jobs: str, state: State = State.REJECTED) -> None:
    """Puts jobs into the ledger that ended so, for want of an item."""
    discover(connection, *(seen(one) for one in jobs))
    for day in (YESTERDAY, LONG_AGO):
        batch = take(connection, day=day)
        problems = () if state is State.LOADED else MISSING
        finish(connection, batch, [ended(one, state, problems=problems) for one in batch.jobs])
    connection.commit()


def test_those_that_match_are_tried_again(maap_stac: Run, connection: Connection) -> None:
    ends(connection, job(1), job(2, username="ben"), job(3, long_ago=True))
    ends(connection, job(4), state=State.LOADED)
    picked = ("--username", "ana", "--state", "rejected", "--code", "link_missing", "--since", "2d")
    looked = maap_stac("retry", *picked, "--dry-run")
    assert looked.code == 0, looked.stderr
    assert looked.stdout == f"1 job would be tried again:\n  rejected    {job(1)}\n"
    assert set(states(connection).values()) == {"rejected", "loaded"}
    connection.commit()
    done = maap_stac("retry", *picked)
    assert done.stdout.startswith(f"1 job tried again:\n  rejected    {job(1)}\n")
    assert [one for one, state in states(connection).items() if state == "discovered"] == [job(1)]


def test_a_named_job_is_tried_again_and_its_history_tells_by_whom_and_why(
    maap_stac: Run, connection: Connection
) -> None:
    ends(connection, job(1), job(2))
    told = maap_stac("retry", job(1), "--by", "bea", "--reason", "the bucket was closed", "--json").json()
    assert told["retried"] == [{"bucket": "maap-ops-workspace", "prefix": job(1), "before": "rejected"}]
    assert (told["matched"], told["skipped"], told["dry_run"]) == (1, {}, False)
    detail = get_job(connection, job(1))
    assert detail is not None
    assert detail.transitions[-1].reason == "bea asked to try it again: the bucket was closed"
    assert states(connection)[job(2)] == "rejected"


def test_loaded_jobs_need_force(maap_stac: Run, connection: Connection) -> None:
    ends(connection, job(1), state=State.LOADED)
    left = maap_stac("retry", job(1))
    assert left.code == 1
    assert left.stdout == (
        "0 jobs tried again.\n1 job left: loaded, so there is nothing to mend; --force tries them again all the same.\n"
    )
    assert maap_stac("retry", job(1), "--force").code == 0
    assert states(connection) == {job(1): "discovered"}


def test_a_job_that_a_run_holds_is_left_to_it_unless_forced(maap_stac: Run, connection: Connection) -> None:
    discover(connection, seen(job(1)))
    take(connection, day=YESTERDAY)
    left = maap_stac("retry", job(1))
    assert left.code == 1
    assert "a run is at work on them; the last lease lasts until " in left.stdout
    assert maap_stac("retry", job(1), "--force").code == 0
    assert prefixes(take(connection, day=YESTERDAY)) == [job(1)]


def test_what_is_not_known_is_told_and_the_others_are_done(maap_stac: Run, connection: Connection) -> None:
    ends(connection, job(1))
    told = maap_stac("retry", "nobody/dps_output/", job(1))
    assert told.code == 1
    assert told.stdout.startswith("1 job tried again:")
    assert "nobody/dps_output/: no job with this output prefix has come to notice" in told.stderr


@pytest.mark.parametrize("arguments", [(), ("--force",), ("--dry-run", "--limit", "5")])
def test_without_a_name_or_a_condition_it_refuses_and_says_what_picks(
    maap_stac: Run, connection: Connection, arguments: tuple[str, ...]
) -> None:
    ends(connection, job(1))
    told = maap_stac("retry", *arguments)
    assert told.code == 2
    assert "pick them by --username, --algorithm, --version, --tag, --state" in told.stderr
    assert states(connection) == {job(1): "rejected"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((job(1), "--tag", "demo"), "Either name jobs or pick them by conditions"),
        (("--since", "yesterday"), "'yesterday' is no time. Write how long ago (30m, 3h, 2d)"),
        (("--code", "no_such"), "Invalid value for '--code'"),
        (("s3:///x",), "s3:///x is not an address in S3."),
        (("--tag", "demo", "--by", " "), "--by is empty"),
        (("--tag", "demo", "--limit", "1"), "2 jobs match, more than --limit 1. Nothing was done"),
    ],
)
def test_wrong_use_is_told_in_a_sentence(
    maap_stac: Run, connection: Connection, arguments: tuple[str, ...], sentence: str
) -> None:
    ends(connection, job(1), job(2))
    told = maap_stac("retry", *arguments)
    assert told.code == 2
    assert sentence in told.stderr
    assert set(states(connection).values()) == {"rejected"}


def test_where_no_job_is_in_the_state_it_says_in_which_they_are(maap_stac: Run, connection: Connection) -> None:
    ends(connection, job(1), job(2))
    told = maap_stac("retry", "--state", "failed", "--code", "link_missing")
    assert (told.code, told.stdout) == (0, "No job matches.\nIn other states there are: 2 rejected.\n")


def test_until_takes_how_long_ago_too(maap_stac: Run, connection: Connection) -> None:
    ends(connection, job(1), job(3, long_ago=True))
    told = maap_stac("retry", "--until", "1w", "--json").json()
    assert [one["prefix"] for one in told["retried"]] == [job(3, long_ago=True)]
    since = maap_stac("retry", "--since", YESTERDAY.isoformat(), "--until", TODAY.isoformat(), "--json").json()
    assert [one["prefix"] for one in since["retried"]] == [job(1)]


def test_the_example_in_the_help_works(maap_stac: Run) -> None:
    told = maap_stac("retry", "--help")
    assert told.code == 0
    assert "maap-stac retry --state rejected --state partial --code link_missing --since 2d --dry-run" in told.stdout
    example = "--state rejected --state partial --code link_missing --since 2d --dry-run"
    assert maap_stac("retry", *example.split()).stdout == "No job matches.\n"
