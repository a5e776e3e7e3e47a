"""Jobs as documents: the form of the contract, the same that the OpenAPI document promises."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from maap_stac_orchestration.api.models import JobDetailModel, JobsModel, SummaryModel
from maap_stac_orchestration.governance.decision import Decision, DecisionCode, Outcome
from maap_stac_orchestration.ledger.documents import Addresses, job_document, page_document, summary_document
from maap_stac_orchestration.ledger.records import (
    GroupSummary,
    ItemResult,
    JobDetail,
    JobItem,
    JobPage,
    JobSummary,
    Pin,
    RecordedCatalog,
    RecordedDecision,
    State,
    Transition,
)
from maap_stac_orchestration.problems import Code, Problem

NOW = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)
PREFIX = "ana/dps_output/flood/v1/a tag/2026/03/04/05/06/07/000089/"
HERE = Addresses(api="http://api.test", dagster="http://dagster.test")


def summary(**changes) -> JobSummary:
    values = {
        "job_id": 1,
        "bucket": "maap-ops-workspace",
        "prefix": PREFIX,
        "username": "ana",
        "algorithm": "flood",
        "version": "v1",
        "tag": "a tag",
        "time": NOW,
        "state": State.PARTIAL,
        "loaded": 2,
        "unchanged": 1,
        "fallback": 3,
        "refused": 1,
        "problem_codes": ("item_invalid", "user_not_authorized"),
        "collections": ("ana__flood__v1__a-tag",),
        "run_id": "run-1",
        "discovered": NOW,
        "updated": NOW + timedelta(seconds=3),
        "due": None,
    }
    return JobSummary(**(values | changes))


def detail(**changes) -> JobDetail:
    problem = Problem(Code.ITEM_INVALID, "bad-item", "It has no geometry.")
    decision = Decision(
        DecisionCode.USER_NOT_AUTHORIZED, Outcome.FALLBACK, "ana__flood__v1__a-tag", "floods", "no grant", "No.", "abc"
    )
    values = {
        "summary": summary(),
        "transitions": (
            Transition(State.DISCOVERED, NOW, None, 0, None),
            Transition(State.INGESTING, NOW, "run-1", 1, None),
            Transition(State.PARTIAL, NOW + timedelta(seconds=3), "run-1", 1, None),
        ),
        "decisions": (RecordedDecision(decision, "ana", "flood", "v1", "a tag", PREFIX, NOW, "run-1"),),
        "problems": (problem.to_document(),),
        "items": (
            JobItem("good item", ItemResult.LOADED, PREFIX + "i/i.json", "ana__flood__v1__a-tag", "floods"),
            JobItem("bad-item", ItemResult.REFUSED, PREFIX + "j/j.json", "ana__flood__v1__a-tag", None),
        ),
        "catalogs": (RecordedCatalog(PREFIX + "catalog.json", "e", None, 9, NOW, "event", NOW, True),),
        "documents": (Pin(PREFIX + "catalog.json", "e", None, "00", 9),),
        "attempt": 1,
        "generation": 1,
        "wait_until": None,
    }
    return JobDetail(**(values | changes))


def test_a_list_has_the_form_of_the_contract():
    document = page_document(JobPage((summary(),), None))
    assert document == {
        "jobs": [
            {
                "prefix": PREFIX,
                "username": "ana",
                "algorithm": "flood",
                "version": "v1",
                "tag": "a tag",
                "time": "2026-03-04T05:06:07.000089Z",
                "state": "partial",
                "items": {"loaded": 2, "unchanged": 1, "fallback": 3, "refused": 1},
                "problems": ["item_invalid", "user_not_authorized"],
                "updated": "2026-03-04T05:06:10.000089Z",
            }
        ],
        "links": [],
    }
    JobsModel.model_validate_json(json.dumps(document))


def test_a_job_has_every_state_decision_problem_and_item_in_full():
    document = job_document(detail(), HERE)
    JobDetailModel.model_validate_json(json.dumps(document))
    assert [state["state"] for state in document["states"]] == ["discovered", "ingesting", "partial"]
    assert document["decisions"][0]["decision"] == "user_not_authorized"
    assert document["problems"][0].keys() == {"code", "severity", "object", "message", "fix"}
    assert [item["id"] for item in document["items"]] == ["good item", "bad-item"]
    assert document["counts"] == {"loaded": 2, "unchanged": 1, "fallback": 3, "refused": 1}


def test_links_lead_to_the_job_its_page_its_run_its_collections_and_its_items():
    document = job_document(detail(), HERE)
    assert {link["rel"]: link["href"] for link in document["links"]} == {
        "self": "http://api.test/jobs/ana%2Fdps_output%2Fflood%2Fv1%2Fa%20tag%2F2026%2F03%2F04%2F05%2F06%2F07%2F000089%2F",
        "status": "http://api.test/status/ana%2Fdps_output%2Fflood%2Fv1%2Fa%20tag%2F2026%2F03%2F04%2F05%2F06%2F07%2F000089%2F",
        "run": "http://dagster.test/runs/run-1",
        "collection": "http://api.test/collections/ana__flood__v1__a-tag",
    }
    good, bad = document["items"]
    assert good["links"][0]["href"] == "http://api.test/collections/ana__flood__v1__a-tag/items/good%20item"
    assert bad["links"] == [], "what was refused is nowhere"
    assert good["source"] == f"s3://maap-ops-workspace/{PREFIX}i/i.json"


def test_a_link_whose_address_is_not_known_is_left_out():
    document = job_document(detail(), Addresses())
    assert document["links"] == []
    assert all(not entry["links"] for entry in document["states"] + document["items"])


def test_a_waiting_job_tells_when_it_is_tried_again():
    waiting = detail(
        summary=summary(state=State.WAITING, due=NOW + timedelta(seconds=5), run_id=None, collections=()),
        wait_until=NOW + timedelta(minutes=15),
    )
    document = job_document(waiting, HERE)
    JobDetailModel.model_validate_json(json.dumps(document))
    assert document["due"] == "2026-03-04T05:06:12.000089Z"
    assert document["wait_until"] == "2026-03-04T05:21:07.000089Z"


def test_a_group_carries_what_it_is_grouped_by():
    group = GroupSummary({"username": "ana", "tag": None}, {"loaded": 3, "waiting": 1}, 4, 3, 0, 0, 0, NOW)
    document = summary_document([group], ("username", "tag"))
    SummaryModel.model_validate_json(json.dumps(document))
    assert document["by"] == ["username", "tag"]
    (only,) = document["groups"]
    assert (only["username"], only["tag"], only["jobs"]) == ("ana", None, 4)
    assert only["states"] == {"loaded": 3, "waiting": 1}


def test_of_decisions_the_last_about_what_is_asked_for_now_counts_however_many_there_are():
    (denied,) = detail().decisions
    granted = replace(denied, decision=replace(denied.decision, code=DecisionCode.GRANTED, outcome=Outcome.ACCEPT))
    others = [replace(denied, decision=replace(denied.decision, requested=f"c{number}")) for number in range(20_000)]
    asking = replace(detail().items[0], requested_collection="floods")
    in_force, before = detail(items=(asking,), decisions=(denied, *others, granted)).told_decisions()
    assert in_force == (granted,)
    assert before == (*reversed(others), denied)
