"""An inventory of S3: its manifest, and its data files checked against that.

Here belongs what a manifest says and how the bytes of a data file are had. Not here: the rows in a data file
(`inventory_rows`), and what becomes of the catalogs among them (`pipeline.inventory`).

S3 writes an inventory once a day or a week: data files, and a manifest.json that names each with its size and MD5. See
https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from maap_stac_orchestration.discovery.found import SourceUnavailable, is_storable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

MANIFEST_NAME = "manifest.json"

#: Bytes of a manifest. A data file is named in some 200, and an inventory has hundreds of them rather than thousands.
_MAX_MANIFEST = 64 * 2**20
#: Columns that a manifest may name. S3 knows some twenty.
_MAX_COLUMNS = 100
#: Bytes of an address and of a data file's key. The first is more than S3's keys and most paths have; both are in an
#: index of the ledger, whose rows hold 2,704 bytes.
_MAX_ADDRESS, _MAX_KEY = 1_500, 1_024
#: Bytes that are read at once.
_CHUNK = 2**20
#: In every partition of AWS: `arn:aws:s3:::name`, `arn:aws-us-gov:s3:::name`. Some stores give the name alone.
_BUCKET_ARN = re.compile(r"(?:arn:[a-z0-9-]*:s3:::)?([A-Za-z0-9._-]{1,255})")
_MD5 = re.compile(r"[0-9a-fA-F]{32}")
_GONE = frozenset({"NoSuchKey", "404"})


class InventoryUnusable(Exception):
    """A manifest or a data file cannot be used; the message says what is wrong, of which file, and what to do."""


class FileFormat(StrEnum):
    """What data files are written in, in the words of the manifest."""

    CSV = "CSV"
    PARQUET = "Parquet"
    ORC = "ORC"


@dataclass(frozen=True, slots=True)
class DataFile:
    """A data file, as the manifest tells of it."""

    key: str
    #: Bytes, as they are stored.
    size: int
    #: 32 hexadecimal digits in lower case.
    md5: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an inventory is of, and where it lies."""

    #: `s3://bucket/key`, or the path of a local copy.
    address: str
    #: The bucket whose objects are listed.
    source_bucket: str
    #: The bucket with the data files; None where they lie beside a local manifest.
    files_bucket: str | None
    format: FileFormat
    #: The columns of CSV files, in their order, as `column_name` spells them; empty for other formats, whose files say.
    columns: tuple[str, ...]
    files: tuple[DataFile, ...]
    #: When S3 began to look at the bucket, UTC; None where the manifest does not say.
    created: datetime | None


def column_name(name: str) -> str:
    """A column's name in a spelling that CSV (`LastModifiedDate`), Parquet and ORC (`last_modified_date`) share."""
    return name.strip().replace("_", "").lower()


def read_manifest(address: str, s3: S3Client) -> Manifest:
    """Reads the manifest at `s3://bucket/key` or a local path; of a folder, the manifest.json in it.

    Raises:
        InventoryUnusable: there is none, or it is not one.
        SourceUnavailable: S3 did not give it.
    """
    if address.startswith("s3://"):
        bucket, _, key = address.removeprefix("s3://").partition("/")
        if not key or key.endswith("/"):
            key += MANIFEST_NAME
        address = f"s3://{bucket}/{key}"
        answer = _get(s3, bucket, key)
        if answer["ContentLength"] > _MAX_MANIFEST:
            raise InventoryUnusable(f"{address} has {answer['ContentLength']:,} bytes, which is no manifest.")
        try:
            data = answer["Body"].read()
        except BotoCoreError as error:
            raise SourceUnavailable(f"{address} could not be read: {error}.") from error
        return parse_manifest(data, address, beside=bucket)
    path = Path(address).absolute()
    if path.is_dir():
        path /= MANIFEST_NAME
    try:
        if path.stat().st_size > _MAX_MANIFEST:
            raise InventoryUnusable(f"{path} is too large to be a manifest.")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise InventoryUnusable(
            f"{path} cannot be read ({error}). Name the manifest.json of an inventory, by its path or as s3://bucket/…"
        ) from error
    return parse_manifest(data, str(path), beside=None)


def parse_manifest(data: bytes, address: str, *, beside: str | None) -> Manifest:
    """Reads a manifest's bytes.

    Args:
        data: the document.
        address: where it was.
        beside: the bucket that it was in, which has the data files too unless it says otherwise; None for a local copy.

    Raises:
        InventoryUnusable: it is not a manifest of S3's, or names what cannot be.
    """
    if not is_storable(address) or len(address.encode()) > _MAX_ADDRESS:
        raise InventoryUnusable(
            f"The address {address!r} is longer than S3's are, or not UTF-8. Copy the inventory elsewhere."
        )
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise InventoryUnusable(f"{address} is not JSON ({error}). Name an inventory's manifest.json.") from None
    if not isinstance(document, dict) or "sourceBucket" not in document or "files" not in document:
        raise InventoryUnusable(
            f"{address} is no manifest of an S3 inventory: it lacks sourceBucket or files. Name an inventory's"
            " manifest.json."
        )
    try:
        form = FileFormat(str(document.get("fileFormat")))
    except ValueError:
        raise InventoryUnusable(
            f"{address}: the fileFormat {document.get('fileFormat')!r} is none of {', '.join(FileFormat)}. Let S3 write"
            " the inventory in one of those."
        ) from None
    return Manifest(
        address=address,
        source_bucket=_bucket(document["sourceBucket"], "sourceBucket", address),
        files_bucket=None
        if beside is None
        else _bucket(document.get("destinationBucket", beside), "destinationBucket", address),
        format=form,
        columns=_columns(document.get("fileSchema"), address) if form is FileFormat.CSV else (),
        files=_files(document["files"], address),
        created=_created(document.get("creationTimestamp")),
    )


def check_columns(columns: Iterable[str], where: str) -> None:
    """Looks whether the columns of an inventory, as `column_name` spells them, can be worked with.

    Raises:
        InventoryUnusable: the key or the bucket is not among them, one is there twice, or there are too many.
    """
    names = list(columns)
    if len(names) > _MAX_COLUMNS:
        raise InventoryUnusable(f"{where} has {len(names):,} columns, which no inventory of S3 has.")
    for needed in ("bucket", "key"):
        if names.count(needed) != 1:
            raise InventoryUnusable(
                f"{where} has {'no' if needed not in names else 'more than one'} column {needed}, which each inventory"
                " of S3 has once."
            )
    if len(set(names)) != len(names):
        raise InventoryUnusable(f"{where} has a column twice: {', '.join(sorted(names))[:200]}.")


def fetch(manifest: Manifest, file: DataFile, s3: S3Client) -> IO[bytes]:
    """The bytes of a data file, all of them there and as the manifest says; whoever asked closes it.

    From S3 they go through a temporary file without a name, which goes when this process does, however it ends.

    Raises:
        InventoryUnusable: it is gone, cut short or changed.
        SourceUnavailable: S3 did not give it.
    """
    where = name_of(manifest, file)
    if manifest.files_bucket is None:
        opened = _open_local(manifest, file)
        try:
            _check(iter(lambda: opened.read(_CHUNK), b""), file, where, into=None)
        except BaseException:
            opened.close()
            raise
    else:
        answer = _get(s3, manifest.files_bucket, file.key)
        if answer["ContentLength"] != file.size:
            raise _changed(where, f"{answer['ContentLength']:,} bytes", f"{file.size:,}")
        opened = tempfile.TemporaryFile()  # noqa: SIM115 - the caller's
        try:
            _check(answer["Body"].iter_chunks(_CHUNK), file, where, into=opened)
        except BotoCoreError as error:
            opened.close()
            raise SourceUnavailable(f"{where} could not be read whole: {error}.") from error
        except OSError as error:
            opened.close()
            raise SourceUnavailable(
                f"{where} ({file.size:,} bytes) could not be kept in {tempfile.gettempdir()}: {error}. Let TMPDIR name"
                " a folder with room for it."
            ) from error
        except BaseException:
            opened.close()
            raise
    opened.seek(0)
    return opened


def name_of(manifest: Manifest, file: DataFile) -> str:
    """What a data file is called in sentences."""
    return file.key if manifest.files_bucket is None else f"s3://{manifest.files_bucket}/{file.key}"


def _check(chunks: Iterable[bytes], file: DataFile, where: str, *, into: IO[bytes] | None) -> None:
    # S3 names an MD5 to compare with, not to trust in.
    digest = hashlib.md5(usedforsecurity=False)
    size = 0
    for chunk in chunks:
        size += len(chunk)
        digest.update(chunk)
        if into is not None:
            into.write(chunk)
    if size != file.size:
        raise _changed(where, f"{size:,} bytes", f"{file.size:,}")
    if digest.hexdigest() != file.md5:
        raise _changed(where, f"the MD5 {digest.hexdigest()}", file.md5)


def _changed(where: str, found: str, said: str) -> InventoryUnusable:
    return InventoryUnusable(
        f"{where} has {found} where the manifest says {said}, so it is cut short or was changed, and nothing of it was"
        " read. Copy it again, or take the manifest of another inventory."
    )


def _get(s3: S3Client, bucket: str, key: str) -> GetObjectOutputTypeDef:
    try:
        return s3.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in _GONE:
            raise InventoryUnusable(
                f"There is no object s3://{bucket}/{key}. Old inventories are deleted by rules of their bucket; name"
                " the manifest.json of a newer one."
            ) from None
        raise SourceUnavailable(f"s3://{bucket}/{key} could not be read: {error}.") from error
    except (BotoCoreError, ValueError) as error:  # a ValueError for names that no bucket can have
        raise SourceUnavailable(f"s3://{bucket}/{key} could not be read: {error}.") from error


def _open_local(manifest: Manifest, file: DataFile) -> IO[bytes]:
    place = _local(manifest, file)
    try:
        return place.open("rb")
    except OSError as error:
        raise InventoryUnusable(f"{place} cannot be read: {error}. Make it readable, or copy it again.") from error


def _local(manifest: Manifest, file: DataFile) -> Path:
    """Where a data file lies in a local copy: of the bucket or a part of it, or in one folder with the manifest."""
    parts = file.key.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        raise InventoryUnusable(f"{manifest.address} names the file {file.key!r}, which is no path within a copy.")
    folder = Path(manifest.address).parent
    places = [folder / parts[-1], folder.parent / "data" / parts[-1], *(above / file.key for above in folder.parents)]
    for place in places:
        with suppress(OSError):  # a name that is too long, or a folder that may not be looked into
            if place.is_file():
                return place
    raise InventoryUnusable(
        f"The file {file.key} of {manifest.address} is not there. Copy it into the folder of the manifest, or copy the"
        " whole folder of the inventory."
    )


def _bucket(value: Any, what: str, address: str) -> str:
    match = _BUCKET_ARN.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise InventoryUnusable(f"{address}: the {what} {value!r} is no bucket.")
    return match[1]


def _columns(value: Any, address: str) -> tuple[str, ...]:
    if not isinstance(value, str):
        raise InventoryUnusable(f"{address}: the fileSchema does not name the columns of its CSV files.")
    columns = tuple(column_name(name) for name in value.split(","))
    check_columns(columns, address)
    return columns


def _files(value: Any, address: str) -> tuple[DataFile, ...]:
    if not isinstance(value, list):
        raise InventoryUnusable(f"{address}: files is no list.")
    files: list[DataFile] = []
    for number, one in enumerate(value, 1):
        key, size, md5 = (
            (one.get(name) for name in ("key", "size", "MD5checksum")) if isinstance(one, dict) else [None] * 3
        )
        if (
            not isinstance(key, str)
            or not is_storable(key)
            or not 0 < len(key.encode()) <= _MAX_KEY
            or isinstance(size, bool)
            or not isinstance(size, int)
            or size < 0
            or not isinstance(md5, str)
            or not _MD5.fullmatch(md5)
        ):
            raise InventoryUnusable(
                f"{address}: file {number} of {len(value)} lacks a usable key, size or MD5checksum."
            )
        files.append(DataFile(key, size, md5.lower()))
    return tuple(files)


def _created(value: Any) -> datetime | None:
    """Milliseconds since 1970, as a text."""
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(value))
    except (TypeError, ValueError, OverflowError):
        return None
