"""Items as a table and back: what it carries, what it does not, and who else can read it."""

from __future__ import annotations

import asyncio
import json
from copy import deepcopy

import orjson
import pyarrow.parquet
import pytest
import rustac
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.pipeline.geoparquet import (
    Aside,
    Compared,
    Looked,
    NotCarried,
    alike_but_for_form,
    compare,
    read_items,
)

COLLECTION = {"type": "Collection", "id": "floods", "description": "Floods."}
SQUARE = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]


def item(id="one", *, geometry=None, bbox=None, assets=None, links=None, **properties):
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": ["https://stac-extensions.github.io/processing/v1.2.0/schema.json"],
        "id": id,
        "collection": "floods",
        "geometry": geometry or {"type": "Polygon", "coordinates": [SQUARE]},
        "bbox": bbox or [0.0, 0.0, 1.0, 1.0],
        "properties": {"datetime": "2024-06-01T00:00:00Z", **properties},
        "assets": {"red": {"href": "s3://b/red.tif", "roles": ["data"]}} if assets is None else assets,
        "links": [{"rel": "via", "href": "s3://b/one.json"}] if links is None else links,
    }


def written(path, items):
    """The table that was written, and what comparing it gave."""
    looked = Looked()
    for one in items:
        looked.look(one)
    table = looked.table()
    table.write(path, [items], COLLECTION)
    return table, compare(path, [items])


def back(path):
    return [one for batch in read_items(path) for one in batch]


RANGE = {"datetime": None, "start_datetime": "2024-06-01T00:00:00Z", "end_datetime": "2024-06-30T23:59:59Z"}
ANTIMERIDIAN = {
    "type": "MultiPolygon",
    "coordinates": [
        [[[170.0, 0.0], [180.0, 0.0], [180.0, 1.0], [170.0, 1.0], [170.0, 0.0]]],
        [[[-180.0, 0.0], [-170.0, 0.0], [-170.0, 1.0], [-180.0, 1.0], [-180.0, 0.0]]],
    ],
}
HEIGHTS = {"type": "Polygon", "coordinates": [[[x, y, x * 10.5] for x, y in SQUARE]]}
AWKWARD = {
    "a time that is a range": [item(**RANGE), item("two")],
    "microseconds": [item(created="2024-06-01T12:00:00.123456Z")],
    "whole numbers among others": [item(n=1), item("two", n=2.5)],
    "a number here, a text there": [item(n=1), item("two", n="many")],
    "numbers beyond 64 bits": [item(n=2**64 - 1), item("two", n=-(2**63))],
    "whole numbers that floating point cannot hold": [item(n=2**53 + 1), item("two", n=0.5)],
    "true beside 1": [item(n=True), item("two", n=1)],
    "a property that one item lacks": [item(), item("two", extra="x")],
    "a property that is null in all": [item(**{"maap:tag": None}), item("two", **{"maap:tag": None})],
    "lists in lists, and empty ones": [item(a=[[1, 2], []], b=[]), item("two", a=[], b=[])],
    "nulls in a list": [item(a=[1, None, 2])],
    "empty objects": [item(a={}), item("two", a={})],
    "objects here, lists there": [item(a={"b": [1]}), item("two", a={"b": {"c": 1}})],
    "texts of all kinds": [item("ü🛰", title="\u202e\t\"'\\", description="")],
    "names that look like paths": [item(**{"a.b": {"[]": {}, "c": [{}]}})],
    "other assets": [item(), item("two", assets={"blue": {"href": "s3://b/blue.tif"}}), item("three", assets={})],
    "no assets and no links": [item(assets={}, links=[])],
    "heights": [item(geometry=HEIGHTS, bbox=[0.0, 0.0, 0.0, 1.0, 1.0, 10.5]), item("two")],
    "the antimeridian": [item(geometry=ANTIMERIDIAN, bbox=[170.0, 0.0, -170.0, 1.0]), item("two")],
    "a collection of geometries": [
        item(geometry={"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [0.1, 0.2]}]})
    ],
    "points and lines": [
        item(geometry={"type": "Point", "coordinates": [0.1, 0.2]}),
        item("two", geometry={"type": "LineString", "coordinates": [[0.1, 0.2], [0.3, 0.30000000000000004]]}),
    ],
    "members that STAC does not know": [{**item(), "foreign": {"a": 1}}, item("two")],
}


@pytest.mark.parametrize("items", AWKWARD.values(), ids=AWKWARD)
def test_awkward_items_come_back_as_they_were(items, tmp_path):
    path = tmp_path / "items.parquet"
    before = deepcopy(items)
    _, compared = written(path, items)
    assert compared == Compared(same=len(items), alike=0, other=None)
    assert back(path) == items == before


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "[]", "c.d"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(values=st.lists(st.dictionaries(st.sampled_from(["p", "q", "r:s"]), JSON, max_size=3), min_size=1, max_size=4))
def test_whatever_properties_are_they_come_back_but_for_nulls(values, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "any.parquet"
    items = [item(str(number), **properties) for number, properties in enumerate(values)]
    # As documents of the database are read.
    items = orjson.loads(orjson.dumps(items))
    _, compared = written(path, items)
    assert compared.other is None
    assert compared.same + compared.alike == len(items)


def test_nulls_that_only_some_items_have_are_absent_and_counted(tmp_path):
    path = tmp_path / "items.parquet"
    items = [item(a=None), item("two"), item("three", a={"b": None})]
    _, compared = written(path, items)
    assert compared == Compared(same=1, alike=2, other=None)
    assert "a" not in back(path)[0]["properties"]
    assert alike_but_for_form(back(path)[2], items[2])


def test_times_come_back_in_utc(tmp_path):
    path = tmp_path / "items.parquet"
    _, compared = written(path, [item(updated="2024-06-01T02:00:00+02:00")])
    assert compared == Compared(same=0, alike=1, other=None)
    assert back(path)[0]["properties"]["updated"] == "2024-06-01T00:00:00Z"


def test_a_property_that_is_called_like_a_member_makes_no_table(tmp_path):
    with pytest.raises(NotCarried, match="The item one has a property called id"):
        written(tmp_path / "items.parquet", [{**item(), "properties": {"datetime": None, "id": "another"}}])


def test_assets_of_endlessly_many_names_make_no_table(tmp_path):
    items = [item(str(n), assets={f"asset-{n}": {"href": "s3://b/k"}}) for n in range(600)]
    with pytest.raises(NotCarried, match="assets"):
        written(tmp_path / "items.parquet", items)


def test_a_table_that_was_tampered_with_is_found_out(tmp_path):
    path = tmp_path / "items.parquet"
    items = [item(n=1), item("two", n=2)]
    written(path, items)
    assert compare(path, [[items[0], {**items[1], "id": "another"}]]) == Compared(same=1, alike=0, other="another")
    assert compare(path, [[items[0]]]) == Compared(same=1, alike=0, other="two")
    assert compare(path, [[*items, item("three")]]).other == "three"


def test_the_same_items_give_the_same_bytes(tmp_path):
    items = [one for some in AWKWARD.values() for one in some if "foreign" not in one]
    for name in ("one", "two"):
        written(tmp_path / name, items)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_file_says_what_it_is(tmp_path):
    path = tmp_path / "items.parquet"
    written(path, [item(geometry=ANTIMERIDIAN), item("two", geometry=HEIGHTS)])
    metadata = {name.decode(): value for name, value in pyarrow.parquet.read_metadata(path).metadata.items()}
    geo = json.loads(metadata["geo"])
    assert geo["version"] == "1.1.0"
    assert geo["columns"]["geometry"]["encoding"] == "WKB"
    assert geo["columns"]["geometry"]["geometry_types"] == ["MultiPolygon", "Polygon Z"]
    assert geo["columns"]["geometry"]["bbox"] == [-180.0, 0.0, 180.0, 1.0]
    assert json.loads(metadata["stac-geoparquet"])["collections"]["floods"]["description"] == "Floods."
    schema = pyarrow.parquet.read_schema(path)
    assert str(schema.field("datetime").type) == "timestamp[us, tz=UTC]"


#: Others rustac itself reads otherwise: it knows no heights, and makes Polygon beside MultiPolygon one kind.
RUSTAC_READS = [
    "a time that is a range",
    "whole numbers among others",
    "a property that one item lacks",
    "other assets",
    "a property that is null in all",
    "no assets and no links",
    "texts of all kinds",
    "points and lines",
]


@pytest.mark.parametrize("name", RUSTAC_READS)
def test_rustac_reads_the_same_items(name, tmp_path):
    path = tmp_path / "items.parquet"
    written(path, AWKWARD[name])
    read = rustac.read_sync(str(path), set_self_link=False)["features"]
    assert len(read) == len(AWKWARD[name])
    for one, original in zip(orjson.loads(orjson.dumps(read)), AWKWARD[name], strict=True):
        assert alike_but_for_form(one, original)


def test_what_rustac_wrote_is_read(tmp_path):
    path = tmp_path / "items.parquet"
    items = [item(), item("two")]

    async def write():
        path.touch()
        writer = await rustac.GeoparquetWriter.open(items, str(path))
        await writer.finish()

    asyncio.run(write())
    assert all(alike_but_for_form(one, other) for one, other in zip(back(path), items, strict=True))


def test_a_file_that_is_no_table_of_items_is_told(tmp_path):
    path = tmp_path / "items.parquet"
    path.write_bytes(b"no parquet")
    with pytest.raises(NotCarried, match="cannot be read as a Parquet file"):
        back(path)
    pyarrow.parquet.write_table(pyarrow.table({"id": ["one"]}), path)
    with pytest.raises(NotCarried, match="has no column geometry"):
        back(path)


def test_items_put_aside_come_again_as_often_as_asked(tmp_path):
    aside = Aside(tmp_path / "aside")
    items = [item(str(number)) for number in range(4500)]
    for start in range(0, len(items), 700):
        aside.put(items[start : start + 700])
    aside.close()
    for _ in range(2):
        assert [len(batch) for batch in aside.batches()] == [2000, 2000, 500]
    assert [one for batch in aside.batches() for one in batch] == items
