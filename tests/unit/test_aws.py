"""Clients of boto3 take the region from where the settings say it stands."""

from __future__ import annotations

import pytest
from botocore.exceptions import NoRegionError

from maap_stac_orchestration.store.aws import client


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")


def test_the_region_is_taken_from_the_variable_that_the_settings_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    assert client("sqs").meta.region_name == "us-west-2"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    assert client("sqs").meta.region_name == "us-west-2"
    assert client("sqs", region_name="eu-west-1").meta.region_name == "eu-west-1"


def test_without_it_the_other_variable_counts_and_without_any_there_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(NoRegionError):
        client("sqs")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    assert client("sqs").meta.region_name == "eu-central-1"
