"""`maap-stac export`, and `maap-stac ingest` of what it wrote, with jobs in S3 and the API over both databases."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import psycopg
import pystac
import pytest

from maap_stac_orchestration.stack.postgres import PostgresServer
from tests.conftest import MotoStore, _database
from tests.integration.api.conftest import running
from tests.integration.cli.commands import Run
from tests.integration.pipeline.batches import Written, document
from tests.integration.pipeline.exporting import COLLECTION, rows
from tests.integration.pipeline.test_ingest import put_job

PAGE = (Path(__file__).parents[3] / "docs" / "export.md").read_text()
RANGE = {"datetime": None, "start_datetime": "2024-06-01T00:00:00Z", "end_datetime": "2024-06-30T23:59:59Z"}
JOB = Written([document("a", west=1.0), {**document("b"), "properties": RANGE}])
#: The same algorithm, version and tag, a year later.
LATER = Written(minute=525_600)


@pytest.fixture
def ingested(maap_stac: Run, object_store: MotoStore) -> Run:
    """The command, over a database in which a job's items are."""
    put_job(object_store, JOB)
    assert maap_stac("ingest", f"s3://{object_store.bucket}/{JOB.prefix}").code == 0
    return maap_stac


def answers() -> dict[str, Any]:
    """What the API says of the collection and its items, wherever it runs, but for links, which name its port."""
    with running() as api:
        collection = api.get(f"/collections/{COLLECTION}").json()
        items = api.get(f"/collections/{COLLECTION}/items", limit=100).json()["features"]
        address = api.url
    told = json.dumps([collection, sorted(items, key=lambda item: item["id"])], sort_keys=True)
    return json.loads(told.replace(address, "https://stac.example.org"))


def test_another_installation_answers_the_same(
    ingested: Run,
    tmp_path: Path,
    postgres_server: PostgresServer,
    migrated: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = ingested("export", COLLECTION, str(tmp_path / "out"), "--json").json()
    assert (told["items"], told["verified"], told["identical"], told["formats"]) == (2, 2, 2, ["static", "geoparquet"])
    before = answers()
    for url in _database(postgres_server, migrated):
        monkeypatch.setenv("PGDATABASE", url.rsplit("/", 1)[1])
        [export] = ingested("ingest", str(tmp_path / "out"), "--json").json()["exports"]
        assert (export["document"], export["items"]["loaded"]) == ("created", 2)
        assert answers() == before


def test_ingested_again_it_changes_nothing(ingested: Run, tmp_path: Path, database: str) -> None:
    ingested("export", COLLECTION, str(tmp_path / "out"))
    with psycopg.connect(database) as connection:
        before = rows(connection)
        answer = ingested("ingest", str(tmp_path / "out"))
        assert answer.code == 0
        assert "0 loaded, 2 unchanged, 0 older, 0 refused." in " ".join(answer.stdout.split())
        assert rows(connection) == before


def test_as_the_output_of_a_later_job_it_gives_the_same_items_with_that_jobs_provenance(
    ingested: Run, object_store: MotoStore, database: str
) -> None:
    before = items(database)
    ingested("export", COLLECTION, f"s3://{object_store.bucket}/{LATER.prefix}")
    metadata = {"username": JOB.username, "algorithm_name": JOB.algorithm, "algorithm_version": JOB.version}
    object_store.put(f"{LATER.prefix}output-1.met.json", json.dumps({**metadata, "tag": JOB.tag}).encode())
    [job] = ingested("ingest", f"s3://{object_store.bucket}/{LATER.prefix}", "--json").json()["jobs"]
    assert (job["state"], job["items"]["loaded"], job["collections"]) == ("loaded", 2, [COLLECTION])
    after = items(database)
    for id, item in after.items():
        old = before[id]
        changed = {name for name, value in item["properties"].items() if old["properties"].get(name) != value}
        assert changed == {"maap:job_time", "maap:job_prefix", "maap:run_id"}
        assert item["assets"] == old["assets"]
        # The way back to where it was first, and to the copy.
        assert [link["href"] for link in item["links"]] == [
            old["links"][0]["href"],
            f"s3://{object_store.bucket}/{LATER.prefix}{id}/{id}.json",
        ]


def items(database: str) -> dict[str, Any]:
    with psycopg.connect(database) as connection:
        found = connection.execute("SELECT pgstac.get_item(id, collection) FROM pgstac.items").fetchall()
    return {item["id"]: item for (item,) in found}


def test_a_bucket_is_a_place_like_a_folder(ingested: Run, object_store: MotoStore) -> None:
    address = f"s3://{object_store.bucket}/public/mosaic"
    assert ingested("export", COLLECTION, address).code == 0
    again = ingested("export", COLLECTION, address)
    assert (again.code, "--overwrite" in again.stderr) == (2, True)
    assert ingested("export", COLLECTION, address, "--overwrite", "--format", "geoparquet").code == 0
    [export] = ingested("ingest", address, "--json").json()["exports"]
    assert export["items"] == {"loaded": 0, "unchanged": 2, "older": 0, "refused": 0}


def test_what_no_table_can_hold_is_told_and_the_exit_code_says_so(ingested: Run, tmp_path: Path, database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("""
            UPDATE pgstac.items SET content = jsonb_set(content, '{properties,geometry}', '"x"') WHERE id = 'a'
        """)
    answer = ingested("export", COLLECTION, str(tmp_path / "out"))
    assert answer.code == 1
    assert "There is no items.parquet" in answer.stderr
    assert "a property called geometry" in answer.stderr
    assert pystac.Collection.from_file(str(tmp_path / "out" / "collection.json")).get_item("a") is not None


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["no-such-collection", "OUT"], "There is no collection no-such-collection."),
        ([COLLECTION, "OUT", "--datetime", "summer"], "is no stretch of time"),
        ([COLLECTION, "OUT", "--format", "csv"], "Invalid value for '--format'"),
        ([COLLECTION, "s3://"], "is not a place in S3"),
        ([COLLECTION, "s3://no-such-bucket/x"], "There is no such bucket"),
        ([COLLECTION, "/proc/nowhere"], "cannot be written"),
        ([COLLECTION], "Missing argument"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(ingested: Run, tmp_path: Path, arguments: list[str], told: str) -> None:
    answer = ingested("export", *(str(tmp_path / "out") if one == "OUT" else one for one in arguments))
    assert answer.code == 2
    assert told in answer.stderr
    assert "Traceback" not in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_export_is_told(ingested: Run, tmp_path: Path) -> None:
    answer = ingested("ingest", str(tmp_path))
    assert (answer.code, "holds no export" in answer.stderr) == (2, True)


def test_the_commands_of_the_page_do_what_it_says(
    ingested: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [line for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
    commands = [line.removeprefix("$ maap-stac ").split() for line in lines if line.startswith("$ maap-stac ")]
    assert len(commands) > 3
    for arguments in commands:
        answer = ingested(*(one.replace("ana--floods", COLLECTION) for one in arguments))
        assert answer.code == 0, (arguments, answer.stderr)


def test_the_python_of_the_page_runs(ingested: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert ingested("export", COLLECTION, "floods").code == 0
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) > 1
    for block in blocks:
        exec(compile(block, "docs/export.md", "exec"), {})
