"""Puts the catalogs of an S3 inventory into the ledger, or only counts them: file by file, in bounded memory.

Here belongs the way from an inventory's rows to recorded catalogs, and what makes it go on where it was broken off. Not
here: the files and their rows (`discovery.inventory`, `discovery.inventory_rows`), and listing (`discover`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from maap_stac_orchestration.discovery.found import CATALOG_NAME, FoundCatalog, SourceUnavailable
from maap_stac_orchestration.discovery.inventory import DataFile, InventoryUnusable, Manifest, fetch
from maap_stac_orchestration.discovery.inventory_rows import InventoryCatalog, read_rows
from maap_stac_orchestration.discovery.queue import ask_object
from maap_stac_orchestration.ledger import inventory_files
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.discovery import CHUNK, record, unknown, with_root
from maap_stac_orchestration.ledger.inventory_files import ReadFile
from maap_stac_orchestration.ledger.records import Recorded, SeenCatalog
from maap_stac_orchestration.pipeline.discover import BACKFILL, seen
from maap_stac_orchestration.pipeline.metrics import tell_recorded

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: Nested catalogs of one file that are kept back until the root of their job may have been met. Where there are more,
#: some count that would not have had to, which costs a look at them and nothing else.
_MOST_NESTED = 50_000
#: Root catalogs of one file that a count remembers, for the same.
_MOST_ROOTS = 1_000_000
#: Objects that are asked at the same time where an inventory does not tell their etag; the client's connections.
ASKED_AT_ONCE = 32


@dataclass(slots=True)
class DayCount:
    """Catalogs of the jobs of one day."""

    #: That the inventory, or the listing, tells of.
    catalogs: int = 0
    #: Of those, the versions that the ledger had not known.
    new: int = 0


@dataclass(slots=True)
class Tally:
    """What reading has come to so far."""

    #: Rows in the data files.
    keys: int = 0
    #: Catalogs that count: of a job with one at its root, only that one.
    catalogs: int = 0
    #: Of those, the versions that the ledger had not known.
    new: int = 0
    #: Catalogs that are not the latest version of their key, and delete markers; left out.
    superseded: int = 0
    #: Keys that end like a catalog's and cannot be kept; left out.
    unreadable: int = 0
    #: Catalogs without etag or time in the inventory that are gone by now; left out.
    gone: int = 0
    #: Catalogs below one at the root of their job; left out.
    nested: int = 0
    #: By the partition that looks after them (UTC).
    by_day: dict[date, DayCount] = field(default_factory=dict)


def check_source(manifest: Manifest, buckets: Collection[str]) -> None:
    """Looks whether an inventory is of a bucket that this deployment looks after.

    Raises:
        InventoryUnusable: it is of another.
    """
    if manifest.source_bucket not in buckets:
        known = ", ".join(buckets) or "no bucket"
        raise InventoryUnusable(
            f"{manifest.address} is an inventory of the bucket {manifest.source_bucket}, and MAAP_STAC_BUCKETS names"
            f" {known}. Name an inventory of one of those, or add the bucket."
        )


def files_left(conn: Connection, manifest: Manifest) -> list[DataFile]:
    """The data files that were not read whole before."""
    done = inventory_files.read_whole(conn, manifest.address)
    return [file for file in manifest.files if (file.key, file.md5) not in done]


def read_inventory(
    conn: Connection,
    s3: S3Client,
    manifest: Manifest,
    files: Iterable[DataFile],
    *,
    partition: Callable[[date], date],
    dry_run: bool = False,
    told: Callable[[Tally], None] = lambda tally: None,
) -> Iterator[tuple[DataFile, Tally]]:
    """Reads data files into the ledger at the priority of backfills, and gives each with what it came to.

    Catalogs are committed as they are met, and a file is noted when it was read whole: whatever ends this, the files
    that were given are not read again.

    Args:
        conn: the ledger, with nothing pending.
        s3: a client with `ASKED_AT_ONCE` connections or more.
        manifest: the inventory.
        files: those of it that are to be read.
        partition: gives the partition that looks after a day.
        dry_run: write nothing.
        told: is given what the file at hand has come to so far, every few thousand rows.

    Raises:
        InventoryUnusable: a file is not what the manifest says.
        SourceUnavailable: S3 did not answer.
    """
    for file in files:
        ledger: _Ledger = _Counting(conn) if dry_run else _Recording(conn)
        reading = _Reading(s3, ledger, partition)
        try:
            with closing(fetch(manifest, file, s3)) as opened:
                for rows in read_rows(opened, manifest, file):
                    reading.tally.keys += rows.keys
                    reading.tally.superseded += rows.superseded
                    reading.tally.unreadable += rows.unreadable
                    for catalog in rows.catalogs:
                        reading.take(catalog)
                    told(reading.tally)
            reading.end()
        finally:
            ledger.tell()
        tally = reading.tally
        if not dry_run:
            read = ReadFile(file.key, file.md5, tally.keys, tally.catalogs, tally.new)
            inventory_files.note(conn, manifest.address, read)
            conn.commit()
        yield file, tally


class _Ledger(Protocol):
    """What a reading asks of the ledger."""

    def put(self, seen: list[SeenCatalog]) -> list[SeenCatalog]:
        """Takes catalogs, and gives those that are news."""
        ...

    def with_root(self, bucket: str, prefixes: set[str]) -> set[str]:
        """Those of the jobs of which a root catalog has come to notice."""
        ...

    def tell(self) -> None:
        """Tells those who collect events what has become known."""
        ...


class _Recording:
    """The ledger, into which everything goes."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._recorded: list[Recorded] = []

    def put(self, seen: list[SeenCatalog]) -> list[SeenCatalog]:
        """Records and commits."""
        news = unknown(self._conn, seen)
        self._conn.commit()
        if news:
            self._recorded.append(record(self._conn, news))
            self._conn.commit()
        return news

    def with_root(self, bucket: str, prefixes: set[str]) -> set[str]:
        """Asks the ledger, which has those of this inventory already."""
        found = with_root(self._conn, bucket, prefixes)
        self._conn.commit()
        return found

    def tell(self) -> None:
        """One event for a file."""
        tell_recorded("inventory", *self._recorded)


class _Counting:
    """The ledger, which is only asked."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        #: Hashes of the jobs with a root catalog in this file: a hundredth of their names, and it is a count.
        self._roots: set[int] = set()

    def put(self, seen: list[SeenCatalog]) -> list[SeenCatalog]:
        """Asks which are news."""
        for one in seen:
            if len(self._roots) < _MOST_ROOTS:
                self._roots.add(hash(one.key))
        news = unknown(self._conn, seen)
        self._conn.rollback()
        return news

    def with_root(self, bucket: str, prefixes: set[str]) -> set[str]:
        """Asks the ledger too: other files of the inventory may have been read."""
        found = with_root(self._conn, bucket, prefixes)
        self._conn.rollback()
        return found | {prefix for prefix in prefixes if hash(prefix + CATALOG_NAME) in self._roots}

    def tell(self) -> None:
        """Nothing became known."""


class _Reading:
    """The reading of one data file."""

    def __init__(self, s3: S3Client, ledger: _Ledger, partition: Callable[[date], date]) -> None:
        self.tally = Tally()
        self._s3 = s3
        self._ledger = ledger
        self._partition = partition
        self._waiting: list[InventoryCatalog] = []
        self._nested: list[InventoryCatalog] = []

    def take(self, catalog: InventoryCatalog) -> None:
        """Puts a catalog where it waits to be recorded with others."""
        if catalog.key == catalog.prefix.key + CATALOG_NAME:
            self._waiting.append(catalog)
            if len(self._waiting) >= CHUNK:
                self._put()
        else:
            self._nested.append(catalog)
            if len(self._nested) >= _MOST_NESTED:
                self._put()
                self._nested = self._without_root()
                if len(self._nested) > _MOST_NESTED // 2:
                    self._put_nested()

    def end(self) -> None:
        """Records what waits."""
        self._put()
        self._nested = self._without_root()
        self._put_nested()

    def _put(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._record(waiting)

    def _put_nested(self) -> None:
        nested, self._nested = self._nested, []
        for start in range(0, len(nested), CHUNK):
            self._record(nested[start : start + CHUNK])

    def _without_root(self) -> list[InventoryCatalog]:
        """The nested catalogs of jobs of which no root catalog is known; the others need not be looked at."""
        by_bucket: dict[str, set[str]] = {}
        for one in self._nested:
            by_bucket.setdefault(one.bucket, set()).add(one.prefix.key)
        rooted = {bucket: self._ledger.with_root(bucket, prefixes) for bucket, prefixes in by_bucket.items()}
        kept = [one for one in self._nested if one.prefix.key not in rooted[one.bucket]]
        self.tally.nested += len(self._nested) - len(kept)
        return kept

    def _record(self, catalogs: list[InventoryCatalog]) -> None:
        days = {catalog.key: self._partition(catalog.prefix.day) for catalog in catalogs}
        found = self._complete(catalogs)
        news = self._ledger.put([seen(one, "inventory", BACKFILL) for one in found])
        self.tally.gone += len(catalogs) - len(found)
        self.tally.catalogs += len(found)
        self.tally.new += len(news)
        for one in found:
            self._day(days[one.key]).catalogs += 1
        for new in news:
            self._day(days[new.key]).new += 1

    def _day(self, day: date) -> DayCount:
        return self.tally.by_day.setdefault(day, DayCount())

    def _complete(self, catalogs: list[InventoryCatalog]) -> list[FoundCatalog]:
        """The catalogs as they were found; of which the inventory does not tell enough, the objects are asked."""
        told = {catalog.key: catalog.found() for catalog in catalogs}
        asked = [catalog for catalog in catalogs if told[catalog.key] is None]
        if asked:
            with ThreadPoolExecutor(ASKED_AT_ONCE, thread_name_prefix="asking") as pool:
                answers = pool.map(partial(ask_object, self._s3), asked)
                try:
                    told.update(zip((catalog.key for catalog in asked), answers, strict=True))
                except BaseException:
                    # Thousands may be queued, which nobody wants to wait for.
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
        found = [one for one in told.values() if one is not None]
        if len(found) < len(told):
            _check_bucket(self._s3, catalogs[0].bucket)
        return found


def _check_bucket(s3: S3Client, bucket: str) -> None:
    """Of a bucket that is not there every object seems to be gone."""
    try:
        s3.head_bucket(Bucket=bucket)
    except (ClientError, BotoCoreError) as error:
        raise SourceUnavailable(f"The bucket {bucket} could not be asked: {error}.") from error
