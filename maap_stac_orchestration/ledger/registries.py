"""Which registries were in force, and which were refused.

Here belongs the history of what was put in force: files by their content, entries of the database by the last change,
both together by the versions of the two. Not here: what a registry says (`governance.registry`), and the entries of the
database (`registry_entries`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import RegistryLoad
from maap_stac_orchestration.ledger.texts import storable, storable_or_none


@dataclass(frozen=True, slots=True)
class Load:
    """One try to put a registry, or a part of one, in force."""

    #: Content hash.
    version: str
    #: A path or address; for others than files, what messages call it.
    source: str
    #: Of a file.
    content: str = ""
    #: Why it was refused, None where it was not.
    error: str | None = None
    #: For entries of the database: the number of the last change of entries.
    as_of: int | None = None
    #: For a registry of several parts: their versions.
    parts: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class News:
    """What `record` had not written down before."""

    #: Whether a registry came into force that was not the last one.
    in_force: bool
    #: Whether a refusal is another one than the last.
    refused: bool


@dataclass(frozen=True, slots=True)
class RecordedLoad:
    """A load as it stands in the history."""

    at: datetime
    version: str
    source: str
    #: Why it was refused, None where it was not.
    error: str | None


# Two runs that meet the same new file write it down once.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('maap-stac registry load', 0))"

# By the index on source and id.
_RECORD = """
INSERT INTO ledger.registry_version (version, source, ok, error, content, as_of, parts)
SELECT %(version)s, %(source)s, %(error)s::text IS NULL, %(error)s, %(content)s, %(as_of)s, %(parts)s
WHERE %(again)s OR NOT EXISTS (
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

_LAST_IN_FORCE = """
SELECT last.version
FROM unnest(%(sources)s::text[]) AS asked (source)
CROSS JOIN LATERAL (
    SELECT id, version FROM ledger.registry_version WHERE source = asked.source AND ok ORDER BY id DESC LIMIT 1
) AS last
ORDER BY last.id DESC
LIMIT 1
"""

_OF_VERSION = """
SELECT version, source, content, error, as_of, parts
FROM ledger.registry_version
WHERE version = %(version)s AND ok
ORDER BY id DESC
LIMIT 1
"""

# By the primary key, newest first; without the content, which may be large.
_HISTORY = """
SELECT loaded_at, version, source, error FROM ledger.registry_version ORDER BY id DESC LIMIT %(limit)s
"""


def record(conn: Connection, tried: Sequence[Load], in_force: Load | None, sources: Sequence[str]) -> News:
    """Writes down what was tried and what is in force, where that is new, in the caller's transaction.

    Args:
        conn: the ledger's connection.
        tried: files and parts that were loaded or refused; the same as the last one of its source is not repeated.
        in_force: what decides now; None where nothing can be put in force. It is the newest row of its sources
            afterwards, so a version that comes back into force is written down again.
        sources: where what decides may come from under these settings.
    """
    conn.execute(_LOCK)
    before = last_in_force(conn, sources)
    refused = False
    for load in tried:
        written = conn.execute(_RECORD, _row(load)).rowcount
        refused = refused or (load.error is not None and written > 0)
    if in_force is not None and last_in_force(conn, sources) != in_force.version:
        conn.execute(_RECORD, _row(in_force, again=True))
    return News(in_force is not None and before != in_force.version, refused)


def last_good(conn: Connection, source: str) -> RegistryLoad | None:
    """The registry that was loaded from this source last without an error."""
    row = conn.execute(_LAST_GOOD, {"source": source}).fetchone()
    return None if row is None else RegistryLoad(*row)


def last_in_force(conn: Connection, sources: Sequence[str]) -> str | None:
    """The version that was loaded last from any of these sources."""
    row = conn.execute(_LAST_IN_FORCE, {"sources": list(sources)}).fetchone()
    return None if row is None else str(row[0])


def of_version(conn: Connection, version: str) -> Load | None:
    """What was in force under this version; None where none of that version ever was."""
    row = conn.execute(_OF_VERSION, {"version": version}).fetchone()
    if row is None:
        return None
    version, source, content, error, as_of, parts = row
    return Load(version, source, content, error, as_of, None if parts is None else tuple(parts))


def history(conn: Connection, *, limit: int = 100) -> list[RecordedLoad]:
    """What was put in force and what was refused, newest first, at most that many."""
    return [RecordedLoad(*row) for row in conn.execute(_HISTORY, {"limit": limit})]


def _row(load: Load, *, again: bool = False) -> dict[str, object]:
    return {
        "version": load.version,
        "source": load.source,
        # Never cut: the last good one decides when the next one does not load.
        "content": storable(load.content, max(len(load.content), 1)),
        "error": storable_or_none(load.error),
        "as_of": load.as_of,
        "again": again,
        "parts": None if load.parts is None else list(load.parts),
    }
