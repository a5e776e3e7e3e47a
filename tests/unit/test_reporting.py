"""How tables and numbers are made for the Dagster UI."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.handover import DayListing
from assets.reporting import (
    MOST_ROWS,
    day_metadata,
    decision_metadata,
    job_page,
    jobs_table,
    listing_metadata,
    load_metadata,
    page_link,
    read_metadata,
    run_links,
    table,
)
from maap_stac_orchestration.governance.decision import Decision, DecisionCode, Outcome
from maap_stac_orchestration.ledger.days import DayStanding, TroubledJob
from maap_stac_orchestration.ledger.listings_of_day import ListingsOfDay
from maap_stac_orchestration.ledger.records import ClaimedJob, State
from maap_stac_orchestration.pipeline.batch import DecidedJob, Pin, ReadItem, ReadJob
from maap_stac_orchestration.settings import Settings

NO_BREAK = "\N{NO-BREAK SPACE}"


def cell(column: str, value: str | int) -> str | int:
    (record,) = table((column,), [{column: value}]).records
    shown = record.data[column]
    assert isinstance(shown, str | int)
    return shown


def test_a_table_has_its_columns_also_without_rows() -> None:
    made = table(("job", "items"), [])
    assert [column.name for column in made.schema.columns] == ["job", "items"]


def test_no_more_rows_than_the_ui_bears_are_taken() -> None:
    rows = ({"items": number} for number in range(MOST_ROWS + 1))
    assert [record.data["items"] for record in table(("items",), rows).records] == list(range(MOST_ROWS))


def test_a_sentence_breaks_only_where_it_is_long() -> None:
    assert cell("message", "The id is taken.") == NO_BREAK.join(["The", "id", "is", "taken."])
    words = str(cell("message", "word " * 20)).split(" ")
    assert [len(part) for part in words] == [59, 39]


@pytest.mark.parametrize("column", ["job", "requested", "collection"])
def test_what_somebody_may_copy_stays_as_it_is(column: str) -> None:
    assert cell(column, "ana/dps_output/alg/v1/full run/") == "ana/dps_output/alg/v1/full run/"


@given(value=st.text(min_size=301, max_size=400), column=st.sampled_from(["job", "message"]))
def test_a_long_value_is_cut(value: str, column: str) -> None:
    assert len(str(cell(column, value))) <= 300


def decided(number: int, decisions: Mapping[str | None, tuple[Decision, int]]) -> DecidedJob:
    """A job of which each requested collection has a decision and so many items."""
    time = datetime(2025, 8, 19, tzinfo=UTC)
    claim = ClaimedJob(number, "bucket", f"ana/dps_output/alg/v1/2025/08/19/00/00/00/{number:06}/", {}, time)
    pin = Pin("item.json", "etag", None, "0" * 64, 2)
    items = tuple(
        ReadItem(f"{requested}-{n}", requested, b"{}", pin)
        for requested, (_, count) in decisions.items()
        for n in range(count)
    )
    read = ReadJob(claim, None, None, items, (), (), ())
    return DecidedJob(read, {requested: decision for requested, (decision, _) in decisions.items()})


def granted(collection: str) -> Decision:
    return Decision(DecisionCode.GRANTED, Outcome.ACCEPT, collection, collection, "a grant", "It may.", "v1")


def rejected(requested: str) -> Decision:
    return Decision(DecisionCode.INVALID_NAME, Outcome.REJECT, None, requested, "a rule", "It may not.", "v1")


def shown(*jobs: DecidedJob) -> dict[str, Any]:
    return decision_metadata(jobs, "v1", Settings(public_url="https://stac.test"), "1234")


def test_the_20_collections_with_most_items_have_a_number_and_the_rest_are_summed_up() -> None:
    # c07 has eight items, and so on; of three that have eleven, the first by name is among the 20.
    counts = {f"c{number:02}": number + 1 for number in range(30)} | {"c30": 11, "c31": 11}
    metadata = shown(decided(1, {name: (granted(name), count) for name, count in counts.items()}))
    items = {name.removeprefix("items/"): value for name, value in metadata.items() if name.startswith("items/")}
    assert items == {f"c{number:02}": number + 1 for number in range(12, 30)} | {"c11": 12, "c10": 11}
    assert metadata["other_collections"] == 12
    assert metadata["items_in_other_collections"] == sum(counts.values()) - sum(items.values())


def test_items_of_several_jobs_add_up_and_rejected_ones_go_to_no_collection() -> None:
    metadata = shown(
        decided(1, {"maap-a": (granted("maap-a"), 2), "Bad": (rejected("Bad"), 5)}),
        decided(2, {"maap-a": (granted("maap-a"), 3)}),
    )
    assert {name: value for name, value in metadata.items() if name.startswith("items/")} == {"items/maap-a": 5}
    assert (metadata["decisions/granted"], metadata["decisions/invalid_name"]) == (2, 1)
    assert (metadata["accept"], metadata["reject"]) == (2, 1)
    (first, *_) = metadata["decisions_table"].records
    assert (first.data["outcome"], first.data["items"], first.data["collection"]) == ("reject", 5, "")


def test_jobs_without_decisions_have_a_zero_for_every_code_and_no_number_of_a_collection() -> None:
    metadata = shown(decided(1, {}))
    numbers = {name: value for name, value in metadata.items() if name.startswith(("decisions/", "items/"))}
    assert numbers == {f"decisions/{code}": 0 for code in DecisionCode}
    assert metadata["decisions_table"].records == []


def test_a_run_that_found_nothing_says_so_and_nothing_else() -> None:
    assert read_metadata([], 1.0) == load_metadata([], 1.0) == {"jobs": 0}
    assert shown() == {"jobs": 0, "registry_version": "v1"}


def test_the_numbers_of_a_day_have_no_gaps() -> None:
    standing = DayStanding({State.LOADED: 3, State.FAILED: 1}, items=7, refused=2)
    metadata = day_metadata(date(2025, 8, 31), standing, None, Settings())
    assert metadata == (
        {"day/jobs": 4}
        | {f"day/{state}": 0 for state in State}
        | {"day/loaded": 3, "day/failed": 1, "day/items": 7, "day/items_refused": 2}
    )


def test_what_the_last_listing_saw_stands_in_every_materialization_of_the_day() -> None:
    at = datetime(2025, 9, 1, 2, 30, tzinfo=UTC)
    listings = ListingsOfDay(at, catalogs=30, missed=1, compared_at=at, missed_now=1)
    metadata = day_metadata(date(2025, 8, 31), DayStanding({}, 0, 0), listings, Settings())
    assert metadata["day/found_in_buckets"] == 30
    assert metadata["day/listed_at"] == dg.MetadataValue.timestamp(at)


def test_what_was_found_and_is_not_new_is_unchanged() -> None:
    assert listing_metadata(DayListing(30, 2, None)) == {"found": 30, "found_new": 2, "found_unchanged": 28}
    assert listing_metadata(DayListing(30, 0, 0))["missed_by_events"] == 0
    assert listing_metadata(None) == {}


def test_the_link_of_a_day_ends_where_the_next_day_begins() -> None:
    metadata = day_metadata(date(2025, 8, 31), DayStanding({}, 0, 0), None, Settings(public_url="https://stac.test"))
    assert metadata["status_of_this_day"] == dg.MetadataValue.url(
        "https://stac.test/status/jobs?since=2025-08-31&until=2025-09-01"
    )


def test_a_run_has_a_page_for_people_and_a_list_for_programs() -> None:
    assert run_links(Settings(public_url="https://stac.test"), "1234") == {
        "status_of_this_run": dg.MetadataValue.url("https://stac.test/status/jobs?run_id=1234"),
        "jobs_of_this_run": dg.MetadataValue.url("https://stac.test/jobs?run_id=1234"),
    }


def test_a_message_names_files_of_the_job_without_its_prefix_and_the_job_by_it() -> None:
    prefix = "ana/dps_output/alg/v1/2025/08/19/00/00/00/000001/"
    job = TroubledJob(prefix, State.PARTIAL, "item_invalid", "", f"{prefix}a.json is wrong in {prefix} once.")
    (record,) = jobs_table([job], Settings()).records
    assert str(record.data["message"]).replace(NO_BREAK, " ") == f"a.json is wrong in {prefix} once."


def test_the_page_of_a_job_has_its_prefix_as_one_part_of_the_path() -> None:
    known = Settings(public_url="https://stac.test/")
    assert job_page(known, "ana/dps_output/a b/") == "https://stac.test/status/ana%2Fdps_output%2Fa%20b%2F"
    assert job_page(Settings(), "ana/") == ""


def test_every_number_is_one_that_dagster_plots() -> None:
    metadata = shown(decided(1, {"maap-a": (granted("maap-a"), 2), "Bad": (rejected("Bad"), 5)}))
    others = {name for name, value in metadata.items() if type(value) is not int}
    assert others == {"registry_version", "decisions_of_this_run", "decisions_table", "decisions_by_collection"}


def test_a_link_needs_an_address_and_spells_what_it_asks_for() -> None:
    assert page_link("all", Settings(), "decisions", run_id="1") == {}
    known = Settings(public_url="https://stac.test/")
    assert page_link("all", known, "decisions", requested="a b&c") == {
        "all": dg.MetadataValue.url("https://stac.test/decisions?requested=a+b%26c")
    }
