"""Which registries were put in force, and which were refused.

Here belongs the history of loads. Not here: what a registry says (`governance.registry`).
"""

from __future__ import annotations

from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import RegistryLoad
from maap_stac_orchestration.ledger.texts import storable, storable_or_none

_RECORD = """
INSERT INTO ledger.registry_version (version, source, ok, error, content)
SELECT %(version)s, %(source)s, %(error)s::text IS NULL, %(error)s, %(content)s
WHERE NOT EXISTS (
    SELECT
    FROM (
        SELECT version, error FROM ledger.registry_version WHERE source = %(source)s ORDER BY id DESC LIMIT 1
    ) AS last
    WHERE last.version = %(version)s AND last.error IS NOT DISTINCT FROM %(error)s
)
"""

_LAST_GOOD = """
SELECT version, source, loaded_at, ok, error, content
FROM ledger.registry_version
WHERE source = %(source)s AND ok
ORDER BY id DESC
LIMIT 1
"""


def record_load(conn: Connection, *, version: str, source: str, content: str, error: str | None = None) -> None:
    """Writes down that a registry was loaded (`error` None) or refused; the same as the last one is not repeated."""
    conn.execute(
        _RECORD,
        {
            "version": version,
            "source": source,
            # Never cut: the last good one decides when the next one does not load.
            "content": storable(content, max(len(content), 1)),
            "error": storable_or_none(error),
        },
    )


def last_good(conn: Connection, source: str) -> RegistryLoad | None:
    """The registry that was loaded from this source last without an error."""
    row = conn.execute(_LAST_GOOD, {"source": source}).fetchone()
    return None if row is None else RegistryLoad(*row)
