"""Where documents of an export lie, and how they link to each other."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.pipeline import export_layout as layout

COLLECTION = {
    "type": "Collection",
    "stac_version": "1.1.0",
    "id": "floods",
    "title": "Floods",
    "description": "Floods.",
    "license": "other",
    "extent": {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [[None, None]]}},
    "links": [{"rel": "license", "href": "https://example.org/license"}],
}


def test_few_items_lie_right_beside_the_collection():
    found = layout.folders({"2024-06-01": 600, "2024-07-01": 400}, limit=1000)
    assert set(found.of_day.values()) == {""}
    assert found.inside == {}


def test_many_items_lie_by_month_and_crowded_months_by_day():
    found = layout.folders({"2023-12-31": 1, "2024-06-01": 9, "2024-06-02": 2, "undated": 1}, limit=10)
    assert found.of_day == {
        "2023-12-31": "2023/12",
        "2024-06-01": "2024/06/01",
        "2024-06-02": "2024/06/02",
        "undated": "undated",
    }
    assert found.inside == {
        "": ["2023", "2024", "undated"],
        "2023": ["2023/12"],
        "2024": ["2024/06"],
        "2024/06": ["2024/06/01", "2024/06/02"],
    }


@pytest.mark.parametrize("id", ["a", "-245760_2211840-20240601", "S2A_31TFJ.v1", "HLS-2024"])
def test_an_id_that_is_a_safe_name_is_its_own_name(id):
    assert layout.names([id]) == {id: id}


@pytest.mark.parametrize(
    "id",
    ["..", ".", "../../etc/passwd", "a/b", "a\\b", "collection.json", "Items.Parquet", "CON", "a.", " a", "ü", "🛰", ""],
)
def test_other_ids_become_names_that_lead_nowhere(id):
    [name] = layout.names([id]).values()
    assert posixpath.normpath(name) == name
    assert not {"/", "\\", ".", " "} & set(name)
    assert name.isascii()
    assert name.lower() not in ("collection-json", "con")


def test_ids_that_differ_in_case_only_do_not_share_a_file():
    names = layout.names(["Flood", "flood", "other"])
    assert len({name.lower() for name in names.values()}) == 3
    assert names["other"] == "other"


def test_an_id_that_spells_what_another_became_does_not_share_its_file():
    odd = layout.names(["a b"])["a b"]
    names = layout.names(["a b", odd])
    assert names["a b"] != names[odd]


@given(st.lists(st.text(max_size=300), unique=True, max_size=20))
def test_whatever_the_ids_names_are_short_and_each_has_its_own(ids):
    names = layout.names(ids)
    assert list(names) == ids
    assert len({name.lower() for name in names.values()}) == len(ids)
    assert all(0 < len(f"{name}.json") <= 255 for name in names.values())
    assert names == layout.names(list(reversed(ids)))


@pytest.mark.parametrize("folder", ["", "2024/06", "2024/06/15"])
def test_links_of_an_item_lead_to_the_root_the_collection_and_its_folder(folder):
    place = layout.item_path(folder, "one")
    document = layout.item_document({"id": "one", "links": [{"rel": "via", "href": "s3://b/k"}]}, folder)
    leads = {
        link["rel"]: posixpath.normpath(posixpath.join(posixpath.dirname(place), link["href"]))
        for link in document["links"]
        if link["rel"] != "via"
    }
    assert leads == {
        "root": "catalog.json",
        "collection": "collection.json",
        "parent": f"{folder}/catalog.json" if folder else "collection.json",
    }
    assert document["links"][-1] == {"rel": "via", "href": "s3://b/k"}


def test_a_catalog_links_what_is_inside_it_and_what_is_above():
    document = layout.catalog_document("floods", "2024/06", ["2024/06/15"], ["one"])
    assert [(link["rel"], link["href"]) for link in document["links"]] == [
        ("root", "../../catalog.json"),
        ("parent", "../catalog.json"),
        ("child", "./15/catalog.json"),
        ("item", "./one/one.json"),
    ]
    year = layout.catalog_document("floods", "2024", ["2024/06"], [])
    assert ("parent", "../collection.json") in [(link["rel"], link["href"]) for link in year["links"]]


@pytest.mark.parametrize("assets", [None, {}, {"geoparquet-items": {"href": "s3://b/old.parquet"}}])
def test_a_collection_comes_back_as_it_was(assets):
    stored = COLLECTION if assets is None else {**COLLECTION, "assets": assets}
    exported = layout.collection_document(stored, {"items": 1}, ["2024"], ["one"], table=True)
    assert any(one["roles"] == ["collection-mirror"] for one in exported["assets"].values() if "roles" in one)
    assert layout.as_stored(exported) == stored
