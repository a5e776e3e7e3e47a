"""Asset checks of a day: from the ledger, for the whole day, and red until the jobs are mended."""

from __future__ import annotations

from datetime import date, timedelta

import dagster as dg

from assets.checks import DENIALS
from maap_stac_orchestration.ledger.claims import claim
from maap_stac_orchestration.ledger.outcomes import finish
from maap_stac_orchestration.ledger.records import FinishedJob, State
from maap_stac_orchestration.problems import Code, Problem
from tests.integration.dagster.conftest import Location

DAY = date(2025, 8, 19)


def catalog(number: int, day: date = DAY) -> str:
    return f"ana/dps_output/alg/v1/tag/{day:%Y/%m/%d}/00/00/00/{number:06}/catalog.json"


def end(location: Location, state: State, *codes: Code, day: date = DAY) -> None:
    """Lets every due job of the day end like this."""
    with location.connect() as conn:
        batch = claim(
            conn,
            day=day,
            run_id="run",
            lease=timedelta(minutes=5),
            max_jobs=1000,
            max_items=10_000,
            wait_deadline=timedelta(minutes=15),
            max_attempts=5,
        )
        problems = tuple(Problem(code, "item.json") for code in codes)
        finish(conn, batch, [FinishedJob(job, state, problems=problems) for job in batch.jobs])
        conn.commit()


def check(location: Location) -> dict[str, dg.AssetCheckEvaluation]:
    """Runs the day, which has nothing due any more; gives the checks of the day by name."""
    done = location.run(DAY.isoformat())
    assert done.success
    return {one.check_name: one for one in done.get_asset_check_evaluations() if one.partition}


def red(location: Location) -> set[str]:
    return {name for name, one in check(location).items() if not one.passed}


def test_a_day_without_jobs_is_green(location: Location) -> None:
    evaluations = check(location)
    assert len(evaluations) == 5
    assert all(one.passed and one.partition == DAY.isoformat() for one in evaluations.values())


def test_each_problem_makes_its_check_red_and_a_second_run_does_not_make_it_green(location: Location) -> None:
    location.record(catalog(1))
    end(location, State.REJECTED, Code.CATALOG_UNREADABLE)
    location.record(catalog(2))
    end(location, State.PARTIAL, Code.ITEM_INVALID, Code.ASSET_MISSING, Code.USER_NOT_AUTHORIZED)
    location.record(catalog(3))
    end(location, State.LOADED)
    every = {"catalogs_readable", "items_valid", "assets_present", "no_denials", "all_loaded"}
    assert red(location) == every
    assert red(location) == every


def test_a_check_names_the_failing_jobs_and_counts_all_of_them(location: Location) -> None:
    location.record(*[catalog(number) for number in range(60)])
    end(location, State.REJECTED, Code.CATALOG_UNREADABLE)
    metadata = check(location)["catalogs_readable"].metadata
    assert metadata["failing_jobs"].value == 60
    table = metadata["failing_jobs_table"]
    assert isinstance(table, dg.TableMetadataValue)
    assert len(table.records) == 50
    newest = table.records[0].data
    assert newest["job"] == catalog(59).removesuffix("catalog.json")
    assert newest["state"] == "rejected"
    assert newest["code"] == "catalog_unreadable"
    assert metadata["failing_jobs_not_shown"].value == 10


def test_other_days_and_jobs_that_have_not_ended_do_not_count(location: Location) -> None:
    location.record(catalog(1, DAY + timedelta(days=1)), catalog(1, DAY - timedelta(days=1)))
    end(location, State.REJECTED, Code.CATALOG_UNREADABLE, day=DAY + timedelta(days=1))
    end(location, State.REJECTED, Code.CATALOG_UNREADABLE, day=DAY - timedelta(days=1))
    location.record(catalog(2))
    end(location, State.WAITING, Code.METADATA_MISSING)
    evaluations = check(location)
    assert all(one.passed for one in evaluations.values())
    assert evaluations["all_loaded"].metadata["not_ended"].value == 1


def test_a_day_is_green_again_when_its_jobs_are_mended(location: Location) -> None:
    location.record(catalog(1))
    end(location, State.REJECTED, Code.CATALOG_UNREADABLE)
    assert red(location) == {"catalogs_readable", "all_loaded"}
    location.record_version(catalog(1), "another")
    end(location, State.LOADED)
    assert red(location) == set()


def test_denials_are_told_by_job_code_and_count_with_links_to_all_of_them(location: Location) -> None:
    location.record(catalog(1), catalog(2))
    end(location, State.LOADED, Code.USER_NOT_AUTHORIZED)
    location.record(catalog(3))
    end(location, State.PARTIAL, Code.USER_NOT_AUTHORIZED, Code.ITEM_OWNED_BY_OTHER, Code.ASSET_MISSING)
    evaluation = check(location)["no_denials"]
    assert not evaluation.passed
    assert evaluation.severity is dg.AssetCheckSeverity.ERROR
    assert not evaluation.blocking
    assert evaluation.description == "3 jobs of 2025-08-19: user_not_authorized 3, item_owned_by_other 1"
    metadata = {name: value.value for name, value in evaluation.metadata.items()}
    assert metadata["failing_jobs"] == 3
    assert metadata["failing_jobs/user_not_authorized"] == 3
    assert metadata["failing_jobs/item_owned_by_other"] == 1
    assert metadata["failing_jobs/invalid_name"] == 0
    assert "failing_jobs/asset_missing" not in metadata
    since = "since=2025-08-19T00%3A00%3A00Z"
    assert {name: value for name, value in metadata.items() if str(value).startswith("http")} == {
        "decisions/user_not_authorized": f"http://stac.test/decisions?decision=user_not_authorized&{since}",
        "decisions/item_owned_by_other": f"http://stac.test/decisions?decision=item_owned_by_other&{since}",
        "jobs/user_not_authorized": f"http://stac.test/jobs?code=user_not_authorized&{since}",
        "jobs/item_owned_by_other": f"http://stac.test/jobs?code=item_owned_by_other&{since}",
    }
    named = {(row.data["job"], row.data["code"]) for row in metadata["failing_jobs_table"].records}
    assert named == {(catalog(n).removesuffix("catalog.json"), "user_not_authorized") for n in (1, 2, 3)}


def test_codes_of_documents_link_to_jobs_alone(location: Location) -> None:
    location.record(catalog(1))
    end(location, State.REJECTED, Code.CATALOG_UNREADABLE)
    evaluations = check(location)
    links = [name for name in evaluations["catalogs_readable"].metadata if name.startswith(("decisions/", "jobs/"))]
    assert links == ["jobs/catalog_unreadable"]
    numbers = {name: value.value for name, value in evaluations["no_denials"].metadata.items() if "/" in name}
    assert numbers == {f"failing_jobs/{code}": 0 for code in DENIALS}


def test_severities_tell_what_costs_items(location: Location) -> None:
    severities = {name: one.severity for name, one in check(location).items()}
    warnings = {name for name, severity in severities.items() if severity is dg.AssetCheckSeverity.WARN}
    assert warnings == {"assets_present"}
