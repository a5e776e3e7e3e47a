"""Which parts a start runs itself, on which ports, and what its processes are told."""

from __future__ import annotations

import json
import socket
from dataclasses import asdict
from pathlib import Path

import pytest

from maap_stac_orchestration.stack import plan
from maap_stac_orchestration.stack.errors import StackError
from maap_stac_orchestration.stack.home import Home
from maap_stac_orchestration.stack.plan import Outside, Plan, choose_port_base, make_plan

POSTGRES = {"PGHOST": "127.0.0.1", "PGPORT": "8600", "PGUSER": "u", "PGPASSWORD": "p/@", "PGDATABASE": "maap"}


@pytest.mark.parametrize(
    ("environment", "own", "expected"),
    [
        ({}, {}, Outside(postgres=False, store=False)),
        ({"PGUSER": "me", "AWS_REGION": "us-west-2"}, {}, Outside(postgres=False, store=False)),
        ({"PGHOST": ""}, {}, Outside(postgres=False, store=False)),
        ({"PGHOST": "db"}, {}, Outside(postgres=True, store=False)),
        ({"PGSERVICE": "maap"}, {}, Outside(postgres=True, store=False)),
        ({"AWS_ENDPOINT_URL": "http://x"}, {}, Outside(postgres=False, store=True)),
        ({"MAAP_STAC_BUCKETS": "b"}, {}, Outside(postgres=False, store=True)),
        ({"MAAP_STAC_TILER_URL": "https://t"}, {}, Outside(postgres=False, store=False, tiler=True)),
        ({"MAAP_STAC_TILER_URL": "http://t"}, {"MAAP_STAC_TILER_URL": "http://t"}, Outside(False, False)),
        # A shell in which the env of this home's own stack.json was exported.
        ({"PGHOST": "127.0.0.1"}, {"PGHOST": "127.0.0.1"}, Outside(postgres=False, store=False)),
        ({"PGHOST": "db"}, {"PGHOST": "127.0.0.1"}, Outside(postgres=True, store=False)),
    ],
)
def test_what_the_environment_points_at_is_used(environment, own, expected):
    assert Outside.of(environment, own) == expected


@pytest.mark.parametrize("part", ["store", "postgres", "tiler"])
def test_a_part_that_is_used_is_used_again_at_the_next_start_in_the_same_environment(tmp_path: Path, part: str):
    environment = {
        "store": {"AWS_ENDPOINT_URL": "http://s3", "MAAP_STAC_BUCKETS": "b", "MAAP_STAC_QUEUE_URL": "http://q"},
        "postgres": {"PGHOST": "db"},
        "tiler": {"MAAP_STAC_TILER_URL": "https://tiles.example"},
    }[part]
    outside = Outside.of(environment, {})
    record = {"outside": asdict(outside), "client": dict(environment)}
    Home(tmp_path).remember(plan=record)
    assert Outside.of(environment, Home(tmp_path).remembered().env) == outside


@pytest.fixture
def listening():
    """A port base of which the port of Dagster is taken."""
    base = next(base for base in range(41_000, 50_000, 10) if all(plan.is_free(base + offset) for offset in range(10)))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base + plan.OFFSETS["dagster"]))
        taken.listen()
        yield base


ALL = Outside(postgres=False, store=False).own_ports


def test_a_wanted_base_with_a_taken_port_is_refused(listening):
    with pytest.raises(StackError, match=f"Port {listening + 2} of 127.0.0.1, which the dagster was to have, is taken"):
        choose_port_base(listening, None, ALL)


def test_a_remembered_base_with_a_taken_port_is_given_up(listening):
    assert choose_port_base(None, listening, ALL) != listening


def test_a_base_out_of_range_is_refused():
    with pytest.raises(StackError, match="out of range"):
        choose_port_base(65530, None, ALL)


def test_ports_of_parts_that_others_run_do_not_matter():
    assert "postgres" not in Outside(postgres=True, store=True).own_ports
    assert "object-store" not in Outside(postgres=True, store=True).own_ports


def test_clients_are_told_everything_and_foreign_credentials_stay_out(tmp_path: Path):
    home = Home(tmp_path)
    environment = {"AWS_PROFILE": "work", "AWS_SESSION_TOKEN": "t", "MAAP_STAC_REGISTRY": "r.yaml", "PGOPTIONS": "-c x"}
    made = make_plan(home, 8600, Outside(postgres=False, store=False), environment, postgres=POSTGRES)
    assert made.database_url == "postgresql://u:p%2F%40@127.0.0.1:8600/maap"
    assert made.client["MAAP_STAC_REGISTRY"] == "r.yaml"
    assert made.client["DAGSTER_POSTGRES_URL"].endswith("/dagster")
    given = made.environment(environment | {"NO_PROXY": "example.org"})
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "PGOPTIONS"} & set(given)
    assert given["NO_PROXY"] == "example.org,127.0.0.1,localhost"
    assert set(made.client.items()) <= set(given.items())
    assert Plan.recall(home, json.loads(json.dumps(made.record()))) == made
    assert set(made.document()) == {
        *("s3_endpoint", "bucket", "queue_url", "database_url", "dagster_url", "api_url", "tiler_url", "browser_url"),
        "env",
    }


def test_an_outside_store_needs_a_bucket(tmp_path: Path):
    with pytest.raises(StackError, match="MAAP_STAC_BUCKETS"):
        make_plan(
            Home(tmp_path), 8600, Outside(postgres=False, store=True), {"AWS_ENDPOINT_URL": "x"}, postgres=POSTGRES
        )


def test_an_outside_store_is_taken_as_it_is(tmp_path: Path):
    environment = {"AWS_ENDPOINT_URL": "http://s3", "MAAP_STAC_BUCKETS": "one, two", "AWS_PROFILE": "work"}
    made = make_plan(home := Home(tmp_path), 8600, Outside(postgres=False, store=True), environment, postgres=POSTGRES)
    assert (made.bucket, made.queue_url, made.s3_endpoint) == ("one", None, "http://s3")
    assert made.client["MAAP_STAC_BUCKETS"] == "one, two"
    assert made.environment(environment)["AWS_PROFILE"] == "work"
    assert made.client["MAAP_STAC_HOME"] == str(home.folder)


def test_the_address_that_people_use_is_kept_unless_it_is_that_of_an_earlier_start(tmp_path: Path):
    def public_url(**environment: str) -> str:
        own = {"MAAP_STAC_PUBLIC_URL": "http://127.0.0.1:8603"}
        inside = Outside(postgres=False, store=False)
        made = make_plan(Home(tmp_path), 8700, inside, environment, postgres=POSTGRES, own=own)
        return made.client["MAAP_STAC_PUBLIC_URL"]

    assert public_url() == "http://127.0.0.1:8703"
    assert public_url(MAAP_STAC_PUBLIC_URL="http://127.0.0.1:8603") == "http://127.0.0.1:8703"
    assert public_url(MAAP_STAC_PUBLIC_URL="https://stac.example.org") == "https://stac.example.org"


ROLE = {"MAAP_STAC_TILER_PGUSER": "maap_stac_tiler", "MAAP_STAC_TILER_PGPASSWORD": "drawn"}


def test_the_tiler_has_a_role_of_its_own_in_the_stacks_own_database(tmp_path: Path):
    inside = Outside(postgres=False, store=False)
    stale = {"MAAP_STAC_TILER_PGUSER": "somebody", "MAAP_STAC_TILER_PGPASSWORD": "old"}
    made = make_plan(Home(tmp_path), 8600, inside, stale, postgres=POSTGRES, tiler=ROLE)
    assert made.client.items() >= ROLE.items()


def test_a_tiler_that_runs_elsewhere_is_where_people_are_sent(tmp_path: Path):
    environment = {"MAAP_STAC_TILER_URL": "https://tiles.example.org"}
    outside = Outside.of(environment, {})
    made = make_plan(Home(tmp_path), 8600, outside, environment, postgres=POSTGRES, tiler=ROLE)
    assert made.document()["tiler_url"] == "https://tiles.example.org"
    assert "tiler" not in outside.own_ports
    assert Plan.recall(Home(tmp_path), json.loads(json.dumps(made.record()))) == made
