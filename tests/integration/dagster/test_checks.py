"""Asset checks of a day: from the ledger, for the whole day, and red until the jobs are mended."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from time import sleep
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import dagster as dg
import yaml

from assets.denials import DENIALS
from maap_stac_orchestration.ledger import days
from maap_stac_orchestration.ledger.claims import claim
from maap_stac_orchestration.ledger.outcomes import finish
from maap_stac_orchestration.ledger.records import FinishedJob, State
from maap_stac_orchestration.problems import WORDINGS, Code, Problem
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
    assert len(evaluations) == 6
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
    assert newest["page"] == f"http://stac.test/status/{quote(str(newest['job']), safe='')}"
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


def test_what_a_run_looks_at_while_another_records_the_day_is_what_there_is_then(location: Location) -> None:
    location.record(catalog(1))
    with location.connect() as other, ThreadPoolExecutor(1) as thread:
        days.look_alone(other, DAY)
        # As a run of the day would, with its results not yet recorded by the time the next one comes to its checks.
        later = thread.submit(red, location)
        with location.connect() as conn:
            while not conn.execute("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchall():
                conn.rollback()
                assert not later.done()
                sleep(0.05)
        location.record_version(catalog(1), "another")
        end(location, State.REJECTED, Code.CATALOG_UNREADABLE)
        other.commit()
        assert later.result(60) == {"catalogs_readable", "all_loaded"}


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
    metadata: dict[str, Any] = {name: value.value for name, value in evaluation.metadata.items()}
    assert metadata["failing_jobs"] == 3
    assert metadata["failing_jobs/user_not_authorized"] == 3
    assert metadata["failing_jobs/item_owned_by_other"] == 1
    assert metadata["failing_jobs/invalid_name"] == 0
    assert "failing_jobs/asset_missing" not in metadata
    span, job_span = "since=2025-08-19&until=2025-08-20", "job_since=2025-08-19&job_until=2025-08-20"
    links = {name: value for name, value in metadata.items() if str(value).startswith("http://stac")}
    assert links == {
        "decisions/user_not_authorized": f"http://stac.test/decisions?decision=user_not_authorized&{job_span}",
        "decisions/item_owned_by_other": f"http://stac.test/decisions?decision=item_owned_by_other&{job_span}",
        "jobs/user_not_authorized": f"http://stac.test/status/jobs?code=user_not_authorized&{span}",
        "jobs/item_owned_by_other": f"http://stac.test/status/jobs?code=item_owned_by_other&{span}",
    }
    named = {(row.data["job"], row.data["code"]) for row in metadata["failing_jobs_table"].records}
    assert named == {(catalog(n).removesuffix("catalog.json"), "user_not_authorized") for n in (1, 2, 3)}


def test_codes_of_documents_link_to_jobs_alone(location: Location) -> None:
    location.record(catalog(1))
    end(location, State.REJECTED, Code.CATALOG_UNREADABLE)
    evaluations = check(location)
    links = [name for name in evaluations["catalogs_readable"].metadata if name.startswith(("decisions/", "jobs/"))]
    assert links == ["jobs/catalog_unreadable"]
    denials = evaluations["no_denials"].metadata
    numbers = {name: value.value for name, value in denials.items() if name.startswith("failing_jobs/")}
    assert numbers == {f"failing_jobs/{code}": 0 for code in DENIALS}


def test_severities_tell_what_costs_items(location: Location) -> None:
    severities = {name: one.severity for name, one in check(location).items()}
    warnings = {name for name, severity in severities.items() if severity is dg.AssetCheckSeverity.WARN}
    # A late or lost event costs time; an asset that is not there costs the asset.
    assert warnings == {"assets_present", "events_complete"}


def test_what_failed_why_and_how_to_retry_stand_first_and_in_this_order(location: Location) -> None:
    location.record(catalog(1), catalog(2))
    end(location, State.REJECTED, Code.LINK_MISSING)
    metadata = check(location)["catalogs_readable"].metadata
    shown = sorted(name for name in metadata if not name.startswith("failing_jobs/"))
    assert shown[:5] == ["failing_jobs", "failing_jobs_not_shown", "failing_jobs_table", "how_to_retry", "jobs"]
    (row,) = rows(metadata["how_to_retry"])
    assert {name: spaced(value) for name, value in row.items()} == {
        "jobs": 2,
        "code": "link_missing",
        "fix": WORDINGS[Code.LINK_MISSING].fix,
        "command": "maap-stac retry --code link_missing --since 2025-08-19 --until 2025-08-20",
    }


def test_jobs_that_are_loaded_all_the_same_are_tried_again_by_force(location: Location) -> None:
    location.record(catalog(1))
    end(location, State.LOADED, Code.USER_NOT_AUTHORIZED, Code.ASSET_MISSING)
    evaluations = check(location)
    for name in ("no_denials", "assets_present"):
        (row,) = rows(evaluations[name].metadata["how_to_retry"])
        assert row["command"].endswith("--since 2025-08-19 --until 2025-08-20 --force")


def test_the_launchpad_opens_with_the_retry_of_that_day_filled_in(location: Location) -> None:
    location.settings = location.settings.model_copy(update={"dagster_url": "http://dagster.test"})
    location.record(catalog(1))
    end(location, State.PARTIAL)
    metadata = check(location)["all_loaded"].metadata
    address = urlsplit(str(metadata["retry/partial"].value))
    assert address.netloc == "dagster.test"
    assert address.path == "/locations/maap_stac_orchestration/jobs/retry/playground/setup"
    config = yaml.safe_load(parse_qs(address.query)["config"][0])
    assert config == metadata["retry_run_config"].value
    assert config == {"ops": {"retry": {"config": {"state": "partial", "since": "2025-08-19", "until": "2025-08-20"}}}}


def test_a_green_check_tells_numbers_alone(location: Location) -> None:
    evaluations = check(location)
    for one in evaluations.values():
        assert {type(value) for value in one.metadata.values()} == {dg.IntMetadataValue}
        assert one.description == ""


def test_a_day_that_a_later_run_found_nothing_for_still_shows_its_numbers(location: Location) -> None:
    location.record(catalog(1), catalog(2))
    end(location, State.LOADED)
    (event,) = location.run(DAY.isoformat()).asset_materializations_for_node("pgstac_items")
    numbers = {name: value.value for name, value in event.metadata.items() if isinstance(value.value, int)}
    of_the_day = {f"day/{state}": 0 for state in State} | {"day/jobs": 2, "day/loaded": 2}
    # The jobs were ended here without an item.
    assert numbers == {"jobs": 0, "day/items": 0, "day/items_refused": 0} | of_the_day


def spaced(value: Any) -> Any:
    """A cell of a table, which keeps some words together, as it was given."""
    return value.replace("\N{NO-BREAK SPACE}", " ") if isinstance(value, str) else value


def rows(metadata: Any) -> list[dict[str, Any]]:
    return [dict(record.data) for record in metadata.records]
