"""The notebook as it is committed: its outputs are those of its cells, and small. That it runs: tests/acceptance."""

from __future__ import annotations

import base64
import io
import json
import re

import nbformat
import numpy as np
import pytest
from PIL import Image

from docs.making.notebook import DIGEST, NOTEBOOK, digest_of_cells, settle
from docs.making.stack import RunningStack


@pytest.fixture(scope="module")
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_is_a_valid_notebook_of_less_than_500_kb(notebook):
    nbformat.validate(notebook)
    assert NOTEBOOK.stat().st_size < 500_000


def test_its_outputs_are_those_of_its_cells(notebook):
    assert notebook.metadata[DIGEST] == digest_of_cells(notebook), "The cells were changed: run `make notebook`."


def test_its_cells_were_run_in_order_and_none_failed(notebook):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert {output.output_type for cell in cells for output in cell.outputs} == {"execute_result", "display_data"}


def test_it_shows_a_whole_submission_loaded(notebook):
    (watched,) = [cell for cell in notebook.cells if cell.id == "watch"]
    assert watched.outputs[0].data["text/markdown"] == ("**DPS:** 60 of 60 jobs succeeded · **Ingestion:** 60 loaded")


def test_its_outputs_name_nothing_of_the_machine_that_it_was_run_on(notebook):
    written = json.dumps([cell.outputs for cell in notebook.cells if cell.cell_type == "code"])
    assert set(re.findall(r"127\.0\.0\.1:(\d+)", written)) <= {"8602", "8603", "8604", "8605"}
    assert not re.findall(r"/(?:home|root|tmp|Users)/|localhost|0x[0-9a-f]{6,}", written)


@pytest.fixture
def stack(tmp_path) -> RunningStack:
    ports = {"api_url": 9713, "tiler_url": 9714, "browser_url": 9715, "dagster_url": 9712}
    return RunningStack(tmp_path, {part: f"http://127.0.0.1:{port}" for part, port in ports.items()})


def ran_with(outputs: list) -> nbformat.NotebookNode:
    cell = nbformat.v4.new_code_cell("monthly_map", id="map", outputs=outputs)
    return nbformat.v4.new_notebook(cells=[cell], metadata={"language_info": {"name": "python", "version": "3.11.2"}})


def test_what_differs_from_run_to_run_is_taken_out(stack):
    one, other = "0123456789abcdef" * 2, "fedcba9876543210" * 2
    notebook = ran_with(
        [
            nbformat.v4.new_output(
                "display_data",
                {
                    "text/html": f"map_{one}.addTo(map_{other}); map_{one} http://127.0.0.1:9714/tiles",
                    "text/plain": "<folium.folium.Map at 0x7f31c0a8d390>",
                },
                metadata={"isolated": True},
            )
        ]
    )
    settle(notebook, stack)
    (output,) = notebook.cells[0].outputs
    assert output.data["text/html"] == (f"map_{1:032x}.addTo(map_{2:032x}); map_{1:032x} http://127.0.0.1:8604/tiles")
    assert output.data["text/plain"] == "<folium.folium.Map>"
    assert output.metadata == {}
    assert notebook.metadata.language_info == {"name": "python"}
    assert notebook.metadata[DIGEST] == digest_of_cells(notebook)


def test_figures_become_small_and_stay_what_they_are(stack):
    across = np.linspace(0, 255, 200, dtype=np.uint8)
    red, green = np.meshgrid(across, across[:120])
    gradient = np.stack([red, green, np.full_like(red, 90)], -1)
    png = io.BytesIO()
    Image.fromarray(gradient).save(png, "PNG", compress_level=0)
    notebook = ran_with(
        [nbformat.v4.new_output("display_data", {"image/png": base64.b64encode(png.getvalue()).decode()})]
    )
    settle(notebook, stack)
    settled = base64.b64decode(notebook.cells[0].outputs[0].data["image/png"])
    assert len(settled) < len(png.getvalue()) / 3
    image = np.asarray(Image.open(io.BytesIO(settled)).convert("RGB")).astype(int)
    assert image.shape == gradient.shape
    assert np.abs(image - gradient).mean() < 8


def test_a_changed_cell_has_another_digest(notebook):
    before = digest_of_cells(notebook)
    changed = nbformat.from_dict(json.loads(json.dumps(notebook)))
    changed.cells[-1].source += " "
    assert digest_of_cells(changed) != before
