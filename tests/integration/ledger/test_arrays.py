"""Whatever jobs write comes to PostgreSQL as it is, row by row."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from enum import StrEnum

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maap_stac_orchestration.ledger.arrays import EMPTY, array, columns

from .build import Connection

#: What a text column takes: neither NUL nor lone surrogates.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))
odd = st.sampled_from(["", "NULL", "null", "{}", "{a,b}", '"', "\\", '\\"', "a,b", " a ", "\n\t", "'", "%s", "$1"])


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.none() | odd | texts))
def test_texts_arrive_as_they_are(connection: Connection, values: list[str | None]) -> None:
    row = connection.execute("SELECT %(values)s::text[]", {"values": array(values)}).fetchone()

    assert row == (values,)


@pytest.mark.parametrize(
    ("type", "values"),
    [
        ("bigint[]", [0, -1, 2**63 - 1, None]),
        ("double precision[]", [0.1, -1e300, float("inf")]),
        ("boolean[]", [True, False, None]),
        ("date[]", [date(1, 1, 1), date(2026, 3, 5), date(9999, 12, 31)]),
        (
            "timestamptz[]",
            [
                datetime(2026, 3, 5, 1, 2, 3, 4, tzinfo=UTC),
                datetime(1, 1, 1, tzinfo=UTC),
                datetime(2026, 3, 5, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
                None,
            ],
        ),
    ],
)
def test_values_of_other_types_arrive_too(connection: Connection, type: str, values: list[object]) -> None:
    connection.execute("SET TIME ZONE 'UTC'")

    row = connection.execute(f"SELECT %(values)s::{type}", {"values": array(values)}).fetchone()

    assert row == (values,)


def test_an_enum_is_its_text(connection: Connection) -> None:
    colour = StrEnum("Colour", {"RED": "a red"})

    assert connection.execute("SELECT %s::text[]", [array([colour["RED"]])]).fetchone() == (["a red"],)


def test_rows_become_columns(connection: Connection) -> None:
    found = connection.execute(
        "SELECT * FROM unnest(%(number)s::integer[], %(name)s::text[])",
        columns(("number", "name"), [(1, "one"), (2, None)]),
    ).fetchall()

    assert found == [(1, "one"), (2, None)]


def test_without_rows_every_column_is_there_and_empty() -> None:
    assert columns(("number", "name"), []) == {"number": EMPTY, "name": EMPTY}


def test_a_row_of_another_length_is_an_error() -> None:
    with pytest.raises(ValueError, match="argument"):
        columns(("number", "name"), [(1, "one"), (2,)])
    with pytest.raises(ValueError, match="argument"):
        columns(("number", "name"), [(1,), (2,)])


def test_what_no_array_of_ours_holds_is_an_error() -> None:
    with pytest.raises(TypeError, match="An array takes no dict"):
        array([{"a": 1}])
