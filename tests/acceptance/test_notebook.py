"""The notebook of docs/notebooks, run from its first cell to its last against the stack, as a researcher would."""

from __future__ import annotations

import base64
import io
import json
import math
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import nbformat
import numpy as np
import pytest
from PIL import Image

from docs.making.notebook import NOTEBOOK, execute
from docs.making.stack import RunningStack
from maap_stac_orchestration.demo import jobs, landscape
from tests.acceptance.conftest import Commands

pytestmark = pytest.mark.stack

BOXES, MONTHS = 2, (6, 7)
COLLECTION = "henrydevseed__HLSCloudFreeTemporalMosaic__v0.1.1__hls-mosaic"
#: Asked of the kernel once the notebook is through: what its variables hold.
QUESTIONS = """
from folium import TileLayer

display(
    {
        "application/json": {
            "submitted": [job.status for job in jobs],
            "ingestion": ingestion,
            "collections": list(found),
            "july": [item.id for item in july],
            "items": [item.id for item in items],
            "sizes": dict(dataset.sizes),
            "epsg": dataset.odc.crs.epsg,
            "bounds": list(dataset.odc.geobox.boundingbox.bbox),
            "months": [str(time)[:7] for time in dataset.time.to_numpy()],
            "layers": [
                [layer.layer_name, layer.tiles, layer.show]
                for layer in monthly_map._children.values()
                if isinstance(layer, TileLayer) and layer.overlay
            ],
            "centre": monthly_map.location,
        }
    },
    raw=True,
)
np.savez(os.environ["BANDS"], **{band: dataset[band].to_numpy() for band in ("red", "green", "blue")})
"""


class Run:
    """A run of the notebook: its outputs, and the answers to the questions."""

    def __init__(self, notebook: nbformat.NotebookNode, bands: Path) -> None:
        self.cells = {cell.id: cell for cell in notebook.cells}
        (asked,) = self.cells["questions"].outputs
        self.answers: dict[str, Any] = asked.data["application/json"]
        self.bands = np.load(bands)


@pytest.fixture(scope="module")
def run(stack_commands: Commands, stack: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.cells.append(nbformat.v4.new_code_cell(QUESTIONS, id="questions"))
    bands = tmp_path_factory.mktemp("notebook") / "bands.npz"
    execute(
        notebook,
        RunningStack(stack_commands.home, stack),
        {
            "MAAP_STAC_NOTEBOOK_BOXES": str(BOXES),
            "MAAP_STAC_NOTEBOOK_MONTHS": str(len(MONTHS)),
            "BANDS": str(bands),
        },
    )
    return Run(notebook, bands)


def item_ids(month: int) -> set[str]:
    return {jobs.DemoJob(box, 2024, month, jobs.Layout.TODAY).item_id for box in jobs.grid()[:BOXES]}


def test_every_job_that_was_submitted_is_loaded_and_its_item_found(run: Run) -> None:
    count = BOXES * len(MONTHS)
    assert run.answers["submitted"] == ["Succeeded"] * count
    assert run.answers["ingestion"] == {"loaded": count}
    assert sorted(run.answers["items"]) == sorted(set.union(*map(item_ids, MONTHS)))


def test_its_user_finds_the_collection_and_in_it_the_items_of_a_month(run: Run) -> None:
    assert COLLECTION in run.answers["collections"]
    assert set(run.answers["july"]) == item_ids(7)


def test_the_last_word_about_the_ingestion_is_that_all_is_loaded(run: Run) -> None:
    (output,) = run.cells["watch"].outputs
    assert output.data["text/markdown"] == "**DPS:** 4 of 4 jobs succeeded · **Ingestion:** 4 loaded"


def test_the_dataset_is_one_grid_over_the_boxes_with_a_time_step_a_month(run: Run) -> None:
    boxes = [box.bounds for box in jobs.grid()[:BOXES]]
    # The first two boxes stand one above the other, each of 128 pixels of 1,920 m a side.
    assert run.answers["sizes"] == {"time": len(MONTHS), "y": 256, "x": 128}
    assert run.answers["epsg"] == 5070
    assert run.answers["bounds"] == [*boxes[0][:2], *boxes[1][2:]]
    assert run.answers["months"] == ["2024-06", "2024-07"]


@pytest.mark.parametrize("band", ["red", "green", "blue"])
def test_the_dataset_holds_the_reflectance_of_each_month(run: Run, band: str) -> None:
    for step, month in enumerate(MONTHS):
        seen = run.bands[band][step].astype(float)
        away = {other: np.abs(seen - reflectance(band, other)).mean() for other in (5, 6, 7, 8)}
        # In steps of 10 of ten thousand, and averaged on the way; from one month to the next it is ten times as much.
        assert away[month] < 15, away
        assert min(away, key=away.get) == month  # type: ignore[arg-type]
        assert np.corrcoef(seen.ravel(), reflectance(band, month).ravel())[0, 1] > 0.995


def reflectance(band: str, month: int) -> np.ndarray:
    """What is to be seen of both boxes, north up, as means over 1,920 m."""
    south, north = (getattr(landscape.look(box.bounds, 512, month), band) for box in jobs.grid()[:BOXES])
    return np.concatenate([north, south]).astype(float).reshape(256, 4, 128, 4).mean((1, 3))


def test_the_map_has_a_layer_a_month_of_which_the_first_is_shown(run: Run) -> None:
    assert [(name, shown) for name, _, shown in run.answers["layers"]] == [("2024-06", True), ("2024-07", False)]
    for month, (_, tiles, _) in zip(MONTHS, run.answers["layers"], strict=True):
        assert f"2024-0{month}-01" in tiles


def test_the_tiles_of_each_layer_are_images_with_something_on_them(run: Run) -> None:
    zoom, column, row = tile_at(*run.answers["centre"], zoom=8)
    colours = []
    for _, tiles, _ in run.answers["layers"]:
        with urlopen(tiles.format(z=zoom, x=column, y=row), timeout=60) as answer:
            assert answer.status == 200
            assert answer.headers["content-type"].startswith("image/")
            pixels = np.asarray(Image.open(io.BytesIO(answer.read())).convert("RGB"), dtype=float)
        assert pixels.std() > 5
        colours.append(pixels.mean((0, 1)))
    june, july = colours
    # July is greener: fields have less of red.
    assert july[0] / july[1] < june[0] / june[1] - 0.05


def tile_at(latitude: float, longitude: float, *, zoom: int) -> tuple[int, int, int]:
    """The tile of web maps that holds a place: zoom, column, row."""
    across = 2**zoom
    row = (1 - math.asinh(math.tan(math.radians(latitude))) / math.pi) / 2
    return zoom, int((longitude + 180) / 360 * across), int(row * across)


@pytest.mark.parametrize(("cell", "kind"), [("grid-plot", "png"), ("plot", "png"), ("picture", "jpeg")])
def test_figures_show_something(run: Run, cell: str, kind: str) -> None:
    (output,) = [one for one in run.cells[cell].outputs if f"image/{kind}" in one.get("data", {})]
    image = Image.open(io.BytesIO(base64.b64decode(output.data[f"image/{kind}"]))).convert("RGB")
    assert len(image.getcolors(image.width * image.height)) > 50


def test_the_season_is_greenest_in_july(run: Run) -> None:
    (output,) = run.cells["season"].outputs
    greenness = json.loads(output.data["text/plain"].replace("'", '"'))
    assert 0 < greenness["2024-06"] < greenness["2024-07"] < 0.5


def test_no_cell_warns_of_anything(run: Run) -> None:
    said = {name: one.text for name, cell in run.cells.items() for one in cell.get("outputs", []) if "text" in one}
    assert said == {}
