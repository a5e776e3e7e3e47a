"""Reading a job: what is told about it, its items, and those documents that cannot be read."""

from __future__ import annotations

import hashlib
import json

import pytest

from maap_stac_orchestration.pipeline.read import read_jobs
from maap_stac_orchestration.problems import Code
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.store.objects import (
    StoreUnavailable,
)
from tests.unit.pipeline.reading import (
    BUCKET,
    NOW,
    PREFIX,
    SIDECAR,
    Memory,
    catalog,
    claim,
    collection,
    ids,
    item,
    memory,
    problems,
    read,
)


def test_a_job_gives_its_items_metadata_and_pins():
    store = memory({"catalog.json": catalog(("item", "./x/x.json")), "x/x.json": item("x", collection="wanted")})

    job = read(store)

    assert job.problems == ()
    assert not job.awaiting
    assert ids(job) == ["x"]
    assert job.items[0].requested_collection == "wanted"
    assert job.metadata_username == "u"
    assert job.job is not None
    assert (job.job.username, job.job.algorithm, job.job.version, job.job.tag) == ("u", "a", "v1", "tag")
    assert [pin.key for pin in job.pins] == [PREFIX + name for name in (SIDECAR, "catalog.json", "x/x.json")]
    for pin in job.pins:
        data = store.objects[pin.key]
        assert pin.sha256 == hashlib.sha256(data).hexdigest()
        assert (pin.etag, pin.version_id, pin.size) == (f"etag-of-{pin.key}", "version", len(data))
    assert job.items[0].source == job.pins[-1]


def test_what_was_mended_is_told_with_the_item():
    one = item(
        "x",
        properties={"datetime": "2025-01-01T02:00:00+02:00"},
        assets={"data": {"href": "/tmp/output/x.tif"}},
    )
    documents = {"catalog.json": catalog(("item", "x.json"), ("item", "y.json")), "x.json": one, "y.json": item("y")}

    x, y = read(memory({**documents, "x.tif": b""})).items

    assert x.document["properties"]["datetime"] == "2025-01-01T00:00:00Z"
    assert x.document["assets"]["data"]["href"] == f"s3://{BUCKET}/{PREFIX}x.tif"
    assert ["datetime" in x.repairs[0], "/tmp/output/x.tif" in x.repairs[1]] == [True, True]
    assert y.repairs == ()


@pytest.mark.parametrize(
    ("name", "document", "code", "detail"),
    [
        ("bad.json", b"{", Code.ITEM_UNREADABLE, "JSON"),
        ("bad.json", b"", Code.ITEM_UNREADABLE, "empty"),
        ("bad.json", b"[1]", Code.ITEM_UNREADABLE, "array"),
        ("bad.json", b"\xff", Code.ITEM_UNREADABLE, "UTF-8"),
        ("bad.json", json.dumps(item("x")).encode()[:-20], Code.ITEM_UNREADABLE, "JSON"),
        ("bad.json", {"type": "FeatureCollection", "features": [item("y")]}, Code.ITEM_INVALID, "FeatureCollection"),
        ("bad.json", catalog(), Code.ITEM_INVALID, "rel=child"),
        ("bad.json", collection(), Code.ITEM_INVALID, "rel=child"),
        ("bad.json", {}, Code.ITEM_INVALID, "no type"),
        ("bad.json", {"type": "Table\0"}, Code.ITEM_INVALID, "Its type is"),
        ("bad.json", item("bad", links=3), Code.ITEM_INVALID, "links"),
        ("bad.json", item("bad", geometry="x"), Code.GEOMETRY_INVALID, "geometry"),
        ("bad.json", item("a/b"), Code.ITEM_ID_UNSAFE, ""),
        ("bad.json", item("bad", collection=3), Code.ITEM_INVALID, "collection"),
    ],
)
def test_a_broken_item_does_not_lose_its_siblings(name, document, code, detail):
    links = [("item", "one.json"), ("item", "bad.json"), ("item", "two.json")]
    store = memory({"catalog.json": catalog(*links), name: document, "one.json": item("1"), "two.json": item("2")})

    job = read(store)

    assert ids(job) == ["1", "2"]
    assert [problem.code for problem in job.problems] == [code]
    assert detail in " ".join(problem.detail for problem in job.problems)
    assert all("\0" not in problem.message for problem in job.problems)


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b"{", Code.CATALOG_UNREADABLE),
        (b"[]", Code.CATALOG_UNREADABLE),
        (item("x"), Code.NOT_A_CATALOG),
        ({"type": "FeatureCollection", "features": []}, Code.NOT_A_CATALOG),
        ({"hello": "world"}, Code.NOT_A_CATALOG),
        (catalog(links="x"), Code.CATALOG_INVALID),
        (catalog(links=[{"rel": "item"}]), Code.CATALOG_INVALID),
        (catalog(description=None), Code.CATALOG_INVALID),
    ],
)
@pytest.mark.parametrize("name", ["catalog.json", "sub/catalog.json"])
def test_a_broken_catalog_is_told(document, code, name):
    root = catalog(("child", "sub/catalog.json"), ("item", "x.json"))
    store = memory({"catalog.json": root, "x.json": item("x"), name: document})

    job = read(store)

    assert (code, name) in problems(job)
    assert ids(job) == (["x"] if name != "catalog.json" else [])


def test_of_items_with_one_id_the_first_in_link_order_is_kept():
    store = memory(
        {
            "catalog.json": catalog(("child", "a.json"), ("item", "x2.json"), ("item", "x3.json")),
            "a.json": catalog(("item", "x1.json")),
            "x1.json": item("x"),
            "x2.json": item("x"),
            "x3.json": item("x"),
        }
    )

    job = read(store)

    assert [one.source.key.removeprefix(PREFIX) for one in job.items] == ["x1.json"]
    assert problems(job) == [(Code.ITEM_DUPLICATE, "x2.json"), (Code.ITEM_DUPLICATE, "x3.json")]
    assert "The id is x" in job.problems[0].detail


def test_a_refused_item_does_not_take_its_id_away_from_the_next():
    store = memory(
        {
            "catalog.json": catalog(("item", "x1.json"), ("item", "x2.json")),
            "x1.json": item("x", properties={}),
            "x2.json": item("x"),
        }
    )

    job = read(store)

    assert [one.source.key.removeprefix(PREFIX) for one in job.items] == ["x2.json"]
    assert Code.ITEM_DUPLICATE not in {problem.code for problem in job.problems}


def test_the_jobs_of_a_batch_do_not_touch_each_other():
    prefixes = [f"u/dps_output/a/v1/2025/08/19/09/59/01/{number:06}/" for number in range(40)]
    store = Memory({})
    for number, prefix in enumerate(prefixes):
        links = [("item", f"{one}.json") for one in range(5)]
        documents = {f"{one}.json": item(f"{number}-{one}") for one in range(5)}
        if number % 3 == 0:
            documents["2.json"] = b"{"
        store.objects |= memory({"catalog.json": catalog(*links), **documents}, prefix=prefix).objects

    jobs = read_jobs([claim(prefix) for prefix in prefixes], store, Settings(max_concurrency=7), NOW)

    assert [job.claim.prefix for job in jobs] == prefixes
    for number, job in enumerate(jobs):
        expected = [f"{number}-{one}" for one in range(5) if number % 3 or one != 2]
        assert ids(job) == expected
        assert len(job.problems) == (0 if number % 3 else 1)
    assert store.most <= 7
    assert set(store.listed.values()) == {1}


def test_a_store_that_fails_fails_the_batch_with_its_own_words():
    failing = StoreUnavailable("s3://bucket/x cannot be read. Renew the credentials.")
    prefix = PREFIX.replace("tag", "other")
    store = memory(
        {"catalog.json": catalog(("item", "x.json"), ("item", "y.json")), "x.json": item("x"), "y.json": item("y")},
        broken={f"{PREFIX}x.json": failing},
    )
    store.objects |= memory({"catalog.json": catalog()}, prefix=prefix).objects

    with pytest.raises(StoreUnavailable, match="Renew the credentials"):
        read_jobs([claim(prefix), claim()], store, Settings(), NOW)


def test_no_claims_are_no_work():
    assert read_jobs([], Memory({}), Settings(), NOW) == []


async def test_a_check_that_fails_in_an_unforeseen_way_costs_one_document(monkeypatch):
    from maap_stac_orchestration.pipeline import read as module

    real = module.prepare_item

    def failing(document, **how):
        if document["id"] == "odd":
            raise ZeroDivisionError
        return real(document, **how)

    monkeypatch.setattr(module, "prepare_item", failing)
    store = memory(
        {"catalog.json": catalog(("item", "o.json"), ("item", "x.json")), "o.json": item("odd"), "x.json": item("x")}
    )

    [job] = await module.read_all([claim()], store, Settings(), NOW)

    assert ids(job) == ["x"]
    assert problems(job) == [(Code.ITEM_INVALID, "o.json")]
    assert "ZeroDivisionError" in job.problems[0].detail

    monkeypatch.setattr(module, "core_errors", failing)
    [job] = await module.read_all([claim()], store, Settings(), NOW)

    assert ids(job) == ["x"]
    assert problems(job) == [(Code.CATALOG_INVALID, "catalog.json"), (Code.ITEM_INVALID, "o.json")]
