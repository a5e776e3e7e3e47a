"""Everything that researchers do with pystac-client: finding collections and items, by whatever they know of them."""

from __future__ import annotations

from typing import Any

import pytest
from pystac_client import Client, ConformanceClasses

from tests.integration.api import small_world
from tests.integration.api.conftest import Api
from tests.integration.api.small_world import FLOODS, ISLANDS, OTHERS, TRACKS, WEEKS

pytestmark = pytest.mark.filterwarnings("error::pystac_client.warnings.PystacClientWarning")


@pytest.fixture(scope="module")
def client(shared_api: Api, shared_database: str) -> Client:
    small_world.fill(shared_database)
    return Client.open(shared_api.url)


def ids(found: Any) -> list[str]:
    """The ids of items or collections, in the order in which they came."""
    return [one["id"] if isinstance(one, dict) else one.id for one in found]


def weeks(*numbers: int) -> list[str]:
    """The ids of floods of some weeks."""
    return [f"flood-{number:02}" for number in numbers]


# ---- collections


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("ana.lee", {FLOODS}),
        ("jo-ann", {TRACKS}),
        ("jo-ann biomass", set()),
        ("GEDI tracks of jo-ann", {TRACKS}),
        ("gedi tracks", {TRACKS}),
        ("tracks gedi", set()),
        ('"islands of the pacific"', {ISLANDS}),
        ("ana.lee OR jo-ann", {FLOODS, TRACKS}),
        ("ana.lee,jo-ann", {FLOODS, TRACKS}),
        ("water AND ana.lee", {FLOODS}),
        ("water AND jo-ann", set()),
        ("+water +ana.lee", {FLOODS}),
        ("(water OR gedi) -jo-ann", {FLOODS}),
        ("tests -filler", {FLOODS, TRACKS, ISLANDS}),
        ("nobody", set()),
        ("'", set()),
    ],
)
def test_free_text_finds_collections_by_user_and_words(client: Client, q: Any, found: set[str]) -> None:
    assert set(ids(client.collection_search(q=q).collections())) == found


@pytest.mark.parametrize("q", ["", " ", ",", None])
def test_an_empty_search_box_shows_all_collections(client: Client, q: str | None) -> None:
    assert client.collection_search(q=q).matched() == OTHERS + 3


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"bbox": [-60.5, -3.5, -60, -3]}, [FLOODS]),
        ({"bbox": [175, -25, -175, -10]}, [ISLANDS]),
        ({"bbox": [-175, -15, -172, -13]}, [ISLANDS]),
        ({"datetime": "2025-06-01/..", "q": "ana.lee"}, []),
        ({"datetime": "2024-06-01/..", "q": "ana.lee"}, [FLOODS]),
        ({"filter": "title LIKE 'GEDI%'", "filter_lang": "cql2-text"}, [TRACKS]),
        ({"filter": {"op": "=", "args": [{"property": "id"}, TRACKS]}, "filter_lang": "cql2-json"}, [TRACKS]),
        ({"query": {"title": {"startsWith": "GEDI"}}}, [TRACKS]),
        ({"query": {"id": {"in": [TRACKS, FLOODS]}}, "sortby": "-id"}, [TRACKS, FLOODS]),
        ({"q": "ana.lee", "bbox": [175, -25, -175, -10]}, []),
        ({"q": "tests -filler", "sortby": "+title"}, [FLOODS, TRACKS, ISLANDS]),
        ({"q": "tests -filler", "sortby": "-title"}, [ISLANDS, TRACKS, FLOODS]),
    ],
)
def test_collections_are_found_by_place_time_and_filters(client: Client, asked: Any, found: list[str]) -> None:
    assert ids(client.collection_search(**asked).collections()) == found


def test_a_collection_across_the_antimeridian_is_found_by_each_of_its_parts(client: Client) -> None:
    for bbox in ([177, -21, -170, -11], [178, -19, 179, -18], [-175, -19, -171, -18], [179.9, -19, -179.9, -18]):
        assert ids(client.collection_search(bbox=bbox).collections()) == [ISLANDS]
    # pgstac knows of such an extent the belt around the globe, so it is found anywhere in that, and not beside it.
    for bbox in ([-10, 60, 10, 80], [177, -60, -170, -40]):
        assert ids(client.collection_search(bbox=bbox).collections()) == []


def test_collections_come_in_pages_with_their_number(client: Client) -> None:
    search = client.collection_search(q="filler", limit=4, sortby="id")
    assert search.matched() == OTHERS
    assert ids(search.collections()) == [f"other-{number:02}" for number in range(OTHERS)]
    assert [len(page["collections"]) for page in search.pages_as_dicts()] == [4, 4, 4, 4, 4, 4, 1]
    assert len(list(client.collection_search(q="filler", limit=4, max_collections=6).collections())) == 6
    # More than a page of the default size, without a search.
    assert len(list(client.get_collections())) == OTHERS + 3


def test_collections_are_cut_to_fields(client: Client) -> None:
    (found,) = client.collection_search(q="ana.lee", fields=["id", "title"]).collections_as_dicts()
    assert found["title"] == "Floods by ana.lee"
    assert "extent" not in found


# ---- items


POLYGON = {"type": "Polygon", "coordinates": [[[-61, -4], [-60.85, -4], [-60.85, -3.85], [-61, -3.85], [-61, -4]]]}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"intersects": POLYGON}, weeks(0, 1, 2, 3)),
        ({"intersects": {"type": "Point", "coordinates": [12, 42]}}, ["track-02"]),
        ({"bbox": [-59.2, -2.2, -59.1, -2.1]}, weeks(28, 29)),
        ({"bbox": [179, -20, -170, -10]}, ["apia", "taveuni"]),
        ({"datetime": "2024-01-03T10:30:00Z/2024-01-10T10:30:00Z", "collections": [FLOODS]}, weeks(0, 1)),
        ({"datetime": "2024-01-10", "collections": [FLOODS]}, weeks(1)),
        ({"datetime": "2024-01-04T12:00:00Z"}, ["track-01"]),
        ({"datetime": "../2024-01-04", "collections": [FLOODS, TRACKS]}, ["flood-00", "track-00", "track-01"]),
        ({"ids": ["suva", "flood-03", "nothing"]}, ["flood-03", "suva"]),
        ({"collections": [ISLANDS]}, ["apia", "suva", "taveuni"]),
        ({"query": {"eo:cloud_cover": {"lt": 2}}}, weeks(0, 1)),
        ({"query": {"eo:cloud_cover": {"gte": 3, "lt": 5}, "maap:username": {"eq": "ana.lee"}}}, weeks(3, 4)),
        ({"query": {"maap:tag": {"startsWith": "trial_"}, "eo:cloud_cover": {"lte": 3}}}, weeks(0, 3)),
        # What is a wildcard elsewhere is a letter here.
        ({"query": {"maap:tag": {"contains": "tri_l"}}}, []),
        ({"query": {"maap:tag": {"endsWith": "%run"}}}, []),
        ({"query": {"eo:cloud_cover": {"in": [7, 9]}}}, weeks(7, 9)),
        (
            {"query": {"maap:username": {"neq": "ana.lee"}, "eo:cloud_cover": {"eq": 5}}, "ids": ["track-01"]},
            ["track-01"],
        ),
        ({"filter": {"op": "=", "args": [{"property": "maap:username"}, "jo-ann"]}, "ids": ["track-03"]}, ["track-03"]),
        (
            {
                "filter": {
                    "op": "and",
                    "args": [
                        {"op": "=", "args": [{"property": "maap:tag"}, "demo"]},
                        {"op": "between", "args": [{"property": "eo:cloud_cover"}, 20, 23]},
                    ],
                }
            },
            weeks(20, 22, 23),
        ),
        (
            {"filter": {"op": "t_after", "args": [{"property": "datetime"}, {"timestamp": "2024-07-20T00:00:00Z"}]}},
            weeks(29),
        ),
        ({"filter": {"op": "s_intersects", "args": [{"property": "geometry"}, POLYGON]}}, weeks(0, 1, 2, 3)),
    ],
)
def test_items_are_found_by_whatever_is_known(client: Client, method: str, asked: Any, found: list[str]) -> None:
    if method == "GET" and "filter" in asked:
        asked = asked | {"filter_lang": "cql2-json"}
    assert sorted(ids(client.search(method=method, **asked).items())) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('"maap:username" = \'ana.lee\' AND "eo:cloud_cover" < 2', weeks(0, 1)),
        ("maap:username = 'ana.lee' AND eo:cloud_cover < 2", weeks(0, 1)),
        ("maap:tag IN ('demo', 'other') AND eo:cloud_cover BETWEEN 20 AND 23", weeks(20, 22, 23)),
        ("maap:algorithm LIKE 'flood%' AND NOT maap:tag = 'demo' AND eo:cloud_cover <= 3", weeks(0, 3)),
        ("T_AFTER(datetime, TIMESTAMP('2024-07-20T00:00:00Z'))", weeks(29)),
        ("S_INTERSECTS(geometry, POINT(12 42))", ["track-02"]),
        ("collection = 'pacific-islands' AND id <> 'suva'", ["apia", "taveuni"]),
        ("maap:tag IS NULL AND maap:username = 'jo-ann' AND id = 'track-05'", ["track-05"]),
    ],
)
def test_items_are_filtered_by_text(client: Client, text: str, found: list[str]) -> None:
    # Over GET, as pystac-client sends it where the filter is a text.
    search = client.search(method="GET", filter=text, filter_lang="cql2-text")
    assert sorted(ids(search.items())) == found


def test_items_are_sorted_and_cut_to_fields_over_pages(client: Client) -> None:
    found = list(
        client.search(
            collections=[FLOODS],
            sortby="-properties.datetime",
            fields=["id", "properties.eo:cloud_cover"],
            limit=7,
        ).items_as_dicts()
    )
    assert ids(found) == weeks(*reversed(range(WEEKS)))
    assert [set(item["properties"]) for item in found] == [{"eo:cloud_cover"}] * WEEKS
    without = next(client.search(ids=["flood-03"], fields=["-assets", "-geometry"]).items_as_dicts())
    assert "assets" not in without
    assert without["properties"]["eo:cloud_cover"] == 3


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_pages_of_items_follow_one_another_without_gaps(client: Client, method: str) -> None:
    search = client.search(method=method, collections=[FLOODS], limit=8, sortby="+datetime")
    assert [ids(page.items) for page in search.pages()] == [
        weeks(*range(0, 8)),
        weeks(*range(8, 16)),
        weeks(*range(16, 24)),
        weeks(*range(24, 30)),
    ]
    assert len(list(client.search(method=method, collections=[FLOODS], limit=8, max_items=13).items())) == 13


def test_a_collection_leads_to_its_items(client: Client) -> None:
    collection = client.get_collection(FLOODS)
    assert collection.title == "Floods by ana.lee"
    assert len(list(collection.get_items())) == WEEKS
    item = collection.get_item("flood-07")
    assert item.properties["maap:username"] == "ana.lee"
    assert item.get_collection().id == FLOODS


def test_queryables_tell_what_can_be_filtered_by(client: Client) -> None:
    everywhere = client.get_queryables()["properties"]
    here = client.get_collection(FLOODS).get_queryables()["properties"]
    for name in ("maap:username", "maap:algorithm", "maap:algorithm_version", "maap:tag", "maap:job_time"):
        assert everywhere[name]["type"] == here[name]["type"] == "string", name
        assert everywhere[name]["title"], name
    assert client.get_merged_queryables([FLOODS, TRACKS])["properties"].keys() >= {"maap:username", "id"}


def test_the_client_believes_what_the_api_conforms_to(client: Client) -> None:
    for wanted in (
        ConformanceClasses.CORE,
        ConformanceClasses.COLLECTIONS,
        ConformanceClasses.FEATURES,
        ConformanceClasses.ITEM_SEARCH,
        ConformanceClasses.FILTER,
        ConformanceClasses.QUERY,
        ConformanceClasses.SORT,
        ConformanceClasses.FIELDS,
        ConformanceClasses.COLLECTION_SEARCH,
        ConformanceClasses.COLLECTION_SEARCH_FREE_TEXT,
    ):
        assert client.conforms_to(wanted), wanted
