"""Which documents of a job are read, in which order, and within which bounds."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from maap_stac_orchestration.problems import Code, Severity
from maap_stac_orchestration.store.objects import (
    ObjectInfo,
    ObjectMissing,
    ObjectTooLarge,
    ObjectUnreadable,
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


def test_the_order_is_that_of_the_links_depth_first():
    store = memory(
        {
            "catalog.json": catalog(("item", "i1.json"), ("child", "a/catalog.json"), ("item", "i2.json")),
            "a/catalog.json": catalog(("child", "b/collection.json"), ("item", "../i3.json")),
            "a/b/collection.json": collection(("item", "i4.json"), ("item", "../../i2.json"), id="b"),
            "a/b/i4.json": item("i4"),
            **{f"i{number}.json": item(f"i{number}") for number in (1, 2, 3)},
        }
    )

    job = read(store)

    assert ids(job) == ["i1", "i4", "i2", "i3"]
    assert [one["id"] for one in job.collections] == ["b"]
    assert [pin.key.removeprefix(PREFIX) for pin in job.pins[1:]] == [
        "catalog.json",
        "i1.json",
        "a/catalog.json",
        "a/b/collection.json",
        "a/b/i4.json",
        "i2.json",
        "i3.json",
    ]
    assert job.problems == ()


def test_each_document_is_read_once_however_many_links_lead_to_it():
    store = memory(
        {
            "catalog.json": catalog(("child", "a.json"), ("child", "b.json"), ("item", "x.json")),
            "a.json": catalog(("item", "x.json"), ("child", "b.json")),
            "b.json": catalog(("item", "./x.json"), ("item", f"s3://{BUCKET}/{PREFIX}x.json")),
            "x.json": item("x"),
        }
    )

    job = read(store)

    assert ids(job) == ["x"]
    assert job.problems == ()
    assert set(store.fetched.values()) == {1}
    assert set(store.listed.values()) == {1}


def test_links_upwards_are_a_warning_and_end_there():
    store = memory(
        {
            "catalog.json": catalog(("child", "a.json"), ("child", "catalog.json")),
            "a.json": catalog(("child", "b.json")),
            "b.json": catalog(("child", "./a.json"), ("child", "catalog.json"), ("item", "x.json")),
            "x.json": item("x"),
        }
    )

    job = read(store)

    assert ids(job) == ["x"]
    assert problems(job) == [
        (Code.LINK_CYCLE, "./a.json"),
        (Code.LINK_CYCLE, "catalog.json"),
        (Code.LINK_CYCLE, "catalog.json"),
    ]
    assert {problem.severity for problem in job.problems} == {Severity.WARNING}
    assert f"It stands in {PREFIX}b.json and leads to {PREFIX}a.json." in job.problems[0].message


def test_links_out_of_the_job_are_told_and_never_opened():
    hrefs = ["http://h/x.json", "file:///etc/passwd", "../x.json", "s3://other/x.json", f"s3://{BUCKET}/v/x.json"]
    store = memory(
        {"catalog.json": catalog(*[("item", href) for href in hrefs], ("item", "x.json")), "x.json": item("x")}
    )
    store.objects["v/x.json"] = store.objects[f"{PREFIX}../x.json"] = b"{}"

    job = read(store)

    assert ids(job) == ["x"]
    assert problems(job) == [(Code.LINK_OUTSIDE_JOB, href) for href in hrefs]
    assert set(store.fetched) == {PREFIX + name for name in (SIDECAR, "catalog.json", "x.json")}


def test_root_parent_self_and_other_links_are_not_followed():
    others = [(rel, "y.json") for rel in ("root", "parent", "self", "items", "next", "derived_from")]
    store = memory({"catalog.json": catalog(*others), "y.json": item("y")})

    job = read(store)

    assert job.items == ()
    assert job.problems == ()
    assert f"{PREFIX}y.json" not in store.fetched


def test_a_name_with_a_percent_sign_is_found_as_it_is_and_as_it_is_decoded():
    store = memory(
        {
            "catalog.json": catalog(("item", "a%20b.json"), ("item", "50%25.json"), ("item", "q?.json")),
            "a b.json": item("decoded"),
            "50%25.json": item("literal"),
            "q?.json": item("mark"),
        }
    )

    assert ids(read(store)) == ["decoded", "literal", "mark"]


class TestTheRoot:
    def test_the_root_catalog_is_the_only_root(self):
        store = memory(
            {
                "catalog.json": catalog(("item", "x.json")),
                "x.json": item("x"),
                "not-linked/catalog.json": catalog(("item", "y.json")),
                "not-linked/y.json": item("y"),
            }
        )

        job = read(store)

        assert ids(job) == ["x"]
        assert job.problems == ()
        assert f"{PREFIX}not-linked/catalog.json" not in store.fetched

    def test_without_one_each_catalog_that_no_other_leads_to_is(self):
        store = memory(
            {
                "b/catalog.json": catalog(("item", "b.json")),
                "b/b.json": item("b"),
                "a/catalog.json": catalog(("item", "a.json"), ("child", "mid/collection.json")),
                "a/a.json": item("a"),
                "a/mid/collection.json": collection(("child", "deep/catalog.json")),
                "a/mid/deep/catalog.json": catalog(("item", "d.json")),
                "a/mid/deep/d.json": item("d"),
            }
        )

        job = read(store)

        assert ids(job) == ["a", "d", "b"]
        assert job.problems == ()
        assert set(store.fetched.values()) == {1}

    def test_a_deeper_one_may_lead_to_one_nearer_to_the_root(self):
        store = memory(
            {
                "a/catalog.json": catalog(("item", "a.json")),
                "a/a.json": item("a"),
                "b/c/catalog.json": catalog(("item", "b.json"), ("child", "../../a/catalog.json")),
                "b/c/b.json": item("b"),
            }
        )

        job = read(store)

        assert ids(job) == ["b", "a"]
        assert job.problems == ()

    def test_of_a_ring_of_catalogs_the_first_is_the_root(self):
        store = memory(
            {
                "a/catalog.json": catalog(("item", "x.json"), ("child", "../b/catalog.json")),
                "a/x.json": item("x"),
                "b/catalog.json": catalog(("item", "y.json"), ("child", "../a/catalog.json")),
                "b/y.json": item("y"),
            }
        )

        job = read(store)

        assert ids(job) == ["x", "y"]
        assert problems(job) == [(Code.LINK_CYCLE, "../a/catalog.json")]

    def test_a_root_collection_is_a_root_too(self):
        store = memory({"catalog.json": collection(("item", "x.json")), "x.json": item("x")})

        job = read(store)

        assert ids(job) == ["x"]
        assert [one["id"] for one in job.collections] == ["c"]

    def test_a_catalog_that_vanished_is_missing(self):
        for store in (
            memory({"data.tif": b""}),
            memory({"catalog.json": catalog()}, broken={f"{PREFIX}catalog.json": ObjectMissing(BUCKET, "x")}),
        ):
            job = read(store, job=claim(wait_until=NOW + timedelta(minutes=1)))

            assert problems(job) == [(Code.CATALOG_MISSING, "catalog.json")]
            assert not job.awaiting

    def test_an_empty_catalog_is_no_problem(self):
        job = read(memory({"catalog.json": catalog()}))

        assert job.items == ()
        assert job.problems == ()


class TestBounds:
    def chain(self, levels: int) -> Memory:
        documents = {"catalog.json": catalog(("item", "i0.json"), ("child", "c1.json")), "i0.json": item("i0")}
        for level in range(1, levels):
            documents[f"c{level}.json"] = catalog(("item", f"i{level}.json"), ("child", f"c{level + 1}.json"))
            documents[f"i{level}.json"] = item(f"i{level}")
        documents[f"c{levels}.json"] = catalog()
        return memory(documents)

    def test_depth(self):
        job = read(self.chain(5), max_depth=2)

        assert ids(job) == ["i0", "i1"]
        assert problems(job) == [(Code.TOO_DEEP, "c2.json")]
        assert "At most 2 levels" in job.problems[0].detail
        assert read(self.chain(5), max_depth=6).problems == ()

    def test_a_very_deep_catalog_is_no_recursion(self):
        assert len(read(self.chain(1500), max_depth=2000).items) == 1500

    def test_number_of_documents(self):
        names = [f"i{number}.json" for number in range(100)]
        store = memory({"catalog.json": catalog(*[("item", name) for name in names]), **{n: item(n) for n in names}})

        job = read(store, max_items=3)

        assert ids(job) == names[:2]
        assert problems(job) == [(Code.TOO_MANY_ITEMS, "catalog.json")]
        assert "At most 3 documents of a job are read; 98 were left out." in job.problems[0].detail
        assert read(store, max_items=101).problems == ()

    def test_bytes_of_a_document(self):
        large = item("large", properties={"datetime": "2025-01-01T00:00:00Z", "x": "x" * 3000})
        links = [("item", "large.json"), ("item", "x.json")]
        store = memory({"catalog.json": catalog(*links), "large.json": large, "x.json": item("x")})

        job = read(store, max_document_bytes=2000)

        assert ids(job) == ["x"]
        assert problems(job) == [(Code.TOO_LARGE, "large.json")]
        assert f"{PREFIX}large.json" not in store.fetched

    def test_a_document_that_grew_since_it_was_listed(self):
        key = f"{PREFIX}x.json"
        store = memory(
            {"catalog.json": catalog(("item", "x.json")), "x.json": item("x")},
            broken={key: ObjectTooLarge(BUCKET, key, 99999, 2000)},
        )

        job = read(store, max_document_bytes=2000)

        assert problems(job) == [(Code.TOO_LARGE, "x.json")]
        assert "It has 99999 bytes" in job.problems[0].detail

    def test_bytes_of_a_job(self):
        names = [f"i{number}.json" for number in range(10)]
        store = memory({"catalog.json": catalog(*[("item", name) for name in names]), **{n: item(n) for n in names}})
        sizes = [len(store.objects[f"{PREFIX}{name}"]) for name in ["catalog.json", *names]]

        job = read(store, max_job_bytes=sum(sizes[:4]))

        assert ids(job) == names[:3]
        assert problems(job) == [(Code.TOO_LARGE, "i3.json")]
        assert "7 were left out" in job.problems[0].detail

    def test_time(self, monkeypatch):
        names = [f"i{number}.json" for number in range(10)]
        store = memory({"catalog.json": catalog(*[("item", name) for name in names]), **{n: item(n) for n in names}})

        job = read(store, max_job_seconds=1e-9)

        assert ids(job) == []
        assert problems(job) == [(Code.TOO_MANY_ITEMS, "catalog.json")]
        assert "Reading stopped after 1e-09 s" in job.problems[0].detail

    def test_a_listing_without_end_is_given_up(self):
        class Endless(Memory):
            async def list(self, bucket: str, prefix: str) -> list[ObjectInfo]:
                await asyncio.Event().wait()
                return []

        job = read(Endless({}), max_job_seconds=0.01)

        assert problems(job) == [(Code.TOO_MANY_ITEMS, "catalog.json")]
        assert "Listing its objects took longer than 0.01 s" in job.problems[0].detail

    def test_an_object_that_nobody_can_read_is_told(self):
        key = f"{PREFIX}x.json"
        store = memory(
            {"catalog.json": catalog(("item", "x.json")), "x.json": item("x")},
            broken={key: ObjectUnreadable(BUCKET, key, "It is archived.")},
        )

        job = read(store)

        assert problems(job) == [(Code.ITEM_UNREADABLE, "x.json")]
        assert "It is archived." in job.problems[0].detail


graphs = st.dictionaries(
    st.integers(0, 5), st.lists(st.tuples(st.sampled_from(["item", "child"]), st.integers(0, 9)), max_size=6)
)


@hypothesis_settings(max_examples=60, deadline=None)
@given(graphs, st.integers(0, 2**32), st.integers(1, 8), st.integers(1, 12), st.integers(1, 4))
def test_the_result_does_not_depend_on_what_arrives_first(graph, seed, concurrency, max_items, max_depth):
    documents: dict[str, Any] = {f"{number}.json": item(f"i{number % 3}") for number in range(6, 9)}
    for number in range(6):
        links = [(rel, f"{target}.json") for rel, target in graph.get(number, [])]
        documents[f"{number}.json" if number else "catalog.json"] = catalog(*links)
    bounds = {"max_items": max_items, "max_depth": max_depth}

    calm = read(memory(documents), **bounds)
    wild_store = memory(documents, seed=seed)
    wild = read(wild_store, max_concurrency=concurrency, **bounds)

    assert wild == calm
    assert set(wild_store.fetched.values()) <= {1}
    assert wild_store.most <= concurrency
    assert len(wild.pins) - 1 <= max_items
    assert all(pin.key.startswith(PREFIX) for pin in wild.pins)
