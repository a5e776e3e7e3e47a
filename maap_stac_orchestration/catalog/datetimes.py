"""Dates and times of items: RFC 3339, in order, and such that the database can keep them.

Here belongs what a time may look like, which of them an item needs, and making them UTC as STAC wants it. Not here:
which times collections have (`curated`), and how the database indexes them (`pgstac`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

#: The time fields of an item's properties. Those that pgstac indexes come first.
INDEXED = ("datetime", "start_datetime", "end_datetime")
_OTHERS = ("created", "updated")

_RFC3339 = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d+))?(?:([Zz])|([+-])(\d{2}):(\d{2}))", re.ASCII
)

_WRITTEN = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?Z", re.ASCII)

# pgstac keeps the spread of a partition as a range in the database's time zone, and reads it back. Measured on 0.10.0:
# a time after the year 9999, or in the first hours of the year 1, is taken and then breaks every later load.
_UNKEPT = "lies outside the years 1 to 9998, which the database can keep"
_FIRST, _LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Times:
    """The times of an item, read."""

    #: Fields whose text has to change, with the text that they get.
    mended: Mapping[str, str]
    #: Clauses that say what is wrong.
    faults: tuple[str, ...]


def read_times(properties: Mapping[str, Any]) -> Times:
    """Reads the times in an item's properties.

    A time with another offset than UTC, a space or small letters is rewritten as UTC, since STAC asks for that; digits
    beyond microseconds go, since PostgreSQL rounds them and its ranges then end before they begin.
    """
    mended: dict[str, str] = {}
    faults: list[str] = []
    moments: dict[str, datetime] = {}
    for field in (*INDEXED, *_OTHERS):
        value = properties.get(field)
        if value is None:
            continue
        if not isinstance(value, str):
            faults.append(f"{field} is not a text")
            continue
        moment = read_time(value)
        if isinstance(moment, str):
            if field in INDEXED:
                faults.append(f"{field} {_shown(value)} {moment}")
            continue
        moments[field] = moment
        if not value.endswith("Z") or "T" not in value or len(value) > 27 or value[17:19] == "60":
            mended[field] = written_time(moment)
    faults += _order_faults(properties, moments, bool(faults))
    return Times(mended, tuple(faults))


def _order_faults(properties: Mapping[str, Any], moments: Mapping[str, datetime], broken: bool) -> list[str]:
    faults = []
    start, end = moments.get("start_datetime"), moments.get("end_datetime")
    if start is not None and end is not None and end < start:
        faults.append(f"end_datetime {written_time(end)} is before start_datetime {written_time(start)}")
    if not broken:
        if "datetime" not in properties:
            faults.append("datetime is missing; where there is no one time, write null beside a start and an end")
        elif properties["datetime"] is None and (start is None or end is None):
            faults.append("datetime is null, so start_datetime and end_datetime are needed")
        elif (start is None) != (end is None):
            faults.append("start_datetime and end_datetime go together, and one of them is missing")
        else:
            nulls = [field for field in ("start_datetime", "end_datetime") if field in properties and start is None]
            if nulls:
                faults.append(f"{' and '.join(nulls)} cannot be null; leave out what there is not")
    return faults


def read_time(value: str) -> datetime | str:
    """The moment that an RFC 3339 text means, UTC, or a clause that says why the database cannot keep it."""
    if _WRITTEN.fullmatch(value):
        # As STAC writes it, and nearly everybody; what Python refuses of these is told below.
        with suppress(ValueError):
            moment = datetime.fromisoformat(value)
            return moment if _FIRST <= moment < _LAST else _UNKEPT
    match = _RFC3339.fullmatch(value)
    if match is None:
        return "is not written as RFC 3339 says (2024-06-01T00:00:00Z)"
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, _, sign, hours, minutes = match.groups()[6:]
    offset = timedelta(0)
    if sign:
        if int(hours) > 23 or int(minutes) > 59:
            return "has an offset that no time zone has"
        offset = timedelta(hours=int(hours), minutes=int(minutes)) * (1 if sign == "+" else -1)
    # RFC 3339 knows leap seconds and Python does not; PostgreSQL takes them for the next second.
    leap = second == 60
    try:
        moment = datetime(
            year, month, day, hour, minute, 59 if leap else second, int(f"{fraction or 0:0<6}"[:6]), timezone(offset)
        ).astimezone(UTC)
        if leap:
            moment = moment.replace(microsecond=0) + timedelta(seconds=1)
    except (ValueError, OverflowError):
        return "is not a date and time of the calendar"
    if not _FIRST <= moment < _LAST:
        return _UNKEPT
    return moment


def written_time(moment: datetime) -> str:
    """A time in UTC as STAC writes it."""
    # strftime and %Y would write the year 900 with three digits.
    return moment.replace(tzinfo=None).isoformat() + "Z"


def _shown(value: str) -> str:
    return ascii(value if len(value) <= 40 else value[:40] + "…")
