"""Collections that people write: what is kept, and what is said of what cannot be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.catalog.collection import LONGEST_WORDS
from maap_stac_orchestration.catalog.curated import NotUsable, curated_collection
from maap_stac_orchestration.catalog.schema import core_errors


def collection(**changes: Any) -> dict[str, Any]:
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": "floods",
        "description": "Flooded areas",
        "license": "CC-BY-4.0",
        "extent": extent(),
        "links": [],
    } | changes


def extent(*boxes: Any, intervals: Any = (["2024-01-01T00:00:00Z", None],)) -> dict[str, Any]:
    return {
        "spatial": {"bbox": list(boxes) or [[-10, 40, 5, 50]]},
        "temporal": {"interval": [list(one) for one in intervals]},
    }


def boxes(*given: Any) -> Any:
    return curated_collection(collection(extent=extent(*given)))["extent"]["spatial"]["bbox"]


def intervals(*given: Any) -> Any:
    return curated_collection(collection(extent=extent(intervals=given)))["extent"]["temporal"]["interval"]


def test_a_valid_collection_stays_as_it_is() -> None:
    whole = collection(title="Floods", summaries={"gsd": [10]}, **{"sci:doi": "10.5281/zenodo.1"})
    assert curated_collection(whole) == whole


def test_what_is_missing_of_the_links_is_no_fault() -> None:
    given = collection()
    del given["links"]
    assert curated_collection(given)["links"] == []


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([[-10, 40, -500, 5, 50, 9000]], [[-10, 40, 5, 50]]),
        ([[-180.0005, -90.0005, 180.0005, 90.0005]], [[-180, -90, 180, 90]]),
        ([[170, -20, -170, 20]], [[-180, -20, 180, 20], [170, -20, 180, 20], [-180, -20, -170, 20]]),
        (
            [[-180, -20, 180, 20], [0, 0, 10, 10], [170, -20, -170, 20]],
            [[-180, -20, 180, 20], [0, 0, 10, 10], [170, -20, -170, 20]],
        ),
    ],
)
def test_boxes_are_written_so_that_the_database_reads_them_right(given: Any, kept: Any) -> None:
    assert boxes(*given) == kept


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["2024-01-01T02:00:00+02:00", None], ["2024-01-01T00:00:00Z", None]),
        ([None, "2024-01-01t00:00:00.1234567z"], [None, "2024-01-01T00:00:00.123456Z"]),
        ([None, None], [None, None]),
    ],
)
def test_times_are_written_in_utc(given: Any, kept: Any) -> None:
    assert intervals(given) == [kept]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["2024-01-01", None], "RFC 3339"),
        (["10000-01-01T00:00:00Z", None], "RFC 3339"),
        (["9999-06-01T00:00:00Z", None], "years 1 to 9998"),
        (["2024-01-02T00:00:00Z", "2024-01-01T00:00:00Z"], "before the start"),
        ([4, None], "a time is a text"),
        ([None], "a start and an end"),
    ],
)
def test_times_that_the_database_cannot_keep_are_named(given: Any, why: str) -> None:
    with pytest.raises(NotUsable, match=why):
        intervals(given)


@pytest.mark.parametrize(
    "broken", [None, [], {}, {"spatial": 4}, {"spatial": {"bbox": 4}, "temporal": {"interval": "x"}}]
)
def test_an_extent_that_is_none_is_told_in_sentences(broken: Any) -> None:
    with pytest.raises(NotUsable, match=r"extent/spatial/bbox: .* extent/temporal/interval: "):
        curated_collection(collection(extent=broken))


def test_words_that_would_break_every_free_text_search_are_refused() -> None:
    most = LONGEST_WORDS - 1
    assert curated_collection(collection(title="x", description="y" * (most - 1)))
    for words in (
        {"description": "y" * (LONGEST_WORDS + 1)},
        {"title": "x" * 60_000, "description": "y" * 60_000},
        {"keywords": ["word"] * 30_000},
    ):
        with pytest.raises(NotUsable, match="bytes together"):
            curated_collection(collection(**words))


@pytest.mark.parametrize(
    "href", ["javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "file:///x", "./x.json", "/x", "//x"]
)
def test_links_lead_to_addresses_that_others_can_follow(href: str) -> None:
    with pytest.raises(NotUsable, match="link number 1"):
        curated_collection(collection(links=[{"rel": "about", "href": href}]))
    # What the API makes itself is left out, wherever it leads.
    assert curated_collection(collection(links=[{"rel": "self", "href": href}]))["links"] == []


@pytest.mark.parametrize(
    "href", ["http://127.0.0.1/x", "https://localhost/x", "/vsicurl/http://x", "file:///x", "x.png"]
)
def test_assets_lead_to_addresses_that_others_can_open(href: str) -> None:
    with pytest.raises(NotUsable, match="asset 'thumbnail'"):
        curated_collection(collection(assets={"thumbnail": {"href": href}}))


@pytest.mark.parametrize("href", ["https://example.org/x.png", "s3://bucket/x.png"])
def test_public_assets_are_kept(href: str) -> None:
    assert curated_collection(collection(assets={"thumbnail": {"href": href}}))["assets"]["thumbnail"]["href"] == href


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
MEMBERS = [*collection(), "title", "keywords", "providers", "summaries", "assets", "item_assets", "stac_extensions"]


def kept_or_told(document: dict[str, Any]) -> dict[str, Any] | str:
    try:
        return curated_collection(document)
    except NotUsable as error:
        return str(error)


@given(st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=3))
def test_whatever_is_sent_is_a_valid_collection_or_a_sentence(changes: dict[str, Any]) -> None:
    kept = kept_or_told(collection(**changes))
    if isinstance(kept, str):
        assert kept.isprintable()
        assert kept.endswith((".", "…"))
    else:
        assert core_errors(kept) == []
        assert all(len(box) == 4 for box in kept["extent"]["spatial"]["bbox"])
