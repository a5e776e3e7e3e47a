"""How tables and numbers are made for the Dagster UI."""

from __future__ import annotations

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.reporting import MOST_ROWS, api_link, table
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


def test_a_link_needs_an_address_and_spells_what_it_asks_for() -> None:
    assert api_link("all", Settings(), "decisions", run_id="1") == {}
    known = Settings(public_url="https://stac.test/")
    assert api_link("all", known, "decisions", requested="a b&c") == {
        "all": dg.MetadataValue.url("https://stac.test/decisions?requested=a+b%26c")
    }
