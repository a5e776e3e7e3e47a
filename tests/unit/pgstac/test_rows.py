"""Rows of items, against what pypgstac's Loader makes of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypgstac.load import Loader

from maap_stac_orchestration.pgstac.rows import BaseItem, NoRow, ewkb, row_of
from tests.integration.pgstac.stac import item
from tests.shared import sample_bucket

Document = dict[str, Any]

#: Of a collection that nobody edited, as they are made for default collections.
PLAIN = BaseItem({"type": "Feature", "stac_version": "1.1.0", "collection": "things", "assets": None}, None)
#: Of one that says of its items' assets that there is nothing to say.
EMPTY = BaseItem({"type": "Feature", "stac_version": "1.1.0", "collection": "things", "assets": {}}, None)
#: Of one that describes the assets of its items, and was edited.
DESCRIBING = BaseItem(
    {
        "type": "Feature",
        "stac_version": "1.0.0",
        "collection": "things",
        "assets": {
            "data": {"type": "image/tiff", "roles": ["data"], "title": "Data"},
            "other": {"roles": ["metadata"], "bands": [{"name": "b1"}, {"name": "b2"}]},
        },
        "stac_extensions": ["https://example.org/a.json"],
    },
    7,
)


class Reference(Loader):
    """pypgstac's Loader, told the base item instead of asking a database for it."""

    def __init__(self, base: BaseItem) -> None:
        super().__init__(None)  # type: ignore[arg-type]
        self._base = base

    def collection_json(self, collection_id: str) -> Any:  # type: ignore[override]
        return self._base.document, 1, None, self._base.number


def expected(document: Document, base: BaseItem) -> dict[str, Any] | None:
    """The row that pypgstac makes; None where it makes none, or one that the table does not take."""
    try:
        row = Reference(base).format_item(json.loads(json.dumps(document)))
    # It raises a bare Exception, and what its libraries raise besides.
    except Exception:  # noqa: BLE001
        return None
    row.pop("partition")
    return None if row["geometry"] is None else row


def made(document: Document, base: BaseItem) -> dict[str, Any] | None:
    try:
        row = row_of(document, base)
    except NoRow:
        return None
    private = None if row.private is None else row.private.decode()
    return row._asdict() | {"content": row.content.decode(), "private": private}


def samples(folder: Path) -> Iterator[Document]:
    for path in sorted(folder.rglob("*.json")):
        try:
            document = json.loads(path.read_bytes())
        except ValueError:
            continue
        if isinstance(document, dict) and document.get("type") == "Feature" and isinstance(document.get("id"), str):
            yield document | {"collection": "things"}


@pytest.mark.parametrize("base", [PLAIN, EMPTY, DESCRIBING])
def test_every_sample_item_is_the_row_that_pypgstac_makes(base: BaseItem) -> None:
    documents = list(samples(sample_bucket()))
    assert len(documents) > 50
    for document in documents:
        assert made(document, base) == expected(document, base), document["id"]


numbers = st.one_of(
    st.floats(), st.integers(-200, 200), st.just(10**400), st.booleans(), st.none(), st.text(max_size=1)
)
sound_numbers = st.one_of(st.floats(-180, 180), st.integers(-90, 90))
positions = st.one_of(
    st.lists(sound_numbers, min_size=2, max_size=2),
    st.lists(sound_numbers, min_size=2, max_size=3),
    st.lists(numbers, max_size=5),
)
rings = st.one_of(
    st.lists(st.lists(sound_numbers, min_size=2, max_size=2), min_size=1, max_size=6), st.lists(positions)
)
geometries = st.one_of(
    st.none(),
    st.builds(lambda at: {"type": "Point", "coordinates": at}, positions),
    st.builds(lambda at: {"type": "Polygon", "coordinates": at}, st.lists(rings, max_size=3)),
    st.builds(lambda at: {"type": "LineString", "coordinates": at}, rings),
    st.builds(lambda at: {"type": "MultiPoint", "coordinates": at}, rings),
    st.builds(
        lambda at: {"type": "MultiPolygon", "coordinates": at}, st.lists(st.lists(rings, max_size=2), max_size=2)
    ),
    st.builds(lambda at: {"type": "polygon", "coordinates": [at]}, rings),
    st.builds(
        lambda at: {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": one} for one in at]},
        st.lists(positions, max_size=2),
    ),
    st.just({"type": "Polygon"}),
    st.just({"type": "Point", "coordinates": "ab"}),
    st.just({"coordinates": [1, 2]}),
)


@given(geometries)
def test_every_geometry_is_written_as_plpygis_writes_it_or_refused_with_it(geometry: Any) -> None:
    document = item("one", geometry=geometry)
    assert made(document, PLAIN) == expected(document, PLAIN)


moments = st.one_of(
    st.none(),
    st.sampled_from(
        ("2024-06-01T00:00:00Z", "2024-06-01t00:00:00z", "2024-06-01T00:00:60Z", "0001-01-01T00:00:00+05:00", "soon")
    ),
    st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    st.datetimes().map(lambda moment: moment.isoformat() + "-03:30"),
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("datetime", "start_datetime", "end_datetime"), moments)))
def test_every_time_is_taken_as_pypgstac_takes_it(properties: Document) -> None:
    document = item("one", properties=properties)
    assert made(document, PLAIN) == expected(document, PLAIN)


values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=3) | st.just("𒍟※") | st.integers(-9, 9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab\\\n\t"), inner, max_size=3),
    max_leaves=8,
)
assets = st.dictionaries(
    st.sampled_from(("data", "other", "more")),
    st.dictionaries(st.sampled_from(("type", "roles", "title", "bands", "href")), values, max_size=4),
)


@given(
    st.fixed_dictionaries(
        {"assets": assets},
        optional={
            "stac_extensions": st.lists(st.sampled_from(("https://example.org/a.json", "https://example.org/b.json"))),
            "stac_version": st.sampled_from(("1.0.0", "1.1.0")),
            "private": values,
            "pgstac:base_item": st.integers(0, 9),
            "more": values,
            "bbox": st.none() | st.lists(sound_numbers, max_size=4),
        },
    )
)
@pytest.mark.parametrize("base", [PLAIN, EMPTY, DESCRIBING])
def test_what_the_collection_has_in_common_is_left_out_as_pypgstac_leaves_it_out(
    base: BaseItem, changes: Document
) -> None:
    document = item("one", **changes)
    assert made(document, base) == expected(document, base)


def test_what_postgres_could_take_for_its_own_marks_is_escaped() -> None:
    line = row_of(
        item("a\\b\tc\nd\re\\N", properties={"datetime": "2024-06-01T00:00:00Z", "title": '"\\'}), PLAIN
    ).line()
    columns = line.removesuffix(b"\n").split(b"\t")
    assert columns[0] == b"a\\\\b\\tc\\nd\\re\\\\N"
    assert rb'"title":"\\"\\\\"' in columns[5]
    assert (len(columns), columns[6], line.count(b"\n")) == (7, b"\\N", 1)


@pytest.mark.parametrize("id", ["a\0b", "\ud800"])
def test_an_id_that_no_text_column_holds_is_refused_before_it_is_sent(id: str) -> None:
    with pytest.raises(NoRow):
        row_of(item(id), PLAIN)


def test_a_number_that_is_none_stays_what_it_is() -> None:
    assert ewkb({"type": "Point", "coordinates": [math.inf, 1]}).endswith("000000000000f07f000000000000f03f")
