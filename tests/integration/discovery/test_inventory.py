"""Inventories are read in each format of S3's, and what is not what its manifest says is not read."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from maap_stac_orchestration.discovery.found import SourceUnavailable
from maap_stac_orchestration.discovery.inventory import (
    InventoryUnusable,
    column_name,
    fetch,
    parse_manifest,
    read_manifest,
)
from maap_stac_orchestration.discovery.inventory_rows import InventoryCatalog, Rows, read_rows
from tests.integration.inventories import (
    BUCKET,
    COLUMNS,
    DESTINATION,
    FORMATS,
    MANIFEST,
    WRITTEN,
    Inventory,
    data_file,
    inventory,
    row,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from tests.conftest import MotoStore

JOB = "ana/dps_output/flood/v1/demo/2025/08/19/09/59/01/262274/"
CATALOG = f"{JOB}catalog.json"
each_format = pytest.mark.parametrize("form", list(FORMATS))
#: A local copy needs no S3.
NO_S3 = cast("S3Client", None)


def rows_of(made: Inventory, folder: Path) -> list[Rows]:
    """All batches of a local copy."""
    manifest = read_manifest(str(made.copy(folder)), NO_S3)
    read: list[Rows] = []
    for file in manifest.files:
        with fetch(manifest, file, NO_S3) as opened:
            read += read_rows(opened, manifest, file)
    return read


def catalogs_of(made: Inventory, folder: Path) -> list[InventoryCatalog]:
    return [one for rows in rows_of(made, folder) for one in rows.catalogs]


@each_format
def test_a_catalog_is_told_as_a_listing_would_tell_it(form: str, tmp_path: Path) -> None:
    (one,) = catalogs_of(inventory(form, [row(CATALOG, "abc", Size=1234), row(f"{JOB}data.tif")]), tmp_path)
    found = one.found()
    assert found is not None
    assert (found.bucket, found.key, found.etag, found.size) == (BUCKET, CATALOG, "abc", 1234)
    assert (found.last_modified, found.version_id) == (WRITTEN, None)
    assert one.prefix.key == JOB


@each_format
def test_rows_are_counted_over_all_files(form: str, tmp_path: Path) -> None:
    files = [[row(f"{JOB}{number}-{part}.tif") for number in range(1000)] for part in range(3)]
    read = rows_of(inventory(form, *files, [], [row(CATALOG)]), tmp_path)
    assert (sum(one.keys for one in read), sum(len(one.catalogs) for one in read)) == (3001, 1)


@each_format
@pytest.mark.parametrize(
    "user", ["a b", "a+b", "a%2Bb", "ä ö", 'quo"ted', "com,ma", "new\nline", "per%cent", "tab\there"], ids=ascii
)
def test_any_character_of_a_key_comes_through(form: str, user: str, tmp_path: Path) -> None:
    (one,) = catalogs_of(inventory(form, [row(user + CATALOG)]), tmp_path)
    assert one.key == user + CATALOG


def test_a_slash_may_be_encoded_too(tmp_path: Path) -> None:
    line = f'"{BUCKET}","{CATALOG.replace("/", "%2F")}"\n'.encode()
    (one,) = catalogs_of(inventory("CSV", gzip.compress(line), columns=("Bucket", "Key")), tmp_path)
    assert one.key == CATALOG


@each_format
def test_versions_that_are_not_the_latest_and_delete_markers_are_left_out(form: str, tmp_path: Path) -> None:
    versions = [
        row(CATALOG, "new", VersionId="v3"),
        row(CATALOG, "old", VersionId="v2", IsLatest=False),
        row(f"{JOB}a/catalog.json", "", VersionId="v1", IsDeleteMarker=True, Size=None),
    ]
    (read,) = rows_of(inventory(form, versions), tmp_path)
    assert [(one.etag, one.version_id) for one in read.catalogs] == [("new", "v3")]
    assert read.superseded == 2


@each_format
def test_columns_may_be_absent_and_in_any_order(form: str, tmp_path: Path) -> None:
    (one,) = catalogs_of(inventory(form, [row(CATALOG)], columns=("ETag", "Key", "Size", "Bucket")), tmp_path)
    assert (one.etag, one.size, one.last_modified) == ("e1", 500, None)
    # Without a time the ledger could not tell which version is the newer.
    assert one.found() is None


@each_format
def test_only_keys_of_catalogs_in_output_prefixes_count(form: str, tmp_path: Path) -> None:
    keys = [
        "catalog.json",
        f"{JOB}my-catalog.json",
        f"{JOB}catalog.json.bak",
        f"x/other/{JOB}catalog.json",
        f"{JOB}a/b",
    ]
    assert catalogs_of(inventory(form, [row(key) for key in keys]), tmp_path) == []


@each_format
def test_what_cannot_be_understood_of_a_row_is_left_to_be_asked(form: str, tmp_path: Path) -> None:
    odd = row(CATALOG, "", Size=-5, LastModifiedDate=None)
    (one,) = catalogs_of(inventory(form, [odd]), tmp_path)
    assert (one.etag, one.size, one.last_modified) == (None, None, None)


def test_times_beyond_what_a_date_can_be_are_left_to_be_asked(tmp_path: Path) -> None:
    table = pa.table(
        {
            "bucket": [BUCKET],
            "key": [CATALOG],
            "e_tag": ["e"],
            "last_modified_date": pa.array([2**62], pa.timestamp("us")),
        }
    )
    assert catalogs_of(inventory("Parquet", _parquet(table)), tmp_path)[0].last_modified is None
    line = f'"{BUCKET}","{CATALOG}","tomorrow"\n'.encode()
    made = inventory("CSV", gzip.compress(line), columns=("Bucket", "Key", "LastModifiedDate"))
    assert catalogs_of(made, tmp_path)[0].last_modified is None


@pytest.mark.parametrize(
    "key",
    [
        b"ana%00" + CATALOG.encode(),
        b"ana%FF" + CATALOG.encode(),
        b"\xff" + CATALOG.encode(),
        b"a" * 1025 + CATALOG.encode(),
    ],
)
def test_keys_that_cannot_be_kept_are_counted_and_do_not_keep_others_from_being_read(
    key: bytes, tmp_path: Path
) -> None:
    lines = b"".join(b'"%s","%s"\n' % (BUCKET.encode(), one) for one in (key, CATALOG.encode()))
    (read,) = rows_of(inventory("CSV", gzip.compress(lines), columns=("Bucket", "Key")), tmp_path)
    assert ([one.key for one in read.catalogs], read.unreadable) == ([CATALOG], 1)


def test_keys_that_cannot_be_kept_are_counted_in_parquet_too(tmp_path: Path) -> None:
    keys = pa.array([b"\xff" + CATALOG.encode(), b"\0" + CATALOG.encode(), CATALOG.encode()], pa.binary())
    table = pa.table({"bucket": [BUCKET] * 3, "key": keys})
    (read,) = rows_of(inventory("Parquet", _parquet(table)), tmp_path)
    assert ([one.key for one in read.catalogs], read.unreadable) == ([CATALOG], 2)


def _parquet(table: pa.Table) -> bytes:
    sink = BytesIO()
    parquet.write_table(table, sink)
    return sink.getvalue()


@each_format
def test_it_is_read_from_s3(form: str, object_store: MotoStore) -> None:
    client = object_store.client()
    client.create_bucket(Bucket=DESTINATION, CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    address = inventory(form, [row(CATALOG)]).put(client)
    for given_address in (address, address.removesuffix("manifest.json")):
        manifest = read_manifest(given_address, client)
        assert (manifest.address, manifest.source_bucket, manifest.files_bucket) == (address, BUCKET, DESTINATION)
        assert manifest.created == datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
        with fetch(manifest, manifest.files[0], client) as opened:
            assert [one.key for rows in read_rows(opened, manifest, manifest.files[0]) for one in rows.catalogs] == [
                CATALOG
            ]


@pytest.mark.parametrize("form", ["CSV"])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda data: data[:-10], "bytes where the manifest says"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "the MD5"),
    ],
)
def test_a_file_that_is_cut_short_or_changed_is_named_and_not_read(
    form: str, change: Any, told: str, object_store: MotoStore, tmp_path: Path
) -> None:
    made = inventory(form, [row(CATALOG)])
    name = next(key for key in made.objects if key != MANIFEST)
    made.objects[name] = change(made.objects[name])
    client = object_store.client()
    client.create_bucket(Bucket=DESTINATION, CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    for address in (made.put(client), str(made.copy(tmp_path))):
        manifest = read_manifest(address, client)
        with pytest.raises(InventoryUnusable, match=rf"{name} has .*{told}.*nothing of it was read\. Copy it again"):
            fetch(manifest, manifest.files[0], client)


def test_a_file_or_manifest_that_is_gone_is_named(object_store: MotoStore, tmp_path: Path) -> None:
    client = object_store.client()
    with pytest.raises(InventoryUnusable, match=f"no object s3://{BUCKET}/{MANIFEST}"):
        read_manifest(f"s3://{BUCKET}/{MANIFEST}", client)
    with pytest.raises(SourceUnavailable, match=f"s3://no-such-bucket/{MANIFEST} could not be read"):
        read_manifest(f"s3://no-such-bucket/{MANIFEST}", client)
    with pytest.raises(InventoryUnusable, match=r"nowhere.json cannot be read"):
        read_manifest(str(tmp_path / "nowhere.json"), NO_S3)
    made = inventory("CSV", [row(CATALOG)])
    (name,) = made.objects.keys() - {MANIFEST}
    path = made.copy(tmp_path)
    (tmp_path / name).unlink()
    manifest = read_manifest(str(path), NO_S3)
    with pytest.raises(InventoryUnusable, match=f"{name} of .* is not there"):
        fetch(manifest, manifest.files[0], NO_S3)


def test_a_local_copy_may_be_one_flat_folder(tmp_path: Path) -> None:
    for key, data in inventory("Parquet", [row(CATALOG)]).objects.items():
        (tmp_path / key.rpartition("/")[2]).write_bytes(data)
    manifest = read_manifest(str(tmp_path), NO_S3)
    with fetch(manifest, manifest.files[0], NO_S3) as opened:
        assert sum(rows.keys for rows in read_rows(opened, manifest, manifest.files[0])) == 1


@pytest.mark.parametrize("key", ["../secret", "/etc/passwd", "a/../../b", "./x", "a//b"])
def test_a_manifest_leads_nowhere_outside_its_copy(key: str, tmp_path: Path) -> None:
    made = inventory("CSV", files=[{"key": key, "size": 1, "MD5checksum": "0" * 32}])
    manifest = read_manifest(str(made.copy(tmp_path)), NO_S3)
    with pytest.raises(InventoryUnusable, match="no path within a copy"):
        fetch(manifest, manifest.files[0], NO_S3)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"fileFormat": "Avro"}, "'Avro' is none of CSV, Parquet, ORC"),
        ({"sourceBucket": 7}, "sourceBucket 7 is no bucket"),
        ({"destinationBucket": "arn:aws:s3:::a/b"}, "destinationBucket 'arn:aws:s3:::a/b' is no bucket"),
        ({"fileSchema": None}, "does not name the columns"),
        ({"fileSchema": "Bucket, Size"}, "no column key"),
        ({"fileSchema": "Bucket, Key, Key"}, "more than one column key"),
        ({"fileSchema": "Bucket, Key, ETag, e_tag"}, "a column twice"),
        ({"fileSchema": ",".join(["Bucket", "Key", *map(str, range(5000))])}, "5,002 columns"),
        ({"files": {}}, "no list"),
        ({"files": [7]}, "file 1 of 1 lacks a usable key"),
        ({"files": [{"key": "a\0b", "size": 1, "MD5checksum": "0" * 32}]}, "file 1 of 1"),
        ({"files": [{"key": "a", "size": -1, "MD5checksum": "0" * 32}]}, "file 1 of 1"),
        ({"files": [{"key": "a", "size": 1, "MD5checksum": "x"}]}, "file 1 of 1"),
    ],
    ids=str,
)
def test_a_manifest_that_says_what_cannot_be_is_refused_in_a_sentence(more: dict[str, Any], told: str) -> None:
    data = inventory("CSV", **more).objects[MANIFEST]
    with pytest.raises(InventoryUnusable, match=told):
        parse_manifest(data, "s3://b/manifest.json", beside="b")


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"sourceBucket": "b"}', b"\xff", b"[" * 100_000])
def test_what_is_no_manifest_is_refused_in_a_sentence(data: bytes) -> None:
    with pytest.raises(InventoryUnusable, match=r"Name an inventory's\s+manifest.json"):
        parse_manifest(data, "s3://b/manifest.json", beside="b")


def test_a_file_of_another_bucket_than_the_manifest_says_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InventoryUnusable, match="objects of the bucket b'other'"):
        rows_of(inventory("CSV", [row(CATALOG, Bucket="other")]), tmp_path)


def test_a_file_that_grows_without_end_is_not_read_on(tmp_path: Path) -> None:
    bomb = gzip.compress(b"\n" * 2**28)
    assert len(bomb) < 2**19
    with pytest.raises(InventoryUnusable, match=r"grows to more than .* when it is unpacked"):
        rows_of(inventory("CSV", bomb), tmp_path)


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("CSV", b"no gzip"),
        ("CSV", gzip.compress(b'"a","b"\n')),
        ("CSV", gzip.compress(b"x" * 2**23)),
        ("CSV", data_file("CSV", [row(CATALOG)])[:-9]),
        ("Parquet", b""),
        ("Parquet", b"PAR1" + b"\0" * 100 + b"PAR1"),
        ("Parquet", _parquet(pa.table({"bucket": [BUCKET], "key": [7]}))),
        ("Parquet", _parquet(pa.table({"bucket": [BUCKET], "key": [["a"]]}))),
        ("Parquet", _parquet(pa.table({"name": ["a"]}))),
        ("ORC", b"ORC" + b"\0" * 100),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_what_is_no_such_file_is_told_in_a_sentence_with_its_name(form: str, data: bytes, tmp_path: Path) -> None:
    with pytest.raises(InventoryUnusable, match=r"data/0000\..* (cannot be read as|has no column)"):
        rows_of(inventory(form, data), tmp_path)


@each_format
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8))
def test_damaged_files_with_the_right_checksum_are_rows_or_a_sentence(
    form: str, changes: list[tuple[int, int]], tmp_path: Path
) -> None:
    data = bytearray(data_file(form, [row(f"{JOB}{number}/catalog.json") for number in range(50)]))
    for place, value in changes:
        data[place % len(data)] = value
    try:
        read = rows_of(inventory(form, bytes(data)), tmp_path)
    except InventoryUnusable:
        return
    assert all(one.key.endswith("catalog.json") for rows in read for one in rows.catalogs)


def test_columns_of_the_three_formats_have_one_spelling() -> None:
    assert all(column_name(ours) == column_name(theirs) for ours, (theirs, _) in COLUMNS.items())
