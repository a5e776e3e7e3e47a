"""`maap-stac lineage`: where an item comes from, and whether its source is still what was read.

Here belongs asking the ledger, pgstac and S3 about one item, and how the answers are printed. Not here: following the
chain in the ledger (`ledger.lineage`), and everything else about its job (`show`).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from maap_stac_orchestration.cli.database import ledger
from maap_stac_orchestration.cli.environment import home_option, use_stack
from maap_stac_orchestration.cli.errors import Told
from maap_stac_orchestration.cli.show import addresses, run_address
from maap_stac_orchestration.cli.terminal import printable

if TYPE_CHECKING:
    from maap_stac_orchestration.ledger.connection import Connection
    from maap_stac_orchestration.ledger.documents import Addresses
    from maap_stac_orchestration.ledger.lineage import Lineage
    from maap_stac_orchestration.store.objects import ObjectStore

#: How properties of ours begin, see `catalog.provenance`.
_OURS = "maap:"
#: Other jobs that are listed on a terminal.
_MAX_OTHERS = 20
#: A document of more bytes than this was never read.
_MOST_BYTES = 2**30


class Source(StrEnum):
    """What became of the document that an item was read from."""

    #: Byte for byte what was read.
    SAME = "same"
    #: Another content by now.
    CHANGED = "changed"
    #: No longer there.
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Verified:
    """What looking at the source gave."""

    source: Source
    #: One sentence.
    message: str
    #: What is there now; None where nothing is, or its bytes are not to be had.
    etag: str | None = None
    sha256: str | None = None


@click.command(
    epilog="\b\nExample:\n  maap-stac lineage henrydevseed__HLSCloudFreeTemporalMosaic__v0.1.1__demo "
    "-245760_2211840_0_2457600-20240601-20240630 --verify",
    short_help="Show where an item comes from.",
    # Ids of items may begin with a hyphen.
    context_settings={"ignore_unknown_options": True},
)
@click.argument("collection")
@click.argument("item")
@click.option("--verify", is_flag=True, help="Read the source document again: is it still what the item was made from?")
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(collection: str, item: str, verify: bool, home: Path | None, as_json: bool) -> int:
    """Shows where an item comes from: the document it was read from, its catalog, the job that wrote it, the decision
    that sent it to its collection, and the Dagster run that loaded it.

    Exits with 1 when that is not known, when the item and the ledger disagree, or when its source is not there as it
    was read.
    """
    use_stack(home, ("PGHOST",))
    from maap_stac_orchestration.ledger.documents import lineage_document
    from maap_stac_orchestration.ledger.lineage import lineage

    # One transaction: what is asked of pgstac depends on a setting of it.
    with ledger("lineage", autocommit=False) as connection:
        found = lineage(connection, collection, item)
        properties = _properties(connection, collection, item)
        if found is None:
            raise Told(_unknown(connection, collection, item, properties), 1)
    notes = _disagreements(found, properties)
    verified = _verify(found) if verify else None
    if as_json:
        document = lineage_document(found, addresses()) | {
            "pgstac": properties,
            "disagreements": notes,
            "verified": None if verified is None else asdict(verified),
        }
        click.echo(json.dumps(document, indent=2))
    else:
        _show(found, properties, notes, verified, addresses())
    return 1 if notes or (verified is not None and verified.source is not Source.SAME) else 0


def _properties(connection: Connection, collection: str, item: str) -> dict[str, Any] | None:
    """What the item itself says of its making; None where pgstac does not have it."""
    from maap_stac_orchestration.pgstac.items import whole

    # PostgreSQL cannot even compare with a NUL.
    documents = [] if "\0" in collection + item else whole(connection, collection, [item])
    if not documents:
        return None
    properties: Mapping[str, Any] = documents[0].get("properties") or {}
    return {name: value for name, value in properties.items() if name.startswith(_OURS)}


def _unknown(connection: Connection, collection: str, item: str, properties: Mapping[str, Any] | None) -> str:
    """Why there is nothing to show."""
    from maap_stac_orchestration.ledger.collections import moved, tombstones

    named = f"{printable(item)} of the collection {printable(collection)}"
    if properties is not None:
        told = ", ".join(f"{name} {value}" for name, value in sorted(properties.items()) if value is not None)
        says = f" It says of itself: {printable(told)}." if told else " It says nothing of its making itself."
        return f"pgstac has the item {named}, and the ledger does not know it: it was not written by this system.{says}"
    if "\0" not in collection:
        if target := moved(connection, [collection]).get(collection):
            return f"The collection {printable(collection)} was moved; ask for the item in {printable(target)}."
        if tombstones(connection, [collection]):
            return f"The collection {printable(collection)} was deleted, and its items with it."
    return (
        f"There is no item {named}, and the ledger knows of none; `maap-stac jobs --collection` lists the jobs that "
        "wrote to a collection."
    )


def _disagreements(found: Lineage, properties: Mapping[str, Any] | None) -> list[str]:
    """Where the item and the ledger do not say the same, a sentence each."""
    if properties is None:
        return ["pgstac does not have the item: somebody removed it there after it was loaded."]
    if found.job is None:
        return ["The ledger no longer knows the job that wrote the item."]
    job = found.job.summary
    notes = []
    for name, known in (
        ("username", job.username),
        ("algorithm", job.algorithm),
        ("algorithm_version", job.version),
        ("tag", job.tag),
        ("job_prefix", job.prefix),
    ):
        said = properties.get(f"{_OURS}{name}")
        if said != known:
            notes.append(f"The item says {_OURS}{name} {printable(str(said))}, the ledger {printable(str(known))}.")
    return notes


def _verify(found: Lineage) -> Verified:
    """Reads the source again.

    Raises:
        Told: the store does not answer, or where the source was is not known.
    """
    from maap_stac_orchestration.store.objects import StoreUnavailable
    from maap_stac_orchestration.store.s3 import S3Objects

    if found.job is None:
        raise Told("The ledger no longer knows the job, so it cannot be told in which bucket its source was.", 1)
    try:
        return asyncio.run(_compare(S3Objects.from_environment(), found.job.summary.bucket, found))
    except StoreUnavailable as error:
        raise Told(str(error)) from error


async def _compare(store: ObjectStore, bucket: str, found: Lineage) -> Verified:
    from maap_stac_orchestration.store.objects import ObjectMissing, ObjectTooLarge, ObjectUnreadable

    item = found.item
    name = f"s3://{bucket}/{printable(item.source_key)}"
    try:
        fetched = await store.get(bucket, item.source_key, _MOST_BYTES)
    except ObjectMissing:
        return Verified(Source.GONE, f"{name} is gone.")
    except (ObjectTooLarge, ObjectUnreadable) as error:
        return Verified(Source.CHANGED, f"{name} cannot be read as it was: {error}")
    digest = hashlib.sha256(fetched.data).hexdigest()
    if digest == item.source_sha256:
        kept = (
            "" if fetched.info.etag == item.source_etag else " It was uploaded again in another way: its etag changed."
        )
        return Verified(Source.SAME, f"{name} is byte for byte what was read.{kept}", fetched.info.etag, digest)
    told = f"{name} has changed since: it was modified at {fetched.info.last_modified:%Y-%m-%d %H:%M:%S} UTC."
    return Verified(Source.CHANGED, told, fetched.info.etag, digest)


def _show(
    found: Lineage,
    properties: Mapping[str, Any] | None,
    notes: list[str],
    verified: Verified | None,
    links: Addresses,
) -> None:
    from rich.console import Console

    # Lines, no tables: ids and prefixes are long, and one that is broken over lines cannot be copied.
    console = Console(highlight=False, soft_wrap=True)
    console.print(Text(f"\n  {printable(found.item.id)}", "bold"))
    console.print(Text(f"  in {printable(found.item.collection)}, written {_time(found.written)}"))
    for title, lines in (
        ("Source document", _source(found)),
        ("Catalog", _catalogs(found)),
        ("Job", _job(found, links)),
        ("Decision", _decision(found)),
        ("Run", _run(found, links)),
        ("Other jobs that brought it", _others(found)),
        ("In pgstac", _pgstac(properties, notes)),
        ("Verified", _verified(found, verified)),
    ):
        shown = list(lines)
        if shown:
            console.print(Text(f"\n  {title}", "bold"))
        for line in shown:
            bad = line in notes or (verified is not None and line == verified.message and verified.source != "same")
            console.print(Text(f"    {printable(line)}", "red" if bad else ""))
    console.print()


def _source(found: Lineage) -> Iterator[str]:
    item, job = found.item, found.job
    yield f"s3://{job.summary.bucket}/{item.source_key}" if job else item.source_key
    version = f", version {found.document.version_id}" if found.document and found.document.version_id else ""
    yield f"etag {item.source_etag}{version}"
    yield f"sha256 {item.source_sha256}"


def _catalogs(found: Lineage) -> Iterator[str]:
    for one in found.catalogs:
        newer = "" if one.current else ", replaced by a newer one since"
        bucket = found.job.summary.bucket if found.job else ""
        yield f"s3://{bucket}/{one.key}"
        yield f"  etag {one.etag}, modified {_time(one.last_modified)}{newer}"


def _job(found: Lineage, links: Addresses) -> Iterator[str]:
    if found.job is None:
        yield f"no longer known; of {found.item.username}, ran at {_time(found.item.job_time)}"
        return
    job = found.job.summary
    yield job.prefix
    tag = f", tag {job.tag}" if job.tag else ""
    yield f"{job.algorithm} {job.version}{tag}, run by {job.username} at {_time(job.time)}; {job.state}"
    yield from (link["href"] for link in links.page(job.prefix))


def _decision(found: Lineage) -> Iterator[str]:
    if found.decision is None:
        return
    decision = found.decision.decision
    yield decision.message
    yield f"{decision.code}: {decision.rule}, registry {decision.registry_version}, {_time(found.decision.at)}"
    if decision.collection not in (None, found.item.collection):
        yield f"Its collection was moved since; it was {decision.collection} then."


def _run(found: Lineage, links: Addresses) -> Iterator[str]:
    if found.item.run_id is None:
        return
    yield run_address(links, found.item.run_id)
    began, ended = found.began, found.ended
    if began is not None:
        attempt = f", attempt {began.attempt}" if began.attempt > 1 else ""
        until = f" until {_time(ended.at)}, {ended.state}" if ended is not None and ended.at >= began.at else ""
        yield f"from {_time(began.at)}{until}{attempt}"


def _others(found: Lineage) -> Iterator[str]:
    for one in found.others[:_MAX_OTHERS]:
        yield f"{_time(one.time)}  {one.result:<9}  {one.prefix}"
    if len(found.others) > _MAX_OTHERS:
        yield f"… and {len(found.others) - _MAX_OTHERS} more; --json shows all."
    if not found.others_complete:
        yield "Older jobs of this collection were not looked through, there are too many."


def _pgstac(properties: Mapping[str, Any] | None, notes: list[str]) -> Iterator[str]:
    for name, value in sorted((properties or {}).items()):
        yield f"{name} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
    yield from notes


def _verified(found: Lineage, verified: Verified | None) -> Iterator[str]:
    if verified is None:
        return
    yield verified.message
    if verified.source is Source.CHANGED and found.job is not None:
        yield f"maap-stac retry {shlex.quote(found.job.summary.prefix)} --force"
        yield "takes the new version over."


def _time(moment: Any) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
