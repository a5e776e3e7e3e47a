"""Collections in a real pgstac: creating them, and keeping their extents true."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pystac
import pytest

from maap_stac_orchestration.catalog.collection import LONGEST_WORDS
from maap_stac_orchestration.pgstac.collections import (
    count_items,
    create_missing,
    delete_with_items,
    existing_ids,
    extent_of,
    has_items,
    insert_document,
    read_document,
    refresh_collection,
)
from maap_stac_orchestration.pgstac.description import collection_document
from maap_stac_orchestration.pgstac.items import load, lock_writers
from tests.integration.pgstac.stac import item, new_collection

Connection = psycopg.Connection[Any]
DEFAULT = "henrydevseed__HLSCloudFreeTemporalMosaic__v0.1.1__demo"


def document(connection: Connection, id: str) -> dict[str, Any]:
    row = connection.execute("SELECT content FROM pgstac.collections WHERE id = %s", (id,)).fetchone()
    assert row is not None
    found: dict[str, Any] = row[0]
    return found


def found_by(connection: Connection, search: str) -> list[str]:
    row = connection.execute("SELECT pgstac.collection_search(%s::jsonb)", (search,)).fetchone()
    assert row is not None
    return [collection["id"] for collection in row[0]["collections"]]


def test_a_missing_collection_is_created_and_valid(connection: Connection) -> None:
    assert [new.id for new in create_missing(connection, [new_collection(DEFAULT)]).created] == [DEFAULT]
    created = document(connection, DEFAULT)
    collection = pystac.Collection.from_dict(created)
    collection.validate()
    assert collection.title == "HLSCloudFreeTemporalMosaic v0.1.1, demo (henrydevseed)"
    assert collection.license == "other"
    assert {provider.name: provider.roles for provider in collection.providers or []} == {
        "henrydevseed": ["producer"],
        "MAAP": ["processor", "host"],
    }
    assert collection.extent.spatial.bboxes == [[0, 0, 1, 1]]


@pytest.mark.parametrize(
    "words", ["henrydevseed", "HLSCloudFreeTemporalMosaic", "hlscloudfreetemporalmosaic", "v0.1.1", "demo"]
)
def test_free_text_search_finds_a_default_collection(connection: Connection, words: str) -> None:
    create_missing(
        connection,
        [new_collection(DEFAULT), new_collection("another", username="x", tag="y", version="v9", algorithm="z")],
    )
    assert found_by(connection, f'{{"q": ["{words}"]}}') == [DEFAULT]


@pytest.mark.parametrize("words", ["AGB_H30_2020", "full_run", "AGB_H30_2020/full_run", "aliz237"])
def test_free_text_search_finds_a_tag_with_a_slash_by_its_parts(connection: Connection, words: str) -> None:
    create_missing(connection, [new_collection(DEFAULT, username="aliz237", tag="AGB_H30_2020/full_run")])
    assert found_by(connection, f'{{"q": ["{words}"]}}') == [DEFAULT]


def test_free_text_search_finds_a_collection_in_its_jobs_own_words_by_the_user_too(connection: Connection) -> None:
    own = {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": "mosaic",
        "title": "Mosaics",
        "description": "Without clouds",
        "license": "CC-BY-4.0",
        "keywords": ["HLS"],
        "providers": [{"name": "NASA", "roles": ["producer"]}],
        "summaries": {"gsd": [30]},
        "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
        "links": [{"rel": "license", "href": "https://example.org/terms"}, {"rel": "root", "href": "./catalog.json"}],
    }
    create_missing(connection, [new_collection(DEFAULT, own=[own])])
    created = document(connection, DEFAULT)
    assert (created["id"], created["title"], created["license"]) == (DEFAULT, "Mosaics", "CC-BY-4.0")
    assert created["summaries"] == {"gsd": [30]}
    assert [link["rel"] for link in created["links"]] == ["license"]
    assert created["extent"]["spatial"]["bbox"] == [[0, 0, 1, 1]]
    assert [provider["name"] for provider in created["providers"]] == ["NASA", "henrydevseed", "MAAP"]
    assert found_by(connection, '{"q": ["henrydevseed"]}') == [DEFAULT]
    assert found_by(connection, '{"q": ["mosaics"]}') == [DEFAULT]


def test_a_document_of_another_name_does_not_describe_a_collection_that_was_asked_for(connection: Connection) -> None:
    own = {"type": "Collection", "id": "other", "title": "Other", "description": "x", "license": "MIT", "links": []}
    create_missing(connection, [new_collection("asked-for", default=False, own=[own])])
    assert document(connection, "asked-for")["title"] == "asked-for"


def test_two_documents_describe_nothing(connection: Connection) -> None:
    own = {"type": "Collection", "id": "things", "title": "Other", "description": "x", "license": "MIT", "links": []}
    create_missing(connection, [new_collection("things", own=[own, own])])
    assert document(connection, "things")["license"] == "other"


def test_a_document_that_would_make_an_invalid_collection_is_left(connection: Connection) -> None:
    own = {"type": "Collection", "id": "things", "title": 7, "description": "x", "license": "MIT", "links": []}
    create_missing(connection, [new_collection("things", own=[own])])
    assert document(connection, "things")["license"] == "other"


def test_the_registrys_words_are_used(connection: Connection) -> None:
    creation = {"title": "Floods", "license": "CC0-1.0"}
    create_missing(connection, [new_collection("floods", default=False, creation=creation)])
    assert (document(connection, "floods")["title"], document(connection, "floods")["license"]) == ("Floods", "CC0-1.0")


def test_what_exists_is_never_overwritten(connection: Connection) -> None:
    create_missing(connection, [new_collection("things")])
    before = document(connection, "things")
    assert create_missing(connection, [new_collection("things", username="somebody-else")]).created == ()
    assert document(connection, "things") == before


def test_an_id_that_differs_in_case_only_is_not_created(connection: Connection) -> None:
    create_missing(connection, [new_collection("Ana__flood")])
    creation = create_missing(
        connection, [new_collection("ana__flood"), new_collection("B__c"), new_collection("b__C")]
    )
    assert creation.taken == {"ana__flood": "Ana__flood", "b__C": "B__c"}
    assert [new.id for new in creation.created] == ["B__c"]
    assert existing_ids(connection, ["ANA__FLOOD", "nothing"]) == ["Ana__flood"]


def test_two_runs_that_create_the_same_collection_do_not_collide(database: str) -> None:
    """Both begin before either has committed."""
    created: list[str] = []
    errors: list[BaseException] = []
    start = threading.Barrier(4)

    def create() -> None:
        try:
            with psycopg.connect(database) as own:
                start.wait(30)
                for number in range(10):
                    created.extend(new.id for new in create_missing(own, [new_collection(f"c-{number}")]).created)
                    own.commit()
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    assert sorted(created) == sorted(f"c-{number}" for number in range(10))


def fill(connection: Connection, documents: list[dict[str, Any]]) -> None:
    create_missing(connection, [new_collection("things")])
    load(connection, "things", documents)
    connection.commit()


def test_an_extent_becomes_that_of_the_items(connection: Connection) -> None:
    fill(
        connection,
        [
            item("a", west=5.0),
            item(
                "b",
                west=-7.0,
                properties={
                    "datetime": None,
                    "start_datetime": "2020-01-01T00:00:00Z",
                    "end_datetime": "2030-01-01T00:00:00.5Z",
                },
            ),
        ],
    )
    refreshed = refresh_collection(connection, "things")
    assert (refreshed.items, refreshed.changed) == (2, True)
    assert document(connection, "things")["extent"] == {
        "spatial": {"bbox": [[-7, 0, 6, 1]]},
        "temporal": {"interval": [["2020-01-01T00:00:00Z", "2030-01-01T00:00:00.500000Z"]]},
    }


def test_refreshing_again_changes_nothing(connection: Connection) -> None:
    fill(connection, [item("a", west=5.0)])
    refresh_collection(connection, "things")
    before = connection.execute("SELECT xmin, content FROM pgstac.collections").fetchone()
    assert not refresh_collection(connection, "things").changed
    assert connection.execute("SELECT xmin, content FROM pgstac.collections").fetchone() == before


def test_updated_moves_with_the_extent(connection: Connection) -> None:
    fill(connection, [item("a")])
    refresh_collection(connection, "things")
    before = document(connection, "things")["updated"]
    load(connection, "things", [item("b", west=50.0)])
    refresh_collection(connection, "things")
    connection.commit()
    assert document(connection, "things")["updated"] > before


def crossing(id: str, west: float, east: float) -> dict[str, Any]:
    def ring(left: float, right: float) -> list[Any]:
        return [[[left, 50], [right, 50], [right, 51], [left, 51], [left, 50]]]

    geometry = {"type": "MultiPolygon", "coordinates": [ring(west, 180), ring(-180, east)]}
    return item(id, geometry=geometry, bbox=[west, 50, east, 51])


def test_items_across_the_antimeridian_do_not_claim_the_globe_only(connection: Connection) -> None:
    fill(connection, [crossing("a", 178, -179), crossing("b", 176.5, -179.5), item("c", west=170.0)])
    refresh_collection(connection, "things")
    assert document(connection, "things")["extent"]["spatial"]["bbox"] == [
        [-180, 0, 180, 51],
        [170, 0, 180, 51],
        [-180, 0, -179, 51],
    ]


@pytest.mark.parametrize("box", ["[178.5, 50.2, 178.6, 50.4]", "[-179.9, 50.2, -179.8, 50.4]"])
def test_a_search_for_collections_finds_one_across_the_antimeridian(connection: Connection, box: str) -> None:
    fill(connection, [crossing("a", 178, -179)])
    refresh_collection(connection, "things")
    assert found_by(connection, f'{{"bbox": {box}}}') == ["things"]


def test_the_first_extent_is_that_of_the_refresh(connection: Connection) -> None:
    documents = [crossing("a", 178, -179), crossing("b", 176.5, -179.5), item("c", west=-12.0)]
    create_missing(connection, [new_collection("things", extent=extent_of(documents))])
    load(connection, "things", documents)
    assert not refresh_collection(connection, "things").changed


def test_an_empty_collection_keeps_its_extent(connection: Connection) -> None:
    create_missing(connection, [new_collection("things")])
    before = document(connection, "things")
    refreshed = refresh_collection(connection, "things")
    assert (refreshed.items, refreshed.changed) == (0, False)
    assert document(connection, "things") == before


def test_a_collection_that_is_gone_is_no_error(connection: Connection) -> None:
    assert refresh_collection(connection, "nowhere").extent is None


def test_items_without_a_box_or_a_time_give_a_valid_extent() -> None:
    assert extent_of([]) == {
        "spatial": {"bbox": [[-180, -90, 180, 90]]},
        "temporal": {"interval": [[None, None]]},
    }


def inserted(connection: Connection, id: str, **changes: Any) -> str | None:
    document = collection_document(new_collection(id), "2024-06-01T00:00:00Z") | changes
    return insert_document(connection, document)


def test_a_document_is_inserted_once_whatever_the_case_of_its_id(connection: Connection) -> None:
    assert inserted(connection, "things", title="First") is None
    assert inserted(connection, "things", title="Second") == "things"
    assert inserted(connection, "Things", title="Third") == "things"
    assert read_document(connection, "things") == document(connection, "things")
    assert document(connection, "things")["title"] == "First"
    assert read_document(connection, "Things") is None
    assert read_document(connection, "a\0b") is None


def test_a_collection_is_deleted_with_all_that_pgstac_keeps_of_it(connection: Connection) -> None:
    create_missing(connection, [new_collection("things"), new_collection("others")])
    for id in ("things", "others"):
        lock_writers(connection, [id])
        load(connection, id, [item("one", id), item("two", id)])
        connection.execute(
            "INSERT INTO pgstac.format_item_cache (id, collection, fields, hydrated) VALUES ('one', %s, '', true)",
            (id,),
        )
    connection.commit()
    before = tables(connection)
    assert (has_items(connection, "things"), count_items(connection, "things")) == (True, 2)
    assert delete_with_items(connection, "things")
    connection.commit()
    assert read_document(connection, "things") is None
    assert (has_items(connection, "things"), count_items(connection, "things")) == (False, 0)
    assert len(before - tables(connection)) == 1
    row = connection.execute("SELECT array_agg(collection) FROM pgstac.format_item_cache").fetchone()
    assert row == (["others"],)
    assert found_items(connection) == [("others", "one"), ("others", "two")]
    assert not delete_with_items(connection, "things")
    # A collection of the same id does not find anything of the old one.
    assert inserted(connection, "things") is None
    assert count_items(connection, "things") == 0


def tables(connection: Connection) -> set[str]:
    return {
        name
        for (name,) in connection.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relname LIKE '\\_items\\_%'"
        )
    }


def found_items(connection: Connection) -> list[tuple[str, str]]:
    row = connection.execute("SELECT pgstac.search('{}'::jsonb)").fetchone()
    assert row is not None
    return sorted((one["collection"], one["id"]) for one in row[0]["features"])


@pytest.mark.parametrize("field", ["title", "description", "keywords"])
@pytest.mark.parametrize("joint", [" ", "-", "/", "."])
def test_as_many_words_as_are_allowed_leave_free_text_search_as_it_is(
    connection: Connection, field: str, joint: str
) -> None:
    words = [f"{number:x}" for number in range(LONGEST_WORDS // 4)]
    text = joint.join(words)[:LONGEST_WORDS]
    assert inserted(connection, "wordy", **{field: [text] if field == "keywords" else text}) is None
    assert inserted(connection, "mosaics", title="Mosaics without clouds") is None
    assert found_by(connection, '{"q": ["clouds"]}') == ["mosaics"]
