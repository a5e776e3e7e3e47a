"""What a collection says of its items follows them, in a real pgstac and ledger, and nobody's words are lost by it."""

from __future__ import annotations

import threading
from typing import Any

import orjson
import psycopg
import pytest
from psycopg.types.json import Jsonb

from maap_stac_orchestration.catalog.schema import core_errors
from maap_stac_orchestration.governance.curation import Person
from maap_stac_orchestration.ledger import collections as known_collections
from maap_stac_orchestration.ledger.changes import Author, Via
from maap_stac_orchestration.pgstac import samples
from maap_stac_orchestration.pgstac.items import delete, load, lock_writers, whole
from maap_stac_orchestration.pipeline.curate import patch_collection, replace_collection
from maap_stac_orchestration.pipeline.upkeep import Upkeep, refresh_collections
from tests.integration.pipeline.batches import SETTINGS, Written, document, ingest
from tests.integration.pipeline.test_collections_of_jobs import DEFAULT, content, curate, job, one, own

Connection = psycopg.Connection[Any]
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
RENDER = "https://stac-extensions.github.io/render/v2.0.0/schema.json"
OWNER = Person("henrydevseed", admin=False)
AUTHOR = Author("henrydevseed", Via.API, "to try it")
COMPUTED = ("summaries", "item_assets", "renders")


def image(color: str, **changed: Any) -> dict[str, Any]:
    statistics = {"mean": 1000.0, "stddev": 500.0, "minimum": 0.0, "maximum": 4000.0}
    band = {"data_type": "int16", "nodata": -9999, "statistics": statistics}
    return {
        "href": f"s3://maap-ops-workspace/{color}.tif",
        "type": COG,
        "roles": ["data"],
        "title": color.capitalize(),
        "raster:bands": [band],
        **changed,
    }


def mosaic(id: str, **properties: Any) -> dict[str, Any]:
    """An item with three bands."""
    return document(id, **properties) | {"assets": {color: image(color) for color in ("red", "green", "blue")}}


def loaded(connection: Connection, *items: dict[str, Any], minute: int = 0, own: Any = ()) -> None:
    ingest(connection, [Written(list(items), minute=minute, collections=own)], run_id=f"run-{minute}")


def upkeep(connection: Connection, id: str = DEFAULT) -> Upkeep:
    (done,) = refresh_collections(connection, [id])
    return done


def given_out(connection: Connection, id: str = DEFAULT) -> list[Any]:
    """All items as the API gives them."""
    rows = connection.execute("SELECT pgstac.get_item(id, collection) FROM pgstac.items ORDER BY id").fetchall()
    connection.rollback()
    return [row[0] for row in rows]


def row_version(connection: Connection) -> Any:
    row = connection.execute("SELECT xmin::text FROM pgstac.collections WHERE id = %s", (DEFAULT,)).fetchone()
    connection.rollback()
    return row


def test_a_collection_tells_what_its_items_are_and_how_they_are_shown(connection: Connection) -> None:
    loaded(connection, mosaic("a", platform="landsat-8"), mosaic("b", platform="landsat-9"))
    done = upkeep(connection)
    found = content(connection)
    assert done.document == found
    assert (done.items, done.looked_at) == (2, 2)
    assert {"summaries", "item_assets", "renders", "stac_extensions"} <= set(done.changed)
    assert found["summaries"]["platform"] == ["landsat-8", "landsat-9"]
    assert found["summaries"]["maap:username"] == ["henrydevseed"]
    assert found["item_assets"]["red"]["title"] == "Red"
    assert found["renders"]["true-color"]["rescale"] == [[0, 2000]] * 3
    assert RENDER in found["stac_extensions"]
    assert core_errors(found) == []
    assert {done.written_by[field] for field in COMPUTED} == {"items"}


def test_upkeep_again_writes_nothing(connection: Connection) -> None:
    loaded(connection, mosaic("a"))
    upkeep(connection)
    before, version = content(connection), row_version(connection)
    assert upkeep(connection).changed == ()
    loaded(connection, mosaic("b"), minute=1)
    assert upkeep(connection).changed == ()
    assert (content(connection), row_version(connection)) == (before, version)


def test_items_are_given_out_as_they_were_written_whatever_the_collection_says_of_them(connection: Connection) -> None:
    odd = mosaic("b") | {"assets": {"red": image("red", roles=["data", "x"]), "other": {"href": "s3://b/o"}}}
    loaded(connection, mosaic("a"), odd)
    before = given_out(connection)
    upkeep(connection)
    assert given_out(connection) == before
    # These are kept as what differs from what the collection says.
    loaded(connection, mosaic("c"), odd | {"id": "d"}, minute=1)
    upkeep(connection)
    loaded(connection, document("e"), minute=2)
    upkeep(connection)
    after = {item["id"]: item for item in given_out(connection)}
    assert [after["a"], after["b"]] == before
    assert (after["c"]["assets"], after["d"]["assets"]) == (before[0]["assets"], before[1]["assets"])
    assert after["e"]["assets"] == document("e")["assets"]


def test_what_was_taken_apart_is_looked_at_as_a_whole(connection: Connection) -> None:
    told = {color: {"type": COG, "roles": ["data"], "title": "Another"} for color in ("red", "green", "nir")}
    loaded(connection, mosaic("a"), own=(own(item_assets=told),))
    upkeep(connection)
    loaded(connection, mosaic("b"), minute=1)
    assert given_out(connection)[0]["assets"] == mosaic("a")["assets"]
    with connection.transaction():
        sampled = {
            orjson.dumps(item["assets"], option=orjson.OPT_SORT_KEYS)
            for item in samples.sample_items(connection, DEFAULT)
        }
    assert sampled == {orjson.dumps(mosaic("a")["assets"], option=orjson.OPT_SORT_KEYS)}


def test_items_are_kept_whole_so_that_they_are_given_out_fast(connection: Connection) -> None:
    loaded(connection, mosaic("a"))
    upkeep(connection)
    loaded(connection, mosaic("b"), minute=1)
    rows = connection.execute("SELECT content -> 'assets', content ? 'pgstac:base_item' FROM pgstac.items").fetchall()
    assert rows == [(mosaic("a")["assets"], False)] * 2


def test_what_went_with_an_item_goes_from_the_collection(connection: Connection) -> None:
    loaded(connection, mosaic("a", platform="landsat-8"), document("b", platform="landsat-9"))
    upkeep(connection)
    with connection.transaction():
        lock_writers(connection, [DEFAULT])
        delete(connection, DEFAULT, ["a"])
    upkeep(connection)
    found = content(connection)
    assert found["summaries"]["platform"] == ["landsat-9"]
    assert "renders" not in found
    assert RENDER not in found["stac_extensions"]


def test_a_collection_without_items_tells_nothing_of_them(connection: Connection) -> None:
    loaded(connection, mosaic("a"))
    plain = content(connection)
    upkeep(connection)
    with connection.transaction():
        lock_writers(connection, [DEFAULT])
        delete(connection, DEFAULT, ["a"])
    upkeep(connection)
    found = content(connection)
    assert {name: found.get(name) for name in COMPUTED} == dict.fromkeys(COMPUTED)
    assert found["stac_extensions"] == plain["stac_extensions"]


def test_what_a_person_wrote_is_never_overwritten_by_upkeep(connection: Connection) -> None:
    loaded(connection, mosaic("a"))
    upkeep(connection)
    theirs = {"night": {"title": "By night", "assets": ["red"]}}
    patch_collection(connection, SETTINGS, OWNER, DEFAULT, {"renders": {"true-color": None, **theirs}}, AUTHOR)
    loaded(connection, document("b", platform="landsat-9"), minute=1)
    done = upkeep(connection)
    found = content(connection)
    assert found["renders"] == theirs
    assert found["summaries"]["platform"] == ["landsat-9"]
    assert (done.written_by["renders"], done.written_by["summaries"]) == ("person", "items")


def test_what_a_person_took_out_stays_out(connection: Connection) -> None:
    loaded(connection, mosaic("a"))
    upkeep(connection)
    patch_collection(connection, SETTINGS, OWNER, DEFAULT, {"summaries": None, "renders": None}, AUTHOR)
    loaded(connection, document("b", platform="landsat-9"), minute=1)
    upkeep(connection)
    assert not {"summaries", "renders"} & content(connection).keys()


def test_a_document_that_a_person_put_is_theirs_word_for_word(connection: Connection) -> None:
    loaded(connection, mosaic("a"))
    upkeep(connection)
    put = {name: value for name, value in content(connection).items() if name != "keywords"}
    replace_collection(connection, SETTINGS, OWNER, DEFAULT, put, AUTHOR)
    loaded(connection, document("b", platform="landsat-9"), minute=1)
    assert upkeep(connection).changed == ()
    assert {name: content(connection)[name] for name in COMPUTED} == {name: put[name] for name in COMPUTED}


def test_what_somebody_wrote_past_the_api_is_a_persons(connection: Connection) -> None:
    loaded(connection, mosaic("a"))
    curate(connection, summaries={"gsd": [30]})
    upkeep(connection)
    curate(connection, renders={"mine": {"assets": ["red"]}})
    upkeep(connection)
    assert content(connection)["summaries"] == {"gsd": [30]}
    assert content(connection)["renders"] == {"mine": {"assets": ["red"]}}


def test_a_jobs_own_document_stands_over_what_its_items_say(connection: Connection) -> None:
    words = {"summaries": {"gsd": [30]}, "renders": {"mine": {"assets": ["red"]}}, "stac_extensions": [RENDER]}
    loaded(connection, mosaic("a"))
    upkeep(connection)
    loaded(connection, mosaic("b"), minute=1, own=(own(**words),))
    done = upkeep(connection)
    found = content(connection)
    assert (found["summaries"], found["renders"]) == (words["summaries"], words["renders"])
    assert found["stac_extensions"].count(RENDER) == 1
    assert "red" in found["item_assets"]
    assert (done.written_by["renders"], done.written_by["item_assets"]) == ("job", "items")
    # What the job no longer says follows from the items again.
    loaded(connection, mosaic("c"), minute=2, own=(own(),))
    upkeep(connection)
    assert "true-color" in content(connection)["renders"]
    assert content(connection)["summaries"]["maap:username"] == ["henrydevseed"]


def test_a_job_that_says_nothing_of_it_leaves_what_follows_from_the_items(connection: Connection) -> None:
    one(connection, job(0, own(title="First")))
    upkeep(connection)
    before = content(connection)
    one(connection, job(1, own(title="Second")))
    after = content(connection)
    assert after["title"] == "Second"
    assert {name: after.get(name) for name in COMPUTED} == {name: before.get(name) for name in COMPUTED}
    assert after["summaries"]


def test_a_collection_from_before_has_its_extent_looked_after_alone(connection: Connection) -> None:
    before = own("before", title="From before")
    connection.execute("SELECT pgstac.create_collection(%s)", (Jsonb(before),))
    with connection.transaction():
        lock_writers(connection, ["before"])
        load(connection, "before", [mosaic("a") | {"collection": "before"}])
    connection.commit()
    assert upkeep(connection, "before").changed == ("extent",)
    after = content(connection, "before")
    assert {**after, "extent": None, "updated": None} == {**before, "extent": None, "updated": None}
    known_collections.changed(connection, ["before"])
    assert upkeep(connection, "before").changed == ()


def test_a_collection_that_is_gone_is_no_error(connection: Connection) -> None:
    assert upkeep(connection, "nowhere").document is None


@pytest.mark.parametrize(
    "geometry",
    ["POLYGON((300 0, 400 0, 400 1, 300 1, 300 0))", "POINT(NaN NaN)", "POINT(0 1e300)", "POLYGON EMPTY"],
)
def test_a_footprint_that_is_nowhere_on_earth_does_not_spoil_the_extent(connection: Connection, geometry: str) -> None:
    loaded(connection, mosaic("a"), document("b", west=5.0))
    upkeep(connection)
    extent = content(connection)["extent"]
    loaded(connection, document("c"), minute=1)
    connection.execute("UPDATE pgstac.items SET geometry = ST_SetSRID(%s::geometry, 4326) WHERE id = 'c'", (geometry,))
    connection.commit()
    still_the_extent(connection, extent)


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59Z", "infinity", "-infinity", "4000-01-01 BC", "20000-01-01"])
def test_a_time_that_no_document_can_name_does_not_spoil_the_extent(connection: Connection, moment: str) -> None:
    loaded(connection, mosaic("a"), document("b", west=5.0))
    upkeep(connection)
    extent = content(connection)["extent"]
    # As somebody else would, who checks nothing.
    written = Jsonb(document("c", moment=moment) | {"collection": DEFAULT})
    connection.execute("SELECT set_config('search_path', 'pgstac,public', true)")
    connection.execute("SELECT pgstac.create_item(%s)", (written,))
    connection.commit()
    still_the_extent(connection, extent)


def still_the_extent(connection: Connection, extent: Any) -> None:
    """Beside good items, and where there are no others."""
    assert "extent" not in upkeep(connection).changed
    assert content(connection)["extent"] == extent
    with connection.transaction():
        lock_writers(connection, [DEFAULT])
        delete(connection, DEFAULT, ["a", "b"])
    upkeep(connection)
    assert content(connection)["extent"] == extent


def test_items_too_large_to_be_looked_at_are_passed_over(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "_LARGEST", 5_000)
    huge = document("b", **{f"word-{number}": "x" * 50 for number in range(200)})
    loaded(connection, mosaic("a"), huge)
    done = upkeep(connection)
    assert (done.items, done.looked_at) == (2, 1)
    assert "word-1" not in content(connection)["summaries"]
    assert whole(connection, DEFAULT, ["b"])[0]["properties"]["word-1"] == "x" * 50


def test_the_same_items_are_looked_at_as_long_as_there_are_no_others(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "MOST_ITEMS", 10)
    loaded(connection, *(document(f"item-{number}", number=number) for number in range(50)))

    def looked_at() -> set[int]:
        with connection.transaction():
            return {item["properties"]["number"] for item in samples.sample_items(connection, DEFAULT)}

    first = looked_at()
    assert len(first) == 10
    assert looked_at() == first
    loaded(connection, document("another", number=50), minute=1)
    assert len(looked_at() - first) <= 1


def test_upkeep_loads_and_curators_do_not_lose_each_others_work(connection: Connection, database: str) -> None:
    loaded(connection, mosaic("a"))
    errors: list[BaseException] = []
    start = threading.Barrier(3)

    def looking_after(own_connection: Connection) -> None:
        for _ in range(15):
            refresh_collections(own_connection, [DEFAULT])

    def curating(own_connection: Connection) -> None:
        for number in range(10):
            patch_collection(
                own_connection,
                SETTINGS,
                OWNER,
                DEFAULT,
                {"x:number": number, "renders": {"mine": {"assets": ["red"], "title": str(number)}}},
                AUTHOR,
            )

    def loading(own_connection: Connection) -> None:
        for number in range(10):
            loaded(
                own_connection,
                mosaic(f"item-{number}", platform=f"p{number}"),
                minute=number + 1,
                own=(own(title=f"Title {number}"),),
            )

    def run(work: Any) -> None:
        try:
            with psycopg.connect(database) as own_connection:
                start.wait(30)
                work(own_connection)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=run, args=(work,)) for work in (looking_after, curating, loading)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not errors
    upkeep(connection)
    found = content(connection)
    assert (found["x:number"], found["renders"]["mine"]["title"], found["title"]) == (9, "9", "Title 9")
    assert len(found["summaries"]["platform"]) == 10
    assert upkeep(connection).changed == ()
