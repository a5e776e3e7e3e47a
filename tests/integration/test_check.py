"""`maap-stac check` tells what would become of a job's output, in words and as JSON, and writes nothing."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from maap_stac_orchestration.cli import group
from maap_stac_orchestration.cli.errors import told
from tests.integration.object_store import bucket, s3_endpoint  # noqa: F401
from tests.shared import sample_bucket

STAMP = "2025/08/19/09/59/01/262274"
METADATA = {"username": "u", "algorithm_name": "flood", "algorithm_version": "v1", "tag": "t"}


@dataclass(frozen=True)
class Run:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def check(monkeypatch, capsys):
    for name in list(os.environ):
        if name.startswith(("MAAP_STAC_", "PG")):
            monkeypatch.delenv(name)

    def run(*arguments: object) -> Run:
        monkeypatch.setattr(sys, "argv", ["maap-stac", "check", *map(str, arguments)])
        code = told(group)
        return Run(code, *capsys.readouterr())

    return run


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


def write_job(folder: Path, *items: dict[str, Any], metadata: Any = None) -> Path:
    folder.mkdir(parents=True)
    links = [{"rel": "item", "href": f"./{number}.json"} for number in range(len(items))]
    catalog = {"type": "Catalog", "stac_version": "1.1.0", "id": "c", "description": "d", "links": links}
    (folder / "catalog.json").write_text(json.dumps(catalog))
    for number, one in enumerate(items):
        (folder / f"{number}.json").write_text(json.dumps(one))
    if metadata is not None:
        (folder / "output-1.met.json").write_text(json.dumps(metadata))
    return folder


def everything(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


OPTIONS = ("--username", "u", "--algorithm", "flood", "--version", "v1")


def test_a_good_job_is_fine_and_left_as_it_is(check, tmp_path):
    job = write_job(tmp_path / "u" / "dps_output" / "flood" / "v1" / "t" / STAMP, item("x"), metadata=METADATA)
    before = everything(tmp_path)

    run = check(job, "--json")

    assert run.code == 0
    assert run.document == {
        "ok": True,
        "job": {
            "username": "u",
            "algorithm": "flood",
            "version": "v1",
            "tag": "t",
            "time": "2025-08-19T09:59:01.262274Z",
            "prefix": f"u/dps_output/flood/v1/t/{STAMP}/",
        },
        "items": [
            {
                "id": "x",
                "collection": "u__flood__v1__t",
                "requested_collection": None,
                "decision": "default_assigned",
                "problems": [],
            }
        ],
        "problems": [],
    }
    assert everything(tmp_path) == before


@pytest.mark.parametrize("inside", ["", "catalog.json", "sub"])
def test_the_job_is_found_from_any_place_in_it(check, tmp_path, monkeypatch, inside):
    job = write_job(tmp_path / "u" / "dps_output" / "flood" / "v1" / STAMP, item("x"), metadata=METADATA)
    (job / "sub").mkdir()

    assert check(job / inside, "--json").document["ok"]
    monkeypatch.chdir(job)
    assert check(inside or ".", "--json").document["job"]["prefix"] == f"u/dps_output/flood/v1/{STAMP}/"


def test_before_a_job_was_ever_submitted_the_options_stand_in(check, tmp_path):
    job = write_job(tmp_path / "output", item("x"))

    run = check(job, *OPTIONS, "--tag", "a/b", "--json")

    assert run.code == 0
    told_job = run.document["job"]
    assert [told_job[name] for name in ("username", "algorithm", "version", "tag")] == ["u", "flood", "v1", "a/b"]
    assert told_job["prefix"].startswith("u/dps_output/flood/v1/a/b/20")
    assert run.document["items"][0]["collection"] == "u__flood__v1__a-b"


def test_the_segment_before_dps_output_is_the_username(check, tmp_path):
    job = write_job(tmp_path / "ana" / "dps_output" / "flood" / "v2" / "my" / "tag", item("x"))

    run = check(job, "--json")

    assert run.code == 0
    assert run.document["items"][0]["collection"] == "ana__flood__v2__my-tag"

    bare = write_job(tmp_path / "bob" / "dps_output", item("x"))
    assert check(bare, "--algorithm", "a", "--version", "v", "--json").document["job"]["username"] == "bob"
    assert "Add --algorithm, --version." in check(bare).err


def test_what_a_user_shares_is_theirs(check, tmp_path):
    shared = tmp_path / "shared" / "u" / "dps_output" / "flood" / "v1" / STAMP
    mine = {"mine": {"href": "s3://maap-ops-workspace/u/mine.tif"}, "all": {"href": "s3://maap-ops-workspace/shared/x"}}
    job = write_job(shared, item("x", assets=mine), metadata=METADATA)

    run = check(job, "--json")

    assert (run.code, run.document["problems"]) == (0, [])
    told_job = run.document["job"]
    assert (told_job["username"], told_job["prefix"]) == ("u", f"shared/u/dps_output/flood/v1/{STAMP}/")
    assert run.document["items"][0]["collection"] == "u__flood__v1__t"

    (shared / "output-1.met.json").write_text(json.dumps(METADATA | {"username": "shared"}))
    assert [problem["code"] for problem in check(job, "--json").document["problems"]] == ["identity_mismatch"]


def test_a_job_without_metadata_is_told_so_unless_the_options_stand_in(check, tmp_path):
    job = write_job(tmp_path / "u" / "dps_output" / "flood_7" / "v1" / STAMP, item("x"))

    without = check(job, "--json")
    assert without.code == 1
    assert [problem["code"] for problem in without.document["problems"]] == ["metadata_missing"]
    assert without.document["items"] == []
    assert without.document["job"]["username"] == "u"

    with_options = check(job, "--algorithm", "flood", "--json")
    assert with_options.code == 0
    assert with_options.document["items"][0]["collection"] == "u__flood__v1"


def test_another_username_in_the_metadata_rejects_the_job(check, tmp_path):
    other = METADATA | {"username": "someone"}
    job = write_job(
        tmp_path / "u" / "dps_output" / "flood" / "v1" / STAMP, item("x"), item("y", collection="z-z"), metadata=other
    )

    run = check(job, "--json")

    assert run.code == 1
    assert run.document["items"] == []
    assert [problem["code"] for problem in run.document["problems"]] == ["identity_mismatch"]


@pytest.fixture
def asking(tmp_path):
    """A job of which one item asks for a collection that nobody may have."""
    return write_job(
        tmp_path / "u" / "dps_output" / "flood" / "v1" / STAMP,
        item("x", collection="theirs"),
        item("y"),
        metadata=METADATA,
    )


def test_a_denial_that_falls_back_is_no_error(check, asking):
    run = check(asking, "--json")

    assert run.code == 0
    x, y = run.document["items"]
    assert (x["decision"], x["requested_collection"], x["collection"]) == (
        "user_not_authorized",
        "theirs",
        "u__flood__v1__t",
    )
    assert y["decision"] == "default_assigned"
    assert run.document["problems"] == []
    assert "which collections there are is not known here" in run.err


def test_a_denial_that_rejects_is_an_error_and_the_item_is_not_listed(check, asking, monkeypatch):
    monkeypatch.setenv("MAAP_STAC_ON_DENIED", "reject")

    run = check(asking, "--json")

    assert run.code == 1
    assert [one["id"] for one in run.document["items"]] == ["y"]
    [problem] = run.document["problems"]
    assert (problem["code"], problem["severity"], problem["object"]) == ("user_not_authorized", "error", "theirs")
    assert "0.json" in problem["message"]


def test_the_registry_of_the_environment_decides(check, asking, tmp_path, monkeypatch):
    registry = tmp_path / "registry.json"
    registry.write_text(json.dumps({"theirs": ["u"]}))
    monkeypatch.setenv("MAAP_STAC_REGISTRY", str(registry))

    [x, _] = check(asking, "--json").document["items"]
    assert (x["decision"], x["collection"]) == ("granted", "theirs")

    registry.write_text("{")
    assert check(asking).code == 2


def test_warnings_stand_with_their_item_and_are_no_error(check, tmp_path):
    one = item("x", assets={"data": {"href": "./gone.tif"}})
    job = write_job(tmp_path / "u" / "dps_output" / "flood" / "v1" / STAMP, one, metadata=METADATA)

    run = check(job, "--json")

    assert run.code == 0
    [shown] = run.document["items"]
    assert [problem["code"] for problem in shown["problems"]] == ["asset_missing"]
    assert run.document["problems"] == shown["problems"]


def test_a_refused_item_stands_only_under_the_problems(check, tmp_path):
    job = write_job(
        tmp_path / "u" / "dps_output" / "flood" / "v1" / STAMP, item("x"), item("y", geometry=3), metadata=METADATA
    )

    run = check(job, "--json")

    assert run.code == 1
    assert [one["id"] for one in run.document["items"]] == ["x"]
    assert [(problem["code"], problem["object"]) for problem in run.document["problems"]] == [("geometry_invalid", "y")]


def test_people_read_the_job_the_items_and_what_to_do(check, asking):
    (asking / "1.json").write_text("{")

    run = check(asking)

    assert run.code == 1
    for words in [
        "flood v1, tag t, run by u at 2025-08-19",
        "user_not_authorized",
        "u__flood__v1__t",
        "item_unreadable, 1 time",
        "The item 1.json cannot be read as JSON",
        "Write the file as UTF-8 JSON",
        "1 error: 1 item would be loaded.",
    ]:
        assert words in run.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["{tmp}/output"], "Add --username, --algorithm, --version."),
        (["{tmp}/output", "--username", "u"], "Add --algorithm, --version."),
        (["{tmp}/nowhere"], "There is nothing at"),
        (["{tmp}/output/0.json"], "name the job's output folder"),
        (["{tmp}/bucket"], "lies above the outputs of jobs; check one of them, for example"),
        (["{tmp}/bucket/u/dps_output", *OPTIONS], "lies above the outputs of jobs"),
        (["{tmp}/output", "--username", "u", "--algorithm", "x", "--version", "y/z"], "cannot hold slashes"),
        (["{tmp}/output", "--username", "..", "--algorithm", "x", "--version", "y"], "make no output prefix"),
        (["s3://bucket/u/dps_output/"], "holds no output prefix"),
        (["s3://"], "holds no output prefix"),
        ([], "Missing argument"),
    ],
)
def test_wrong_use_is_one_sentence(check, tmp_path, arguments, sentence):
    write_job(tmp_path / "output", item("x"))
    write_job(tmp_path / "bucket" / "u" / "dps_output" / "flood" / "v1" / STAMP, item("x"))

    run = check(*[argument.format(tmp=tmp_path) for argument in arguments])

    assert run.code == 2
    assert sentence in run.err
    assert "Traceback" not in run.err
    assert run.out == ""


def test_a_wrong_setting_is_a_sentence(check, asking, monkeypatch):
    monkeypatch.setenv("MAAP_STAC_MAX_ITEMS", "many")

    run = check(asking)

    assert run.code == 2
    assert "MAAP_STAC_MAX_ITEMS" in run.err


def test_a_prefix_in_s3_gives_what_its_folder_gives(check, bucket, tmp_path):  # noqa: F811
    key = f"u/dps_output/flood/v1/t/{STAMP}"
    job = write_job(tmp_path / key, item("x"), item("y", geometry=3), metadata=METADATA)
    bucket.put_folder(tmp_path)

    here, there = check(job, "--json"), check(f"s3://{bucket.name}/{key}/", "--json")

    assert here.code == there.code == 1
    assert here.document == there.document
    assert check(f"s3://{bucket.name}/{key}").code == 1
    gone = check("s3://no-such-bucket/" + key)
    assert (gone.code, "There is no such bucket" in gone.err) == (2, True)
    empty = check(f"s3://{bucket.name}/u/dps_output/flood/v9/{STAMP}", "--json")
    assert [problem["code"] for problem in empty.document["problems"]] == ["metadata_missing", "catalog_missing"]


def test_every_job_of_the_sample_bucket_can_be_checked(check):
    jobs = sorted({path.parent for path in sample_bucket().rglob("*.met.json")})
    assert len(jobs) == 6

    for job in jobs:
        run = check(job, "--json")
        errors = [problem["code"] for problem in run.document["problems"] if problem["severity"] == "error"]
        assert errors == (["item_duplicate"] if "dateline" in str(job) else []), job
        assert run.code == (1 if errors else 0)
        assert run.document["items"]
