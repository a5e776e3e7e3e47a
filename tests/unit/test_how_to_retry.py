"""What a check says of trying its jobs again is what the job `retry` and the command take."""

from __future__ import annotations

import shlex
from datetime import date
from urllib.parse import parse_qs, urlsplit

import dagster as dg
import pytest
import yaml

from assets.how_to_retry import LOCATION, Picked, fix_of
from maap_stac_orchestration.cli.retry import command as retry_command
from maap_stac_orchestration.definitions import defs
from maap_stac_orchestration.ledger.records import BROKEN
from maap_stac_orchestration.problems import WORDINGS, Code
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.stack import parts

DAY = date(2025, 12, 31)
EVERY = [
    *(Picked(state=str(state), day=day) for state in BROKEN for day in (DAY, None)),
    *(Picked(code=str(code), day=day) for code in Code for day in (DAY, None)),
]


@pytest.mark.parametrize("picked", EVERY, ids=str)
def test_the_job_takes_the_configuration(picked: Picked) -> None:
    run_config = picked.run_config()
    found = dg.validate_run_config(defs.resolve_job_def("retry"), run_config)["ops"]["retry"]["config"]
    given = {"state": picked.state, "code": picked.code, "force": picked.force, "dry_run": False}
    assert found.items() >= (given | dict(picked.span)).items()


@pytest.mark.parametrize("picked", EVERY, ids=str)
def test_the_command_takes_the_options(picked: Picked) -> None:
    program, name, *options = shlex.split(picked.command())
    assert (program, name) == ("maap-stac", "retry")
    parsed = retry_command.make_context("retry", options, resilient_parsing=False).params
    assert parsed["code"] == picked.code
    assert parsed["force"] == picked.force


def test_the_last_day_of_a_year_ends_where_the_next_year_begins() -> None:
    assert Picked(code="link_missing", day=DAY).span == {"since": "2025-12-31", "until": "2026-01-01"}


@pytest.mark.parametrize(
    ("code", "forced"),
    [("link_missing", False), ("asset_missing", True), ("user_not_authorized", True), ("identity_mismatch", False)],
)
def test_jobs_that_are_loaded_with_a_loss_are_forced(code: str, forced: bool) -> None:
    assert Picked(code=code).force is forced


def test_the_launchpad_is_given_what_the_job_takes() -> None:
    picked = Picked(code="link_missing", day=DAY)
    address = urlsplit(picked.launchpad(Settings(dagster_url="https://dagster.test/")) or "")
    assert yaml.safe_load(parse_qs(address.query)["config"][0]) == picked.run_config()
    assert picked.launchpad(Settings()) is None


def test_the_location_is_called_as_the_stack_calls_it() -> None:
    assert LOCATION == parts.LOCATION


def test_everything_has_a_fix() -> None:
    assert [fix_of(str(code)) for code in Code] == [WORDINGS[code].fix for code in Code]
    assert all(fix_of(str(state)).endswith(".") for state in BROKEN)
