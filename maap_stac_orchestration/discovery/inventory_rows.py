"""The rows of an inventory's data file: which of them are catalogs, in batches of bounded size.

Here belong the three formats and what their columns mean. Not here: where data files come from (`inventory`), and what
becomes of the catalogs (`pipeline.inventory`).

Of ten million rows some hundred thousand are catalogs, so what all rows go through is done by columns: a batch is read,
its keys are looked at, and only rows that may be a catalog ever become Python objects.

Keys in CSV files are encoded as for a URL, in Parquet and ORC they are as they are:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory.html
How a space is spelled it does not say; it is a plus, as in S3's events (cloud-custodian/cloud-custodian #1997).
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from maap_stac_orchestration.discovery.found import CATALOG_NAME, FoundCatalog, job_of_catalog
from maap_stac_orchestration.discovery.inventory import (
    DataFile,
    FileFormat,
    InventoryUnusable,
    Manifest,
    check_columns,
    column_name,
    name_of,
)
from maap_stac_orchestration.dps.job import OutputPrefix

if TYPE_CHECKING:
    import pyarrow as pa

#: What is read of a file, as `column_name` spells it; all but bucket and key may be absent.
_COLUMNS = ("bucket", "key", "versionid", "islatest", "isdeletemarker", "size", "lastmodifieddate", "etag")

#: Bytes of CSV that become a batch, and rows of Parquet that do.
_BLOCK = 2**20
_BATCH = 16_384

#: S3's own bounds: bytes of a key, and characters of an etag or a version.
_MAX_KEY = 1024
_MAX_NAME = 1024
_MAX_SIZE = 2**63 - 1

#: How much a CSV file may grow when it is unpacked. Inventories grow ten- to fiftyfold; a bomb grows a thousandfold.
_MOST_GROWTH = 200
_GROWTH_OF_ANY = 64 * 2**20

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class InventoryCatalog:
    """A catalog in an inventory. What the inventory does not say, or not so that it can be understood, is None."""

    bucket: str
    #: Decoded.
    key: str
    prefix: OutputPrefix
    #: Without quotes.
    etag: str | None
    #: Bytes.
    size: int | None
    #: UTC.
    last_modified: datetime | None
    version_id: str | None

    def found(self) -> FoundCatalog | None:
        """What the ledger records; None where the object itself has to be asked."""
        if self.etag is None or self.last_modified is None:
            return None
        return FoundCatalog(self.bucket, self.key, self.etag, self.size, self.last_modified, self.version_id)


@dataclass(frozen=True, slots=True)
class Rows:
    """What a batch of rows came to."""

    #: Rows that were looked at.
    keys: int
    catalogs: tuple[InventoryCatalog, ...]
    #: Catalogs that are not the latest version of their key, and delete markers.
    superseded: int
    #: Keys that end like a catalog's and cannot be kept: no UTF-8, a NUL, longer than S3's keys.
    unreadable: int


def read_rows(opened: IO[bytes], manifest: Manifest, file: DataFile) -> Iterator[Rows]:
    """The rows of a data file, a batch at a time.

    Raises:
        InventoryUnusable: it cannot be read, or is of another bucket than the manifest says.
    """
    where = name_of(manifest, file)
    import pyarrow as pa

    read = {FileFormat.CSV: _read_csv, FileFormat.PARQUET: _read_parquet, FileFormat.ORC: _read_orc}[manifest.format]
    try:
        for batch in read(opened, manifest, file, where):
            yield _look(batch, manifest, where)
    except (pa.ArrowException, OSError, EOFError, zlib.error, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise InventoryUnusable(
            f"{where} cannot be read as {manifest.format} with the columns that the manifest says: {reason}. It does"
            " not count as read; take the manifest of another inventory."
        ) from error


def _read_csv(opened: IO[bytes], manifest: Manifest, file: DataFile, where: str) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    from pyarrow import csv

    unpacked = _Unpacked(opened, _MOST_GROWTH * file.size + _GROWTH_OF_ANY, where)
    if unpacked.is_empty():
        return
    wanted = [name for name in _COLUMNS if name in manifest.columns]
    # As bytes: what is no UTF-8 in one row must not keep the others from being read.
    reader = csv.open_csv(
        pa.PythonFile(unpacked, mode="r"),
        read_options=csv.ReadOptions(column_names=list(manifest.columns), block_size=_BLOCK),
        convert_options=csv.ConvertOptions(include_columns=wanted, column_types=dict.fromkeys(wanted, pa.binary())),
    )
    yield from reader


def _read_parquet(opened: IO[bytes], manifest: Manifest, file: DataFile, where: str) -> Iterator[pa.RecordBatch]:
    from pyarrow import parquet

    # With a buffer pages are read as they are needed, where otherwise a whole row group is.
    reader = parquet.ParquetFile(opened, buffer_size=2**20, pre_buffer=False)
    names = _names(reader.schema_arrow.names, where)
    for batch in reader.iter_batches(batch_size=_BATCH, columns=list(names.values())):
        yield batch.rename_columns([column_name(name) for name in batch.schema.names])


def _read_orc(opened: IO[bytes], manifest: Manifest, file: DataFile, where: str) -> Iterator[pa.RecordBatch]:
    from pyarrow import orc

    reader = orc.ORCFile(opened)
    names = _names(reader.schema.names, where)
    for stripe in range(reader.nstripes):
        batch = reader.read_stripe(stripe, columns=list(names.values()))
        yield batch.rename_columns([column_name(name) for name in batch.schema.names])


def _names(names: list[str], where: str) -> dict[str, str]:
    """The columns that are read, as they are called in the file."""
    known = [column_name(name) for name in names]
    check_columns(known, where)
    return {known_name: name for known_name, name in zip(known, names, strict=True) if known_name in _COLUMNS}


class _Unpacked:
    """A gzip file as pyarrow reads it, which ends with an error where it grows as no inventory does."""

    closed = False

    def __init__(self, opened: IO[bytes], most: int, where: str) -> None:
        self._file = gzip.GzipFile(fileobj=opened)
        self._most = most
        self._where = where
        self._read = 0
        self._begun = b""

    def is_empty(self) -> bool:
        """Whether there is nothing in it, for which pyarrow has an error and S3 no rows."""
        self._begun = self._file.read(1)
        return not self._begun

    def read(self, size: int = -1) -> bytes:
        """Up to so many bytes."""
        if self._begun:
            data, self._begun = self._begun, b""
            return data
        data = self._file.read(size)
        self._read += len(data)
        if self._read > self._most:
            raise InventoryUnusable(
                f"{self._where} grows to more than {self._most:,} bytes when it is unpacked, which no inventory does,"
                " so it is not read on. Take the manifest of another inventory."
            )
        return data

    def close(self) -> None:
        """The file itself is the caller's."""
        self.closed = True


def _look(batch: pa.RecordBatch, manifest: Manifest, where: str) -> Rows:
    """The catalogs of a batch."""
    from pyarrow import compute

    keys = _bytes(batch, "key")
    # No encoder spells these characters otherwise, but some encode the slash before them.
    few = batch.filter(compute.fill_null(compute.ends_with(keys, CATALOG_NAME.encode()), False))
    if few.num_rows == 0:
        return Rows(batch.num_rows, (), 0, 0)
    decode = _decoded if manifest.format is FileFormat.CSV else _as_is
    columns = [
        _column(few, name, read)
        for name, read in (
            ("key", _bytes),
            ("bucket", _bytes),
            ("islatest", _values),
            ("isdeletemarker", _values),
            ("etag", _bytes),
            ("size", _values),
            ("lastmodifieddate", _times),
            ("versionid", _bytes),
        )
    ]
    catalogs: list[InventoryCatalog] = []
    superseded = unreadable = 0
    for raw, bucket, latest, marker, etag, size, modified, version in zip(*columns, strict=True):
        key = _key(raw, decode)
        if key is None:
            unreadable += 1
            continue
        prefix = job_of_catalog(key)
        if prefix is None:
            continue
        if bucket != manifest.source_bucket.encode():
            raise InventoryUnusable(
                f"{where} lists objects of the bucket {bytes(bucket or b'')[:100]!r}, where the manifest says"
                f" {manifest.source_bucket}. Take the manifest that belongs to it."
            )
        if _says(latest, False) or _says(marker, True):
            superseded += 1
            continue
        catalogs.append(
            InventoryCatalog(
                bucket=manifest.source_bucket,
                key=key,
                prefix=prefix,
                etag=_name(etag),
                size=_size(size),
                last_modified=_time(modified),
                version_id=_name(version),
            )
        )
    return Rows(batch.num_rows, tuple(catalogs), superseded, unreadable)


def _column(batch: pa.RecordBatch, name: str, read: Callable[[pa.RecordBatch, str], pa.Array]) -> list[Any]:
    """The values of a column; None in each row where the inventory lacks it."""
    if name not in batch.schema.names:
        return [None] * batch.num_rows
    values: list[Any] = read(batch, name).to_pylist()
    return values


def _values(batch: pa.RecordBatch, name: str) -> pa.Array:
    return batch.column(name)


def _bytes(batch: pa.RecordBatch, name: str) -> pa.Array:
    """A column of texts as bytes, since nobody has looked yet whether they are UTF-8."""
    import pyarrow as pa

    return batch.column(name).cast(pa.large_binary())


def _times(batch: pa.RecordBatch, name: str) -> pa.Array:
    """A column of times as microseconds, since Python's own times end with the year 9999; texts stay as they are."""
    import pyarrow as pa

    column = batch.column(name)
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    return column


def _decoded(raw: bytes) -> bytes:
    return unquote_to_bytes(raw.replace(b"+", b" "))


def _as_is(raw: bytes) -> bytes:
    return raw


def _key(raw: bytes, decode: Callable[[bytes], bytes]) -> str | None:
    if len(raw) > 3 * _MAX_KEY:
        return None
    data = decode(raw)
    try:
        key = data.decode()
    except UnicodeDecodeError:
        return None
    return key if len(data) <= _MAX_KEY and "\0" not in key else None


def _says(value: Any, expected: bool) -> bool:
    """Whether a flag has this value, as a boolean or as CSV spells it."""
    if isinstance(value, bytes):
        return value.strip().lower() == str(expected).lower().encode()
    return value is expected


def _name(value: bytes | None) -> str | None:
    """An etag or a version; None where there is none, or none that could be one."""
    try:
        name = (value or b"").decode().strip('"')
    except UnicodeDecodeError:
        return None
    return name if name not in {"", "null"} and "\0" not in name and len(name) <= _MAX_NAME else None


def _size(value: Any) -> int | None:
    if isinstance(value, bytes):
        value = int(value) if value.isdigit() and len(value) < 20 else None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_SIZE:
        return None
    return value


def _time(value: Any) -> datetime | None:
    try:
        if isinstance(value, bytes):
            time = datetime.fromisoformat(value.decode())
            return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        if isinstance(value, int) and not isinstance(value, bool):
            return _EPOCH + timedelta(microseconds=value)
    except (ValueError, OverflowError):
        return None
    return None
