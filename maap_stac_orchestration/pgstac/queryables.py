"""What a search may filter items by, beyond what STAC itself has: the provenance that each item carries.

Here belongs the list of `maap:` properties and its registration with pgstac, and what becomes of what others registered
for one collection when its items move. Not here: writing those properties (`catalog.provenance`).
"""

from __future__ import annotations

from typing import Any

from psycopg.types.json import Jsonb

from maap_stac_orchestration.pgstac.connection import Connection

_TEXT: dict[str, Any] = {"type": "string"}

#: Property -> JSON Schema. No index of their own: each would be one more relation to lock in every collection, and
#: pgstac runs out of locks long before a search inside one collection gets slow.
QUERYABLES: dict[str, dict[str, Any]] = {
    "maap:username": {**_TEXT, "title": "MAAP user", "description": "Who ran the job that wrote the item"},
    "maap:algorithm": {**_TEXT, "title": "Algorithm", "description": "Name of the algorithm that wrote the item"},
    "maap:algorithm_version": {**_TEXT, "title": "Algorithm version", "description": "Version of that algorithm"},
    "maap:tag": {**_TEXT, "title": "Job tag", "description": "Tag that the job was submitted with"},
    "maap:job_time": {**_TEXT, "format": "date-time", "title": "Job time", "description": "When the job ran"},
    "maap:job_prefix": {**_TEXT, "title": "Output prefix", "description": "Where in S3 the job wrote its outputs"},
    "maap:run_id": {**_TEXT, "title": "Run", "description": "Dagster run that loaded the item"},
}

#: Replacing a queryable makes pgstac walk all partitions, so rows that are right already are left alone.
_DIFFERENT = """
SELECT wanted.name, wanted.definition
FROM jsonb_each(%s) AS wanted (name, definition)
WHERE NOT EXISTS (
    SELECT FROM pgstac.queryables AS known
    WHERE known.name = wanted.name AND known.collection_ids IS NULL AND known.definition = wanted.definition
)
ORDER BY wanted.name
"""

#: Of one name there is one row for a collection, and none beside one for all.
_EXTEND = """
UPDATE pgstac.queryables AS known
SET collection_ids = known.collection_ids || %(target)s::text
WHERE %(source)s = ANY (known.collection_ids)
    AND NOT EXISTS (
        SELECT FROM pgstac.queryables AS other
        WHERE other.name = known.name AND (other.collection_ids IS NULL OR %(target)s = ANY (other.collection_ids))
    )
"""

_REGISTER = "SELECT pgstac.upsert_queryable(%s, %s)"


def register_queryables(connection: Connection) -> list[str]:
    """Registers the properties for all collections; gives the names of those that were new or different."""
    with connection.transaction():
        connection.execute("SELECT set_config('search_path', 'pgstac,public', true)")
        different = connection.execute(_DIFFERENT, (Jsonb(QUERYABLES),)).fetchall()
        for name, definition in different:
            connection.execute(_REGISTER, (name, Jsonb(definition)))
    return [name for name, _ in different]


def extend_queryables(connection: Connection, source: str, target: str) -> int:
    """Lets what is registered for one collection count for another one too, where that has none of the name.

    In the caller's transaction; both collections are there. Gives how many there were.
    """
    connection.execute("SELECT set_config('search_path', 'pgstac,public', true)")
    return connection.execute(_EXTEND, {"source": source, "target": target}).rowcount
