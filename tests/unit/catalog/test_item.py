"""One item on its way to what is written: every check in order, and the cleaned document."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.catalog.document import kind_of, parse_json, unwritable
from maap_stac_orchestration.catalog.item import prepare_item
from maap_stac_orchestration.catalog.schema import ExtensionSchemas, core_errors
from maap_stac_orchestration.problems import Code, Problem, Severity
from tests.shared import published_schemas, sample_bucket
from tests.unit.catalog.items import BUCKET, KEY, PREFIX, SQUARE, USER, an_item, codes, files, json_values, prepared

T = "2024-06-01T00:00:00Z"


def test_a_good_item_passes_with_absolute_hrefs() -> None:
    result = prepared(an_item())
    assert result.problems == ()
    assert result.repairs == ()
    assert result.requested_collection is None
    assert result.document == an_item(assets={"data": {"href": f"s3://{BUCKET}/{PREFIX}items/one.tif"}})


def test_the_input_stays_as_it_is() -> None:
    document = an_item(
        stac_version="1.0.0",
        collection="floods",
        properties={"datetime": "2024-06-01T02:00:00+02:00"},
        assets={"data": {"href": "/tmp/one.tif", "alternate": {"web": {"href": "file:///x"}}}},
        links=[{"rel": "self", "href": "x"}, {"rel": "about", "href": "readme.md"}],
    )
    before = copy.deepcopy(document)
    prepared(document)
    assert document == before


@pytest.mark.parametrize(
    ("written", "requested"), [(..., None), (None, None), ("", None), ("floods", "floods"), ("A b/c", "A b/c")]
)
@pytest.mark.parametrize("links", [[], [{"rel": "collection", "href": "../collection.json"}]])
def test_a_collection_is_a_request_and_leaves_the_document(written: Any, requested: str | None, links: Any) -> None:
    result = prepared(an_item(collection=written, links=links))
    assert result.problems == ()
    assert result.requested_collection == requested
    assert result.document is not None
    assert "collection" not in result.document
    assert result.document["links"] == []


REFUSED: dict[str, tuple[dict[str, Any], Code, str, str]] = {
    "a catalog": ({"type": "Catalog"}, Code.ITEM_INVALID, KEY, "not Feature"),
    "no type": ({"type": ...}, Code.ITEM_INVALID, KEY, "not Feature"),
    "no version": ({"stac_version": ...}, Code.ITEM_INVALID, "one", "stac_version is missing"),
    "a version to come": ({"stac_version": "1.2.0"}, Code.ITEM_INVALID, "one", "versions 0.8 to 1.1 can be read"),
    "no id": ({"id": ...}, Code.ITEM_ID_UNSAFE, KEY, "its id is missing"),
    "an empty id": ({"id": ""}, Code.ITEM_ID_UNSAFE, KEY, "its id is empty"),
    "a number for an id": ({"id": 5}, Code.ITEM_ID_UNSAFE, KEY, "its id is not a text"),
    "a slash in the id": ({"id": "a/b"}, Code.ITEM_ID_UNSAFE, "a/b", "its id contains /"),
    "a NUL in the id": ({"id": "a\0"}, Code.ITEM_ID_UNSAFE, KEY, "U+0000"),
    "half a character in the id": ({"id": "\ud800"}, Code.ITEM_ID_UNSAFE, KEY, "U+D800"),
    "a NUL in a value": ({"properties": {"datetime": T, "a": ["\0"]}}, Code.ITEM_INVALID, "one", "/properties/a/0"),
    "a NUL in a name": ({"properties": {"datetime": T, "\0": 1}}, Code.ITEM_INVALID, "one", "/properties holds"),
    "half a character": ({"properties": {"datetime": T, "a": "\ud800"}}, Code.ITEM_INVALID, "one", "/properties/a"),
    "a list as collection": ({"collection": ["a"]}, Code.ITEM_INVALID, "one", "collection is not a text"),
    "no properties": ({"properties": ...}, Code.ITEM_INVALID, "one", "properties are missing"),
    "null as properties": ({"properties": None}, Code.ITEM_INVALID, "one", "properties are missing"),
    "no assets": ({"assets": ...}, Code.ITEM_INVALID, "one", '"assets" is a required property'),
    "an asset without href": ({"assets": {"a": {}}}, Code.ITEM_INVALID, "one", "assets/a"),
    "a text as asset": ({"assets": {"a": "x.tif"}}, Code.ITEM_INVALID, "one", "assets/a"),
    "no links": ({"links": ...}, Code.ITEM_INVALID, "one", '"links" is a required property'),
    "a link without href": ({"links": [{"rel": "about"}]}, Code.ITEM_INVALID, "one", "links/0"),
    "a text as link": ({"links": ["x.json"]}, Code.ITEM_INVALID, "one", "links/0"),
    "a wrong type": ({"properties": {"datetime": T, "gsd": "10 m"}}, Code.ITEM_INVALID, "one", "properties/gsd"),
    "no geometry": ({"geometry": ...}, Code.GEOMETRY_INVALID, "one", "missing or null"),
    "null as geometry": ({"geometry": None, "bbox": ...}, Code.GEOMETRY_INVALID, "one", "missing or null"),
    "an open ring": (
        {"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}},
        Code.GEOMETRY_INVALID, "one", "not closed",
    ),
    "no bbox": ({"bbox": ...}, Code.GEOMETRY_INVALID, "one", "The bbox is missing"),
    "a bbox out of the world": ({"bbox": [0, 0, 400, 1]}, Code.GEOMETRY_INVALID, "one", "leaves the world"),
    "no datetime": ({"properties": {}}, Code.DATETIME_INVALID, "one", "Its datetime is missing"),
    "a date": ({"properties": {"datetime": "2024-06-01"}}, Code.DATETIME_INVALID, "one", "RFC 3339"),
    "a range backwards": (
        {"properties": {"datetime": None, "start_datetime": "2024-06-02T00:00:00Z", "end_datetime": T}},
        Code.DATETIME_INVALID, "one", "before start_datetime",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("version", ["1.1.0", "1.0.0"])
def test_an_item_that_breaks_a_rule_is_refused_with_one_problem(name: str, version: str) -> None:
    changes, code, about, part = REFUSED[name]
    result = prepared(an_item(**{"stac_version": version, **changes}))
    assert result.document is None
    (problem,) = result.problems
    assert problem.severity is Severity.ERROR
    assert (problem.code, problem.object) == (code, about)
    if not (version == "1.0.0" and code is Code.ITEM_INVALID):
        # What an older item breaks may already be told by lifting it, in other words.
        assert part in problem.message


def test_all_that_is_wrong_is_told_at_once() -> None:
    result = prepared(an_item(geometry=None, properties={"datetime": "soon", "gsd": "x"}, assets={"a": {}}))
    assert codes(result) == ["datetime_invalid", "geometry_invalid", "item_invalid"]
    assert "assets/a" in result.problems[2].detail
    assert "properties/gsd" in result.problems[2].detail


def test_what_is_told_of_a_refused_item_can_itself_be_written() -> None:
    for changes in ({"id": "\0\ud800"}, {"collection": "\0"}, {"collection": "\ud800", "id": "a/b"}):
        result = prepared(an_item(**changes))
        assert result.requested_collection is None
        orjson.dumps([problem.to_document() for problem in result.problems])
        assert all("\0" not in problem.message for problem in result.problems)


def test_a_time_elsewhere_is_made_utc_on_record() -> None:
    result = prepared(an_item(properties={"datetime": "2024-06-01T02:00:00+02:00"}))
    assert result.document is not None
    assert result.document["properties"]["datetime"] == T
    assert result.repairs == ("The datetime of the item one was written as 2024-06-01T00:00:00Z.",)


def assets_of(**hrefs: str) -> dict[str, Any]:
    return an_item(assets={name: {"href": href, "title": name} for name, href in hrefs.items()})


def test_an_asset_that_is_not_there_is_kept_with_a_warning() -> None:
    result = prepared(assets_of(here="one.tif", gone="gone.tif"))
    assert result.document is not None
    assert set(result.document["assets"]) == {"here", "gone"}
    assert result.problems == (
        Problem(Code.ASSET_MISSING, "one#gone", f"Its href leads to s3://{BUCKET}/{PREFIX}items/gone.tif."),
    )
    assert result.problems[0].severity is Severity.WARNING


def test_an_absolute_href_into_the_job_is_looked_for_and_one_elsewhere_is_not() -> None:
    result = prepared(assets_of(a=f"s3://{BUCKET}/{PREFIX}gone.tif", b=f"s3://{BUCKET}/{USER}/other/x.tif"))
    assert [(problem.code, problem.object) for problem in result.problems] == [(Code.ASSET_MISSING, "one#a")]


def test_a_relative_href_out_of_the_job_is_kept_with_a_warning() -> None:
    result = prepared(assets_of(a="../../000007/x.tif"))
    assert result.document is not None
    elsewhere = PREFIX.replace("000006", "000007")
    assert result.document["assets"]["a"]["href"] == f"s3://{BUCKET}/{elsewhere}x.tif"
    assert codes(result) == ["asset_missing"]
    assert "leads out of the job's output folder" in result.problems[0].detail


def test_a_folder_with_objects_in_it_is_there() -> None:
    job = files("cube.zarr/.zgroup", "cube.zarr/0/0", "cube.zarr.txt")
    assert prepared(assets_of(a="../cube.zarr", b="../cube.zarr/"), job=job).problems == ()
    assert codes(prepared(assets_of(a="../cube.zar"), job=job)) == ["asset_missing"]


@pytest.mark.parametrize("href", ["/tmp/output/one.tif", "//tmp/one.tif", r"C:\work\one.tif", "~/one.tif"])
def test_a_path_of_the_machine_is_mended_on_record(href: str) -> None:
    result = prepared(assets_of(a=href))
    if href.startswith("//"):
        assert codes(result) == ["asset_outside"]
        return
    assert result.problems == ()
    assert result.document is not None
    mended = f"s3://{BUCKET}/{PREFIX}items/one.tif"
    assert result.document["assets"]["a"] == {"href": mended, "maap:original_href": href, "title": "a"}
    (repair,) = result.repairs
    assert "one#a" in repair
    assert mended in repair


def test_a_folder_of_the_machine_is_mended_too() -> None:
    job = files("data/cube.zarr/.zgroup", "data/cube.zarr/band/0.0")
    result = prepared(assets_of(a="/tmp/cube.zarr/"), job=job)
    assert result.document is not None
    assert result.document["assets"]["a"]["href"] == f"s3://{BUCKET}/{PREFIX}data/cube.zarr"


@pytest.mark.parametrize(
    ("href", "found"),
    [
        ("/tmp/absent.tif", "no file of the job has that name"),
        ("/tmp/two.tif", "2 files of the job have that name"),
        ("/", "no file of the job has that name"),
    ],
)
def test_a_path_that_cannot_be_mended_is_left_out(href: str, found: str) -> None:
    result = prepared(assets_of(a=href, b="a/two.tif"), job=files("items/a/two.tif", "items/b/two.tif", "items/"))
    assert result.document is not None
    assert set(result.document["assets"]) == {"b"}
    assert result.problems == (Problem(Code.ASSET_LOCAL_PATH, "one#a", f"Its href is {href}, and {found}."),)


def test_an_asset_outside_is_left_out_and_the_item_loads() -> None:
    result = prepared(assets_of(a="file:///etc/passwd", b="http://169.254.169.254/x", c="s3://private/x", d="one.tif"))
    assert result.document is not None
    assert set(result.document["assets"]) == {"d"}
    assert [(problem.code, problem.object) for problem in result.problems] == [
        (Code.ASSET_OUTSIDE, "one#a"),
        (Code.ASSET_OUTSIDE, "one#b"),
        (Code.ASSET_OUTSIDE, "one#c"),
    ]


def test_alternates_follow_the_same_rules() -> None:
    alternate = {
        "web": {"href": "https://example.com/one.tif"},
        "local": {"href": "/tmp/one.tif"},
        "evil": {"href": "/vsicurl/http://localhost"},
        "gone": {"href": "gone.tif"},
    }
    result = prepared(an_item(assets={"a": {"href": "one.tif", "alternate": alternate}}))
    assert result.document is not None
    kept = result.document["assets"]["a"]["alternate"]
    assert {name: one["href"] for name, one in kept.items()} == {
        "web": "https://example.com/one.tif",
        "local": f"s3://{BUCKET}/{PREFIX}items/one.tif",
        "gone": f"s3://{BUCKET}/{PREFIX}items/gone.tif",
    }
    assert [(problem.code, problem.object) for problem in result.problems] == [
        (Code.ASSET_OUTSIDE, "one#a/alternate/evil"),
        (Code.ASSET_MISSING, "one#a/alternate/gone"),
    ]


def test_structural_links_go_and_others_become_absolute() -> None:
    links = [
        *({"rel": rel, "href": "x.json"} for rel in ("self", "root", "parent", "collection")),
        {"rel": "derived_from", "href": "../source.json", "title": "Source"},
        {"rel": "license", "href": "https://example.com/license"},
        {"rel": "via", "href": "s3://open-data/raw.json"},
        {"rel": "about", "href": "javascript:alert(1)"},
        {"rel": "about", "href": "file:///etc/passwd"},
        {"rel": "about", "href": "/tmp/readme.md"},
    ]
    result = prepared(an_item(collection="c", links=links))
    assert result.document is not None
    assert result.problems == ()
    assert result.document["links"] == [
        {"rel": "derived_from", "href": f"s3://{BUCKET}/{PREFIX}source.json", "title": "Source"},
        {"rel": "license", "href": "https://example.com/license"},
        {"rel": "via", "href": "s3://open-data/raw.json"},
    ]
    assert len(result.repairs) == 3


def test_extensions_are_checked_as_the_item_names_them() -> None:
    """A migration renames proj:epsg, of which version 1.1.0 of the extension knows nothing else."""
    schemas = ExtensionSchemas(published_schemas())
    projection = "https://stac-extensions.github.io/projection/v1.1.0/schema.json"
    good = an_item(stac_version="1.0.0", stac_extensions=[projection], properties={"datetime": T, "proj:epsg": 4326})
    assert prepared(good, schemas=schemas).problems == ()
    bad = an_item(stac_version="1.0.0", stac_extensions=[projection], properties={"datetime": T, "proj:epsg": "x"})
    result = prepared(bad, schemas=schemas)
    assert result.document is not None
    assert codes(result) == ["schema_invalid"]
    assert "proj:epsg" in result.problems[0].detail


def test_a_schema_that_is_not_at_hand_is_a_note(tmp_path: Path) -> None:
    document = an_item(stac_extensions=["https://example.com/flood/v1/schema.json"])
    assert prepared(document).problems == ()
    result = prepared(document, schemas=ExtensionSchemas(tmp_path))
    assert result.document is not None
    assert codes(result) == ["schema_unavailable"]
    assert result.problems[0].severity is Severity.WARNING


def test_published_items_pass() -> None:
    bucket = sample_bucket()
    keys = sorted(path.relative_to(bucket).as_posix() for path in bucket.rglob("*") if path.is_file())
    passed = 0
    for key in keys:
        if not key.endswith(".json"):
            continue
        document = parse_json((bucket / key).read_bytes())
        if kind_of(document) != "item":
            continue
        prefix = next(one for one in PREFIXES if key.startswith(one))
        job = type(files())(BUCKET, prefix, frozenset(one for one in keys if one.startswith(prefix)))
        result = prepare_item(
            document,
            key=key,
            files=job,
            username=key.split("/")[0],
            readable_buckets=(),
            job_buckets=(BUCKET,),
            schemas=None,
        )
        assert all(problem.severity is Severity.WARNING for problem in result.problems), key
        assert result.document is not None
        assert core_errors(result.document) == [], key
        assert result.document["geometry"] == document["geometry"]
        assert result.requested_collection == document.get("collection")
        passed += 1
    assert passed == 84


PREFIXES = (
    "aliz237/dps_output/run_boreal_biomass_map/v3.1.0/AGB_H30_2020/full_run/2025/08/19/09/59/01/262274/",
    "aliz237/dps_output/run_boreal_biomass_map/v3.1.0/Ht_H30_2020/full_run/2025/08/20/14/01/56/204100/",
    "demo-user/dps_output/building-labels/main/mic-check/2025/11/06/07/30/59/900001/",
    "demo-user/dps_output/sentinel2-dateline/1.0/dateline/2026/02/28/23/59/59/999999/",
    "demo-user/dps_output/sentinel2-stac_12/0.7.0/2026/01/05/13/44/02/118203/",
    "other-user/dps_output/area-imagery/v0.2/test-20251103/2025/11/03/22/10/00/000417/",
)

members = st.sampled_from([*an_item(), "collection", "stac_version", "assets", "links", "properties"])
hrefs = st.sampled_from(["one.tif", "../x", "/tmp/x", "s3://open-data/x", "http://[", "file:", "\0", "//", "data:x"])
nearly = st.builds(
    lambda changes, href, rel: {
        **an_item(assets={"a": {"href": href}}, links=[{"rel": rel, "href": href}], geometry=SQUARE),
        **changes,
    },
    st.dictionaries(members, json_values, max_size=3),
    hrefs | st.text(max_size=20),
    st.sampled_from(["self", "about", "collection"]) | st.text(max_size=5),
)


@given(nearly, st.sampled_from(["0.9.0", "1.0.0", "1.1.0"]))
def test_no_document_breaks_the_checks_and_what_passes_can_be_written(document: dict[str, Any], version: str) -> None:
    document.setdefault("stac_version", version)
    result = prepared(document)
    errors = [problem for problem in result.problems if problem.severity is Severity.ERROR]
    assert (result.document is None) == bool(errors)
    json.dumps([problem.to_document() for problem in result.problems]).encode()
    if result.document is not None:
        assert unwritable(result.document) is None
        assert core_errors({**result.document, "geometry": SQUARE}) == []
        assert "collection" not in result.document
        again = prepared(result.document)
        assert again.document == result.document
