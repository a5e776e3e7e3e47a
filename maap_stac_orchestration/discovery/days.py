"""Which days there are to look at.

Here belongs the span of days that the project knows. Not here: which of them have work (`ledger`).
"""

from __future__ import annotations

from datetime import date

from maap_stac_orchestration.settings import Settings

#: No output of the DPS that carries STAC is older.
EARLIEST = date(2020, 1, 1)


def first_day(settings: Settings) -> date:
    """The first day (UTC) that has a partition: earlier than usual where `MAAP_STAC_FIRST_DAY` says so.

    A later first day bounds backfills only: an old job whose catalog is written anew still finds its partition.
    """
    return min(settings.first_day or EARLIEST, EARLIEST)


def partition_of(day: date, first: date, today: date) -> date:
    """The partition that looks after a day of output prefixes: the day itself, or the nearest that there is.

    The timestamp in a prefix is whatever a job wrote there. One from before the first day or from the future gets no
    partition of its own, and its job is not lost for that.
    """
    return max(first, min(day, today))
