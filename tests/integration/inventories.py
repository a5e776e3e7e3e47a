"""Inventories as S3 writes them, in each of its formats, small enough to be read in a test.

Here belongs how a bucket's objects become data files and a manifest. Not here: what is expected of reading them.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import orjson
import pyarrow as pa
from pyarrow import orc, parquet

BUCKET = "maap-ops-workspace"
#: Where S3 writes inventories, in a bucket of their own.
DESTINATION = "inventories"
FOLDER = "daily/maap-ops-workspace/all/"
MANIFEST = f"{FOLDER}2026-03-02T01-00Z/manifest.json"
WRITTEN = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)

#: Columns as CSV's manifests spell them -> as Parquet and ORC do, with their type.
COLUMNS: dict[str, tuple[str, pa.DataType]] = {
    "Bucket": ("bucket", pa.string()),
    "Key": ("key", pa.string()),
    "VersionId": ("version_id", pa.string()),
    "IsLatest": ("is_latest", pa.bool_()),
    "IsDeleteMarker": ("is_delete_marker", pa.bool_()),
    "Size": ("size", pa.int64()),
    "LastModifiedDate": ("last_modified_date", pa.timestamp("ms", tz="UTC")),
    "ETag": ("e_tag", pa.string()),
    "StorageClass": ("storage_class", pa.string()),
}
FORMATS = {"CSV": "csv.gz", "Parquet": "parquet", "ORC": "orc"}

Row = Mapping[str, Any]


def row(key: str, etag: str = "e1", **more: Any) -> dict[str, Any]:
    """An object's row, by the names of CSV's columns."""
    return {
        "Bucket": BUCKET,
        "Key": key,
        "VersionId": None,
        "IsLatest": True,
        "IsDeleteMarker": False,
        "Size": 500,
        "LastModifiedDate": WRITTEN,
        "ETag": etag,
        "StorageClass": "STANDARD",
    } | more


def data_file(form: str, rows: Iterable[Row], columns: Sequence[str] = tuple(COLUMNS)) -> bytes:
    """The bytes of a data file with these columns, in this order."""
    if form == "CSV":
        # Without the time of now, so that the same rows are the same bytes.
        return gzip.compress(b"".join(_line(row, columns) for row in rows), mtime=0)
    held = list(rows)
    table = pa.table({COLUMNS[name][0]: pa.array([row[name] for row in held], COLUMNS[name][1]) for name in columns})
    sink = BytesIO()
    if form == "Parquet":
        parquet.write_table(table, sink, compression="snappy")
    else:
        orc.write_table(table, sink, compression="zlib")
    return sink.getvalue()


def _line(row: Row, columns: Sequence[str]) -> bytes:
    return (",".join(f'"{_cell(name, row[name])}"' for name in columns) + "\n").encode()


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name == "Key":
        return quote_plus(value, safe="/")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return str(value)


@dataclass(frozen=True, slots=True)
class Inventory:
    """An inventory's objects: key -> bytes."""

    objects: dict[str, bytes]

    def put(self, client: Any, bucket: str = DESTINATION) -> str:
        """Writes it into a bucket; gives the manifest's address."""
        for key, data in self.objects.items():
            client.put_object(Bucket=bucket, Key=key, Body=data)
        return f"s3://{bucket}/{MANIFEST}"

    def copy(self, folder: Path) -> Path:
        """Writes it below a local folder; gives the manifest's path."""
        for key, data in self.objects.items():
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return folder / MANIFEST


def inventory(
    form: str, *files: bytes | Iterable[Row], columns: Sequence[str] = tuple(COLUMNS), **more: Any
) -> Inventory:
    """An inventory with data files of these rows, or of these very bytes; `more` goes into the manifest."""
    objects: dict[str, bytes] = {}
    named = []
    for number, content in enumerate(files):
        data = content if isinstance(content, bytes) else data_file(form, content, columns)
        key = f"{FOLDER}data/{number:04}.{FORMATS[form]}"
        objects[key] = data
        named.append({"key": key, "size": len(data), "MD5checksum": hashlib.md5(data).hexdigest()})
    schema = ", ".join(columns) if form == "CSV" else "as the files say"
    manifest = {
        "sourceBucket": BUCKET,
        "destinationBucket": f"arn:aws:s3:::{DESTINATION}",
        "version": "2016-11-30",
        "creationTimestamp": "1772413200000",
        "fileFormat": form,
        "fileSchema": schema,
        "files": named,
    }
    objects[MANIFEST] = orjson.dumps(manifest | more)
    return Inventory(objects)
