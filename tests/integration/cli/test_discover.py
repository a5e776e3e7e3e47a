"""An operator puts old outputs into the ledger: days of the buckets, or an inventory; counts first; goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.cli.commands import Run
from tests.integration.inventories import BUCKET, DESTINATION, MANIFEST, inventory, row
from tests.integration.ledger.build import Connection, discover, prefix, seen, states

if TYPE_CHECKING:
    from tests.conftest import MotoStore

FIRST, SECOND, OTHER_MONTH = date(2025, 8, 19), date(2025, 8, 20), date(2025, 6, 1)
SPAN = ("--from", "2025-06-01", "--to", "2025-08-20")


@pytest.fixture(autouse=True)
def one_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """The buckets that the deployment looks after."""
    for name in ("MAAP_STAC_FIRST_DAY", "MAAP_STAC_PUBLIC_URL", "MAAP_STAC_QUEUE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MAAP_STAC_BUCKETS", BUCKET)


@pytest.fixture
def outputs(object_store: MotoStore) -> list[str]:
    """Jobs of three days, in the bucket."""
    jobs = [prefix(1, day=FIRST), prefix(2, day=FIRST), prefix(3, day=SECOND), prefix(4, day=OTHER_MONTH)]
    for job in jobs:
        object_store.put(f"{job}catalog.json", b"{}")
    return jobs


def counts(document: Any) -> dict[str, tuple[int, int]]:
    return {one["day"]: (one["catalogs"], one["new"]) for one in document["by_day"]}


def test_days_are_listed_into_the_ledger_at_low_priority(
    maap_stac: Run, connection: Connection, outputs: list[str]
) -> None:
    done = maap_stac("discover", *SPAN)
    assert done.code == 0, done.stderr
    assert sorted(states(connection)) == sorted(outputs)
    assert connection.execute("SELECT DISTINCT priority FROM ledger.job").fetchall() == [(10,)]
    assert f"Listed 81 days from 2025-06-01 to 2025-08-20 in {BUCKET}." in done.stdout
    assert [line.split() for line in done.stdout.splitlines()[1:6]] == [
        ["day", "catalogs", "new", "known"],
        ["2025-08-20", "1", "1", "0"],
        ["2025-08-19", "2", "2", "0"],
        ["2025-06-01", "1", "1", "0"],
        ["in", "all", "4", "4", "0"],
    ]
    assert "The sensor new_catalogs asks for runs of those days" in done.stdout
    assert "maap-stac jobs --state discovered" in done.stdout


def test_a_count_tells_the_same_and_writes_nothing(maap_stac: Run, connection: Connection, outputs: list[str]) -> None:
    discover(connection, seen(outputs[0], "99914b932bd37a50b983c5e7c90ae93b"))
    counted = maap_stac("discover", *SPAN, "--dry-run", "--json").json()
    assert list(states(connection)) == [outputs[0]]
    assert connection.execute("SELECT count(*) FROM ledger.listed_day").fetchone() == (0,)
    connection.commit()
    assert (counted["dry_run"], counted["catalogs"], counted["new"], counted["known"]) == (True, 4, 3, 1)
    assert counts(counted) == {"2025-06-01": (1, 1), "2025-08-19": (2, 1), "2025-08-20": (1, 1)}
    done = maap_stac("discover", *SPAN, "--json").json()
    assert {name: done[name] for name in ("catalogs", "new", "known", "by_day")} == {
        name: counted[name] for name in ("catalogs", "new", "known", "by_day")
    }
    assert "Nothing was written" in maap_stac("discover", *SPAN, "--dry-run").stdout


def test_the_last_day_is_included_and_others_are_not(
    maap_stac: Run, connection: Connection, outputs: list[str]
) -> None:
    done = maap_stac("discover", "--from", "2025-08-20", "--to", "2025-08-20", "--json").json()
    assert (done["days"], counts(done)) == (1, {"2025-08-20": (1, 1)})
    assert list(states(connection)) == [outputs[2]]


def test_it_begins_with_the_first_day_of_the_settings_and_ends_today(
    maap_stac: Run, object_store: MotoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = datetime.now(UTC).date()
    object_store.put(f"{prefix(1, day=today)}catalog.json", b"{}")
    without = maap_stac("discover", "--dry-run")
    assert (without.code, "Say with --from" in without.stderr) == (2, True)
    monkeypatch.setenv("MAAP_STAC_FIRST_DAY", str(today - timedelta(days=9)))
    counted = maap_stac("discover", "--dry-run", "--json").json()
    assert (counted["to"], counted["days"], counts(counted)) == (str(today), 10, {str(today): (1, 1)})


def test_days_that_were_listed_lately_are_left_out_on_resuming(
    maap_stac: Run, connection: Connection, outputs: list[str]
) -> None:
    assert maap_stac("discover", "--from", "2025-08-01", "--to", "2025-08-20").code == 0
    resumed = maap_stac("discover", *SPAN, "--resume", "--json").json()
    assert (resumed["days"], resumed["left_out"], counts(resumed)) == (61, 20, {"2025-06-01": (1, 1)})
    connection.execute("UPDATE ledger.listed_day SET listed_at = listed_at - interval '25 hours'")
    connection.commit()
    assert maap_stac("discover", *SPAN, "--resume", "--json").json()["left_out"] == 0
    told = maap_stac("discover", *SPAN, "--resume").stdout
    assert "81 days left out: listed whole in the last 24 hours." in told


def test_more_days_than_one_reads_are_shown_by_month(maap_stac: Run, object_store: MotoStore) -> None:
    for number in range(40):
        object_store.put(f"{prefix(1, day=OTHER_MONTH + timedelta(days=number))}catalog.json", b"{}")
    told = maap_stac("discover", *SPAN, "--dry-run").stdout
    assert [line.split()[:2] for line in told.splitlines()[1:4]] == [
        ["month", "catalogs"],
        ["2025-07", "10"],
        ["2025-06", "30"],
    ]
    assert len(maap_stac("discover", *SPAN, "--dry-run", "--json").json()["by_day"]) == 40


def test_a_bucket_that_cannot_be_listed_is_named_and_the_others_count(
    maap_stac: Run, connection: Connection, outputs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAAP_STAC_BUCKETS", f"{BUCKET},no-such-bucket")
    done = maap_stac("discover", *SPAN)
    assert done.code == 2
    assert "no-such-bucket" in done.stderr
    assert "Go on with: maap-stac discover --from 2025-06-01 --to 2025-08-20 --resume" in done.stderr
    assert len(states(connection)) == len(outputs)
    connection.commit()
    only = maap_stac("discover", *SPAN, "--bucket", BUCKET, "--json").json()
    assert (only["buckets"], only["catalogs"], only["new"]) == ([BUCKET], 4, 0)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--from", "2025-08-02", "--to", "2025-08-01"), "--from 2025-08-02 is later than --to 2025-08-01"),
        (("--from", "2025-08-02", "--bucket", "other"), "--bucket other is none of MAAP_STAC_BUCKETS"),
        (("--inventory", "x", "--from", "2025-08-02"), "leave out --from"),
        (("--inventory", "x", "--resume"), "leave out --from"),
        (("--from", "yesterday"), "yesterday"),
    ],
)
def test_wrong_use_is_told(maap_stac: Run, object_store: MotoStore, arguments: tuple[str, ...], told: str) -> None:
    answer = maap_stac("discover", *arguments)
    assert (answer.code, told in answer.stderr) == (2, True), answer.stderr


def test_an_inventory_is_read_from_its_bucket(
    maap_stac: Run, connection: Connection, object_store: MotoStore, outputs: list[str]
) -> None:
    discover(connection, seen(outputs[0], "e1"))
    client = object_store.client()
    client.create_bucket(Bucket=DESTINATION, CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    rows = [row(f"{job}catalog.json") for job in outputs]
    made = inventory("Parquet", rows[:2], [*rows[2:], row(f"{outputs[3]}a/catalog.json"), row("other")])
    address = made.put(client)
    counted = maap_stac("discover", "--inventory", address, "--dry-run", "--json").json()
    assert list(states(connection)) == [outputs[0]]
    connection.commit()
    done = maap_stac("discover", "--inventory", address, "--json").json()
    assert {**counted, "dry_run": False, "seconds": 0} == {**done, "seconds": 0}
    assert (done["inventory"], done["bucket"], done["keys"], done["left_out"]) == (address, BUCKET, 6, 0)
    assert (done["catalogs"], done["new"], done["known"], done["nested"]) == (4, 3, 1, 1)
    assert [one["keys"] for one in done["files"]] == [2, 4]
    assert counts(done) == {"2025-06-01": (1, 1), "2025-08-19": (2, 1), "2025-08-20": (1, 1)}
    assert sorted(states(connection)) == sorted(outputs)
    connection.commit()
    again = maap_stac("discover", "--inventory", address)
    assert again.code == 0, again.stderr
    assert "2 files left out: read whole before." in again.stdout


def test_what_an_inventory_came_to_is_told_in_sentences(
    maap_stac: Run, object_store: MotoStore, tmp_path: Path
) -> None:
    job = prefix(1, day=FIRST)
    rows = [
        row(f"{job}catalog.json"),
        row(f"{job}catalog.json", "e0", IsLatest=False),
        row(f"{job}a/catalog.json"),
        row("a\0/catalog.json"),
    ]
    path = inventory("CSV", rows).copy(tmp_path)
    told = maap_stac("discover", "--inventory", str(path)).stdout
    assert told.splitlines()[:4] == [
        f"Read 1 file of the inventory of {BUCKET}, of 2026-03-02 01:00 UTC: 4 keys.",
        "Left out: 1 catalog below a catalog at the root of their job: they belong to that.",
        "Left out: 1 catalog not the latest version, or deleted.",
        "Left out: 1 key like a catalog's that cannot be kept: no UTF-8, a NUL, or longer than S3 has.",
    ]
    assert "1 catalog of 1 day put into the ledger at low priority." in told


def test_days_that_have_no_partition_count_for_the_nearest(
    maap_stac: Run, object_store: MotoStore, tmp_path: Path
) -> None:
    rows = [
        row(f"{prefix(1, day=date(1999, 1, 1))}catalog.json"),
        row(f"{prefix(1, day=date(2999, 1, 1))}catalog.json"),
    ]
    done = maap_stac("discover", "--inventory", str(inventory("CSV", rows).copy(tmp_path)), "--json").json()
    assert counts(done) == {"2020-01-01": (1, 1), str(datetime.now(UTC).date()): (1, 1)}


def test_an_inventory_of_another_bucket_and_a_damaged_one_are_told_in_a_sentence(
    maap_stac: Run, connection: Connection, object_store: MotoStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = inventory("CSV", [row(f"{prefix(1)}catalog.json")], [row(f"{prefix(2)}catalog.json")])
    path = made.copy(tmp_path)
    damaged = sorted(made.objects.keys() - {MANIFEST})[1]
    (tmp_path / damaged).write_bytes(b"")
    answer = maap_stac("discover", "--inventory", str(path))
    assert answer.code == 2
    assert re.search(
        rf"{damaged} has 0 bytes where the manifest says .* 1 file of 2 read\. What was found is kept", answer.stderr
    )
    assert f"Go on with: maap-stac discover --inventory {path}" in answer.stderr
    assert list(states(connection)) == [prefix(1)]
    monkeypatch.setenv("MAAP_STAC_BUCKETS", "another")
    refused = maap_stac("discover", "--inventory", str(path))
    assert (refused.code, "MAAP_STAC_BUCKETS names another" in refused.stderr) == (2, True)


def stop_as_soon_as(
    counted: str, connection: Connection, environment: dict[str, str], *arguments: str
) -> tuple[int, str]:
    """Calls the command, and presses Ctrl-C when a count is no longer 0; gives the exit code and what it told."""
    process = subprocess.Popen(
        [Path(sys.executable).with_name("maap-stac"), "discover", *arguments],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background has SIGINT ignored, which would be inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while connection.execute(counted.encode()).fetchone() == (0,):
        connection.commit()
        assert process.poll() is None
    connection.commit()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    return process.returncode, told


def test_stopped_in_an_inventory_it_says_how_far_it_came_and_how_to_go_on(
    database_env: dict[str, str], connection: Connection, object_store: MotoStore, tmp_path: Path
) -> None:
    rows = [row(f"{prefix(number)}catalog.json") for number in range(2000)]
    files = [rows[start : start + 50] for start in range(0, len(rows), 50)]
    path = inventory("CSV", *files).copy(tmp_path)
    returncode, told = stop_as_soon_as(
        "SELECT count(*) FROM ledger.inventory_file", connection, database_env, "--inventory", str(path)
    )
    assert returncode == 130, told
    assert re.search(r"Stopped: \d+ files? of 40 read\. What was found is kept, and files that were read", told)
    assert f"Go on with: maap-stac discover --inventory {path}" in told


def test_stopped_among_the_days_it_says_how_far_it_came_and_goes_on_there(
    maap_stac: Run, database_env: dict[str, str], connection: Connection, outputs: list[str]
) -> None:
    span = ("--from", "1990-01-01", "--to", "2025-08-31")
    listed = "SELECT count(*) FROM ledger.listed_day"
    returncode, told = stop_as_soon_as(listed, connection, database_env, *span)
    assert returncode == 130, told
    goes_on = re.search(r"Stopped: (\S+) days of (\S+) listed, back to (\S+)\. What was found is kept\.", told)
    assert goes_on, told
    assert "Go on with: maap-stac discover --from 1990-01-01 --to 2025-08-31 --resume" in told
    done = maap_stac("discover", *span, "--resume", "--json").json()
    days, of = (int(text.replace(",", "")) for text in goes_on.groups()[:2])
    # A month may have been noted and not yet told of.
    assert days <= done["left_out"] < of
    assert done["days"] == of - done["left_out"]
    assert len(states(connection)) == len(outputs)
