"""How benchmarks are asked for and what they print."""

from __future__ import annotations

import json

import pytest

from benchmarks.__main__ import BENCHMARKS, find, main
from benchmarks.result import CannotMeasure, Result, percentile

RESULT = Result("name", 12.34567, "s", 15, 8, "the requirement", [1.23456, 2.0])


def test_a_result_is_one_line_in_the_form_of_the_contract():
    line = RESULT.to_line()
    assert "\n" not in line
    assert json.loads(line) == {
        "benchmark": "name",
        "value": 12.35,
        "unit": "s",
        "must": 15,
        "aim": 8,
        "baseline": "the requirement",
        "rounds": [1.235, 2.0],
    }


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([3.0], 0.95, 3.0), (list(range(1, 21)), 0.95, 19), (list(range(1, 51)), 0.95, 48), ([5, 1, 3], 0.5, 3)],
)
def test_a_percentile_is_one_of_the_values(values, share, expected):
    assert percentile(values, share) == expected


def test_there_is_no_percentile_of_nothing():
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 0.5)


def test_an_unknown_name_is_refused_with_the_names_that_there_are(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["no-such"])
    assert stopped.value.code == 2
    assert "lag_p95_seconds" in capsys.readouterr().err


def test_every_benchmark_that_is_promised_can_be_taken():
    assert set(BENCHMARKS) >= {
        "ingest_small",
        "ingest_small_latency",
        "ingest_large",
        "ingest_many_collections",
        "load_vs_copy_1000",
        "load_vs_copy_100",
        "validation",
        "load_growth",
        "discovery_growth",
        "memory_small",
        "memory_large",
        "dagster_ms_per_catalog",
        "lag_p95_seconds",
        "decisions_per_second",
        "jobs_page_p95_ms",
    }


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_name_leads_to_a_function_that_measures(name):
    assert callable(find(name))


def test_what_cannot_be_measured_is_told_and_the_others_go_on(capsys, monkeypatch):
    import benchmarks.__main__
    import benchmarks.decisions_per_second
    import benchmarks.lag_p95_seconds

    two = {name: BENCHMARKS[name] for name in ("lag_p95_seconds", "decisions_per_second")}
    monkeypatch.setattr(benchmarks.__main__, "BENCHMARKS", two)

    def fail():
        raise CannotMeasure("The stack did not start.")

    monkeypatch.setattr(benchmarks.lag_p95_seconds, "measure", fail)
    monkeypatch.setattr(benchmarks.decisions_per_second, "measure", lambda: RESULT)
    assert main([]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["benchmark"] == "name"
    assert "The stack did not start." in err
