"""Which names own which id of a default collection.

Here belongs who was first. Not here: how an id is made of names (`governance.default_collection`).
"""

from __future__ import annotations

from maap_stac_orchestration.governance.default_collection import DefaultId
from maap_stac_orchestration.ledger.connection import Connection


def own(conn: Connection, names: tuple[str, str, str, str | None], default: DefaultId) -> str:
    """The id of the default collection for these raw names: the first candidate that is theirs or nobody's.

    Ids are compared by lower case. `names` are username, algorithm name, algorithm version and tag.
    """
    raise NotImplementedError
