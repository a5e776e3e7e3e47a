"""`/_mgmt/metrics`: what Prometheus reads of the ledger and of requests, and that it always gets an answer."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as families

import maap_stac_orchestration
from maap_stac_orchestration.api.metrics import LEDGER, REQUESTS
from maap_stac_orchestration.api.metrics_page import RULES, documentation
from maap_stac_orchestration.ledger import metrics, outcomes
from maap_stac_orchestration.ledger.records import State
from maap_stac_orchestration.pipeline.registry import registry_in_force
from maap_stac_orchestration.problems import Code, Problem
from maap_stac_orchestration.settings import Settings
from tests.integration.api.callers import signed_in
from tests.integration.api.conftest import Api
from tests.integration.ledger.build import decision, discover, ended, prefix, seen, take

Connection = psycopg.Connection[tuple[Any, ...]]
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def scrape(api: Api, **headers: str) -> Series:
    """Every sample by its name and labels."""
    answer = requests.get(f"{api.url}/_mgmt/metrics", headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families(answer.text)
        for sample in family.samples
    }


def value(series: Series, name: str, **labels: str) -> float | None:
    return series.get((name, frozenset(labels.items())))


def filled(conn: Connection) -> None:
    for number in range(6):
        discover(conn, seen(prefix(number)))
    batch = take(conn, max_jobs=5)
    ends = [State.LOADED, State.LOADED, State.PARTIAL, State.REJECTED, State.WAITING]
    bad = Problem(Code.ITEM_INVALID, "bad.json")
    outcomes.finish(
        conn,
        batch,
        [
            ended(job, state, loaded=3, refused=int(state is State.PARTIAL), problems=(bad,), decisions=(decision(),))
            for job, state in zip(batch.jobs, ends, strict=True)
        ],
    )
    conn.commit()


def test_the_ledger_is_told_in_numbers(connection: Connection, api: Api) -> None:
    filled(connection)
    found = scrape(api)
    assert value(found, "maap_stac_up") == 1
    states = {state: value(found, "maap_stac_jobs", state=state) for state in State}
    assert states == {
        **dict.fromkeys(State, 0.0),
        **{State.DISCOVERED: 1, State.LOADED: 2, State.PARTIAL: 1, State.REJECTED: 1, State.WAITING: 1},
    }
    assert value(found, "maap_stac_jobs_ended_total", state="loaded") == 2
    assert value(found, "maap_stac_jobs_ended_total", state="failed") == 0
    assert value(found, "maap_stac_due_jobs", work="live") == 1
    assert value(found, "maap_stac_due_jobs", work="backlog") == 0
    assert value(found, "maap_stac_items_total", result="loaded") == 15
    assert value(found, "maap_stac_items_total", result="refused") == 1
    assert value(found, "maap_stac_decisions_total", code="default_assigned", outcome="default") == 5
    assert value(found, "maap_stac_problem_jobs", code="item_invalid") == 5
    assert value(found, "maap_stac_deliveries", state="dead") == 0
    assert value(found, "maap_stac_lag_seconds_count") == 4
    assert value(found, "maap_stac_lag_seconds_bucket", le="3600.0") == 0
    assert value(found, "maap_stac_lag_seconds_bucket", le="+Inf") == 4


def test_both_formats_tell_the_same_and_are_named_by_their_media_types(connection: Connection, api: Api) -> None:
    filled(connection)
    url = f"{api.url}/_mgmt/metrics"
    plain = requests.get(url, timeout=30)
    assert plain.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    openmetrics = requests.get(
        url, headers={"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}, timeout=30
    )
    assert openmetrics.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert openmetrics.text.endswith("# EOF\n")

    def of(parsed: Any) -> set[tuple[str, frozenset[tuple[str, str]]]]:
        return {
            (sample.name, frozenset(sample.labels.items()))
            for family in parsed
            for sample in family.samples
            if sample.name.startswith("maap_stac_") and "http" not in sample.name
        }

    assert of(families(plain.text)) == of(openmetrics_families(openmetrics.text))


@pytest.mark.parametrize(
    "accept", ["", "*/*", "text/html", "application/openmetrics-text;version=x", ";;,,==", "text/plain;version="]
)
def test_whatever_is_accepted_something_that_prometheus_reads_is_answered(
    connection: Connection, api: Api, accept: str
) -> None:
    answer = requests.get(f"{api.url}/_mgmt/metrics", headers={"Accept": accept}, timeout=30)
    assert answer.status_code == 200
    assert "maap_stac_up 1.0" in answer.text


def test_every_metric_of_ours_is_described_with_its_type_and_labels(connection: Connection, api: Api) -> None:
    filled(connection)
    api.get("/jobs")
    described = LEDGER | REQUESTS
    text = api.get("/_mgmt/metrics").text
    told = {family.name: family for family in families(text) if family.name.startswith("maap_stac_")}
    assert told.keys() == described.keys()
    for name, family in told.items():
        assert (family.type, family.documentation) == (described[name].kind, described[name].meaning)
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == set(described[name].labels)


def test_names_keep_to_the_conventions() -> None:
    for name, described in (LEDGER | REQUESTS).items():
        assert re.fullmatch(r"maap_stac_[a-z]+(_[a-z]+)*", name)
        assert not name.endswith(("_total", "_count", "_sum", "_bucket"))
        assert described.kind in ("gauge", "counter", "histogram")
        assert ("second" in described.meaning.lower()) == name.endswith("_seconds")
        assert not [text for text in (described.meaning, *described.labels.values()) if "|" in text or "\n" in text]
    # No name that a user chooses.
    assert {label for described in (LEDGER | REQUESTS).values() for label in described.labels} == {
        *("state", "work", "result", "code", "outcome", "version", "method", "route", "status"),
    }


def test_requests_are_counted_by_template_and_never_by_what_was_asked_for(connection: Connection, api: Api) -> None:
    for number in range(20):
        api.get(f"/jobs/{prefix(number)}")
        api.get(f"/nothing/{number}")
        requests.request("TRACE", f"{api.url}/jobs", timeout=30)
    found = scrape(api)
    counted = {
        (labels["method"], labels["route"], labels["status"]): n
        for (name, pairs), n in found.items()
        if name == "maap_stac_http_requests_total"
        for labels in [dict(pairs)]
    }
    assert counted == {
        ("GET", "/jobs/{prefix:path}", "404"): 20,
        ("GET", "other", "404"): 20,
        ("other", "/jobs", "405"): 20,
    }
    assert value(found, "maap_stac_http_request_duration_seconds_count", method="GET", route="other") == 20
    again = scrape(api)
    assert value(again, "maap_stac_http_requests_total", method="GET", route="/_mgmt/metrics", status="200") == 1


def test_a_database_that_does_not_answer_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, start_api: Callable[..., Api]
) -> None:
    monkeypatch.setenv("PGHOST", "127.0.0.1")
    monkeypatch.setenv("PGPORT", "9")
    found = scrape(start_api())
    assert value(found, "maap_stac_up") == 0
    assert value(found, "maap_stac_build_info", version=maap_stac_orchestration.__version__) == 1
    assert not [name for name, _ in found if name.startswith("maap_stac_jobs")]


def test_a_ledger_that_is_not_there_is_told(
    empty_database: str, monkeypatch: pytest.MonkeyPatch, start_api: Callable[..., Api]
) -> None:
    for name, setting in psycopg.conninfo.conninfo_to_dict(empty_database).items():
        monkeypatch.setenv({"dbname": "PGDATABASE"}.get(name, f"PG{name.upper()}"), str(setting))
    assert value(scrape(start_api()), "maap_stac_up") == 0


def test_scrapes_that_come_while_the_ledger_hangs_are_answered_and_ask_it_once(
    connection: Connection, api: Api
) -> None:
    connection.execute("LOCK TABLE ledger.tally IN ACCESS EXCLUSIVE MODE")
    found: list[float | None] = []
    threads = [threading.Thread(target=lambda: found.append(value(scrape(api), "maap_stac_up"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    asking: set[int] = set()
    while any(thread.is_alive() for thread in threads):
        waiting = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        ).fetchall()
        asking |= {pid for (pid,) in waiting}
        connection.execute("SELECT pg_stat_clear_snapshot()")
        threads[0].join(0.05)
    assert found == [0, 0, 0, 0]
    assert len(asking) == 1
    connection.rollback()
    assert value(scrape(api), "maap_stac_up") == 1


def test_no_token_is_needed_and_none_is_looked_at_where_reading_is_closed(
    connection: Connection, database_env: dict[str, str], start_api: Callable[..., Api]
) -> None:
    filled(connection)
    api = start_api(open_reading=False)
    assert api.get("/jobs").status_code == 401
    assert value(scrape(api), "maap_stac_up") == 1
    assert value(scrape(api, Authorization="Bearer nonsense"), "maap_stac_jobs", state="loaded") == 2
    assert "ana" not in api.get("/_mgmt/metrics").text


def test_a_registry_file_that_does_not_load_is_told_until_it_is_mended(
    connection: Connection, database_env: dict[str, str], start_api: Callable[..., Api], tmp_path: Path
) -> None:
    file = tmp_path / "registry.yaml"
    api = start_api(registry=str(file))
    settings = Settings(registry=str(file))
    assert value(scrape(api), "maap_stac_registry_loads") is None
    for content, loads in (("version: 1\n", 1), ("version: nine\n", 0), ("version: 1\n", 1)):
        file.write_text(content)
        registry_in_force(settings, connection)
        assert value(scrape(api), "maap_stac_registry_loads") == loads


def test_each_request_is_one_event_with_its_id_and_who_made_it(
    connection: Connection, api: Api, capfd: pytest.CaptureFixture[str]
) -> None:
    ana = signed_in(api, connection, "ana", admin=False)
    capfd.readouterr()
    first = requests.get(f"{api.url}/jobs?tag=secret", headers={"X-Request-ID": "abc-1"}, timeout=30)
    ana("GET", f"/jobs/{prefix()}")
    requests.get(f"{api.url}/nothing?at=all", timeout=30)
    for quiet in ("ping", "health", "metrics"):
        api.get(f"/_mgmt/{quiet}")
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith('{"event"')]
    told = [line for line in lines if line["event"] == "http.request" and not line["path"].startswith("/_mgmt/")]
    assert [(line["method"], line["route"], line["path"], line["status"], line["username"]) for line in told] == [
        ("GET", "/jobs", "/jobs", 200, None),
        ("GET", "/jobs/{prefix:path}", f"/jobs/{prefix()}", 404, "ana"),
        ("GET", None, "/nothing", 404, None),
    ]
    assert told[0]["request_id"] == first.headers["X-Request-ID"] == "abc-1"
    assert told[0]["bytes"] == int(first.headers["Content-Length"])
    assert all(line["request_id"] and line["milliseconds"] > 0 for line in told)
    assert "secret" not in json.dumps(told)
    assert [line["path"] for line in lines if line["event"] == "http.request" and line["status"] < 400] == ["/jobs"]


def test_the_page_is_made_from_the_tables() -> None:
    assert PAGE.read_text() == documentation(), (
        "docs/metrics.md is not what the tables describe. Make it anew:"
        " python -m maap_stac_orchestration.api.metrics_page > docs/metrics.md"
    )


def test_the_rules_on_the_page_are_about_metrics_that_there_are() -> None:
    rules = yaml.safe_load(RULES)["groups"][0]["rules"]
    known = {f"{name}_total" if one.kind == "counter" else name: one for name, one in (LEDGER | REQUESTS).items()}
    known |= {f"{name}_bucket": one for name, one in (LEDGER | REQUESTS).items() if one.kind == "histogram"}
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        (name,) = re.findall(r"maap_stac_\w+", rule["expr"])
        for label, _ in re.findall(r'(\w+)="(\w+)"', rule["expr"]):
            assert label in known[name].labels
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["expr"].count("(") == rule["expr"].count(")")


def test_measuring_is_what_is_told(connection: Connection, api: Api) -> None:
    filled(connection)
    found, measured = scrape(api), metrics.measure(connection)
    assert value(found, "maap_stac_collections") == measured.collections
    assert value(found, "maap_stac_lag_seconds_sum") == pytest.approx(measured.lag.seconds)


def test_a_scrape_keeps_small_what_it_reads(connection: Connection, api: Api) -> None:
    connection.execute(
        "INSERT INTO ledger.tally (name, labels, amount) SELECT 'end', '{loaded}', 1 FROM generate_series(1, 2000)"
    )
    connection.commit()
    assert value(scrape(api), "maap_stac_jobs_ended_total", state="loaded") == 2000
    assert connection.execute("SELECT count(*) FROM ledger.tally").fetchone() == (1,)
    assert value(scrape(api), "maap_stac_jobs_ended_total", state="loaded") == 2000
