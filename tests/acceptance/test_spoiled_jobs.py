"""Five jobs are spoiled in five ways: everybody sees what is wrong with each and how it is mended, wherever they look,
and once they are mended nothing is red any more. The commands are those that a person would type."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from typing import Any
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, expect

from maap_stac_orchestration.demo.spoiled import WAYS as DEMO_WAYS
from maap_stac_orchestration.dps.output_prefix import parse_output_prefix
from maap_stac_orchestration.problems import WORDINGS, Code
from tests.acceptance.client import StackClient, eventually
from tests.acceptance.conftest import MAAP_STAC, clean_environment
from tests.browser import OpenPage, chromium, open_page

__all__ = ["chromium", "open_page"]

pytestmark = [pytest.mark.stack, pytest.mark.browser]

#: A day of their own, so that its checks are about these jobs alone.
DAY = "2026-03-04"
COLLECTION = "hls-mosaics-midwest"

#: Way -> state, code, and the asset check that is red because of it.
WAYS = {
    "cut off": ("rejected", Code.CATALOG_UNREADABLE, ("dps_catalogs", "catalogs_readable")),
    "another user's": ("rejected", Code.IDENTITY_MISMATCH, ("governance_decisions", "no_denials")),
    "in metres": ("rejected", Code.GEOMETRY_INVALID, ("dps_catalogs", "items_valid")),
    "not granted": ("loaded", Code.USER_NOT_AUTHORIZED, ("governance_decisions", "no_denials")),
    "one id twice": ("partial", Code.ITEM_DUPLICATE, ("dps_catalogs", "items_valid")),
}
#: Where jobs of any way stand that have not all their items loaded.
ALL_LOADED = ("pgstac_items", "all_loaded")
CHECKS = sorted({check for _, _, check in WAYS.values()} | {ALL_LOADED, ("dps_catalogs", "assets_present")})

EXECUTIONS = """
query ($asset: String!, $check: String!, $day: String) {
  assetCheckExecutions(assetKey: {path: [$asset]}, checkName: $check, partition: $day, limit: 1) {
    status
    runId
    evaluation {
      metadataEntries { label ... on TableMetadataEntry { table { records } } }
    }
  }
}
"""


@dataclass(frozen=True)
class Person:
    """Somebody at the command line."""

    client: StackClient

    def types(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs `maap-stac` and gives how it ended, whatever that is."""
        return subprocess.run(
            [MAAP_STAC, *arguments],
            env=clean_environment() | self.client.env,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )

    def reads(self, *arguments: str, code: int = 0) -> Any:
        """The document of a command with `--json` that ends with an exit code."""
        ran = self.types(*arguments, "--json")
        assert ran.returncode == code, ran.stdout + ran.stderr
        return json.loads(ran.stdout)


@pytest.fixture(scope="module")
def person(stack: dict[str, Any]) -> Person:
    return Person(StackClient(stack))


@pytest.fixture(scope="module")
def spoiled(person: Person) -> dict[str, dict[str, Any]]:
    """Way -> what `maap-stac demo --spoil` told of its job."""
    document = person.reads("demo", "--spoil", "--day", DAY)
    assert document["ok"]
    return {job["way"]: job for job in document["jobs"]}


@pytest.fixture(scope="module")
def check_before(person: Person, spoiled: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Each check of the day, evaluated after the jobs had ended."""
    prefixes = {job["prefix"] for job in spoiled.values() if job["state"] != "loaded"}

    def evaluated() -> dict[tuple[str, str], dict[str, Any]] | None:
        found = {check: execution(person.client, *check) for check in CHECKS}
        done = {check: one for check, one in found.items() if one is not None}
        whole = len(done) == len(CHECKS) and all(rows(done[ALL_LOADED], prefix) for prefix in prefixes)
        return done if whole else None

    return eventually(evaluated, 90, lambda: {check: execution(person.client, *check) for check in CHECKS})


def standing_rows(client: StackClient) -> list[set[str]] | None:
    """What the check over everything that is still broken says of the day; None before its first evaluation.

    Jobs of other tests are broken too, on other days, so it stays red.
    """
    check = execution(client, "pgstac_items", "nothing_broken", None)
    return None if check is None else rows(check, DAY)


def execution(client: StackClient, asset: str, check: str, day: str | None = DAY) -> dict[str, Any] | None:
    """The last evaluation of a check for the day, as Dagster's API tells it; None before the first."""
    request = Request(
        f"{client.stack['dagster_url']}/graphql",
        json.dumps({"query": EXECUTIONS, "variables": {"asset": asset, "check": check, "day": day}}).encode(),
        {"Content-Type": "application/json"},
    )
    with urlopen(request, timeout=30) as answer:
        found = json.load(answer)["data"]["assetCheckExecutions"]
    return found[0] if found and found[0]["evaluation"] else None


def rows(check: dict[str, Any], name: str) -> list[set[str]]:
    """The values of each row that names something, of all tables in a check's metadata."""
    entries = check["evaluation"]["metadataEntries"]
    records = [json.loads(row) for entry in entries for row in entry.get("table", {}).get("records", ())]
    # Which spaces lines may be broken at is for the eye.
    values = [{" ".join(str(value).split()) for value in record.values()} for record in records]
    return [row for row in values if name in row]


def fix_of(code: Code) -> str:
    return WORDINGS[code].fix


@pytest.mark.parametrize("way", WAYS)
def test_a_spoiled_job_stands_in_the_api_with_its_state_its_code_and_the_fix(person, spoiled, way):
    state, code, _ = WAYS[way]
    document = person.client.job(spoiled[way]["prefix"])
    assert document["state"] == state
    errors = [(one["code"], one["fix"]) for one in document["problems"] if one["severity"] == "error"]
    assert errors == [(code, fix_of(code))]


@pytest.mark.parametrize("way", WAYS)
def test_show_tells_a_spoiled_job_in_words_and_as_json_and_exits_with_1(person, spoiled, way):
    state, code, _ = WAYS[way]
    prefix = spoiled[way]["prefix"]
    shown = person.types("show", prefix)
    assert shown.returncode == 1
    words = " ".join(shown.stdout.split())
    assert all(part in words for part in (prefix, state, code, fix_of(code)))
    document = person.reads("show", prefix, code=1)
    assert (document["state"], [one["code"] for one in document["problems"]]) == (state, [code])


@pytest.mark.parametrize("way", WAYS)
def test_the_status_page_of_a_spoiled_job_tells_its_state_its_code_and_the_fix(
    person, spoiled, open_page: OpenPage, way
):
    state, code, _ = WAYS[way]
    page = open_page()
    answer = page.goto(spoiled[way]["status_page"])
    assert answer is not None
    assert answer.status == 200
    expect(page.locator("main")).to_contain_text(state, ignore_case=True)
    problems = page.get_by_role("region", name="What to change")
    # As it is typed after --code, or as words.
    expect(problems).to_contain_text(re.compile(code.replace("_", "[_ ]"), re.IGNORECASE))
    expect(problems).to_contain_text(fix_of(code))


@pytest.mark.parametrize("way", WAYS)
def test_the_check_of_the_day_is_red_in_dagster_and_names_the_job_its_code_and_the_fix(check_before, spoiled, way):
    state, code, check = WAYS[way]
    assert check_before[check]["status"] == "FAILED"
    [row] = rows(check_before[check], spoiled[way]["prefix"])
    assert {state, code} <= row
    [advice] = [row for row in rows(check_before[check], code) if fix_of(code) in row]
    assert any(value.startswith("maap-stac retry ") for value in advice)


def test_what_is_not_wrong_is_not_red_in_dagster(check_before, spoiled):
    assert check_before["dps_catalogs", "assets_present"]["status"] == "SUCCEEDED"
    assert check_before[ALL_LOADED]["status"] == "FAILED"
    assert not rows(check_before[ALL_LOADED], spoiled["not granted"]["prefix"]), "its item is in a collection"


def test_somebody_who_opens_the_check_in_the_dagster_ui_sees_the_job_and_its_code(
    person, check_before, spoiled, chromium: Browser
):
    asset, check = WAYS["cut off"][2]
    # Not by `open_page`: what Dagster's own pages complain of on the console is no failure of ours.
    page = chromium.new_page()
    page.goto(f"{person.client.stack['dagster_url']}/assets/{asset}?view=checks&checkDetail={check}")
    expect(page.get_by_text("Failed").first).to_be_visible()
    expect(page.locator("body")).to_contain_text(spoiled["cut off"]["prefix"])
    expect(page.locator("body")).to_contain_text(str(WAYS["cut off"][1]))


def test_the_standing_check_names_the_day(person, spoiled):
    eventually(lambda: standing_rows(person.client) or None, 90, lambda: "the day is not among those that are broken")


@pytest.fixture(scope="module")
def repaired(
    person: Person, spoiled: dict[str, dict[str, Any]], check_before: dict[tuple[str, str], dict[str, Any]]
) -> dict[str, Any]:
    """What `maap-stac demo --repair` told, after people had repaired three of the jobs by themselves."""
    upload_repaired_files(person.client, spoiled, "cut off")

    upload_repaired_files(person.client, spoiled, "in metres")
    ran = person.types("retry", spoiled["in metres"]["prefix"])
    assert ran.returncode == 0, ran.stdout + ran.stderr

    grant = ("--user", "henrydevseed", "--algorithm", "HLSCloudFreeTemporalMosaic@v0.1.1", "--create")
    ran = person.types("registry", "grant", COLLECTION, *grant, "--reason", "They make the mosaics of the Midwest")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    again = person.types("retry", spoiled["not granted"]["prefix"])
    assert person.client.job(spoiled["not granted"]["prefix"])["problems"], f"it is loaded, so nothing is done: {again}"
    ran = person.types("retry", "--force", spoiled["not granted"]["prefix"])
    assert ran.returncode == 0, ran.stdout + ran.stderr

    by_hand = [spoiled[way]["prefix"] for way in ("cut off", "in metres", "not granted")]
    eventually(
        lambda: all(is_green(person.client.job(prefix)) for prefix in by_hand) or None,
        60,
        lambda: [person.client.job(prefix) for prefix in by_hand],
    )
    document: dict[str, Any] = person.reads("demo", "--repair", "--day", DAY)
    return document


def upload_repaired_files(client: StackClient, spoiled: dict[str, dict[str, Any]], name: str) -> None:
    """What the author of a job uploads once they know what is wrong."""
    prefix = spoiled[name]["prefix"]
    [way] = [way for way in DEMO_WAYS if way.name == name]
    for file in way.repaired_files(parse_output_prefix(prefix).time):
        client.put(f"{prefix}{file.name}", file.data)


def is_green(document: dict[str, Any] | None) -> bool:
    return document is not None and document["state"] == "loaded" and not document["problems"]


def test_what_people_repaired_is_left_alone_and_the_rest_is_repaired(repaired):
    assert repaired["ok"]
    done = {job["way"]: bool(job["uploaded"] or job["granted"] or job["retried"]) for job in repaired["jobs"]}
    assert done == {way: way in ("another user's", "one id twice") for way in WAYS}


@pytest.mark.parametrize("way", WAYS)
def test_a_repaired_job_is_green_wherever_one_looks(person, spoiled, repaired, open_page: OpenPage, way):
    prefix = spoiled[way]["prefix"]
    document = person.client.job(prefix)
    assert is_green(document)
    assert document["collections"] == [
        COLLECTION if way == "not granted" else "henrydevseed__HLSCloudFreeTemporalMosaic__v0.1.1__spoiled"
    ]
    shown = person.types("show", prefix)
    assert shown.returncode == 0, shown.stdout
    page = open_page()
    page.goto(spoiled[way]["status_page"])
    expect(page.locator("main")).to_contain_text("loaded", ignore_case=True)
    expect(page.get_by_role("heading", name="Decisions")).to_be_visible()
    expect(page.get_by_role("heading", name="What to change")).to_have_count(0)


def test_every_check_of_the_day_is_green_again(person, repaired):
    def green() -> bool | None:
        found = [execution(person.client, *check) for check in CHECKS]
        return all(one is not None and one["status"] == "SUCCEEDED" for one in found) or None

    eventually(green, 90, lambda: {check: execution(person.client, *check) for check in CHECKS})


def test_their_items_are_searchable_where_they_asked_to_be(person, spoiled, repaired):
    found = list(person.client.stac().search(collections=[COLLECTION]).items_as_dicts())
    assert [item["properties"]["maap:job_prefix"] for item in found] == [spoiled["not granted"]["prefix"]]
    collection = "henrydevseed__HLSCloudFreeTemporalMosaic__v0.1.1__spoiled"
    prefixes = [
        item["properties"]["maap:job_prefix"]
        for item in person.client.stac().search(collections=[collection]).items_as_dicts()
    ]
    assert prefixes.count(spoiled["one id twice"]["prefix"]) == 2
    assert set(prefixes) >= {spoiled[way]["prefix"] for way in WAYS if way != "not granted"}


def test_a_second_repair_does_nothing(person, repaired):
    again = person.reads("demo", "--repair", "--day", DAY)
    assert again["ok"]
    assert not any(job["uploaded"] or job["granted"] or job["retried"] for job in again["jobs"])


def test_the_standing_check_no_longer_names_the_day(person, repaired):
    eventually(lambda: standing_rows(person.client) == [] or None, 90, lambda: standing_rows(person.client))
