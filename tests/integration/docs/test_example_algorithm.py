"""The example algorithm of docs/choosing-a-collection.md runs, and its outputs go where its parameter says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml
from rasterio.transform import from_origin

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "water-extent"
REGISTRY = '{"{username}--*": ["{username}"]}'


@pytest.fixture
def job_folder(tmp_path: Path) -> Path:
    """The folder that a job runs in: its input is there, and the registry beside it."""
    (tmp_path / "input").mkdir()
    profile = {"driver": "GTiff", "width": 64, "height": 64, "count": 1, "dtype": "float32", "crs": "EPSG:32618"}
    with rasterio.open(
        tmp_path / "input" / "scene.tif", "w", transform=from_origin(500_000, 4_000_000, 30, 30), **profile
    ) as scene:
        # From -30 dB in the first row, which is water, to 0 dB in the last.
        scene.write(np.linspace(-30, 0, 64 * 64, dtype="float32").reshape(64, 64), 1)
    (tmp_path / "registry.json").write_text(REGISTRY)
    return tmp_path


def run(folder: Path, *positional: str) -> None:
    """Runs the algorithm as the DPS would: by its script, with its inputs by position."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run([EXAMPLE / "run.sh", *positional], cwd=folder, env=environment, check=True, timeout=120)


def check(folder: Path) -> dict[str, Any]:
    """What the preflight says of the outputs."""
    answered = subprocess.run(
        [
            *(Path(sys.executable).with_name("maap-stac"), "check", "output", "--json"),
            *("--username", "jsmith", "--algorithm", "water-extent", "--version", "v1.0"),
        ],
        cwd=folder,
        env={**os.environ, "MAAP_STAC_REGISTRY": str(folder / "registry.json")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert answered.returncode == 0, answered.stdout + answered.stderr
    found: dict[str, Any] = json.loads(answered.stdout)
    return found


def test_its_outputs_go_to_the_collection_that_the_parameter_names(job_folder: Path) -> None:
    run(job_folder, "2025-06-01T10:00:00Z", "-18.0", "jsmith--delta-2025")
    found = check(job_folder)
    assert found["problems"] == []
    assert [(item["id"], item["collection"], item["decision"]) for item in found["items"]] == [
        ("water-scene-20250601T100000", "jsmith--delta-2025", "granted")
    ]


@pytest.mark.parametrize("parameters", [(), ("",), (" ",)], ids=["left out", "empty", "blank"])
def test_they_go_to_the_default_collection_when_it_is_empty(job_folder: Path, parameters: tuple[str, ...]) -> None:
    run(job_folder, "2025-06-01T10:00:00Z", "-18.0", *parameters)
    [item] = check(job_folder)["items"]
    assert (item["requested_collection"], item["collection"]) == (None, "jsmith__water-extent__v1.0")


def test_it_finds_the_water(job_folder: Path) -> None:
    run(job_folder, "2025-06-01T10:00:00Z", "-15.0")
    with rasterio.open(job_folder / "output" / "water.tif") as water:
        values = water.read(1)
        assert water.profile["crs"].to_epsg() == 32618
        assert water.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert (values[0] == 1).all()
    assert (values[-1] == 0).all()


def test_the_registration_names_the_inputs_in_the_order_in_which_the_script_takes_them() -> None:
    registered = yaml.safe_load((EXAMPLE / "algorithm-config.yml").read_text())["inputs"]["positional"]
    script = (EXAMPLE / "run.sh").read_text()
    places = [script.index(f"--{one['name']} ") for one in registered]
    assert [one["name"] for one in registered] == ["datetime", "threshold", "collection_id"]
    assert places == sorted(places)
