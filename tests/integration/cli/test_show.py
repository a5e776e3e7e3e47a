"""`maap-stac show`: what is wrong with a job and what to do about it, its way, and how a job may be named."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from maap_stac_orchestration.api.models import JobDetailModel
from maap_stac_orchestration.cli.show import length, read_name
from maap_stac_orchestration.governance.registry import load_registry
from maap_stac_orchestration.ledger.records import State
from maap_stac_orchestration.problems import WORDINGS, Code, Problem
from tests.integration.cli.commands import Run
from tests.integration.ledger.build import (
    BUCKET,
    discover,
    let_leases_run_out,
    let_time_pass,
    prefix,
    seen,
    take,
)
from tests.integration.pipeline.batches import Written, document, ingest

Connection = psycopg.Connection[tuple[Any, ...]]

MISSING = Problem(Code.LINK_MISSING, "tile-7.json", "It is linked in catalog.json.")
LOCAL = Problem(Code.ASSET_LOCAL_PATH, "a#image", "Its href is /tmp/x.tif, and no file of the job has that name.")
PARTIAL = Written([document("a")], problems=(LOCAL, MISSING))


@pytest.fixture
def partial(connection: Connection) -> str:
    """The output prefix of a job with an item, a missing one, and a warning."""
    ingest(connection, [PARTIAL], run_id="6cf2f2ba-6d3d-4a6c-9d4e-0f0f6d7f8a11")
    return PARTIAL.prefix


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAAP_STAC_PUBLIC_URL", "https://stac.example.org/")
    monkeypatch.setenv("MAAP_STAC_DAGSTER_URL", "https://dagster.example.org")


def sections(shown: str) -> Mapping[str, list[str]]:
    """Title -> lines."""
    found: dict[str, list[str]] = {}
    for line in shown.splitlines():
        if line.startswith("    "):
            found[list(found)[-1]].append(line[4:])
        elif line.strip():
            found[line.strip()] = []
    return found


def test_errors_come_first_each_with_its_fix_and_what_becomes_of_it(maap_stac: Run, partial: str) -> None:
    answer = maap_stac("show", partial)
    assert answer.code == 1
    shown = sections(answer.stdout)
    assert shown["Problems"] == [
        "error link_missing",
        f"  {MISSING.message}",
        f"  → {MISSING.fix}",
        f"  {WORDINGS[Code.LINK_MISSING].effect}",
        "warning asset_local_path",
        f"  {LOCAL.message}",
        f"  → {LOCAL.fix}",
        f"  {WORDINGS[Code.ASSET_LOCAL_PATH].effect}",
    ]
    assert shown["What to do"] == [
        "Correct what is told above, upload it to the same place, and try the job again:",
        f"maap-stac retry {partial}",
    ]
    assert "\x1b" not in answer.stdout


def test_keys_are_shown_as_seen_from_the_job(maap_stac: Run, connection: Connection) -> None:
    base = Written([document("a")])
    problem = Problem(Code.LINK_MISSING, f"{base.prefix}tiles/7.json", f"It is linked in {base.prefix}catalog.json.")
    ingest(connection, [replace(base, problems=(problem,))])
    shown = sections(maap_stac("show", base.prefix).stdout)
    assert shown["Problems"][1] == (
        "  A link of the catalog leads to tiles/7.json, where there is no file. It is linked in catalog.json."
    )
    assert shown["Items"] == ["loaded     a → henrydevseed__mosaic__v1__demo  a.json"]
    assert shown["Catalogs"][0].endswith("  catalog.json")


def test_where_no_item_could_be_read_nothing_is_said_of_where_one_would_have_gone(
    maap_stac: Run, connection: Connection
) -> None:
    job = Written([], problems=(Problem(Code.CATALOG_UNREADABLE, "catalog.json"),))
    ingest(connection, [job])
    assert connection.execute("SELECT count(*) FROM ledger.decision").fetchone() == (1,)
    assert "Decisions" not in sections(maap_stac("show", job.prefix).stdout)


def test_problems_of_one_code_are_told_together(maap_stac: Run, connection: Connection) -> None:
    missing = tuple(replace(MISSING, object=f"tile-{number}.json") for number in range(8))
    job = Written([document("a")], problems=missing)
    ingest(connection, [job])
    told = sections(maap_stac("show", job.prefix).stdout)["Problems"]
    assert told[0] == "error link_missing, 8 times"
    assert told[6] == "  … and 3 more; --json shows all."
    assert told[7] == f"  → {MISSING.fix}"
    assert sum(MISSING.fix in line for line in told) == 1


def test_the_way_has_times_lengths_and_the_run(maap_stac: Run, partial: str, addresses: None) -> None:
    answer = maap_stac("show", partial)
    way = sections(answer.stdout)["Way (UTC)"]
    assert [line.split()[2 if number == 0 else 4] for number, line in enumerate(way)] == [
        "discovered",
        "ingesting",
        "partial",
    ]
    assert all(" s  " in line and "+" in line for line in way[1:])
    # A run is named where it comes in.
    assert [("/runs/6cf2f2ba" in line) for line in way] == [False, True, False]


def test_links_lead_to_the_page_the_run_and_the_items(maap_stac: Run, partial: str, addresses: None) -> None:
    shown = maap_stac("show", partial).stdout
    assert f"https://stac.example.org/status/{quote(partial, safe='')}" in shown
    assert "Dagster run  https://dagster.example.org/runs/6cf2f2ba-6d3d-4a6c-9d4e-0f0f6d7f8a11\n" in shown
    items = sections(shown)["Items"]
    assert items == [
        "loaded     a → henrydevseed__mosaic__v1__demo  "
        "https://stac.example.org/collections/henrydevseed__mosaic__v1__demo/items/a"
    ]
    [catalog] = sections(shown)["Catalogs"]
    assert PARTIAL.seen().etag in catalog
    assert catalog.endswith("  catalog.json")


def test_without_addresses_the_ids_are_told(maap_stac: Run, partial: str) -> None:
    shown = maap_stac("show", partial).stdout
    assert "run 6cf2f2ba-6d3d-4a6c-9d4e-0f0f6d7f8a11" in shown
    assert sections(shown)["Items"][0].endswith("  a.json")
    assert "status page" not in shown


def test_a_run_outside_dagster_has_no_address_there(maap_stac: Run, connection: Connection, addresses: None) -> None:
    job = Written([document("a")])
    ingest(connection, [job], run_id="ingest-1")
    shown = maap_stac("show", job.prefix).stdout
    assert "run ingest-1" in shown
    assert "dagster.example.org" not in shown


def test_a_job_that_is_loaded_is_fine(maap_stac: Run, connection: Connection) -> None:
    job = Written([document("a"), document("b")])
    ingest(connection, [job])
    answer = maap_stac("show", job.prefix)
    assert answer.code == 0
    shown = sections(answer.stdout)
    assert {"Problems", "What to do"}.isdisjoint(shown)
    assert shown["Decisions"][0] == "The item asks for no collection, so it goes to henrydevseed__mosaic__v1__demo."
    assert "after it came to notice" in answer.stdout


def test_a_denial_is_a_sentence_and_says_how_it_is_decided_anew(maap_stac: Run, connection: Connection) -> None:
    registry = load_registry("version: 1\ngrants: []", "registry.yaml")
    job = Written([document("a")], requests={"a": "maap-floods"})
    ingest(connection, [job], registry)
    answer = maap_stac("show", job.prefix)
    assert answer.code == 1
    shown = sections(answer.stdout)
    assert shown["Problems"][0] == "error user_not_authorized"
    assert shown["Decisions"][0].startswith("The user who ran the job may not write to the collection maap-floods. ")
    assert shown["Decisions"][0].endswith(
        "The items go to the default collection henrydevseed__mosaic__v1__demo instead."
    )
    assert "user_not_authorized: no grant is for this id, registry " in shown["Decisions"][1]
    assert shown["What to do"] == [
        "Nothing has to be done. Once a grant opens maap-floods, this has it decided anew:",
        f"maap-stac retry {job.prefix} --force",
    ]


def test_what_was_decided_and_written_before_is_told_apart(maap_stac: Run, connection: Connection) -> None:
    first = Written([document("a")], requests={"a": "maap-floods"})
    second = replace(first, items=[document("a", title="again")], catalog_minute=2)
    denying = load_registry("version: 1\ngrants: []", "registry.yaml")
    granting = load_registry(
        "version: 1\ngrants: [{collection: maap-floods, users: [henrydevseed], create: true}]", "registry.yaml"
    )
    ingest(connection, [first], denying, run_id="run-1")
    ingest(connection, [second], granting, run_id="run-2")
    answer = maap_stac("show", first.prefix)
    assert answer.code == 0
    shown = sections(answer.stdout)
    assert shown["Decisions"][0] == "The items go to the collection maap-floods, which is created with them."
    assert shown["Decisions"][2:] == ["… and 1 before; `maap-stac decisions --prefix` shows all."]
    assert "What to do" not in shown
    old, new = shown["Catalogs"]
    assert first.seen().etag in old
    assert "replaced by a newer one" in old
    assert second.seen().etag in new
    assert "replaced" not in new


def test_json_is_the_document_of_the_api(maap_stac: Run, partial: str, addresses: None) -> None:
    answer = maap_stac("show", partial, "--json")
    assert answer.code == 1
    found = json.loads(answer.stdout)
    JobDetailModel.model_validate(found)
    assert {problem["code"] for problem in found["problems"]} == {"link_missing", "asset_local_path"}
    assert {link["rel"] for link in found["links"]} >= {"self", "status", "run"}


# What to do, by state.


def advised(maap_stac: Run, job: str) -> str:
    return " ".join(sections(maap_stac("show", job).stdout)["What to do"])


def test_while_nothing_is_wrong_nothing_is_to_be_done(maap_stac: Run, connection: Connection) -> None:
    discover(connection, seen(prefix(0)))
    assert advised(maap_stac, prefix(0)).startswith("Nothing yet")
    take(connection)
    assert advised(maap_stac, prefix(0)).startswith("Nothing yet")


def test_a_job_that_no_run_takes_on_is_told_so(maap_stac: Run, connection: Connection) -> None:
    discover(connection, seen(prefix(0)))
    connection.execute("UPDATE ledger.job SET due_at = now() - interval '1 hour'")
    connection.commit()
    assert "no run took it on; `maap-stac doctor` tells why" in advised(maap_stac, prefix(0))


def test_a_waiting_job_says_until_when(maap_stac: Run, connection: Connection) -> None:
    job = Written([document("a")], problems=(MISSING,), awaiting=True)
    ingest(connection, [job])
    connection.execute("UPDATE ledger.job SET wait_until = now() + interval '10 minutes'")
    connection.commit()
    told = advised(maap_stac, job.prefix)
    assert told.startswith("Nothing, if it is on its way: what is missing is waited for, until 20")
    assert "tried again at 20" in told


def test_a_failed_job_is_to_be_tried_again(maap_stac: Run, connection: Connection) -> None:
    discover(connection, seen(prefix(0)))
    for _ in range(2):
        take(connection, max_attempts=1)
        let_leases_run_out(connection)
        let_time_pass(connection)
    assert connection.execute("SELECT state FROM ledger.job").fetchone() == (State.FAILED,)
    shown = maap_stac("show", prefix(0))
    told = sections(shown.stdout)
    assert told["What to do"][-1] == f"maap-stac retry {prefix(0)}"
    assert any("no try came to an end" in line for line in told["Way (UTC)"])


def test_the_retry_command_can_be_copied_whatever_the_tag(maap_stac: Run, connection: Connection) -> None:
    job = Written([document("a")], tag="it's a $(tag)", problems=(MISSING,))
    ingest(connection, [job])
    command = sections(maap_stac("show", job.prefix).stdout)["What to do"][-1]
    assert shlex.split(command) == ["maap-stac", "retry", job.prefix]


# How a job may be named.


@pytest.mark.parametrize(
    "form",
    [
        "{prefix}",
        "/{prefix}",
        "maap-ops-workspace/{prefix}catalog.json",
        "s3://maap-ops-workspace/{prefix}",
        "https://stac.example.org/status/{prefix}",
        "/home/ana/maap-ops-workspace/{prefix}",
    ],
)
@pytest.mark.parametrize("above", ["shared/ana", "ana", "shared", "ana-shared"])
def test_what_a_user_shares_is_named_with_the_folder_of_all_shares(form: str, above: str) -> None:
    prefix = f"{above}/dps_output/flood/v1/2025/08/19/09/59/01/262274/"
    assert read_name(form.format(prefix=prefix)).prefix == prefix


@pytest.mark.parametrize(
    "form",
    [
        "{prefix}",
        "{bare}",
        "/{prefix}",
        " {prefix} ",
        "{prefix}catalog.json",
        "{prefix}tiles/a/b.tif",
        "s3://{bucket}/{prefix}",
        "s3://{bucket}/{bare}",
        "s3://{bucket}/{prefix}tiles/item.json",
        "{bucket}/{prefix}",
        "https://stac.example.org/status/{quoted}",
        "https://stac.example.org/stac/jobs/{quoted}?x=1",
        "https://stac.example.org/status/{prefix}",
        "http://127.0.0.1:9000/{bucket}/{prefix}catalog.json",
        "https://{bucket}.s3.us-west-2.amazonaws.com/{prefix}catalog.json",
    ],
)
def test_a_job_is_found_by_whatever_leads_to_it(maap_stac: Run, connection: Connection, form: str) -> None:
    job = Written([document("a")], tag="50%/of it")
    ingest(connection, [job])
    name = form.format(prefix=job.prefix, bare=job.prefix.rstrip("/"), bucket=BUCKET, quoted=quote(job.prefix, safe=""))
    if form.startswith("http") and "{quoted}" not in form:
        name = form.format(prefix=quote(job.prefix), bucket=BUCKET)
    answer = maap_stac("show", name, "--json")
    assert answer.json()["prefix"] == job.prefix


def test_an_unknown_job_is_told_with_the_newest_of_its_user(maap_stac: Run, connection: Connection) -> None:
    discover(connection, *[seen(prefix(number)) for number in range(5)], seen(prefix(7, username="bob")))
    answer = maap_stac("show", prefix(99))
    assert answer.code == 1
    assert f"No job with the output prefix {prefix(99)} has come to notice" in answer.stderr
    assert [line.strip() for line in answer.stderr.splitlines()[-3:]] == [prefix(number) for number in (4, 3, 2)]
    assert answer.stdout == ""


def test_what_is_no_output_prefix_is_wrong_use(maap_stac: Run, connection: Connection) -> None:
    discover(connection, seen(prefix(0)))
    answer = maap_stac("show", "ana/dps_output/flood/v1/")
    assert answer.code == 2
    assert "'ana/dps_output/flood/v1/' is no output prefix" in answer.stderr
    assert answer.stderr.rstrip().endswith(prefix(0))
    nobody = maap_stac("show", "floods")
    assert nobody.code == 2
    assert "No job of 'floods' is known at all" in nobody.stderr


def test_a_job_of_another_bucket_is_told(maap_stac: Run, connection: Connection) -> None:
    discover(connection, seen(prefix(0)))
    answer = maap_stac("show", f"s3://elsewhere/{prefix(0)}")
    assert answer.code == 1
    assert f"has come to notice in the bucket {BUCKET}, not in elsewhere" in answer.stderr
    assert f"ask for s3://{BUCKET}/{prefix(0)}" in answer.stderr


def test_what_is_called_to_command_the_terminal_is_escaped(maap_stac: Run, connection: Connection) -> None:
    job = Written([document("a")], tag="\x1b[2J", problems=(replace(MISSING, object="\x1b]0;x\x07[red]"),))
    ingest(connection, [job])
    for name in (job.prefix, "\x1b[2J/dps_output/x"):
        answer = maap_stac("show", name)
        assert "\x1b" not in answer.stdout + answer.stderr
    assert "[red]" in maap_stac("show", job.prefix).stdout


@pytest.mark.parametrize(
    ("passed", "words"),
    [
        (timedelta(0), "0.0 s"),
        (timedelta(seconds=9.94), "9.9 s"),
        (timedelta(seconds=12.4), "12 s"),
        (timedelta(seconds=59.7), "1 min"),
        (timedelta(seconds=185), "3 min 5 s"),
        (timedelta(hours=2, minutes=5), "2 h 5 min"),
        (timedelta(days=3), "3 d"),
        (timedelta(days=400, hours=1), "400 d 1 h"),
    ],
)
def test_lengths_are_told_as_people_say_them(passed: timedelta, words: str) -> None:
    assert length(passed) == words
