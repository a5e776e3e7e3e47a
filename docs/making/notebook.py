"""Runs a notebook against a stack and writes its outputs back, the same each time: `python -m docs.making.notebook`.

Here belong running it and taking out of its outputs what differs from run to run. Not here: what it shows.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import sys
from pathlib import Path

import click
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

from docs.making.stack import RunningStack, running_stack
from maap_stac_orchestration.stack.plan import DEFAULT_PORT_BASE, OFFSETS

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "hls-mosaic.ipynb"
#: Where the digest of the cells that the outputs belong to stands, in the notebook's metadata.
DIGEST = "outputs_of"
#: Colours of a figure: more than an eye tells apart in one this small, and half the bytes.
_COLOURS = 128
#: folium names each of its parts at random.
_RANDOM_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
#: Where in memory an object lay that has no better description of itself.
_PLACE_IN_MEMORY = re.compile(r" at 0x[0-9a-f]+(?=>)")


def execute(notebook: NotebookNode, stack: RunningStack, environment: dict[str, str] | None = None) -> None:
    """Runs all cells in order in a fresh kernel beside the notebook; their outputs are in it afterwards.

    Args:
        environment: set in addition to what points at the stack.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(NOTEBOOK.parent)}},
    )
    client.execute(env=stack.environment | (environment or {}))


def digest_of_cells(notebook: NotebookNode) -> str:
    """Tells one version of a notebook's cells from another, whatever their outputs are."""
    cells = "\0".join(f"{cell.cell_type}\0{cell.source}" for cell in notebook.cells)
    return hashlib.sha256(cells.encode()).hexdigest()


def settle(notebook: NotebookNode, stack: RunningStack) -> None:
    """Takes out of the outputs what differs from run to run, and makes the figures small."""
    ports = {
        stack.document[f"{part}_url"].rpartition(":")[2]: DEFAULT_PORT_BASE + OFFSETS[part]
        for part in ("api", "tiler", "browser", "dagster")
    }
    ids: dict[str, str] = {}

    def settled(text: str) -> str:
        for port, usual in ports.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{usual}")
        text = _PLACE_IN_MEMORY.sub("", text)
        return _RANDOM_ID.sub(lambda found: ids.setdefault(found[0], f"{len(ids) + 1:032x}"), text)

    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("metadata", {}).clear()
            output.pop("transient", None)
            if "text" in output:
                output.text = settled(output.text)
            for kind, content in output.get("data", {}).items():
                if kind == "image/png":
                    output.data[kind] = _in_few_colours(content)
                elif not kind.startswith("image/"):
                    output.data[kind] = settled(content)
    # The version of Python and the like, which change nothing.
    notebook.metadata.language_info = {"name": "python"}
    notebook.metadata[DIGEST] = digest_of_cells(notebook)


def _in_few_colours(png: str) -> str:
    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        few = image.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    written = io.BytesIO()
    few.save(written, "PNG", optimize=True)
    return base64.b64encode(written.getvalue()).decode()


@click.command()
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The home of a stack that runs.  [default: a fresh one, removed afterwards]",
)
def main(home: Path | None) -> None:
    """Runs the notebook and writes its outputs back."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with running_stack(home) as stack:
        execute(notebook, stack)
        settle(notebook, stack)
    nbformat.validate(notebook)
    nbformat.write(notebook, NOTEBOOK)
    click.echo(f"{NOTEBOOK.name}: {NOTEBOOK.stat().st_size // 1000} kB", file=sys.stderr)


if __name__ == "__main__":
    main()
