"""What the checks of items let through harms no real pgstac, and what would is refused with its code.

pgstac takes things that break it later: a load of one item succeeds, and the next load, or a search that meets the
item, fails. So after each odd item another one is loaded and found, and the odd one comes back as it was.
"""

from __future__ import annotations

import json
import math
from typing import Any

import orjson
import psycopg
import pytest

from maap_stac_orchestration.catalog.document import parse_json
from maap_stac_orchestration.catalog.item import PreparedItem, prepare_item
from maap_stac_orchestration.catalog.job_files import JobFiles
from maap_stac_orchestration.pgstac.collections import create_missing, extent_of
from maap_stac_orchestration.pgstac.extent import bbox_stretches
from maap_stac_orchestration.pgstac.items import load
from maap_stac_orchestration.problems import Code, Severity
from tests.integration.pgstac.stac import item as plain_item
from tests.integration.pgstac.stac import new_collection

Connection = psycopg.Connection[Any]
Document = dict[str, Any]

COLLECTION = "things"
PREFIX = "ann/dps_output/mosaic/v1/2025/08/19/09/59/01/262274/"
FILES = JobFiles("jobs", PREFIX, frozenset({f"{PREFIX}odd.json", f"{PREFIX}a.tif"}))

NAN = math.nan


def odd(**changes: Any) -> Document:
    """An item that is plain but for `changes`."""
    return plain_item("odd") | changes


def timed(**properties: Any) -> Document:
    """An item of these properties."""
    return odd(properties=properties)


def drawn(kind: str, *coordinates: Any, bbox: Any = None, **members: Any) -> Document:
    """An item of this geometry; its bbox is that of the square by default."""
    return odd(geometry={"type": kind, "coordinates": list(coordinates), **members}, bbox=bbox or [0, 0, 1, 1])


def polygon(*ring: tuple[Any, ...], bbox: Any = None, **members: Any) -> Document:
    """An item whose footprint is one ring."""
    return drawn("Polygon", [list(position) for position in ring], bbox=bbox, **members)


def gathered(*geometries: Any) -> Document:
    """An item of a GeometryCollection."""
    return odd(geometry={"type": "GeometryCollection", "geometries": list(geometries)})


def prepare(document: Document) -> PreparedItem:
    """The item as it comes out of the checks, having been written by Python's json and read again."""
    return prepare_item(
        parse_json(json.dumps(document).encode()),
        key=f"{PREFIX}odd.json",
        files=FILES,
        username="ann",
        readable_buckets=("bucket",),
        job_buckets=("jobs",),
        schemas=None,
    )


SQUARE = [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]
BESIDE = [[1, 0], [2, 0], [2, 1], [1, 1], [1, 0]]
APART = [[3, 0], [4, 0], [4, 1], [3, 1], [3, 0]]
EAST_HALF = [[179, 0], [180, 0], [180, 1], [179, 1], [179, 0]]
WEST_HALF = [[-180, 0], [-179, 0], [-179, 1], [-180, 1], [-180, 0]]
POINT = {"type": "Point", "coordinates": [0.5, 0.5]}

ODD: dict[str, Document] = {
    "plain": odd(),
    "id with a space": plain_item("a b"),
    "id with all that an address allows": plain_item("a+b,c;d:e'f(g)!*@$&=~._-"),
    "id in another script": plain_item("日本語-é"),
    "id beyond the basic plane": plain_item("a\U0001f600"),
    "id as an array of the database": plain_item("{a,b}"),
    "id as a pattern": plain_item("a_b"),
    "id with quotes": plain_item("a\"b'c"),
    "longest id": plain_item("é" * 255),
    "square with height": polygon((0, 0, 5), (1, 0, 5), (1, 1, 5), (0, 0, 5)),
    "bbox with height": odd(bbox=[0, 0, -5, 1, 1, 5]),
    "clockwise": polygon((0, 0), (0, 1), (1, 1), (1, 0), (0, 0)),
    "position twice": polygon((0, 0), (0, 0), (1, 0), (1, 1), (0, 1), (0, 0)),
    "a hole": drawn("Polygon", SQUARE, [[0.2, 0.2], [0.2, 0.4], [0.4, 0.4], [0.2, 0.2]]),
    "point": drawn("Point", 0.5, 0.5),
    "point with height": drawn("Point", 0.5, 0.5, 8848.86),
    "point with a height of zero": drawn("Point", 0.5, 0.5, 0),
    "point at a pole": drawn("Point", 0, 90, bbox=[0, 90, 0, 90]),
    "points": drawn("MultiPoint", [0.5, 0.5], [0.6, 0.6]),
    "one point twice": drawn("MultiPoint", [0.5, 0.5], [0.5, 0.5]),
    "line": drawn("LineString", [0, 0], [1, 1]),
    "lines": drawn("MultiLineString", [[0, 0], [1, 1]], [[0, 1], [1, 0]]),
    "polygons apart": drawn("MultiPolygon", [SQUARE], [APART], bbox=[0, 0, 4, 1]),
    "collection of geometries": gathered(POINT, {"type": "Polygon", "coordinates": [SQUARE]}),
    "collection of one": gathered(POINT),
    "cut at the antimeridian": drawn("MultiPolygon", [EAST_HALF], [WEST_HALF], bbox=[179, 0, -179, 1]),
    "cut at the antimeridian, bbox around the globe": drawn(
        "MultiPolygon", [EAST_HALF], [WEST_HALF], bbox=[-180, 0, 180, 1]
    ),
    "the world": polygon(
        (-180, -90), (180, -90), (180, 90), (-180, 90), (-180, -90), bbox=[-180.0, -90.0, 180.0, 90.0]
    ),
    "a hair beyond the world": polygon(
        (-180.0001, 0), (-179, 0), (-179, 1), (-180.0001, 0), bbox=[-180.0001, 0, -179, 1]
    ),
    "tiny numbers": polygon((0, 0), (5e-10, 0), (5e-10, 5e-10), (0, 0), bbox=[0, 0, 5e-10, 5e-10]),
    "a bbox of no size": drawn("Point", 1, 1, bbox=[1, 1, 1, 1]),
    "another projection by the rules of before": polygon(
        *SQUARE, crs={"type": "name", "properties": {"name": "EPSG:5070"}}
    ),
    "geometry with a bbox and more of its own": polygon(*SQUARE, **{"bbox": [0, 0, 1, 1], "foo": {"a": None}}),
    "first day": timed(datetime="0001-01-02T00:00:00Z"),
    "last second": timed(datetime="9998-12-31T23:59:59.999999Z"),
    "before Christ's calendar was": timed(datetime="0900-02-28T00:00:00Z"),
    "leap second": timed(datetime="2016-12-31T23:59:60Z"),
    "nine digits of a second": timed(datetime="2024-06-01T00:00:00.999999999Z"),
    "nine digits at both ends": timed(
        datetime=None, start_datetime="2024-06-01T00:00:00.9999994Z", end_datetime="2024-06-01T00:00:00.9999995Z"
    ),
    "offset": timed(datetime="2024-06-01T00:00:00+14:00"),
    "small letters": timed(datetime="2024-06-01t00:00:00z"),
    "a space": timed(datetime="2024-06-01 00:00:00Z"),
    "a moment as a range": timed(
        datetime=None, start_datetime="2024-06-01T00:00:00Z", end_datetime="2024-06-01T00:00:00Z"
    ),
    "all of time": timed(datetime=None, start_datetime="0001-01-02T00:00:00Z", end_datetime="9998-12-31T00:00:00Z"),
    "a datetime beside its range": timed(
        datetime="2020-06-01T00:00:00Z", start_datetime="2024-06-01T00:00:00Z", end_datetime="2024-07-01T00:00:00Z"
    ),
    "created with an offset": timed(datetime="2024-06-01T00:00:00Z", created="2024-06-01T00:00:00-11:00"),
    "extreme numbers": timed(datetime="2024-06-01T00:00:00Z", big=1e308, small=5e-324, minus=-0.0, long=2**64 - 1),
    "not a number": timed(datetime="2024-06-01T00:00:00Z", x=NAN, y=[math.inf]),
    "a number of forty digits": timed(datetime="2024-06-01T00:00:00Z", x=10**40),
    "odd text": timed(datetime="2024-06-01T00:00:00Z", s="a\\b\tc\nd\"e'\u2028\U0001f600 \\u0000 \\x00 \x01\x7f"),
    "empty name": timed(datetime="2024-06-01T00:00:00Z", **{"": {"": None}}),
    "names of the database": timed(
        datetime="2024-06-01T00:00:00Z", **{"a'b": 1, 'c"d': 2, "e.f": 3, "{g}": 4, "id": 5, "geometry": 6}
    ),
    "nested": timed(datetime="2024-06-01T00:00:00Z", x=[[[[[[[[[[{"a": [{}]}]]]]]]]]]]),
    "long text": timed(datetime="2024-06-01T00:00:00Z", s="x" * 100_000),
    "a word that means nothing to keep": timed(datetime="2024-06-01T00:00:00Z", s="𒍟※", t=["𒍟※"]),
    "no assets": odd(assets={}),
    "asset of an odd name": odd(assets={"a b/c#d\"e'": {"href": "a.tif"}, "": {"href": "a.tif"}}),
    "members of its own": odd(**{"own:x": {"a": [None, 1]}, "bands": "none"}),
    "asks for a collection without a link": odd(collection="wanted"),
    "asks for none": odd(collection=None),
    "asks for nothing": odd(collection=""),
    "of 1.0.0": odd(stac_version="1.0.0"),
    "of 0.9.0": odd(stac_version="0.9.0"),
}

REFUSED: dict[str, tuple[Document, Code]] = {
    **{
        f"id {id!r:.20}": (plain_item(id), Code.ITEM_ID_UNSAFE)
        for id in (
            *("", ".", "..", "a/b", "a\\b", "a%2Fb", "a?b", "a#b", " a", "a ", "a\tb", "a\nb", "a\0b", "a\x7f"),
            *("x" * 256, "a\u2028b", "a\u200b", "\ud800"),
        )
    },
    "id that is a number": (odd(id=3), Code.ITEM_ID_UNSAFE),
    "no id": ({name: one for name, one in odd().items() if name != "id"}, Code.ITEM_ID_UNSAFE),
    "no geometry": (odd(geometry=None), Code.GEOMETRY_INVALID),
    "no bbox": ({name: one for name, one in odd().items() if name != "bbox"}, Code.GEOMETRY_INVALID),
    "heights here and there": (polygon((0, 0), (1, 0, 5), (1, 1), (0, 1), (0, 0)), Code.GEOMETRY_INVALID),
    "heights but at one corner": (polygon((0, 0, 5), (1, 0), (1, 1), (0, 1), (0, 0, 5)), Code.GEOMETRY_INVALID),
    "measures": (polygon((0, 0, 5, 1), (1, 0, 5, 1), (1, 1, 5, 1), (0, 0, 5, 1)), Code.GEOMETRY_INVALID),
    "unclosed": (polygon((0, 0), (1, 0), (1, 1), (0, 1)), Code.GEOMETRY_INVALID),
    "bow tie": (polygon((0, 0), (1, 1), (1, 0), (0, 1), (0, 0)), Code.GEOMETRY_INVALID),
    "no area": (polygon((0, 0), (1, 0), (0, 0), (0, 0)), Code.GEOMETRY_INVALID),
    "all at one point": (polygon((0, 0), (0, 0), (0, 0), (0, 0)), Code.GEOMETRY_INVALID),
    "spike": (polygon((0, 0), (1, 0), (2, 0), (1, 0), (1, 1), (0, 1), (0, 0)), Code.GEOMETRY_INVALID),
    "touches itself": (polygon((0, 0), (2, 0), (1, 1), (2, 2), (0, 2), (1, 1), (0, 0)), Code.GEOMETRY_INVALID),
    "hole outside": (drawn("Polygon", SQUARE, [[5, 5], [6, 5], [6, 6], [5, 5]]), Code.GEOMETRY_INVALID),
    "the same twice": (drawn("MultiPolygon", [SQUARE], [SQUARE]), Code.GEOMETRY_INVALID),
    "side by side": (drawn("MultiPolygon", [SQUARE], [BESIDE]), Code.GEOMETRY_INVALID),
    "empty point": (drawn("Point"), Code.GEOMETRY_INVALID),
    "empty polygon": (drawn("Polygon"), Code.GEOMETRY_INVALID),
    "empty ring": (drawn("Polygon", []), Code.GEOMETRY_INVALID),
    "no polygons": (drawn("MultiPolygon"), Code.GEOMETRY_INVALID),
    "a line of one point": (drawn("LineString", [0.5, 0.5]), Code.GEOMETRY_INVALID),
    "a line that stays where it is": (drawn("LineString", [0.5, 0.5], [0.5, 0.5]), Code.GEOMETRY_INVALID),
    "collection of nothing": (gathered(), Code.GEOMETRY_INVALID),
    "collection in a collection": (
        gathered({"type": "GeometryCollection", "geometries": [POINT]}),
        Code.GEOMETRY_INVALID,
    ),
    "collection of heights here and there": (
        gathered(POINT, {"type": "Point", "coordinates": [0, 0, 1]}),
        Code.GEOMETRY_INVALID,
    ),
    "longitude 400": (polygon((400, 0), (401, 0), (401, 1), (400, 0)), Code.GEOMETRY_INVALID),
    "latitude 95": (polygon((0, 95), (1, 95), (1, 96), (0, 95)), Code.GEOMETRY_INVALID),
    "not a number in it": (polygon((0, 0), (NAN, 0), (1, 1), (0, 0)), Code.GEOMETRY_INVALID),
    "beyond all numbers": (polygon((0, 0), (1e308, 0), (1, 1), (0, 0)), Code.GEOMETRY_INVALID),
    "four hundred digits": (drawn("Point", 10**400, 0), Code.GEOMETRY_INVALID),
    "a height of four hundred digits": (drawn("Point", 0, 0, 10**400), Code.GEOMETRY_INVALID),
    "texts for numbers": (polygon(("0", "0"), ("1", "0"), ("1", "1"), ("0", "0")), Code.GEOMETRY_INVALID),
    "truths for numbers": (drawn("Point", True, False), Code.GEOMETRY_INVALID),
    "uncut at the antimeridian": (
        polygon((179, 0), (-179, 0), (-179, 1), (179, 1), (179, 0), bbox=[179, 0, -179, 1]),
        Code.GEOMETRY_INVALID,
    ),
    "bbox not a number": (odd(bbox=[0, 0, NAN, 1]), Code.GEOMETRY_INVALID),
    "bbox beyond the world": (odd(bbox=[0, 0, 400, 1]), Code.GEOMETRY_INVALID),
    "bbox upside down": (odd(bbox=[0, 1, 1, 0]), Code.GEOMETRY_INVALID),
    "bbox of three": (odd(bbox=[0, 0, 1]), Code.GEOMETRY_INVALID),
    **{
        f"datetime {text!r}": (timed(datetime=text), Code.DATETIME_INVALID)
        for text in (
            *("", "2024-06-01", "2024-06-01T00:00:00", "yesterday", "infinity", "now", "epoch", "2024-06-31T00:00:00Z"),
            *("0000-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", "10000-01-01T00:00:00Z"),
            *("-0044-03-15T00:00:00Z", "2024-06-01T24:00:00Z", "２０２４-06-01T00:00:00Z", "2024-06-01T00:00:00+25:00"),
        )
    },
    "datetime that is a number": (timed(datetime=20240601), Code.DATETIME_INVALID),
    "no time": (timed(datetime=None), Code.DATETIME_INVALID),
    "no datetime": (timed(), Code.DATETIME_INVALID),
    "no end": (timed(datetime=None, start_datetime="2024-06-01T00:00:00Z"), Code.DATETIME_INVALID),
    "an end alone": (
        timed(datetime="2024-06-01T00:00:00Z", end_datetime="2024-06-01T00:00:00Z"),
        Code.DATETIME_INVALID,
    ),
    "backwards": (
        timed(datetime=None, start_datetime="2024-06-02T00:00:00Z", end_datetime="2024-06-01T00:00:00Z"),
        Code.DATETIME_INVALID,
    ),
    "backwards by its offsets": (
        timed(datetime=None, start_datetime="2024-06-01T00:00:00-05:00", end_datetime="2024-06-01T01:00:00+05:00"),
        Code.DATETIME_INVALID,
    ),
    "null range": (
        timed(datetime="2024-06-01T00:00:00Z", start_datetime=None, end_datetime=None),
        Code.DATETIME_INVALID,
    ),
    "NUL in a text": (timed(datetime="2024-06-01T00:00:00Z", s="a\0b"), Code.ITEM_INVALID),
    "NUL in a name": (timed(datetime="2024-06-01T00:00:00Z", **{"a\0b": 1}), Code.ITEM_INVALID),
    "half a character": (timed(datetime="2024-06-01T00:00:00Z", s="\ud800"), Code.ITEM_INVALID),
    "assets in a row": (odd(assets=["a.tif"]), Code.ITEM_INVALID),
    "asset that is a text": (odd(assets={"a": "a.tif"}), Code.ITEM_INVALID),
    "asset without an href": (odd(assets={"a": {}}), Code.ITEM_INVALID),
    "href that is a number": (odd(assets={"a": {"href": 3}}), Code.ITEM_INVALID),
    "links as texts": (odd(links=["x.json"]), Code.ITEM_INVALID),
    "collection that is a number": (odd(collection=3), Code.ITEM_INVALID),
    "of a version to come": (odd(stac_version="2.0.0"), Code.ITEM_INVALID),
    "no item at all": (odd(type="Catalog"), Code.ITEM_INVALID),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_harm_is_refused_with_its_code(name: str) -> None:
    document, code = REFUSED[name]
    refused = prepare(document)

    assert refused.document is None
    assert code in [problem.code for problem in refused.problems if problem.severity is Severity.ERROR]
    for problem in refused.problems:
        assert problem.message.endswith((".", "…"))
        assert problem.message.isprintable()
        assert len(problem.message) < 2000


def search(connection: Connection, **body: Any) -> dict[str, Document]:
    """The items that pgstac finds, by id; fails where its answer is no JSON."""
    row = connection.execute(
        "SELECT pgstac.search(%s::jsonb)::text", (orjson.dumps({"collections": [COLLECTION], **body}).decode(),)
    ).fetchone()
    assert row is not None
    return {one["id"]: one for one in orjson.loads(row[0])["features"]}


def as_read(value: Any) -> Any:
    """A document as pgstac gives it back: what is null is left out, `datetime` too, and of a geometry its members."""
    if not isinstance(value, dict):
        return value
    kept = {name: as_read(one) for name, one in value.items() if one is not None}
    return {name: kept[name] for name in ("type", "coordinates")} if "coordinates" in kept else kept


def harm(connection: Connection, document: Document) -> str | None:
    """What goes wrong with an item in the database; None where nothing does. Its transaction is rolled back."""
    id, bbox = document["id"], document["bbox"]
    after = plain_item("after", west=40.0, datetime="2023-01-01T00:00:00Z")
    try:
        loaded = load(connection, COLLECTION, [document])
        if loaded.refused:
            return f"refused: {loaded.refused[0].reason}"
        if load(connection, COLLECTION, [after]).refused:
            return "the next item is refused"
        found = search(connection, ids=[id])
        if set(found) != {id}:
            return f"a search by its id finds {sorted(found)}"
        changed = {part: found[id].get(part) for part, one in as_read(document).items() if found[id].get(part) != one}
        if changed:
            return f"it comes back with {changed}"
        if set(search(connection, bbox=[40.2, 0.2, 40.4, 0.4])) - {id} != {"after"}:
            return "a search does not find the next item"
        stretches, south, north = bbox_stretches(bbox)
        for west, east in stretches:
            if id not in search(connection, bbox=[west - 0.001, south - 0.001, east + 0.001, north + 0.001]):
                return "a search of its bbox does not find it"
        if set(search(connection, datetime="2023-01-01T00:00:00Z")) - {id} != {"after"}:
            return "a search by time does not find the next item"
        extent_of([document, after])
        row = connection.execute("SELECT pgstac.collection_extent(%s, true)::text", (COLLECTION,)).fetchone()
        assert row is not None
        orjson.loads(row[0])
    except psycopg.Error as error:
        return f"the database fails: {error}"
    finally:
        connection.rollback()
    return None


def test_what_is_let_through_harms_nothing(connection: Connection) -> None:
    create_missing(connection, [new_collection(COLLECTION)])
    connection.commit()

    harmed: dict[str, str] = {}
    every: list[Document] = []
    for name, document in ODD.items():
        prepared = prepare(document)
        if prepared.document is None:
            harmed[name] = f"is not let through: {[problem.message for problem in prepared.problems]}"
            continue
        ready = {**prepared.document, "collection": COLLECTION}
        every.append({**ready, "id": f"{len(every)}-{ready['id']}"[:255]})
        if wrong := harm(connection, ready):
            harmed[name] = wrong
    assert not harmed, "\n".join(f"{name}: {wrong}" for name, wrong in harmed.items())

    loaded = load(connection, COLLECTION, every)
    connection.commit()
    assert loaded.refused == ()
    assert search(connection, limit=1000) == {one["id"]: as_read(one) for one in every}
