"""The doctor finds what is wrong with an environment, says what to do, and finds nothing where all is well."""

from __future__ import annotations

from pathlib import Path

import pytest

from maap_stac_orchestration.ledger.changes import Author, Via
from maap_stac_orchestration.pgstac import limits
from maap_stac_orchestration.pipeline.administer import set_team
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.stack import doctor
from maap_stac_orchestration.stack.events import wire
from maap_stac_orchestration.stack.home import Home
from tests.conftest import free_port


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.create()
    # Not the usual ports, on which a stack may well run beside the tests, nor those that connections are given.
    made.remember(port_base=7110)
    return made


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith(("MAAP_STAC_", "DAGSTER_", "AWS_"))]:
        monkeypatch.delenv(name)


def codes(home: Home) -> dict[str, doctor.Finding]:
    return {finding.code: finding for finding in doctor.examine(home, None)}


@pytest.fixture
def queue_url(object_store, monkeypatch) -> str:
    """A bucket and a queue as they should be, with the settings that name them."""
    wired = wire(object_store.client("s3"), object_store.client("sns"), object_store.client("sqs"), object_store.bucket)
    monkeypatch.setenv("MAAP_STAC_BUCKETS", object_store.bucket)
    monkeypatch.setenv("MAAP_STAC_QUEUE_URL", wired.queue_url)
    return wired.queue_url


def test_nothing_is_found_where_all_is_well(home, database_env, queue_url):
    assert codes(home) == {}


def test_a_database_that_does_not_answer_is_named(home, monkeypatch):
    monkeypatch.setenv("PGHOST", "127.0.0.1")
    monkeypatch.setenv("PGPORT", "1")
    finding = codes(home)["database_unreachable"]
    assert "port 1" in finding.message
    assert "PGPORT" in finding.fix


def test_a_database_without_schemas_is_to_be_migrated(home, empty_database, monkeypatch):
    from psycopg.conninfo import conninfo_to_dict

    for name, value in conninfo_to_dict(empty_database).items():
        monkeypatch.setenv({"dbname": "PGDATABASE"}.get(name, f"PG{name.upper()}"), str(value))
    found = codes(home)
    assert set(found) == {"pgstac_behind", "ledger_behind"}
    assert all("maap-stac migrate" in finding.fix for finding in found.values())


def test_too_many_collections_for_the_locks_are_told_before_searches_fail(
    home, database_env, connection, monkeypatch, queue_url
):
    assert codes(home) == {}
    room = limits.locks(connection).at_once
    monkeypatch.setattr(limits, "WARN_BELOW", room + 1)
    warned = codes(home)["locks_run_out"]
    assert warned.severity is doctor.Severity.WARNING
    assert "max_locks_per_transaction" in warned.fix
    monkeypatch.setattr(limits, "FAIL_BELOW", room + 1)
    assert codes(home)["locks_run_out"].severity is doctor.Severity.ERROR


def test_a_bucket_and_a_queue_that_are_not_there_are_named(home, database_env, queue_url, monkeypatch):
    monkeypatch.setenv("MAAP_STAC_BUCKETS", "nowhere")
    monkeypatch.setenv("MAAP_STAC_QUEUE_URL", queue_url + "-not")
    found = codes(home)
    assert set(found) == {"bucket_unreachable", "queue_unreachable"}
    assert "nowhere" in found["bucket_unreachable"].message


def test_dead_letters_are_told(home, database_env, queue_url, object_store):
    object_store.client("sqs").send_message(QueueUrl=f"{queue_url}-dead-letter", MessageBody="junk")
    finding = codes(home)["dead_letters"]
    assert finding.severity is doctor.Severity.WARNING
    assert finding.message == "1 message that was given up is in the dead-letter queue."
    assert "maap-stac dead-letters list" in finding.fix


def test_a_queue_that_puts_nothing_aside_is_told(home, database_env, queue_url, object_store, monkeypatch):
    plain = object_store.client("sqs").create_queue(QueueName="plain")["QueueUrl"]
    monkeypatch.setenv("MAAP_STAC_QUEUE_URL", plain)
    assert codes(home)["dead_letter_queue_missing"].severity is doctor.Severity.WARNING


def test_a_wrong_setting_is_a_sentence(home, database_env, queue_url, monkeypatch):
    monkeypatch.setenv("MAAP_STAC_WAIT_DEADLINE", "soon")
    finding = codes(home)["settings_wrong"]
    assert finding.object == "MAAP_STAC_WAIT_DEADLINE"
    assert "soon" in finding.message


def test_a_registry_that_does_not_load_is_told(home, database_env, queue_url, monkeypatch, tmp_path):
    broken = tmp_path / "registry.yaml"
    broken.write_text("grants: 7\n")
    monkeypatch.setenv("MAAP_STAC_REGISTRY", str(broken))
    assert codes(home)["registry_broken"].object == str(broken)


def test_a_registry_file_that_contradicts_the_entries_of_the_database_is_told(
    home, database_env, connection, queue_url, monkeypatch, tmp_path
):
    set_team(connection, Settings(), "boreal", ["ana"], Author("root", Via.CLI, "a campaign"))
    file = tmp_path / "registry.yaml"
    file.write_text("version: 1\nteams: {boreal: [ana]}\n")
    monkeypatch.setenv("MAAP_STAC_REGISTRY", str(file))
    assert codes(home) == {}
    file.write_text("version: 1\nteams: {boreal: [bob]}\n")
    assert "boreal" in codes(home)["registry_broken"].message
    (recorded,) = connection.execute("SELECT count(*) FROM ledger.registry_version").fetchone()
    assert recorded == 0, "looking puts nothing on record"


def test_a_full_disk_is_told(home, database_env, queue_url, monkeypatch):
    monkeypatch.setattr(doctor, "_LITTLE_SPACE", 2**62)
    assert codes(home)["disk_full"].severity is doctor.Severity.WARNING


def test_a_tiler_that_does_not_answer_is_told(home, database_env, queue_url, monkeypatch):
    monkeypatch.setenv("MAAP_STAC_TILER_URL", f"http://127.0.0.1:{free_port()}")
    found = codes(home)
    assert set(found) == {"tiler_ill"}
    assert "does not answer" in found["tiler_ill"].message


def test_that_gdal_does_not_get_into_the_bucket_is_told(home, database_env, queue_url, monkeypatch):
    monkeypatch.setenv("MAAP_STAC_TILER_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_S3_ENDPOINT", f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_HTTPS", "NO")
    assert codes(home)["tiles_unreadable"].severity is doctor.Severity.WARNING
