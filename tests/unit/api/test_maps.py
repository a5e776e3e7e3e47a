"""Where footprints are drawn, how pictures of them are asked for, and what the map is made of."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import maap_stac_orchestration.api.pages as pages
from maap_stac_orchestration.api.pages.chart import Placed, chart, footprint_document
from maap_stac_orchestration.api.pages.collection import CollectionQuery, Found, collection_view
from maap_stac_orchestration.api.pages.geography import area, part_boxes
from maap_stac_orchestration.api.pages.pictures import footprints
from maap_stac_orchestration.api.pages.tiles import Tiler, mosaic_ids, rendering
from maap_stac_orchestration.pgstac.footprints import Footprint
from maap_stac_orchestration.settings import Settings, SettingsError

VENDOR = Path(pages.__file__).parent / "static" / "vendor"

JUNE = datetime(2024, 6, 1, tzinfo=UTC)


@st.composite
def boxes(draw):
    degrees = st.floats(-180, 180), st.floats(-90, 90), st.floats(0, 360), st.floats(0, 180)
    west, south, wide, high = (draw(one) for one in degrees)
    return west, south, min(west + wide, 180), min(south + high, 90)


def square(west, south, east, north):
    return [[[west, south], [east, south], [east, north], [west, north], [west, south]]]


def polygon(*corners):
    return {"type": "Polygon", "coordinates": square(*corners)}


#: Fiji, as RFC 7946 wants what crosses the antimeridian: cut there.
CROSSING = {"type": "MultiPolygon", "coordinates": [square(177, -19, 180, -16), square(-180, -19, -178, -16)]}


def placed(*geometries):
    return [Placed(Footprint(f"item-{n}", JUNE, JUNE, one), "things") for n, one in enumerate(geometries)]


# Where things lie


@given(st.lists(boxes(), min_size=1, max_size=6))
@example([(179.0, 0.0, 180.0, 1.0), (-180.0, 0.0, -179.0, 1.0)])
@example([(-180.0, -90.0, 180.0, 90.0)])
def test_an_area_holds_all_its_boxes_and_is_no_wider_than_a_map_that_is_cut_as_usual(several):
    whole = area(several)
    assert whole is not None
    for west, south, east, north in map(whole.turned, several):
        assert whole.west - 1e-6 <= west <= east <= whole.east + 1e-6
        assert whole.south <= south <= north <= whole.north
    assert whole.east - whole.west <= max(box[2] for box in several) - min(box[0] for box in several) + 1e-6


@given(st.lists(boxes(), min_size=1, max_size=5))
def test_footprints_are_drawn_inside_their_frame_on_a_grid_with_names(several):
    whole = area(several)
    assert whole is not None
    drawn = footprints(several, whole)
    assert len(drawn.boxes) == len(several)
    for x, y, width, height in drawn.boxes:
        assert -0.1 <= x <= x + width <= drawn.width + 0.1
        assert -0.1 <= y <= y + height <= drawn.height + 0.1
        assert min(width, height) >= 3
    assert all(0 <= line.at <= drawn.width for line in drawn.meridians)
    assert all(0 <= line.at <= drawn.height for line in drawn.parallels)
    assert len(drawn.meridians) <= 6
    assert len(drawn.parallels) <= 5


def test_what_was_cut_at_the_antimeridian_stands_together():
    shown = chart(placed(CROSSING), "/footprints", [])
    assert shown is not None
    assert shown.picture.words == "Items lie between 177° E and 178° W, 19° S and 16° S."
    assert len(shown.picture.boxes) == 1
    document = footprint_document(placed(CROSSING), {}, Settings(), "")
    assert document["cut"] == 177
    assert document["view"] == [-19, 177, -16, 182]


def test_items_on_both_sides_of_the_antimeridian_stand_together():
    document = footprint_document(placed(polygon(170, 0, 175, 5), polygon(-175, 0, -170, 5)), {}, Settings(), "")
    assert document["view"] == [0, 170, 5, 190]


@pytest.mark.parametrize(
    ("geometry", "expected"),
    [
        ({"type": "Point", "coordinates": [10, 20]}, [(10, 20, 10, 20)]),
        ({"type": "MultiPoint", "coordinates": [[10, 20], [11, 21]]}, [(10, 20, 10, 20), (11, 21, 11, 21)]),
        ({"type": "LineString", "coordinates": [[10, 20], [12, 18]]}, [(10, 18, 12, 20)]),
        (CROSSING, [(177, -19, 180, -16), (-180, -19, -178, -16)]),
        (
            {
                "type": "GeometryCollection",
                "geometries": [polygon(0, 0, 1, 1), {"type": "Point", "coordinates": [5, 5]}],
            },
            [(0, 0, 1, 1), (5, 5, 5, 5)],
        ),
    ],
)
def test_every_kind_of_geometry_has_a_box_for_each_part(geometry, expected):
    assert part_boxes(geometry) == expected


def test_what_lies_beyond_the_end_of_the_map_is_counted():
    shown = chart(placed(polygon(0, 86, 10, 90), polygon(0, 80, 10, 90), polygon(0, -90, 10, -87)), "/footprints", [])
    assert shown is not None
    assert shown.beyond == 2


def test_without_footprints_there_is_no_map():
    assert chart([], "/footprints", []) is None
    assert footprint_document([], {}, Settings(), "")["view"] is None


# How pictures are asked for


SHOWN = {"renders": {"colour": {"title": "True colour", "assets": ["red", "green", "blue"], "rescale": [[0, 3000]]}}}


def test_a_preview_names_assets_and_their_range():
    shown = rendering(SHOWN)
    assert shown is not None
    address = Tiler("https://tiles.test/stac/").preview("a b", "-1/é", shown)
    assert address == (
        "https://tiles.test/stac/collections/a%20b/items/-1%2F%C3%A9/preview.png"
        "?assets=red&assets=green&assets=blue&rescale=0,3000&max_size=256"
    )


def test_a_mosaic_of_a_month_is_asked_for_by_an_interval_in_full():
    shown = rendering(SHOWN)
    during = CollectionQuery(month="2024-02").during
    assert shown is not None
    assert during is not None
    tiler = Tiler("https://tiles.test")
    for address in (tiler.tiles("c", shown, during=during), tiler.tilejson("c", shown, during=during)):
        assert parse_qs(urlsplit(address).query)["datetime"] == ["2024-02-01T00:00:00Z/2024-02-29T23:59:59Z"]
    assert urlsplit(tiler.tiles("c", shown)).path == "/collections/c/tiles/WebMercatorQuad/{z}/{x}/{y}"
    assert urlsplit(tiler.tilejson("c", shown)).path == "/collections/c/WebMercatorQuad/tilejson.json"


def test_all_that_a_rendering_says_of_one_band_is_asked_for():
    document = {
        "renders": {
            "height": {
                "assets": ["agb"],
                "rescale": [[0, 12.5]],
                "colormap_name": "viridis",
                "nodata": -9999,
                "resampling": "bilinear",
            }
        }
    }
    shown = rendering(document)
    assert shown is not None
    assert shown.title == "height"
    assert dict(shown.parameters) == {
        "assets": "agb",
        "rescale": "0,12.5",
        "colormap_name": "viridis",
        "nodata": "-9999",
        "resampling": "bilinear",
    }


@pytest.mark.parametrize(
    "renders",
    [
        None,
        [],
        "red",
        {},
        {"a": None},
        {"a": {}},
        {"a": {"assets": []}},
        {"a": {"assets": "red"}},
        {"a": {"assets": [1]}},
    ],
)
def test_where_nothing_is_said_of_how_items_are_shown_there_is_no_picture(renders):
    assert rendering({"renders": renders}) is None


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["title", "assets", "rescale", "nodata", "colormap_name", "expression", "resampling"])


@given(st.dictionaries(NAMES, ANY_JSON) | st.builds(lambda a, b: {"assets": ["red"], **{a: b}}, NAMES, ANY_JSON))
def test_whatever_a_rendering_says_becomes_values_of_parameters_and_nothing_else(render):
    shown = rendering({"renders": {"one": render}})
    if shown is None:
        return
    tiles = Tiler("https://tiles.test").tiles("c", shown)
    parts = urlsplit(tiles)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "tiles.test", "")
    assert parts.path == "/collections/c/tiles/WebMercatorQuad/{z}/{x}/{y}"
    assert "{" not in parts.query, "the map would take it for a place to fill"
    names = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    assert names <= {"assets", "rescale", "nodata", "colormap_name", "expression", "color_formula", "resampling"}


def test_a_mosaic_is_limited_to_as_many_items_as_an_address_may_name():
    assert mosaic_ids(["a", "b,c", "d"]) == ["a", "d"]
    many = mosaic_ids([f"tile-{number:04}" for number in range(1_000)])
    assert many[:2] == ["tile-0000", "tile-0001"]
    assert 200 < len(many) < 400


# What a collection says of itself


@given(
    st.dictionaries(st.sampled_from(["title", "description", "extent", "keywords", "providers", "license"]), ANY_JSON)
)
@example({"extent": {"spatial": {"bbox": [[0, 0, 1]]}, "temporal": {"interval": [[None, None]]}}})
@example({"providers": [{"name": "x", "url": "javascript:alert(1)"}]})
def test_a_document_of_any_form_gives_a_page(document):
    found = Found(document, None, 0, 0, [], [])
    view = collection_view("things", found, CollectionQuery(), Settings(), "")
    assert view.title
    assert all(one.url is None or one.url.startswith(("http://", "https://")) for one in view.providers)


def test_extents_are_told_in_words():
    extent = {
        "spatial": {"bbox": [[170, -20, -175, -10]]},
        "temporal": {"interval": [["2024-06-01T00:00:00Z", None]]},
    }
    view = collection_view("things", Found({"extent": extent}, None, 0, 0, [], []), CollectionQuery(), Settings(), "")
    assert view.where == "170° E to 175° W, 20° S to 10° S"
    assert view.when == "from 2024-06-01 on"


# A base map of an operator's own


@pytest.mark.parametrize(
    "url",
    ["https://tiles.test/{z}/{x}/{y}.png", "http://127.0.0.1:8080/base/{z}/{y}/{x}?key=a", "https://t.test/{x}{y}{z}"],
)
def test_a_base_map_is_named_by_the_address_of_its_tiles(url):
    assert Settings(basemap_url=url).basemap_url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "tiles.test/{z}/{x}/{y}",
        "ftp://tiles.test/{z}/{x}/{y}",
        "https://tiles.test/{z}/{x}",
        "https://{s}.tiles.test/{z}/{x}/{y}",
        "https://tiles.test/{z}/{x}/{y}/{r}",
        "https://tiles.test;script-src */{z}/{x}/{y}",
    ],
)
def test_an_address_that_is_none_of_tiles_is_refused_with_an_example(monkeypatch, url):
    monkeypatch.setenv("MAAP_STAC_BASEMAP_URL", url)
    with pytest.raises(SettingsError, match=r"MAAP_STAC_BASEMAP_URL is .* for example https://tiles.example.org"):
        Settings.from_environment()


# What the map is made of


def test_what_others_have_made_is_as_it_came():
    listed = dict(reversed(line.split("  ")) for line in (VENDOR / "SHA256SUMS").read_text().splitlines())
    there = {
        str(file.relative_to(VENDOR)): sha256(file.read_bytes()).hexdigest()
        for file in VENDOR.rglob("*")
        if file.is_file() and file.parent != VENDOR
    }
    assert there == listed
    for folder in {name.partition("/")[0] for name in listed}:
        assert folder in (VENDOR / "README.md").read_text()
        assert f"{folder}/LICENSE" in listed


def test_coastlines_are_light():
    assert (VENDOR / "world-atlas-2.0.2" / "land-110m.json").stat().st_size <= 150_000
