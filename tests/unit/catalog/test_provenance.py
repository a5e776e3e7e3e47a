"""Where an item comes from, written into the item itself."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.catalog.provenance import PROCESSING, content_hash, with_provenance
from maap_stac_orchestration.catalog.schema import ExtensionSchemas, core_errors
from maap_stac_orchestration.dps.job import Job, OutputPrefix
from tests.shared import published_schemas
from tests.unit.catalog.items import BUCKET, KEY, PREFIX, USER, an_item, json_values

TIME = datetime(2025, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
JOB = Job(BUCKET, OutputPrefix(PREFIX, USER, "flood_12", "v1", "demo", TIME), "flood", "v1.0", "demo")
SOURCE = f"s3://{BUCKET}/{KEY}"


def written(document: dict[str, Any], job: Job = JOB, run_id: str = "run-1") -> dict[str, Any]:
    return with_provenance(document, collection="floods", job=job, source_key=KEY, run_id=run_id)


def test_an_item_says_where_it_comes_from() -> None:
    item = written(an_item())
    assert item["collection"] == "floods"
    assert {name: value for name, value in item["properties"].items() if ":" in name} == {
        "maap:username": "jsmith",
        "maap:algorithm": "flood",
        "maap:algorithm_version": "v1.0",
        "maap:tag": "demo",
        "maap:job_time": "2025-01-02T03:04:05.000006Z",
        "maap:job_prefix": PREFIX,
        "maap:run_id": "run-1",
        "processing:software": {"flood": "v1.0"},
    }
    assert item["stac_extensions"] == [PROCESSING]
    assert [(link["rel"], link["href"], link["type"]) for link in item["links"]] == [
        ("via", SOURCE, "application/geo+json")
    ]


def test_what_an_item_claims_about_its_own_making_is_dropped() -> None:
    forged = an_item(properties={"datetime": None, "maap:username": "other", "maap:run_id": "x", "maap:rank": 1})
    properties = written(forged)["properties"]
    assert properties["maap:username"] == "jsmith"
    assert properties["maap:run_id"] == "run-1"
    assert "maap:rank" not in properties


@pytest.mark.parametrize(
    "extension",
    [PROCESSING, "https://stac-extensions.github.io/processing/v1.0.0/schema.json"],
)
def test_software_that_an_item_names_is_kept(extension: str) -> None:
    item = written(
        an_item(stac_extensions=[extension], properties={"datetime": None, "processing:software": {"gdal": "3.9"}})
    )
    assert item["properties"]["processing:software"] == {"gdal": "3.9"}
    assert item["stac_extensions"] == [extension]


def test_an_extension_that_is_named_already_is_not_named_twice() -> None:
    older = "https://stac-extensions.github.io/processing/v1.1.0/schema.json"
    assert written(an_item(stac_extensions=[older]))["stac_extensions"] == [older]


def test_one_link_leads_to_the_source_and_others_stay() -> None:
    links = [
        {"rel": "via", "href": SOURCE, "title": "forged"},
        {"rel": "via", "href": "https://example.com/raw.json"},
        {"rel": "derived_from", "href": SOURCE},
    ]
    item = written(an_item(links=links))
    assert [(link["rel"], link["href"]) for link in item["links"]] == [
        ("via", "https://example.com/raw.json"),
        ("derived_from", SOURCE),
        ("via", SOURCE),
    ]


def test_the_input_stays_as_it_is() -> None:
    document = an_item(stac_extensions=["https://example.com/x.json"])
    before = copy.deepcopy(document)
    written(document)
    assert document == before


def test_writing_twice_is_writing_once() -> None:
    once = written(an_item())
    assert written(once) == once


def test_what_is_written_follows_the_core_and_the_extension() -> None:
    item = written(an_item())
    item["links"].append({"rel": "collection", "href": "https://example.com/collections/floods"})
    assert core_errors(item) == []
    assert ExtensionSchemas(published_schemas()).check(item) == []


@given(st.dictionaries(st.text(), json_values, max_size=4), st.text(), st.text())
def test_the_hash_is_of_the_content_and_not_of_the_run(properties: dict[str, Any], one: str, other: str) -> None:
    document = an_item(properties=properties)
    assert content_hash(written(document, run_id="run-1")) == content_hash(written(document, run_id="run-2"))
    shuffled = dict(reversed(document.items()))
    assert content_hash(shuffled) == content_hash(document)
    changed = an_item(properties={**properties, "title": "changed"})
    assert (content_hash(changed) == content_hash(document)) == (changed == document)


def test_the_hash_of_an_item_is_the_same_in_every_collection() -> None:
    floods, fires = (
        with_provenance(an_item(), collection=collection, job=JOB, source_key=KEY, run_id="run-1")
        for collection in ("floods", "fires")
    )
    assert floods != fires
    assert content_hash(floods) == content_hash(fires)
    # Only the member that the item is kept under: a property of that name is content.
    named = [an_item(properties={"datetime": None, "collection": name}) for name in ("floods", "fires")]
    assert content_hash(named[0]) != content_hash(named[1])


def test_what_was_mended_is_on_record_and_part_of_the_content() -> None:
    repairs = ("The datetime of the item one was written as 2024-06-01T00:00:00Z.",)
    item = with_provenance(an_item(), collection="floods", job=JOB, source_key=KEY, run_id="run-1", repairs=repairs)
    assert item["properties"]["maap:repairs"] == list(repairs)
    assert "maap:repairs" not in written(an_item())["properties"]
    assert content_hash(item) != content_hash(written(an_item()))


def test_a_hash_is_sha256_in_hex() -> None:
    assert len(content_hash(an_item())) == 64
    assert content_hash(an_item()) == content_hash(an_item())
    assert content_hash(an_item()) != content_hash(an_item(id="two"))
