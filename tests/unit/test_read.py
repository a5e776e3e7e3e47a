"""Reading a job: which documents are read, in which order, and what is told about those that cannot be."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from maap_stac_orchestration.ledger.records import ClaimedJob
from maap_stac_orchestration.pipeline.batch import ReadJob
from maap_stac_orchestration.pipeline.read import read_jobs
from maap_stac_orchestration.problems import Code, Severity
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.store.objects import (
    Fetched,
    ObjectInfo,
    ObjectMissing,
    ObjectTooLarge,
    ObjectUnreadable,
    StoreUnavailable,
)

BUCKET = "bucket"
PREFIX = "u/dps_output/a/v1/tag/2025/08/19/09/59/01/262274/"
NOW = datetime(2025, 8, 19, 10, tzinfo=UTC)
SIDECAR = "output-2025-08-19T09:59:01.262274.met.json"
METADATA = {"username": "u", "algorithm_name": "a", "algorithm_version": "v1", "tag": "tag", "more": 1}


@dataclass
class Memory:
    """A bucket in memory that answers in any order, and counts what it is asked."""

    objects: dict[str, bytes]
    #: Keys that are listed and gone when they are fetched, or that raise something else.
    broken: dict[str, Exception] = field(default_factory=dict)
    seed: int | None = None
    listed: Counter[str] = field(default_factory=Counter)
    fetched: Counter[str] = field(default_factory=Counter)
    now: int = 0
    most: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    async def list(self, bucket: str, prefix: str) -> list[ObjectInfo]:
        self.listed[prefix] += 1
        async with self.under_way():
            return [self.info(key) for key in sorted(self.objects) if key.startswith(prefix)]

    async def get(self, bucket: str, key: str, max_bytes: int) -> Fetched:
        self.fetched[key] += 1
        async with self.under_way():
            if key in self.broken:
                raise self.broken[key]
            info = self.info(key)
            if info.size > max_bytes:
                raise ObjectTooLarge(bucket, key, info.size, max_bytes)
            return Fetched(info, self.objects[key])

    def info(self, key: str) -> ObjectInfo:
        return ObjectInfo(key, len(self.objects[key]), f"etag-of-{key}", NOW, "version")

    def under_way(self) -> Memory:
        return self

    async def __aenter__(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(0 if self.seed is None else self.random.randrange(4)):
            await asyncio.sleep(0)

    async def __aexit__(self, *_: object) -> None:
        self.now -= 1


def item(id: str, **changes: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": id,
        "geometry": {"type": "Point", "coordinates": [1, 2]},
        "bbox": [1, 2, 1, 2],
        "properties": {"datetime": "2025-01-01T00:00:00Z"},
        "links": [],
        "assets": {},
        **changes,
    }


def catalog(*links: tuple[str, str], **changes: Any) -> dict[str, Any]:
    return {
        "type": "Catalog",
        "stac_version": "1.1.0",
        "id": "c",
        "description": "d",
        "links": [{"rel": rel, "href": href} for rel, href in links],
        **changes,
    }


def collection(*links: tuple[str, str], **changes: Any) -> dict[str, Any]:
    extent = {"spatial": {"bbox": [[1, 2, 3, 4]]}, "temporal": {"interval": [["2025-01-01T00:00:00Z", None]]}}
    return catalog(*links, type="Collection", license="CC0-1.0", extent=extent, **changes)


def memory(documents: dict[str, Any], *, metadata: Any = METADATA, prefix: str = PREFIX, **how: Any) -> Memory:
    objects = {
        prefix + name: json.dumps(one).encode() if not isinstance(one, bytes) else one
        for name, one in documents.items()
    }
    if metadata is not None:
        objects[prefix + SIDECAR] = json.dumps(metadata).encode()
    return Memory(objects, **how)


def claim(prefix: str = PREFIX, **changes: Any) -> ClaimedJob:
    return ClaimedJob(
        **{
            "job_id": 1,
            "bucket": BUCKET,
            "prefix": prefix,
            "catalogs": {f"{prefix}catalog.json": "etag"},
            "catalog_modified": NOW - timedelta(hours=1),
            "wait_until": None,
            **changes,
        }
    )


def read(store: Memory, *, job: ClaimedJob | None = None, now: datetime = NOW, **settings: Any) -> ReadJob:
    [result] = read_jobs([job or claim()], store, Settings(**settings), now)
    return result


def ids(job: ReadJob) -> list[str]:
    return [one.id for one in job.items]


def problems(job: ReadJob) -> list[tuple[Code, str]]:
    return [(problem.code, problem.object.removeprefix(PREFIX)) for problem in job.problems]


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


class TestMetadata:
    DOCUMENTS: ClassVar = {"catalog.json": catalog(("item", "x.json"), ("item", "gone.json")), "x.json": item("x")}

    def test_while_it_may_still_arrive_no_document_is_read(self):
        store = memory(self.DOCUMENTS, metadata=None)

        job = read(store, job=claim(wait_until=NOW + timedelta(seconds=1)))

        assert job.awaiting
        assert problems(job) == [(Code.METADATA_MISSING, "")]
        assert job.job is None
        assert not store.fetched

    @pytest.mark.parametrize("wait_until", [None, NOW, NOW - timedelta(days=1)])
    def test_after_that_all_problems_are_told_and_no_items(self, wait_until):
        job = read(memory(self.DOCUMENTS, metadata=None), job=claim(wait_until=wait_until))

        assert not job.awaiting
        assert problems(job) == [(Code.METADATA_MISSING, ""), (Code.LINK_MISSING, "gone.json")]
        assert (job.job, job.items, job.metadata_username) == (None, (), None)

    def test_files_that_the_job_wrote_itself_do_not_count(self):
        documents = self.DOCUMENTS | {"sub/output-1.met.json": METADATA, "my.met.json": METADATA}

        job = read(memory(documents, metadata=None))

        assert job.problems[0].code is Code.METADATA_MISSING

    def test_two_are_too_many(self):
        job = read(memory(self.DOCUMENTS | {"outputs_result-1.met.json": METADATA}))

        assert job.problems[0].code is Code.METADATA_AMBIGUOUS
        assert "outputs_result-1.met.json" in job.problems[0].detail
        assert (job.job, job.items) == (None, ())

    @pytest.mark.parametrize("content", [b"{", b"[]", {"username": "u"}, METADATA | {"algorithm_version": 1}])
    def test_what_cannot_be_used_is_invalid(self, content):
        job = read(memory(self.DOCUMENTS | {SIDECAR: content}, metadata=None))

        assert problems(job)[0] == (Code.METADATA_INVALID, SIDECAR)
        assert (job.job, job.items) == (None, ())

    def test_one_that_cannot_be_had_is_told(self):
        key = PREFIX + SIDECAR
        for error, code in [
            (ObjectMissing(BUCKET, key), Code.METADATA_MISSING),
            (ObjectUnreadable(BUCKET, key, "archived"), Code.METADATA_INVALID),
            (ObjectTooLarge(BUCKET, key, 3, 2), Code.METADATA_INVALID),
        ]:
            assert read(memory(self.DOCUMENTS, broken={key: error})).problems[0].code is code

    def test_another_user_in_it_is_left_to_governance(self):
        job = read(memory(self.DOCUMENTS, metadata=METADATA | {"username": "someone"}))

        assert job.metadata_username == "someone"
        assert job.job is not None
        assert job.job.username == "u"
        assert ids(job) == ["x"]


class TestWaiting:
    def test_a_linked_document_may_still_arrive_until_the_deadline(self):
        store = memory({"catalog.json": catalog(("item", "gone.json"), ("item", "x.json")), "x.json": item("x")})

        early = read(store, job=claim(wait_until=NOW + timedelta(seconds=1)))
        late = read(store, job=claim(wait_until=NOW))

        assert (early.awaiting, late.awaiting) == (True, False)
        assert (early.awaiting_until, late.awaiting_until) == (NOW + timedelta(seconds=1), None)
        for job in (early, late):
            assert ids(job) == ["x"]
            assert problems(job) == [(Code.LINK_MISSING, "gone.json")]
            assert job.problems[0].detail == f"It is linked in {PREFIX}catalog.json."

    def test_an_asset_may_still_arrive_for_a_shorter_time(self):
        document = item("x", assets={"data": {"href": "./x.tif"}})
        store = memory({"catalog.json": catalog(("item", "x.json")), "x.json": document})
        deadlines = {"asset_deadline": "60s"}

        early = read(store, job=claim(catalog_modified=NOW - timedelta(seconds=59)), **deadlines)
        late = read(store, job=claim(catalog_modified=NOW - timedelta(seconds=60)), **deadlines)

        assert (early.awaiting, late.awaiting) == (True, False)
        assert (early.awaiting_until, late.awaiting_until) == (NOW + timedelta(seconds=1), None)
        for job in (early, late):
            assert [problem.code for problem in job.problems] == [Code.ASSET_MISSING]
            assert job.items[0].problems == job.problems

    def test_what_will_not_change_is_not_waited_for(self):
        store = memory({"catalog.json": catalog(("item", "x.json"), ("item", "http://h/")), "x.json": b"{"})

        assert not read(store, job=claim(wait_until=NOW + timedelta(hours=1), catalog_modified=NOW)).awaiting

    def test_a_document_that_goes_while_it_is_read_is_missing(self):
        key = f"{PREFIX}x.json"
        store = memory(
            {"catalog.json": catalog(("item", "x.json")), "x.json": item("x")}, broken={key: ObjectMissing(BUCKET, key)}
        )

        job = read(store, job=claim(wait_until=NOW + timedelta(hours=1)))

        assert problems(job) == [(Code.LINK_MISSING, "x.json")]
        assert job.awaiting


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
