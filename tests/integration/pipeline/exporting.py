"""What tests of exports have in common: jobs that were ingested, and whatever of a database a restore could touch."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import psycopg

from maap_stac_orchestration.ledger.changes import Author, Via
from maap_stac_orchestration.pipeline.export import Exported, Format, export_collection
from maap_stac_orchestration.pipeline.export_source import find_export
from maap_stac_orchestration.pipeline.restore import Restored, restore
from maap_stac_orchestration.pipeline.upkeep import refresh_collections
from tests.integration.pipeline.batches import Written, document, ingest

Connection = psycopg.Connection[Any]

COLLECTION = "henrydevseed__mosaic__v1__demo"
AUTHOR = Author("ada", Via.CLI, "the disk was lost")
BOTH = frozenset(Format)

MONTH = {"datetime": None, "start_datetime": "2024-06-01T00:00:00Z", "end_datetime": "2024-06-30T23:59:59Z"}
JOBS = [
    Written(
        [
            document("a", west=1.0),
            document("b", moment="2023-01-01T00:00:00Z", title="ü", cloud=0.1, count=3, nothing=None),
        ]
    ),
    Written([{**document("c d"), "properties": MONTH}, document("B", west=-170.0)], minute=1),
]


def ingested(conn: Connection, jobs: list[Written] = JOBS) -> None:
    """Jobs of which the items are in one collection, which is looked after."""
    ingest(conn, jobs)
    refresh_collections(conn, [COLLECTION])


def export(conn: Connection, address: Path | str, **options: Any) -> Exported:
    """Exports the collection."""
    return export_collection(conn, COLLECTION, str(address), **{"formats": BOTH, **options})


def bring_back(conn: Connection, address: Path | str) -> Restored:
    """Restores an export."""
    found = find_export(str(address))
    assert found is not None
    return restore(conn, found, AUTHOR)


def files(folder: Path) -> dict[str, bytes]:
    """Path -> bytes of all files of a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(conn: Connection) -> dict[str, list[Any]]:
    """All rows of which a restore writes some, each with the transaction that wrote it."""
    tables = ("pgstac.items", "pgstac.collections", "ledger.item", "ledger.collection", "ledger.registry_change")
    found = {
        table: conn.execute(f"SELECT xmin::text, t::text FROM {table} AS t ORDER BY 2").fetchall() for table in tables
    }
    conn.rollback()
    return found


def documents(conn: Connection) -> dict[str, list[Any]]:
    """Collections and items, whole."""
    questions = {
        "collections": "SELECT content FROM pgstac.collections ORDER BY id",
        "items": "SELECT pgstac.get_item(id, collection) FROM pgstac.items ORDER BY collection, id",
        "owners": "SELECT id, owner, described, described_by FROM ledger.collection ORDER BY id",
        "written by": """
            SELECT collection, id, username, job_time, source_key, run_id FROM ledger.item ORDER BY 1, 2
        """,
    }
    found = {name: conn.execute(sql).fetchall() for name, sql in questions.items()}
    conn.rollback()
    return found


if __name__ == "__main__":
    # Exports until it is killed: `python -m tests.integration.pipeline.exporting DATABASE_URL ADDRESS`.
    def stop(stage: object, items: int) -> None:
        print("writing", flush=True)
        os.read(0, 1)

    with psycopg.connect(sys.argv[1]) as connection:
        export(connection, sys.argv[2], progress=stop)
