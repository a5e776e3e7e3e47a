"""Settings read the environment, and a wrong value is a sentence that names the variable."""

from datetime import timedelta

import pytest

from maap_stac_orchestration.governance.decision import OnDenied
from maap_stac_orchestration.settings import Settings, SettingsError


@pytest.mark.parametrize(
    ("written", "seconds"), [("900", 900), ("90s", 90), ("15m", 900), ("1.5h", 5400), (" 2d ", 172800), ("0", 0)]
)
def test_a_time_span_is_a_number_with_a_unit(monkeypatch: pytest.MonkeyPatch, written: str, seconds: int) -> None:
    monkeypatch.setenv("MAAP_STAC_WAIT_DEADLINE", written)
    assert Settings.from_environment().wait_deadline == timedelta(seconds=seconds)


def test_lists_are_written_with_commas_or_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAAP_STAC_BUCKETS", "one, two three,")
    assert Settings.from_environment().buckets == ("one", "two", "three")


def test_without_any_variable_denied_items_fall_back_and_waiting_ends_after_15_minutes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("MAAP_STAC_ON_DENIED", "MAAP_STAC_WAIT_DEADLINE"):
        monkeypatch.delenv(name, raising=False)
    settings = Settings.from_environment()
    assert settings.on_denied is OnDenied.FALLBACK
    assert settings.wait_deadline == timedelta(minutes=15)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAAP_STAC_ON_DENIED", "perhaps"),
        ("MAAP_STAC_WAIT_DEADLINE", "soon"),
        ("MAAP_STAC_WAIT_DEADLINE", "-5"),
        ("MAAP_STAC_FIRST_DAY", "yesterday"),
        ("MAAP_STAC_DEFAULT_COLLECTION_TEMPLATE", "{algorithm_name}__{algorithm_version}"),
        ("MAAP_STAC_DEFAULT_COLLECTION_TEMPLATE", "{username}__{surname}__x"),
        ("MAAP_STAC_MAX_ITEMS", "0"),
        ("MAAP_STAC_MAX_ITEMS", "many"),
        ("MAAP_STAC_OPEN_READING", "perhaps"),
        ("MAAP_STAC_OIDC_ISSUER", "login.example.org"),
        ("MAAP_STAC_OIDC_ISSUER", "file:///etc/passwd"),
        ("MAAP_STAC_OIDC_ISSUER", "https://"),
        ("MAAP_STAC_OIDC_ISSUER", "https://login.example.org/?realm=maap"),
        ("MAAP_STAC_OIDC_JWKS_URL", "keys.json"),
        ("MAAP_STAC_OIDC_AUDIENCE", " "),
        ("MAAP_STAC_ADMIN_ROLE", ""),
    ],
)
def test_a_wrong_value_is_told_with_the_variable_and_the_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as told:
        Settings.from_environment()
    assert name in str(told.value)
    assert value in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"ISSUER": "https://login.example.org"}, "MAAP_STAC_OIDC_AUDIENCE"),
        ({"AUDIENCE": "maap-stac"}, "MAAP_STAC_OIDC_ISSUER"),
        ({"JWKS_URL": "https://login.example.org/keys"}, "MAAP_STAC_OIDC_ISSUER"),
    ],
)
def test_an_issuer_needs_an_audience_and_the_other_way_round(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], named: str
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(f"MAAP_STAC_OIDC_{name}", value)
    with pytest.raises(SettingsError) as told:
        Settings.from_environment()
    assert f"{named} is not" in str(told.value)
    assert str(told.value).endswith(".")
    assert "\n" not in str(told.value)


def test_an_issuer_and_its_audience_are_taken_as_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAAP_STAC_OIDC_ISSUER", "https://login.example.org/realms/maap/")
    monkeypatch.setenv("MAAP_STAC_OIDC_AUDIENCE", "maap-stac")
    settings = Settings.from_environment()
    assert (settings.oidc_issuer, settings.oidc_audience) == ("https://login.example.org/realms/maap/", "maap-stac")
    assert settings.open_reading


def test_reading_can_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAAP_STAC_OPEN_READING", "false")
    assert not Settings.from_environment().open_reading


@pytest.mark.parametrize(("written", "path"), [("/stac", "/stac"), ("/maap/stac/", "/maap/stac"), ("", ""), ("/", "")])
def test_the_root_path_is_a_path_without_a_slash_at_its_end(
    monkeypatch: pytest.MonkeyPatch, written: str, path: str
) -> None:
    monkeypatch.delenv("MAAP_STAC_PUBLIC_URL", raising=False)
    monkeypatch.setenv("MAAP_STAC_ROOT_PATH", written)
    assert Settings.from_environment().root_path == path


@pytest.mark.parametrize("written", ["stac", "//evil.example", "/a/../b", "/a b", "/a?b", "https://maap.example/stac"])
def test_what_is_no_path_is_told(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.delenv("MAAP_STAC_PUBLIC_URL", raising=False)
    monkeypatch.setenv("MAAP_STAC_ROOT_PATH", written)
    with pytest.raises(SettingsError, match=r"MAAP_STAC_ROOT_PATH is .* write a path that begins with a slash"):
        Settings.from_environment()


def test_two_root_paths_that_differ_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAAP_STAC_PUBLIC_URL", "https://maap.example/api/")
    monkeypatch.setenv("MAAP_STAC_ROOT_PATH", "/stac")
    with pytest.raises(SettingsError, match="ROOT_PATH is /stac and the path of MAAP_STAC_PUBLIC_URL is /api: set one"):
        Settings.from_environment()
    monkeypatch.setenv("MAAP_STAC_ROOT_PATH", "/api")
    assert Settings.from_environment().root_path == "/api"


@pytest.mark.parametrize(
    "written",
    [
        "https://repo.example/{version}",
        "https://{algorithm}.example/",
        "https://repo.example/{algorithm}/{tag}",
        "javascript:alert({algorithm})",
        "repo.example/{algorithm}",
    ],
)
def test_what_leads_to_no_algorithm_is_told(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("MAAP_STAC_ALGORITHM_URL", written)
    with pytest.raises(SettingsError, match=r"MAAP_STAC_ALGORITHM_URL is .* write an address with \{algorithm\}"):
        Settings.from_environment()
