"""Which names own which id of a default collection.

Here belongs who was first. Not here: how an id is made of names (`governance.default_collection`).
"""

from __future__ import annotations

from maap_stac_orchestration.governance.default_collection import DefaultId
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.texts import storable, storable_or_none

_OWNERS = """
SELECT id, username, algorithm, version, tag
FROM ledger.default_collection
WHERE lower(id) = ANY (SELECT lower(candidate) FROM unnest(%(candidates)s::text[]) AS candidate)
"""

# Waits for another one who is just taking the same id, and takes nothing when that one commits.
_TAKE = """
INSERT INTO ledger.default_collection (id, username, algorithm, version, tag)
VALUES (%(id)s, %(username)s, %(algorithm)s, %(version)s, %(tag)s)
ON CONFLICT DO NOTHING
"""

#: Long enough for any name that is not an attack.
_LONGEST = 100_000


class NoDefaultId(Exception):
    """Every id that a default collection may have belongs to others; the message names the job's names."""


def own(conn: Connection, names: tuple[str, str, str, str | None], default: DefaultId) -> str:
    """The id of the default collection for these raw names: the first candidate that is theirs or nobody's.

    Ids are compared by lower case. `names` are username, algorithm name, algorithm version and tag. Names that hold an
    id already keep it. Whose id it is is compared by those names that the template uses, `default.owner`.

    Raises:
        NoDefaultId: see there; that takes five ids that others spelled out before.
    """
    username, algorithm, version, tag = default.owner
    owner = (
        storable(username, _LONGEST),
        storable(algorithm, _LONGEST),
        storable(version, _LONGEST),
        storable_or_none(tag, _LONGEST),
    )
    candidates = list(default.candidates())
    # Each round somebody else took the candidate meanwhile, so there are at most as many as candidates.
    for _ in range(len(candidates) + 1):
        taken = {row[0].lower(): row for row in conn.execute(_OWNERS, {"candidates": candidates})}
        for candidate in candidates:
            row = taken.get(candidate.lower())
            if row is not None and row[1:] == owner:
                return str(row[0])
        free = next((candidate for candidate in candidates if candidate.lower() not in taken), None)
        if free is None:
            break
        took = conn.execute(
            _TAKE, {"id": free, "username": owner[0], "algorithm": owner[1], "version": owner[2], "tag": owner[3]}
        )
        if took.rowcount:
            return free
    raise NoDefaultId(
        f"Every id that the default collection of {', '.join(name or 'no tag' for name in names)} may have belongs to "
        f"others: {', '.join(candidates)}. See which jobs made those, and rename or remove one of them."
    )
