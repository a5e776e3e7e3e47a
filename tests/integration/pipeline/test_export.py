"""Collections out of a real database: into folders, and over HTTP into a bucket."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pystac
import pytest
from pystac.stac_io import DefaultStacIO

from maap_stac_orchestration.catalog.schema import core_errors
from maap_stac_orchestration.pgstac import snapshot
from maap_stac_orchestration.pgstac.snapshot import Span
from maap_stac_orchestration.pipeline import export_layout as layout
from maap_stac_orchestration.pipeline.export import ExportError, Format, NotASpan, parse_span
from maap_stac_orchestration.pipeline.export_target import UNFINISHED, TargetRefused
from maap_stac_orchestration.pipeline.geoparquet import read_items
from maap_stac_orchestration.store.objects import StoreUnavailable
from tests.conftest import MotoStore
from tests.integration.pipeline.batches import Written, document, ingest
from tests.integration.pipeline.exporting import COLLECTION, JOBS, export, files, ingested
from tests.shared import published_schemas

Connection = psycopg.Connection[Any]


@pytest.fixture
def loaded(connection: Connection) -> Connection:
    ingested(connection)
    return connection


@pytest.fixture
def offline() -> Iterator[None]:
    """Lets pystac find published schemas in a folder, and nothing on the network."""
    folder = published_schemas()

    class Offline(DefaultStacIO):
        def read_text_from_href(self, href: str) -> str:
            if "://" in href:
                return (folder / href.split("://")[1].rstrip("#")).read_text()
            return super().read_text_from_href(href)

    pystac.StacIO.set_default(Offline)
    yield
    pystac.StacIO.set_default(DefaultStacIO)


def in_database(conn):
    found = conn.execute("SELECT pgstac.get_item(id, collection) FROM pgstac.items").fetchall()
    conn.rollback()
    return {item["id"]: item for (item,) in found}


def as_api(item):
    """An item of an export as pgstac gives it out, which leaves out members that are null."""
    return without_nulls({**item, "links": layout.kept_links(item)})


def without_nulls(value):
    if isinstance(value, dict):
        return {name: without_nulls(one) for name, one in value.items() if one is not None}
    return value


def test_pystac_reads_the_whole_collection_without_any_api(loaded, tmp_path, offline):
    export(loaded, tmp_path / "out")
    collection = pystac.Collection.from_file(str(tmp_path / "out" / "collection.json"))
    found = {item.id: item for item in collection.get_items(recursive=True)}
    assert sorted(found) == ["B", "a", "b", "c d"]
    assert collection.validate_all() == 4
    assert collection.get_root().id == f"{COLLECTION}-export"
    assert found["c d"].get_collection().id == COLLECTION
    assert found["a"].get_parent().id == COLLECTION
    # Data are not copied.
    assert found["a"].assets["data"].href == "s3://maap-ops-workspace/a.tif"
    assert collection.assets["geoparquet-items"].roles == ["collection-mirror"]
    root = pystac.Catalog.from_file(str(tmp_path / "out" / "catalog.json"))
    assert [one.id for one in root.get_all_collections()] == [COLLECTION]


def test_every_document_is_valid_and_the_items_are_those_of_the_database(loaded, tmp_path):
    done = export(loaded, tmp_path / "out")
    documents = [json.loads(data) for path, data in files(tmp_path / "out").items() if path.endswith(".json")]
    assert len(documents) == done.documents == 6
    assert [error for one in documents for error in core_errors(one)] == []
    items = {one["id"]: as_api(one) for one in documents if one["type"] == "Feature"}
    assert items == in_database(loaded)


def test_the_table_holds_the_same_items_and_that_was_verified(loaded, tmp_path):
    done = export(loaded, tmp_path / "out")
    assert (done.compared.same, done.compared.alike, done.compared.other) == (3, 1, None)
    assert "1 items have members that are null" in done.warnings[0]
    table = [one for batch in read_items(tmp_path / "out" / "items.parquet") for one in batch]
    assert {one["id"]: as_api(one) for one in table} == in_database(loaded)
    [b] = (one for one in table if one["id"] == "b")
    assert "nothing" not in b["properties"]


def test_a_time_that_is_a_range_keeps_its_null_as_stac_wants_it(loaded, tmp_path):
    export(loaded, tmp_path / "out")
    [folder] = (path for path in (tmp_path / "out").iterdir() if path.name.startswith("c-d-"))
    properties = json.loads((folder / f"{folder.name}.json").read_bytes())["properties"]
    assert properties["datetime"] is None
    [range_] = (one for batch in read_items(tmp_path / "out" / "items.parquet") for one in batch if one["id"] == "c d")
    assert range_["properties"] == properties


def test_links_and_times_of_the_api_are_not_in_it_and_where_an_item_comes_from_is(loaded, tmp_path):
    export(loaded, tmp_path / "out")
    item = json.loads((tmp_path / "out" / "a" / "a.json").read_bytes())
    assert [link["rel"] for link in item["links"]] == ["root", "parent", "collection", "via"]
    assert item["properties"]["maap:job_prefix"] == JOBS[0].prefix
    assert all(not link["href"].startswith("http") for link in item["links"])


def test_exporting_twice_gives_the_same_bytes(loaded, tmp_path):
    export(loaded, tmp_path / "one")
    export(loaded, tmp_path / "two")
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_many_items_lie_by_month_and_all_are_found(connection, tmp_path, monkeypatch):
    monkeypatch.setattr(layout.folders, "__defaults__", (10,))
    days = [f"2024-{month:02}-{day:02}T00:00:00Z" for month, count in ((1, 3), (2, 25)) for day in range(1, count + 1)]
    ingested(connection, [Written([document(f"item-{n}", moment=day) for n, day in enumerate(days)])])
    done = export(connection, tmp_path / "out")
    there = files(tmp_path / "out")
    assert "2024/01/item-0/item-0.json" in there
    assert "2024/02/25/item-27/item-27.json" in there
    # Two at the root, the year, two months, 25 days.
    assert done.documents == 28 + 2 + 1 + 2 + 25
    collection = pystac.Collection.from_file(str(tmp_path / "out" / "collection.json"))
    assert len(list(collection.get_items(recursive=True))) == 28
    assert all(item.get_collection() is not None for item in collection.get_items(recursive=True))


def test_ids_that_are_no_file_names_stay_what_they_are(connection, tmp_path):
    odd = ["..", "x/../../../y", "a b", "ü" * 255, "collection.json", "Case", "case", "x" * 255]
    ingested(connection, [Written([document("a")])])
    # Jobs may not write all of these; others might.
    copies = (
        "INSERT INTO pgstac.items SELECT %s, geometry, collection, datetime, end_datetime, content FROM pgstac.items"
    )
    for id in odd:
        connection.execute(f"{copies} WHERE id = 'a'", (id,))
    connection.commit()
    export(connection, tmp_path / "deep" / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]
    collection = pystac.Collection.from_file(str(tmp_path / "deep" / "out" / "collection.json"))
    assert sorted(item.id for item in collection.get_items(recursive=True)) == sorted([*odd, "a"])


def test_only_items_of_a_time_are_exported_where_one_is_named(loaded, tmp_path):
    done = export(loaded, tmp_path / "out", span=parse_span("2024-06-02/2024-07-01"))
    assert done.items == 1
    mark = json.loads((tmp_path / "out" / "collection.json").read_bytes())[layout.MARK]
    assert mark["datetime"] == "2024-06-02T00:00:00Z/2024-07-01T23:59:59.999999Z"
    assert [one["id"] for batch in read_items(tmp_path / "out" / "items.parquet") for one in batch] == ["c d"]


@pytest.mark.parametrize("text", ["", "..", "../..", "2024-07-01/2024-06-01", "summer", "2024-13-01", "a/b/c"])
def test_what_is_no_time_is_told(text):
    with pytest.raises(NotASpan, match="is no stretch of time"):
        parse_span(text)


@pytest.mark.parametrize("format", list(Format))
def test_one_form_alone(loaded, tmp_path, format):
    done = export(loaded, tmp_path / "out", formats=frozenset({format}))
    names = set(files(tmp_path / "out"))
    assert done.formats == (format,)
    assert ("items.parquet" in names) == (format is Format.GEOPARQUET)
    assert ("a/a.json" in names) == (format is Format.STATIC)
    assert {"catalog.json", "collection.json"} <= names


def test_an_empty_collection_is_exported_too(connection, tmp_path):
    ingested(connection, [Written([document("a")])])
    connection.execute("DELETE FROM pgstac.items")
    connection.commit()
    done = export(connection, tmp_path / "out")
    assert (done.items, done.compared.same) == (0, 0)
    assert set(files(tmp_path / "out")) == {"catalog.json", "collection.json", "items.parquet"}


def test_what_no_table_can_hold_is_left_out_of_the_table_alone(connection, tmp_path):
    ingested(connection, [Written([{**document("a"), "properties": {**document("a")["properties"], "id": "another"}}])])
    done = export(connection, tmp_path / "out")
    assert "The item a has a property called id" in done.not_carried
    assert done.formats == (Format.STATIC,)
    assert "items.parquet" not in files(tmp_path / "out")
    assert "assets" not in json.loads((tmp_path / "out" / "collection.json").read_bytes())
    with pytest.raises(ExportError, match="cannot be a table"):
        export(connection, tmp_path / "table", formats=frozenset({Format.GEOPARQUET}))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_values_of_several_types_are_told_of(connection, tmp_path):
    ingested(connection, [Written([document("a", n=1), document("b", n="many")])])
    done = export(connection, tmp_path / "out")
    assert done.warnings == (
        "Values of n are of several types, empty objects or larger than a column holds; items.parquet has them as JSON "
        "text.",
    )
    assert done.compared.same == 2


def test_no_such_collection_is_told(connection, tmp_path):
    with pytest.raises(ExportError, match="There is no collection henrydevseed__mosaic__v1__demo"):
        export(connection, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_replaced_only_where_it_is_an_export_and_that_is_asked_for(loaded, tmp_path):
    out = tmp_path / "out"
    export(loaded, out)
    with pytest.raises(TargetRefused, match="--overwrite"):
        export(loaded, out)
    (out / "stale.json").write_text("{}")
    export(loaded, out, overwrite=True)
    assert not (out / "stale.json").exists()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    with pytest.raises(TargetRefused, match="holds no export"):
        export(loaded, tmp_path / "home", overwrite=True)
    assert (tmp_path / "home" / "thesis.txt").read_text() == "years of work"
    with pytest.raises(TargetRefused, match="is a file"):
        export(loaded, tmp_path / "home" / "thesis.txt", overwrite=True)
    (tmp_path / "empty").mkdir()
    assert export(loaded, tmp_path / "empty").items == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "home", "out"]


def test_an_export_that_breaks_off_leaves_what_was_there(loaded, tmp_path):
    export(loaded, tmp_path / "out")
    before = files(tmp_path / "out")

    def stop(stage, items):
        raise KeyboardInterrupt

    for name in ("out", "new"):
        with pytest.raises(KeyboardInterrupt):
            export(loaded, tmp_path / name, overwrite=True, progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert files(tmp_path / "out") == before


def killed(database, address):
    """An export that is killed in the midst of it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.pipeline.exporting", database, str(address)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    try:
        assert process.stdout.readline() == b"writing\n"
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def test_an_export_that_is_killed_leaves_nothing_half(loaded, database, tmp_path):
    killed(database, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert export(loaded, tmp_path / "out").items == 4


def test_all_is_as_of_one_moment(loaded, database, tmp_path):
    def meanwhile(stage, items):
        with psycopg.connect(database) as other:
            other.execute("DELETE FROM pgstac.items")

    done = export(loaded, tmp_path / "out", progress=meanwhile)
    assert done.items == 4
    assert done.compared.same == 3
    assert len([path for path in files(tmp_path / "out") if path.endswith(".json")]) == 6


def test_items_are_read_by_day_then_by_id_and_the_connection_is_as_it_was(loaded):
    with snapshot.one_moment(loaded):
        assert snapshot.days(loaded, COLLECTION, Span()) == {"2023-01-01": 1, "2024-06-01": 3}
        keys = list(snapshot.keys(loaded, COLLECTION, Span()))
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            loaded.execute("DELETE FROM pgstac.items")
    assert keys == [("2023-01-01", "b"), ("2024-06-01", "B"), ("2024-06-01", "a"), ("2024-06-01", "c d")]
    ingest(loaded, [Written([document("later")], minute=9)])


# Into a bucket, over HTTP.


@pytest.fixture
def address(object_store: MotoStore) -> str:
    return f"s3://{object_store.bucket}/public/floods"


def keys(store: MotoStore) -> dict[str, bytes]:
    """Key -> bytes, of all objects of the bucket."""
    client = store.client()
    listed = client.list_objects_v2(Bucket=store.bucket).get("Contents", [])
    return {one["Key"]: client.get_object(Bucket=store.bucket, Key=one["Key"])["Body"].read() for one in listed}


def test_a_bucket_gets_the_same_files_as_a_folder(loaded, tmp_path, object_store, address):
    export(loaded, tmp_path / "out")
    export(loaded, address)
    assert keys(object_store) == {f"public/floods/{path}": data for path, data in files(tmp_path / "out").items()}
    head = object_store.client().head_object(Bucket=object_store.bucket, Key="public/floods/collection.json")
    assert head["ContentType"] == "application/json"


def test_in_a_bucket_too_only_exports_are_replaced_and_nothing_of_them_stays(loaded, object_store, address):
    export(loaded, address)
    with pytest.raises(TargetRefused, match="--overwrite"):
        export(loaded, address)
    object_store.put("public/floods/gone/gone.json", b"{}")
    object_store.put("public/floods-of-others/x.json", b"{}")
    export(loaded, address, overwrite=True)
    there = keys(object_store)
    assert "public/floods/gone/gone.json" not in there
    assert "public/floods-of-others/x.json" in there
    assert not any(key.endswith(UNFINISHED) for key in there)
    with pytest.raises(TargetRefused, match="holds no export"):
        export(loaded, f"s3://{object_store.bucket}/public", overwrite=True)


def test_an_export_to_a_bucket_that_is_killed_is_none_and_can_be_replaced(loaded, database, object_store, address):
    export(loaded, address, formats=frozenset({Format.STATIC}))
    object_store.client().delete_object(Bucket=object_store.bucket, Key="public/floods/collection.json")
    object_store.put(f"public/floods/{UNFINISHED}", b"{}")
    with pytest.raises(TargetRefused, match="--overwrite"):
        export(loaded, address)
    export(loaded, address, overwrite=True)
    assert "public/floods/collection.json" in keys(object_store)


def test_an_export_to_a_bucket_that_breaks_off_leaves_nothing(loaded, object_store, address):
    seen = []

    def stop(stage, items):
        seen.append(set(keys(object_store)))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(loaded, address, progress=stop)
    assert f"public/floods/{UNFINISHED}" in seen[0]
    assert "public/floods/a/a.json" in seen[0]
    assert "public/floods/collection.json" not in seen[0]
    assert keys(object_store) == {}


@pytest.mark.parametrize("address", ["s3://", "s3:///x", "s3://maap-ops-workspace/a//b", "s3://maap-ops-workspace/.."])
def test_what_is_no_place_in_s3_is_told(loaded, object_store, address):
    with pytest.raises(TargetRefused, match="is not a place in S3"):
        export(loaded, address)


def test_a_bucket_that_is_not_there_is_told(loaded, object_store):
    with pytest.raises(StoreUnavailable, match="There is no such bucket"):
        export(loaded, "s3://not-there-at-all/floods")
