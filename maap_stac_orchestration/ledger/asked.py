"""What jobs asked for, each once, and the ids that their default collections have: for deciding once more.

Here belongs reading that out of the trail without changing anything. Not here: looking at single decisions
(`decisions`), and handing out ids (`default_ids`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from maap_stac_orchestration.governance.decision import DecisionCode
from maap_stac_orchestration.governance.default_collection import DefaultId, JobNames
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.texts import storable, storable_or_none

# What was not decided by the registry, and would not be now.
_NOT_BY_REGISTRY = [str(DecisionCode.IDENTITY_MISMATCH), str(DecisionCode.ITEM_OWNED_BY_OTHER)]

# By the index on time. The server groups, on its disk where that is more than its memory takes.
_ASKED = """
SELECT username, algorithm, version, tag, requested, count(*), max(at)
FROM ledger.decision
WHERE at >= clock_timestamp() - %(time)s AND requested IS NOT NULL AND code <> ALL (%(others)s)
GROUP BY username, algorithm, version, tag, requested
"""

_OWNERS = """
SELECT lower(id), id, username, algorithm, version, tag
FROM ledger.default_collection
WHERE lower(id) = ANY (SELECT lower(candidate) FROM unnest(%(candidates)s::text[]) AS candidate)
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


def default_collections(conn: Connection, defaults: Mapping[JobNames, DefaultId]) -> dict[JobNames, str]:
    """The id that each of these default collections has, or would get; nothing is handed out.

    Args:
        conn: an open connection.
        defaults: names of jobs -> the ids that theirs may have.
    """
    candidates = sorted({candidate for default in defaults.values() for candidate in default.candidates()})
    owners = {row[0]: row[1:] for row in conn.execute(_OWNERS, {"candidates": candidates})}
    return {names: _id(default, owners) for names, default in defaults.items()}


def _id(default: DefaultId, owners: Mapping[str, tuple[str | None, ...]]) -> str:
    username, algorithm, version, tag = default.owner
    # As `default_ids` keeps them.
    longest = 100_000
    owner = (storable(username, longest), storable(algorithm, longest), storable(version, longest))
    free = None
    for candidate in default.candidates():
        row = owners.get(candidate.lower())
        if row is None:
            free = free or candidate
        elif row[1:] == (*owner, storable_or_none(tag, longest)):
            return str(row[0])
    return free or default.preferred
