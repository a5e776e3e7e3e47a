"""What the tiler is told by its environment, and what it tells GDAL and libpq of that."""

from __future__ import annotations

import pytest

from maap_stac_orchestration.settings import SettingsError
from maap_stac_orchestration.store.gdal import gdal_configuration
from maap_stac_orchestration.tiler.database import connection_options
from maap_stac_orchestration.tiler.settings import TilerSettings


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:8601"},
            {"AWS_S3_ENDPOINT": "127.0.0.1:8601", "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "FALSE"},
        ),
        (
            {"AWS_ENDPOINT_URL": "http://x", "AWS_ENDPOINT_URL_S3": "https://s3.example"},
            {"AWS_S3_ENDPOINT": "s3.example", "AWS_HTTPS": "YES"},
        ),
        ({"GDAL_HTTP_TIMEOUT": "3"}, {"GDAL_HTTP_TIMEOUT": "3"}),
        # What keeps GDAL in is nothing to be set.
        ({"GDAL_DISABLE_READDIR_ON_OPEN": "FALSE"}, {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}),
    ],
)
def test_gdal_is_told_where_the_store_is_and_to_stay_there(environment, expected):
    assert expected.items() <= gdal_configuration(environment).items()


def test_on_aws_gdal_finds_the_store_by_itself():
    assert "AWS_S3_ENDPOINT" not in gdal_configuration({"AWS_REGION": "us-west-2"})


def test_what_gdal_is_told_already_stays():
    told = gdal_configuration({"AWS_ENDPOINT_URL": "http://x", "AWS_S3_ENDPOINT": "y:1"})
    assert "AWS_S3_ENDPOINT" not in told


def test_with_a_role_of_its_own_it_signs_in_as_that():
    options = connection_options(TilerSettings(pguser="reader", pgpassword="secret"))
    assert (options["user"], options["password"]) == ("reader", "secret")
    assert "role=" not in options["options"]


def test_without_one_it_gives_up_all_rights_but_those_of_readers():
    options = connection_options(TilerSettings(pguser=None, pgpassword=None))
    assert "user" not in options
    assert "-c role=pgstac_read" in options["options"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [("CACHE_SECONDS", "soon"), ("MAX_SIZE", "1"), ("THREADS", "0"), ("PGPASSWORD", "of-nobody")],
)
def test_a_wrong_setting_is_a_sentence(monkeypatch, variable, value):
    monkeypatch.delenv("MAAP_STAC_TILER_PGUSER", raising=False)
    monkeypatch.setenv(f"MAAP_STAC_TILER_{variable}", value)
    with pytest.raises(SettingsError, match=f"MAAP_STAC_TILER_{variable} ") as told:
        TilerSettings.from_environment()
    assert "of-nobody" not in str(told.value)
