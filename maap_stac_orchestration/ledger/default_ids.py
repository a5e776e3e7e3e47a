"""Which names own which id of a default collection.

Here belongs who was first. Not here: how an id is made of names (`governance.default_collection`).
"""

from __future__ import annotations

from collections.abc import Mapping

from maap_stac_orchestration.governance.default_collection import DefaultId
from maap_stac_orchestration.ledger.arrays import array, columns
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.texts import storable, storable_or_none

#: Username, algorithm name, algorithm version and tag, raw.
Names = tuple[str, str, str, str | None]

_OWNERS = """
SELECT id, username, algorithm, version, tag
FROM ledger.default_collection
WHERE lower(id) = ANY (SELECT lower(candidate) FROM unnest(%(candidates)s::text[]) AS candidate)
"""

# Waits for another one who is just taking one of the ids, and does not take that one when the other commits. In one
# order, so that two who take the same ids wait for one another instead of for ever.
_TAKE = """
INSERT INTO ledger.default_collection (id, username, algorithm, version, tag)
SELECT wanted.*
FROM unnest(%(id)s::text[], %(username)s::text[], %(algorithm)s::text[], %(version)s::text[], %(tag)s::text[])
    AS wanted (id, username, algorithm, version, tag)
ORDER BY lower(wanted.id)
ON CONFLICT DO NOTHING
RETURNING id
"""

#: Long enough for any name that is not an attack.
_LONGEST = 100_000


class NoDefaultId(Exception):
    """Every id that a default collection may have belongs to others; the message names the job's names."""


def own(conn: Connection, names: Names, default: DefaultId) -> str:
    """The id of the default collection for these raw names; see `own_all`."""
    return own_all(conn, {names: default})[names]


def own_all(conn: Connection, wanted: Mapping[Names, DefaultId]) -> dict[Names, str]:
    """For raw names, each, the id of their default collection: the first candidate that is theirs or nobody's.

    Ids are compared by lower case. Names that hold an id already keep it. Whose id it is is compared by those names
    that the template uses, `DefaultId.owner`. Of names that are new and come to one id, those that stand first in the
    order of the alphabet get it, whatever their order here.

    Args:
        conn: the connection; what is taken is in the caller's transaction.
        wanted: raw names -> the ids that their default collection may have.

    Raises:
        NoDefaultId: see there; that takes five ids that others spelled out before.
    """
    owners = {names: _stored(default) for names, default in wanted.items()}
    candidates = {owners[names]: list(default.candidates()) for names, default in wanted.items()}
    ids: dict[Names, str] = {}
    waiting = sorted(candidates, key=lambda owner: (*owner[:3], owner[3] or ""))
    # In each round, whoever gets no id loses a candidate to somebody else, so it ends.
    while waiting:
        every = [candidate for owner in waiting for candidate in candidates[owner]]
        taken: dict[str, tuple[str, Names]] = {
            row[0].lower(): (row[0], row[1:]) for row in conn.execute(_OWNERS, {"candidates": array(every)})
        }
        taking: dict[Names, str] = {}
        for owner in waiting:
            held = [taken[one.lower()] for one in candidates[owner] if one.lower() in taken]
            mine = next((id for id, other in held if other == owner), None)
            if mine is not None:
                ids[owner] = mine
                continue
            free = next((one for one in candidates[owner] if one.lower() not in taken), None)
            if free is None:
                raise NoDefaultId(_nothing_left(owner, candidates[owner]))
            taken[free.lower()] = free, owner
            taking[owner] = free
        took = _take(conn, taking)
        ids |= {owner: id for owner, id in taking.items() if id in took}
        waiting = [owner for owner in waiting if owner not in ids]
    return {names: ids[owner] for names, owner in owners.items()}


def would_own(conn: Connection, wanted: Mapping[Names, DefaultId]) -> dict[Names, str]:
    """For raw names, each, the id that they hold, else the first that is nobody's; nothing is taken.

    Where all ids belong to others it is the preferred one, since nobody is given it.
    """
    every = [candidate for default in wanted.values() for candidate in default.candidates()]
    taken = {row[0].lower(): (row[0], row[1:]) for row in conn.execute(_OWNERS, {"candidates": array(every)})}
    ids = {}
    for names, default in wanted.items():
        owner = _stored(default)
        held = [taken.get(candidate.lower(), (candidate, None)) for candidate in default.candidates()]
        mine = (id for id, other in held if other == owner)
        free = (id for id, other in held if other is None)
        ids[names] = next(mine, None) or next(free, default.preferred)
    return ids


def _stored(default: DefaultId) -> Names:
    """Whose id it is, as the ledger keeps it."""
    username, algorithm, version, tag = default.owner
    return (
        storable(username, _LONGEST),
        storable(algorithm, _LONGEST),
        storable(version, _LONGEST),
        storable_or_none(tag, _LONGEST),
    )


def _take(conn: Connection, taking: Mapping[Names, str]) -> set[str]:
    """The ids that were nobody's until now."""
    if not taking:
        return set()
    rows = columns(("id", "username", "algorithm", "version", "tag"), ((id, *owner) for owner, id in taking.items()))
    return {id for (id,) in conn.execute(_TAKE, rows)}


def _nothing_left(owner: Names, candidates: list[str]) -> str:
    return (
        f"Every id that the default collection of {', '.join(name or 'no tag' for name in owner)} may have belongs to "
        f"others: {', '.join(candidates)}. See which jobs made those, and rename or remove one of them."
    )
