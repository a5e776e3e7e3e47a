"""What STAC Browser is told when it runs, and what its pages may load."""

from __future__ import annotations

import pytest

from maap_stac_orchestration.browser.configuration import Configuration
from maap_stac_orchestration.settings import Settings


def of(**settings):
    configuration = Configuration.of(Settings(**settings))
    assert configuration is not None
    return configuration


def directive(configuration, name):
    parts = dict(each.strip().split(" ", 1) for each in configuration.content_security_policy().split(";"))
    return parts[name].split()


def test_without_the_address_of_the_api_there_is_nothing_to_tell():
    assert Configuration.of(Settings(public_url=None)) is None


@pytest.mark.parametrize("written", ["https://stac.test/api", "https://stac.test/api/"])
def test_the_catalog_is_addressed_as_the_landing_page_writes_itself(written):
    assert '"catalogUrl": "https://stac.test/api/"' in of(public_url=written).script().decode()


def test_pages_may_ask_the_api_and_the_tiler_alone():
    told = of(public_url="https://stac.test/api", tiler_url="https://tiles.test:8443/pgstac")
    assert directive(told, "connect-src") == ["'self'", "https://stac.test", "https://tiles.test:8443"]
    assert directive(told, "script-src") == ["'self'"]
    assert "https://tiles.test:8443" in directive(told, "img-src")


def test_without_a_tiler_no_image_is_offered_for_the_map():
    assert '"buildTileUrlTemplate": null' in of(public_url="https://stac.test").script().decode()
    with_one = of(public_url="https://stac.test", tiler_url="https://tiles.test/").script().decode()
    assert "buildTileUrlTemplate" not in with_one
    assert '"tilerUrl": "https://tiles.test"' in with_one


@pytest.mark.parametrize(
    ("address", "prefix"),
    [
        (None, "/"),
        ("https://stac.test", "/"),
        ("https://stac.test/", "/"),
        ("https://stac.test/browser", "/browser/"),
        ("https://stac.test/a/b/", "/a/b/"),
    ],
)
def test_the_path_under_which_people_reach_it_is_that_of_its_address(address, prefix):
    assert of(public_url="https://stac.test", browser_url=address).prefix == prefix


def test_what_is_told_cannot_break_out_of_the_script():
    script = of(public_url='https://stac.test/"};alert(1)//').script().decode()
    assert r"\"};alert(1)" in script
