"""Metrics as pure values: CloudWatch's embedded metric format, and the names on the page about metrics."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.pipeline.metrics import METRICS, MOST_VALUES, Metric, embedded, spread
from maap_stac_orchestration.settings import Settings, SettingsError

UNITS = {"Seconds", "Count", "None"}
NOW = datetime(2025, 11, 21, 5, 3, 12, 482913, tzinfo=UTC)

numbers = st.floats(0, 1e9, allow_nan=False) | st.integers(0, 10**9)
values = st.dictionaries(st.sampled_from(Metric), numbers | st.lists(numbers, max_size=250), min_size=1)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def wrong_with(document: dict[str, Any]) -> list[str]:
    """What CloudWatch's specification of the embedded metric format has against a document."""
    wrong = []
    if len(json.dumps(document).encode()) > 256 * 1024:
        wrong.append("larger than a log event")
    envelope = document["_aws"]
    if envelope.keys() != {"Timestamp", "CloudWatchMetrics"}:
        wrong.append("members of _aws")
    if not isinstance(envelope["Timestamp"], int) or not 10**12 < envelope["Timestamp"] < 10**13:
        wrong.append("a timestamp that is no number of milliseconds")
    for directive in envelope["CloudWatchMetrics"]:
        if directive.keys() != {"Namespace", "Dimensions", "Metrics"}:
            wrong.append("members of a directive")
        if not 1 <= len(directive["Namespace"]) <= 255:
            wrong.append("namespace")
        if not directive["Dimensions"]:
            wrong.append("no dimension set")
        for dimensions in directive["Dimensions"]:
            if len(dimensions) > 30:
                wrong.append("dimensions of a set")
            wrong += [f"dimension {name}" for name in dimensions if not isinstance(document.get(name), str)]
        if not 1 <= len(directive["Metrics"]) <= 100:
            wrong.append("number of metrics")
        for metric in directive["Metrics"]:
            value = document.get(metric["Name"])
            some = value if isinstance(value, list) else [value]
            if metric.keys() - {"Name", "Unit", "StorageResolution"} or metric["Unit"] not in UNITS:
                wrong.append(f"definition of {metric['Name']}")
            if not 1 <= len(some) <= 100 or not all(is_number(one) for one in some):
                wrong.append(f"value of {metric['Name']}")
    return wrong


@given(values=values)
def test_any_values_make_a_document_by_the_rules(values: dict[Metric, Any]) -> None:
    document = embedded("MAAP/STAC", {**values, Metric.JOBS_LOADED: 1}, NOW, run_id="1234")
    assert wrong_with(json.loads(json.dumps(document))) == []
    assert document["_aws"]["Timestamp"] == 1763701392482
    assert document["run_id"] == "1234"


@given(values=values)
def test_a_metric_stands_in_the_document_as_it_was_given_unless_it_has_no_values(values: dict[Metric, Any]) -> None:
    document = embedded("MAAP/STAC", values, NOW)
    told = {one["Name"] for one in document["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    assert told == {str(metric) for metric, value in values.items() if value != []}
    for metric, value in values.items():
        if isinstance(value, list):
            assert set(document.get(metric, ())) <= set(value)
        else:
            assert document[metric] == value


@given(some=st.lists(numbers, max_size=400), most=st.integers(2, 100))
def test_of_many_values_some_are_kept_with_both_ends_and_in_order(some: list[float], most: int) -> None:
    kept = spread(some, most)
    assert len(kept) == min(len(some), most)
    assert kept == sorted(kept)
    if some:
        assert (kept[0], kept[-1]) == (min(some), max(some))
    if len(some) <= most:
        assert kept == sorted(some)


def test_a_spread_keeps_quantiles() -> None:
    kept = spread([float(number) for number in range(1000)])
    assert len(kept) == MOST_VALUES
    assert kept[50] == pytest.approx(500, abs=10)
    assert kept[95] == pytest.approx(950, abs=20)


def test_every_metric_has_a_unit_and_a_meaning() -> None:
    assert METRICS.keys() == set(Metric)
    assert {unit for unit, _ in METRICS.values()} <= UNITS


@pytest.mark.parametrize("name", ["MAAP/STAC", "maap-stac.dev_1", "a", "#1", "x" * 255])
def test_a_namespace_of_cloudwatch_can_be_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAAP_STAC_METRICS_NAMESPACE", name)
    assert Settings.from_environment().metrics_namespace == name


@pytest.mark.parametrize("name", ["", "AWS/Lambda", ":maap", "MAAP STAC", "größe", "x" * 256, "a\nb", "a\n"])
def test_what_cloudwatch_would_not_take_is_refused_with_a_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAAP_STAC_METRICS_NAMESPACE", name)
    with pytest.raises(SettingsError, match=r"MAAP_STAC_METRICS_NAMESPACE is .*for example MAAP/STAC"):
        Settings.from_environment()
