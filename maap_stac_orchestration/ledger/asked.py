"""What jobs asked for, each once: for deciding once more.

Here belongs reading that out of the audit trail. Not here: looking at single decisions (`decisions`), and what would be
decided now (`pipeline.replay`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from maap_stac_orchestration.governance.decision import DecisionCode
from maap_stac_orchestration.governance.default_collection import JobNames
from maap_stac_orchestration.ledger.connection import Connection

# What was not decided by the registry, and would not be now.
_NOT_BY_REGISTRY = [str(DecisionCode.IDENTITY_MISMATCH), str(DecisionCode.ITEM_OWNED_BY_OTHER)]

# By the index on time. The server groups, on its disk where that is more than its memory takes.
_ASKED = """
SELECT username, algorithm, version, tag, requested, count(*), max(at)
FROM ledger.decision
WHERE at >= clock_timestamp() - %(time)s AND requested IS NOT NULL AND code <> ALL (%(others)s)
GROUP BY username, algorithm, version, tag, requested
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, however often it was made."""

    names: JobNames
    #: The collection id.
    requested: str
    #: How many decisions answered it.
    times: int
    #: When the last of them was taken.
    last: datetime


def asked_since(conn: Connection, time: timedelta, *, at_once: int = 1_000) -> Iterator[list[Asked]]:
    """The requests for a collection that the registry decided within this time until now, a portion at a time.

    Args:
        conn: a connection with nothing pending; it holds a transaction until all are read.
        time: how far back.
        at_once: requests in a portion.
    """
    with conn.transaction(), conn.cursor(name="asked") as cursor:
        cursor.execute(_ASKED, {"time": time, "others": _NOT_BY_REGISTRY})
        while rows := cursor.fetchmany(at_once):
            yield [
                Asked(JobNames(username, algorithm, version, tag), requested, times, last)
                for username, algorithm, version, tag, requested, times, last in rows
            ]
