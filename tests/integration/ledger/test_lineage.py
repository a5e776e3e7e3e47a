"""Where an item comes from: the chain from the item back to the run, also when jobs, catalogs and others change."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from maap_stac_orchestration.governance.decision import DecisionCode
from maap_stac_orchestration.governance.registry import load_registry
from maap_stac_orchestration.ledger import lineage as module
from maap_stac_orchestration.ledger.lineage import Lineage, lineage
from maap_stac_orchestration.ledger.records import ItemResult, State
from tests.integration.ledger.build import nodes, plan
from tests.integration.pipeline.batches import START, Written, document, ingest

Connection = psycopg.Connection[tuple[Any, ...]]

DEFAULT = "henrydevseed__mosaic__v1__demo"
GRANTING = load_registry(
    "version: 1\ngrants: [{collection: maap-floods, users: [henrydevseed], create: true}]", "registry.yaml"
)


def found(connection: Connection, collection: str = DEFAULT, id: str = "a") -> Lineage:
    one = lineage(connection, collection, id)
    assert one is not None
    return one


def test_the_chain_leads_from_the_item_to_the_run(connection: Connection) -> None:
    job = Written([document("a"), document("b")], requests={"a": "maap-floods"})
    ingest(connection, [job], GRANTING, run_id="run-1")

    one = found(connection, "maap-floods")

    assert one.item.source_key == f"{job.prefix}a.json"
    assert one.document is not None
    assert (one.document.etag, one.document.sha256) == (one.item.source_etag, one.item.source_sha256)
    assert [(catalog.key, catalog.etag, catalog.current) for catalog in one.catalogs] == [
        (job.seen().key, job.seen().etag, True)
    ]
    assert one.job is not None
    assert one.job.summary.prefix == job.prefix
    assert one.decision is not None
    assert (one.decision.decision.code, one.decision.decision.requested) == (DecisionCode.GRANTED, "maap-floods")
    assert one.decision.decision.registry_version == GRANTING.version
    assert one.item.run_id == "run-1"
    assert one.began is not None
    assert one.ended is not None
    assert (one.began.state, one.ended.state) == (State.INGESTING, State.LOADED)
    assert one.began.at <= one.written <= one.ended.at + timedelta(seconds=1)
    assert (one.others, one.others_complete) == ((), True)


def test_each_item_of_a_job_has_the_decision_about_what_it_asked_for(connection: Connection) -> None:
    job = Written([document("a"), document("b"), document("c")], requests={"a": "maap-floods", "b": "other-one"})
    ingest(connection, [job], GRANTING)
    codes = {
        id: found(connection, collection, id).decision
        for id, collection in (("a", "maap-floods"), ("b", DEFAULT), ("c", DEFAULT))
    }
    assert {id: decision and decision.decision.code for id, decision in codes.items()} == {
        "a": DecisionCode.GRANTED,
        "b": DecisionCode.USER_NOT_AUTHORIZED,
        "c": DecisionCode.DEFAULT_ASSIGNED,
    }


def test_the_newest_job_wrote_it_and_those_before_are_told(connection: Connection) -> None:
    jobs = [Written([document("a", title=f"of {number}")], minute=number) for number in range(3)]
    for number, job in enumerate(jobs):
        ingest(connection, [job], run_id=f"run-{number}")
    one = found(connection)
    assert one.job is not None
    assert (one.job.summary.prefix, one.item.run_id) == (jobs[2].prefix, "run-2")
    assert [(other.prefix, other.time, other.result) for other in one.others] == [
        (jobs[1].prefix, START + timedelta(minutes=1), ItemResult.LOADED),
        (jobs[0].prefix, START, ItemResult.LOADED),
    ]


def test_a_job_that_came_too_late_is_told_as_older(connection: Connection) -> None:
    new, old = Written([document("a")], minute=5), Written([document("a", title="old")], minute=1)
    ingest(connection, [new])
    ingest(connection, [old])
    one = found(connection)
    assert one.job is not None
    assert one.job.summary.prefix == new.prefix
    assert [(other.prefix, other.result) for other in one.others] == [(old.prefix, ItemResult.OLDER)]


def test_jobs_of_other_collections_and_refused_items_did_not_bring_it(connection: Connection) -> None:
    ingest(connection, [Written([document("a")]), Written([document("a")], tag="other", minute=1)])
    ingest(connection, [Written([document("b")], minute=2)])
    assert found(connection).others == ()


def test_the_catalog_is_the_version_that_the_item_was_written_from(connection: Connection) -> None:
    first = Written([document("a"), document("b")])
    second = replace(first, items=[document("b", title="new")], catalog_minute=9)
    ingest(connection, [first], run_id="run-1")
    ingest(connection, [second], run_id="run-2")
    old, new = found(connection, id="a"), found(connection, id="b")
    # The new catalog no longer has the one item; it stays, as it was written from the old one.
    assert [(catalog.etag, catalog.current) for catalog in old.catalogs] == [(first.seen().etag, False)]
    assert [(catalog.etag, catalog.current) for catalog in new.catalogs] == [(second.seen().etag, True)]
    assert (old.item.run_id, new.item.run_id) == ("run-1", "run-2")
    # Which version of its document that was is not kept; its etag and hash are.
    assert old.document is None
    assert len(old.item.source_sha256) == 64


def test_an_item_that_nobody_wrote_has_no_lineage(connection: Connection) -> None:
    ingest(connection, [Written([document("a")])])
    assert lineage(connection, DEFAULT, "b") is None
    assert lineage(connection, "elsewhere", "a") is None
    assert lineage(connection, "a\0b", "a\0\ud800") is None


def test_in_a_collection_of_very_many_items_only_the_newest_jobs_are_looked_through(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [Written([document("a", title=str(number))], minute=number) for number in range(4)]
    ingest(connection, jobs)
    for bounds, others, complete in (
        ({"MOST_JOBS": 4, "MOST_ITEMS": 4}, 3, True),
        ({"MOST_JOBS": 3, "MOST_ITEMS": 4}, 2, False),
        ({"MOST_JOBS": 4, "MOST_ITEMS": 2}, 1, False),
        ({"MOST_JOBS": 4, "MOST_ITEMS": 0}, 0, False),
    ):
        for name, value in bounds.items():
            monkeypatch.setattr(module, name, value)
        one = found(connection)
        assert (len(one.others), one.others_complete) == (others, complete)


def test_no_question_reads_a_whole_table_of_items(connection: Connection) -> None:
    connection.execute(
        """
        INSERT INTO ledger.job_item (job_id, position, item_id, result, source_key, collection)
        SELECT job, item, 'i' || item, 'loaded', 'k', 'c'
        FROM generate_series(1, 2000) AS job, generate_series(1, 20) AS item
        """
    )
    connection.execute(
        """
        INSERT INTO ledger.item (
            collection, id, job_id, username, job_time, catalog_modified, content_hash, source_key, source_etag,
            source_sha256
        )
        SELECT 'c', 'i' || item, item, 'ana', now(), now(), 'h', 'k', 'e', 's' FROM generate_series(1, 20000) AS item
        """
    )
    connection.execute("ANALYZE ledger.job_item, ledger.item")
    parameters = {"collection": "c", "id": "i7", "jobs": list(range(1, 50))}
    for statement in (module._ITEM, module._OTHERS):
        whole = [one for one in nodes(plan(connection, statement, parameters)) if one["Node Type"] == "Seq Scan"]
        assert {one["Relation Name"] for one in whole}.isdisjoint({"item", "job_item"})
