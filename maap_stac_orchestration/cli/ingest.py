"""`maap-stac ingest`: jobs by address, without Dagster, through the same stages."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maap_stac_orchestration.cli.environment import home_option, use_stack
from maap_stac_orchestration.cli.errors import Told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maap_stac_orchestration.pipeline.batch import JobOutcome
    from maap_stac_orchestration.pipeline.export_source import Export
    from maap_stac_orchestration.problems import Problem

#: Problems of one code and job that the table is followed by.
SHOWN = 3


@click.command(
    epilog="\b\nExamples:\n  maap-stac ingest s3://maap-ops-workspace/jsmith/dps_output/flood/v1/"
    "\n  maap-stac ingest ./ana-floods",
    short_help="Ingest jobs by address, without Dagster, or bring an export back.",
)
@click.argument("uris", nargs=-1, required=True, metavar="URI...")
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(uris: tuple[str, ...], home: Path | None, as_json: bool) -> int:
    """Ingests the jobs at or below each URI: an output prefix, a folder above several, or a catalog.json.

    Jobs that were ingested before are read again; what is unchanged is not written again. A folder or prefix that
    `maap-stac export` wrote is brought back as it was exported, whatever the registry says: newer items stay, and what
    is as it was is not written. Exit code: 0 when every job is loaded, 1 when something was wrong or is still missing,
    2 when it could not be tried.
    """
    use_stack(home, ("PGHOST",))
    import psycopg

    from maap_stac_orchestration.ledger.connection import DatabaseUnavailable, connect
    from maap_stac_orchestration.pgstac.connection import PgstacMissing
    from maap_stac_orchestration.pipeline.export_source import ExportBroken
    from maap_stac_orchestration.pipeline.lease import LeaseLost
    from maap_stac_orchestration.pipeline.new_collections import CollectionNameTaken
    from maap_stac_orchestration.pipeline.registry import RegistryUnavailable
    from maap_stac_orchestration.pipeline.request import NotAnAddress
    from maap_stac_orchestration.pipeline.restore import RestoreRefused
    from maap_stac_orchestration.store.objects import StoreUnavailable

    try:
        with connect(application_name="maap-stac ingest") as conn:
            document = _ingest(conn, uris)
    except (DatabaseUnavailable, StoreUnavailable, NotAnAddress, RegistryUnavailable, PgstacMissing) as error:
        raise Told(str(error)) from None
    except (ExportBroken, RestoreRefused) as error:
        raise Told(str(error)) from error
    except (LeaseLost, CollectionNameTaken) as error:
        raise Told(f"{error} Try again.") from None
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        raise Told("The database has no ledger yet. Run `maap-stac migrate`.") from None
    except psycopg.OperationalError as error:
        raise Told(f"The database failed: {' '.join(str(error).split())} Try again; nothing is lost.") from error
    if as_json:
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        _show(document)
    return 0 if document["ok"] else 1


def _ingest(conn: Any, uris: tuple[str, ...]) -> dict[str, Any]:
    from uuid import uuid4

    from maap_stac_orchestration.ledger.records import WITHOUT_DAGSTER
    from maap_stac_orchestration.pipeline.export_source import find_export
    from maap_stac_orchestration.pipeline.ingest import ingest_batch
    from maap_stac_orchestration.pipeline.registry import registry_in_force
    from maap_stac_orchestration.pipeline.request import find_catalogs, parse_address, take_on
    from maap_stac_orchestration.pipeline.upkeep import refresh_collections
    from maap_stac_orchestration.problems import Code, Problem
    from maap_stac_orchestration.settings import Settings
    from maap_stac_orchestration.store.s3 import S3Objects

    settings = Settings.from_environment()
    exports = {uri: export for uri in dict.fromkeys(uris) if (export := find_export(uri)) is not None}
    addresses = [parse_address(uri) for uri in uris if uri not in exports]
    restored = [_restored(conn, one) for one in exports.values()]
    if not addresses:
        return _told([], [], [], restored, None)
    in_force = registry_in_force(settings, conn)
    if in_force.warning:
        click.echo(f"maap-stac: {in_force.warning}", err=True)
    store = S3Objects.from_environment()
    found = find_catalogs(store, addresses)
    missing = [
        Problem(Code.CATALOG_MISSING, f"s3://{address.bucket}/{address.prefix}")
        for address, catalogs in found.items()
        if not catalogs
    ]
    run_id = f"{WITHOUT_DAGSTER}{uuid4()}"
    claimed = take_on(conn, [one for catalogs in found.values() for one in catalogs], settings, run_id)
    outcomes: list[JobOutcome] = []
    collections: set[str] = set()
    for batch in claimed.batches:
        click.echo(f"Ingesting {len(batch.jobs)} jobs …", err=True)
        ingested = ingest_batch(conn, store, batch, settings, in_force.registry)
        outcomes += ingested.outcomes
        collections |= set(ingested.collections)
    refresh_collections(conn, sorted(collections))
    held = [f"s3://{bucket}/{prefix}" for bucket, prefix in claimed.held]
    return _told([_job(outcome) for outcome in outcomes], held, missing, restored, run_id)


def _told(
    jobs: list[dict[str, Any]],
    held: list[str],
    missing: list[Problem],
    restored: list[dict[str, Any]],
    run_id: str | None,
) -> dict[str, Any]:
    return {
        "ok": not missing
        and not held
        and all(job["state"] == "loaded" for job in jobs)
        and not any(one["items"]["refused"] for one in restored),
        "run_id": run_id,
        "jobs": jobs,
        # Another run has them at this moment.
        "held": held,
        "problems": [problem.to_document() for problem in missing],
        "exports": restored,
    }


def _restored(conn: Any, export: Export) -> dict[str, Any]:
    from getpass import getuser

    from maap_stac_orchestration.cli.progress import progress
    from maap_stac_orchestration.ledger.changes import Author, Via
    from maap_stac_orchestration.pipeline.restore import restore

    try:
        who = getuser()
    # What it raises where nobody has a name depends on the version of Python.
    except (OSError, KeyError, ImportError):
        who = "unknown"
    author = Author(who, Via.CLI, f"The export {export.address} was ingested.")
    total = export.mark.get("items")
    with progress(["Items"], total if isinstance(total, int) else 0, quiet=not sys.stderr.isatty()) as advance:

        def done(items: int) -> None:
            for _ in range(items):
                advance("Items")

        result = restore(conn, export, author, done)
    return {
        "address": result.address,
        "collection": result.collection,
        "document": str(result.document),
        "items": {str(kind): count for kind, count in result.items.items()},
        "problems": [problem.to_document() for problem in result.problems],
    }


def _job(outcome: JobOutcome) -> dict[str, Any]:
    return {
        "bucket": outcome.claim.bucket,
        "prefix": outcome.claim.prefix,
        "state": str(outcome.state),
        "items": {
            "loaded": outcome.counts.loaded,
            "unchanged": outcome.counts.unchanged,
            "fallback": outcome.counts.fallback,
            "refused": outcome.counts.refused,
        },
        "collections": list(outcome.collections),
        "problems": [problem.to_document() for problem in outcome.problems],
    }


def _problem_lines(problems: list[dict[str, Any]]) -> Iterator[str]:
    """The problems of one job, a few of each code: a job may lack thousands of assets."""
    by_code: dict[str, list[dict[str, Any]]] = {}
    for problem in problems:
        by_code.setdefault(problem["code"], []).append(problem)
    for code, some in by_code.items():
        for problem in some[:SHOWN]:
            yield f"{problem['severity']} {code}: {problem['message']} {problem['fix']}"
        if len(some) > SHOWN:
            yield f"{some[0]['severity']} {code}: {len(some) - SHOWN} more; --json prints all."


def _show(document: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("job", "state", "loaded", "unchanged", "refused", "collections", box=None)
    for job in document["jobs"]:
        counts = job["items"]
        table.add_row(
            job["prefix"],
            job["state"],
            str(counts["loaded"]),
            str(counts["unchanged"]),
            str(counts["refused"]),
            ", ".join(job["collections"]),
        )
    if document["jobs"]:
        console.print(table)
    for export in document["exports"]:
        counts = ", ".join(f"{count} {kind}" for kind, count in export["items"].items())
        stays = " Its document is another one than the export's, and stays." if export["document"] == "kept" else ""
        new = " (new)" if export["document"] == "created" else ""
        console.print(f"{export['collection']}{new} from {export['address']}: {counts}.{stays}", markup=False)
    parts = (*document["jobs"], *document["exports"])
    for problems in (document["problems"], *(one["problems"] for one in parts)):
        # No markup: messages hold what jobs wrote.
        for line in _problem_lines(problems):
            console.print(line, markup=False)
    for held in document["held"]:
        console.print(f"Another run is ingesting {held} at this moment; see `maap-stac jobs`.", markup=False)
