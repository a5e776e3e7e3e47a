"""What follows from a collection's items: bounded, valid and true, whatever the items are."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.api.pages.tiles import rendering
from maap_stac_orchestration.catalog.derived import derived, size
from maap_stac_orchestration.catalog.item_assets import MOST_ASSETS
from maap_stac_orchestration.catalog.renders import TRUE_COLOR, first_render
from maap_stac_orchestration.catalog.schema import ExtensionSchemas, core_errors
from maap_stac_orchestration.catalog.summaries import MOST_VALUES
from tests.shared import published_schemas

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
RASTER = "https://stac-extensions.github.io/raster/v1.1.0/schema.json"
RENDER = "https://stac-extensions.github.io/render/v2.0.0/schema.json"


def item(assets: Any = None, properties: Any = None, **changed: Any) -> dict[str, Any]:
    document = {"type": "Feature", "stac_extensions": [], "links": [], "id": "one"}
    return {**document, "assets": assets or {}, "properties": properties or {}, **changed}


def cog(**changed: Any) -> dict[str, Any]:
    return {"href": "s3://bucket/a.tif", "type": COG, "roles": ["data"], **changed}


def band(mean: float = 1000, stddev: float = 500, low: float = 0, high: float = 4000, **changed: Any) -> dict[str, Any]:
    statistics = {"mean": mean, "stddev": stddev, "minimum": low, "maximum": high}
    return {"data_type": "int16", "nodata": -9999, "statistics": statistics, **changed}


def colors(**statistics: Any) -> dict[str, Any]:
    return {name: cog(**{"raster:bands": [band(**statistics)]}) for name in ("red", "green", "blue")}


def collection(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": "things",
        "description": "Things",
        "license": "other",
        "extent": {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [[None, None]]}},
        "links": [],
        **fields,
    }


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["__proto__", "x" * 3_000, "true-color", -9999, 1e308, [[[]]]]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=3,
)
NAMES = st.sampled_from(["red", "green", "blue", "visual", "__proto__", "data", "x" * 200, "é", ""]) | st.text(
    max_size=5
)
ASSETS = st.fixed_dictionaries(
    {"href": st.just("s3://bucket/a.tif")},
    optional={
        "type": st.sampled_from([COG, "image/jp2", "text/html"]),
        "title": st.text(max_size=600),
        "roles": st.lists(st.sampled_from(["data", "visual", "thumbnail"]), max_size=3) | JSON,
        "bands": st.lists(JSON, max_size=4),
        "raster:bands": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "nodata": JSON,
                    "data_type": JSON,
                    "statistics": st.dictionaries(st.sampled_from(["mean", "stddev", "minimum", "maximum"]), JSON),
                    "histogram": st.dictionaries(st.sampled_from(["min", "max", "buckets"]), JSON | st.lists(JSON)),
                },
            ),
            max_size=4,
        )
        | JSON,
        "eo:bands": JSON,
        "gsd": JSON,
    },
)
ITEMS = st.lists(
    st.builds(
        item,
        st.dictionaries(NAMES, ASSETS, max_size=4),
        st.dictionaries(st.sampled_from(["platform", "gsd", "datetime", "a:b"]) | NAMES, JSON, max_size=5),
        stac_extensions=JSON | st.just([RASTER]),
        links=JSON | st.lists(st.fixed_dictionaries({"rel": st.just("about"), "href": JSON}), max_size=2),
    )
    | st.builds(item, JSON, JSON),
    max_size=3,
)


@given(ITEMS)
def test_whatever_items_say_what_follows_is_a_valid_collection_and_small(items: list[dict[str, Any]]) -> None:
    fields = derived(items)
    assert core_errors(collection(fields)) == []
    assert size(fields) < 64_000
    json.dumps(fields, allow_nan=False)


@given(ITEMS, st.randoms(use_true_random=False))
def test_the_order_of_items_makes_no_difference(items: list[dict[str, Any]], shuffled: random.Random) -> None:
    other = list(items)
    shuffled.shuffle(other)
    assert derived(other) == derived(items)


def tiler_query(render: Any) -> list[tuple[str, str]]:
    """What the pages and links ask the tiler for."""
    shown = rendering({"renders": {"one": render}})
    return [] if shown is None else list(shown.parameters)


@given(ITEMS)
def test_every_render_is_a_query_that_a_tiler_can_be_asked(items: list[dict[str, Any]]) -> None:
    fields = derived(items)
    for render in fields.get("renders", {}).values():
        query = tiler_query(render)
        assert [value.partition("|")[0] for name, value in query if name == "assets"] == render["assets"]
        for low, high in render.get("rescale", []):
            assert math.isfinite(low)
            assert low < high
        assert set(render["assets"]) <= fields["item_assets"].keys()


@given(JSON)
def test_renders_of_any_kind_give_a_query_or_none(written: Any) -> None:
    first = first_render({"one": written})
    if first is not None:
        assert tiler_query(first[1])


def test_no_items_say_nothing() -> None:
    assert derived([]) == {}


def test_an_item_with_thousands_of_assets_and_words_gives_a_small_collection() -> None:
    many = {f"asset-{number}": cog(title="t" * 400, description="d" * 400) for number in range(10_000)}
    words = {f"word-{number}": ["v" * 150 + str(one) for one in range(20)] for number in range(2_000)}
    fields = derived([item(many, words), item(many, words)])
    assert 0 < len(fields["item_assets"]) <= MOST_ASSETS
    assert size(fields) < 64_000
    assert core_errors(collection(fields)) == []


def test_red_green_and_blue_are_shown_together_in_one_range() -> None:
    fields = derived([item(colors(), stac_extensions=[RASTER]) for _ in range(3)])
    assert fields["renders"] == {
        TRUE_COLOR: {
            "title": "True colour",
            "assets": ["red", "green", "blue"],
            "rescale": [[0, 2000]] * 3,
            "nodata": -9999,
        }
    }
    assert fields["stac_extensions"] == [RASTER, RENDER]
    assert tiler_query(fields["renders"][TRUE_COLOR]) == [
        *(("assets", color) for color in ("red", "green", "blue")),
        *[("rescale", "0,2000")] * 3,
        ("nodata", "-9999"),
    ]


def test_one_item_that_says_nonsense_does_not_change_how_all_are_shown() -> None:
    good = [item(colors()) for _ in range(20)]
    bad = item(colors(mean=1e30, stddev=1e29, high=1e31))
    assert derived([*good, bad])["renders"] == derived(good)["renders"]


@pytest.mark.parametrize(
    ("bands", "rescale"),
    [
        ([band(mean=50, stddev=10, low=0, high=60)], [[30, 60]]),
        ([{"statistics": {"minimum": -1, "maximum": 1}}], [[-1, 1]]),
        ([{"statistics": {"minimum": 0.01, "maximum": 0.93}}], [[0, 0.95]]),
        ([{"histogram": {"count": 3, "min": 0, "max": 100, "buckets": [98, 1, 1]}}], [[0, 35]]),
        ([{"statistics": {"minimum": 5, "maximum": 5}}], None),
        ([{"statistics": {"mean": True, "stddev": "much"}}], None),
        ([{"data_type": "int16"}], None),
        ([], None),
    ],
)
def test_the_range_of_an_image_comes_from_its_statistics_or_is_not_told(bands: Any, rescale: Any) -> None:
    assets = {"data": cog(**{"raster:bands": bands}) if bands else cog()}
    assert derived([item(assets)])["renders"]["data"].get("rescale") == rescale


def test_each_band_of_an_image_is_shown_for_itself() -> None:
    bands = [band(name="mean"), band(name="spread", mean=10, stddev=2, high=20)]
    renders = derived([item({"cog": cog(title="Biomass", bands=bands)})])["renders"]
    assert [(one["title"], one["bidx"], one["rescale"]) for one in renders.values()] == [
        ("Biomass: mean", [1], [[0, 2000]]),
        ("Biomass: spread", [2], [[6, 14]]),
    ]
    assert tiler_query(renders["cog-1"])[0] == ("assets", "cog|bidx=1")


def test_colours_are_known_by_the_names_of_their_bands() -> None:
    assets = {
        key: cog(**{"eo:bands": [{"name": key, "common_name": color}]})
        for key, color in (("B02", "blue"), ("B03", "green"), ("B04", "red"), ("B08", "nir"))
    }
    assert derived([item(assets)])["renders"][TRUE_COLOR]["assets"] == ["B04", "B03", "B02"]
    bands = [{"name": name, "eo:common_name": name} for name in ("blue", "green", "red", "nir")]
    assert derived([item({"all": cog(bands=bands)})])["renders"][TRUE_COLOR]["bidx"] == [3, 2, 1]


def test_a_picture_is_shown_as_it_is() -> None:
    assets = {**colors(), "visual": cog(roles=["visual"], **{"raster:bands": [{"data_type": "uint8"}] * 3})}
    assert derived([item(assets)])["renders"] == {TRUE_COLOR: {"title": "True colour", "assets": ["visual"]}}


@pytest.mark.parametrize("asset", [cog(roles=["thumbnail"]), cog(type="image/png"), {"href": "s3://b/a", "title": "A"}])
def test_what_is_no_image_of_the_data_is_not_shown(asset: dict[str, Any]) -> None:
    assert "renders" not in derived([item({"a": asset})])


def test_assets_tell_what_all_of_them_agree_upon_and_nothing_of_one_job() -> None:
    def one(number: int) -> dict[str, Any]:
        asset = cog(title="Red", href=f"s3://bucket/{number}.tif", **{"file:size": number, "created": str(number)})
        return item({"red": asset | {"description": str(number)}, f"of-job-{number}": cog()})

    assert derived([one(1), one(2), one(3)])["item_assets"] == {
        "red": {"title": "Red", "type": COG, "roles": ["data"]},
    }


def test_an_asset_of_which_one_thing_is_known_is_called_by_its_key() -> None:
    assets = derived([item({"labels": {"href": "s3://b/l", "type": "application/geo+json"}})])["item_assets"]
    assert assets == {"labels": {"title": "labels", "type": "application/geo+json"}}


def test_summaries_are_values_where_they_are_few_and_ranges_where_numbers_are_many() -> None:
    items = [
        item(
            properties={
                "platform": f"landsat-{8 + number % 2}",
                "instruments": ["oli", "tirs"],
                "eo:cloud_cover": number / 2,
                "proj:epsg": 32600 + number % 7,
                "maap:username": "ana",
                "maap:run_id": str(number),
                "datetime": "2024-06-01T00:00:00Z",
                "observed": "2024-06-01T00:00:00Z",
                "tile": f"T{number}",
                "view:position": [number, number],
                "label:description": "Words",
                "night": bool(number % 2),
            }
        )
        for number in range(40)
    ]
    assert derived(items)["summaries"] == {
        "eo:cloud_cover": {"minimum": 0, "maximum": 19.5},
        "instruments": ["oli", "tirs"],
        "maap:username": ["ana"],
        "night": [False, True],
        "platform": ["landsat-8", "landsat-9"],
        "proj:epsg": list(range(32600, 32607)),
    }


def test_a_word_that_takes_too_many_values_is_left_out() -> None:
    items = [item(properties={"tile": f"T{number}"}) for number in (0, *range(MOST_VALUES + 1))]
    assert "summaries" not in derived(items)
    assert len(derived(items[:-1])["summaries"]["tile"]) == MOST_VALUES


def test_links_that_all_items_have_are_the_collections() -> None:
    def one(*links: tuple[str, str]) -> dict[str, Any]:
        return item(links=[{"rel": rel, "href": href, "title": "T"} for rel, href in links])

    about = ("about", "https://example.org/algorithm")
    items = [one(about, ("license", "https://example.org/1"), ("via", "https://example.org/a")), one(about)]
    assert derived(items)["links"] == [{"rel": "about", "href": "https://example.org/algorithm", "title": "T"}]
    assert "links" not in derived([one(("about", "javascript:alert(1)")), one(("about", "http://plain.example"))])


def test_people_see_true_colour_first_whatever_the_order() -> None:
    renders = {"nbr": {"assets": ["a"]}, "true-color": {"assets": ["b"]}}
    assert first_render(renders) == ("true-color", {"assets": ["b"]})
    assert first_render({"nbr": {"assets": ["a"]}, "x": {}}) == ("nbr", {"assets": ["a"]})
    assert first_render({"x": {"assets": []}}) is None
    assert first_render([]) is None


@given(ITEMS)
def test_what_follows_is_valid_by_the_published_render_extension(items: list[dict[str, Any]]) -> None:
    fields = derived(items)
    if "renders" in fields:
        schemas = ExtensionSchemas(published_schemas())
        assert schemas.check(collection({**fields, "stac_extensions": [RENDER]})) == []


def test_whole_numbers_that_not_every_reader_takes_are_not_told() -> None:
    huge = 2**70
    asset = {"href": "s3://bucket/a.tif", "type": COG, "gsd": huge, "raster:bands": [{"nodata": huge}]}
    fields = derived([item({"red": asset}, {"count": huge, "gsd": 30})] * 3)
    assert fields["summaries"] == {"gsd": [30]}
    assert "gsd" not in fields["item_assets"]["red"]
    assert all("nodata" not in render for render in fields["renders"].values())
