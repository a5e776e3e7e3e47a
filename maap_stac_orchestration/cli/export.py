"""`maap-stac export`: a collection as files, for people who have no API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maap_stac_orchestration.cli.environment import home_option, use_stack
from maap_stac_orchestration.cli.errors import Told

if TYPE_CHECKING:
    from maap_stac_orchestration.pipeline.export import Exported, Format, Stage


@click.command(
    epilog="\b\nExamples:\n  maap-stac export ana--floods ./ana-floods"
    "\n  maap-stac export ana--floods s3://public-data/ana-floods --format geoparquet --overwrite",
    short_help="Write a collection as a static catalog and stac-geoparquet.",
)
@click.argument("collection")
@click.argument("target", metavar="DIR|s3://BUCKET/PREFIX")
@click.option(
    "--format",
    "wanted",
    type=click.Choice(["static", "geoparquet", "both"]),
    default="both",
    show_default=True,
    help="Items as documents of a static catalog, as one stac-geoparquet file, or both.",
)
@click.option(
    "--datetime",
    "span",
    metavar="START/END",
    help="Only items of that time: 2024-06-01/2024-08-31, or times in RFC 3339; .. is an open end.",
)
@click.option("--overwrite", is_flag=True, help="Replace the export that is there already.")
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    collection: str, target: str, wanted: str, span: str | None, overwrite: bool, home: Path | None, as_json: bool
) -> int:
    """Writes a collection to a folder or a bucket: catalog.json and collection.json, each item as a document, and all
    of them in items.parquet. Data are not copied: hrefs of assets stay as they are.

    The collection is read as of one moment, and what was written to items.parquet is read back and compared. `maap-stac
    ingest` brings an export back; where nothing differs, that changes nothing.

    Exit code: 0 when it is written, 1 when items.parquet was left out because the items cannot be a table, 2 when
    nothing was written.
    """
    use_stack(home, ("PGHOST",))
    import psycopg

    from maap_stac_orchestration.cli.database import ledger
    from maap_stac_orchestration.pgstac.snapshot import Span
    from maap_stac_orchestration.pipeline.export import ExportError, Format, NotASpan, export_collection, parse_span
    from maap_stac_orchestration.pipeline.export_target import TargetRefused
    from maap_stac_orchestration.store.objects import StoreUnavailable

    if "\0" in collection or "\0" in target:
        raise Told("A name cannot hold the character NUL.")
    formats = frozenset(Format) if wanted == "both" else frozenset({Format(wanted)})
    try:
        wanted_span = Span() if span is None else parse_span(span)
        with ledger("export", autocommit=False) as conn, _bars(formats) as bars:
            done = export_collection(
                conn,
                collection,
                target,
                formats=formats,
                span=wanted_span,
                overwrite=overwrite,
                begun=bars.begun,
                progress=bars.advance,
            )
    except (ExportError, NotASpan, TargetRefused, StoreUnavailable) as error:
        raise Told(str(error)) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise Told(f"The database user may not read what an export needs: {error.diag.message_primary}.") from error
    except OSError as error:
        raise Told(f"{error.filename or target} cannot be written: {error.strerror or error}.") from error
    if as_json:
        click.echo(json.dumps(_document(done, target), indent=2, ensure_ascii=False))
    else:
        _show(done, target)
    return 0 if done.not_carried is None else 1


class _Bars:
    """A bar for each time that the items are gone over."""

    def __init__(self, bars: Any, formats: frozenset[Format]) -> None:
        from maap_stac_orchestration.pipeline.export import Format, Stage

        self._bars = bars
        stages = tuple(Stage) if Format.GEOPARQUET in formats else (Stage.READING,)
        self._tasks = {stage: bars.add_task(stage.value, total=None) for stage in stages}

    def begun(self, items: int) -> None:
        for task in self._tasks.values():
            self._bars.update(task, total=items)

    def advance(self, stage: Stage, items: int) -> None:
        self._bars.advance(self._tasks[stage], items)


@contextmanager
def _bars(formats: frozenset[Format]) -> Iterator[_Bars]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<9}"), BarColumn(None), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        yield _Bars(bars, formats)


def _document(done: Exported, target: str) -> dict[str, Any]:
    return {
        "collection": done.collection,
        "target": target,
        "items": done.items,
        "documents": done.documents,
        "formats": [str(one) for one in done.formats],
        "verified": None if done.compared is None else done.compared.same + done.compared.alike,
        "identical": None if done.compared is None else done.compared.same,
        "not_carried": done.not_carried,
        "warnings": list(done.warnings),
    }


def _show(done: Exported, target: str) -> None:
    click.echo(f"{done.collection}: {done.items} items in {done.documents} documents at {target}.")
    if done.compared is not None:
        count = done.compared.same + done.compared.alike
        click.echo(f"items.parquet: verified {count} items, {done.compared.same} of them identical.")
    for warning in done.warnings:
        click.echo(f"warning: {warning}", err=True)
    if done.not_carried is not None:
        click.echo(f"There is no items.parquet: the items cannot be a table. {done.not_carried}", err=True)
