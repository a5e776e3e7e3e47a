"""Exports back into a database: the one that they came from, an empty one, and one that has moved on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from maap_stac_orchestration.governance.curation import Person
from maap_stac_orchestration.ledger import changes
from maap_stac_orchestration.ledger.changes import Action
from maap_stac_orchestration.ledger.records import ItemResult
from maap_stac_orchestration.pipeline.curate import delete_collection
from maap_stac_orchestration.pipeline.export import Format
from maap_stac_orchestration.pipeline.export_source import ExportBroken, find_export
from maap_stac_orchestration.pipeline.restore import CollectionResult, RestoreRefused
from maap_stac_orchestration.pipeline.upkeep import refresh_collections
from maap_stac_orchestration.problems import Code
from maap_stac_orchestration.stack.postgres import PostgresServer
from tests.conftest import MotoStore, _database
from tests.integration.pipeline.batches import SETTINGS, Written, document, ingest
from tests.integration.pipeline.exporting import (
    AUTHOR,
    COLLECTION,
    JOBS,
    bring_back,
    documents,
    export,
    files,
    ingested,
    rows,
)

Connection = psycopg.Connection[Any]
FORMS = {
    "static": frozenset({Format.STATIC}),
    "geoparquet": frozenset({Format.GEOPARQUET}),
    "both": frozenset(Format),
}


@pytest.fixture
def loaded(connection: Connection) -> Connection:
    ingested(connection)
    return connection


@pytest.fixture
def elsewhere(postgres_server: PostgresServer, migrated: str) -> Iterator[Connection]:
    """A connection to another database, in which there is nothing yet."""
    for url in _database(postgres_server, migrated):
        with psycopg.connect(url) as conn:
            yield conn


def counts(restored):
    return {kind: count for kind, count in restored.items.items() if count}


def but_for_when_written(out):
    """The files of an export without when jobs wrote the items into the database that it is of."""
    found = files(out)
    collection = json.loads(found["collection.json"])
    del collection["maap:export"]["written"]
    return {**found, "collection.json": collection}


@pytest.mark.parametrize("form", FORMS)
def test_where_nothing_differs_nothing_is_written(loaded, tmp_path, form):
    export(loaded, tmp_path / "out", formats=FORMS[form])
    before = rows(loaded)
    restored = bring_back(loaded, tmp_path / "out")
    assert counts(restored) == {ItemResult.UNCHANGED: 4}
    assert (restored.document, restored.ok) == (CollectionResult.UNCHANGED, True)
    assert rows(loaded) == before


def test_over_s3_too(loaded, elsewhere, object_store: MotoStore):
    address = f"s3://{object_store.bucket}/public/floods"
    before = rows(loaded)
    for form in FORMS.values():
        export(loaded, address, formats=form, overwrite=True)
        assert counts(bring_back(loaded, address)) == {ItemResult.UNCHANGED: 4}
    assert rows(loaded) == before
    assert counts(bring_back(elsewhere, f"{address}/collection.json")) == {ItemResult.LOADED: 4}
    assert documents(elsewhere) == documents(loaded)


def test_an_empty_database_becomes_the_same(loaded, elsewhere, tmp_path):
    export(loaded, tmp_path / "out")
    restored = bring_back(elsewhere, tmp_path / "out")
    assert counts(restored) == {ItemResult.LOADED: 4}
    assert restored.document is CollectionResult.CREATED
    # Documents, owners, whose words the collection's are, and who wrote which item with what content.
    assert documents(elsewhere) == documents(loaded)
    export(elsewhere, tmp_path / "again")
    assert but_for_when_written(tmp_path / "again") == but_for_when_written(tmp_path / "out")
    before = rows(elsewhere)
    assert counts(bring_back(elsewhere, tmp_path / "out")) == {ItemResult.UNCHANGED: 4}
    assert rows(elsewhere) == before


def test_from_a_table_alone_items_are_the_same_but_for_nulls(loaded, elsewhere, tmp_path):
    export(loaded, tmp_path / "out", formats=FORMS["geoparquet"])
    bring_back(elsewhere, tmp_path / "out")
    # pgstac gives out no nulls, so this is what the API answers.
    assert documents(elsewhere)["items"] == documents(loaded)["items"]
    assert counts(bring_back(elsewhere, tmp_path / "out")) == {ItemResult.UNCHANGED: 4}


def test_it_is_on_record_once(loaded, elsewhere, tmp_path):
    export(loaded, tmp_path / "out")
    bring_back(elsewhere, tmp_path / "out")
    bring_back(elsewhere, tmp_path / "out")
    [change] = changes.history(elsewhere)
    assert (change.action, change.subject, change.by, change.reason) == (
        Action.COLLECTION_RESTORED,
        COLLECTION,
        AUTHOR.by,
        AUTHOR.reason,
    )
    assert change.detail["from"] == str(tmp_path / "out")


def test_jobs_that_come_after_a_restore_find_their_items_as_they_left_them(loaded, elsewhere, tmp_path):
    export(loaded, tmp_path / "out")
    bring_back(elsewhere, tmp_path / "out")
    before = elsewhere.execute("SELECT xmin::text, id FROM pgstac.items ORDER BY id").fetchall()
    outcomes = ingest(elsewhere, JOBS)
    assert {str(one.state) for one in outcomes.values()} == {"loaded"}
    # 0.0 became 0 in the database, so they look new to the ledger, and are not to pgstac.
    assert elsewhere.execute("SELECT xmin::text, id FROM pgstac.items ORDER BY id").fetchall() == before
    # And the ledger knows again what an export does not tell.
    known = elsewhere.execute("SELECT DISTINCT job_id IS NULL, source_sha256 = '' FROM ledger.item").fetchall()
    assert known == [(False, False)]


def test_what_is_missing_or_damaged_comes_back_and_the_rest_is_left_alone(loaded, tmp_path):
    export(loaded, tmp_path / "out")
    before = documents(loaded)
    untouched = "SELECT xmin::text FROM pgstac.items WHERE id IN ('B', 'c d') ORDER BY id"
    as_they_were = loaded.execute(untouched).fetchall()
    loaded.execute("DELETE FROM pgstac.items WHERE id = 'a'")
    loaded.execute("""UPDATE pgstac.items SET content = content || '{"bbox": [0, 0, 0, 0]}' WHERE id = 'b'""")
    loaded.commit()
    restored = bring_back(loaded, tmp_path / "out")
    assert counts(restored) == {ItemResult.LOADED: 2, ItemResult.UNCHANGED: 2}
    assert documents(loaded)["items"] == before["items"]
    assert loaded.execute(untouched).fetchall() == as_they_were
    # The ledger knew more of these items than an export does, and still does.
    assert loaded.execute("SELECT count(*) FROM ledger.item WHERE source_sha256 = ''").fetchone() == (0,)


def test_a_later_jobs_item_stays(loaded, tmp_path):
    export(loaded, tmp_path / "out")
    ingest(loaded, [Written([document("a", west=5.0)], minute=9)])
    before = documents(loaded)
    restored = bring_back(loaded, tmp_path / "out")
    assert counts(restored) == {ItemResult.OLDER: 1, ItemResult.UNCHANGED: 3}
    assert documents(loaded)["items"] == before["items"]


def test_what_the_same_job_wrote_since_stays(loaded, tmp_path):
    export(loaded, tmp_path / "out")
    again = Written([document("a", west=1.0, title="corrected"), *JOBS[0].items[1:]], catalog_minute=50)
    ingest(loaded, [again])
    before = documents(loaded)
    restored = bring_back(loaded, tmp_path / "out")
    assert counts(restored) == {ItemResult.OLDER: 1, ItemResult.UNCHANGED: 3}
    assert documents(loaded)["items"] == before["items"]


def change_item(out, change, id="a"):
    """Changes an item of an export."""
    file = out / id / f"{id}.json"
    document = json.loads(file.read_bytes())
    change(document)
    file.write_text(json.dumps(document))


def test_another_users_item_stays(loaded, tmp_path):
    export(loaded, tmp_path / "out")
    stolen = {"maap:username": "mallory", "maap:job_time": "2030-01-01T00:00:00Z"}
    change_item(tmp_path / "out", lambda item: item["properties"].update(stolen))
    before = rows(loaded)
    restored = bring_back(loaded, tmp_path / "out")
    assert not restored.ok
    assert [problem.code for problem in restored.problems] == [Code.ITEM_OWNED_BY_OTHER]
    assert rows(loaded) == before


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"geometry": {"type": "Point", "coordinates": [400.0, 0.0]}}, Code.GEOMETRY_INVALID),
        ({"properties": {"datetime": "yesterday"}}, Code.DATETIME_INVALID),
        ({"id": "a/b"}, Code.ITEM_ID_UNSAFE),
        ({"id": None}, Code.ITEM_ID_UNSAFE),
        ({"assets": {"data": {}}}, Code.ITEM_INVALID),
        ({"collection": "another"}, Code.ITEM_INVALID),
        ({"type": "Catalog"}, Code.ITEM_INVALID),
        ({"assets": {"data": {"href": "http://169.254.169.254/latest"}}}, Code.ASSET_OUTSIDE),
    ],
)
def test_an_item_that_is_no_good_is_refused_and_the_others_come(loaded, elsewhere, tmp_path, change, code):
    export(loaded, tmp_path / "out")
    change_item(tmp_path / "out", lambda item: item.update(change))
    restored = bring_back(elsewhere, tmp_path / "out")
    assert counts(restored) == {ItemResult.LOADED: 3, ItemResult.REFUSED: 1}
    assert [problem.code for problem in restored.problems] == [code]


def test_items_that_no_job_wrote_come_back_too(loaded, elsewhere, tmp_path):
    plain = {"properties": {"datetime": "2024-01-01T00:00:00Z", "by": "hand"}, "links": []}
    loaded.execute("UPDATE pgstac.items SET content = content || %s", (Jsonb(plain),))
    loaded.execute("DELETE FROM ledger.item")
    loaded.commit()
    export(loaded, tmp_path / "out")
    assert counts(bring_back(elsewhere, tmp_path / "out")) == {ItemResult.LOADED: 4}
    assert documents(elsewhere)["items"] == documents(loaded)["items"]
    assert documents(elsewhere)["written by"] == []


def test_a_document_that_was_curated_since_stays(loaded, tmp_path):
    export(loaded, tmp_path / "out")
    loaded.execute("UPDATE pgstac.collections SET content = content || %s", (Jsonb({"title": "By a curator"}),))
    loaded.commit()
    restored = bring_back(loaded, tmp_path / "out")
    assert restored.document is CollectionResult.KEPT
    assert loaded.execute("SELECT content->>'title' FROM pgstac.collections").fetchone() == ("By a curator",)


def test_words_that_no_person_touched_still_follow_the_items_after_a_restore(loaded, elsewhere, tmp_path):
    export(loaded, tmp_path / "out")
    bring_back(elsewhere, tmp_path / "out")
    ingest(elsewhere, [Written([document("z", platform="landsat-9")], minute=20)])
    [upkeep] = refresh_collections(elsewhere, [COLLECTION])
    assert "summaries" in upkeep.changed


def test_a_deleted_collections_id_stays_taken(loaded, tmp_path):
    export(loaded, tmp_path / "out")
    delete_collection(loaded, SETTINGS, Person("root", admin=True), COLLECTION, AUTHOR)
    before = rows(loaded)
    with pytest.raises(RestoreRefused, match="ids of deleted collections stay taken"):
        bring_back(loaded, tmp_path / "out")
    assert rows(loaded) == before


def test_an_id_that_differs_in_case_only_is_taken(loaded, tmp_path):
    export(loaded, tmp_path / "out")
    file = tmp_path / "out" / "collection.json"
    file.write_text(file.read_text().replace(COLLECTION, COLLECTION.upper()))
    with pytest.raises(RestoreRefused, match="upper and lower case"):
        bring_back(loaded, tmp_path / "out")


def relinked(out, *links):
    """Lets the collection link other documents."""
    file = out / "collection.json"
    file.write_text(json.dumps(json.loads(file.read_bytes()) | {"links": list(links)}))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda out: (out / "a" / "a.json").unlink(), "a/a.json of .* cannot be read"),
        (lambda out: (out / "a" / "a.json").write_text("no json"), "a/a.json of .* cannot be read"),
        (lambda out: relinked(out, {"rel": "item", "href": "../../etc/passwd"}), "leads out of the export"),
        (lambda out: relinked(out, {"rel": "item", "href": "/etc/passwd"}), "leads out of the export"),
        (lambda out: relinked(out, {"rel": "child", "href": "file:///etc/passwd"}), "leads out of the export"),
        (lambda out: relinked(out, {"rel": "item", "href": "https://example.org/a.json"}), "leads out of the export"),
        (lambda out: relinked(out, {"rel": "child", "href": "./collection.json"}), "more than once"),
        (lambda out: relinked(out), "says to hold 4 items, and holds 0"),
    ],
)
def test_an_export_that_is_broken_is_told(loaded, elsewhere, tmp_path, damage, told):
    export(loaded, tmp_path / "out")
    damage(tmp_path / "out")
    with pytest.raises(ExportBroken, match=told):
        bring_back(elsewhere, tmp_path / "out")


def test_what_is_no_export_is_none(tmp_path, object_store: MotoStore):
    with pytest.raises(ExportBroken, match="holds no export"):
        find_export(str(tmp_path))
    assert find_export(str(tmp_path / "not-there")) is None
    assert find_export(f"s3://{object_store.bucket}/henrydevseed/") is None
    # A job's own files are the job's, whatever they say.
    object_store.put(f"{JOBS[0].prefix}collection.json", b'{"maap:export": {"version": 1}}')
    assert find_export(f"s3://{object_store.bucket}/{JOBS[0].prefix}") is None
    object_store.put("later/collection.json", b'{"maap:export": {"version": 2}}')
    with pytest.raises(ExportBroken, match="of a version"):
        find_export(f"s3://{object_store.bucket}/later")
