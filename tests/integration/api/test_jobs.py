"""What became of jobs, over HTTP and on the command line, from a real ledger."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import psycopg
import pytest
import requests
from click.testing import CliRunner

from maap_stac_orchestration.api.models import JobDetailModel, JobsModel, SummaryModel
from maap_stac_orchestration.cli.jobs import command as jobs_command
from maap_stac_orchestration.cli.show import command as show_command
from maap_stac_orchestration.governance.decision import Decision, DecisionCode, Outcome
from maap_stac_orchestration.ledger.claims import claim
from maap_stac_orchestration.ledger.discovery import record
from maap_stac_orchestration.ledger.outcomes import finish
from maap_stac_orchestration.ledger.records import FinishedJob, ItemResult, JobItem, JobNames, SeenCatalog, State
from maap_stac_orchestration.problems import Code, Problem
from tests.integration.api.conftest import Api

DAY = datetime(2026, 3, 4, tzinfo=UTC)
#: Today's layout, and an older one with a slash and a space in the tag.
LOADED = "ana/dps_output/flood_7/v1/2026/03/04/05/06/07/000001/"
REJECTED = "bob/dps_output/fire/v2/a b/c/2026/03/04/05/06/07/000002/"
DISCOVERED = "bob/dps_output/fire/v2/a b/c/2026/03/05/05/06/07/000003/"
RUN = "11111111-2222-3333-4444-555555555555"


@pytest.fixture(scope="module")
def api(shared_api: Api) -> Api:
    return shared_api


@pytest.fixture(scope="module", autouse=True)
def _jobs(shared_database: str) -> None:
    """One loaded job, one rejected, one that nobody took on yet."""
    with psycopg.connect(shared_database) as connection:
        seen = [
            SeenCatalog("maap-ops-workspace", prefix + "catalog.json", "etag", 10, DAY, None, "event")
            for prefix in (LOADED, REJECTED, DISCOVERED)
        ]
        record(connection, seen)
        connection.commit()
        batch = claim(
            connection,
            day=DAY.date(),
            run_id=RUN,
            lease=timedelta(minutes=1),
            max_jobs=10,
            max_items=100,
            wait_deadline=timedelta(minutes=15),
            max_attempts=5,
        )
        connection.commit()
        by_prefix = {job.prefix: job for job in batch.jobs}
        assert by_prefix.keys() == {LOADED, REJECTED}
        default = "ana__flood__v1__demo"
        finish(
            connection,
            batch,
            [
                FinishedJob(
                    by_prefix[LOADED],
                    State.LOADED,
                    loaded=1,
                    decisions=(
                        Decision(
                            DecisionCode.DEFAULT_ASSIGNED, Outcome.DEFAULT, default, None, "nothing asked", "So.", "abc"
                        ),
                    ),
                    collections=(default,),
                    items=(JobItem("one", ItemResult.LOADED, LOADED + "one/one.json", default),),
                    names=JobNames("flood", "v1", "demo"),
                ),
                FinishedJob(
                    by_prefix[REJECTED],
                    State.REJECTED,
                    refused=1,
                    problems=(Problem(Code.ITEM_INVALID, "two", "It has no geometry."),),
                    items=(JobItem("two", ItemResult.REFUSED, REJECTED + "two/two.json"),),
                ),
            ],
        )
        connection.commit()


def prefixes(answer: requests.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    JobsModel.model_validate_json(answer.content)
    return [job["prefix"] for job in answer.json()["jobs"]]


def test_jobs_are_listed_newest_first(api):
    assert prefixes(api.get("/jobs")) == [DISCOVERED, REJECTED, LOADED]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"username": "ana"}, [LOADED]),
        ({"username": "bob", "state": "rejected"}, [REJECTED]),
        ({"tag": "a b/c"}, [DISCOVERED, REJECTED]),
        ({"algorithm": "flood", "version": "v1", "tag": "demo"}, [LOADED]),
        ({"collection": "ana__flood__v1__demo"}, [LOADED]),
        ({"run_id": RUN}, [REJECTED, LOADED]),
        ({"since": "2026-03-05T00:00:00Z"}, [DISCOVERED]),
        ({"since": "2026-03-05T00:00:00"}, [DISCOVERED]),
        ({"code": "item_invalid"}, [REJECTED]),
        ({"username": "nobody"}, []),
    ],
)
def test_every_parameter_narrows_the_list(api, parameters, expected):
    assert prefixes(api.get("/jobs", **parameters)) == expected


def test_pages_lead_to_one_another(api):
    seen, url = [], f"{api.url}/jobs?limit=1&version=v2"
    while url:
        answer = requests.get(url, timeout=10)
        seen += prefixes(answer)
        url = next((link["href"] for link in answer.json()["links"] if link["rel"] == "next"), None)
    assert seen == [DISCOVERED, REJECTED]


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/jobs?user=ana", "user"),
        ("/jobs?state=done", "state"),
        ("/jobs?limit=0", "limit"),
        ("/jobs?limit=1001", "limit"),
        ("/jobs?limit=many", "limit"),
        ("/jobs?since=yesterday", "since"),
        ("/jobs?code=wrong", "code"),
        ("/jobs?token=made-up", "token"),
        ("/jobs?username=%00", "username"),
        ("/jobs/summary?by=colour", "by"),
        ("/jobs/summary?limit=3", "limit"),
        (f"/jobs/{quote(LOADED, safe='')}?full=1", "full"),
        ("/jobs/a%00b", "prefix"),
    ],
)
def test_what_is_not_known_or_not_valid_is_a_problem_document_that_names_it(api, path, parameter):
    answer = requests.get(api.url + path, timeout=10)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert [one["parameter"] for one in problem["errors"]] == [parameter]
    assert problem["detail"].startswith(f"{parameter}: ")


@pytest.mark.parametrize("spelled", [quote(LOADED, safe=""), quote(LOADED), quote(LOADED.rstrip("/"), safe="")])
def test_a_job_is_found_by_its_prefix_however_its_slashes_are_written(api, spelled):
    answer = api.get(f"/jobs/{spelled}")
    assert answer.status_code == 200, answer.text
    JobDetailModel.model_validate_json(answer.content)
    job = answer.json()
    assert (job["prefix"], job["state"]) == (LOADED, "loaded")
    assert [state["state"] for state in job["states"]] == ["discovered", "ingesting", "loaded"]
    assert [decision["decision"] for decision in job["decisions"]] == ["default_assigned"]
    assert job["items"][0]["links"][0]["href"] == f"{api.url}/collections/ana__flood__v1__demo/items/one"
    assert {"rel": "run", "href": f"http://dagster.test/runs/{RUN}", "type": "text/html"} in job["links"]


def test_a_rejected_job_says_why_and_what_to_do(api):
    job = api.get(f"/jobs/{quote(REJECTED, safe='')}").json()
    assert (job["username"], job["tag"]) == ("bob", "a b/c")
    (problem,) = job["problems"]
    assert (problem["code"], problem["severity"], problem["object"]) == ("item_invalid", "error", "two")
    assert problem["message"].endswith("It has no geometry.")
    assert problem["fix"]


def test_the_self_link_of_a_job_leads_to_it(api):
    job = api.get(f"/jobs/{quote(REJECTED, safe='')}").json()
    (href,) = (link["href"] for link in job["links"] if link["rel"] == "self")
    assert requests.get(href, timeout=10).json()["prefix"] == REJECTED


def test_a_job_that_is_not_known_is_a_problem_document(api):
    answer = api.get("/jobs/nobody%2Fdps_output%2F")
    assert answer.status_code == 404
    assert "nobody/dps_output/" in answer.json()["detail"]


def test_a_summary_counts_states_per_group(api):
    answer = api.get("/jobs/summary", by="username,version", since="2026-03-04T00:00:00Z")
    assert answer.status_code == 200, answer.text
    SummaryModel.model_validate_json(answer.content)
    groups = {group["username"]: group for group in answer.json()["groups"]}
    assert groups["ana"]["states"] == {"loaded": 1}
    assert groups["bob"]["states"] == {"discovered": 1, "rejected": 1}
    assert groups["bob"]["version"] == "v2"


def test_the_command_line_gives_the_same_documents(api):
    listed = CliRunner().invoke(jobs_command, ["--json", "--username", "bob"], catch_exceptions=False)
    assert json.loads(listed.stdout)["jobs"] == api.get("/jobs", username="bob").json()["jobs"]
    shown = CliRunner().invoke(show_command, ["--json", LOADED], catch_exceptions=False)
    there = api.get(f"/jobs/{quote(LOADED, safe='')}").json()
    for key in there.keys() - {"links", "items", "states"}:
        assert json.loads(shown.stdout)[key] == there[key]


def test_the_tables_on_the_command_line_hold_what_matters():
    listed = CliRunner(env={"COLUMNS": "160"}).invoke(jobs_command, [], catch_exceptions=False)
    for text in (LOADED, REJECTED, "rejected", "item_invalid"):
        assert text in listed.stdout
    shown = CliRunner(env={"COLUMNS": "200"}).invoke(
        show_command, [f"s3://maap-ops-workspace/{REJECTED}"], catch_exceptions=False, standalone_mode=False
    )
    assert shown.return_value == 1
    for text in ("It has no geometry.", "rejected", "two", Problem(Code.ITEM_INVALID, "two").fix):
        assert text in shown.stdout


def test_a_job_of_another_bucket_is_not_shown():
    from maap_stac_orchestration.cli.errors import Told

    with pytest.raises(Told, match="has come to notice"):
        CliRunner().invoke(
            show_command, [f"s3://another-bucket/{LOADED}"], catch_exceptions=False, standalone_mode=False
        )
