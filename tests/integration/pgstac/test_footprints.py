"""Footprints of items as they come out of pgstac, in amounts that a page can carry."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import pytest

from maap_stac_orchestration.pgstac import footprints
from maap_stac_orchestration.pgstac.collections import create_missing
from maap_stac_orchestration.pgstac.footprints import count_up_to, footprints_of, months_of, newest_footprints
from maap_stac_orchestration.pgstac.items import load
from maap_stac_orchestration.pgstac.listing import list_collections
from tests.integration.pgstac.stac import item, new_collection


def circle(vertices, *, radius=1.0, jag=0.0):
    """A polygon with so many vertices; `jag` draws every other one in."""
    ring = []
    for number in range(vertices):
        angle, far = 2 * math.pi * number / vertices, radius * (1 - jag * (number % 2))
        ring.append([10 + far * math.cos(angle), 20 + far * math.sin(angle)])
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


def shaped(id, geometry, **changes):
    return item(id, **changes) | {"geometry": geometry}


def vertices(geometry):
    return json.dumps(geometry["coordinates"]).count(", ") - json.dumps(geometry["coordinates"]).count("], [")


@pytest.fixture
def filled(connection):
    def fill(*items):
        create_missing(connection, [new_collection("things")])
        load(connection, "things", items)
        return connection

    return fill


def test_a_plain_footprint_comes_as_it_is(filled):
    [found] = footprints_of(filled(item("one", west=10)), "things", ["one", "none"])
    assert found.id == "one"
    assert found.start == found.end == datetime(2024, 6, 1, tzinfo=UTC)
    assert found.geometry == {"type": "Polygon", "coordinates": [[[10, 0], [11, 0], [11, 1], [10, 1], [10, 0]]]}


def test_heights_are_left_out(filled):
    flat = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
    high = {"type": "Polygon", "coordinates": [[[0, 0, 5], [1, 0, 5], [1, 1, 5], [0, 0, 5]]]}
    [found] = footprints_of(filled(shaped("one", high)), "things", ["one"])
    assert found.geometry == flat


@pytest.mark.parametrize("number", [600, 15_000, 200_000])
@pytest.mark.parametrize("jag", [0.0, 0.5])
def test_a_footprint_of_any_number_of_vertices_has_no_more_than_asked_for_and_lies_where_it_did(filled, number, jag):
    conn = filled(shaped("one", circle(number, jag=jag)))
    [found] = footprints_of(conn, "things", ["one"])
    assert vertices(found.geometry) <= 501
    longitudes, latitudes = zip(*found.geometry["coordinates"][0], strict=True)
    for least, most, middle in ((min(longitudes), max(longitudes), 10), (min(latitudes), max(latitudes), 20)):
        assert least == pytest.approx(middle - 1, abs=0.02)
        assert most == pytest.approx(middle + 1, abs=0.02)


def test_a_simplified_circle_is_still_one(filled):
    [found] = footprints_of(filled(shaped("one", circle(10_000))), "things", ["one"])
    [ring] = found.geometry["coordinates"]
    assert len(ring) > 30
    assert all(math.hypot(x - 10, y - 20) == pytest.approx(1, abs=0.01) for x, y in ring)


def test_many_parts_on_both_sides_of_the_antimeridian_become_a_shape_on_either(filled):
    parts = [
        [[[x, y], [x + 0.1, y], [x + 0.1, y + 0.1], [x, y]]]
        for x in (*(-179.9 + n / 5 for n in range(40)), *(171.0 + n / 5 for n in range(40)))
        for y in (0.0, 1.0, 2.0)
    ]
    conn = filled(shaped("one", {"type": "MultiPolygon", "coordinates": parts}))
    [found] = footprints_of(conn, "things", ["one"], vertices=100)
    longitudes = [x for part in found.geometry["coordinates"] for x, _ in part[0]]
    assert vertices(found.geometry) <= 100
    assert not [x for x in longitudes if -171 < x < 170], "nothing lies in between"


def test_beyond_what_may_be_read_there_are_boxes(filled, monkeypatch):
    monkeypatch.setattr(footprints, "READ_AT_MOST", 50_000)
    conn = filled(*(shaped(f"item-{n}", circle(2_000, jag=0.3)) for n in range(5)))
    found = newest_footprints(conn, "things", limit=10)
    assert len(found) == 5
    assert len(found[0].geometry["coordinates"][0]) > 5
    assert len(found[-1].geometry["coordinates"][0]) == 5


def test_points_and_lines_have_footprints_too(filled):
    point = {"type": "Point", "coordinates": [10, 20]}
    line = {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}
    conn = filled(shaped("point", point), shaped("line", line))
    assert {one.id: one.geometry for one in footprints_of(conn, "things", ["point", "line"])} == {
        "point": point,
        "line": line,
    }


def test_the_newest_come_first_and_no_more_than_asked_for(filled):
    conn = filled(*(item(f"day-{day:02}", datetime=f"2024-06-{day:02}T00:00:00Z") for day in range(1, 11)))
    assert [one.id for one in newest_footprints(conn, "things", limit=3)] == ["day-10", "day-09", "day-08"]
    during = datetime(2024, 6, 2, tzinfo=UTC), datetime(2024, 6, 4, tzinfo=UTC)
    assert [one.id for one in newest_footprints(conn, "things", limit=9, during=during)] == [
        "day-04",
        "day-03",
        "day-02",
    ]
    assert count_up_to(conn, "things", 100) == 10
    assert count_up_to(conn, "things", 4) == 4
    assert count_up_to(conn, "things", 100, during=during) == 3


def test_what_lasts_is_of_every_month_that_it_touches(filled):
    season = {"datetime": None, "start_datetime": "2024-05-20T00:00:00Z", "end_datetime": "2024-07-10T00:00:00Z"}
    conn = filled(item("season") | {"properties": season})
    june = datetime(2024, 6, 1, tzinfo=UTC), datetime(2024, 6, 30, 23, 59, 59, tzinfo=UTC)
    [found] = newest_footprints(conn, "things", limit=9, during=june)
    assert (found.start.month, found.end.month) == (5, 7)


def test_months_are_those_in_which_something_begins_newest_first(filled):
    times = ("1999-12-31T23:59:59Z", "2024-02-29T00:00:00Z", "2024-06-01T00:00:00Z", "2024-06-30T23:59:59Z")
    conn = filled(*(item(f"item-{n}", datetime=time) for n, time in enumerate(times)))
    months = [f"{one:%Y-%m}" for one in months_of(conn, "things", limit=10)]
    assert months == ["2024-06", "2024-02", "1999-12"]
    assert len(months_of(conn, "things", limit=2)) == 2


def test_a_months_beginning_and_the_first_year_are_no_trouble_in_any_time_zone(filled):
    conn = filled(item("first", datetime="0001-01-01T00:00:00Z"), item("last", datetime="9999-12-31T23:59:59Z"))
    for zone in ("America/Los_Angeles", "Pacific/Auckland"):
        conn.execute("SELECT set_config('TimeZone', %s, false)", (zone,))
        assert [one.id for one in newest_footprints(conn, "things", limit=5)] == ["last", "first"]
        assert len(months_of(conn, "things", limit=5)) >= 1


def test_of_no_collection_there_is_nothing(connection):
    assert footprints_of(connection, "things", ["one"]) == []
    assert newest_footprints(connection, "things", limit=5) == []
    assert months_of(connection, "things", limit=5) == []
    assert footprints_of(connection, "things", ["a\x00b"]) == []


def test_collections_are_found_by_a_part_of_id_or_title_page_by_page(connection):
    create_missing(connection, [new_collection(f"ana--{name}") for name in ("Fire", "flood", "forest")])
    connection.execute(
        """UPDATE pgstac.collections SET content = content || '{"title": "Burnt area 100%"}' WHERE id = 'ana--Fire'"""
    )
    assert [one.id for one in list_collections(connection, limit=9)] == ["ana--Fire", "ana--flood", "ana--forest"]
    assert [one.id for one in list_collections(connection, limit=1, after="ana--Fire")] == ["ana--flood"]
    assert [one.id for one in list_collections(connection, text="fir", limit=9)] == ["ana--Fire"]
    assert [one.id for one in list_collections(connection, text="BURNT", limit=9)] == ["ana--Fire"]
    assert [one.id for one in list_collections(connection, text="100%", limit=9)] == ["ana--Fire"]
    assert list_collections(connection, text="_", limit=9) == []
