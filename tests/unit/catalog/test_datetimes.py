"""Times of items: RFC 3339, in order, and such that the database can keep them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.catalog.datetimes import read_times
from tests.unit.catalog.items import json_values

T = "2024-06-01T00:00:00Z"
LATER = "2024-06-02T00:00:00Z"


@pytest.mark.parametrize(
    "properties",
    [
        {"datetime": T},
        {"datetime": "2024-06-01T00:00:00.5Z"},
        {"datetime": "2024-06-01T00:00:00.123456Z"},
        {"datetime": "0001-01-02T00:00:00Z"},
        {"datetime": "9998-12-31T23:59:59Z"},
        {"datetime": "2024-02-29T12:00:00Z"},
        {"datetime": None, "start_datetime": T, "end_datetime": LATER},
        {"datetime": None, "start_datetime": T, "end_datetime": T},
        {"datetime": T, "start_datetime": T, "end_datetime": LATER},
        {"datetime": "1999-01-01T00:00:00Z", "start_datetime": T, "end_datetime": LATER},
        {"datetime": T, "created": T, "updated": LATER},
    ],
)
def test_times_that_pass_as_they_are(properties: dict[str, Any]) -> None:
    times = read_times(properties)
    assert times.faults == ()
    assert times.mended == {}


@pytest.mark.parametrize(
    ("written", "mended"),
    [
        ("2024-06-01T02:00:00+02:00", T),
        ("2024-05-31T18:30:00-05:30", T),
        ("2024-06-01T00:00:00+00:00", T),
        ("2024-06-01T00:00:00-00:00", T),
        ("2024-06-01t00:00:00z", T),
        ("2024-06-01 00:00:00Z", T),
        ("2024-06-01T00:00:00.123456789Z", "2024-06-01T00:00:00.123456Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
        ("0900-01-01T00:00:00+01:00", "0899-12-31T23:00:00Z"),
    ],
)
def test_the_same_moment_is_written_as_stac_wants_it(written: str, mended: str) -> None:
    times = read_times({"datetime": written})
    assert times.faults == ()
    assert times.mended == {"datetime": mended}


@pytest.mark.parametrize(
    "written",
    [
        "2024-06-01",
        "2024-06-01T00:00:00",
        "2024-06-01T00:00Z",
        "20240601T000000Z",
        "2024-6-1T00:00:00Z",
        "yesterday",
        "now",
        "infinity",
        "",
        "2024-13-01T00:00:00Z",
        "2024-02-30T00:00:00Z",
        "2024-06-01T24:00:00Z",
        "2024-06-01T00:60:00Z",
        "2024-06-01T00:00:61Z",
        "2024-06-01T00:00:00+24:00",
        "2024-06-01T00:00:00+0200",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-01-01T00:00:00Z",
        "9999-12-31T23:59:59-14:00",
        "10000-01-01T00:00:00Z",
        "-2024-06-01T00:00:00Z",
        "２０２４-06-01T00:00:00Z",
        " 2024-06-01T00:00:00Z",
        "2024-06-01T00:00:00Z\n",
    ],
)
def test_times_that_are_refused(written: str) -> None:
    assert len(read_times({"datetime": written}).faults) == 1
    ranged = read_times({"datetime": None, "start_datetime": written, "end_datetime": written})
    assert len(ranged.faults) == 2


@pytest.mark.parametrize(
    ("properties", "fault"),
    [
        ({}, "datetime is missing; where there is no one time, write null beside a start and an end"),
        ({"start_datetime": T, "end_datetime": LATER},
         "datetime is missing; where there is no one time, write null beside a start and an end"),
        ({"datetime": None}, "datetime is null, so start_datetime and end_datetime are needed"),
        ({"datetime": None, "start_datetime": T}, "datetime is null, so start_datetime and end_datetime are needed"),
        ({"datetime": T, "end_datetime": T}, "start_datetime and end_datetime go together, and one of them is missing"),
        ({"datetime": T, "start_datetime": None, "end_datetime": None},
         "start_datetime and end_datetime cannot be null; leave out what there is not"),
        ({"datetime": None, "start_datetime": LATER, "end_datetime": T},
         "end_datetime 2024-06-01T00:00:00Z is before start_datetime 2024-06-02T00:00:00Z"),
        ({"datetime": 20240601}, "datetime is not a text"),
        ({"datetime": "soon"}, "datetime 'soon' is not written as RFC 3339 says (2024-06-01T00:00:00Z)"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(properties: dict[str, Any], fault: str) -> None:
    assert read_times(properties).faults == (fault,)


def test_a_range_is_compared_by_moments_and_not_by_letters() -> None:
    start, end = "2024-06-01T12:00:00+12:00", "2024-06-01T00:00:00.5Z"
    assert read_times({"datetime": None, "start_datetime": start, "end_datetime": end}).faults == ()
    assert read_times({"datetime": None, "start_datetime": end, "end_datetime": start}).faults != ()


@given(
    st.datetimes(
        datetime(2, 1, 1),  # noqa: DTZ001  # hypothesis adds the zone
        datetime(9998, 1, 1),  # noqa: DTZ001
        timezones=st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
    )
)
def test_every_moment_that_python_writes_is_kept(moment: datetime) -> None:
    written = moment.isoformat()
    times = read_times({"datetime": written})
    assert times.faults == ()
    assert datetime.fromisoformat(times.mended.get("datetime", written)) == moment.astimezone(UTC)


@given(st.dictionaries(st.sampled_from(["datetime", "start_datetime", "end_datetime", "created"]), json_values))
def test_nothing_breaks_the_reading(properties: dict[str, Any]) -> None:
    times = read_times(properties)
    assert all(isinstance(fault, str) for fault in times.faults)
