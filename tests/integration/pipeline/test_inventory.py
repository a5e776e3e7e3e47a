"""Inventories end up in the ledger, each catalog once, whatever broke off on the way."""

from __future__ import annotations

import gzip
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import UTC, date, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import psycopg
import pyarrow as pa
import pytest
from botocore.config import Config
from pyarrow import parquet

from maap_stac_orchestration.discovery.found import SourceUnavailable
from maap_stac_orchestration.discovery.inventory import InventoryUnusable, read_manifest
from maap_stac_orchestration.pipeline.discover import list_days
from maap_stac_orchestration.pipeline.inventory import Tally, check_source, files_left, read_inventory
from tests.conftest import free_port
from tests.integration.inventories import BUCKET, FORMATS, MANIFEST, WRITTEN, Inventory, inventory, row
from tests.integration.ledger.build import Connection, discover, prefix, seen

if TYPE_CHECKING:
    from tests.conftest import MotoStore

DAY = date(2025, 8, 19)


def job(number: int = 0, day: date = DAY) -> str:
    """The output prefix of a job."""
    return prefix(number, day=day)


def catalog(number: int = 0, day: date = DAY) -> dict[str, Any]:
    """The row of a job's root catalog."""
    return row(f"{job(number, day)}catalog.json")


def read(
    connection: Connection, made: Inventory, folder: Path, *, s3: Any = None, dry_run: bool = False
) -> list[Tally]:
    """Reads what is left of a local copy."""
    manifest = read_manifest(str(made.copy(folder)), s3)
    left = files_left(connection, manifest)
    connection.commit()
    reading = read_inventory(connection, s3, manifest, left, partition=lambda day: day, dry_run=dry_run)
    return [tally for _, tally in reading]


def known(connection: Connection) -> list[tuple[Any, ...]]:
    """Keys, sources and priorities of the catalogs in the ledger."""
    rows = connection.execute(
        "SELECT key, catalog.source, priority FROM ledger.catalog JOIN ledger.job ON job.id = job_id ORDER BY key"
    ).fetchall()
    connection.commit()
    return rows


@pytest.mark.parametrize("form", list(FORMATS))
def test_catalogs_become_jobs_of_low_priority(form: str, connection: Connection, tmp_path: Path) -> None:
    other = date(2024, 2, 29)
    files = [[catalog(1), catalog(2), row(f"{job(1)}data.tif")], [catalog(3, other)]]
    first, second = read(connection, inventory(form, *files), tmp_path)
    assert (first.keys, first.catalogs, first.new) == (3, 2, 2)
    assert {day: (count.catalogs, count.new) for day, count in second.by_day.items()} == {other: (1, 1)}
    rows = [catalog(3, other), catalog(1), catalog(2)]
    assert known(connection) == [(one["Key"], "inventory", 10) for one in rows]


def test_what_events_or_listings_told_of_before_is_the_same_catalog(
    object_store: MotoStore, connection: Connection, tmp_path: Path
) -> None:
    keys = [f"{job(number)}catalog.json" for number in range(3)]
    for key in keys[:2]:
        object_store.put(key, b"{}")
    client = object_store.client()
    list_days(connection, client, [BUCKET], [DAY])
    object_store.put(keys[2], b"{}")
    listed = client.list_objects_v2(Bucket=BUCKET)["Contents"]
    rows = [row(one["Key"], one["ETag"].strip('"'), LastModifiedDate=one["LastModified"]) for one in listed]
    (tally,) = read(connection, inventory("CSV", rows), tmp_path)
    assert (tally.catalogs, tally.new) == (3, 1)
    assert [(key, source) for key, source, _ in known(connection)] == [
        (keys[0], "listing"),
        (keys[1], "listing"),
        (keys[2], "inventory"),
    ]


@pytest.mark.parametrize("dry_run", [False, True])
def test_of_a_job_with_a_root_catalog_only_that_one_counts(
    dry_run: bool, connection: Connection, tmp_path: Path
) -> None:
    def nested(number: int) -> list[dict[str, Any]]:
        return [row(f"{job(number)}{name}/catalog.json") for name in ("a", "z")]

    # Of job 3 the root stands in another file, which was read before.
    files: list[Iterable[Any]] = [[catalog(3)], [*nested(1), catalog(1), *nested(2), *nested(3)]]
    discover(connection, seen(job(3), "e1"))
    first, second = read(connection, inventory("Parquet", *files), tmp_path, dry_run=dry_run)
    assert (first.catalogs, second.catalogs, second.nested) == (1, 3, 4)
    if not dry_run:
        assert [key for key, _, _ in known(connection)] == [
            f"{job(1)}catalog.json",
            f"{job(2)}a/catalog.json",
            f"{job(2)}z/catalog.json",
            f"{job(3)}catalog.json",
        ]


def test_a_count_writes_nothing_and_is_what_reading_then_comes_to(connection: Connection, tmp_path: Path) -> None:
    discover(connection, seen(job(1), "e1"))
    made = inventory("CSV", [catalog(number) for number in range(1, 5)], [catalog(5, date(2024, 1, 1))])
    before = known(connection)
    counted = read(connection, made, tmp_path, dry_run=True)
    assert known(connection) == before
    assert connection.execute("SELECT count(*) FROM ledger.inventory_file").fetchone() == (0,)
    assert read(connection, made, tmp_path) == counted
    assert sum(one.new for one in counted) == 4


def test_where_the_etag_is_absent_the_objects_are_asked(
    object_store: MotoStore, connection: Connection, tmp_path: Path
) -> None:
    for number in range(3):
        object_store.put(f"{job(number)}catalog.json", b"{}")
    rows = [catalog(number) for number in range(4)]
    (tally,) = read(connection, inventory("CSV", rows, columns=("Bucket", "Key")), tmp_path, s3=object_store.client())
    assert (tally.catalogs, tally.new, tally.gone) == (3, 3, 1)
    etags = connection.execute("SELECT DISTINCT etag FROM ledger.catalog").fetchall()
    assert etags == [(hashlib.md5(b"{}").hexdigest(),)]
    connection.commit()
    # A listing of that day finds them known.
    assert list_days(connection, object_store.client(), [BUCKET], [DAY]).new == 0


@pytest.mark.parametrize(
    ("away", "told"), [("the endpoint", r"catalog\.json could not be asked"), ("the bucket", f"bucket {BUCKET} could")]
)
def test_where_the_objects_cannot_be_asked_the_file_does_not_count_as_read(
    away: str, told: str, object_store: MotoStore, connection: Connection, tmp_path: Path
) -> None:
    client = object_store.client()
    if away == "the bucket":
        client.delete_bucket(Bucket=BUCKET)
    else:
        nowhere, once = f"http://127.0.0.1:{free_port()}", Config(retries={"total_max_attempts": 1})
        client = boto3.client("s3", endpoint_url=nowhere, config=once)
    made = inventory("CSV", [catalog()], columns=("Bucket", "Key"))
    with pytest.raises(SourceUnavailable, match=told):
        read(connection, made, tmp_path, s3=client)
    assert known(connection) == []
    assert len(files_left(connection, read_manifest(str(tmp_path / MANIFEST), client))) == 1


def test_files_that_were_read_whole_are_left_out_unless_they_changed(connection: Connection, tmp_path: Path) -> None:
    made = inventory("CSV", [catalog(1)], [catalog(2)])
    assert len(read(connection, made, tmp_path)) == 2
    assert read(connection, made, tmp_path) == []
    again = inventory("CSV", [catalog(1)], [catalog(2), catalog(3)])
    (tally,) = read(connection, again, tmp_path)
    assert (tally.catalogs, tally.new) == (2, 1)


def test_a_file_that_is_not_what_the_manifest_says_ends_it_and_the_others_count(
    connection: Connection, tmp_path: Path
) -> None:
    made = inventory("CSV", [catalog(1)], [catalog(2)], [catalog(3)])
    second = sorted(made.objects)[-2]
    whole = made.objects[second]
    made.objects[second] = whole[:-1]
    with pytest.raises(InventoryUnusable, match=second):
        read(connection, made, tmp_path)
    assert [key for key, _, _ in known(connection)] == [catalog(1)["Key"]]
    made.objects[second] = whole
    assert len(read(connection, made, tmp_path)) == 2
    assert len(known(connection)) == 3


def test_an_inventory_of_another_bucket_is_refused(tmp_path: Path) -> None:
    manifest = read_manifest(str(inventory("CSV", []).copy(tmp_path)), None)  # type: ignore[arg-type]
    check_source(manifest, ["b", BUCKET])
    with pytest.raises(InventoryUnusable, match=f"bucket {BUCKET}, and MAAP_STAC_BUCKETS names b, c"):
        check_source(manifest, ["b", "c"])


def test_more_nested_catalogs_than_are_kept_back_lose_nothing(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maap_stac_orchestration.pipeline.inventory._MOST_NESTED", 10)
    rows = [row(f"{job(number // 4)}{number % 4}/catalog.json") for number in range(100)]
    (tally,) = read(connection, inventory("CSV", rows), tmp_path)
    assert (tally.catalogs, tally.new) == (100, 100)
    assert len(known(connection)) == 100


_READ = """
import sys
from maap_stac_orchestration.discovery.inventory import read_manifest
from maap_stac_orchestration.ledger.connection import connect
from maap_stac_orchestration.pipeline.inventory import files_left, read_inventory

with connect() as conn:
    manifest = read_manifest(sys.argv[1], None)
    left = files_left(conn, manifest)
    conn.commit()
    for file, tally in read_inventory(conn, None, manifest, left, partition=lambda day: day):
        print(file.key, tally.keys, tally.catalogs, tally.new, flush=True)
"""


def test_killed_on_the_way_it_goes_on_with_the_files_that_are_left(
    database_env: dict[str, str], connection: Connection, tmp_path: Path
) -> None:
    each = 300
    files = [[catalog(part * each + number) for number in range(each)] for part in range(10)]
    path = inventory("CSV", *files).copy(tmp_path)
    command = [sys.executable, "-c", _READ, str(path)]
    with subprocess.Popen(command, env=os.environ | database_env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGKILL)
        told += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while len(known(connection)) < each * len(told):
        assert time.monotonic() < deadline
    manifest = read_manifest(str(path), None)  # type: ignore[arg-type]
    left = files_left(connection, manifest)
    connection.commit()
    # What was told of is not read again; the file that it was killed in may have been noted and not yet told of.
    assert 0 < len(left) <= len(files) - len(told)
    done = list(read_inventory(connection, None, manifest, left, partition=lambda day: day))  # type: ignore[arg-type]
    assert [file for file, _ in done] == left
    assert len(known(connection)) == len(files) * each
    noted = connection.execute("SELECT count(*), sum(keys) FROM ledger.inventory_file").fetchone()
    assert noted == (len(files), len(files) * each)


_MEASURE = """
import resource, sys
from datetime import date
from maap_stac_orchestration.discovery.inventory import read_manifest
from maap_stac_orchestration.ledger.connection import connect
from maap_stac_orchestration.pipeline.inventory import files_left, read_inventory

with connect() as conn:
    manifest = read_manifest(sys.argv[1], None)
    keys = sum(
        tally.keys
        for _, tally in read_inventory(conn, None, manifest, manifest.files, partition=lambda day: day)
    )
# Kilobytes, of this process alone: fork would count what the parent had.
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(keys, peak)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("form", ["CSV", "Parquet"])
def test_ten_times_the_keys_take_no_more_memory(
    form: str, database_env: dict[str, str], connection: Connection, tmp_path: Path
) -> None:
    peaks = {}
    for count in (30_000, 300_000):
        columns = ("Bucket", "Key", "ETag", "LastModifiedDate")
        path = inventory(form, _many(form, count), columns=columns).copy(tmp_path / str(count))
        done = subprocess.run(
            [sys.executable, "-c", _MEASURE, str(path)],
            env=os.environ | database_env,
            capture_output=True,
            text=True,
            check=True,
        )
        keys, peak = map(int, done.stdout.split())
        assert keys == count
        peaks[count] = peak / 1024
    # Megabytes. Held in memory, the rows more would take a hundred.
    assert peaks[300_000] < peaks[30_000] + 60, peaks


def _many(form: str, count: int) -> bytes:
    """A data file with so many keys; each hundredth is a catalog."""
    jobs = [job(number) for number in range(count // 100)]
    keys = [f"{one}{'catalog.json' if file == 0 else f'data/{file}.tif'}" for one in jobs for file in range(100)]
    etags = [f"{number:032x}" for number in range(count)]
    if form == "CSV":
        lines = (
            f'"{BUCKET}","{key}","{etag}","2025-08-19T10:00:00.000Z"\n' for key, etag in zip(keys, etags, strict=True)
        )
        return gzip.compress("".join(lines).encode(), 1)
    sink = BytesIO()
    written = pa.array([WRITTEN] * count, pa.timestamp("ms", tz="UTC"))
    table = pa.table({"bucket": [BUCKET] * count, "key": keys, "e_tag": etags, "last_modified_date": written})
    parquet.write_table(table, sink, row_group_size=10_000)
    return sink.getvalue()


def test_what_was_seen_since_is_the_newer(connection: Connection, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    discover(connection, seen(job(1), "e2", at=now))
    (tally,) = read(connection, inventory("CSV", [catalog(1)]), tmp_path)
    assert tally.new == 1
    newest = connection.execute("SELECT etag FROM ledger.catalog ORDER BY last_modified DESC LIMIT 1").fetchone()
    assert newest == ("e2",)
    with psycopg.connect(connection.info.dsn, password=connection.info.password) as other:
        assert other.execute("SELECT generation, priority FROM ledger.job").fetchall() == [(1, 0)]
